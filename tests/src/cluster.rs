//! A cluster of the lab, seen through kubectl.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lab::Lab;
use serde_json::Value;

use crate::audit::Audit;
use crate::record::Record;
use crate::{repository, wait};

/// A cluster and the programs to look at it.
pub struct Cluster {
    /// First, so that it ends before what it watches.
    _record: Option<Record>,
    lab: Lab,
    kubectl: PathBuf,
}

/// The namespace of the operator's installation.
pub const OPERATOR_NAMESPACE: &str = "tradingbot-system";

impl Cluster {
    /// A control plane with the CRDs, and nothing that runs pods.
    pub fn control_plane() -> Self {
        Self::around(Lab::control_plane().expect("a control plane")).with_definitions()
    }

    /// An API server with the CRDs, and no controller at all: a [`crate::faker::Faker`] may play them.
    pub fn api_server() -> Self {
        Self::around(Lab::api_server().expect("an API server")).with_definitions()
    }

    fn with_definitions(self) -> Self {
        let cluster = self;
        cluster.apply(&std::fs::read_to_string(repository("crds/yaml/tradingbots.yaml")).expect("the CRD"));
        // kubectl wait fails on a definition that has no conditions yet.
        wait::until("the definition is established", || {
            let definition = cluster.get("default", "crd/tradingbots.trading.three-rivers-tech.com");
            let definition = definition.ok_or("no definition")?;
            match condition(&definition, "Established") {
                Some(established) if established["status"] == "True" => Ok(()),
                _ => Err(definition["status"].to_string()),
            }
        });
        cluster
    }

    /// A cluster with a node, and nothing of ours in it.
    pub fn node() -> Self {
        Self::around(Lab::node().expect("a node"))
    }

    /// A cluster with a node, the CRDs and the agent's image: an operator beside it, such as
    /// [`crate::operator::Operator`], has all that it needs.
    pub fn with_agent() -> Self {
        let cluster = Self::node().with_definitions();
        cluster.load_program("agent");
        cluster
    }

    /// A whole cluster with the operator installed by its chart, from the binaries as they ship.
    pub fn with_operator() -> Self {
        let cluster = Self::node();
        cluster.load_program("operator");
        cluster.load_program("agent");
        let mut helm = Command::new(lab::tools::path("helm").expect("helm"));
        helm.env("KUBECONFIG", cluster.lab.kubeconfig())
            .args(["install", "tradingbot-operator"])
            .arg(repository("charts/tradingbot-operator"))
            .args(["--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s"])
            .args(["--set", "image.repository=localhost/tradingbot-operator,image.tag=test"])
            .args(["--set", "agentImage.repository=localhost/tradingbot-agent,agentImage.tag=test"]);
        succeed(helm.output().expect("helm runs"), "helm install");
        cluster
    }

    fn around(lab: Lab) -> Self {
        let kubectl = lab::tools::path("kubectl").expect("kubectl");
        let record = Record::start_if_asked(&kubectl, &lab.kubeconfig());
        Self { _record: record, lab, kubectl }
    }

    /// One of our programs as it ships, in the node as `localhost/tradingbot-TARGET:test`.
    fn load_program(&self, target: &str) {
        let program = format!("tradingbot-{target}");
        self.load_image(&lab::image::Build {
            tag: format!("localhost/{program}:test"),
            target: target.to_owned(),
            dockerfile: repository("Dockerfile"),
            binary: crate::binary(&program),
        });
    }

    /// Builds an image and brings it into the node.
    pub fn load_image(&self, image: &lab::image::Build) {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = folder.path().join("image");
        lab::image::build(image, &archive).expect("an image");
        self.lab.load_image(&archive).expect("the image in the node");
    }

    /// Every state of every bot from now on.
    pub fn record(&self, file: &Path) -> Record {
        Record::start(&self.kubectl, &self.kubeconfig(), file)
    }

    /// A folder for what a test runs beside the cluster; removed with it.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.lab.plan().file(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// The kubeconfig, for programs that run outside.
    pub fn kubeconfig(&self) -> PathBuf {
        self.lab.kubeconfig()
    }

    /// The API server's URL.
    pub fn server(&self) -> String {
        self.lab.plan().url()
    }

    /// What the API server was asked, from the cluster's beginning.
    pub fn audit(&self) -> Audit {
        Audit::new(self.lab.audit_log())
    }

    /// The processes of the control plane.
    pub fn processes(&self) -> Vec<i32> {
        self.lab.processes()
    }

    /// A kubectl command.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", self.lab.kubeconfig()).args(arguments);
        command
    }

    /// Runs kubectl, which must succeed; its output.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeed(self.kubectl(arguments).output().expect("kubectl runs"), &format!("{arguments:?}"))
    }

    /// Applies a manifest as a person does; what kubectl said, whether it succeeded or not.
    pub fn try_apply(&self, manifest: &str) -> Result<String, String> {
        let mut child = self
            .kubectl(&["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        child.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// Applies a manifest, which must succeed.
    pub fn apply(&self, manifest: &str) {
        if let Err(said) = self.try_apply(manifest) {
            panic!("kubectl apply: {said}");
        }
    }

    /// An object as JSON, when it exists.
    pub fn get(&self, namespace: &str, object: &str) -> Option<Value> {
        let output = self
            .kubectl(&["get", "-n", namespace, object, "-o", "json", "--ignore-not-found"])
            .output()
            .expect("kubectl runs");
        let json = succeed(output, object);
        (!json.is_empty()).then(|| serde_json::from_str(&json).expect("kubectl prints JSON"))
    }

    /// Objects of a namespace as `kubectl get` lists them.
    ///
    /// # Errors
    /// What kubectl says when it fails.
    pub fn try_list(&self, namespace: &str, what: &[&str]) -> Result<Vec<Value>, String> {
        let output = self
            .kubectl(&["get", "-n", namespace, "-o", "json", "--request-timeout=10s"])
            .args(what)
            .output()
            .expect("kubectl runs");
        if !output.status.success() {
            return Err(text(&output.stderr));
        }
        let mut list: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => Err(format!("kubectl lists {other}")),
        }
    }

    /// Kills a part of the control plane, such as `etcd`, and has it started again.
    pub fn kill(&self, part: &str) {
        self.lab.kill(part).expect("a part of the lab");
    }

    /// A namespace for one test, with the sample bars in it.
    pub fn namespace(&self, name: &str) -> String {
        self.run(&["create", "namespace", name]);
        self.run(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"]);
        let bars = repository("examples/data");
        self.run(&["apply", "-n", name, "-k", bars.to_str().expect("a path in UTF-8")]);
        wait::until("the namespace has its ServiceAccount", || {
            self.get(name, "serviceaccount/default").ok_or_else(|| "none".to_owned())
        });
        name.to_owned()
    }

    /// Waits until a bot's condition has the status; the whole bot.
    pub fn await_condition(&self, namespace: &str, bot: &str, kind: &str, status: &str) -> Value {
        wait::until(&format!("{bot} has {kind}={status}"), || {
            let object = self.get(namespace, &format!("tradingbot/{bot}")).ok_or("no such bot")?;
            match condition(&object, kind) {
                Some(found) if found["status"] == status => Ok(object),
                _ => Err(object["status"].to_string()),
            }
        })
    }
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn succeed(output: Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
