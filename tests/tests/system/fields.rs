//! Every field of the schema is changed once, on a bot of its own: what changes is what crds/src/effects.yaml says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::operator::Operator;
use tests::{field, repository, wait};

/// A bot on which each field can be changed alone: its first feed and venue are used by nobody.
fn base(name: &str, path: &str) -> Value {
    let data = |pair: &str| {
        let symbol = pair.split('-').next().expect("a base").to_lowercase();
        json!({"pair": pair, "timeframe": "1h", "configMaps": [
            {"name": format!("{symbol}-usd-1h-2020-h1"), "key": "bars.csv"}
        ]})
    };
    let mut spec = json!({
        "assets": [{"pair": "BTC-USD", "feed": "bars", "venue": "paper"}],
        "feeds": [
            {"name": "spare", "replay": {"data": [data("ETH-USD"), data("BTC-USD")]}},
            {"name": "bars", "replay": {"data": [data("BTC-USD"), data("ETH-USD")]}},
        ],
        "venues": [{"name": "spare", "paper": {}}, {"name": "paper", "paper": {}}],
        "storage": {"sqlite": {"size": "1Gi"}},
    });
    if path == "storage.sqlite.existingClaim" {
        spec["storage"] = json!({"sqlite": {"existingClaim": "first"}});
    }
    if path.starts_with("expose.") {
        spec["expose"] = exposed(name, path);
    }
    tests::bot::with_spec("default", name, spec)
}

/// An address on which the field at the path can be changed alone.
fn exposed(name: &str, path: &str) -> Value {
    let mut expose = json!({"host": format!("{name}.example.com"), "path": "/bot"});
    if path.starts_with("expose.gateway.") {
        expose["gateway"] = json!({"parentRef": {"name": "shared"}});
    } else {
        expose["ingress"] = json!({"className": "nginx"});
    }
    if path.starts_with("expose.tls.") || path == "expose.host" {
        expose["tls"] = json!({"secretName": name});
    }
    if path.starts_with("expose.tls.issuerRef.") || path == "expose.host" {
        expose["tls"]["issuerRef"] = json!({"kind": "ClusterIssuer", "name": "letsencrypt-staging"});
    }
    expose
}

fn changed(name: &str, path: &str, example: &Value) -> Value {
    let mut bot = base(name, path);
    field::set(&mut bot["spec"], path, example.clone());
    // All accounts of a bot have one currency, and its assets are quoted in it.
    if path == "venues[].paper.currency" {
        let spec = &mut bot["spec"];
        spec["venues"][1]["paper"]["currency"] = example.clone();
        spec["assets"][0]["pair"] = json!("BTC-EUR");
        spec["feeds"][1]["replay"]["data"][0]["pair"] = json!("BTC-EUR");
    }
    bot
}

/// The operator's children of all bots: for each bot, its objects by kind.
type Children = BTreeMap<String, BTreeMap<String, Value>>;

const KINDS: &str = "serviceaccounts,roles,rolebindings,configmaps,leases,persistentvolumeclaims,services,\
                     networkpolicies,deployments,ingresses,httproutes,certificates";

fn children(cluster: &Cluster) -> Children {
    let label = "app.kubernetes.io/managed-by=tradingbot-operator";
    let list = cluster.run(&["get", KINDS, "-n", "default", "-l", label, "-o", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let mut children = Children::new();
    for mut object in list["items"].as_array().expect("items").clone() {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        for written_by_the_server in
            ["resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"]
        {
            metadata.remove(written_by_the_server);
        }
        // The hash of what follows, and the number of the rendering: both follow from the rest.
        metadata["annotations"]
            .as_object_mut()
            .map(|a| a.remove("trading.three-rivers-tech.com/desired-hash"));
        object.as_object_mut().expect("an object").remove("status");
        if let Some(text) = object["data"]["config.json"].as_str() {
            object["data"] = serde_json::from_str::<Value>(text).expect("JSON")["config"].clone();
        }
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        children.entry(name).or_default().insert(kind, object);
    }
    children
}

/// Waits until the operator has looked at the newest spec of every bot, and made it.
fn await_observed(cluster: &Cluster, names: &BTreeSet<String>) {
    wait::until("every bot is made", || {
        let bots = cluster.run(&["get", "tradingbots", "-n", "default", "-o", "json"]);
        let bots: Value = serde_json::from_str(&bots).expect("JSON");
        let bots = bots["items"].as_array().expect("items");
        let behind: Vec<_> = bots
            .iter()
            .filter(|bot| names.contains(bot["metadata"]["name"].as_str().unwrap_or_default()))
            .filter(|bot| {
                let valid =
                    tests::cluster::condition(bot, "ConfigValid").is_some_and(|c| c["status"] == "True");
                let ready = tests::cluster::condition(bot, "Ready").map(|ready| ready["reason"].clone());
                bot["status"]["observedGeneration"] != bot["metadata"]["generation"]
                    || !valid
                    || !ready.is_some_and(|reason| {
                        ["AgentStarting", "AgentNotConnected", "Suspended"]
                            .iter()
                            .any(|known| reason == *known)
                    })
            })
            .map(|bot| format!("{}: {}", bot["metadata"]["name"], bot["status"]))
            .collect();
        if behind.is_empty() { Ok(()) } else { Err(behind.join("\n")) }
    });
}

#[test]
fn a_change_of_each_field_has_the_effect_that_is_declared_and_no_other() {
    let table = std::fs::read_to_string(repository("crds/src/effects.yaml")).expect("the table");
    let table: BTreeMap<String, Value> = serde_yaml::from_str(&table).expect("a table");
    assert!(table.len() > 40);
    let fields: Vec<_> =
        table.iter().enumerate().map(|(i, (path, entry))| (format!("f{i}"), path, entry)).collect();

    let cluster = Cluster::control_plane();
    // A claim can grow when its class says so and it is bound.
    cluster.apply(
        &json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/none",
            "metadata": {"name": "grows", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "allowVolumeExpansion": true
        })
        .to_string(),
    );
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    tests::tls::install_crds(&cluster);
    cluster.run(&["apply", "--server-side", "-f", tests::tls::gateway_api_crds().to_str().expect("UTF-8")]);
    let _operator = Operator::start(&cluster);
    let list = |bots: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": bots}).to_string();
    cluster.apply(&list(fields.iter().map(|(name, path, _)| base(name, path)).collect()));
    let names: BTreeSet<_> = fields.iter().map(|(name, ..)| name.clone()).collect();
    await_observed(&cluster, &names);
    let growing = fields.iter().find(|(_, path, _)| *path == "storage.sqlite.size").expect("a size");
    cluster.run(&[
        "patch",
        "pvc",
        "-n",
        "default",
        &growing.0,
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}"#,
    ]);
    let before = children(&cluster);

    let (refused, taken): (Vec<_>, Vec<_>) =
        fields.iter().partition(|(_, _, entry)| entry["effect"] == "Immutable");
    for (name, path, entry) in &refused {
        let said = cluster
            .try_apply(&changed(name, path, &entry["example"]).to_string())
            .expect_err("it is refused");
        assert!(said.contains("immutable"), "{path}: {said}");
    }
    cluster.apply(&list(
        taken.iter().map(|(name, path, entry)| changed(name, path, &entry["example"])).collect(),
    ));
    await_observed(&cluster, &names);
    let after = children(&cluster);

    let mut wrong = Vec::new();
    for (name, path, entry) in &fields {
        let (before, after) = (&before[name], &after[name]);
        let kinds: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed: BTreeSet<&str> = kinds
            .into_iter()
            .filter(|kind| before.get(*kind) != after.get(*kind))
            .map(String::as_str)
            .collect();
        let template =
            |children: &BTreeMap<String, Value>| children["Deployment"]["spec"]["template"].clone();
        let restarts = template(before) != template(after);
        let expected = match entry["effect"].as_str().expect("an effect") {
            // The only value there is: nothing can change.
            "Live" if *path == "models.preset" => changed.is_empty(),
            "Live" => changed == BTreeSet::from(["ConfigMap"]),
            // The way to the agent leads where the agent is.
            "Restart" if path.starts_with("expose.") => {
                restarts && changed == BTreeSet::from(["Deployment", "Ingress"])
            }
            "Restart" => restarts && changed.iter().all(|kind| ["ConfigMap", "Deployment"].contains(kind)),
            "Children" => {
                let named = entry["children"].as_array().expect("kinds").iter();
                let named = named.map(|kind| kind.as_str().expect("a kind"));
                changed == named.filter(|kind| before.contains_key(*kind)).collect()
            }
            "Immutable" => changed.is_empty(),
            other => panic!("{path}: there is no effect {other}"),
        };
        if !expected {
            wrong.push(format!(
                "{path} is declared {entry} and changes {changed:?}, the pod's template: {restarts}"
            ));
        }
        // A limit changes itself, and those of assets that have none of their own.
        if changed.contains("ConfigMap") {
            let (before, after) = (&before["ConfigMap"]["data"], &after["ConfigMap"]["data"]);
            let section = path.split(['.', '[']).next().expect("a section");
            for (key, value) in after.as_object().expect("a configuration") {
                if before[key] != *value
                    && key != section
                    && !(section == "risk" && key == "assets")
                    && *path != "venues[].paper.currency"
                {
                    wrong.push(format!("{path} changes {key}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
