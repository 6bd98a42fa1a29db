//! The kind itself is upgraded with the chart: bots that an older definition stored live on under the newer one.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::{repository, wait};

const DEFINITION: &str = "crd/tradingbots.trading.three-rivers-tech.com";

/// Of a release that is there for its definitions: no node runs its pods.
fn helm(cluster: &Cluster, arguments: &[&str], chart: Option<&Path>) {
    let mut helm = Command::new(lab::tools::path("helm").expect("helm"));
    helm.env("KUBECONFIG", cluster.kubeconfig()).args(arguments).args(["--namespace", "definitions"]);
    let output = helm.args(chart).output().expect("helm runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn schema(definition: &mut Value) -> &mut Value {
    &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
}

/// The chart as it might have been before `spec.reconciliation` was added and the first column of the table.
fn older_chart(folder: &Path) {
    let copied =
        Command::new("cp").arg("-r").arg(repository("charts/tradingbot-operator")).arg(folder).status();
    assert!(copied.expect("cp runs").success());
    let file = folder.join("tradingbot-operator/files/tradingbots.yaml");
    let text = std::fs::read_to_string(&file).expect("the definition");
    let mut definition: Value = serde_yaml::from_str(&text).expect("YAML");
    let fields = schema(&mut definition)["spec"]["properties"].as_object_mut().expect("fields");
    fields.remove("reconciliation").expect("a field of today");
    definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array_mut().expect("columns").remove(0);
    std::fs::write(&file, serde_yaml::to_string(&definition).expect("YAML")).expect("the definition");
}

#[test]
fn a_bot_of_an_older_definition_lives_on_under_the_newer_one_that_the_chart_brings() {
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    cluster.run(&["delete", DEFINITION]);
    let folder = tempfile::tempdir().expect("a folder");
    older_chart(folder.path());
    let older = folder.path().join("tradingbot-operator");
    helm(&cluster, &["install", "kind", "--create-namespace"], Some(&older));
    cluster.run(&["wait", DEFINITION, "--for=condition=Established", "--timeout=60s"]);

    let _operator = Operator::start(&cluster);
    cluster.apply(&tests::bot::btc("default", "veteran").to_string());
    let made = || {
        wait::until("the bot is made", || {
            let bot = cluster.get("default", "tradingbot/veteran").ok_or("no bot")?;
            let ready = condition(&bot, "Ready").ok_or("no condition")?;
            if ready["reason"] == "AgentStarting" { Ok(bot) } else { Err(ready.to_string()) }
        })
    };
    let before = made();
    let deployment = cluster.get("default", "deployment/veteran").expect("a Deployment");
    let suspend = |validate: &str| {
        let patch = r#"{"spec": {"reconciliation": "Suspended"}}"#;
        let patch = ["patch", "tradingbot/veteran", "--type=merge", "-p", patch, validate];
        cluster.kubectl(&patch).output().expect("kubectl runs")
    };
    // The older definition drops the field.
    suspend("--warnings-as-errors=false");
    assert_eq!(made()["spec"], before["spec"]);

    let chart = repository("charts/tradingbot-operator");
    helm(&cluster, &["upgrade", "kind"], Some(&chart));
    wait::until("the newer definition is in force", || {
        let mut definition = cluster.get("default", DEFINITION).ok_or("no definition")?;
        let field = schema(&mut definition)["spec"]["properties"]["reconciliation"].clone();
        if field.is_null() { Err(definition["metadata"].to_string()) } else { Ok(()) }
    });
    let same = made();
    for field in ["uid", "generation"] {
        assert_eq!(same["metadata"][field], before["metadata"][field], "{field}");
    }
    assert_eq!(same["spec"], before["spec"]);
    assert!(cluster.run(&["get", "tb"]).contains("READY"), "the newer table");

    // What the newer definition knows can be asked of the old bot.
    wait::until("the field is known", || {
        let output = suspend("--warnings-as-errors=true");
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    let suspended = cluster.await_condition("default", "veteran", "ReconciliationSuspended", "True");
    assert_eq!(suspended["status"]["observedGeneration"], json!(2));
    let untouched = cluster.get("default", "deployment/veteran").expect("a Deployment");
    assert_eq!(untouched["metadata"]["uid"], deployment["metadata"]["uid"]);
    assert_eq!(untouched["spec"], deployment["spec"], "no agent is restarted");

    // The kind and its bots outlive the release.
    helm(&cluster, &["uninstall", "kind"], None);
    assert!(cluster.get("default", "tradingbot/veteran").is_some(), "the bot is kept");
}
