//! A person's way on a whole cluster: apply, watch, change, break, delete.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tests::audit::service_account;
use tests::cluster::{Cluster, OPERATOR_NAMESPACE};
use tests::local::{Local, sample_bars};
use tests::{repository, wait};

/// One cluster for all tests of this file and of those beside it; each works in a namespace of its own.
pub(super) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::with_operator)
}

/// The example at another speed: the bars of ten months pass in seconds.
pub(super) fn example_at(speed: &str) -> String {
    let manifest = std::fs::read_to_string(repository("examples/paper-btc.yaml")).expect("the example");
    assert!(manifest.contains("speed: 86400"), "the example has a speed");
    manifest.replace("speed: 86400", &format!("speed: {speed}"))
}

pub(super) fn in_namespace(manifest: &str, namespace: &str) -> String {
    manifest.replace("metadata:\n", &format!("metadata:\n  namespace: {namespace}\n"))
}

pub(super) fn apply(cluster: &Cluster, namespace: &str, manifest: &str) {
    cluster.apply(&in_namespace(manifest, namespace));
}

pub(super) fn bot(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    cluster.get(namespace, &format!("tradingbot/{name}")).expect("the bot exists")
}

/// The one pod of a bot that is not on its way out.
pub(super) fn pod(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    wait::until("there is one pod", || {
        let label = format!("trading.three-rivers-tech.com/bot={name}");
        let list: Value =
            serde_json::from_str(&cluster.run(&["get", "pods", "-n", namespace, "-l", &label, "-o", "json"]))
                .map_err(|error| error.to_string())?;
        let pods: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
        match pods.as_slice() {
            [pod] if pod["metadata"]["deletionTimestamp"].is_null() => Ok((*pod).clone()),
            other => Err(format!("{} pods", other.len())),
        }
    })
}

/// What the journal in the pod says.
pub(super) fn journal(cluster: &Cluster, namespace: &str, name: &str, command: &str) -> Value {
    let deployment = format!("deployment/{name}");
    let agent = ["/tradingbot-agent", command, "--journal", "/var/lib/tradingbot/journal", "-o", "json"];
    let output = cluster.run(&[&["exec", "-n", namespace, &deployment, "--"], &agent[..]].concat());
    serde_json::from_str(&output).expect("JSON")
}

pub(super) fn await_end_of_replay(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    wait::until("the replay is finished", || {
        let object = bot(cluster, namespace, name);
        match tests::cluster::condition(&object, "FeedHealthy") {
            Some(condition) if condition["reason"] == "ReplayFinished" => Ok(object),
            _ => Err(object["status"].to_string()),
        }
    })
}

/// Trades, positions and cash: what must not depend on speed, place or interruptions.
pub(super) fn ledger(trades: Value, status: &Value) -> Value {
    json!({"trades": trades, "account": status["account"], "positions": status["positions"]})
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_bot_that_is_applied_becomes_ready_trades_and_tells_its_story() {
    let cluster = cluster();
    let namespace = &cluster.namespace("story");
    apply(cluster, namespace, &example_at("864000"));
    cluster.run(&[
        "wait",
        "-n",
        namespace,
        "--for=condition=Ready",
        "--timeout=120s",
        "tradingbot/paper-btc",
    ]);

    let lease = cluster.get(namespace, "lease/paper-btc").expect("a lease");
    let pod = pod(cluster, namespace, "paper-btc");
    assert_eq!(lease["spec"]["holderIdentity"], pod["metadata"]["uid"], "the pod holds the lease");

    let traded = wait::until("a trade is closed", || {
        let object = bot(cluster, namespace, "paper-btc");
        match object["status"]["trading"]["closedTrades"].as_i64() {
            Some(trades) if trades > 0 => Ok(object),
            _ => Err(object["status"].to_string()),
        }
    });
    assert!(traded["status"]["trading"]["lastDecision"]["reason"].is_string());
    assert_eq!(traded["status"]["configHash"], traded["status"]["agent"]["configHash"]);

    let table = cluster.run(&["get", "tb", "-n", namespace]);
    let (header, row) = table.split_once('\n').expect("a header and a row");
    for column in ["READY", "SUSPENDED", "STATE", "VENUE", "LOOP", "POSITIONS", "EQUITY", "DAY P&L", "AGE"] {
        assert!(header.contains(column), "{column} is not in {header}");
    }
    let equity = traded["status"]["account"]["equity"].as_str().expect("a decimal");
    assert!(equity.parse::<f64>().expect("a number") > 0.0);
    for value in ["paper-btc", "True", "Running", "paper"] {
        assert!(row.contains(value), "{value} is not in {row}");
    }
    let story = cluster.run(&["describe", "tradingbot", "-n", namespace, "paper-btc"]);
    for part in ["Last Decision", "Config Hash", "AgentConnected", "Events:"] {
        assert!(story.contains(part), "{part} is not in {story}");
    }
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_changed_limit_reaches_the_running_agent_without_a_restart() {
    let cluster = cluster();
    let namespace = &cluster.namespace("limits");
    apply(cluster, namespace, &example_at("86400"));
    let before = cluster.await_condition(namespace, "paper-btc", "Ready", "True");
    let pod_before = pod(cluster, namespace, "paper-btc");
    let patch = r#"{"spec": {"risk": {"confidenceFloor": 85}, "state": "Paused"}}"#;
    cluster.run(&["patch", "-n", namespace, "tradingbot/paper-btc", "--type=merge", "-p", patch]);
    wait::until("the agent runs the new configuration", || {
        let object = bot(cluster, namespace, "paper-btc");
        let (wanted, running) = (&object["status"]["configHash"], &object["status"]["agent"]["configHash"]);
        let changed = *wanted != before["status"]["configHash"];
        let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if changed && seen && wanted == running { Ok(()) } else { Err(object["status"].to_string()) }
    });
    let paused = cluster.await_condition(namespace, "paper-btc", "Ready", "True");
    assert_eq!(paused["status"]["summary"]["state"], "Paused");
    let pod_after = pod(cluster, namespace, "paper-btc");
    assert_eq!(pod_after["metadata"]["uid"], pod_before["metadata"]["uid"]);
    assert_eq!(pod_after["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_bot_whose_pod_is_deleted_ends_with_the_ledger_of_an_undisturbed_local_run() {
    let cluster = cluster();
    // The same bot by name and namespace: ids of orders and trades are made from both.
    let local = Local::new(&in_namespace(&example_at("864000"), "recovery"));
    let output = local.run_to_end(&sample_bars(), &["--speed", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = ledger(local.journal("trades"), &local.journal("status"));
    assert!(!expected["trades"].as_array().expect("a list").is_empty());

    let namespace = &cluster.namespace("recovery");
    // Ten months in half a minute: the pod is deleted in the middle.
    apply(cluster, namespace, &example_at("864000"));
    wait::until("a trade is closed", || {
        let object = bot(cluster, namespace, "paper-btc");
        let trades = object["status"]["trading"]["closedTrades"].as_i64();
        if trades > Some(0) { Ok(()) } else { Err(object["status"].to_string()) }
    });
    let first = pod(cluster, namespace, "paper-btc");
    let name = first["metadata"]["name"].as_str().expect("a name");
    cluster.run(&["delete", "pod", "-n", namespace, name]);
    let second = pod(cluster, namespace, "paper-btc");
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    await_end_of_replay(cluster, namespace, "paper-btc");
    let trades = journal(cluster, namespace, "paper-btc", "trades");
    let status = journal(cluster, namespace, "paper-btc", "status");
    assert_eq!(ledger(trades, &status), expected);
    cluster.await_condition(namespace, "paper-btc", "Ready", "True");
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_deleted_bot_leaves_nothing() {
    let cluster = cluster();
    let namespace = &cluster.namespace("deletion");
    apply(cluster, namespace, &example_at("86400"));
    cluster.await_condition(namespace, "paper-btc", "Ready", "True");
    let kinds = "serviceaccount,role,rolebinding,configmap,secret,lease,persistentvolumeclaim,deployment,replicaset,service,networkpolicy,pod";
    let children = || {
        let label = "trading.three-rivers-tech.com/bot=paper-btc";
        cluster.run(&["get", kinds, "-n", namespace, "-l", label, "-o", "name"])
    };
    let before = children();
    for kind in [
        "serviceaccount/",
        "role.rbac",
        "rolebinding.rbac",
        "configmap/",
        "secret/",
        "lease.coordination",
        "persistentvolumeclaim/",
        "deployment.apps",
        "service/",
        "pod/",
    ] {
        assert!(before.contains(kind), "{kind} is not among {before}");
    }
    cluster.run(&["delete", "-n", namespace, "tradingbot/paper-btc"]);
    wait::until("every child is gone", || match children() {
        none if none.is_empty() => Ok(()),
        left => Err(left),
    });
}

#[test]
#[ignore = "needs a node, and with it root"]
fn the_second_example_trades_two_assets_as_it_stands() {
    let cluster = cluster();
    let namespace = &cluster.namespace("majors");
    apply(
        cluster,
        namespace,
        &std::fs::read_to_string(repository("examples/paper-majors.yaml")).expect("the example"),
    );
    let ready = cluster.await_condition(namespace, "paper-majors", "Ready", "True");
    assert_eq!(ready["status"]["summary"]["assets"], "BTC-USD, ETH-USD");
    wait::until("it decides", || {
        let object = bot(cluster, namespace, "paper-majors");
        match object["status"]["trading"]["lastDecision"]["id"].as_str() {
            Some(_) => Ok(()),
            None => Err(object["status"].to_string()),
        }
    });
}

#[test]
#[ignore = "needs a node, and with it root"]
fn no_key_is_in_any_log_event_or_status() {
    let cluster = cluster();
    let namespace = &cluster.namespace("secrets");
    apply(
        cluster,
        namespace,
        &example_at("864000").replace("spec:\n", "spec:\n  agent: {logLevel: trace}\n"),
    );
    let ready = cluster.await_condition(namespace, "paper-btc", "Ready", "True");
    let name = ready["status"]["apiKeySecret"].as_str().expect("a name");
    let secret = cluster.get(namespace, &format!("secret/{name}")).expect("the secret");
    let mut keys: Vec<String> = ["read", "trade"]
        .iter()
        .map(|role| {
            let encoded = secret["data"][role].as_str().expect("a key").to_owned();
            let template = format!("{{{{index .data \"{role}\" | base64decode}}}}");
            let plain = cluster.run(&[
                "get",
                "-n",
                namespace,
                "secret",
                name,
                "-o",
                &format!("go-template={template}"),
            ]);
            assert!(plain.len() >= 32, "a key that cannot be guessed");
            assert_ne!(plain, encoded);
            plain
        })
        .collect();

    // A key of a person's own, and one that is wrong: both are sent to the agent.
    let planted = "planted-key-7d1f0a9e-for-reading".to_owned();
    let patch = json!({"stringData": {"read": planted}}).to_string();
    cluster.run(&["patch", "-n", namespace, "secret", name, "-p", &patch]);
    keys.extend([planted.clone(), "planted-wrong-key-5b2c".to_owned()]);
    let service = cluster.get(namespace, "service/paper-btc").expect("a service");
    let address = service["spec"]["clusterIP"].as_str().expect("an address");
    let url = format!("http://{address}:8000/api/v1/bot/status");
    let status_with = |key: &str| {
        let bearer = format!("Authorization: Bearer {key}");
        let output = std::process::Command::new("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "--header",
                &bearer,
                &url,
            ])
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(status_with("planted-wrong-key-5b2c"), "401");
    assert_eq!(status_with(&keys[1]), "200", "the key for trading may read");
    wait::until("the rotated key is known", || match status_with(&planted).as_str() {
        "200" => Ok(()),
        other => Err(other.to_owned()),
    });

    let everything = [
        cluster.run(&["logs", "-n", namespace, "deployment/paper-btc", "--tail=-1"]),
        cluster.run(&[
            "logs",
            "-n",
            OPERATOR_NAMESPACE,
            "-l",
            "app.kubernetes.io/name=tradingbot-operator",
            "--tail=-1",
        ]),
        cluster.run(&["get", "events", "-A", "-o", "json"]),
        cluster.run(&[
            "get",
            "tradingbots,configmaps,deployments,pods,leases",
            "-n",
            namespace,
            "-o",
            "json",
        ]),
    ];
    assert!(everything.iter().all(|text| text.len() > 100), "there is something to search");
    for (text, what) in everything.iter().zip(["agent log", "operator log", "events", "objects"]) {
        for key in &keys {
            assert!(!text.contains(key.as_str()), "a key is in the {what}");
        }
    }
}

/// What an agent really asks for, over start, limits, restart and end, is what its Role allows.
#[test]
#[ignore = "needs a node, and with it root"]
fn an_agent_uses_each_right_of_its_role_and_asks_for_no_other() {
    let cluster = cluster();
    let namespace = &cluster.namespace("role");
    apply(cluster, namespace, &example_at("864000"));
    cluster.await_condition(namespace, "paper-btc", "Ready", "True");
    let patch = r#"{"spec": {"risk": {"confidenceFloor": 85}}}"#;
    cluster.run(&["patch", "-n", namespace, "tradingbot/paper-btc", "--type=merge", "-p", patch]);
    let first = pod(cluster, namespace, "paper-btc");
    cluster.run(&["delete", "pod", "-n", namespace, first["metadata"]["name"].as_str().expect("a name")]);
    await_end_of_replay(cluster, namespace, "paper-btc");

    let role = cluster.get(namespace, "role/paper-btc").expect("a Role");
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for verb in rule["verbs"].as_array().expect("verbs") {
            let one = |list: &str| rule[list][0].as_str().expect("one").to_owned();
            let verb = verb.as_str().expect("a verb").to_owned();
            allowed.insert((one("apiGroups"), one("resources"), one("resourceNames"), verb));
        }
    }
    let calls = cluster.audit().by(&service_account(namespace, "paper-btc"));
    let used: BTreeSet<_> = calls
        .into_iter()
        .map(|call| {
            assert_eq!(call.namespace, *namespace);
            (call.group, call.resource, call.name, call.verb)
        })
        .collect();
    assert_eq!(used, allowed);
}
