//! What the operator writes, seen from outside: what is not as asked for is put right, what is not its own is left
//! alone, and nothing else is written.

use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tests::account;
use tests::cluster::{Cluster, condition};
use tests::local::free_port;
use tests::operator::{Operator, Options};
use tests::{binary, wait};

const BOT_LABEL: &str = "trading.three-rivers-tech.com/bot";
const OURS: &str = "tradingbot-operator";

/// The watched children of a bot, as kubectl names them.
const CHILDREN: [&str; 8] = [
    "serviceaccount",
    "role",
    "rolebinding",
    "configmap",
    "persistentvolumeclaim",
    "service",
    "networkpolicy",
    "deployment",
];

/// The operator outside the cluster, with its chart's rights. It ends when its input does: with this process, however
/// that ends.
fn start_operator(prepared: &Operator) -> Child {
    Command::new("sh")
        .args(["-c", "\"$0\" \"$@\" <&- & cat >/dev/null; kill -9 $!"])
        .arg(binary("tradingbot-operator"))
        .args(["run", "--agent-image", "localhost/tradingbot-agent:test"])
        .args(["--address", &format!("127.0.0.1:{}", free_port())])
        .env("KUBECONFIG", prepared.kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the operator runs")
}

fn end(mut operator: Child) {
    drop(operator.stdin.take());
    operator.wait().expect("it ends");
}

struct Bench {
    cluster: Cluster,
    /// Its rights.
    prepared: Operator,
    /// Written to by the one test that needs the cluster for itself.
    operator: RwLock<Option<Child>>,
}

impl Bench {
    fn get() -> &'static Self {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        BENCH.get_or_init(|| {
            let cluster = Cluster::control_plane();
            let prepared = Operator::prepare(&cluster, Options::default());
            let operator = RwLock::new(Some(start_operator(&prepared)));
            Self { cluster, prepared, operator }
        })
    }

    /// Runs a test beside others, in a namespace of its own.
    fn test(name: &str, test: impl FnOnce(&Place)) {
        let bench = Self::get();
        let _shared = bench.operator.read().unwrap_or_else(PoisonError::into_inner);
        bench.cluster.namespace(name);
        test(&Place { cluster: &bench.cluster, namespace: name });
    }
}

struct Place<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Place<'_> {
    fn manifest(&self, name: &str, agent: &Value) -> Value {
        let mut bot = tests::bot::btc(self.namespace, name);
        bot["spec"]["agent"] = agent.clone();
        bot
    }

    /// Applies a bot and waits until it has all its children.
    fn bot(&self, name: &str) {
        self.cluster.apply(&self.manifest(name, &json!({})).to_string());
        for kind in CHILDREN {
            self.until(kind, name, |_| true);
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.run(&[&["-n", self.namespace], arguments].concat())
    }

    fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.cluster.get(self.namespace, &format!("{kind}/{name}"))
    }

    fn child(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// Waits until an object is as it should be.
    fn until(&self, kind: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("{kind} {}/{name} is as it should be", self.namespace), || {
            let object = self.find(kind, name).ok_or("it is absent")?;
            if holds(&object) { Ok(object) } else { Err(object.to_string()) }
        })
    }

    fn patch(&self, kind: &str, name: &str, patch: &Value) {
        self.kubectl(&["patch", kind, name, "--type=json", "-p", &patch.to_string()]);
    }

    /// What the operator owns of the children, with their versions: a write that changes something changes it.
    fn versions(&self, bot: &str) -> Vec<String> {
        CHILDREN.map(|kind| self.child(kind, bot)["metadata"]["resourceVersion"].to_string()).to_vec()
    }
}

/// The writes that the API server took of the kinds that only the operator and this test write.
fn writes(cluster: &Cluster) -> f64 {
    let kinds = ["roles", "rolebindings", "services", "deployments", "tradingbots"];
    cluster
        .run(&["get", "--raw", "/metrics"])
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"))
        .filter(|line| kinds.iter().any(|kind| line.contains(&format!("resource=\"{kind}\""))))
        .filter(|line| {
            ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                .iter()
                .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        })
        // The Deployment controller counts pods.
        .filter(|line| {
            !(line.contains("resource=\"deployments\"") && line.contains("subresource=\"status\""))
        })
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Waits until nothing was written for a while; how many writes there were until then.
fn quiet(cluster: &Cluster) -> f64 {
    let mut before = writes(cluster);
    wait::until("nothing is written any more", || {
        std::thread::sleep(Duration::from_secs(3));
        let now = writes(cluster);
        let is_quiet = now == before;
        before = now;
        if is_quiet { Ok(now) } else { Err(format!("{now} writes")) }
    })
}

#[test]
fn rename_or_mode_switch_leaves_exactly_one_trader() {
    Bench::test("orphans", |place| {
        place.bot("one");
        // What a version that named its children otherwise would have left, and what a person copied.
        let copy = |kind: &str, change: fn(&mut Value)| {
            let mut copy = place.child(kind, "one");
            copy["metadata"] = json!({
                "name": "copy", "namespace": place.namespace,
                "labels": copy["metadata"]["labels"], "ownerReferences": copy["metadata"]["ownerReferences"],
            });
            change(&mut copy);
            place.cluster.apply(&copy.to_string());
        };
        // Labelled, but the bot does not control it.
        copy("configmap", |copy| copy["metadata"]["ownerReferences"] = json!([]));
        copy("deployment", |_| ());
        wait::until("the second trader is gone", || {
            place.find("deployment", "copy").map_or(Ok(()), |copy| Err(copy["metadata"].to_string()))
        });
        place.child("configmap", "copy");
        place.child("deployment", "one");
    });
}

#[test]
fn a_field_that_is_no_longer_wanted_really_goes_although_post_made_it() {
    Bench::test("removed", |place| {
        let select = |selector: &Value| {
            let agent = json!({"nodeSelector": selector});
            place.cluster.apply(&place.manifest("one", &agent).to_string());
            place.until("deployment", "one", |deployment| {
                let found = deployment.pointer("/spec/template/spec/nodeSelector");
                found.unwrap_or(&json!({})) == selector
            })
        };
        // How the operator's entries came about.
        let operations = || -> Vec<String> {
            let raw = place.kubectl(&["get", "deployment", "one", "-o", "json", "--show-managed-fields"]);
            let raw: Value = serde_json::from_str(&raw).expect("JSON");
            let entries = raw["metadata"]["managedFields"].as_array().expect("entries").clone();
            let ours =
                entries.iter().filter(|entry| entry["manager"] == OURS && entry["subresource"].is_null());
            ours.map(|entry| entry["operation"].as_str().expect("a word").to_owned()).collect()
        };
        let created = select(&json!({"disk": "fast", "zone": "a"}));
        assert_eq!(operations(), ["Update"]);
        let mut audit = place.cluster.audit();
        audit.calls();
        select(&json!({"disk": "slow", "zone": "a"}));
        let mut calls = audit.by(&Operator::user());
        calls.retain(|call| call.namespace == place.namespace && call.resource == "deployments");
        assert_eq!(calls.len(), 1, "fields of which none goes need one call: {calls:?}");
        let mut both = operations();
        both.sort();
        assert_eq!(both, ["Apply", "Update"]);
        select(&json!({"zone": "a"}));
        assert_eq!(operations(), ["Apply"]);
        let updated = select(&json!({}));
        assert_eq!(created["metadata"]["uid"], updated["metadata"]["uid"], "it was not made anew");
    });
}

#[test]
fn rollout_restart_and_labels_of_people_survive() {
    Bench::test("restarted", |place| {
        place.bot("one");
        place.kubectl(&["rollout", "restart", "deployment/one"]);
        place.kubectl(&["label", "deployment", "one", "team=night"]);
        place.kubectl(&["annotate", "service", "one", "note=keep"]);
        let changed = place.manifest("one", &json!({"logLevel": "debug", "nodeSelector": {"disk": "fast"}}));
        place.cluster.apply(&changed.to_string());
        let deployment = place.until("deployment", "one", |object| {
            object["spec"]["template"]["spec"]["nodeSelector"] == json!({"disk": "fast"})
        });
        let restarted = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
        assert!(deployment.pointer(restarted).is_some_and(Value::is_string), "{deployment}");
        assert_eq!(deployment["metadata"]["labels"]["team"], "night");
        assert_eq!(place.child("service", "one")["metadata"]["annotations"]["note"], "keep");
    });
}

/// The list against which the test of metadata alone was tried; docs/operator.md has what it missed.
#[test]
fn foreign_writes_are_undone_by_whomever_and_however() {
    Bench::test("foreign", |place| {
        place.bot("one");
        let container = "/spec/template/spec/containers/0";
        let image = format!("{container}/image");
        let replace = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
        let by = |manager: &str, patch: &Value| {
            let patch = patch.to_string();
            place.kubectl(&[
                "patch",
                "deployment",
                "one",
                "--type=json",
                "--field-manager",
                manager,
                "-p",
                &patch,
            ]);
        };
        let apply = |manager: &str, object: &Value| {
            let path = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(path.path(), object.to_string()).expect("a file");
            let path = path.path().to_str().expect("UTF-8");
            place.kubectl(&[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--field-manager",
                manager,
                "-f",
                path,
            ]);
        };
        // Without labels and owner it would be nobody's.
        let applied = |change: &dyn Fn(&mut Value)| {
            let was = place.child("deployment", "one");
            let metadata = json!({
                "name": "one", "namespace": place.namespace, "labels": was["metadata"]["labels"],
                "annotations": was["metadata"]["annotations"],
                "ownerReferences": was["metadata"]["ownerReferences"],
            });
            let mut object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": was["spec"],
            });
            change(&mut object);
            object
        };
        let good = place.child("deployment", "one")["spec"].clone();
        let foreign: [(&str, &dyn Fn()); 10] = [
            ("strategy, with parameters that ours may not have", &|| {
                let patch = r#"{"spec": {"strategy": {"type": "RollingUpdate"}}}"#;
                place.kubectl(&["patch", "deployment", "one", "-p", patch]);
            }),
            ("value, patch, other manager", &|| by("other", &replace(&image, json!("other:1")))),
            ("value, patch, same manager", &|| by(OURS, &replace(&image, json!("other:1")))),
            ("value, update, same manager", &|| {
                let mut object = place.child("deployment", "one");
                *object.pointer_mut(&image).expect("an image") = json!("other:1");
                let file = tempfile::NamedTempFile::new().expect("a file");
                std::fs::write(file.path(), object.to_string()).expect("a file");
                let path = file.path().to_str().expect("UTF-8");
                place.kubectl(&["replace", "--field-manager", OURS, "-f", path]);
            }),
            ("value, apply, other manager", &|| {
                apply("other", &applied(&|o| *o.pointer_mut(&image).expect("an image") = json!("other:1")));
            }),
            ("value, apply, same manager", &|| {
                apply(OURS, &applied(&|o| *o.pointer_mut(&image).expect("an image") = json!("other:1")));
            }),
            ("field removed", &|| {
                by("other", &json!([{"op": "remove", "path": format!("{container}/env/0")}]))
            }),
            ("item added to a list", &|| {
                by(
                    "other",
                    &json!([{"op": "add", "path": format!("{container}/args/-"), "value": "--more"}]),
                );
            }),
            ("scale", &|| {
                place.kubectl(&["scale", "deployment", "one", "--replicas=3"]);
            }),
            ("hash", &|| {
                place.kubectl(&[
                    "annotate",
                    "deployment",
                    "one",
                    "trading.three-rivers-tech.com/desired-hash-",
                ]);
            }),
        ];
        for (what, write) in foreign {
            let before = place.child("deployment", "one")["metadata"]["resourceVersion"].clone();
            write();
            let repaired = wait::until(&format!("undone: {what}"), || {
                let now = place.child("deployment", "one");
                let hash = &now["metadata"]["annotations"]["trading.three-rivers-tech.com/desired-hash"];
                let is_same = now["spec"] == good && hash.is_string();
                if is_same { Ok(now) } else { Err(now["spec"].to_string()) }
            });
            assert_ne!(repaired["metadata"]["resourceVersion"], before, "{what}: the write came to pass");
        }
        // An item beside ours is not ours, nor is the status: one apply, which changes nothing, and no other.
        let mut audit = place.cluster.audit();
        audit.calls();
        let mine = json!([{"op": "add", "path": format!("{container}/env/-"), "value": {"name": "MINE", "value": "1"}}]);
        by("other", &mine);
        let status = json!({"status": {"collisionCount": 7}}).to_string();
        place.kubectl(&["patch", "deployment", "one", "--subresource=status", "--type=merge", "-p", &status]);
        // What is undone came last, so that the others were looked at.
        place.kubectl(&["scale", "deployment", "one", "--replicas=3"]);
        let object = place.until("deployment", "one", |object| object["spec"]["replicas"] == 1);
        let env = object.pointer(&format!("{container}/env")).and_then(Value::as_array).expect("a list");
        assert!(env.iter().any(|variable| variable["name"] == "MINE"), "{env:?}");
        let mut written = audit.by(&Operator::user());
        written.retain(|call| {
            call.is_write() && call.resource == "deployments" && call.namespace == place.namespace
        });
        assert!(written.len() <= 2, "{written:?}");
    });
}

#[test]
fn post_answered_already_exists_takes_back_what_lost_its_labels() {
    Bench::test("unlabelled", |place| {
        place.bot("one");
        for kind in ["service", "deployment", "role", "lease"] {
            let before = place.child(kind, "one");
            place.kubectl(&["label", kind, "one", "app.kubernetes.io/managed-by-", &format!("{BOT_LABEL}-")]);
            let after = place
                .until(kind, "one", |object| object["metadata"]["labels"] == before["metadata"]["labels"]);
            assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it is the same {kind}");
        }
    });
}

#[test]
fn a_deleted_child_is_made_anew_and_one_on_its_way_out_is_waited_for() {
    Bench::test("deleted", |place| {
        place.bot("one");
        for kind in ["service", "role", "configmap"] {
            let before = place.child(kind, "one")["metadata"]["uid"].clone();
            place.kubectl(&["delete", kind, "one", "--wait=false"]);
            place.until(kind, "one", |object| object["metadata"]["uid"] != before);
        }
        let before = place.child("persistentvolumeclaim", "one")["metadata"]["uid"].clone();
        let hold = json!([{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]}]);
        place.patch("persistentvolumeclaim", "one", &hold);
        place.kubectl(&["delete", "persistentvolumeclaim", "one", "--wait=false"]);
        wait::until("the bot says that its claim goes", || {
            let bot = place.child("tradingbot", "one");
            let ready = condition(&bot, "Ready").ok_or("no condition")?;
            if ready["reason"] == "ClaimTerminating" { Ok(()) } else { Err(ready.to_string()) }
        });
        let waiting = place.child("persistentvolumeclaim", "one");
        assert_eq!(waiting["metadata"]["uid"], before, "it is not made behind the old one's back");
        let release = json!([{"op": "replace", "path": "/metadata/finalizers", "value": []}]);
        place.patch("persistentvolumeclaim", "one", &release);
        place.until("persistentvolumeclaim", "one", |object| object["metadata"]["uid"] != before);
    });
}

/// Two writers go on for a few seconds: one spoils the Deployment, the other changes the bot, so that the version
/// under which its status is written is seldom the newest.
fn quarrel(place: &Place<'_>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let kubeconfig = Kubeconfig::read_from(place.cluster.kubeconfig()).expect("a kubeconfig");
    let write = async |api: Api<DynamicObject>, patch: fn(usize) -> Value| {
        let until = Instant::now() + Duration::from_secs(5);
        let mut writes = 0;
        while Instant::now() < until {
            writes += 1;
            let patch = Patch::Merge(patch(writes));
            api.patch("one", &PatchParams::default(), &patch).await.expect("the patch is taken");
        }
        writes
    };
    runtime.block_on(async {
        let client = account::client(&kubeconfig, None).await.expect("a client");
        let api = |group: &str, version: &str, kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            Api::namespaced_with(client.clone(), place.namespace, &resource)
        };
        let deployments = api("apps", "v1", "Deployment", "deployments");
        let bots = api("trading.three-rivers-tech.com", "v1alpha1", "TradingBot", "tradingbots");
        let (spoilt, _) = tokio::join!(
            write(deployments, |_| json!({"spec": {"replicas": 2}})),
            write(bots, |nth| json!({"spec": {"risk": {"maxEntriesPerDay": nth % 1000 + 1}}})),
        );
        spoilt
    })
}

#[test]
fn a_conflicting_writer_in_a_loop_is_outlasted() {
    Bench::test("conflict", |place| {
        place.bot("one");
        let mut audit = place.cluster.audit();
        let spoilt = quarrel(place);
        place.until("tradingbot", "one", |bot| {
            let generation = &bot["metadata"]["generation"];
            bot["status"]["observedGeneration"] == *generation
                && condition(bot, "Ready").is_some_and(|ready| ready["observedGeneration"] == *generation)
        });
        place.until("deployment", "one", |object| object["spec"]["replicas"] == 1);
        let bot = place.child("tradingbot", "one");
        assert!(condition(&bot, "Stalled").is_none(), "{}", bot["status"]);
        let entries = format!("\"maxEntriesPerDay\":{},", bot["spec"]["risk"]["maxEntriesPerDay"]);
        place.until("configmap", "one", |object| {
            object["data"]["config.json"].as_str().is_some_and(|config| config.contains(&entries))
        });
        let mut calls = audit.by(&Operator::user());
        calls.retain(|call| call.namespace == place.namespace && call.is_write());
        assert!(calls.iter().any(|call| call.code == 409), "the writers met: {calls:?}");
        let repairs = calls.iter().filter(|call| call.resource == "deployments").count();
        // No more than one for each time that it was spoilt, its creation, and the conversion of the creating entry.
        assert!(repairs <= spoilt + 2, "{repairs} repairs, spoilt {spoilt} times");
    });
}

#[test]
fn a_name_collision_stalls_and_heals_once_the_name_is_free() {
    Bench::test("collision", |place| {
        place.kubectl(&["create", "configmap", "one", "--from-literal=config.json=precious"]);
        place.cluster.apply(&place.manifest("one", &json!({})).to_string());
        let bot = place.cluster.await_condition(place.namespace, "one", "Stalled", "True");
        assert_eq!(condition(&bot, "Stalled").expect("stalled")["reason"], "NameCollision");
        assert_eq!(place.child("configmap", "one")["data"]["config.json"], "precious");
        place.kubectl(&["delete", "configmap", "one"]);
        place.until("deployment", "one", |_| true);
        assert!(place.child("configmap", "one")["metadata"]["ownerReferences"].is_array());
    });
}

#[test]
fn what_a_former_bot_of_the_name_left_is_replaced() {
    Bench::test("former", |place| {
        place.bot("one");
        let old = CHILDREN.map(|kind| place.child(kind, "one")["metadata"]["uid"].clone());
        // The new one is there before garbage collection has taken the old one's children.
        place.kubectl(&["delete", "tradingbot", "one"]);
        place.cluster.apply(&place.manifest("one", &json!({})).to_string());
        let uid = place.child("tradingbot", "one")["metadata"]["uid"].clone();
        for (kind, old) in CHILDREN.into_iter().zip(old) {
            place.until(kind, "one", |child| {
                child["metadata"]["uid"] != old && child["metadata"]["ownerReferences"][0]["uid"] == uid
            });
        }
        let lease =
            place.until("lease", "one", |lease| lease["metadata"]["ownerReferences"][0]["uid"] == uid);
        assert_eq!(lease["metadata"]["labels"][BOT_LABEL], "one");
    });
}

#[test]
fn deep_equal_endless_updates_do_not_happen_at_rest_nor_after_a_restart() {
    let bench = Bench::get();
    let mut operator = bench.operator.write().unwrap_or_else(PoisonError::into_inner);
    let namespace = bench.cluster.namespace("rest");
    let place = Place { cluster: &bench.cluster, namespace: &namespace };
    place.bot("one");
    // Quantities in other words than the API server's, and additions of people.
    let agent = json!({"resources": {"requests": {"cpu": "0.25", "memory": "128Mi"}, "limits": {"memory": "1024Mi"}}});
    place.cluster.apply(&place.manifest("two", &agent).to_string());
    place.until("deployment", "two", |_| true);
    place.kubectl(&["label", "service", "two", "team=night"]);
    quiet(&bench.cluster);
    let mut audit = bench.cluster.audit();
    audit.calls();
    let versions = (place.versions("one"), place.versions("two"));
    end(operator.take().expect("an operator"));
    *operator = Some(start_operator(&bench.prepared));
    // It is back when it puts something right again.
    place.kubectl(&["scale", "deployment", "one", "--replicas=2"]);
    place.until("deployment", "one", |object| object["spec"]["replicas"] == 1);
    quiet(&bench.cluster);
    let mut calls = audit.by(&Operator::user());
    // A conversion is refused when somebody else's entry has moved ours meanwhile.
    calls.retain(|call| call.namespace == namespace && call.is_write() && call.code != 422);
    // The repair: the conversion of the creating entry and the apply.
    assert!(calls.len() <= 2 && calls.iter().all(|call| call.resource == "deployments"), "{calls:#?}");
    assert_eq!(place.versions("one")[..6], versions.0[..6], "all but the Deployment");
    assert_eq!(place.versions("two"), versions.1);
    // For a minute nothing is asked, while other tests work on the same cluster: but that no agent has come to show
    // that the Secret of its keys is there, which only a refusal tells.
    let _shared = RwLockWriteGuard::downgrade(operator);
    let versions = (place.versions("one"), place.versions("two"));
    audit.calls();
    std::thread::sleep(Duration::from_secs(60));
    let mut calls = audit.by(&Operator::user());
    calls.retain(|call| call.namespace == namespace && !(call.resource == "secrets" && call.code == 409));
    assert_eq!(calls, []);
    assert_eq!((place.versions("one"), place.versions("two")), versions);
}
