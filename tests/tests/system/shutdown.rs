//! A leader that is told to end in the middle of its work: what it began is finished before another one writes, and
//! what is never answered is waited for no longer than the pod is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tests::audit::Call;
use tests::cluster::{Cluster, OPERATOR_NAMESPACE};
use tests::faults::{Fault, Proxy};
use tests::operator::Operator;
use tests::{repository, wait};

use super::leader::{
    LEASE, assert_one_writes_at_a_time, await_holder, bot, cluster, holder, is_election, name_of, prepared,
};

/// Bots whose names begin with a word.
fn apply(cluster: &Cluster, word: &str, count: usize) {
    let bots: Vec<Value> = (0..count).map(|number| bot(&format!("{word}-{number:03}"))).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": bots}).to_string());
}

/// Waits until all of them have a Deployment and a status.
fn await_all(cluster: &Cluster, word: &str, count: usize) {
    let named = |object: &Value| {
        object["metadata"]["name"].as_str().filter(|name| name.starts_with(word)).map(str::to_owned)
    };
    wait::until(&format!("{count} bots of {word} are made"), || {
        let bots = cluster.try_list("default", &["tradingbots"])?;
        let seen = |bot: &&Value| bot["status"]["observedGeneration"] == bot["metadata"]["generation"];
        let bots: BTreeSet<String> = bots.iter().filter(seen).filter_map(named).collect();
        let deployments = cluster.try_list("default", &["deployments"])?;
        let deployments: BTreeSet<String> = deployments.iter().filter_map(named).collect();
        if bots.len() == count && bots == deployments {
            Ok(())
        } else {
            Err(format!("{} with a status, {} Deployments", bots.len(), deployments.len()))
        }
    });
}

/// What a process wrote for bots.
fn written_by<'a>(calls: &'a [Call], name: &str) -> Vec<&'a Call> {
    let of_bots = |call: &&Call| call.is_write() && !is_election(call) && call.resource != "events";
    calls.iter().filter(of_bots).filter(|call| name_of(call) == name).collect()
}

/// For each bot for which something was made: what was made, and `tradingbots/status` when it got its first word.
fn made(written: &[&Call]) -> BTreeMap<String, BTreeSet<String>> {
    let mut made = BTreeMap::<String, BTreeSet<String>>::new();
    for call in written.iter().filter(|call| call.code < 300) {
        if call.verb == "create" || call.resource == "tradingbots/status" {
            let bot = call.name[.."many-000".len()].to_owned();
            made.entry(bot).or_default().insert(call.resource.clone());
        }
    }
    made
}

/// Seconds that the chart gives a pod of the operator for its end.
fn grace() -> Duration {
    let template = repository("charts/tradingbot-operator/templates/deployment.yaml");
    let template = std::fs::read_to_string(template).expect("the chart's Deployment");
    let (_, rest) = template.split_once("terminationGracePeriodSeconds: ").expect("it says how long");
    let seconds = rest.lines().next().expect("a line").trim();
    Duration::from_secs(seconds.parse().expect("a number of seconds"))
}

/// Stops an operator as a kubelet does: who is not done after the grace period would be killed.
fn stop(operator: &mut Operator) {
    let told = Instant::now();
    assert!(operator.stop().success(), "SIGTERM is an order, not an accident");
    assert!(told.elapsed() < grace(), "it took {:?}", told.elapsed());
}

/// Waits until a write hangs in the proxy.
fn await_hanging(proxy: &Proxy) {
    wait::until("a write hangs", || {
        let hanging = proxy.seen().into_iter().find(|seen| seen.fault == Some(Fault::Hang));
        hanging.map(drop).ok_or_else(|| "none".to_owned())
    });
}

#[test]
fn what_a_leader_has_begun_at_its_sigterm_is_finished_before_it_lets_go_and_the_next_one_makes_the_rest() {
    const BOTS: usize = 100;
    let cluster = cluster();
    apply(&cluster, "many", BOTS);
    let mut audit = cluster.audit();
    let (mut a, mut b) = (prepared(&cluster, "a", None, 4), prepared(&cluster, "b", None, 4));
    let mut calls = Vec::new();
    let mut begun = |count| {
        wait::until(&format!("{count} bots are begun"), || {
            calls.extend(audit.by(&Operator::user()));
            let begun = made(&written_by(&calls, "a")).len();
            if begun >= count { Ok(()) } else { Err(begun.to_string()) }
        });
    };
    a.spawn();
    begun(1);
    b.spawn();
    begun(10);
    let told = format!("{:.6}", Timestamp::now());
    stop(&mut a);
    await_all(&cluster, "many", BOTS);
    calls.extend(audit.by(&Operator::user()));

    // There was work in flight, and there was work left.
    let by_a = written_by(&calls, "a");
    assert!(by_a.iter().any(|call| call.at > told), "nothing was being written at {told}");
    let (made_by_a, made_by_b) = (made(&by_a), made(&written_by(&calls, "b")));
    println!(
        "at its end one of {BOTS} bots had begun {}, the next one began {}",
        made_by_a.len(),
        made_by_b.len()
    );
    assert!(made_by_b.len() >= BOTS - made_by_a.len() && made_by_a.len() < BOTS);

    // What was begun is whole, and nothing was made twice.
    let whole: BTreeSet<String> = made_by_a.values().chain(made_by_b.values()).flatten().cloned().collect();
    for part in ["deployments", "secrets", "leases", "rolebindings", "tradingbots/status"] {
        assert!(whole.contains(part), "{part} is no part of {whole:?}");
    }
    for (bot, parts) in &made_by_a {
        assert_eq!(*parts, whole, "{bot} was left half done");
    }
    let mut created = BTreeSet::new();
    for call in calls.iter().filter(|call| call.verb == "create" && call.code == 201 && !is_election(call)) {
        let is_new = created.insert((&call.resource, &call.name));
        assert!(is_new || call.resource == "events", "made twice: {call:?}");
    }

    // The Lease was given up when the last write was answered, and not before.
    let release = calls.iter().filter(|call| is_election(call) && call.is_write() && name_of(call) == "a");
    let release = release.max_by(|one, other| one.at.cmp(&other.at)).expect("it held the Lease");
    assert!(a.log().contains("the Lease was released"), "{}", a.log());
    for call in by_a {
        assert!(call.answered <= release.at, "{call:?} was answered after {release:?}");
    }
    assert_one_writes_at_a_time(&calls);
}

#[test]
fn a_write_that_is_never_answered_keeps_nobody_from_ending_in_time_nor_other_work_from_being_finished() {
    const BOTS: usize = 20;
    let cluster = cluster();
    apply(&cluster, "many", BOTS);
    let mut audit = cluster.audit();
    let proxy = Proxy::start(&cluster.kubeconfig());

    // The Lease leaves a write less time than the end does: it is given up, and nobody has to wait.
    proxy.hold("/tradingbots/many-003/status");
    let mut a = prepared(&cluster, "a", Some(proxy.url()), 4);
    a.spawn();
    await_hanging(&proxy);
    stop(&mut a);
    proxy.end();
    for (words, said) in [("the Lease was released", true), ("a write was not answered in time", false)] {
        assert_eq!(a.log().contains(words), said, "{words}: {}", a.log());
    }
    let mut calls = audit.by(&Operator::user());
    let by_a = made(&written_by(&calls, "a"));
    let whole: BTreeSet<String> = by_a.values().flatten().cloned().collect();
    for (bot, parts) in by_a.iter().filter(|(bot, _)| *bot != "many-003") {
        assert_eq!(*parts, whole, "{bot} was left half done");
    }
    assert!(!by_a["many-003"].contains("tradingbots/status"), "it was held");
    let mut b = prepared(&cluster, "b", None, 4);
    b.spawn();
    await_all(&cluster, "many", BOTS);
    stop(&mut b);

    // It leaves it more: who ends waits no longer, and does not let go of what may still be written.
    proxy.hold("/tradingbots/more-003/status");
    let mut c = prepared(&cluster, "c", Some(proxy.url()), 32);
    c.spawn();
    await_holder(&cluster, "c");
    apply(&cluster, "more", BOTS);
    await_hanging(&proxy);
    stop(&mut c);
    proxy.end();
    for words in [
        "a write was not answered in time; who leads next finishes it",
        "the Lease runs out instead of being",
    ] {
        assert!(c.log().contains(words), "{words}: {}", c.log());
    }
    assert_eq!(holder(&cluster).as_deref(), Some("c"), "until the Lease runs out");
    cluster.run(&["delete", "-n", OPERATOR_NAMESPACE, LEASE]);
    b.spawn();
    await_all(&cluster, "more", BOTS);
    stop(&mut b);

    // The release itself is not answered.
    let mut d = prepared(&cluster, "d", Some(proxy.url()), 60);
    d.spawn();
    await_holder(&cluster, "d");
    proxy.hold("/leases/tradingbot-operator");
    stop(&mut d);
    assert!(d.log().contains("the Lease was not released in time; it runs out"), "{}", d.log());
    assert_eq!(holder(&cluster).as_deref(), Some("d"));
    calls.extend(audit.by(&Operator::user()));
    assert_one_writes_at_a_time(&calls);
}
