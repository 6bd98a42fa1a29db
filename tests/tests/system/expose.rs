//! A bot's address on a real API server: who gets it, what is made for it, and what goes with it.

use std::path::Path;

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::wait;

fn bot(name: &str, expose: Value) -> Value {
    let mut bot = tests::bot::btc("default", name);
    bot["spec"]["expose"] = expose;
    bot
}

fn ingress(path: &str) -> Value {
    json!({"host": "bots.example.com", "path": path, "ingress": {"className": "nginx"}})
}

fn issued(path: &str, issuer: &str) -> Value {
    let mut expose = ingress(path);
    expose["tls"] = json!({"secretName": "bots-tls", "issuerRef": {"kind": "ClusterIssuer", "name": issuer}});
    expose
}

fn gateway(path: &str) -> Value {
    json!({"host": "bots.example.com", "path": path, "gateway": {"parentRef": {"name": "web"}}})
}

/// The same on a host of its own: bots that share a host share its certificate.
fn elsewhere(mut expose: Value) -> Value {
    expose["host"] = json!("routed.example.com");
    expose
}

fn start() -> (Cluster, Operator) {
    let cluster = Cluster::control_plane();
    let bars = tests::repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let operator = Operator::start(&cluster);
    (cluster, operator)
}

fn apply_definition(cluster: &Cluster, module: &str, file: &str) {
    let folder = lab::tools::module("cert-manager", module).expect("a module");
    // Too large for the annotation of a client-side apply.
    let file = folder.join(file);
    cluster.run(&["apply", "--server-side", "-f", path(&file)]);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn apply_cert_manager(cluster: &Cluster) {
    apply_definition(
        cluster,
        "github.com/cert-manager/cert-manager",
        "deploy/crds/cert-manager.io_certificates.yaml",
    );
}

fn await_stalled(cluster: &Cluster, name: &str, reason: &str) -> String {
    wait::until(&format!("{name} is stalled by {reason}"), || {
        let bot = cluster.get("default", &format!("tradingbot/{name}")).ok_or("no bot")?;
        match condition(&bot, "Stalled") {
            Some(stalled) if stalled["reason"] == reason => {
                Ok(stalled["message"].as_str().unwrap_or_default().to_owned())
            }
            _ => Err(bot["status"].to_string()),
        }
    })
}

fn await_not_stalled(cluster: &Cluster, name: &str) -> Value {
    wait::until(&format!("{name} is not stalled"), || {
        let bot = cluster.get("default", &format!("tradingbot/{name}")).ok_or("no bot")?;
        match condition(&bot, "Ready") {
            Some(_) if condition(&bot, "Stalled").is_none() => Ok(bot),
            _ => Err(bot["status"].to_string()),
        }
    })
}

fn await_object(cluster: &Cluster, object: &str) -> Value {
    wait::until(&format!("there is {object}"), || cluster.get("default", object).ok_or_else(|| "none".into()))
}

fn await_gone(cluster: &Cluster, object: &str) {
    wait::until(&format!("{object} is gone"), || match cluster.get("default", object) {
        None => Ok(()),
        Some(object) => Err(object.to_string()),
    });
}

fn owners(certificate: &Value) -> Vec<String> {
    let owners = certificate["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> =
        owners.iter().filter_map(|owner| owner["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn await_owners(cluster: &Cluster, expected: &[&str]) {
    wait::until(&format!("the certificate belongs to {expected:?}"), || {
        let certificate = cluster.get("default", "certificate/bots-tls").ok_or("none")?;
        let found = owners(&certificate);
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn the_schema_refuses_what_it_can_and_a_path_has_one_bot() {
    let (cluster, _operator) = start();
    let refused = |expose: Value| {
        cluster.try_apply(&bot("refused", expose).to_string()).expect_err("the API server refuses it")
    };
    for (field, value) in [
        ("host", json!("*.example.com")),
        ("host", json!("Bots.example.com")),
        ("path", json!("/a/")),
        ("path", json!("/a/../b")),
        ("path", json!("/(a|b)")),
        ("tls", json!({"secretName": "Bots"})),
        ("tls", json!({"secretName": "a", "issuerRef": {"kind": "Anyone", "name": "a"}})),
    ] {
        let mut expose = ingress("/a");
        expose[field] = value;
        let said = refused(expose);
        assert!(said.contains(&format!("spec.expose.{field}")), "{said}");
    }
    let mut both = ingress("/a");
    both["gateway"] = json!({"parentRef": {"name": "web"}});
    assert!(refused(both).contains("set exactly one of ingress and gateway"));

    let mut snippet = ingress("/a");
    snippet["ingress"]["annotations"] = json!({"nginx.ingress.kubernetes.io/server-snippet": "return 200;"});
    cluster.apply(&bot("snippet", snippet).to_string());
    let message = await_stalled(&cluster, "snippet", "InvalidSpec");
    assert!(
        message.contains("expose.ingress.annotations[nginx.ingress.kubernetes.io/server-snippet]"),
        "{message}"
    );
    assert!(cluster.get("default", "ingress/snippet").is_none());

    // The first has the path; the second waits for it, and gets it.
    cluster.apply(&bot("first", ingress("/btc")).to_string());
    let made = await_object(&cluster, "ingress/first");
    assert_eq!(made["spec"]["rules"][0]["http"]["paths"][0]["path"], "/btc");
    let first = await_not_stalled(&cluster, "first");
    assert_eq!(first["status"]["url"], "http://bots.example.com/btc");
    assert_eq!(first["status"]["claims"][0]["path"], "/btc");
    let columns = cluster.run(&["get", "tb", "first", "-o", "wide"]);
    assert!(columns.contains("URL") && columns.contains("http://bots.example.com/btc"), "{columns}");

    cluster.apply(&bot("second", ingress("/btc")).to_string());
    let message = await_stalled(&cluster, "second", "HostConflict");
    for part in ["/btc", "bots.example.com", "default/first", "choose another"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(cluster.get("default", "ingress/second").is_none());
    assert!(cluster.get("default", "deployment/second").is_none());
    cluster.apply(&bot("first", ingress("/eth")).to_string());
    let second = await_not_stalled(&cluster, "second");
    assert_eq!(second["status"]["claims"][0]["path"], "/btc");
    await_object(&cluster, "ingress/second");

    cluster.apply(&bot("third", ingress("/eth")).to_string());
    await_stalled(&cluster, "third", "HostConflict");
    cluster.run(&["delete", "tradingbot", "first", "--wait"]);
    await_not_stalled(&cluster, "third");

    // What is no longer asked for goes.
    let mut hidden = bot("second", Value::Null);
    hidden["spec"].as_object_mut().expect("a spec").remove("expose");
    cluster.apply(&hidden.to_string());
    await_gone(&cluster, "ingress/second");
    wait::until("the claim is free", || {
        let bot = cluster.get("default", "tradingbot/second").ok_or("no bot")?;
        let status = &bot["status"];
        if status["claims"].is_null() && status["url"].is_null() { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn an_api_that_comes_later_is_used_without_a_restart_and_a_certificate_is_shared() {
    let (cluster, operator) = start();
    let pid = operator.pid();
    cluster.apply(&bot("one", issued("/one", "letsencrypt")).to_string());
    cluster.apply(&bot("routed", elsewhere(gateway("/routed"))).to_string());
    let message = await_stalled(&cluster, "one", "CertManagerMissing");
    assert!(
        message.contains("expose.tls.issuerRef") && message.contains("install cert-manager"),
        "{message}"
    );
    let message = await_stalled(&cluster, "routed", "GatewayApiMissing");
    assert!(message.contains("expose.gateway") && message.contains("install the Gateway API"), "{message}");
    assert!(cluster.get("default", "deployment/one").is_none());

    apply_cert_manager(&cluster);
    apply_definition(
        &cluster,
        "sigs.k8s.io/gateway-api",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    );
    await_not_stalled(&cluster, "one");
    await_not_stalled(&cluster, "routed");
    let certificate = await_object(&cluster, "certificate/bots-tls");
    assert_eq!(certificate["spec"]["dnsNames"], json!(["bots.example.com"]));
    assert_eq!(certificate["spec"]["privateKey"]["rotationPolicy"], "Always");
    let route = await_object(&cluster, "httproute/routed");
    assert_eq!(route["spec"]["rules"][0]["matches"][0]["path"]["value"], "/routed");
    let bot_one = cluster.await_condition("default", "one", "TlsReady", "False");
    assert_eq!(condition(&bot_one, "TlsReady").expect("TlsReady")["reason"], "CertificatePending");
    assert_eq!(bot_one["status"]["url"], "https://bots.example.com/one");

    // One certificate for all bots of the host; who names another issuer is told whose it is.
    cluster.apply(&bot("two", issued("/two", "letsencrypt")).to_string());
    await_owners(&cluster, &["one", "two"]);
    cluster.apply(&bot("three", issued("/three", "staging")).to_string());
    let message = await_stalled(&cluster, "three", "HostConflict");
    assert!(message.contains("ClusterIssuer letsencrypt") && message.contains("name the same"), "{message}");

    // What cert-manager says is said of the bot.
    let status = json!({"status": {"notAfter": "2100-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "reason": "Ready", "message": "up to date"}
    ]}});
    let patch = ["patch", "certificate", "bots-tls", "--subresource=status", "--type=merge", "-p"];
    cluster.run(&[&patch[..], &[&status.to_string()]].concat());
    let ready = cluster.await_condition("default", "two", "TlsReady", "True");
    assert_eq!(ready["status"]["tls"], json!({"secretName": "bots-tls", "notAfter": "2100-01-01T00:00:00Z"}));
    wait::until("the metric tells when it runs out", || {
        let metrics = operator.metrics();
        let line =
            "tradingbot_certificate_expiry_timestamp_seconds{namespace=\"default\",name=\"two\"} 4102444800";
        if metrics.contains(line) { Ok(()) } else { Err(metrics) }
    });

    // The list of owners shrinks, and the certificate goes with the last of them.
    cluster.apply(&bot("one", ingress("/one")).to_string());
    let message = await_stalled(&cluster, "two", "HostConflict");
    assert!(message.contains("no tls"), "the older one decides: {message}");
    await_owners(&cluster, &["two"]);
    cluster.run(&["delete", "tradingbot", "two", "three", "--wait"]);
    await_not_stalled(&cluster, "one");
    await_gone(&cluster, "certificate/bots-tls");

    // A way in that is exchanged for another leaves nothing behind.
    cluster.apply(&bot("routed", elsewhere(ingress("/routed"))).to_string());
    await_object(&cluster, "ingress/routed");
    await_gone(&cluster, "httproute/routed");

    // A Certificate of someone else is never touched.
    cluster.apply(
        &json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"name": "bots-tls", "namespace": "default"},
            "spec": {"secretName": "bots-tls", "dnsNames": ["mine.example.com"], "issuerRef": {"name": "mine"}}})
        .to_string(),
    );
    cluster.run(&["delete", "tradingbot", "routed", "one", "--wait"]);
    cluster.apply(&bot("late", issued("/late", "letsencrypt")).to_string());
    let message = await_stalled(&cluster, "late", "NameCollision");
    assert!(message.contains("Certificate bots-tls"), "{message}");
    let kept = await_object(&cluster, "certificate/bots-tls");
    assert_eq!(kept["spec"]["dnsNames"], json!(["mine.example.com"]));
    assert_eq!(operator.pid(), pid, "no restart");
}

#[test]
fn the_example_is_taken_as_it_stands() {
    let (cluster, _operator) = start();
    apply_cert_manager(&cluster);
    let example = tests::repository("examples/tls/bot.yaml");
    cluster.run(&["apply", "-f", path(&example)]);
    let certificate = await_object(&cluster, "certificate/bots-example-com-tls");
    assert_eq!(owners(&certificate), ["exposed-btc"]);
    let made = await_object(&cluster, "ingress/exposed-btc");
    assert_eq!(made["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"], "true");
    assert_eq!(
        made["spec"]["tls"],
        json!([{"hosts": ["bots.example.com"], "secretName": "bots-example-com-tls"}])
    );
    await_not_stalled(&cluster, "exposed-btc");
}
