//! The operator as it ships, outside the cluster, with the rights that its chart gives it and no others.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, OPERATOR_NAMESPACE};
use crate::local::free_port;
use crate::process::ending_with_this_thread;
use crate::{audit, binary, repository, wait};

/// The release's name, and that of its ServiceAccount.
const RELEASE: &str = "tradingbot-operator";

/// How an operator is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values of the chart, as `--set` takes them.
    pub values: Vec<String>,
    /// Further arguments of `run`.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// Another program than the operator under test.
    pub program: Option<PathBuf>,
    /// Another image of bots that name none.
    pub agent_image: Option<String>,
    /// Another way to the API server, such as a proxy: `http://127.0.0.1:PORT`. Certificates of an `https` one must
    /// be the cluster's own.
    pub server: Option<String>,
}

/// The chart's objects but for what runs pods.
pub fn chart(values: &[String]) -> Vec<Value> {
    let mut helm = Command::new(lab::tools::path("helm").expect("helm"));
    helm.args(["template", RELEASE]).arg(repository("charts/tradingbot-operator")).args([
        "--namespace",
        OPERATOR_NAMESPACE,
        "--set",
        "crds.install=false",
    ]);
    for value in values {
        helm.args(["--set", value]);
    }
    let output = helm.output().expect("helm runs");
    assert!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .filter(|object| !object.is_null() && object["kind"] != "Deployment")
        .collect()
}

/// A running operator, ended with the value or the thread that spawned it.
pub struct Operator {
    options: Options,
    kubeconfig: PathBuf,
    port: u16,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Operator {
    /// Installs the chart's rights and starts an operator with them.
    pub fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, Options::default())
    }

    /// The same with options. Several may run on one cluster; the chart's values should then be equal.
    pub fn start_with(cluster: &Cluster, options: Options) -> Self {
        let mut operator = Self::prepare(cluster, options);
        operator.spawn();
        operator
    }

    /// Installs the chart's rights, and starts nothing yet.
    pub fn prepare(cluster: &Cluster, options: Options) -> Self {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}
        });
        let mut items = vec![namespace];
        items.extend(chart(&options.values));
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        write_kubeconfig(cluster, options.server.as_deref(), OPERATOR_NAMESPACE, RELEASE, &kubeconfig);
        Self { options, kubeconfig, port: free_port(), child: None, folder }
    }

    /// Starts the operator, which must not run.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the operator runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log");
        let errors = log.try_clone().expect("a log");
        let program = self.options.program.clone().unwrap_or_else(|| binary("tradingbot-operator"));
        let image = self.options.agent_image.as_deref().unwrap_or("localhost/tradingbot-agent:test");
        // A value that is shared by tests is never dropped; a test that is killed drops nothing.
        let child = ending_with_this_thread(program)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(["run", "--agent-image", image])
            .args(["--address", &self.address()])
            .args(&self.options.args)
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the operator runs");
        self.child = Some(child);
    }

    /// Ends it with SIGTERM and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut child = self.child.take().expect("the operator runs");
        child.wait().expect("it ends")
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// `kill` and `spawn`.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Sends it a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "the operator runs");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the operator runs").id()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child").is_none())
    }

    /// Where it serves.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The kubeconfig it works with.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The user as the API server knows it.
    pub fn user() -> String {
        audit::service_account(OPERATOR_NAMESPACE, RELEASE)
    }

    /// Everything it logged, over restarts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }

    /// What it serves under a path, if it answers with 200.
    pub fn try_http(&self, path: &str) -> Result<String, String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "10"])
            .arg(format!("http://{}{path}", self.address()))
            .output()
            .expect("curl runs");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    /// Waits until it says that it is ready.
    pub fn await_ready(&self) {
        wait::until("the operator is ready", || {
            self.try_http("/readyz").map(drop).map_err(|error| format!("{error}\n{}", self.log()))
        });
    }

    /// Its metrics as text.
    pub fn metrics(&self) -> String {
        self.try_http("/metrics").expect("metrics")
    }

    /// The sum of a metric's samples whose labels contain each of the texts (`resource="Secret"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| {
                let end = line.find(['{', ' ']).unwrap_or(line.len());
                line[..end] == *name && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the operator's log\n{}---", self.log());
        }
    }
}

/// Writes a kubeconfig with a fresh token of a ServiceAccount.
pub fn write_kubeconfig(
    cluster: &Cluster,
    server: Option<&str>,
    namespace: &str,
    account: &str,
    path: &Path,
) {
    let token = cluster.run(&["create", "token", "-n", namespace, account, "--duration=24h"]);
    let file = File::open(cluster.kubeconfig()).expect("the kubeconfig");
    let administrator: Value = serde_yaml::from_reader(file).expect("a kubeconfig");
    let mut place = administrator["clusters"][0]["cluster"].clone();
    assert!(place["server"].is_string(), "a kubeconfig names a server");
    if let Some(server) = server {
        place["server"] = json!(server);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": place}],
        "users": [{"name": account, "user": {"token": token.trim()}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": account, "namespace": namespace}}],
        "current-context": "lab",
    });
    std::fs::write(path, config.to_string()).expect("the kubeconfig");
}
