//! Labs without a node: started, broken and removed. Works without root, on loopback then.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "that is how a test fails")]

mod traces;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::plan::Plan;
use lab::{Error, Lab, Options};
use traces::{Traces, host_folders, kill, process};

const SOON: Duration = Duration::from_secs(20);

fn options(name: &str) -> Options {
    let name = format!("{name}-{}", std::process::id());
    Options { name, node: false, bare: false, program: env!("CARGO_BIN_EXE_lab").into() }
}

#[test]
fn a_lab_that_is_up_serves_and_is_up_at_once_the_second_time() {
    let options = options("again");
    let lab = Lab::up(&options, |_| {}).unwrap();
    assert_eq!(lab.kubectl(&["get", "--raw=/readyz"]).unwrap(), "ok");
    // Pods can be made: the ServiceAccount is there, and the scheduler and controllers are the lab's.
    lab.kubectl(&["create", "deployment", "x", "--image=x"]).unwrap();
    lab.kubectl(&["wait", "--for=create", "pod", "--selector=app=x", "--timeout=20s"]).unwrap();
    let start = Instant::now();
    let mut steps = Vec::new();
    let again = Lab::up(&options, |step| steps.push(step.name.clone())).unwrap();
    assert_eq!(again.plan(), lab.plan());
    assert!(steps.is_empty(), "{steps:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    Lab::down(&options.name).unwrap();
}

#[test]
fn down_leaves_nothing() {
    let before = host_folders();
    let options = options("down");
    let lab = Lab::up(&options, |_| {}).unwrap();
    let traces = Traces::of(lab.plan(), before);
    assert!(traces.list().len() > 5, "the test does not see the lab: {:?}", traces.list());
    assert_eq!(traces.namespaces(), usize::from(lab::plan::is_root()));
    Lab::down(&options.name).unwrap();
    traces.assert_gone_within(Duration::ZERO);
    assert!(matches!(Lab::find(&options.name), Err(Error::Absent { .. })));
}

#[test]
fn down_leaves_nothing_when_the_supervisor_was_killed() {
    let before = host_folders();
    let options = options("kill");
    let lab = Lab::up(&options, |_| {}).unwrap();
    let traces = Traces::of(lab.plan(), before);
    kill(lab.plan(), &["supervise"]);
    let start = Instant::now();
    while lab.is_running() {
        assert!(start.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(matches!(Lab::find(&options.name), Err(Error::Dead(_))));
    Lab::down(&options.name).unwrap();
    traces.assert_gone_within(Duration::ZERO);
}

#[test]
fn two_labs_do_not_see_each_other() {
    let (one, other) = (Lab::control_plane().unwrap(), Lab::control_plane().unwrap());
    assert_ne!(one.plan().url(), other.plan().url());
    one.kubectl(&["create", "namespace", "only-here"]).unwrap();
    one.kubectl(&["get", "namespace", "only-here"]).unwrap();
    let answer = other.kubectl(&["get", "namespace", "only-here"]).unwrap_err().to_string();
    assert!(answer.contains("not found"), "{answer}");
    let traces = [Traces::of(one.plan(), host_folders()), Traces::of(other.plan(), host_folders())];
    drop(one);
    traces[0].assert_gone_within(Duration::ZERO);
    assert_eq!(other.kubectl(&["get", "--raw=/readyz"]).unwrap(), "ok");
    drop(other);
    traces[1].assert_gone_within(Duration::ZERO);
}

#[test]
fn a_part_that_dies_is_named_with_its_log_and_the_next_up_starts_anew() {
    let options = options("dead");
    let lab = Lab::up(&options, |_| {}).unwrap();
    kill(lab.plan(), &["kube-scheduler", "--kubeconfig"]);
    let start = Instant::now();
    while lab.is_running() {
        assert!(start.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(10));
    }
    let failure = lab.status().unwrap().failure.unwrap();
    assert_eq!((failure.part.as_str(), failure.what.as_str()), ("kube-scheduler", "was killed by signal 9"));
    let lab = Lab::up(&options, |_| {}).unwrap();
    assert_eq!(lab.kubectl(&["get", "--raw=/readyz"]).unwrap(), "ok");
    Lab::down(&options.name).unwrap();
}

#[test]
fn a_part_that_is_killed_on_request_comes_back_with_its_data() {
    let lab = Lab::control_plane().unwrap();
    lab.kubectl(&["create", "namespace", "kept"]).unwrap();
    for (part, flag) in [
        ("etcd", "--data-dir"),
        ("kube-apiserver", "--secure-port"),
        ("kube-controller-manager", "--secure-port"),
        ("kube-scheduler", "--secure-port"),
    ] {
        let before = process(lab.plan(), &[part, flag]);
        lab.kill(part).unwrap();
        assert_ne!(process(lab.plan(), &[part, flag]), before, "{part} is another process");
        let start = Instant::now();
        while let Err(error) = lab.kubectl(&["get", "namespace", "kept"]) {
            assert!(start.elapsed() < 3 * SOON, "{error}");
        }
    }
    assert!(lab.is_running());
    let error = lab.kill("kube-dns").unwrap_err().to_string();
    assert!(error.contains("kube-dns") && error.contains("kube-apiserver"), "{error}");
}

#[test]
fn a_part_that_dies_during_the_start_fails_it_and_is_named() {
    let options = options("fails");
    let (sender, receiver) = std::sync::mpsc::channel();
    let starter = std::thread::spawn({
        let options = options.clone();
        move || {
            Lab::up(&options, |step| {
                if step.name == "etcd" {
                    sender.send(()).unwrap();
                }
            })
        }
    });
    receiver.recv_timeout(SOON).unwrap();
    kill(&Plan::load(&options.name).unwrap(), &["etcd", "--data-dir"]);
    let error = starter.join().unwrap().unwrap_err();
    // Not that the API server was waited for in vain.
    let message = error.to_string();
    assert!(message.contains("etcd was killed by signal 9") && message.contains("etcd.log"), "{message}");
    Lab::down(&options.name).unwrap();
}

#[test]
fn a_fixture_ends_with_its_process_however_that_ends() {
    let before = host_folders();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_lab")).with_file_name("examples").join("hold");
    let mut holder = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
    let mut name = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut name).unwrap();
    let plan = Plan::load(name.trim()).unwrap();
    let traces = Traces::of(&plan, before);
    assert!(!traces.list().is_empty());
    holder.kill().unwrap();
    holder.wait().unwrap();
    traces.assert_gone_within(SOON);
}
