//! Labs with a node. They need root: `cargo test -p lab -- --include-ignored`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "that is how a test fails")]

mod traces;

use std::path::Path;
use std::time::{Duration, Instant};

use lab::{BUSYBOX_IMAGE, Lab, Options, image};
use traces::{Traces, host_folders, kill};

const POD: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: web
    image: IMAGE
    command:
    - /bin/busybox
    - sh
    - -c
    - echo written > /data/page && echo started && exec /bin/busybox httpd -f -p 8080 -h /data
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"#;

fn apply(lab: &Lab, manifest: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, manifest).unwrap();
    lab.kubectl(&["apply", "-f", file.to_str().unwrap()]).unwrap();
}

fn start_pod(lab: &Lab) {
    apply(lab, &POD.replace("IMAGE", BUSYBOX_IMAGE));
    lab.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).unwrap();
}

/// A GET from within the pod, through the shell of busybox.
fn get_from_pod(lab: &Lab, address: &str, port: &str) -> String {
    let script = format!("printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc -w 5 {address} {port}");
    lab.kubectl(&["exec", "web", "--", "/bin/busybox", "sh", "-c", &script]).unwrap()
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_pod_writes_its_volume_and_is_reached_and_leaves_nothing() {
    let before = host_folders();
    let lab = Lab::node().unwrap();
    start_pod(&lab);
    assert_eq!(lab.kubectl(&["logs", "web"]).unwrap(), "started\n");
    let owner =
        lab.kubectl(&["exec", "web", "--", "/bin/busybox", "stat", "-c", "%u:%g", "/data/page"]).unwrap();
    assert_eq!(owner, "65532:65532\n");

    let service = lab.kubectl(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"]).unwrap();
    assert!(
        get_from_pod(&lab, &service, "80").ends_with("written\n"),
        "a pod reaches a service, even its own"
    );
    // From the host, through the route into the lab.
    let page = std::process::Command::new("/bin/busybox")
        .args(["nc", "-w", "5", &service, "80"])
        .stdin(request_file())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&page.stdout).ends_with("written\n"), "{page:?}");
    // The API server, as clients in pods look for it.
    let script = "/bin/busybox nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null";
    lab.kubectl(&["exec", "web", "--", "/bin/busybox", "sh", "-c", script]).unwrap();

    let traces = Traces::of(lab.plan(), before);
    assert!(traces.namespaces() >= 2, "the lab's and the pod's");
    assert!(traces.list().iter().any(|trace| trace.contains("httpd")), "the test does not see the pod");
    let plan = lab.plan().clone();
    drop(lab);
    traces.assert_gone_within(Duration::ZERO);
    assert!(!plan.folder.exists());
}

fn request_file() -> std::fs::File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    file.rewind().unwrap();
    file
}

#[test]
#[ignore = "needs a node, and with it root"]
fn a_node_joins_a_running_control_plane_and_down_after_a_kill_leaves_nothing() {
    let before = host_folders();
    let name = format!("joins-{}", std::process::id());
    let mut options = Options { name, node: false, bare: false, program: env!("CARGO_BIN_EXE_lab").into() };
    let lab = Lab::up(&options, |_| {}).unwrap();
    assert_eq!(lab.kubectl(&["get", "nodes", "--output=name"]).unwrap(), "");
    options.node = true;
    let lab = Lab::up(&options, |_| {}).unwrap();
    assert_eq!(lab.kubectl(&["get", "nodes", "--output=name"]).unwrap(), "node/node\n");
    start_pod(&lab);
    let traces = Traces::of(lab.plan(), before);
    kill(lab.plan(), &["supervise"]);
    let start = Instant::now();
    while lab.is_running() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    Lab::down(&options.name).unwrap();
    traces.assert_gone_within(Duration::ZERO);
}

#[test]
#[ignore = "needs a node, and with it root"]
fn an_image_is_built_around_a_program_loaded_and_run() {
    let folder = tempfile::tempdir().unwrap();
    // Any dynamically linked program will do, and this one is at hand.
    let binary = folder.path().join("tradingbot-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_lab"), &binary).unwrap();
    let archive = folder.path().join("agent.tar");
    let build = image::Build {
        tag: "localhost/tradingbot-agent:test".into(),
        target: "agent".into(),
        dockerfile: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Dockerfile"),
        binary,
    };
    image::build(&build, &archive).unwrap();
    let lab = Lab::node().unwrap();
    lab.load_image(&archive).unwrap();
    apply(
        &lab,
        r#"
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true}
  containers:
  - name: once
    image: localhost/tradingbot-agent:test
    args: ["--version"]
"#,
    );
    let done = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=60s"];
    if let Err(error) = lab.kubectl(&done) {
        panic!("{error}\n{}", lab.kubectl(&["describe", "pod/once"]).unwrap());
    }
    assert_eq!(lab.kubectl(&["logs", "once"]).unwrap(), concat!("lab ", env!("CARGO_PKG_VERSION"), "\n"));
    let shell = lab.kubectl(&[
        "run",
        "shell",
        "--image=localhost/tradingbot-agent:test",
        "--command",
        "--",
        "/bin/sh",
    ]);
    shell.unwrap();
    let failed = "--for=jsonpath={.status.containerStatuses[0].lastState.terminated.reason}=StartError";
    lab.kubectl(&["wait", failed, "pod/shell", "--timeout=30s"]).unwrap();
}
