//! The agent as it runs in a pod, without a kubelet: a process in a network and mounts of its own, with the files,
//! the environment and the rights that the operator gives it. Needs root.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::faults::Proxy;
use crate::operator::write_kubeconfig;
use crate::{binary, repository, wait};

/// Within the pod's network: where it finds its API server.
const API_SERVER: &str = "127.0.0.1:6443";

/// Lays the pod's folders over those of the machine, waits for its API server, and becomes the agent.
const START: &str = r#"
ip link set lo up
for place in /etc /var/lib; do
  mount -t tmpfs tmpfs $place
  mkdir $place/tradingbot
  mount --bind "$0$place" $place/tradingbot
done
until [ -e "$0/go" ]; do sleep 0.02; done
exec "$@"
"#;

/// A pod and its process, which ends with the value or the thread that started it.
pub struct Pod {
    name: String,
    uid: String,
    namespace: String,
    bot: Value,
    env: Vec<(String, String)>,
    kubeconfig: PathBuf,
    child: Child,
    /// What stands between it and the API server.
    pub proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Pod {
    /// A pod of that name for a bot whose children the operator has made. Its journal is its own.
    pub fn start(
        cluster: &Cluster,
        namespace: &str,
        bot: &str,
        name: &str,
        env: Vec<(String, String)>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let map = wait::until("the operator has made the bot's children", || {
            // The last that an agent needs.
            cluster.get(namespace, &format!("deployment/{bot}")).ok_or("no Deployment")?;
            cluster.get(namespace, &format!("configmap/{bot}")).ok_or_else(|| "no ConfigMap".to_owned())
        });
        let write = |path: &str, content: &[u8]| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        };
        let config = map["data"]["config.json"].as_str().expect("a configuration");
        write("etc/config/config.json", config.as_bytes());
        let bars = std::fs::read(repository("examples/data/BTC-USD_1h_2020-H1.csv.gz")).expect("bars");
        write("var/lib/bars/btc-usd-1h-2020-h1/BTC-USD_1h_2020-H1.csv.gz", &bars);
        std::fs::create_dir_all(root.join("var/lib/journal")).expect("a folder");
        let kubeconfig = root.join("kubeconfig");
        write_kubeconfig(cluster, Some(&format!("http://{API_SERVER}")), namespace, bot, &kubeconfig);
        let object = cluster.get(namespace, &format!("tradingbot/{bot}")).expect("the bot exists");
        let uid = format!("{name}-of-{bot}");
        let child = spawn(root, &kubeconfig, namespace, &object, (name, &uid), &env);
        let proxy = Proxy::listen(listener_within(child.id()), &cluster.kubeconfig());
        std::fs::write(root.join("go"), "").expect("a file");
        Self {
            name: name.to_owned(),
            uid,
            namespace: namespace.to_owned(),
            bot: object,
            env,
            kubeconfig,
            child,
            proxy,
            folder,
        }
    }

    /// Starts the agent again in the same pod, as a kubelet does with a container that has ended.
    pub fn restart(&mut self, cluster: &Cluster) {
        std::fs::remove_file(self.folder.path().join("go")).expect("a file");
        let id = (self.name.as_str(), self.uid.as_str());
        self.child = spawn(self.folder.path(), &self.kubeconfig, &self.namespace, &self.bot, id, &self.env);
        self.proxy = Proxy::listen(listener_within(self.child.id()), &cluster.kubeconfig());
        std::fs::write(self.folder.path().join("go"), "").expect("a file");
    }

    /// The pod's UID, which is its identity in the Lease.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Sends the agent a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill runs");
        assert!(status.success(), "the agent runs");
    }

    /// How the agent ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for the agent's end.
    pub fn await_end(&mut self) -> ExitStatus {
        wait::until("the agent ends", || {
            self.child.try_wait().expect("a child").ok_or_else(|| log(self.folder.path()))
        })
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// What its journal says of it; none while nothing has happened.
    pub fn journal(&self) -> Option<Value> {
        let output = Command::new(binary("tradingbot-agent"))
            .args(["status", "-o", "json", "--journal"])
            .arg(self.folder.path().join("var/lib/journal"))
            .output()
            .expect("the agent runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// A metric without labels, when it serves.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        let output = Command::new("nsenter")
            .args([
                "--net",
                "--target",
                &self.child.id().to_string(),
                "--",
                "curl",
                "--silent",
                "--show-error",
            ])
            .args(["--fail", "--max-time", "5", "http://127.0.0.1:8000/metrics"])
            .output()
            .expect("nsenter runs");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value).ok_or(text)
    }

    /// Waits until a metric has a value that will do.
    pub fn await_metric(&self, name: &str, will_do: impl Fn(f64) -> bool) -> f64 {
        wait::until(&format!("{name} of {} is as wanted", self.uid), || {
            let value = self.metric(name).map_err(|error| format!("{error}\n{}", self.log()))?;
            if will_do(value) { Ok(value) } else { Err(format!("{value}\n{}", self.log())) }
        })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the log of {}\n{}---", self.uid, self.log());
        }
    }
}

fn log(root: &Path) -> String {
    std::fs::read_to_string(root.join("log")).unwrap_or_default()
}

fn spawn(
    root: &Path,
    kubeconfig: &Path,
    namespace: &str,
    bot: &Value,
    (name, uid): (&str, &str),
    env: &[(String, String)],
) -> Child {
    let log = File::options().create(true).append(true).open(root.join("log")).expect("a log");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    // A frozen process hears of nothing but this.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--net", "--", "sh", "-e", "-c", START])
        .arg(root)
        .arg("env")
        .args(env.iter().map(|(name, value)| format!("{name}={value}")))
        .arg(binary("tradingbot-agent"))
        .args(["run", "--cluster"])
        .env("KUBECONFIG", kubeconfig)
        .env("POD_NAMESPACE", namespace)
        .env("BOT_NAME", text(&bot["metadata"]["name"]))
        .env("BOT_UID", text(&bot["metadata"]["uid"]))
        .env("POD_NAME", name)
        .env("POD_UID", uid)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    command.spawn().expect("the agent runs")
}

/// A listener in the network of a process, which has one of its own in a moment.
fn listener_within(pid: u32) -> TcpListener {
    let path = format!("/proc/{pid}/ns/net");
    let ours = std::fs::read_link("/proc/self/ns/net").expect("a network");
    wait::until("the pod has a network", || match std::fs::read_link(&path) {
        Ok(theirs) if theirs != ours => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A thread that has moved never serves anything else.
    let listen = move || {
        let network = File::open(path).expect("a network");
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the pod's network: this needs root");
        wait::until("the pod's network is up", || {
            TcpListener::bind(API_SERVER).map_err(|error| error.to_string())
        })
    };
    std::thread::spawn(listen).join().expect("a listener")
}
