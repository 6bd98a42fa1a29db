//! The journal's claim: kept when it is to be kept, bound again only by name, never replaced behind an agent.

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::{repository, wait};

fn bot(name: &str, storage: Value) -> String {
    let mut spec = json!({
        "assets": [{"pair": "BTC-USD"}],
        "feeds": [{"name": "bars", "replay": {"data": [{
            "pair": "BTC-USD", "timeframe": "1h",
            "configMaps": [{"name": "btc-usd-1h-2020-h1", "key": "BTC-USD_1h_2020-H1.csv.gz"}]
        }]}}],
    });
    if !storage.is_null() {
        spec["storage"] = storage;
    }
    tests::bot::with_spec("default", name, spec).to_string()
}

fn cluster() -> (Cluster, Operator) {
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let operator = Operator::start(&cluster);
    (cluster, operator)
}

fn await_claim(cluster: &Cluster, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait::until(&format!("the claim {name} {what}"), || {
        let claim = cluster.get("default", &format!("pvc/{name}")).ok_or("no claim")?;
        if holds(&claim) { Ok(claim) } else { Err(claim["metadata"].to_string()) }
    })
}

fn await_reason(cluster: &Cluster, name: &str, reason: &str) -> String {
    wait::until(&format!("{name} says {reason}"), || {
        let bot = cluster.get("default", &format!("tradingbot/{name}")).ok_or("no bot")?;
        let ready = condition(&bot, "Ready").ok_or("no condition")?;
        if ready["reason"] != reason {
            return Err(ready.to_string());
        }
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// Keeps a claim that is deleted, as the pod that uses it would.
fn protect(cluster: &Cluster, name: &str) {
    let finalizers = r#"{"metadata": {"finalizers": ["example.com/in-use"]}}"#;
    cluster.run(&["patch", "pvc", name, "--type=merge", "-p", finalizers]);
}

/// Does at once what garbage collection would do in its own time.
fn delete_with_children(cluster: &Cluster, name: &str) {
    cluster.run(&["delete", "tradingbot", name, "--wait=true"]);
    let label = format!("trading.three-rivers-tech.com/bot={name}");
    let kinds = "serviceaccounts,roles,rolebindings,configmaps,leases,services,networkpolicies,deployments";
    cluster.run(&["delete", kinds, "-l", &label]);
    let objects = cluster.run(&["get", "pvc", "-l", &label, "-o", "json"]);
    let objects: Value = serde_json::from_str(&objects).expect("JSON");
    for claim in objects["items"].as_array().expect("items") {
        if claim["metadata"]["ownerReferences"].is_array() {
            vanish(cluster, claim["metadata"]["name"].as_str().expect("a name"));
        }
    }
}

/// Deletes a claim and what protects it.
fn vanish(cluster: &Cluster, name: &str) {
    cluster.run(&["delete", "pvc", name, "--wait=false"]);
    cluster.run(&["patch", "pvc", name, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
}

#[test]
fn a_retained_claim_outlives_its_bot_and_is_bound_again_only_by_name() {
    let (cluster, _operator) = cluster();
    let owned = |claim: &Value| claim["metadata"]["ownerReferences"][0]["kind"] == "TradingBot";

    // Without a word the claim goes with its bot, and the choice may change either way.
    cluster.apply(&bot("majors", Value::Null));
    let first = await_claim(&cluster, "majors", "has an owner", owned);
    let retain = json!({"sqlite": {"retain": "Retain"}});
    cluster.apply(&bot("majors", retain.clone()));
    await_claim(&cluster, "majors", "has no owner", |claim| claim["metadata"]["ownerReferences"].is_null());
    cluster.apply(&bot("majors", json!({"sqlite": {"retain": "Delete"}})));
    await_claim(&cluster, "majors", "has an owner again", owned);
    cluster.apply(&bot("majors", retain.clone()));
    let kept =
        await_claim(&cluster, "majors", "has no owner", |c| c["metadata"]["ownerReferences"].is_null());
    assert_eq!(kept["metadata"]["uid"], first["metadata"]["uid"], "it is the same all the while");

    // Another bot of that name does not find it by accident.
    delete_with_children(&cluster, "majors");
    cluster.apply(&bot("majors", retain));
    let said = await_reason(&cluster, "majors", "ClaimRetained");
    assert!(said.contains("existingClaim: majors"), "{said}");
    assert!(cluster.get("default", "deployment/majors").is_none(), "it runs nowhere");

    // It does by name, and the operator leaves the claim as it is.
    delete_with_children(&cluster, "majors");
    cluster.apply(&bot("majors", json!({"sqlite": {"existingClaim": "majors"}})));
    let deployment = wait::until("the bot runs on its former claim", || {
        cluster.get("default", "deployment/majors").ok_or_else(|| "no deployment".to_owned())
    });
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
    assert!(volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == "majors"));
    await_reason(&cluster, "majors", "AgentStarting");
    let bound = cluster.get("default", "pvc/majors").expect("the claim");
    assert_eq!(bound["metadata"]["resourceVersion"], kept["metadata"]["resourceVersion"]);
    protect(&cluster, "majors");
    cluster.run(&["delete", "pvc", "majors", "--wait=false"]);
    await_reason(&cluster, "majors", "ClaimTerminating");
}

#[test]
fn a_claim_that_goes_is_reported_and_never_replaced_behind_an_agent() {
    let (cluster, _operator) = cluster();
    cluster.apply(&bot("solo", Value::Null));
    let first = await_claim(&cluster, "solo", "exists", |_| true);
    await_reason(&cluster, "solo", "AgentStarting");
    let lease = |holder: &str| {
        let now = std::process::Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"])
            .output()
            .expect("date");
        let now = String::from_utf8(now.stdout).expect("UTF-8");
        let spec =
            json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": now.trim()}});
        cluster.run(&["patch", "lease", "solo", "--type=merge", "-p", &spec.to_string()]);
    };
    lease("pod-1");
    cluster.await_condition("default", "solo", "AgentConnected", "True");

    protect(&cluster, "solo");
    cluster.run(&["delete", "pvc", "solo", "--wait=false"]);
    let said = await_reason(&cluster, "solo", "ClaimTerminating");
    assert!(said.contains("solo") && said.contains("pod"), "{said}");
    // Limits still reach the agent.
    cluster.run(&["patch", "tradingbot", "solo", "--type=merge", "-p", r#"{"spec": {"state": "Paused"}}"#]);
    wait::until("the change is rendered", || {
        let config = cluster.get("default", "configmap/solo").ok_or("none")?;
        let text = config["data"]["config.json"].as_str().unwrap_or_default();
        if text.contains("Paused") { Ok(()) } else { Err(text.to_owned()) }
    });
    lease("pod-1");
    cluster.run(&["patch", "pvc", "solo", "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
    await_reason(&cluster, "solo", "ClaimLost");
    assert!(cluster.get("default", "pvc/solo").is_none(), "nothing takes its place while the agent writes");

    lease("");
    let second = await_claim(&cluster, "solo", "is made anew for the next agent", |_| true);
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
}
