//! What the status says, when it is written, and what that costs: on a bare API server with played agents.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use tests::audit::{Audit, Call};
use tests::cluster::{Cluster, condition};
use tests::faker::{Faker, Options};
use tests::operator::Operator;
use tests::record::Record;
use tests::{argocd, kstatus, wait};

struct Bench {
    record: Record,
    _states: tempfile::NamedTempFile,
    faker: Faker,
    operator: Operator,
    audit: Audit,
    cluster: Cluster,
}

impl Bench {
    fn start() -> Self {
        let cluster = Cluster::api_server();
        cluster.run(&["create", "configmap", "bars", "--from-literal=bars.csv=x"]);
        let renewals = Options { renew_every: Some(Duration::from_secs(2)), ..Options::default() };
        let faker = Faker::start(&cluster.kubeconfig(), renewals);
        let operator = Operator::start(&cluster);
        operator.await_ready();
        let states = tempfile::NamedTempFile::new().expect("a file");
        let record = cluster.record(states.path());
        let audit = cluster.audit();
        Self { record, _states: states, faker, operator, audit, cluster }
    }

    fn bot(&self, name: &str) -> Value {
        self.cluster.get("default", &format!("tradingbot/{name}")).expect("the bot exists")
    }

    fn patch(&self, name: &str, patch: &Value) {
        let bot = format!("tradingbot/{name}");
        self.cluster.run(&["patch", &bot, "--type=merge", "-p", &patch.to_string()]);
    }

    fn ready(&self, name: &str) -> Value {
        wait::until(&format!("{name} is ready for its spec"), || {
            let bot = self.bot(name);
            let seen = bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
            match condition(&bot, "Ready") {
                Some(ready) if seen && ready["status"] == "True" => Ok(bot),
                _ => Err(bot["status"].to_string()),
            }
        })
    }

    fn with_reason(&self, name: &str, kind: &str, reason: &str) -> Value {
        wait::until(&format!("{name} has {kind} with the reason {reason}"), || {
            let bot = self.bot(name);
            match condition(&bot, kind) {
                Some(found) if found["reason"] == reason => Ok(bot),
                _ => Err(bot["status"].to_string()),
            }
        })
    }

    /// What `kubectl get` shows of a bot under `SUSPENDED`.
    fn suspended_column(&self, name: &str) -> String {
        let table = self.cluster.run(&["get", "tb", name]);
        let (header, row) = table.split_once('\n').expect("a header and a row");
        let begin = header.find("SUSPENDED").expect("the column");
        let end = header.find("STATE").expect("the next column");
        row[begin..end].trim().to_owned()
    }

    /// What the operator asked about the bot named `a` and its children since the last look, once it asks nothing more.
    fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            std::thread::sleep(Duration::from_millis(1500));
            let mut more = self.audit.by(&Operator::user());
            more.retain(|call| is_of(&call.name, "a"));
            if more.is_empty() {
                break calls;
            }
            calls.extend(more);
        }
    }

    /// The writes among them, as `verb resource`.
    fn writes(&mut self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter(|c| c.is_write()).map(|c| format!("{} {}", c.verb, c.resource)).collect()
    }

    fn reconciles(&self) -> f64 {
        self.operator.metric("tradingbot_operator_reconciles_total", &[])
    }
}

/// Whether a name is that of a bot, or of a child (`a-api-0f7b1a52`) or an Event (`a.18f0c2`) of it.
fn is_of(name: &str, bot: &str) -> bool {
    name.strip_prefix(bot).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

fn manifest(name: &str) -> Value {
    let data =
        json!({"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "bars", "key": "bars.csv"}]});
    let feeds = json!([{"name": "prices", "replay": {"data": [data]}}]);
    tests::bot::with_spec("default", name, json!({"assets": [{"pair": "BTC-USD"}], "feeds": feeds}))
}

const STATUS: &str = "patch tradingbots/status";
const EVENT: &str = "create events";
const COUNTED: &str = "patch events";

#[test]
fn the_story_of_a_status() {
    let mut bench = Bench::start();
    bench.cluster.apply(&manifest("dying").to_string());
    bench.ready("dying");
    bench.cluster.apply(&manifest("a").to_string());
    bench.ready("a");
    bench.calls();

    // Renewals and what only the agent says cost nothing, not even a look.
    let (before, looks) = (renewed(&bench), bench.reconciles());
    bench.faker.direct("default", "a", |hand| {
        hand.equity = "12345.00".into();
        hand.feed_healthy = false;
        hand.loop_health = "Degraded".into();
    });
    wait::until("the agent says so, and the Lease is renewed", || {
        let bot = bench.bot("a");
        let said = bot["status"]["account"]["equity"] == "12345.00";
        if said && renewed(&bench) != before { Ok(()) } else { Err(bot["status"].to_string()) }
    });
    assert_eq!(bench.calls(), [], "a status of the agent's is none of the operator's business");
    assert_eq!(bench.reconciles(), looks);
    // Its Lease runs out while other things happen.
    bench.faker.direct("default", "dying", |hand| hand.renews = false);

    // What Ready reads costs one write of the status, and its event.
    bench.faker.direct("default", "a", |hand| hand.config_hash = Some("old".into()));
    bench.with_reason("a", "Ready", "ConfigPending");
    assert_eq!(bench.writes(), [STATUS, EVENT]);
    // The same turn in the same words is counted, not told again.
    bench.faker.direct("default", "a", |hand| hand.config_hash = None);
    bench.ready("a");
    assert_eq!(bench.writes(), [STATUS, COUNTED]);
    bench.faker.direct("default", "a", |hand| hand.config_hash = Some("old".into()));
    bench.with_reason("a", "Ready", "ConfigPending");
    assert_eq!(bench.writes(), [STATUS, COUNTED]);
    bench.faker.direct("default", "a", |hand| hand.config_hash = None);
    bench.ready("a");
    bench.calls();
    let events: Value = serde_json::from_str(&bench.cluster.run(&[
        "get",
        "events.events.k8s.io",
        "-o",
        "json",
        "--field-selector",
        "reason=ConfigPending",
    ]))
    .expect("JSON");
    assert!(
        events["items"].as_array().expect("a list").iter().any(|event| event["series"]["count"] == 2),
        "{events}"
    );

    // A foreign change of the operator's share is taken back.
    let ready = bench.ready("a");
    let forged =
        json!({"status": {"configHash": "forged", "summary": {"state": "Forged"}, "conditions": []}});
    bench.cluster.run(&[
        "patch",
        "tradingbot/a",
        "--subresource=status",
        "--type=merge",
        "-p",
        &forged.to_string(),
    ]);
    wait::until("it is repaired", || {
        let bot = bench.bot("a");
        let same = ["configHash", "summary", "observedGeneration"]
            .iter()
            .all(|field| bot["status"][field] == ready["status"][field]);
        if same && condition(&bot, "Ready").is_some() { Ok(()) } else { Err(bot["status"].to_string()) }
    });
    assert_eq!(bench.writes(), [STATUS, COUNTED], "its Ready was taken away and is there again");

    // A new spec: one write has the new generation together with Ready=False.
    bench.patch("a", &json!({"spec": {"risk": {"confidenceFloor": 81}}}));
    bench.ready("a");
    bench.calls();

    // A mistake, and what follows when it is corrected: no word of it stays.
    bench.patch("a", &json!({"spec": {"risk": {"maxPositionPercent": 250}}}));
    let stalled = bench.with_reason("a", "Stalled", "InvalidSpec");
    assert!(condition(&stalled, "Reconciling").is_none());
    bench.patch("a", &json!({"spec": {"risk": {"maxPositionPercent": 20}}}));
    let healed = bench.ready("a");
    for gone in ["Stalled", "Reconciling"] {
        assert!(condition(&healed, gone).is_none(), "{gone} is left behind");
    }
    assert!(!healed["status"].to_string().contains("250"), "a phase that is never cleared");

    // An agent that is gone: what it said last stays, but for its conditions.
    let gone = bench.with_reason("dying", "FeedHealthy", "AgentGone");
    assert_eq!(condition(&gone, "FeedHealthy").expect("a condition")["status"], "Unknown");
    assert!(gone["status"]["agent"]["pod"].is_string() && gone["status"]["account"]["equity"].is_string());
    bench.with_reason("dying", "Ready", "LeaseExpired");
    bench.faker.direct("default", "dying", |hand| hand.renews = true);
    bench.ready("dying");
    wait::until("the agent speaks for itself again", || {
        let bot = bench.bot("dying");
        match condition(&bot, "FeedHealthy") {
            Some(feed) if feed["status"] == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    // A restart writes nothing.
    bench.calls();
    bench.operator.restart();
    bench.operator.await_ready();
    assert_eq!(bench.writes(), [""; 0], "a restart");

    let mut states = bench.record.states();
    states.retain(|bot| bot["status"]["summary"]["state"] != "Forged");
    judge(&states);
}

fn renewed(bench: &Bench) -> Value {
    bench.cluster.get("default", "lease/a").expect("a Lease")["spec"]["renewTime"].clone()
}

/// What holds of every state that anybody could have seen.
fn judge(states: &[Value]) {
    assert!(states.len() > 20, "{} states were seen", states.len());
    let mut seen = BTreeSet::new();
    for (bot, said) in states.iter().zip(kstatus::of(states)) {
        assert_eq!(said.status, kstatus::expected(bot), "{}: {}", said.message, bot["status"]);
        assert_eq!(kstatus::contradiction(bot), None, "{}", bot["status"]);
        seen.insert(said.status);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["Current", "Failed", "InProgress"]);
    let healths = argocd::judge(states).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
    assert_eq!(healths.into_keys().collect::<Vec<_>>(), ["Degraded", "Healthy", "Progressing"]);
    judge_words(states);
}

/// An agent may fall back at any time, and the operator says so next. It must not say Ready meanwhile.
fn judge_words(states: &[Value]) {
    let mut words = HashMap::new();
    for bot in states {
        let (wanted, runs) = (&bot["status"]["configHash"], &bot["status"]["agent"]["configHash"]);
        let ready = condition(bot, "Ready");
        let is_new =
            words.insert(bot["metadata"]["uid"].to_string(), (ready, wanted)) != Some((ready, wanted));
        let is_current = bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
        if is_new && is_current && ready.is_some_and(|ready| ready["status"] == "True") {
            assert_eq!(wanted, runs, "a Ready that is stale: {}", bot["status"]);
        }
    }
}

#[test]
fn what_agents_say_while_the_operator_writes_is_never_overlooked() {
    let bench = Bench::start();
    let names: Vec<String> = (0..8).map(|number| format!("a-{number}")).collect();
    for name in &names {
        bench.cluster.apply(&manifest(name).to_string());
    }
    names.iter().for_each(|name| drop(bench.ready(name)));
    // Each word makes the operator write, and the next one comes while it does.
    for pause in 0..40 {
        for name in &names {
            let hash = (pause % 2 == 0).then(|| "old".to_owned());
            bench.faker.direct("default", name, |hand| hand.config_hash = hash);
        }
        std::thread::sleep(Duration::from_millis(3 * pause));
    }
    for name in &names {
        bench.ready(name);
    }
    for name in &names {
        bench.faker.direct("default", name, |hand| hand.config_hash = Some("old".into()));
    }
    names.iter().for_each(|name| drop(bench.with_reason(name, "Ready", "ConfigPending")));
    judge_words(&bench.record.states());
}

#[test]
fn a_suspended_bot_is_left_alone_and_limits_do_not_wait_for_bars() {
    let mut bench = Bench::start();
    bench.cluster.apply(&manifest("a").to_string());
    let first = bench.ready("a");
    assert_eq!(bench.suspended_column("a"), "", "nobody is told of what is as usual");
    bench.patch("a", &json!({"spec": {"reconciliation": "Suspended"}}));
    bench.with_reason("a", "ReconciliationSuspended", "Suspended");
    assert_eq!(bench.suspended_column("a"), "True");
    bench.calls();
    bench.cluster.run(&["delete", "service/a"]);
    bench.patch("a", &json!({"spec": {"risk": {"confidenceFloor": 82}}}));
    let waiting = wait::until("the status names what waits", || {
        let bot = bench.bot("a");
        let message = condition(&bot, "ReconciliationSuspended").ok_or("none")?["message"].to_string();
        if message.contains("is not handed") { Ok(bot) } else { Err(message) }
    });
    assert_eq!(condition(&waiting, "Ready").expect("a condition")["status"], "True", "it trades on");
    assert_eq!(waiting["status"]["configHash"], first["status"]["configHash"]);
    assert_eq!(bench.writes(), [STATUS, EVENT]);
    assert!(bench.cluster.get("default", "service/a").is_none(), "nothing is repaired");
    bench.patch("a", &json!({"spec": {"reconciliation": "Enabled"}}));
    let enabled = bench.ready("a");
    assert!(condition(&enabled, "ReconciliationSuspended").is_none());
    assert_ne!(enabled["status"]["configHash"], first["status"]["configHash"]);
    assert!(bench.cluster.get("default", "service/a").is_some(), "and now it is");

    // The bars go: the bot stalls, and lower limits reach its agent all the same.
    bench.cluster.run(&["delete", "configmap/bars"]);
    let stalled = bench.with_reason("a", "Stalled", "MissingConfigMap");
    let pod = bench.cluster.get("default", "deployment/a").expect("a Deployment");
    bench.patch("a", &json!({"spec": {"risk": {"maxPositionPercent": 5}, "agent": {"logLevel": "debug"}}}));
    wait::until("the agent runs the lower limits", || {
        let bot = bench.bot("a");
        let (wanted, runs) = (&bot["status"]["configHash"], &bot["status"]["agent"]["configHash"]);
        let changed = *wanted != stalled["status"]["configHash"];
        if changed && wanted == runs { Ok(()) } else { Err(bot["status"].to_string()) }
    });
    bench.with_reason("a", "Stalled", "MissingConfigMap");
    let same = bench.cluster.get("default", "deployment/a").expect("a Deployment");
    assert_eq!(
        same["metadata"]["generation"], pod["metadata"]["generation"],
        "a pod without bars would hang"
    );
    bench.cluster.run(&["create", "configmap", "bars", "--from-literal=bars.csv=x"]);
    let healed = bench.ready("a");
    assert!(condition(&healed, "Stalled").is_none());

    // While a bot is being deleted nothing is made for it.
    bench.patch("a", &json!({"metadata": {"finalizers": ["example.com/kept"]}}));
    bench.cluster.run(&["delete", "tradingbot/a", "--wait=false"]);
    wait::until("it is on its way out", || {
        let deleted = bench.bot("a")["metadata"]["deletionTimestamp"].clone();
        if deleted.is_string() { Ok(()) } else { Err(deleted.to_string()) }
    });
    bench.calls();
    bench.cluster.run(&["delete", "service/a", "role/a"]);
    assert_eq!(bench.writes(), [""; 0]);
    assert!(bench.cluster.get("default", "service/a").is_none());
    bench.patch("a", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn a_bot_made_again_under_its_name_gets_nothing_of_its_predecessor() {
    let mut bench = Bench::start();
    bench.cluster.apply(&manifest("a").to_string());
    let former = bench.ready("a");
    bench.calls();

    // The operator wakes with a change of the former bot to tell of, and that bot is gone.
    bench.operator.signal("STOP");
    bench.faker.direct("default", "a", |hand| hand.config_hash = Some("old".into()));
    wait::until("the former agent says so", || {
        let hash = bench.bot("a")["status"]["agent"]["configHash"].clone();
        if hash == "old" { Ok(()) } else { Err(hash.to_string()) }
    });
    bench.cluster.run(&["delete", "tradingbot/a"]);
    bench.faker.direct("default", "a", |hand| hand.config_hash = None);
    let mut other = manifest("a");
    other["spec"]["risk"] = json!({"confidenceFloor": 83});
    bench.cluster.apply(&other.to_string());
    let uid = bench.bot("a")["metadata"]["uid"].clone();
    assert_ne!(uid, former["metadata"]["uid"]);
    bench.operator.signal("CONT");
    let latter = bench.ready("a");
    assert_eq!(latter["metadata"]["uid"], uid);

    let secret = format!("a-api-{}", &uid.as_str().expect("a UID")[..8]);
    let states = bench.record.states();
    let of_latter: Vec<_> = states.iter().filter(|bot| bot["metadata"]["uid"] == uid).collect();
    assert!(of_latter.len() > 2, "{} states were seen", of_latter.len());
    for bot in of_latter {
        let status = &bot["status"];
        assert_ne!(status["configHash"], former["status"]["configHash"], "{status}");
        assert!(status["apiKeySecret"].is_null() || status["apiKeySecret"] == secret, "{status}");
    }
}

#[test]
fn namespace_deletion_ends() {
    let cluster = Cluster::control_plane();
    let namespace = cluster.namespace("leaving");
    let operator = Operator::start(&cluster);
    operator.await_ready();
    for name in ["a", "b"] {
        let mut bot = manifest(name);
        bot["metadata"]["namespace"] = json!(namespace);
        bot["spec"]["feeds"][0]["replay"]["data"][0]["configMaps"] =
            json!([{"name": "btc-usd-1h-2020-h1", "key": "BTC-USD_1h_2020-H1.csv.gz"}]);
        cluster.apply(&bot.to_string());
        wait::until("it has its Deployment", || {
            cluster.get(&namespace, &format!("deployment/{name}")).ok_or_else(|| operator.log())
        });
    }
    let mut audit = cluster.audit();
    audit.calls();
    cluster.run(&["delete", "namespace", &namespace, "--wait=false"]);
    wait::until("the namespace is gone", || {
        let left = cluster.get("default", &format!("namespace/{namespace}"));
        left.map_or(Ok(()), |left| Err(format!("{}\n{}", left["status"], operator.log())))
    });
    let mut calls = audit.by(&Operator::user());
    calls.retain(|call| call.namespace == namespace && call.is_write());
    let made: Vec<_> = calls.iter().filter(|call| call.verb == "create" && call.code < 300).collect();
    assert!(made.iter().all(|call| call.resource == "events"), "{made:?}");
    assert!(calls.len() < 60, "{} writes of a namespace that goes: {calls:?}", calls.len());
}
