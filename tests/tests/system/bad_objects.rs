//! Hundreds of bad objects: each is refused by the API server or explained in `ConfigValid`, and none is half made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tests::cluster::{Cluster, condition};
use tests::mutate::{Mutant, mutants};
use tests::operator::Operator;
use tests::{field, repository, wait};

/// Stands for a host of the bot's own.
const HOST: &str = "own.example.com";

const SEED: u64 = 4;
const COUNT: usize = 340;

/// Every kind of child but the Secret, which nobody may read.
const KINDS: &str = "serviceaccounts,roles,rolebindings,configmaps,leases,persistentvolumeclaims,services,\
                     networkpolicies,ingresses,deployments";

/// How many kinds a bot of that spec has.
fn whole(spec: &Value) -> usize {
    if spec["expose"].is_object() { 10 } else { 9 }
}

/// The example with every field that it leaves out set to the example of the table of effects.
fn full() -> Value {
    let text = std::fs::read_to_string(repository("examples/paper-majors.yaml")).expect("the example");
    let mut spec = serde_yaml::from_str::<Value>(&text).expect("a manifest")["spec"].clone();
    let table = std::fs::read_to_string(repository("crds/src/effects.yaml")).expect("the table");
    let table: BTreeMap<String, Value> = serde_yaml::from_str(&table).expect("a table");
    for (path, entry) in table {
        let section = path.split('.').next().expect("a section");
        if ["state", "schedule", "models", "risk", "exits", "agent"].contains(&section)
            || path.starts_with("venues[].paper.costs")
            || path.starts_with("assets[].risk")
            || ["storage.sqlite.size", "storage.sqlite.retain", "feeds[].replay.onEnd"]
                .contains(&path.as_str())
        {
            field::set(&mut spec, &path, entry["example"].clone());
        }
    }
    spec["expose"] = json!({
        "host": HOST, "path": "/majors",
        "ingress": {"className": "nginx", "annotations": {"example.com/team": "quants"}},
        "tls": {"secretName": "pair"},
    });
    spec["reconciliation"] = json!("Enabled");
    field::set(&mut spec, "assets[].feed", json!("year-2020"));
    field::set(&mut spec, "assets[].venue", json!("paper"));
    spec
}

/// Two bots with one address would be a mistake of its own.
fn bot(namespace: &str, name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(host) = spec.pointer_mut("/expose/host").filter(|host| *host == HOST) {
        *host = json!(format!("{name}.{namespace}.example.com"));
    }
    tests::bot::with_spec(namespace, name, spec)
}

/// Creates objects with one kubectl; the names of those that were taken, and all that was said.
fn create(
    cluster: &Cluster,
    folder: &Path,
    bots: &[(String, Value)],
    validate: &str,
) -> (BTreeSet<String>, String) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, bot) in bots {
        std::fs::write(folder.join(format!("{name}.json")), bot.to_string()).expect("a manifest");
    }
    let folder = folder.to_str().expect("a path in UTF-8");
    let output = cluster
        .kubectl(&["create", "-f", folder, &format!("--validate={validate}"), "-o", "name"])
        .output()
        .expect("kubectl runs");
    let taken = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| Some(line.rsplit_once('/')?.1.to_owned()))
        .collect();
    (taken, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The definition with everything below `spec` and `status` left open, as an older or broken one might have been.
fn loosened() -> String {
    let text = std::fs::read_to_string(repository("crds/yaml/tradingbots.yaml")).expect("the definition");
    let mut definition: Value = serde_yaml::from_str(&text).expect("YAML");
    let open = json!({"x-kubernetes-preserve-unknown-fields": true});
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "properties": {"spec": open, "status": open}});
    definition.to_string()
}

/// Waits until the API server refuses, or takes, a bot that is plainly wrong.
fn await_definition(cluster: &Cluster, refuses: bool) {
    let wrong = bot("default", "probe", &json!({"assets": 7})).to_string();
    wait::until("the definition is in force", || {
        let mut arguments = vec!["create", "--dry-run=server", "--validate=ignore", "-f"];
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &wrong).expect("a manifest");
        arguments.push(file.path().to_str().expect("a path in UTF-8"));
        let output = cluster.kubectl(&arguments).output().expect("kubectl runs");
        if output.status.success() == refuses {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        } else {
            Ok(())
        }
    });
}

fn list(cluster: &Cluster, arguments: &[&str]) -> Vec<Value> {
    let list = cluster.run(&[&["get", "-o", "json"], arguments].concat());
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["items"].as_array().expect("items").clone()
}

/// Waits until the operator has said of each bot whether its configuration is valid; with what it said.
///
/// The API server refuses every status of an object on which a rule of the schema cannot even be evaluated, such as
/// one whose spec is a list. Of those the operator's log says so.
fn await_verdicts(
    cluster: &Cluster,
    namespace: &str,
    operator: &Operator,
) -> BTreeMap<String, (bool, String)> {
    wait::until(&format!("every bot of {namespace} is judged"), || {
        let mut verdicts = BTreeMap::new();
        let log = operator.log();
        for bot in list(cluster, &["tradingbots", "-n", namespace]) {
            let name = bot["metadata"]["name"].as_str().expect("a name").to_owned();
            let verdict = condition(&bot, "ConfigValid")
                .filter(|_| bot["status"]["observedGeneration"] == bot["metadata"]["generation"]);
            let Some(verdict) = verdict else {
                let of_bot =
                    format!("\"namespace\":\"{namespace}\",\"bot\":\"{name}\",\"reason\":\"StatusFailed\"");
                let said = log.lines().find(|line| line.contains(&of_bot) && line.contains("is invalid: "));
                let said = said.ok_or_else(|| format!("{name}: {}\n{}", bot["spec"], bot["status"]))?;
                verdicts.insert(name, (false, said.to_owned()));
                continue;
            };
            let (mut valid, mut verdict) = (verdict["status"] == "True", verdict);
            // The one thing that is said of a valid configuration: its bars are not there.
            if let Some(stalled) = condition(&bot, "Stalled") {
                assert!(!valid || stalled["reason"] == "MissingConfigMap", "{name}: {stalled}");
                (valid, verdict) = (false, stalled);
            }
            verdicts.insert(name, (valid, verdict["message"].as_str().unwrap_or_default().to_owned()));
        }
        Ok(verdicts)
    })
}

/// A message with `[]` for any member of a list: it may be named by its number, its name or its pair.
fn whichever(message: &str) -> String {
    let mut rest = message;
    let mut all = String::new();
    while let Some(begin) = rest.find('[') {
        let (before, from) = rest.split_at(begin + 1);
        all += before;
        // Other brackets are those of a list of mistakes.
        let is_member = before[..begin].ends_with(char::is_alphanumeric);
        rest = from.find(']').filter(|_| is_member).map_or(from, |end| &from[end..]);
    }
    all + rest
}

/// What exists of each bot.
fn made(cluster: &Cluster, namespace: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut made = BTreeMap::<String, BTreeSet<String>>::new();
    let label = "app.kubernetes.io/managed-by=tradingbot-operator";
    for object in list(cluster, &[KINDS, "-n", namespace, "-l", label]) {
        let bot =
            object["metadata"]["labels"]["trading.three-rivers-tech.com/bot"].as_str().expect("a label");
        made.entry(bot.to_owned()).or_default().insert(object["kind"].as_str().expect("a kind").to_owned());
    }
    made
}

/// Checks the verdicts on mutants that the API server stored; how many of them were explained.
fn check(
    cluster: &Cluster,
    namespace: &str,
    operator: &Operator,
    stored: &BTreeMap<String, &Mutant>,
) -> usize {
    let verdicts = await_verdicts(cluster, namespace, operator);
    let mut wrong = Vec::new();
    let mut explained = 0;
    for (name, mutant) in stored {
        let (valid, message) = &verdicts[name];
        if *valid {
            if mutant.surely_bad {
                wrong.push(format!("{name} is taken for valid: {}", mutant.what));
            }
        } else {
            explained += 1;
            // A name that is wrong shows where it is missed.
            let missed =
                ["feeds", "venues"].contains(&mutant.section.as_str()) && message.contains("spec.assets[");
            // What is wrong with the spec itself shows in any part of it.
            let named = match (&mutant.path, mutant.section.as_str()) {
                (_, "") => message.contains("spec"),
                (_, "feeds") if message.contains("ConfigMaps") => true,
                // The API server's words, of what it cannot even check.
                (_, section) if message.contains("StatusFailed") => {
                    message.contains(&format!("spec.{section}"))
                }
                // Of a feed that cannot be read only the feed is known.
                (Some(_), "feeds") => whichever(message).contains("spec.feeds[]"),
                (Some(path), section) => {
                    let message = whichever(message);
                    // A member of a union that cannot be read is named as a whole.
                    message.contains(&format!("spec.{path}"))
                        || message.contains(&format!("spec.{section}[]: "))
                }
                (None, section) => message.contains(&format!("spec.{section}")),
            };
            if !named && !missed {
                wrong.push(format!("{name} ({}) is explained without the path: {message}", mutant.what));
            }
        }
    }
    // Children follow the status of those that are well.
    let complete = wait::until("the bots are whole", || {
        let made = made(cluster, namespace);
        let half = stored.iter().find(|(name, mutant)| {
            verdicts[*name].0 && made.get(*name).map_or(0, BTreeSet::len) < whole(&mutant.spec)
        });
        half.map_or_else(|| Ok(made.clone()), |(name, _)| Err(format!("{name}: {:?}", made.get(name))))
    });
    for name in stored.keys().filter(|name| !verdicts[*name].0) {
        if let Some(kinds) = complete.get(name) {
            wrong.push(format!("{name} is refused and has {kinds:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    explained
}

#[test]
fn every_bad_object_is_refused_or_explained_and_none_is_half_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = full();
    let mutants = mutants(&spec, SEED, COUNT);
    assert_eq!(mutants.len(), COUNT);
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    for namespace in ["stored", "applied"] {
        cluster.run(&["create", "namespace", namespace]);
        cluster.run(&["apply", "-n", namespace, "-k", bars.to_str().expect("a path in UTF-8")]);
    }
    let named = |namespace: &str| -> Vec<(String, Value)> {
        let good = [("good".to_owned(), bot(namespace, "good", &spec))];
        let bad = mutants
            .iter()
            .enumerate()
            .map(|(i, mutant)| (format!("m{i}"), bot(namespace, &format!("m{i}"), &mutant.spec)));
        good.into_iter().chain(bad).collect()
    };

    // Stored while nobody checked, and then the definition is what it should be.
    cluster.apply(&loosened());
    await_definition(&cluster, false);
    let mut loose = named("stored");
    for (name, spec) in
        [("seven", json!(7)), ("text", json!("spec")), ("none", Value::Null), ("list", json!([]))]
    {
        loose.push((name.to_owned(), bot("stored", name, &spec)));
    }
    let (stored, said) = create(&cluster, &folder.path().join("stored"), &loose, "ignore");
    assert!(stored.len() > 300, "{} are stored: {said}", stored.len());
    cluster
        .apply(&std::fs::read_to_string(repository("crds/yaml/tradingbots.yaml")).expect("the definition"));
    await_definition(&cluster, true);

    let mut operator = Operator::start(&cluster);
    let process = operator.pid();
    let (applied, said) = create(&cluster, &folder.path().join("applied"), &named("applied"), "strict");
    assert!(applied.contains("good"), "{said}");
    for i in (0..COUNT).filter(|i| !applied.contains(&format!("m{i}"))) {
        let told = said.contains(&format!("\"m{i}\"")) || said.contains(&format!("/m{i}.json"));
        assert!(told, "nothing is said of {}: {said}", mutants[i].what);
    }

    let of = |names: &BTreeSet<String>| -> BTreeMap<String, &Mutant> {
        mutants
            .iter()
            .enumerate()
            .map(|(i, m)| (format!("m{i}"), m))
            .filter(|(n, _)| names.contains(n))
            .collect()
    };
    let explained = check(&cluster, "applied", &operator, &of(&applied));
    let refused = COUNT - applied.iter().filter(|name| *name != "good").count();
    assert!(refused + explained >= 300, "{refused} are refused and {explained} explained");
    let explained_of_stored = check(&cluster, "stored", &operator, &of(&stored));
    assert!(explained_of_stored > 200, "{explained_of_stored}");
    let verdicts = await_verdicts(&cluster, "stored", &operator);
    let unwritable = verdicts.values().filter(|(_, said)| said.contains("StatusFailed")).count();
    assert!(unwritable < 20, "{unwritable} have no status");
    for name in ["seven", "text", "none", "list"].into_iter().filter(|name| stored.contains(*name)) {
        assert!(!verdicts[name].0, "{name}");
    }
    for namespace in ["stored", "applied"] {
        assert_eq!(
            made(&cluster, namespace)["good"].len(),
            whole(&spec),
            "the good one of {namespace} does not suffer"
        );
    }
    assert!(operator.is_running() && operator.pid() == process, "{}", operator.log());
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
    println!(
        "{COUNT} applied: {refused} refused, {explained} explained; {} stored: {explained_of_stored} explained",
        stored.len()
    );
}
