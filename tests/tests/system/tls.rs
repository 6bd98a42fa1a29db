//! An address with a certificate, as a person's browser meets it: cert-manager, an ACME server and nginx for real.

use std::sync::{OnceLock, mpsc};

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::tls::{Acme, Browser, CertManager, Dns, Nginx};
use tests::wait;

/// Certificates of this profile live for 90 s, so that they are renewed after 60 s.
const SHORT: (&str, u64) = ("short", 90);
const USUAL: (&str, u64) = ("usual", 90 * 24 * 3600);

/// What all tests of this file share; each works in a namespace and with a host of its own.
struct World {
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
        let cluster = Cluster::node();
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
        Self { browser, _nginx: nginx, _cert_manager: cert_manager, _acme: acme, dns, cluster }
    }

    /// A server of two pages behind Service, Ingress and Certificate, all named `web`.
    fn serve(&self, namespace: &str, host: &str, issuer: &str) {
        let labels = json!({"app": "web"});
        let metadata = json!({"name": "web", "namespace": namespace, "labels": labels});
        let script = "cd /web && /bin/busybox mkdir -p majors && echo hello > majors/page && echo no > page && \
                      /bin/busybox httpd -f -p 8000 -h /web";
        let confined = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
        });
        let objects = [
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
                "volumes": [{"name": "web", "emptyDir": {}}],
                "containers": [{
                    "name": "web", "image": lab::BUSYBOX_IMAGE, "imagePullPolicy": "Never",
                    "command": ["/bin/busybox", "sh", "-c", script],
                    "volumeMounts": [{"name": "web", "mountPath": "/web"}], "securityContext": confined,
                }],
            }}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "selector": labels, "ports": [{"name": "http", "port": 8000}],
            }}),
            json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": {
                "secretName": "web", "dnsNames": [host], "issuerRef": {"kind": "ClusterIssuer", "name": issuer},
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            }}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {
                "ingressClassName": "nginx",
                "tls": [{"hosts": [host], "secretName": "web"}],
                "rules": [{"host": host, "http": {"paths": [{
                    "path": "/majors", "pathType": "Prefix",
                    "backend": {"service": {"name": "web", "port": {"number": 8000}}},
                }]}}],
            }}),
        ];
        self.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    }

    /// Waits until the Certificate is so; the whole of it.
    fn await_certificate(&self, namespace: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("the Certificate is {what}"), || {
            let certificate = self.cluster.get(namespace, "certificate/web").ok_or("no Certificate")?;
            if is_so(&certificate) { Ok(certificate) } else { Err(certificate["status"].to_string()) }
        })
    }

    /// Waits until a URL is answered with the status.
    fn await_status(&self, url: &str, headers: &[&str], status: u16) -> tests::tls::Answer {
        wait::until(&format!("{url} is answered with {status}"), || {
            let answer = self.browser.get(url, headers)?;
            if answer.status == status { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
    }
}

fn is_ready(certificate: &Value) -> bool {
    condition(certificate, "Ready").is_some_and(|ready| ready["status"] == "True")
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_path_is_served_over_https_until_its_ingress_is_gone() {
    let world = world();
    let (namespace, host) = (world.cluster.namespace("https"), "https.example.org");
    world.serve(&namespace, host, USUAL.0);
    let certificate = world.await_certificate(&namespace, "issued", is_ready);
    let page = format!("{host}/majors/page");
    let answer = world.await_status(&format!("https://{page}"), &[], 200);
    assert_eq!(answer.body.trim(), "hello");
    world.await_status(&format!("https://{host}/page"), &[], 404);
    let foreign = world.browser.get("https://foreign.example.org/majors/page", &[]);
    foreign.expect_err("no certificate of ours is shown for another host");

    // Plain HTTP leads to the same address.
    let plain = world.browser.get(&format!("http://{page}"), &[]).expect("an answer");
    assert_eq!((plain.status, plain.location), (301, format!("https://{page}")));

    // The right name, the end that the status tells, and no protocol that is broken.
    let shown = world.browser.certificate(host).expect("a certificate");
    assert_eq!(shown.names, format!("DNS:{host}"));
    assert_eq!(certificate["status"]["notAfter"], shown.not_after);
    for version in ["tls1", "tls1_1"] {
        let refused = world.browser.handshake(host, version).expect_err("too old");
        assert!(refused.contains("alert protocol version"), "{version}: {refused}");
    }
    for version in ["tls1_2", "tls1_3"] {
        let spoken = world.browser.handshake(host, version).expect("it is spoken");
        assert!(spoken.contains("Verify return code: 0 (ok)"), "{version}: {spoken}");
    }

    world.cluster.run(&["delete", "-n", &namespace, "ingress", "web"]);
    world.await_status(&format!("http://{page}"), &[], 404);
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_certificate_is_renewed_before_it_runs_out() {
    let world = world();
    let (namespace, host) = (world.cluster.namespace("renewal"), "renewal.example.org");
    world.serve(&namespace, host, SHORT.0);
    world.await_certificate(&namespace, "issued", is_ready);
    let url = format!("https://{host}/majors/page");
    world.await_status(&url, &[], 200);
    let first = world.browser.certificate(host).expect("a certificate");
    let second = wait::until("another certificate is shown", || {
        // Whoever looks meanwhile meets a certificate that is good.
        let answer = world.browser.get(&url, &[]).expect("HTTPS holds");
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = world.browser.certificate(host)?;
        if shown.serial == first.serial { Err(format!("{shown:?}")) } else { Ok(shown) }
    });
    assert!(second.not_before < first.not_after, "{second:?} comes before the end of {first:?}");
}

#[test]
#[ignore = "needs a node, and with it root"]
fn an_issuer_that_fails_heals() {
    let world = world();
    let (namespace, host) = (world.cluster.namespace("failing"), "failing.example.org");
    // Nothing listens there: the ACME server cannot see that the host is ours.
    world.dns.point(host, "127.0.0.2");
    world.serve(&namespace, host, USUAL.0);
    let failed =
        world.await_certificate(&namespace, "refused", |it| it["status"]["lastFailureTime"].is_string());
    assert!(!is_ready(&failed));
    let served = world.browser.get(&format!("https://{host}/majors/page"), &[]);
    served.expect_err("there is no certificate to show");

    world.dns.correct(host);
    world.await_certificate(&namespace, "issued", is_ready);
    world.await_status(&format!("https://{host}/majors/page"), &[], 200);
}
