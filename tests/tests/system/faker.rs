//! The faker by itself: what it does with children that somebody else made.

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::faker::{Faker, Options};
use tests::wait;

/// A bot, and the children of it that the faker looks at, as the operator would make them.
fn manifest(uid: Option<&str>) -> Value {
    let name = "played";
    let Some(uid) = uid else {
        return json!({
            "apiVersion": "trading.three-rivers-tech.com/v1alpha1", "kind": "TradingBot",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"assets": [{"pair": "BTC-USD"}], "feeds": [{"name": "bars", "replay": {"data": [{
                "pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "bars", "key": "bars.csv"}]
            }]}}]},
        });
    };
    let owner = json!([{"apiVersion": "trading.three-rivers-tech.com/v1alpha1", "kind": "TradingBot",
        "name": name, "uid": uid, "controller": true}]);
    let labels = json!({"app.kubernetes.io/managed-by": "tradingbot-operator",
        "trading.three-rivers-tech.com/bot": name});
    let metadata = json!({"name": name, "namespace": "default", "labels": labels, "ownerReferences": owner});
    let pod = json!({"containers": [{"name": "agent", "image": "localhost/agent:1"}]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config.json": "{\"configHash\":\"abc\"}"}},
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}},
    ]})
}

#[test]
fn a_bots_children_are_brought_to_life_obey_and_go_with_it() {
    let cluster = Cluster::api_server();
    let faker = Faker::start(&cluster.kubeconfig(), Options::default());
    cluster.apply(&manifest(None).to_string());
    let bot = || cluster.get("default", "tradingbot/played").expect("the bot");
    let uid = bot()["metadata"]["uid"].as_str().expect("a UID").to_owned();
    cluster.apply(&manifest(Some(&uid)).to_string());

    let shows = |what: &str, object: &str, path: &str, wanted: Value| {
        wait::until(what, || {
            let object = cluster.get("default", object).ok_or("none")?;
            let seen = object.pointer(path).cloned().unwrap_or_default();
            if seen == wanted { Ok(object) } else { Err(object["status"].to_string()) }
        })
    };
    let deployment = shows("it is available", "deployment/played", "/status/availableReplicas", json!(1));
    assert_eq!(deployment["status"]["observedGeneration"], deployment["metadata"]["generation"]);
    let lease = cluster.get("default", "lease/played").expect("the Lease");
    assert_eq!(lease["spec"]["holderIdentity"], deployment["metadata"]["uid"]);
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], json!(uid), "it is renewed, not replaced");
    let reported = shows("the agent reports", "tradingbot/played", "/status/agent/configHash", json!("abc"));
    assert_eq!(reported["status"]["agent"]["loop"], "Running");
    assert_eq!(condition(&reported, "FeedHealthy").expect("a condition")["status"], "True");
    let fields = cluster.run(&["get", "tradingbot", "played", "-o", "json", "--show-managed-fields"]);
    assert!(fields.contains("\"manager\": \"tradingbot-agent\""), "{fields}");

    faker.direct("default", "played", |hand| {
        hand.config_hash = Some("old".into());
        hand.loop_health = "Degraded".into();
    });
    shows("another hash", "tradingbot/played", "/status/agent/configHash", json!("old"));
    faker.direct("default", "played", |hand| hand.available = false);
    shows("it is unavailable", "deployment/played", "/status/conditions/0/status", json!("False"));
    faker.direct("default", "played", |hand| hand.runs = false);
    shows("the Lease is given back", "lease/played", "/spec/holderIdentity", Value::Null);
    faker.direct("default", "played", |hand| *hand = Default::default());
    shows(
        "the Lease is taken again",
        "lease/played",
        "/spec/holderIdentity",
        deployment["metadata"]["uid"].clone(),
    );

    cluster.run(&["delete", "tradingbot", "played"]);
    for child in ["deployment", "lease", "configmap", "persistentvolumeclaim"] {
        wait::until("the child is gone", || match cluster.get("default", &format!("{child}/played")) {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        });
    }
}
