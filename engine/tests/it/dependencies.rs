//! What the engine is linked with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use serde_json::Value;

/// Whatever can touch a socket, a file, a clock or a thread pool, by the start of its name.
const DENIED: [&str; 25] = [
    "async-std",
    "axum",
    "curl",
    "futures-executor",
    "h2",
    "hyper",
    "isahc",
    "k8s-openapi",
    "kube",
    "memmap",
    "mio",
    "native-tls",
    "notify",
    "openssl",
    "polling",
    "rayon",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tungstenite",
    "ureq",
    "rusqlite",
];

#[test]
fn nothing_in_it_can_touch_a_socket_a_file_a_clock_or_a_thread() {
    // What other platforms would link may not even have been downloaded.
    let version = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--no-default-features",
            "--filter-platform",
            host,
        ])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let crds = node_of(&names, "crds");
    let mut queue = VecDeque::from([node_of(&names, "engine")]);
    let mut linked = BTreeSet::new();
    while let Some(id) = queue.pop_front() {
        if !linked.insert(id) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            let is_normal =
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
            // The workspace resolves crds once, with the features that other members want; what the
            // engine asks of it is checked below.
            let name = names[dependency["pkg"].as_str().unwrap()];
            let of_kubernetes = id == crds && ["k8s-openapi", "kube-core", "kube-derive"].contains(&name);
            if is_normal && !of_kubernetes {
                queue.push_back(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    let linked: BTreeSet<&str> = linked.into_iter().map(|id| names[id]).collect();
    // The walk sees more than the direct dependencies.
    assert!(linked.contains("ta-lib-dispatch") && linked.len() > 20, "{linked:?}");
    let denied: Vec<_> =
        linked.iter().filter(|name| DENIED.iter().any(|denied| name.starts_with(denied))).collect();
    assert!(denied.is_empty(), "the engine is linked with {denied:?}");

    let engine = metadata["packages"].as_array().unwrap().iter().find(|p| p["name"] == "engine").unwrap();
    let crds = engine["dependencies"].as_array().unwrap().iter().find(|d| d["name"] == "crds").unwrap();
    assert_eq!(crds["uses_default_features"], false, "the engine takes crds without Kubernetes");
    assert_eq!(crds["features"], serde_json::json!([]));
}

fn node_of<'a>(names: &BTreeMap<&'a str, &'a str>, wanted: &str) -> &'a str {
    names.iter().find(|(_, name)| **name == wanted).map(|(id, _)| *id).unwrap()
}
