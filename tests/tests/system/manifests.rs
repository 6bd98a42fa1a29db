//! Bad manifests, as a person applies them: by the API server or by the operator, each is answered with its remedy.

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::wait;

fn good(name: &str) -> Value {
    tests::bot::btc("default", name)
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut manifest = good(name);
    change(&mut manifest);
    manifest
}

fn contains_all(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn bad_manifests_are_answered_with_field_value_and_remedy() {
    let cluster = Cluster::control_plane();
    let _operator = Operator::start(&cluster);
    let bars = tests::repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);

    // What the schema can say, kubectl says at once.
    let refused = |manifest: Value| cluster.try_apply(&manifest.to_string()).expect_err("it is refused");
    contains_all(
        &refused(changed("r", |m| m["spec"]["assets"][0]["pair"] = json!("btc/usd"))),
        &["pair", "btc/usd"],
    );
    contains_all(&refused(changed("r", |m| m["spec"]["assets"] = json!([]))), &["spec.assets"]);
    contains_all(&refused(changed("r", |m| m["spec"]["rsik"] = json!({}))), &["rsik"]);
    contains_all(
        &refused(changed("r", |m| m["spec"]["state"] = json!("Runing"))),
        &["spec.state", "Runing", "Running"],
    );
    contains_all(
        &refused(changed("r", |m| m["spec"]["risk"] = json!({"maxPositionPercent": 0.5}))),
        &["maxPositionPercent"],
    );
    contains_all(
        &refused(changed("r", |m| m["spec"]["feeds"][0]["replay"] = Value::Null)),
        &["exactly one kind of feed"],
    );
    contains_all(&refused(changed("9lives", |_| ())), &["begins with a letter"]);
    let two = json!([{"pair": "BTC-USD"}, {"pair": "BTC-USD"}]);
    contains_all(&refused(changed("r", |m| m["spec"]["assets"] = two)), &["Duplicate", "BTC-USD"]);

    // Storage is for life, and may only grow.
    let stored = |size: &str| changed("stored", |m| m["spec"]["storage"] = json!({"sqlite": {"size": size}}));
    cluster.apply(&stored("1Gi").to_string());
    cluster.apply(&stored("2Gi").to_string());
    contains_all(&refused(stored("1Gi")), &["spec.storage.sqlite", "may only grow"]);
    contains_all(&refused(stored("much")), &["spec.storage.sqlite.size", "much"]);
    contains_all(&refused(good("stored")), &["storage is immutable"]);

    // What it cannot, the operator says in the conditions.
    for (name, change, parts) in [
        ("forex", ("/assets/0/pair", json!("EUR-USD")), &["spec.assets[EUR-USD].pair", "crypto"][..]),
        ("feed", ("/assets/0/feed", json!("oanda")), &["spec.assets[BTC-USD].feed", "oanda", "bars"]),
        (
            "range",
            ("/risk", json!({"maxPositionPercent": 250})),
            &["spec.risk.maxPositionPercent", "250", "100"],
        ),
        (
            "stop",
            ("/risk", json!({"stop": {"minPercent": 5, "maxPercent": 2}})),
            &["minPercent", "maxPercent 2"],
        ),
        ("nofeed", ("/feeds", json!([])), &["spec.feeds", "add a source"]),
    ] {
        let manifest = changed(name, |manifest| {
            let (parent, key) = change.0.rsplit_once('/').expect("a pointer");
            let parent = manifest["spec"].pointer_mut(parent).expect("a place");
            parent[key] = change.1.clone();
        });
        cluster.apply(&manifest.to_string());
        let bot = cluster.await_condition("default", name, "Stalled", "True");
        let stalled = condition(&bot, "Stalled").expect("it is stalled");
        assert_eq!(stalled["reason"], "InvalidSpec");
        contains_all(stalled["message"].as_str().expect("a message"), parts);
        assert!(cluster.get("default", &format!("deployment/{name}")).is_none(), "{name} runs nowhere");
    }

    // A remedy that is followed heals the bot.
    cluster.apply(&good("range").to_string());
    wait::until("the operator makes the healed bot's children", || {
        cluster.get("default", "deployment/range").map(drop).ok_or_else(|| "no deployment".to_owned())
    });
    let healed = cluster.await_condition("default", "range", "ConfigValid", "True");
    assert!(condition(&healed, "Stalled").is_none(), "a healed bot is not stalled");

    // Bars that are not there stall a bot, and it heals when they come.
    let missing = changed("missing", |m| {
        m["spec"]["feeds"][0]["replay"]["data"][0]["configMaps"][0]["name"] = json!("absent-bars");
    });
    cluster.apply(&missing.to_string());
    let bot = cluster.await_condition("default", "missing", "Stalled", "True");
    contains_all(
        condition(&bot, "Stalled").expect("stalled")["message"].as_str().expect("text"),
        &["absent-bars"],
    );
    cluster.run(&["create", "configmap", "absent-bars", "--from-literal=BTC-USD_1h_2020-H1.csv.gz=x"]);
    wait::until("the bot is no longer stalled", || {
        let bot = cluster.get("default", "tradingbot/missing").ok_or("no bot")?;
        condition(&bot, "Stalled").map_or(Ok(()), |stalled| Err(stalled.to_string()))
    });
}

#[test]
fn an_object_of_another_owner_is_never_touched() {
    let cluster = Cluster::control_plane();
    cluster.run(&["create", "configmap", "mine", "--from-literal=config.json=precious"]);
    let bars = tests::repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let _operator = Operator::start(&cluster);
    cluster.apply(&good("mine").to_string());
    let bot = cluster.await_condition("default", "mine", "Stalled", "True");
    let stalled = condition(&bot, "Stalled").expect("stalled");
    assert_eq!(stalled["reason"], "NameCollision");
    contains_all(stalled["message"].as_str().expect("a message"), &["ConfigMap", "mine"]);
    let kept = cluster.get("default", "configmap/mine").expect("it is still there");
    assert_eq!(kept["data"]["config.json"], "precious");
}
