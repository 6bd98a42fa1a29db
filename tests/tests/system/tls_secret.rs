//! The certificate of a bot's address that a person keeps in a Secret, on a cluster without cert-manager: the agent reads
//! it, and the operator, which may not, tells of it.

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::tls::{Certificate, SelfSigned};
use tests::wait;

use super::node::{cluster, pod};

const HOST: &str = "own.example.org";

/// Waits until `TlsReady` has the reason; the whole bot and the condition's words.
fn await_tls(cluster: &Cluster, namespace: &str, reason: &str) -> (Value, String) {
    wait::until(&format!("TlsReady has the reason {reason}"), || {
        let bot = cluster.get(namespace, "tradingbot/paper").ok_or("no such bot")?;
        match condition(&bot, "TlsReady") {
            Some(found) if found["reason"] == reason => {
                assert_eq!(found["status"] == "True", reason == "CertificateValid", "{found}");
                let words = found["message"].as_str().unwrap_or_default().to_owned();
                Ok((bot, words))
            }
            _ => Err(bot["status"].to_string()),
        }
    })
}

/// When the certificate in the pair runs out, as the status tells it.
fn end_of(pair: &SelfSigned) -> Value {
    json!(Certificate::read(&pair.certificate).expect("a certificate").not_after)
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_certificate_that_a_person_keeps_is_told_of_when_it_is_missing_wrong_right_and_gone() {
    let cluster = cluster();
    let namespace = &*cluster.namespace("own-certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let mut manifest = tests::bot::btc(namespace, "paper");
    manifest["spec"]["expose"] = json!({
        "host": HOST, "path": "/paper", "ingress": {"className": "nginx"}, "tls": {"secretName": "own"},
    });
    cluster.apply(&manifest.to_string());
    cluster.await_condition(namespace, "paper", "Ready", "True");
    let agent = pod(cluster, namespace, "paper");

    // The words lead to a command that makes the Secret, here with a certificate for another host.
    let (bot, words) = await_tls(cluster, namespace, "CertificateMissing");
    assert_eq!(bot["status"]["tls"], json!({"secretName": "own"}));
    let other = SelfSigned::make(folder.path(), "other", "DNS:other.example.org");
    let command = words.split('`').nth(1).expect("a command");
    let command = command.strip_prefix("kubectl ").expect("of kubectl");
    let command = command.replace("--cert FILE", &format!("--cert={}", other.certificate.display()));
    let command = command.replace("--key FILE", &format!("--key={}", other.key.display()));
    cluster.run(&command.split(' ').collect::<Vec<_>>());
    let (bot, words) = await_tls(cluster, namespace, "CertificateMismatch");
    assert!(words.contains("is for other.example.org and not for own.example.org"), "{words}");
    assert_eq!(bot["status"]["tls"], json!({"secretName": "own", "notAfter": end_of(&other)}));

    // The right one is put into it.
    let right = SelfSigned::make(folder.path(), "right", &format!("DNS:{HOST}"));
    assert_ne!(end_of(&right), end_of(&other), "the status tells them apart");
    let text = |path| std::fs::read_to_string(path).expect("a file");
    let data = json!({"stringData": {"tls.crt": text(&right.certificate), "tls.key": text(&right.key)}});
    cluster.run(&["patch", "-n", namespace, "secret/own", "--type=merge", "-p", &data.to_string()]);
    let (bot, words) = await_tls(cluster, namespace, "CertificateValid");
    assert_eq!(bot["status"]["tls"], json!({"secretName": "own", "notAfter": end_of(&right)}));
    assert!(words.contains(end_of(&right).as_str().expect("a time")), "{words}");
    assert_eq!(bot["status"]["url"], format!("https://{HOST}/paper"));

    cluster.run(&["delete", "-n", namespace, "secret/own"]);
    let (bot, _) = await_tls(cluster, namespace, "CertificateMissing");
    assert_eq!(bot["status"]["tls"], json!({"secretName": "own"}));

    // None of it is a matter of the bot's trade.
    assert_eq!(condition(&bot, "Ready").expect("it is there")["status"], "True");
    let same = pod(cluster, namespace, "paper");
    let started = |pod: &Value| {
        (pod["metadata"]["uid"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
    };
    assert_eq!(started(&same), started(&agent), "the agent runs on");
}
