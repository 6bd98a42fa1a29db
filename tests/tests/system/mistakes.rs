//! The likeliest mistakes and what is said of each: `docs/mistakes.md` is made here and must be as it is made.
//!
//! `UPDATE=1 cargo test -p tests mistakes::` writes it.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;
use tests::cluster::{Cluster, condition};
use tests::operator::Operator;
use tests::{binary, repository, wait};

/// What a person means, and the keys of the spec by which they say it wrongly.
const MISTAKES: &[(&str, &str)] = &[
    ("a pair in lower case", "assets: [{pair: btc-usd}]"),
    ("a pair with a slash", "assets: [{pair: BTC/USD}]"),
    ("no asset", "assets: []"),
    ("assets forgotten", "assets: null"),
    ("an asset twice", "assets: [{pair: BTC-USD}, {pair: BTC-USD}]"),
    ("a pair of currencies at a paper account for crypto", "assets: [{pair: EUR-USD}]"),
    ("a pair that is quoted in another currency than the account's", "assets: [{pair: BTC-EUR}]"),
    ("a feed that is not there", "assets: [{pair: BTC-USD, feed: bar}]"),
    ("a venue that is not there", "assets: [{pair: BTC-USD, venue: papr}]"),
    ("an asset that the feed has no data for", "assets: [{pair: ETH-USD}]"),
    ("no feed", "feeds: null"),
    ("a feed without a kind", "feeds: [{name: bars}]"),
    ("a kind of feed that there is not", "feeds: [{name: bars, binance: {}}]"),
    ("a feed's name in capitals", "feeds: [{name: Bars, replay: {data: [DATA]}}]"),
    (
        "two feeds and no choice",
        "feeds: [{name: a, replay: {data: [DATA]}}, {name: b, replay: {data: [DATA]}}]",
    ),
    (
        "a timeframe that there is not",
        "feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1hour, configMaps: [FILE]}]}}]",
    ),
    (
        "bars that are too coarse",
        "feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1d, configMaps: [FILE]}]}}]",
    ),
    (
        "a file that is no CSV",
        "feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1h, configMaps: [{name: btc, key: btc.txt}]}]}}]",
    ),
    (
        "a ConfigMap that is not there",
        "feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1h, configMaps: [{name: btc, key: btc.csv}]}]}}]",
    ),
    ("no file", "feeds: [{name: bars, replay: {data: [{pair: BTC-USD, timeframe: 1h, configMaps: []}]}}]"),
    ("time that runs backwards", "feeds: [{name: bars, replay: {speed: -1, data: [DATA]}}]"),
    ("an end that there is not", "feeds: [{name: bars, replay: {onEnd: Stop, data: [DATA]}}]"),
    ("a venue without a kind", "venues: [{name: paper}]"),
    ("an account without cash", "venues: [{name: paper, paper: {startingCash: 0}}]"),
    ("cash with a separator", "venues: [{name: paper, paper: {startingCash: \"10,000\"}}]"),
    ("a cost table that there is not", "venues: [{name: paper, paper: {costs: {preset: binance}}}]"),
    ("a currency in lower case", "venues: [{name: paper, paper: {currency: usd}}]"),
    ("a duration with a space", "schedule: {interval: 5 min}"),
    ("a duration without a unit", "schedule: {interval: 300}"),
    ("a preset that there is not", "models: {preset: gpt}"),
    ("confidence as a fraction", "risk: {confidenceFloor: 0.7}"),
    ("a fraction without quotes", "risk: {riskPerTradePercent: 0.5}"),
    ("more than everything", "risk: {maxPositionPercent: 250}"),
    ("a stop that is nearer than it may be far", "risk: {stop: {minPercent: 5, maxPercent: 2}}"),
    ("a misspelt field", "risk: {maxPositionPercentage: 10}"),
    ("a misspelt word", "state: Runing"),
    ("a size in another unit", "storage: {sqlite: {size: 1GB}}"),
    ("a size for a claim that exists", "storage: {sqlite: {existingClaim: majors, size: 1Gi}}"),
    ("memory in another unit", "agent: {resources: {limits: {memory: 64MB}}}"),
    ("more requested than allowed", "agent: {resources: {requests: {memory: 128Mi}}}"),
    ("an image with a space", "agent: {image: \"tradingbot-agent: 1.0\"}"),
    ("a level of log lines that there is not", "agent: {logLevel: verbose}"),
    ("an address with its scheme", "expose: {host: \"https://bots.example.com\", ingress: {}}"),
    ("a host with a wildcard", "expose: {host: \"*.example.com\", ingress: {}}"),
    ("a path that ends with a slash", "expose: {host: bots.example.com, path: /btc/, ingress: {}}"),
    ("an address without a way in", "expose: {host: bots.example.com}"),
    ("two ways in", "expose: {host: bots.example.com, ingress: {}, gateway: {parentRef: {name: public}}}"),
    (
        "a snippet",
        "expose: {host: bots.example.com, ingress: {annotations: {nginx.ingress.kubernetes.io/server-snippet: x}}}",
    ),
    ("a certificate without a Secret", "expose: {host: bots.example.com, ingress: {}, tls: {}}"),
    (
        "an issuer without cert-manager",
        "expose: {host: bots.example.com, ingress: {}, tls: {secretName: tls, issuerRef: {kind: Issuer, name: ca}}}",
    ),
    ("a Gateway without its API", "expose: {host: bots.example.com, gateway: {parentRef: {name: public}}}"),
];

/// Those that are mistakes in this cluster only: the manifest alone does not show them.
const OF_THE_CLUSTER: [&str; 3] =
    ["a ConfigMap that is not there", "an issuer without cert-manager", "a Gateway without its API"];

const DATA: &str = "{pair: BTC-USD, timeframe: 1h, configMaps: [FILE]}";
const FILE: &str = "{name: btc-usd-1h-2020-h1, key: BTC-USD_1h_2020-H1.csv.gz}";

fn manifest(name: &str, fragment: &str) -> Value {
    let expand = |text: &str| text.replace("DATA", DATA).replace("FILE", FILE);
    let good = expand("{assets: [{pair: BTC-USD}], feeds: [{name: bars, replay: {data: [DATA]}}]}");
    let mut spec: Value = serde_yaml::from_str(&good).expect("YAML");
    let wrong: Value = serde_yaml::from_str(&format!("{{{}}}", expand(fragment))).expect("YAML");
    for (key, value) in wrong.as_object().expect("keys") {
        match value {
            Value::Null => drop(spec.as_object_mut().expect("keys").remove(key)),
            value => spec[key] = value.clone(),
        }
    }
    tests::bot::with_spec("default", name, spec)
}

/// What kubectl says when it refuses, or the condition says when the operator does.
fn told(cluster: &Cluster, name: &str, fragment: &str) -> (&'static str, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bot.yaml"), manifest(name, fragment).to_string()).expect("a manifest");
    let output = cluster
        .kubectl(&["apply", "-f", "bot.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("kubectl runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let message = if output.status.success() {
        let bot = cluster.await_condition("default", name, "Stalled", "True");
        let message = condition(&bot, "Stalled").expect("a condition")["message"].clone();
        return ("condition `Stalled`", message.as_str().expect("text").to_owned());
    } else {
        said.replace(&format!("{name:?}"), "\"majors\"")
    };
    ("kubectl apply", message.trim().to_owned())
}

const HEAD: &str = "\
<!-- Made by a test: UPDATE=1 cargo test -p tests mistakes::. Do not edit. -->
# Mistakes

What is said of the likeliest mistakes, word for word. What the schema knows, `kubectl apply` says at once and nothing changes. What depends on
several fields or on the cluster, the operator says in the condition `Stalled` (and in `Ready`, an event, and `kubectl get tradingbots -o wide`);
nothing is made of such a bot, and one that runs goes on as it was. `tradingbot-agent check -f bot.yaml` says\nwhat the manifest alone shows, before anything is applied: all of these but the ones that say what the cluster lacks.
";

#[test]
fn check_finds_every_mistake_that_the_manifest_alone_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bot.yaml");
    let is_found = |fragment: &str| {
        std::fs::write(&file, manifest("majors", fragment).to_string()).expect("a manifest");
        let check = Command::new(binary("tradingbot-agent")).args(["check", "-f"]).arg(&file).output();
        !check.expect("the agent runs").status.success()
    };
    let missed: Vec<_> =
        MISTAKES.iter().filter(|(_, fragment)| !is_found(fragment)).map(|(what, _)| *what).collect();
    assert_eq!(missed, OF_THE_CLUSTER);
}

#[test]
fn the_likeliest_mistakes_are_answered_as_the_docs_say() {
    assert!(MISTAKES.len() >= 40);
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let _operator = Operator::start(&cluster);
    let numbered: Vec<_> = MISTAKES.iter().enumerate().collect();
    // kubectl is mostly waiting: four at a time.
    let told: Vec<_> = std::thread::scope(|scope| {
        let cluster = &cluster;
        let parts: Vec<_> = numbered
            .chunks(numbered.len().div_ceil(4))
            .map(|part| {
                scope.spawn(move || {
                    let one = |(i, (_, fragment)): &(usize, &(&str, &str))| {
                        told(cluster, &format!("m{i}"), fragment)
                    };
                    part.iter().map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("it is told")).collect()
    });

    let mut page = HEAD.to_owned();
    for ((what, fragment), (by, message)) in MISTAKES.iter().zip(told) {
        let fragment = fragment.replace("DATA", "…").replace("FILE", "…");
        let message =
            message.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect::<Vec<_>>();
        writeln!(page, "\n**{what}**: `{fragment}`, {by}:\n\n{}", message.join("\n")).expect("text");
    }
    let path = repository("docs/mistakes.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, committed, "docs/mistakes.md is stale: UPDATE=1 cargo test -p tests mistakes::");

    // None of them left anything behind, and the operator still works.
    wait::until("a good bot is made", || {
        cluster.apply(&manifest("good", "state: Running").to_string());
        cluster.get("default", "deployment/good").map(drop).ok_or_else(|| "no deployment".to_owned())
    });
    let made = cluster.run(&["get", "deployments,persistentvolumeclaims", "-n", "default", "-o", "name"]);
    assert!(made.lines().all(|line| line.ends_with("/good")), "{made}");
}
