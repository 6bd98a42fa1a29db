//! The operator on bad days of the API server, of its own process and of the clock: every time the bots become what
//! they would have become on a good day, and nothing else changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::audit::Audit;
use tests::cluster::{Cluster, condition};
use tests::faults::{Bystanders, Dice, Fault, Picture, Plan, Proxy, difference, pictures};
use tests::operator::{Operator, Options};
use tests::wait;

/// Bots of one round.
const BOTS: usize = 10;

/// The faults that are tried unless others are chosen, by a name or as `each`: the rest are among `all`, too.
const USUAL: [&str; 4] = ["lost", "hang", "cut", "all"];

/// Specs that a bot may have; each differs from each in what the operator makes of it.
const VARIANTS: usize = 4;

/// Requests of a round that are neither watches nor their lists, for each bot. A good day takes about 20.
const CALLS_PER_BOT: usize = 80;

/// What a run is repeated by: it is told when the run fails.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        let seed = number("TRADINGBOT_SEED", 1);
        eprintln!("seed {seed}");
        Self(seed)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was TRADINGBOT_SEED={}; the same number repeats it", self.0);
        }
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => usual,
    }
}

/// What a bot is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    variant: usize,
    /// For life.
    storage: bool,
}

impl Wanted {
    fn manifest(self, namespace: &str, name: &str) -> Value {
        let mut spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [{
                "pair": "BTC-USD", "timeframe": "1h",
                "configMaps": [{"name": "btc-usd-1h-2020-h1", "key": "BTC-USD_1h_2020-H1.csv.gz"}]
            }]}}],
        });
        if self.variant & 1 != 0 {
            spec["risk"] = json!({"maxPositionPercent": 20});
        }
        if self.variant & 2 != 0 {
            spec["agent"] = json!({"logLevel": "debug", "resources": {"limits": {"memory": "96Mi"}}});
            // Bots share a host: each claims its own path there.
            let host = format!("{namespace}.example.com");
            spec["expose"] = json!({
                "host": host, "path": format!("/{name}"), "ingress": {"className": "nginx"},
                "tls": {"secretName": "pair"},
            });
        }
        if self.storage {
            spec["storage"] = json!({"sqlite": {"size": "1Gi"}});
        }
        tests::bot::with_spec(namespace, name, spec)
    }
}

/// What becomes of each kind of bot on a good day.
struct Reference(BTreeMap<Wanted, Picture>);

impl Reference {
    fn make(cluster: &Cluster) -> Self {
        let mut operator = Operator::start(cluster);
        let namespace = cluster.namespace(&place("reference"));
        let wanted: Vec<Wanted> = (0..2 * VARIANTS)
            .map(|number| Wanted { variant: number / 2, storage: number % 2 == 1 })
            .collect();
        let name = |number: usize| format!("zqref{number}");
        let manifests: Vec<Value> =
            wanted.iter().enumerate().map(|(n, wanted)| wanted.manifest(&namespace, &name(n))).collect();
        apply(cluster, &manifests);
        let mut last = BTreeMap::new();
        let found = wait::until("the reference is made", || {
            let now = pictures(cluster, &namespace)?;
            let whole = now.values().all(|picture| {
                picture.contains_key("Deployment (name)")
                    && picture["TradingBot"]["status"]["observedGeneration"] == "the bot's"
            });
            // A picture that stood still.
            let before = std::mem::replace(&mut last, now.clone());
            if now.len() == wanted.len() && whole && before == now {
                Ok(now)
            } else {
                Err(format!("{now:?}"))
            }
        });
        operator.stop();
        let picture = |number: usize| found[&name(number)].clone();
        Self(wanted.iter().enumerate().map(|(number, wanted)| (*wanted, picture(number))).collect())
    }
}

/// A namespace with bots and bystanders.
struct Stage<'a> {
    cluster: &'a Cluster,
    reference: &'a Reference,
    namespace: String,
    bots: BTreeMap<String, Wanted>,
    bystanders: Bystanders,
    dice: Dice,
}

impl<'a> Stage<'a> {
    fn new(cluster: &'a Cluster, reference: &'a Reference, name: &str, seed: u64) -> Self {
        let namespace = cluster.namespace(&place(name));
        let names: Vec<String> = (0..BOTS).map(bot).collect();
        let bystanders = Bystanders::make(cluster, &namespace, &names);
        let dice = Dice::new(seed);
        Self { cluster, reference, namespace, bots: BTreeMap::new(), bystanders, dice }
    }

    /// Makes bots or changes their specs, all at once.
    fn set(&mut self, numbers: impl IntoIterator<Item = usize>) {
        let mut manifests = Vec::new();
        for number in numbers {
            let drawn = Wanted { variant: self.dice.below(VARIANTS), storage: self.dice.below(2) == 1 };
            let wanted = self.bots.entry(bot(number)).or_insert(drawn);
            wanted.variant = drawn.variant;
            manifests.push(wanted.manifest(&self.namespace, &bot(number)));
        }
        apply(self.cluster, &manifests);
    }

    fn delete(&mut self, number: usize) {
        if self.bots.remove(&bot(number)).is_some() {
            self.kubectl(&["delete", "tradingbot", &bot(number), "--wait=false"]);
        }
    }

    /// Spoils what the operator made of a bot. What is not there cannot be spoilt.
    fn spoil(&mut self, number: usize) {
        let name = bot(number);
        // One that is being made may have nothing yet to spoil.
        match self.dice.below(6) {
            0 => self.try_kubectl(&["delete", "deployment", &name, "--wait=false"]),
            1 => self.try_kubectl(&["delete", "configmap,service", &name, "--wait=false"]),
            2 => self.try_kubectl(&["delete", "role,rolebinding,serviceaccount", &name, "--wait=false"]),
            3 => self.try_kubectl(&["scale", "deployment", &name, "--replicas=3"]),
            4 => {
                let patch = r#"{"spec":{"selector":{"app.kubernetes.io/name":"another"}}}"#;
                self.try_kubectl(&["patch", "service", &name, "-p", patch])
            }
            _ => self.try_kubectl(&["patch", "configmap", &name, "-p", r#"{"data":{"config.json":"{}"}}"#]),
        };
    }

    fn converge(&self, what: &str) {
        let what = format!("{} bots are as on a good day, {what}", self.namespace);
        wait::until(&what, || self.converged());
    }

    fn converged(&self) -> Result<(), String> {
        let found = pictures(self.cluster, &self.namespace)?;
        for (name, wanted) in &self.bots {
            let picture = found.get(name).ok_or_else(|| format!("{name} is not there"))?;
            if let Some(difference) = difference(&self.reference.0[wanted], picture) {
                return Err(format!("{name} {wanted:?}: {difference}"));
            }
        }
        let orphans: Vec<_> = found.iter().filter(|(name, _)| !self.bots.contains_key(*name)).collect();
        if orphans.is_empty() { Ok(()) } else { Err(format!("orphans: {orphans:?}")) }
    }

    fn assert_bystanders_untouched(&self) {
        if let Err(change) = self.bystanders.check(self.cluster) {
            panic!("{}: {change}", self.namespace);
        }
    }

    fn kubectl(&self, arguments: &[&str]) {
        self.cluster.run(&[&["-n", &self.namespace], arguments].concat());
    }

    fn try_kubectl(&self, arguments: &[&str]) -> bool {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        self.cluster.kubectl(&arguments).output().expect("kubectl runs").status.success()
    }
}

/// A namespace by a name that is in no other word, so that it can be replaced wherever it is told.
fn place(name: &str) -> String {
    format!("zqns-{name}")
}

fn bot(number: usize) -> String {
    format!("zqbot{number:02}")
}

fn apply(cluster: &Cluster, manifests: &[Value]) {
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string());
}

/// Namespaces in which the operator has nothing more to do.
struct Quiet {
    audit: Audit,
    namespaces: BTreeSet<String>,
}

impl Quiet {
    fn new(cluster: &Cluster) -> Self {
        Self { audit: cluster.audit(), namespaces: BTreeSet::new() }
    }

    /// Fails when the operator wrote to a quiet namespace since the last look.
    fn check(&mut self) {
        let broken: Vec<_> = self
            .audit
            .by(&Operator::user())
            .into_iter()
            .filter(|call| call.is_write() && self.namespaces.contains(&call.namespace))
            .collect();
        assert!(broken.is_empty(), "written at rest: {broken:#?}");
    }

    /// From now on the namespace is to be quiet.
    fn expect(&mut self, namespace: &str) {
        self.check();
        self.namespaces.insert(namespace.to_owned());
    }

    /// For as long as it takes until the operator doubts whether it sees its own writes.
    fn watch_to_the_end(&mut self) {
        std::thread::sleep(Duration::from_secs(12));
        self.check();
    }
}

/// The keys in the bots' Secrets are told to nobody.
fn assert_no_secret_leaked(cluster: &Cluster, operator: &Operator) {
    let secrets = |value: &str| {
        let template = ["{{range .items}}{{range .data}}{{", value, r#"}}{{"\n"}}{{end}}{{end}}"#].concat();
        let labelled = "app.kubernetes.io/managed-by=tradingbot-operator";
        cluster.run(&["get", "secrets", "-A", "-l", labelled, "-o", &format!("go-template={template}")])
    };
    let words = secrets(".") + &secrets(". | base64decode");
    let words: Vec<&str> = words.lines().filter(|word| word.len() >= 16).collect();
    assert!(words.len() >= BOTS, "there are keys to look for: {}", words.len());
    let objects = "tradingbots,configmaps,deployments,pods,services,leases,events,roles,rolebindings,serviceaccounts,\
                   persistentvolumeclaims,networkpolicies,ingresses";
    let shown = [
        ("the log", operator.log()),
        ("the metrics", operator.metrics()),
        ("an object", cluster.run(&["get", objects, "-A", "-o", "json"])),
    ];
    for (place, text) in shown {
        assert!(!text.is_empty(), "{place}");
        let leaked = words.iter().any(|word| text.contains(word));
        assert!(!leaked, "{place} tells a key");
    }
}

#[test]
fn whatever_the_api_server_answers_bots_become_what_they_should_and_nothing_else_changes() {
    let seed = Seed::new();
    let cluster = Cluster::control_plane();
    let reference = Reference::make(&cluster);
    let proxy = Proxy::start(&cluster.kubeconfig());
    let mut quiet = Quiet::new(&cluster);
    let options = Options { server: Some(proxy.url()), ..Options::default() };
    let mut operator = Operator::prepare(&cluster, options);
    quiet.expect(&place("reference"));
    let chosen = std::env::var("TRADINGBOT_FAULT").ok();
    let mut rounds = 0;
    for (name, percent, faults) in [
        ("conflict", 20, vec![Fault::Conflict]),
        ("gone", 30, vec![Fault::Gone]),
        ("throttled", 20, vec![Fault::TooManyRequests]),
        ("internal", 10, vec![Fault::Internal]),
        ("unavailable", 30, vec![Fault::Unavailable]),
        ("reset", 10, vec![Fault::Reset]),
        ("lost", 15, vec![Fault::AnswerLost]),
        ("hang", 5, vec![Fault::Hang]),
        ("drip", 30, vec![Fault::Drip]),
        ("cut", 100, vec![Fault::Cut]),
        ("all", 20, Fault::ALL.to_vec()),
    ] {
        let strikes = match chosen.as_deref() {
            None => USUAL.contains(&name),
            Some(chosen) => chosen == "each" || chosen == name,
        };
        if !strikes {
            continue;
        }
        rounds += 1;
        let start = std::time::Instant::now();
        let mut stage = Stage::new(&cluster, &reference, name, seed.0);
        proxy.begin(Plan { seed: seed.0, percent, faults: faults.clone() });
        proxy.seen();
        // It starts on the bad day, too.
        operator.spawn();
        stage.set(0..BOTS);
        stage.converge("made");
        stage.set(0..BOTS / 2);
        for number in [1, 3, BOTS - 1, BOTS - 2] {
            stage.spoil(number);
        }
        stage.delete(BOTS - 3);
        stage.delete(0);
        // A new bot under an old name, whose children are still there.
        stage.set([0]);
        stage.converge("changed, spoilt and deleted");
        proxy.end();
        let seen = proxy.seen();
        let struck: BTreeSet<Fault> = seen.iter().filter_map(|seen| seen.fault).collect();
        // Of all at once a rare one may be missed.
        let enough = if faults.len() > 5 { faults.len() / 2 } else { faults.len() };
        assert!(struck.len() >= enough, "{name}: only {struck:?} struck");
        let calls = seen.iter().filter(|seen| !seen.watch && !seen.target.contains("limit=")).count();
        assert!(calls <= CALLS_PER_BOT * BOTS, "{name}: {calls} calls");
        let faulted = seen.iter().filter(|seen| seen.fault.is_some()).count();
        stage.assert_bystanders_untouched();
        // Late answers have come, and echoes of the last writes.
        std::thread::sleep(Duration::from_secs(1));
        quiet.expect(&stage.namespace);
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{name}: {} requests, {faulted} faulted, {calls} calls, {seconds:.1} s", seen.len());
        assert_no_secret_leaked(&cluster, &operator);
        assert!(operator.is_running(), "{name}: it never ends by itself");
        operator.kill();
    }
    assert!(rounds > 0, "TRADINGBOT_FAULT={chosen:?} is no fault");
    // On a good day the operator finds nothing to do.
    operator.spawn();
    quiet.watch_to_the_end();
}

#[test]
fn kill_nine_of_operator_api_server_and_etcd_in_the_middle_of_work_leaves_no_trace() {
    let seed = Seed::new();
    let kills = number("TRADINGBOT_KILLS", 20);
    let cluster = Cluster::control_plane();
    let reference = Reference::make(&cluster);
    let mut operator = Operator::start(&cluster);
    let mut stage = Stage::new(&cluster, &reference, "killed", seed.0);
    let mut quiet = Quiet::new(&cluster);
    quiet.expect(&place("reference"));
    let mut killed = BTreeMap::<&str, u64>::new();
    for kill in 0..kills {
        // Work of all sorts, begun when the kill comes.
        let first = stage.dice.below(BOTS);
        stage.delete((first + 4) % BOTS);
        stage.spoil((first + 5) % BOTS);
        stage.set((first..first + 4).map(|number| number % BOTS));
        std::thread::sleep(Duration::from_millis(stage.dice.below(200) as u64));
        let victim = match stage.dice.below(5) {
            0 => "kube-apiserver",
            1 => "etcd",
            _ => "operator",
        };
        *killed.entry(victim).or_default() += 1;
        match victim {
            "operator" => operator.restart(),
            part => cluster.kill(part),
        }
        stage.converge(&format!("kill {kill} of {kills}: {victim}"));
        assert!(operator.is_running(), "kill {kill}: it never ends by itself");
        stage.assert_bystanders_untouched();
        std::thread::sleep(Duration::from_millis(300));
        quiet.expect(&stage.namespace);
        std::thread::sleep(Duration::from_millis(300));
        quiet.check();
        quiet.namespaces.remove(&stage.namespace);
    }
    eprintln!("killed: {killed:?}");
    quiet.expect(&stage.namespace);
    quiet.watch_to_the_end();
    assert_no_secret_leaked(&cluster, &operator);
}

/// The wall clock of a program that is started with these variables: what is written into the file, such as `+2d`.
pub(super) fn wall_clock(file: &Path) -> Vec<(String, String)> {
    let libraries = std::fs::read_dir("/usr/lib").expect("/usr/lib");
    let library = libraries
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.exists())
        .expect("libfaketime is missing: apt-get install --no-install-recommends faketime");
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    [
        ("LD_PRELOAD", text(&library)),
        ("FAKETIME_TIMESTAMP_FILE", text(file)),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // A step moves the wall clock only; the kernel's other clocks go on.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

#[test]
#[ignore = "needs libfaketime (Debian: faketime)"]
fn steps_of_the_wall_clock_end_no_lease_and_write_nothing() {
    let cluster = Cluster::control_plane();
    // Plain HTTP to the operator, whose judgement of certificates depends on the date as everybody's does.
    let proxy = Proxy::start(&cluster.kubeconfig());
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    let step = |offset: &str| std::fs::write(&clock, offset).expect("the clock's file");
    step("+0");
    let options = Options { server: Some(proxy.url()), env: wall_clock(&clock), ..Options::default() };
    let mut operator = Operator::start_with(&cluster, options);
    let namespace = cluster.namespace(&place("clock"));
    let bot = bot(0);
    apply(&cluster, &[Wanted { variant: 0, storage: false }.manifest(&namespace, &bot)]);
    wait::until("the Lease is made", || {
        cluster.get(&namespace, &format!("lease/{bot}")).map(drop).ok_or_else(|| "no Lease".to_owned())
    });
    // An agent whose clock is right.
    let renew = || {
        let now = jiff::Timestamp::now();
        let spec = json!({"spec": {
            "holderIdentity": "agent", "leaseDurationSeconds": 20,
            "renewTime": format!("{now:.6}"),
        }});
        cluster.run(&["patch", "lease", "-n", &namespace, &bot, "--type=merge", "-p", &spec.to_string()]);
    };
    let connected = |status: &str| {
        cluster.await_condition(&namespace, &bot, "AgentConnected", status);
    };
    renew();
    connected("True");
    std::thread::sleep(Duration::from_secs(1));
    let mut quiet = Quiet::new(&cluster);
    quiet.expect(&namespace);
    for offset in ["+2d", "-2d", "+30s", "-30s", "+1y", "+0"] {
        step(offset);
        // Longer than the operator takes to look for what has run out.
        for _ in 0..3 {
            renew();
            std::thread::sleep(Duration::from_millis(500));
        }
        quiet.check();
    }
    // Its log tells that the clock was stepped: the test is not without effect.
    step("+1y");
    operator.restart();
    let next_year = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365)).to_string();
    wait::until("the operator's log is a year ahead", || {
        let log = operator.log();
        if log.contains(&next_year[..7]) { Ok(()) } else { Err(log) }
    });
    // At first sight it takes the Lease for an old one, and at the next renewal for a living one.
    wait::until("the agent is connected", || {
        renew();
        let found = cluster.get(&namespace, &format!("tradingbot/{bot}")).ok_or("no bot")?;
        let connected = condition(&found, "AgentConnected").ok_or("no condition")?;
        if connected["status"] == "True" { Ok(()) } else { Err(connected.to_string()) }
    });
    // Nobody renews any more: a clock that is set back does not make the Lease last.
    step("-2d");
    connected("False");
}
