//! A lab as its users see it: started, found again, removed.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::plan::{self, Place, Plan};
use crate::status::{Status, Step};
use crate::supervisor::{BARE, LOCK, NODE_WANTED, kill_wanted, open_log};
use crate::{Error, fixture, image, log, packages, sandbox, teardown, tools};

/// How often the supervisor's status is read.
const TICK: Duration = Duration::from_millis(20);

/// How long a supervisor may take to report anything.
const FIRST_SIGN: Duration = Duration::from_secs(20);

/// What kind of lab is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name; several labs differ in it.
    pub name: String,
    /// With containerd, kubelet and kube-proxy.
    pub node: bool,
    /// Without controllers and scheduler: etcd and the API server alone. Of no account for a lab that runs.
    pub bare: bool,
    /// The `lab` program, which the supervisor runs as.
    pub program: PathBuf,
}

/// A cluster that has been started.
#[derive(Debug)]
pub struct Lab {
    plan: Plan,
    /// Present on fixtures: removes the lab when dropped or when this process ends.
    guard: Option<fixture::Guard>,
}

impl Lab {
    /// A control plane for tests, removed when the value is dropped or the process ends. Works without root.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn control_plane() -> Result<Self, Error> {
        Self::fixture(false, false)
    }

    /// etcd and an API server for tests, without any controller: whatever changes, the test or what it tests has
    /// changed. Works without root.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn api_server() -> Result<Self, Error> {
        Self::fixture(false, true)
    }

    /// A cluster with a node for tests, removed when the value is dropped or the process ends. Needs root.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn node() -> Result<Self, Error> {
        Self::fixture(true, false)
    }

    fn fixture(node: bool, bare: bool) -> Result<Self, Error> {
        let options = Options { name: fixture::unique_name(), node, bare, program: fixture::program()? };
        let mut guard = None;
        let plan = start(
            &options,
            |step| eprintln!("lab: {:.1} s {}", step.seconds, step.name),
            |plan| {
                guard = Some(fixture::Guard::new(plan, &options.program)?);
                Ok(())
            },
        )?;
        Ok(Self { plan, guard })
    }

    /// Starts a lab that outlives this process, or adds what is missing to one that runs, and waits until it is ready.
    ///
    /// # Errors
    /// When a part dies, with the end of its log; when rights or packages are missing.
    pub fn up(options: &Options, progress: impl FnMut(&Step)) -> Result<Self, Error> {
        Ok(Self { plan: start(options, progress, |_| Ok(()))?, guard: None })
    }

    /// A lab that runs.
    ///
    /// # Errors
    /// When there is none of that name, or it runs no more.
    pub fn find(name: &str) -> Result<Self, Error> {
        let plan = Plan::load(name)?;
        if is_running(&plan) { Ok(Self { plan, guard: None }) } else { Err(Error::Dead(name.into())) }
    }

    /// Removes a lab, running or not. Nothing to remove is no error.
    ///
    /// # Errors
    /// When something of it is left.
    pub fn down(name: &str) -> Result<(), Error> {
        match Plan::load(name) {
            Ok(plan) => teardown::remove(&plan),
            Err(Error::Absent { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the lab's supervisor lives.
    pub fn is_running(&self) -> bool {
        is_running(&self.plan)
    }

    /// Names, addresses and files of the lab.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The kubeconfig of a cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plan.kubeconfig()
    }

    /// The API server's audit log at level `Metadata`: one `audit.k8s.io/v1` event a line for each answered call, by
    /// whom and of what, never with contents.
    pub fn audit_log(&self) -> PathBuf {
        self.plan.audit_log()
    }

    /// How far the lab has come.
    ///
    /// # Errors
    /// When its file is damaged.
    pub fn status(&self) -> Result<Status, Error> {
        Status::read(&self.plan)
    }

    /// Processes of the lab as the host numbers them, but for those in pods.
    pub fn processes(&self) -> Vec<i32> {
        teardown::processes(&self.plan).into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()
    }

    /// Runs kubectl as an administrator and returns what it prints.
    ///
    /// # Errors
    /// When kubectl fails; the message carries what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut kubectl = std::process::Command::new(tools::path("kubectl")?);
        crate::command::run(kubectl.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments))
    }

    /// Kills a part as `kill -9` does and has it started again, on the same port and with the data it had. Returns once
    /// it is started, which is before it serves.
    ///
    /// # Errors
    /// When there is no such part, or the lab ends meanwhile.
    pub fn kill(&self, part: &str) -> Result<(), Error> {
        crate::parts::named(part, &self.plan)?;
        let wanted = self.plan.file(&kill_wanted(part));
        fs::write(&wanted, "").map_err(Error::file("write", &wanted))?;
        while wanted.exists() {
            if !self.is_running() {
                return Err(Error::Dead(self.plan.name.clone()));
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Loads a docker or OCI archive into the node's container runtime.
    ///
    /// # Errors
    /// When the lab has no node, or the runtime refuses the archive.
    pub fn load_image(&self, archive: &std::path::Path) -> Result<(), Error> {
        let archive = fs::canonicalize(archive).map_err(Error::file("read", archive))?;
        let socket = crate::parts::containerd::socket(&self.plan);
        if !self.status()?.node_ready {
            return Err(Error::NoNode(self.plan.name.clone()));
        }
        crate::command::run(&mut image::import_command(&tools::path("ctr")?, &socket, &archive)).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        drop(guard);
        // The guard has done it; if it was killed, this does.
        if let Err(error) = teardown::remove(&self.plan) {
            eprintln!("lab {}: {error}", self.plan.name);
        }
    }
}

fn is_running(plan: &Plan) -> bool {
    // Only the supervisor holds it.
    fs::File::open(plan.file(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// `guarded` is called once the plan is written and before anything is started.
fn start(
    options: &Options,
    mut progress: impl FnMut(&Step),
    guarded: impl FnOnce(&Plan) -> Result<(), Error>,
) -> Result<Plan, Error> {
    if options.node {
        if !plan::is_root() {
            return Err(Error::NotRoot);
        }
        packages::check()?;
        tools::ensure(tools::NODE)?;
        image::busybox_archive()?;
    }
    tools::ensure(tools::CONTROL_PLANE)?;
    // Of an earlier lab by that name that failed or was killed.
    if let Ok(plan) = Plan::load(&options.name)
        && !is_running(&plan)
    {
        teardown::remove(&plan)?;
    }
    let lock = plan::lock()?;
    let existing = Plan::load(&options.name).ok();
    let plan = match existing {
        Some(plan) => {
            if options.node && plan.place != Place::Namespace {
                return Err(Error::NoNamespace(plan.name));
            }
            plan
        }
        None => {
            let plan = Plan::allocate(&options.name)?;
            guarded(&plan)?;
            if options.bare {
                request(&plan, BARE)?;
            }
            plan
        }
    };
    if options.node {
        request(&plan, NODE_WANTED)?;
    }
    if !is_running(&plan) {
        spawn(&plan, options)?;
    }
    drop(lock);
    wait(&plan, options.node, &mut progress)?;
    Ok(plan)
}

/// Leaves a word for the supervisor.
fn request(plan: &Plan, what: &str) -> Result<(), Error> {
    let path = plan.file(what);
    fs::write(&path, "").map_err(Error::file("write", &path))
}

/// Starts the supervisor and waits until it holds its lock.
fn spawn(plan: &Plan, options: &Options) -> Result<(), Error> {
    let log_path = plan.log("supervisor");
    let log = open_log(&log_path)?;
    let errors = log.try_clone().map_err(Error::file("open", &log_path))?;
    let mut command = match plan.place {
        Place::Namespace => sandbox::command(&options.program),
        Place::Loopback(_) => std::process::Command::new(&options.program),
    };
    let (name, value) = plan.marker();
    let mut child = command
        .arg("supervise")
        .arg(&plan.folder)
        .env(name, value)
        .current_dir(&plan.folder)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(Error::file("run", &options.program))?;
    if plan.place == Place::Namespace {
        sandbox::connect(plan, child.id())?;
    }
    let start = Instant::now();
    while !is_running(plan) {
        let ended = child.try_wait().map_err(Error::file("wait for", &options.program))?;
        if ended.is_some() || start.elapsed() > FIRST_SIGN {
            return Err(part_error(plan, "supervisor", "did not start"));
        }
        std::thread::sleep(TICK);
    }
    // It is not waited for: it outlives this process, or is killed by the teardown and then buried below.
    std::thread::spawn(move || child.wait());
    Ok(())
}

fn wait(plan: &Plan, node: bool, progress: &mut impl FnMut(&Step)) -> Result<(), Error> {
    let mut reported =
        if Status::read(plan)?.control_plane_ready { Status::read(plan)?.steps } else { Vec::new() };
    loop {
        let running = is_running(plan);
        let status = Status::read(plan)?;
        for step in &status.steps {
            if !reported.contains(step) {
                progress(step);
                reported.push(step.clone());
            }
        }
        if let Some(failure) = status.failure {
            return Err(part_error(plan, &failure.part, &failure.what));
        }
        if !running {
            return Err(part_error(plan, "supervisor", "was killed"));
        }
        if status.control_plane_ready && (status.node_ready || !node) {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
}

fn part_error(plan: &Plan, part: &str, what: &str) -> Error {
    let log = plan.log(part);
    Error::Part { part: part.into(), what: what.into(), tail: log::tail(&log), log }
}
