//! Two operators on one cluster: one writes, the other takes over, and never both.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tests::audit::{Call, service_account};
use tests::cluster::{Cluster, OPERATOR_NAMESPACE, condition};
use tests::operator::{Operator, Options};
use tests::{repository, wait};

const SELECTOR: &str = "app.kubernetes.io/name=tradingbot-operator";

pub(crate) const LEASE: &str = "lease/tradingbot-operator";

pub(crate) fn bot(name: &str) -> Value {
    tests::bot::btc("default", name)
}

/// A control plane with sample bars.
pub(crate) fn cluster() -> Cluster {
    let cluster = Cluster::control_plane();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    cluster
}

fn candidate(cluster: &Cluster, name: &str, server: Option<String>) -> Operator {
    let mut operator = prepared(cluster, name, server, 4);
    operator.spawn();
    operator.await_ready();
    operator
}

/// A candidate that was not started yet, and how many seconds its Lease lasts.
pub(crate) fn prepared(cluster: &Cluster, name: &str, server: Option<String>, seconds: u16) -> Operator {
    let seconds = seconds.to_string();
    let args = ["--leader-election", "--lease-name", "tradingbot-operator", "--name", name];
    let args = [&args[..], &["--lease-duration", &seconds]].concat();
    let args = args.into_iter().map(str::to_owned).collect();
    Operator::prepare(cluster, Options { args, server, ..Options::default() })
}

/// The name of the holder: what comes before the random part of its identity.
pub(crate) fn holder(cluster: &Cluster) -> Option<String> {
    let lease = cluster.get(OPERATOR_NAMESPACE, LEASE)?;
    let (name, _) = lease["spec"]["holderIdentity"].as_str()?.rsplit_once('_')?;
    Some(name.to_owned())
}

pub(crate) fn await_holder(cluster: &Cluster, name: &str) {
    wait::until(&format!("{name} leads"), || match holder(cluster) {
        Some(found) if found == name => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Breaks a bot's Service, and waits until it is whole again.
fn drift_is_repaired(cluster: &Cluster, bot: &str) {
    let service = format!("service/{bot}");
    let patch = r#"{"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": 1}]}}"#;
    cluster.run(&["patch", "-n", "default", &service, "--type=merge", "-p", patch]);
    wait::until("the Service is repaired", || {
        let found = cluster.get("default", &service).ok_or("no service")?;
        if found["spec"]["ports"][0]["targetPort"] == 1 { Err(found["spec"].to_string()) } else { Ok(()) }
    });
}

fn await_children(cluster: &Cluster, bot: &str) {
    wait::until(&format!("{bot} has a Deployment"), || {
        cluster.get("default", &format!("deployment/{bot}")).map(drop).ok_or_else(|| "none".to_owned())
    });
}

/// The processes that wrote, other than to their Lease, by their names in the User-Agent.
fn writers(calls: &[Call]) -> BTreeSet<String> {
    calls.iter().filter(|call| call.is_write() && !is_election(call)).map(name_of).collect()
}

pub(crate) fn is_election(call: &Call) -> bool {
    call.namespace == OPERATOR_NAMESPACE && call.resource == "leases"
}

pub(crate) fn name_of(call: &Call) -> String {
    let identity = call.agent.rsplit_once('(').expect("a User-Agent with an identity").1;
    identity.rsplit_once('_').expect("a name and a random part").0.to_owned()
}

/// A process's terms, from the answers to writes of the Lease: none of another's writes may have arrived within.
pub(crate) fn assert_one_writes_at_a_time(calls: &[Call]) {
    let mut calls: Vec<&Call> = calls.iter().filter(|call| call.is_write()).collect();
    calls.sort_by(|a, b| a.at.cmp(&b.at));
    let mut leader = None;
    for call in calls {
        if is_election(call) {
            if call.code < 300 {
                leader = Some(name_of(call));
            }
        } else {
            assert_eq!(Some(name_of(call)), leader, "who does not lead wrote: {call:?}");
        }
    }
}

#[test]
fn one_writes_and_the_other_takes_over_from_a_dead_a_stopped_and_a_frozen_one() {
    let cluster = cluster();
    let mut audit = cluster.audit();
    let mut a = candidate(&cluster, "a", None);
    await_holder(&cluster, "a");
    let mut b = candidate(&cluster, "b", None);
    for name in ["one", "two", "three"] {
        cluster.apply(&bot(name).to_string());
        await_children(&cluster, name);
    }
    let mut calls = audit.by(&Operator::user());
    assert_eq!(writers(&calls), BTreeSet::from(["a".to_owned()]));
    assert!(
        (a.metric("tradingbot_operator_leading", &[]), b.metric("tradingbot_operator_leading", &[]))
            == (1.0, 0.0)
    );

    // Killed: the Lease runs out.
    a.kill();
    let killed = Instant::now();
    drift_is_repaired(&cluster, "one");
    println!(
        "kill -9 of the leader: the other had repaired a drift after {:.2} s",
        killed.elapsed().as_secs_f64()
    );
    await_holder(&cluster, "b");

    // Stopped: the Lease is released.
    a.spawn();
    a.await_ready();
    let stopped = Instant::now();
    assert!(b.stop().success(), "SIGTERM is an order, not an accident");
    await_holder(&cluster, "a");
    println!("SIGTERM to the leader: ended and followed after {:.2} s", stopped.elapsed().as_secs_f64());
    assert!(b.log().contains("the Lease was released"), "{}", b.log());
    drift_is_repaired(&cluster, "two");
    calls.extend(audit.by(&Operator::user()));
    assert_one_writes_at_a_time(&calls);

    // Frozen in the middle of work, and thawed when the other leads.
    b.spawn();
    b.await_ready();
    let many: Vec<Value> = (0..40).map(|number| bot(&format!("many-{number}"))).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": many}).to_string());
    a.signal("STOP");
    await_holder(&cluster, "b");
    a.signal("CONT");
    drift_is_repaired(&cluster, "three");
    for number in 0..40 {
        await_children(&cluster, &format!("many-{number}"));
    }
    wait::until("the thawed one knows that it leads no more", || {
        match a.metric("tradingbot_operator_leading", &[]) {
            0.0 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let late = audit.by(&Operator::user());
    assert_eq!(writers(&late), BTreeSet::from(["a".to_owned(), "b".to_owned()]), "both had work");
    calls.extend(late);
    assert_one_writes_at_a_time(&calls);
    assert!(a.is_running() && b.is_running(), "who loses the Lease waits for it");

    // Deleted by hand: its holder makes it anew.
    cluster.run(&["delete", "-n", OPERATOR_NAMESPACE, LEASE]);
    wait::until("there is a Lease again", || holder(&cluster).ok_or_else(|| "none".to_owned()));
    drift_is_repaired(&cluster, "one");
    assert_eq!(holder(&cluster).as_deref(), Some("b"));
    calls.extend(audit.by(&Operator::user()));
    assert_one_writes_at_a_time(&calls);
}

#[test]
fn who_cannot_reach_the_api_server_stops_writing_and_nobody_writes_twice_afterwards() {
    let cluster = cluster();
    let mut audit = cluster.audit();
    let (near_a, near_b) = (Wire::to(&cluster), Wire::to(&cluster));
    let mut a = candidate(&cluster, "a", Some(near_a.url()));
    await_holder(&cluster, "a");
    let mut b = candidate(&cluster, "b", Some(near_b.url()));
    cluster.apply(&bot("one").to_string());
    await_children(&cluster, "one");

    near_a.cut();
    drift_is_repaired(&cluster, "one");
    await_holder(&cluster, "b");
    wait::until("the lonely one knows that it leads no more", || {
        match a.metric("tradingbot_operator_leading", &[]) {
            0.0 => Ok(()),
            other => Err(other.to_string()),
        }
    });

    // Nobody reaches it, and then both do.
    near_b.cut();
    wait::until("nobody leads", || match b.metric("tradingbot_operator_leading", &[]) {
        0.0 => Ok(()),
        other => Err(other.to_string()),
    });
    near_a.heal();
    near_b.heal();
    drift_is_repaired(&cluster, "one");
    cluster.apply(&bot("two").to_string());
    await_children(&cluster, "two");
    assert_one_writes_at_a_time(&audit.by(&Operator::user()));
    assert!(a.is_running() && b.is_running());
}

/// Waits until all replicas of the operator are of its newest template and ready.
fn rolled_out(cluster: &Cluster) {
    let deployment = "deployment/tradingbot-operator";
    cluster.run(&["rollout", "status", "-n", OPERATOR_NAMESPACE, deployment, "--timeout=180s"]);
}

/// The operator's pods that are ready, by their names.
fn ready_pods(cluster: &Cluster) -> BTreeSet<String> {
    let pods = cluster.try_list(OPERATOR_NAMESPACE, &["pods", "-l", SELECTOR]).expect("a list");
    let ready = pods.iter().filter(|pod| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
    });
    ready.map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_rolling_upgrade_and_a_drain_of_two_replicas_disturb_no_agent_and_leave_one_writer_at_a_time() {
    let cluster = Cluster::with_operator();
    let bars = repository("examples/data");
    cluster.run(&["apply", "-k", bars.to_str().expect("a path in UTF-8")]);
    let mut audit = cluster.audit();
    let deployment = ["-n", OPERATOR_NAMESPACE, "deployment/tradingbot-operator"];
    cluster.run(&[&["scale", "--replicas=2"], &deployment[..]].concat());
    rolled_out(&cluster);
    cluster.apply(&bot("one").to_string());
    cluster.await_condition("default", "one", "Ready", "True");
    let agents = || {
        let pods = cluster.try_list("default", &["pods", "-l", "trading.three-rivers-tech.com/bot=one"]);
        let pods = pods.expect("a list");
        pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let agent = agents();

    let before = ready_pods(&cluster);
    cluster.run(&[&["rollout", "restart"], &deployment[..]].concat());
    drift_is_repaired(&cluster, "one");
    rolled_out(&cluster);
    drift_is_repaired(&cluster, "one");
    let after = wait::until("two new pods are ready", || match ready_pods(&cluster) {
        pods if pods.len() == 2 => Ok(pods),
        pods => Err(format!("{pods:?}")),
    });
    assert!(before.len() == 2 && before.is_disjoint(&after), "{before:?} {after:?}");

    // One is evicted and has no other node to go to: the budget keeps the second until there is room again.
    let node = cluster.run(&["get", "nodes", "-o", "name"]).trim().trim_start_matches("node/").to_owned();
    let selector = format!("--pod-selector={SELECTOR}");
    let mut drain = cluster.kubectl(&["drain", &node, &selector, "--timeout=180s"]).spawn().expect("kubectl");
    wait::until("one is evicted", || match ready_pods(&cluster) {
        pods if pods.len() == 1 => Ok(()),
        pods => Err(format!("{pods:?}")),
    });
    drift_is_repaired(&cluster, "one");
    assert_eq!(ready_pods(&cluster).len(), 1, "the other one stays");
    cluster.run(&["uncordon", &node]);
    assert!(drain.wait().expect("kubectl ends").success(), "the drain ends");
    rolled_out(&cluster);
    drift_is_repaired(&cluster, "one");
    assert!(ready_pods(&cluster).is_disjoint(&after), "both were evicted");

    assert_eq!(agents(), agent, "the agent trades on");
    let calls = audit.by(&service_account(OPERATOR_NAMESPACE, "tradingbot-operator"));
    assert!(writers(&calls).len() >= 3, "several led: {:?}", writers(&calls));
    assert_one_writes_at_a_time(&calls);
}

/// A way to the API server that can be cut.
struct Wire {
    port: u16,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(cluster: &Cluster) -> Self {
        let server = cluster.server().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (is_cut, open): (Arc<AtomicBool>, Arc<Mutex<Vec<TcpStream>>>) = Default::default();
        let (cut, streams) = (Arc::clone(&is_cut), Arc::clone(&open));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else { continue };
                let mut streams = streams.lock().expect("no panic");
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) =
                        (from.try_clone().expect("a clone"), to.try_clone().expect("a clone"));
                    streams.push(from.try_clone().expect("a clone"));
                    std::thread::spawn(move || {
                        let mut buffer = [0; 16 * 1024];
                        while let Ok(count @ 1..) = from.read(&mut buffer) {
                            if to.write_all(&buffer[..count]).is_err() {
                                break;
                            }
                        }
                        to.shutdown(Shutdown::Both).ok();
                    });
                }
            }
        });
        Self { port, is_cut, open }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Ends every connection and accepts none.
    fn cut(&self) {
        let mut open = self.open.lock().expect("no panic");
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in open.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn heal(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}
