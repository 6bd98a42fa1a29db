//! The rights that the chart gives are those that the operator uses: none is missing, none is too much.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::audit::Call;
use tests::bot::btc;
use tests::cluster::{Cluster, OPERATOR_NAMESPACE, condition};
use tests::operator::{Operator, Options, chart};
use tests::{repository, wait};

const RELEASE: &str = "tradingbot-operator";

/// API group, resource with subresource, verb.
type Right = (String, String, String);

/// The kinds of children that can be in the way and drift, as kubectl names them, each with the bot that has one.
const KINDS: [(&str, &str); 11] = [
    ("serviceaccount", "life"),
    ("role", "life"),
    ("rolebinding", "life"),
    ("configmap", "life"),
    ("lease", "life"),
    ("persistentvolumeclaim", "life"),
    ("service", "life"),
    ("networkpolicy", "life"),
    ("ingress", "life"),
    ("deployment", "life"),
    ("httproute", "routed"),
];

/// A bot with a way in of that kind and a host of its own.
fn reachable(namespace: &str, name: &str, by: &str) -> Value {
    let way = match by {
        "httproute" => ("gateway", json!({"parentRef": {"name": "web"}})),
        _ => ("ingress", json!({"className": "nginx"})),
    };
    let mut bot = btc(namespace, name);
    bot["spec"]["expose"] = json!({"host": format!("{name}.{namespace}.example.com"), "path": "/bot"});
    bot["spec"]["expose"][way.0] = way.1;
    bot
}

/// The same with a certificate.
fn certified(namespace: &str, name: &str, secret: &str) -> Value {
    let mut bot = reachable(namespace, name, "ingress");
    bot["spec"]["expose"]["tls"] =
        json!({"secretName": secret, "issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt"}});
    bot
}

/// The APIs that a cluster may have or not.
fn define_optional_kinds(cluster: &Cluster) {
    for (module, file) in [
        ("github.com/cert-manager/cert-manager", "deploy/crds/cert-manager.io_certificates.yaml"),
        ("sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    ] {
        let file = lab::tools::module("cert-manager", module).expect("a module").join(file);
        let file = file.to_str().expect("a path in UTF-8");
        // Too large for the annotation of a client-side apply.
        cluster.run(&["apply", "--server-side", "-f", file]);
    }
}

/// What rules allow, whatever the names of the objects.
fn rights_of(role: &Value) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

/// The role of that name in the chart's objects, in a namespace or in all.
fn role<'a>(objects: &'a [Value], name: &str, namespace: Option<&str>) -> &'a Value {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    objects
        .iter()
        .find(|object| {
            object["kind"] == kind
                && object["metadata"]["name"] == name
                && object["metadata"]["namespace"].as_str() == namespace
        })
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn used<'a>(calls: impl Iterator<Item = &'a Call>) -> BTreeSet<Right> {
    calls.map(|call| (call.group.clone(), call.resource.clone(), call.verb.clone())).collect()
}

fn is_election(call: &Call) -> bool {
    call.namespace == OPERATOR_NAMESPACE && call.resource == "leases"
}

/// An object of somebody else's that bears the name of a bot's child.
fn foreign(kind: &str, namespace: &str, name: &str) -> Value {
    let (api_version, kind, spec) = match kind {
        "serviceaccount" => ("v1", "ServiceAccount", json!({})),
        "role" => ("rbac.authorization.k8s.io/v1", "Role", json!({"rules": []})),
        "rolebinding" => (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"}}),
        ),
        "configmap" => ("v1", "ConfigMap", json!({})),
        "lease" => ("coordination.k8s.io/v1", "Lease", json!({})),
        "persistentvolumeclaim" => (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}),
        ),
        "service" => ("v1", "Service", json!({"spec": {"ports": [{"port": 1}]}})),
        "ingress" => (
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"defaultBackend": {"service": {"name": "none", "port": {"number": 1}}}}}),
        ),
        "httproute" => ("gateway.networking.k8s.io/v1", "HTTPRoute", json!({"spec": {}})),
        "certificate" => (
            "cert-manager.io/v1",
            "Certificate",
            json!({"spec": {
                "secretName": name, "dnsNames": ["mine.example.com"], "issuerRef": {"name": "mine"},
            }}),
        ),
        "networkpolicy" => ("networking.k8s.io/v1", "NetworkPolicy", json!({"spec": {"podSelector": {}}})),
        "deployment" => (
            "apps/v1",
            "Deployment",
            json!({"spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "localhost/none:1"}]},
                },
            }}),
        ),
        other => panic!("{other}"),
    };
    let mut object = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}
    });
    for (key, value) in spec.as_object().expect("an object") {
        object[key] = value.clone();
    }
    object
}

/// Everything that can happen to a bot.
fn live(cluster: &Cluster, namespace: &str) {
    let bars = repository("examples/data");
    cluster.run(&["apply", "-n", namespace, "-k", bars.to_str().expect("a path in UTF-8")]);
    let exists = |object: &str| {
        wait::until(&format!("{object} exists"), || {
            cluster.get(namespace, object).ok_or_else(|| "it does not".to_owned())
        })
    };
    cluster.apply(&certified(namespace, "life", "life-tls").to_string());
    cluster.apply(&reachable(namespace, "routed", "httproute").to_string());
    for object in ["deployment/life", "deployment/routed", "certificate/life-tls"] {
        exists(object);
    }
    cluster.await_condition(namespace, "life", "ConfigValid", "True");

    // Edited by its owner.
    let patch = r#"{"spec": {"risk": {"confidenceFloor": 85}, "agent": {"logLevel": "debug"}}}"#;
    cluster.run(&["patch", "-n", namespace, "tradingbot/life", "--type=merge", "-p", patch]);
    wait::until("the operator has seen it", || {
        let bot = cluster.get(namespace, "tradingbot/life").ok_or("no bot")?;
        let seen = bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
        if seen { Ok(()) } else { Err(bot["status"].to_string()) }
    });

    // Each child edited and deleted by others.
    for (kind, bot) in KINDS {
        let object = format!("{kind}/{bot}");
        // Of a Lease, which the agent writes all the time, only the presence of this label is looked at.
        let label = "trading.three-rivers-tech.com/bot";
        let change = if kind == "lease" { format!("{label}-") } else { format!("{label}=other") };
        cluster.run(&["label", "-n", namespace, &object, &change, "--overwrite"]);
        let repaired = wait::until(&format!("{object} is repaired"), || {
            let found = cluster.get(namespace, &object).ok_or("it is gone")?;
            if found["metadata"]["labels"][label] == bot { Ok(found) } else { Err(found.to_string()) }
        });
        if kind == "persistentvolumeclaim" {
            continue; // A claim is never made behind a bot that runs.
        }
        cluster.run(&["delete", "-n", namespace, &object]);
        wait::until(&format!("{object} is there again"), || match cluster.get(namespace, &object) {
            Some(new) if new["metadata"]["uid"] != repaired["metadata"]["uid"] => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    let patch = r#"{"spec": {"dnsNames": ["other.example.com"]}}"#;
    cluster.run(&["patch", "-n", namespace, "certificate/life-tls", "--type=merge", "-p", patch]);
    wait::until("the certificate is repaired", || {
        let found = cluster.get(namespace, "certificate/life-tls").ok_or("it is gone")?;
        let is_repaired = found["spec"]["dnsNames"] == json!([format!("life.{namespace}.example.com")]);
        if is_repaired { Ok(()) } else { Err(found.to_string()) }
    });

    // Something of somebody else's in the way of each child.
    let collides = |kind: &str, bot: Value, child: &str| {
        cluster.apply(&foreign(kind, namespace, child).to_string());
        cluster.apply(&bot.to_string());
        let name = bot["metadata"]["name"].as_str().expect("a name");
        let stalled = cluster.await_condition(namespace, name, "Stalled", "True");
        assert_eq!(condition(&stalled, "Stalled").expect("stalled")["reason"], "NameCollision", "{kind}");
    };
    for (kind, _) in KINDS {
        let name = format!("in-the-way-{kind}");
        collides(kind, reachable(namespace, &name, kind), &name);
    }
    collides("certificate", certified(namespace, "in-the-way", "in-the-way-tls"), "in-the-way-tls");

    // What bears the bot's mark and is none of its children.
    let uid = cluster.get(namespace, "tradingbot/life").expect("the bot")["metadata"]["uid"].clone();
    for (kind, _) in KINDS {
        let name = format!("stray-{kind}");
        let mut stray = foreign(kind, namespace, &name);
        stray["metadata"]["labels"] = json!({
            "app.kubernetes.io/managed-by": "tradingbot-operator",
            "trading.three-rivers-tech.com/bot": "life",
        });
        stray["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "trading.three-rivers-tech.com/v1alpha1",
            "kind": "TradingBot", "name": "life", "uid": uid, "controller": true,
        }]);
        cluster.apply(&stray.to_string());
        wait::until(&format!("the stray {kind} is deleted"), || {
            let object = cluster.get(namespace, &format!("{kind}/{name}"));
            match object.filter(|object| object["metadata"]["deletionTimestamp"].is_null()) {
                None => Ok(()),
                Some(object) => Err(object.to_string()),
            }
        });
    }
    cluster.apply(&reachable(namespace, "life", "ingress").to_string());
    wait::until("nobody asks for the certificate and it is deleted", || {
        cluster.get(namespace, "certificate/life-tls").map_or(Ok(()), |object| Err(object.to_string()))
    });
    cluster.run(&["delete", "-n", namespace, "tradingbot/life"]);
    wait::until("garbage collection has taken its children", || {
        cluster
            .get(namespace, "deployment/life")
            .map_or(Ok(()), |_| Err("the Deployment is there".to_owned()))
    });
}

fn every_right_is_used_and_none_is_missing(values: &[String], namespaces: Option<&[&str]>) {
    let cluster = Cluster::control_plane();
    for namespace in namespaces.into_iter().flatten() {
        cluster.run(&["create", "namespace", namespace]);
    }
    let mut args: Vec<String> =
        ["--leader-election", "--lease-name", RELEASE, "--name", "a"].map(str::to_owned).into();
    if let Some(namespaces) = namespaces {
        args.extend(["--watch-namespaces".to_owned(), namespaces.join(",")]);
    }
    define_optional_kinds(&cluster);
    let mut audit = cluster.audit();
    let options = Options { values: values.to_vec(), args, ..Options::default() };
    let mut operator = Operator::start_with(&cluster, options);
    operator.await_ready();
    for namespace in namespaces.unwrap_or(&["default"]) {
        live(&cluster, namespace);
    }
    let lease = format!("lease/{RELEASE}");
    cluster.run(&["delete", "-n", OPERATOR_NAMESPACE, &lease]);
    wait::until("the Lease is there again", || {
        cluster.get(OPERATOR_NAMESPACE, &lease).ok_or_else(|| "it is not".to_owned())
    });
    let granted = cluster.get(namespaces.map_or("default", |all| all[0]), "role/in-the-way-service");
    let granted = rights_of(&granted.expect("a bot's Role"));
    assert!(operator.stop().success());

    let mut calls = audit.by(&Operator::user());
    if namespaces.is_some() {
        // Whether definitions may be watched is found out by asking, once for each.
        let is_question = |call: &mut Call| call.resource == "customresourcedefinitions" && call.code == 403;
        let questions: BTreeSet<_> = calls.extract_if(.., is_question).map(|call| call.name).collect();
        let definitions = ["certificates.cert-manager.io", "httproutes.gateway.networking.k8s.io"];
        assert_eq!(questions, definitions.map(str::to_owned).into());
    }
    let refused: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    assert!(refused.is_empty(), "rights are missing: {refused:#?}");
    let reads_secrets = |call: &&Call| call.resource.starts_with("secrets") && !call.is_write();
    assert_eq!(calls.iter().find(reads_secrets), None, "the operator reads a Secret");

    let objects = chart(values);
    for namespace in namespaces.map_or(vec![None], |all| all.iter().copied().map(Some).collect()) {
        let here = |call: &&Call| !is_election(call) && namespace.is_none_or(|name| call.namespace == name);
        assert_eq!(
            rights_of(role(&objects, RELEASE, namespace)),
            used(calls.iter().filter(here)),
            "{namespace:?}"
        );
        let passed_on = role(&objects, &format!("{RELEASE}-granted"), namespace);
        assert_eq!(rights_of(passed_on), granted, "what agents get is what the operator may pass on");
    }
    let election = role(&objects, &format!("{RELEASE}-leader-election"), Some(OPERATOR_NAMESPACE));
    assert_eq!(rights_of(election), used(calls.iter().filter(|call| is_election(call))));
    if namespaces.is_some() {
        let cluster_wide =
            |object: &&Value| object["kind"].as_str().is_some_and(|kind| kind.starts_with("ClusterRole"));
        assert_eq!(objects.iter().find(cluster_wide), None, "rights in namespaces only");
        let outside = |call: &&Call| call.namespace.is_empty();
        assert_eq!(calls.iter().find(outside), None, "nothing is asked of the whole cluster");
    }
}

#[test]
fn in_the_whole_cluster_every_right_is_used_and_none_is_missing() {
    every_right_is_used_and_none_is_missing(&[], None);
}

#[test]
fn in_two_namespaces_every_right_is_used_and_none_is_missing() {
    let values = ["watchNamespaces={paper,trading}".to_owned()];
    every_right_is_used_and_none_is_missing(&values, Some(&["paper", "trading"]));
}
