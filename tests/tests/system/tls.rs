//! A bot's address with a certificate, as a person's browser meets it: operator, cert-manager, an ACME server, nginx and
//! the agent for real.

use std::collections::BTreeSet;
use std::sync::{OnceLock, mpsc};

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::tls::{Acme, Answer, Browser, CertManager, Dns, Nginx};
use tests::wait;

/// Certificates of this profile live for 90 s, so that they are renewed after 60 s.
const SHORT: (&str, u64) = ("short", 90);
const USUAL: (&str, u64) = ("usual", 90 * 24 * 3600);

/// What all tests of this file share; each works in a namespace and with a host of its own.
struct World {
    operator: Operator,
    browser: Browser,
    _nginx: Nginx,
    _cert_manager: CertManager,
    _acme: Acme,
    dns: Dns,
    cluster: Cluster,
}

fn world() -> &'static World {
    static WORLD: OnceLock<&'static World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        // The servers end with the thread that started them, and each test has a thread of its own.
        std::thread::spawn(move || {
            let world: &'static World = Box::leak(Box::new(World::new()));
            sender.send(world).expect("the test waits");
            loop {
                std::thread::park();
            }
        });
        receiver.recv().expect("the world starts")
    })
}

impl World {
    fn new() -> Self {
        let cluster = Cluster::with_agent();
        let operator = Operator::start(&cluster);
        let folder = cluster.folder("tls");
        let dns = Dns::start(&folder);
        let nginx = Nginx::start(&cluster);
        let acme = Acme::start(&folder, &dns, nginx.http(), &[USUAL, SHORT]);
        let mut cert_manager = CertManager::start(&cluster, nginx.http());
        for (profile, _) in [USUAL, SHORT] {
            cluster.apply(&acme.cluster_issuer(profile, profile).to_string());
            wait::until("the issuer has its account", || {
                cert_manager.check()?;
                let issuer = cluster.get("default", &format!("clusterissuer/{profile}")).ok_or("none")?;
                match condition(&issuer, "Ready") {
                    Some(ready) if ready["status"] == "True" => Ok(()),
                    _ => Err(issuer["status"].to_string()),
                }
            });
        }
        let browser = Browser::new(&nginx, acme.root());
        Self { operator, browser, _nginx: nginx, _cert_manager: cert_manager, _acme: acme, dns, cluster }
    }

    /// Applies a bot at `https://HOST/NAME`; bots of a namespace share Secret and certificate.
    fn expose(&self, namespace: &str, name: &str, host: &str, issuer: &str) {
        let mut bot = tests::bot::btc(namespace, name);
        bot["spec"]["expose"] = json!({
            "host": host, "path": format!("/{name}"), "ingress": {"className": "nginx"},
            "tls": {"secretName": "web", "issuerRef": {"kind": "ClusterIssuer", "name": issuer}},
        });
        self.cluster.apply(&bot.to_string());
    }

    /// Deletes a bot and waits until nothing of it is left.
    fn delete(&self, namespace: &str, name: &str) {
        self.cluster.run(&["delete", "-n", namespace, "tradingbot", name]);
    }

    /// Waits until `TlsReady` has the reason; the whole bot.
    fn await_tls(&self, namespace: &str, name: &str, reason: &str) -> Value {
        wait::until(&format!("{name}'s TlsReady has the reason {reason}"), || {
            let bot = self.cluster.get(namespace, &format!("tradingbot/{name}")).ok_or("no such bot")?;
            match condition(&bot, "TlsReady") {
                Some(found) if found["reason"] == reason => Ok(bot),
                _ => Err(bot["status"].to_string()),
            }
        })
    }

    /// Waits until a URL is answered with the status.
    fn await_status(&self, url: &str, headers: &[&str], status: u16) -> Answer {
        wait::until(&format!("{url} is answered with {status}"), || {
            let answer = self.browser.get(url, headers)?;
            if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
    }

    /// What a URL is answered with, now.
    fn status(&self, url: &str, headers: &[&str]) -> u16 {
        self.browser.get(url, headers).expect("an answer").status
    }

    /// The header with the bot's generated key for reading.
    fn key(&self, namespace: &str, bot: &Value) -> String {
        let secret = bot["status"]["apiKeySecret"].as_str().expect("a name");
        let template = "go-template={{.data.read | base64decode}}";
        let key = self.cluster.run(&["get", "-n", namespace, "secret", secret, "-o", template]);
        format!("Authorization: Bearer {key}")
    }

    /// When a bot's certificate runs out, as the operator's metric has it.
    fn metric(&self, namespace: &str, name: &str) -> Option<i64> {
        let labels = format!("{{namespace=\"{namespace}\",name=\"{name}\"}} ");
        let sample = format!("tradingbot_certificate_expiry_timestamp_seconds{labels}");
        self.operator.metrics().lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok())
    }
}

/// Where a bot's API says how it does.
fn api(host: &str, name: &str) -> String {
    format!("{host}/{name}/api/v1/bot/status")
}

fn seconds(time: &str) -> i64 {
    time.parse::<Timestamp>().expect("a time").as_second()
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_bots_api_is_served_over_https_behind_its_path_until_the_bot_is_gone() {
    let world = world();
    let (namespace, host) = (&*world.cluster.namespace("https"), "https.example.org");
    world.expose(namespace, "majors", host, USUAL.0);
    world.expose(namespace, "minors", host, USUAL.0);
    let bot = world.await_tls(namespace, "majors", "CertificateIssued");
    assert_eq!(condition(&bot, "TlsReady").expect("it is there")["status"], "True");
    assert_eq!(bot["status"]["url"], format!("https://{host}/majors"));

    // The API, for who has the bot's key, behind the bot's path and nowhere else.
    let (ours, other) = (api(host, "majors"), api(host, "minors"));
    let key = &*world.key(namespace, &bot);
    let answer = world.await_status(&format!("https://{ours}"), &[key], 200);
    serde_json::from_str::<Value>(&answer.body).expect("the API speaks JSON");
    world.await_status(&format!("https://{other}"), &[], 401);
    for (url, headers, status) in [
        (ours.clone(), &[][..], 401),
        (ours.clone(), &["Authorization: Bearer guessed"], 401),
        (other.clone(), &[key], 401),
        (format!("{host}/majors/nothing"), &[key], 404),
        (format!("{host}/majors-and-more/api/v1/bot/status"), &[key], 404),
        (format!("{host}/api/v1/bot/status"), &[key], 404),
    ] {
        assert_eq!(world.status(&format!("https://{url}"), headers), status, "{url}");
    }
    let foreign = world.browser.get(&format!("https://{}", api("foreign.example.org", "majors")), &[key]);
    foreign.expect_err("no certificate of ours is shown for another host");

    // Plain HTTP leads to the same address.
    let plain = world.browser.get(&format!("http://{ours}"), &[key]).expect("an answer");
    assert_eq!((plain.status, plain.location), (301, format!("https://{ours}")));

    // The right name, the end that status and metric tell, and no protocol that is broken.
    let shown = world.browser.certificate(host).expect("a certificate");
    assert_eq!(shown.names, format!("DNS:{host}"));
    assert_eq!(bot["status"]["tls"], json!({"secretName": "web", "notAfter": shown.not_after}));
    assert_eq!(world.metric(namespace, "majors"), Some(seconds(&shown.not_after)));
    for version in ["tls1", "tls1_1"] {
        let refused = world.browser.handshake(host, version).expect_err("too old");
        assert!(refused.contains("alert protocol version"), "{version}: {refused}");
    }
    for version in ["tls1_2", "tls1_3"] {
        let spoken = world.browser.handshake(host, version).expect("it is spoken");
        assert!(spoken.contains("Verify return code: 0 (ok)"), "{version}: {spoken}");
    }

    // A bot that goes leaves its path, its neighbour keeps host and certificate.
    world.delete(namespace, "majors");
    world.await_status(&format!("https://{ours}"), &[key], 404);
    assert_eq!(world.status(&format!("https://{other}"), &[]), 401);
    assert_eq!(world.browser.certificate(host).expect("a certificate"), shown);

    // With the last bot host and certificate go.
    world.delete(namespace, "minors");
    world.await_status(&format!("http://{other}"), &[], 404);
    wait::until("the Certificate is gone with its last bot", || {
        world.cluster.get(namespace, "certificate/web").map_or(Ok(()), |it| Err(it["metadata"].to_string()))
    });
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_certificate_is_renewed_before_it_runs_out_and_nobody_notices() {
    let world = world();
    let (namespace, host) = (&*world.cluster.namespace("renewal"), "renewal.example.org");
    world.expose(namespace, "paper", host, SHORT.0);
    world.await_tls(namespace, "paper", "CertificateIssued");
    let url = format!("https://{}", api(host, "paper"));
    world.await_status(&url, &[], 401);
    world.cluster.await_condition(namespace, "paper", "Ready", "True");
    let first = world.browser.certificate(host).expect("a certificate");
    let pods = || {
        let pods = world.cluster.try_list(namespace, &["pods"]).expect("pods");
        // A pod that answers challenges comes and goes.
        let ours = pods
            .iter()
            .filter(|pod| !pod["metadata"]["labels"]["trading.three-rivers-tech.com/bot"].is_null());
        let pod = |pod: &Value| {
            let started = pod["status"]["containerStatuses"][0]["restartCount"].clone();
            (pod["metadata"]["uid"].clone(), started)
        };
        ours.map(pod).collect::<Vec<_>>()
    };
    let pods_before = pods();
    let states = tempfile::NamedTempFile::new().expect("a file");
    let record = world.cluster.record(states.path());

    let second = wait::until("another certificate is shown, and told of", || {
        // Whoever looks meanwhile meets a certificate that is good.
        assert_eq!(world.browser.get(&url, &[]).expect("HTTPS holds").status, 401);
        let shown = world.browser.certificate(host)?;
        let bot = world.cluster.get(namespace, "tradingbot/paper").ok_or("no bot")?;
        let told = &bot["status"]["tls"]["notAfter"];
        if shown.serial == first.serial || *told != shown.not_after {
            return Err(format!("{told} is told of {shown:?}"));
        }
        Ok(shown)
    });
    assert!(second.not_before < first.not_after, "{second:?} comes before the end of {first:?}");
    wait::until("the metric tells of it too", || {
        let told = world.metric(namespace, "paper");
        if told == Some(seconds(&second.not_after)) { Ok(()) } else { Err(format!("{told:?}")) }
    });
    assert_eq!(pods(), pods_before, "the agent runs on");

    let mut ends = BTreeSet::new();
    let states = record.states();
    for state in states.iter().filter(|state| state["metadata"]["namespace"] == namespace) {
        let tls = condition(state, "TlsReady").expect("it stays");
        assert_eq!((&tls["status"], &tls["reason"]), (&json!("True"), &json!("CertificateIssued")), "{tls}");
        assert_eq!(condition(state, "Ready").expect("it stays")["status"], "True", "{}", state["status"]);
        ends.insert(state["status"]["tls"]["notAfter"].to_string());
    }
    assert!(ends.len() > 1, "the status follows: {ends:?}");
}

#[test]
#[ignore = "needs a node, and with it root"]
fn an_issuer_that_fails_is_told_of_in_its_own_words_and_heals() {
    let world = world();
    let (namespace, host) = (&*world.cluster.namespace("failing"), "failing.example.org");
    // The Certificate does not say that there is no such issuer; the status leads to what says it.
    world.expose(namespace, "paper", host, "mistyped");
    wait::until("the command that TlsReady names tells of the issuer", || {
        let bot = world.await_tls(namespace, "paper", "CertificatePending");
        let told = condition(&bot, "TlsReady").and_then(|tls| tls["message"].as_str()).unwrap_or_default();
        let command = told.split('`').nth(1).ok_or(told)?;
        let said = world.cluster.run(&command.split(' ').skip(1).collect::<Vec<_>>());
        if said.contains("\"mistyped\" not found") { Ok(()) } else { Err(format!("{command}: {said}")) }
    });

    // Nothing listens there: the ACME server cannot see that the host is ours.
    world.dns.point(host, "127.0.0.2");
    world.expose(namespace, "paper", host, USUAL.0);
    let bot = world.await_tls(namespace, "paper", "CertificateFailed");
    assert_eq!(condition(&bot, "TlsReady").expect("it is there")["status"], "False");
    // It is tried again every few seconds, and each time cert-manager says something else for a moment.
    let told = wait::until("TlsReady has cert-manager's words", || {
        let certificate = world.cluster.get(namespace, "certificate/web").ok_or("no Certificate")?;
        let failed = condition(&certificate, "Issuing").filter(|issuing| issuing["status"] == "False");
        let said = failed.and_then(|issuing| issuing["message"].as_str()).ok_or("it is being issued")?;
        let bot = world.await_tls(namespace, "paper", "CertificateFailed");
        let told = condition(&bot, "TlsReady").and_then(|tls| tls["message"].as_str()).unwrap_or_default();
        if told.contains(said.trim_end_matches([' ', ':'])) {
            Ok(told.to_owned())
        } else {
            Err(format!("{told}, not {said}"))
        }
    });
    assert!(told.contains("order is in \"invalid\" state"), "{told}");
    assert!(bot["status"]["tls"]["notAfter"].is_null(), "{}", bot["status"]["tls"]);
    assert_eq!(world.metric(namespace, "paper"), None, "there is nothing to tell of");
    let served = world.browser.get(&format!("https://{}", api(host, "paper")), &[]);
    served.expect_err("there is no certificate to show");
    // How the certificate fares is no matter of the bot's trade.
    world.cluster.await_condition(namespace, "paper", "Ready", "True");

    world.dns.correct(host);
    let healed = world.await_tls(namespace, "paper", "CertificateIssued");
    assert_eq!(condition(&healed, "TlsReady").expect("it is there")["status"], "True");
    world.await_status(&format!("https://{}", api(host, "paper")), &[], 401);
}
