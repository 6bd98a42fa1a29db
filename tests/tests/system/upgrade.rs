//! A newer operator restarts nobody and changes no limit of a bot that exists.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::operator::{Operator, Options};
use tests::{binary, repository, wait};

const NEWER_IMAGE: &str = "localhost/tradingbot-agent:newer";

/// An operator of the next version, built from a copy of the tree: another version string, and a version of the
/// defaults of its own in which one limit is another.
fn newer_operator(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    std::fs::create_dir(&tree).expect("a folder");
    for part in ["Cargo.toml", "Cargo.lock", ".cargo", "crds", "operator", "agent", "engine", "tests"] {
        let copied = Command::new("cp").arg("-r").arg(repository(part)).arg(&tree).status().expect("cp runs");
        assert!(copied.success(), "{part}");
    }
    let edit = |file: &str, from: &str, to: &str| {
        let path = tree.join(file);
        let text = std::fs::read_to_string(&path).expect("a file of the tree");
        assert_eq!(text.matches(from).count(), 1, "{file} has `{from}` once");
        std::fs::write(&path, text.replace(from, to)).expect("a file of the tree");
    };
    let version = env!("CARGO_PKG_VERSION");
    edit("Cargo.toml", &format!("\nversion = \"{version}\"\n"), "\nversion = \"99.0.0\"\n");
    let lock = std::fs::read_to_string(tree.join("Cargo.lock")).expect("the lock");
    let lock = ["agent", "crds", "engine", "lab", "operator", "tests"].iter().fold(lock, |lock, package| {
        let entry = |version: &str| format!("name = \"{package}\"\nversion = \"{version}\"\n");
        lock.replace(&entry(version), &entry("99.0.0"))
    });
    std::fs::write(tree.join("Cargo.lock"), lock).expect("the lock");
    let newest = newest_defaults(&tree);
    let include = |version: u32| format!("include_str!(\"../defaults/v{version}.yaml\")");
    let both = format!("{}, {}", include(newest), include(newest + 1));
    edit("crds/src/config/resolve.rs", &include(newest), &both);
    let defaults =
        std::fs::read_to_string(tree.join(format!("crds/src/defaults/v{newest}.yaml"))).expect("defaults");
    let next = tree.join(format!("crds/src/defaults/v{}.yaml", newest + 1));
    std::fs::write(&next, defaults).expect("new defaults");
    let next = format!("crds/src/defaults/v{}.yaml", newest + 1);
    edit(&next, &format!("\nversion: {newest}\n"), &format!("\nversion: {}\n", newest + 1));
    edit(&next, "confidenceFloor: 70 ", "confidenceFloor: 85 ");

    // Registry crates are those of the operator under test: same directory, same choice of packages.
    let release = binary("tradingbot-operator");
    let profile =
        release.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a profile");
    let target = release.ancestors().nth(2).expect("binaries lie in target/PROFILE");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(&tree)
        .env("CARGO_BUILD_BUILD_DIR", target)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "--locked",
            "--profile",
            if profile == "debug" { "dev" } else { profile },
        ])
        .args(["-p", "lab", "-p", "operator", "-p", "agent", "--bin", "tradingbot-operator"])
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the newer operator builds");
    folder.join("target").join(profile).join("tradingbot-operator")
}

/// The version of the defaults that new bots get.
fn newest_defaults(tree: &Path) -> u32 {
    let folder = std::fs::read_dir(tree.join("crds/src/defaults")).expect("the defaults");
    u32::try_from(folder.count()).expect("few")
}

fn bot(name: &str) -> String {
    tests::bot::btc("default", name).to_string()
}

/// Waits until the bot's status is about its spec and everything is made.
fn await_made(cluster: &Cluster, name: &str) {
    wait::until(&format!("{name} is made"), || {
        let bot = cluster.get("default", &format!("tradingbot/{name}")).ok_or("no bot")?;
        let ready = tests::cluster::condition(&bot, "Ready").ok_or("no condition")?;
        if ready["reason"] == "AgentStarting" { Ok(()) } else { Err(ready.to_string()) }
    });
}

fn deployment(cluster: &Cluster, name: &str) -> Value {
    cluster.get("default", &format!("deployment/{name}")).expect("a Deployment")
}

fn floor(cluster: &Cluster, name: &str) -> Value {
    let config = cluster.get("default", &format!("configmap/{name}")).expect("a ConfigMap");
    let text = config["data"]["config.json"].as_str().expect("a rendering");
    serde_json::from_str::<Value>(text).expect("JSON")["config"]["risk"]["confidenceFloor"].clone()
}

fn image(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["image"]
}

#[test]
fn a_newer_operator_restarts_nobody_and_changes_no_limit_until_it_is_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let newer = newer_operator(folder.path());
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);

    let mut older = Operator::start(&cluster);
    cluster.apply(&bot("veteran"));
    await_made(&cluster, "veteran");
    older.stop();
    let (before, config_before) =
        (deployment(&cluster, "veteran"), cluster.get("default", "configmap/veteran").expect("a ConfigMap"));
    let old_image = image(&before).clone();
    assert_ne!(old_image, NEWER_IMAGE);
    assert_eq!(floor(&cluster, "veteran"), 70);

    let newer = Operator::start_with(
        &cluster,
        Options { program: Some(newer), agent_image: Some(NEWER_IMAGE.into()), ..Options::default() },
    );
    // Bots are looked at in the order of a queue: when the new one is made, the old one has been looked at.
    cluster.apply(&bot("recruit"));
    await_made(&cluster, "recruit");
    newer.await_ready();
    assert_eq!(floor(&cluster, "recruit"), 85, "a new bot has the new default");
    assert_eq!(image(&deployment(&cluster, "recruit")), NEWER_IMAGE);
    // A change of its spec makes the newer operator render the old bot anew, on the defaults that it has.
    let quiet = deployment(&cluster, "veteran");
    assert_eq!(quiet, before, "nothing at all was written");
    assert_eq!(cluster.get("default", "configmap/veteran").expect("a ConfigMap"), config_before);
    cluster.run(&[
        "patch",
        "tradingbot",
        "veteran",
        "--type=merge",
        "-p",
        r#"{"spec": {"state": "Paused"}}"#,
    ]);
    wait::until("the change is rendered", || {
        let config = cluster.get("default", "configmap/veteran").ok_or("none")?;
        let text = config["data"]["config.json"].as_str().unwrap_or_default();
        if text.contains("Paused") { Ok(()) } else { Err(text.to_owned()) }
    });
    await_made(&cluster, "veteran");
    assert_eq!(floor(&cluster, "veteran"), 70, "its limits are the old ones");
    assert_eq!(deployment(&cluster, "veteran")["spec"]["template"], before["spec"]["template"]);

    // Nor does a Deployment that is lost bring new ones.
    cluster.run(&["delete", "deployment", "veteran"]);
    wait::until("it is made anew", || {
        let found = cluster.get("default", "deployment/veteran").ok_or("none")?;
        if found["metadata"]["uid"] == before["metadata"]["uid"] {
            Err("the old one".to_owned())
        } else {
            Ok(())
        }
    });
    await_made(&cluster, "veteran");
    assert_eq!(floor(&cluster, "veteran"), 70, "its limits are the old ones");
    assert_eq!(deployment(&cluster, "veteran")["spec"]["template"], before["spec"]["template"]);

    // Whoever wants the new ones removes the annotations.
    cluster.run(&[
        "annotate",
        "deployment",
        "veteran",
        "trading.three-rivers-tech.com/agent-image-",
        "trading.three-rivers-tech.com/defaults-version-",
    ]);
    wait::until("the bot has moved", || {
        let (moved, floor) = (deployment(&cluster, "veteran"), floor(&cluster, "veteran"));
        if image(&moved) == NEWER_IMAGE && floor == 85 {
            Ok(())
        } else {
            Err(format!("{} {floor}", image(&moved)))
        }
    });
    let annotations = &deployment(&cluster, "veteran")["metadata"]["annotations"];
    assert_eq!(annotations["trading.three-rivers-tech.com/agent-image"], NEWER_IMAGE);
    let moved_to = (newest_defaults(&repository("")) + 1).to_string();
    assert_eq!(annotations["trading.three-rivers-tech.com/defaults-version"], *moved_to);
    drop(newer);

    // The older one does not know these defaults: it says so and leaves the bot alone.
    let before = deployment(&cluster, "veteran");
    let _older = Operator::start(&cluster);
    let stalled = cluster.await_condition("default", "veteran", "Stalled", "True");
    let stalled = tests::cluster::condition(&stalled, "Stalled").expect("stalled");
    assert_eq!(stalled["reason"], "UnknownDefaults");
    assert_eq!(deployment(&cluster, "veteran"), before);
}

#[test]
fn other_secrets_to_pull_with_reach_every_service_account_and_restart_nobody() {
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let mut operator = Operator::start(&cluster);
    cluster.apply(&bot("puller"));
    await_made(&cluster, "puller");
    operator.stop();
    let before = deployment(&cluster, "puller");

    let named = |expected: &Value| {
        wait::until(&format!("the ServiceAccount names {expected}"), || {
            let account = cluster.get("default", "serviceaccount/puller").ok_or("no ServiceAccount")?;
            if account["imagePullSecrets"] == *expected { Ok(()) } else { Err(account.to_string()) }
        });
        assert_eq!(deployment(&cluster, "puller"), before, "nothing was written that a pod is made from");
    };
    named(&Value::Null);
    let both = json!([{"name": "registry"}, {"name": "mirror"}]);
    for (args, expected) in [
        (vec!["--agent-image-pull-secret", "registry", "--agent-image-pull-secret", "mirror"], &both),
        (vec![], &Value::Null),
    ] {
        let args = args.into_iter().map(str::to_owned).collect();
        let mut other = Operator::start_with(&cluster, Options { args, ..Options::default() });
        named(expected);
        other.stop();
    }
}
