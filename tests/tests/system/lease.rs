//! Two agents for one bot, and whatever may come between them and their Lease: only one ever trades.
//!
//! The agents are processes as in pods, each with a journal of its own, so that nothing but the Lease keeps them
//! apart. Taking over needs most of a minute, so what can be tried side by side is.

use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::faults::{Fault, Plan};
use tests::local::{Local, sample_bars};
use tests::operator::Operator;
use tests::pod::Pod;
use tests::{repository, wait};

use super::faults::wall_clock;
use super::node;

/// A stranger takes over when the Lease stood still for so long.
const TAKEOVER_AFTER: Duration = Duration::from_secs(45);
/// Nothing answers.
const GONE: [Fault; 1] = [Fault::Reset];
/// Writes are done, and nobody hears of it.
const UNHEARD: [Fault; 1] = [Fault::AnswerLost];

const HELD: &str = "tradingbot_lease_held";
const MARKET_TIME: &str = "tradingbot_market_time_seconds";

/// An API server and an operator, which makes the children that the agents need.
struct Bench {
    _operator: Operator,
    cluster: Cluster,
}

/// Two agents of a bot; the first holds the Lease and trades.
struct Pair<'a> {
    bench: &'a Bench,
    bot: &'static str,
    first: Pod,
    second: Pod,
}

impl Bench {
    fn start() -> Self {
        let cluster = Cluster::api_server();
        let bars = repository("examples/data");
        cluster.run(&["apply", "-n", "default", "-k", bars.to_str().expect("a path in UTF-8")]);
        let operator = Operator::start(&cluster);
        operator.await_ready();
        Self { _operator: operator, cluster }
    }

    fn pair(&self, bot: &'static str, env: Vec<(String, String)>) -> Pair<'_> {
        let mut manifest = tests::bot::btc("default", bot);
        // Two bars a second, and no trade before a moment has passed.
        let replay = &mut manifest["spec"]["feeds"][0]["replay"];
        replay["speed"] = json!(7200);
        replay["warmup"] = json!(1500);
        self.cluster.apply(&manifest.to_string());
        let first = Pod::start(&self.cluster, "default", bot, "first", env);
        self.await_holder(bot, &[first.uid()]);
        first.await_metric(MARKET_TIME, |time| time > 0.0);
        let second = Pod::start(&self.cluster, "default", bot, "second", Vec::new());
        wait::until("the second waits", || {
            let log = second.log();
            if log.contains("another agent holds the Lease") { Ok(()) } else { Err(log) }
        });
        Pair { bench: self, bot, first, second }
    }

    /// The Lease as it is now.
    fn lease(&self, bot: &str) -> Value {
        self.cluster.get("default", &format!("lease/{bot}")).unwrap_or_default()
    }

    /// Waits until one of these holds the Lease.
    fn await_holder(&self, bot: &str, holders: &[&str]) -> Value {
        wait::until(&format!("the Lease of {bot} is held by one of {holders:?}"), || {
            let lease = self.lease(bot);
            match lease["spec"]["holderIdentity"].as_str() {
                Some(holder) if holders.contains(&holder) => Ok(lease),
                _ => {
                    // kubectl is not for free, and there are many who ask.
                    sleep(Duration::from_millis(900));
                    Err(lease.to_string())
                }
            }
        })
    }
}

fn time(lease: &Value, field: &str) -> Timestamp {
    lease["spec"][field].as_str().and_then(|text| text.parse().ok()).expect("a time in the Lease")
}

/// Whoever took over let the Lease stand still for as long as it must.
fn assert_waited(old: &Value, new: &Value) {
    let waited = time(new, "acquireTime").duration_since(time(old, "renewTime"));
    let least = SignedDuration::try_from(TAKEOVER_AFTER).expect("a span");
    assert!(waited >= least, "taken after {waited}: {old} {new}");
    println!("{}: taken {:.1} s after the last renewal", new["metadata"]["name"], waited.as_secs_f64());
}

/// Nothing has happened to a bot meanwhile, but for a bar that was being worked on.
fn assert_stood_still(before: &Value, after: &Value) {
    for what in ["fills", "closedTrades", "positions", "openOrders"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    let at = |view: &Value| view["marketTime"].as_str().expect("a market time").parse::<Timestamp>().unwrap();
    let passed = at(after).duration_since(at(before)).as_secs();
    assert!(passed <= 3_600, "the market went on for {passed} s of its time");
}

impl Pair<'_> {
    fn lease(&self) -> Value {
        self.bench.lease(self.bot)
    }

    /// The first has a market that goes on.
    fn assert_first_trades(&self) {
        let time = self.first.metric(MARKET_TIME).expect("a metric");
        self.first.await_metric(MARKET_TIME, |now| now > time);
        assert_eq!(self.first.metric(HELD), Ok(1.0));
    }

    /// The first finds that it is not the holder any more, and ends.
    fn assert_first_ends(&mut self) {
        let status = self.first.await_end();
        assert!(!status.success(), "{status}");
        assert!(self.first.log().contains("LeaseLost"), "{}", self.first.log());
    }
}

fn fault(pod: &Pod, faults: &[Fault]) {
    pod.proxy.begin(Plan { seed: 1, percent: 100, faults: faults.to_vec() });
}

/// Frozen, replaced, and thawed where it cannot even hear that it was.
fn frozen(bench: &Bench) {
    let mut pair = bench.pair("frozen", Vec::new());
    pair.first.signal("STOP");
    let (before, old) = (pair.first.journal().expect("a journal"), pair.lease());
    let new = bench.await_holder(pair.bot, &[pair.second.uid()]);
    assert_waited(&old, &new);
    pair.second.await_metric(MARKET_TIME, |time| time > 0.0);

    fault(&pair.first, &GONE);
    pair.first.signal("CONT");
    for _ in 0..5 {
        pair.first.await_metric(HELD, |held| held == 0.0);
        assert_stood_still(&before, &pair.first.journal().expect("a journal"));
        sleep(Duration::from_secs(1));
    }
    pair.first.proxy.seen();
    pair.first.proxy.end();
    pair.assert_first_ends();
    assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    for call in pair.first.proxy.seen() {
        let harmless = call.method == "GET" || call.target.contains("/leases/");
        assert!(harmless, "a thawed agent wrote: {call:?}");
    }
    assert_eq!(pair.lease()["spec"]["holderIdentity"], pair.second.uid());
    wait::until("the status is the second's", || {
        let bot = bench.cluster.get("default", "tradingbot/frozen").ok_or("no bot")?;
        let pod = &bot["status"]["agent"]["pod"];
        if pod == "second" { Ok(()) } else { Err(pod.to_string()) }
    });
}

/// Alone without the API server: it stops, and another goes on.
fn cut_off(bench: &Bench) {
    let mut pair = bench.pair("cut-off", Vec::new());
    fault(&pair.first, &GONE);
    let old = pair.lease();
    pair.first.await_metric(HELD, |held| held == 0.0);
    assert_eq!(pair.lease()["spec"]["holderIdentity"], pair.first.uid(), "it stops long before");
    let before = pair.first.journal().expect("a journal");
    let new = bench.await_holder(pair.bot, &[pair.second.uid()]);
    assert_waited(&old, &new);
    pair.second.await_metric(HELD, |held| held == 1.0);
    assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    pair.first.proxy.end();
    pair.assert_first_ends();
    assert_stood_still(&before, &pair.first.journal().expect("a journal"));
}

/// No API server for a minute, for anybody: the market stands still from twenty seconds on, nobody takes the Lease,
/// and afterwards one of them has it.
fn outage(bench: &Bench) {
    let mut pair = bench.pair("outage", Vec::new());
    let began = Instant::now();
    for pod in [&pair.first, &pair.second] {
        fault(pod, &GONE);
    }
    let old = pair.lease();
    pair.first.await_metric(HELD, |held| held == 0.0);
    let stopped = began.elapsed();
    // The last renewal was sent at most ten seconds before.
    assert!(stopped >= Duration::from_secs(9), "a holder may go on for twenty seconds: {stopped:?}");
    println!("outage: the market stood still after {:.1} s", stopped.as_secs_f64());
    let before = pair.first.journal().expect("a journal");
    sleep(Duration::from_secs(60).saturating_sub(began.elapsed()));
    assert_eq!(pair.lease()["spec"], old["spec"], "nobody could write it");
    assert_eq!(pair.second.metric(HELD), Ok(0.0));
    assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    for pod in [&pair.first, &pair.second] {
        pod.proxy.end();
    }
    let new = wait::until("somebody renews", || {
        let new = pair.lease();
        if new["spec"] == old["spec"] { Err(new.to_string()) } else { Ok(new) }
    });
    if new["spec"]["holderIdentity"] == pair.first.uid() {
        pair.first.await_metric(HELD, |held| held == 1.0);
        pair.assert_first_trades();
        assert_eq!(pair.second.metric(HELD), Ok(0.0));
        println!("outage: the holder kept the Lease");
    } else {
        assert_waited(&old, &new);
        pair.second.await_metric(HELD, |held| held == 1.0);
        pair.assert_first_ends();
        assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    }
}

/// Deleted by hand: the operator makes it as held by nobody known, and everybody waits, the last holder too.
fn deleted(bench: &Bench) {
    let mut pair = bench.pair("deleted", Vec::new());
    bench.cluster.run(&["delete", "lease", "-n", "default", pair.bot]);
    let made = bench.await_holder(pair.bot, &["unknown"]);
    pair.assert_first_ends();
    let before = pair.first.journal().expect("a journal");
    pair.first.restart(&bench.cluster);
    let holders = [pair.first.uid().to_owned(), pair.second.uid().to_owned()];
    let new = wait::until("somebody holds the Lease", || {
        let lease = pair.lease();
        if holders.iter().any(|holder| lease["spec"]["holderIdentity"] == **holder) {
            return Ok(lease);
        }
        for pod in [&pair.first, &pair.second] {
            if let Ok(held) = pod.metric(HELD) {
                // It may have been taken since the Lease was read.
                let free = pair.lease()["spec"]["holderIdentity"] == "unknown";
                assert!(held == 0.0 || !free, "{} trades without the Lease", pod.uid());
            }
        }
        sleep(Duration::from_millis(500));
        Err(lease.to_string())
    });
    assert_waited(&made, &new);
    if new["spec"]["holderIdentity"] == pair.first.uid() {
        pair.first.await_metric(HELD, |held| held == 1.0);
        pair.assert_first_trades();
    } else {
        pair.second.await_metric(HELD, |held| held == 1.0);
        assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    }
}

/// The wall clock of the holder goes wherever it likes.
fn stepped(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    let step = |offset: &str| std::fs::write(&clock, offset).expect("the clock's file");
    step("+0");
    let mut pair = bench.pair("stepped", wall_clock(&clock));
    for offset in ["+2d", "-2d", "+1y", "-1y"] {
        step(offset);
        let before = pair.lease();
        wait::until("it is renewed", || {
            let now = pair.lease();
            if now["spec"] == before["spec"] { Err(now.to_string()) } else { Ok(()) }
        });
        pair.assert_first_trades();
        let lease = pair.lease();
        assert_eq!(lease["spec"]["holderIdentity"], pair.first.uid());
        assert_eq!(pair.second.metric(HELD), Ok(0.0));
    }
    let wrong = wait::until("a renewal bears the wrong year", || {
        let off = Timestamp::now().duration_since(time(&pair.lease(), "renewTime")).as_hours();
        if off > 24 * 300 { Ok(off) } else { Err(format!("{off} hours")) }
    });
    println!("stepped: renewed {wrong} hours ago by the holder's clock");
    pair.first.signal("TERM");
    let asked = Instant::now();
    assert!(pair.first.await_end().success(), "SIGTERM is an order, not an accident");
    bench.await_holder(pair.bot, &[pair.second.uid()]);
    let took = asked.elapsed();
    println!("stepped: released and taken {:.1} s after SIGTERM", took.as_secs_f64());
    assert!(took < TAKEOVER_AFTER, "a Lease that was released is not waited for");
}

/// Renewals are done and their answers lost: the holder stops, and as long as the Lease moves nobody takes it.
fn unheard(bench: &Bench) {
    let mut pair = bench.pair("unheard", Vec::new());
    fault(&pair.first, &UNHEARD);
    let began = Instant::now();
    pair.first.await_metric(HELD, |held| held == 0.0);
    let before = pair.first.journal().expect("a journal");
    sleep(Duration::from_secs(60).saturating_sub(began.elapsed()));
    let lease = pair.lease();
    assert_eq!(lease["spec"]["holderIdentity"], pair.first.uid());
    let age = Timestamp::now().duration_since(time(&lease, "renewTime")).as_secs();
    assert!(age < 45, "renewals arrive: the last one {age} s ago");
    assert_eq!(pair.second.metric(HELD), Ok(0.0));
    assert_stood_still(&before, &pair.first.journal().expect("a journal"));
    pair.first.proxy.end();
    pair.first.await_metric(HELD, |held| held == 1.0);
    pair.assert_first_trades();
    assert!(pair.first.ended().is_none(), "it is the same process");
}

/// What befalls a pair of agents.
type Story = fn(&Bench);

#[test]
#[ignore = "needs root, for networks and mounts of the agents' own"]
fn of_two_agents_one_trades_whatever_befalls_the_lease() {
    let bench = Bench::start();
    let stories: [(&str, Story); 6] = [
        ("frozen", frozen),
        ("cut off", cut_off),
        ("outage", outage),
        ("deleted", deleted),
        ("stepped", stepped),
        ("unheard", unheard),
    ];
    let bench = &bench;
    std::thread::scope(|scope| {
        let telling = stories.map(|(name, story)| (name, scope.spawn(move || story(bench))));
        let failed = telling.map(|(name, story)| (name, story.join().is_err()));
        let failed: Vec<&str> =
            failed.into_iter().filter(|(_, failed)| *failed).map(|(name, _)| name).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

/// A way to take a pod from its bot.
type Take = fn(&Cluster, &str, &str);

fn delete(cluster: &Cluster, namespace: &str, pod: &str) {
    cluster.run(&["delete", "pod", "-n", namespace, pod, "--wait=false"]);
}

fn force(cluster: &Cluster, namespace: &str, pod: &str) {
    cluster.run(&["delete", "pod", "-n", namespace, pod, "--force", "--grace-period=0"]);
}

fn drain(cluster: &Cluster, namespace: &str, pod: &str) {
    let found = cluster.get(namespace, &format!("pod/{pod}")).expect("the pod");
    let node = found["spec"]["nodeName"].as_str().expect("a node");
    // Namespaces are part of no selector: the hash is of this bot's pods alone.
    let hash = found["metadata"]["labels"]["pod-template-hash"].as_str().expect("a label");
    let selector = format!("--pod-selector=pod-template-hash={hash}");
    cluster.run(&["drain", node, &selector, "--delete-emptydir-data", "--timeout=60s"]);
    cluster.run(&["uncordon", node]);
}

/// The bot whose pod is taken in the middle of its trades ends with the ledger of an undisturbed run.
fn followed(cluster: &Cluster, namespace: &str, take: Take) {
    let manifest = node::example_at("864000");
    let local = Local::new(&node::in_namespace(&manifest, namespace));
    let output = local.run_to_end(&sample_bars(), &["--speed", "0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = node::ledger(local.journal("trades"), &local.journal("status"));

    let namespace = &cluster.namespace(namespace);
    node::apply(cluster, namespace, &manifest);
    wait::until("a trade is closed", || {
        let object = node::bot(cluster, namespace, "paper-btc");
        let trades = object["status"]["trading"]["closedTrades"].as_i64();
        if trades > Some(0) { Ok(()) } else { Err(object["status"].to_string()) }
    });
    let first = node::pod(cluster, namespace, "paper-btc");
    let taken = Instant::now();
    take(cluster, namespace, first["metadata"]["name"].as_str().expect("a name"));
    let uid = first["metadata"]["uid"].as_str().expect("a UID");
    let next = wait::until("another pod holds the Lease", || {
        let lease = cluster.get(namespace, "lease/paper-btc").ok_or("no Lease")?;
        match lease["spec"]["holderIdentity"].as_str() {
            Some(holder) if holder != uid && !holder.is_empty() => Ok(holder.to_owned()),
            _ => Err(lease["spec"].to_string()),
        }
    });
    println!("{namespace}: the next pod holds the Lease after {:.1} s", taken.elapsed().as_secs_f64());
    assert_eq!(node::pod(cluster, namespace, "paper-btc")["metadata"]["uid"], next);
    node::await_end_of_replay(cluster, namespace, "paper-btc");
    let trades = node::journal(cluster, namespace, "paper-btc", "trades");
    let status = node::journal(cluster, namespace, "paper-btc", "status");
    assert_eq!(node::ledger(trades, &status), expected);
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_pod_that_is_deleted_force_deleted_or_drained_is_followed_by_one_with_its_ledger() {
    let cluster = node::cluster();
    let ways: [(&str, Take); 3] =
        [("lease-deleted", delete), ("lease-forced", force), ("lease-drained", drain)];
    std::thread::scope(|scope| {
        for (namespace, take) in ways {
            scope.spawn(move || followed(cluster, namespace, take));
        }
    });
}
