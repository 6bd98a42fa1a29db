//! The process that owns all parts of a running lab: it starts them, watches them, and ends with the first that dies
//! unless it was asked to kill it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};

use crate::command::run as run_command;
use crate::parts::{self, Part};
use crate::plan::{Place, Plan};
use crate::status::{Failure, Status, Step};
use crate::{Error, cgroup, cluster, image, pki, sandbox, tools};

/// How long the control plane and the node may each take, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often parts and requests are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Its existence in the lab's folder asks the supervisor to add a node.
pub(crate) const NODE_WANTED: &str = "node.wanted";

/// Its existence in the lab's folder asks the supervisor for no controllers.
pub(crate) const BARE: &str = "bare";

/// Its existence in the lab's folder asks the supervisor to kill a part and to start it again; then it is removed.
pub(crate) fn kill_wanted(part: &str) -> String {
    format!("kill.{part}")
}

/// Held by the supervisor as long as it lives.
pub(crate) const LOCK: &str = "supervisor.lock";

/// Runs the lab until a part dies. What went wrong is in `status.json`; the error is that of writing it.
///
/// # Errors
/// When the lab's own files cannot be written.
pub async fn run(plan: Plan) -> Result<(), Error> {
    // Not a member of the terminal's session: Ctrl-C there is not for the lab. The first process of a process namespace
    // may lead its session already.
    rustix::process::setsid().ok();
    let lock_path = plan.file(LOCK);
    let lock = fs::File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;

    let supervisor = Supervisor {
        plan,
        running: RefCell::new(Vec::new()),
        status: RefCell::new(Status::default()),
        begin: RefCell::new(Instant::now()),
    };
    supervisor.status.borrow().write(&supervisor.plan)?;
    let trouble = tokio::select! {
        trouble = supervisor.watch() => trouble,
        result = supervisor.work() => match result {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        },
    };
    let failure = match trouble {
        Trouble::Part(failure) => failure,
        Trouble::Own(error) => Failure { part: "supervisor".into(), what: format!("failed: {error}") },
    };
    eprintln!("{} {}", failure.part, failure.what);
    supervisor.status.borrow_mut().failure = Some(failure);
    supervisor.status.borrow().write(&supervisor.plan)?;
    for (pid, _) in supervisor.running.borrow().iter() {
        kill_process(*pid, Signal::KILL).ok();
    }
    Ok(())
}

struct Supervisor {
    plan: Plan,
    /// Parts that have been started and have not ended.
    running: RefCell<Vec<(Pid, &'static str)>>,
    status: RefCell<Status>,
    begin: RefCell<Instant>,
}

enum Trouble {
    /// A part did not become ready in time.
    Part(Failure),
    /// The supervisor itself could not do something.
    Own(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl Supervisor {
    /// Returns when a part has ended that nobody asked to kill. Also buries processes whose parents are gone, for in
    /// its process namespace the supervisor is the first process.
    async fn watch(&self) -> Trouble {
        loop {
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                let position = self.running.borrow().iter().position(|(other, _)| *other == pid);
                let Some(position) = position else { continue };
                let (_, part) = self.running.borrow_mut().remove(position);
                let wanted = self.plan.file(&kill_wanted(part));
                if !wanted.exists() {
                    return Trouble::Part(Failure { part: part.into(), what: ending(status) });
                }
                let again = parts::named(part, &self.plan)
                    .and_then(|part| self.start(part))
                    .and_then(|()| std::fs::remove_file(&wanted).map_err(Error::file("remove", &wanted)));
                if let Err(error) = again {
                    return Trouble::Own(error);
                }
            }
            for (pid, part) in self.running.borrow().iter() {
                if self.plan.file(&kill_wanted(part)).exists() {
                    kill_process(*pid, Signal::KILL).ok();
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn work(&self) -> Result<Infallible, Trouble> {
        if self.plan.place == Place::Namespace {
            sandbox::shield(&self.plan)?;
            sandbox::join(&self.plan)?;
        }
        pki::write(&self.plan)?;
        self.step("certificates")?;
        let with_node = self.node_wanted();
        let (control_plane, runtime) = tokio::join!(self.control_plane(), async {
            if with_node { self.runtime().await } else { Ok(()) }
        });
        control_plane?;
        runtime?;
        if with_node {
            self.node().await?;
        }
        loop {
            tokio::time::sleep(TICK).await;
            if self.node_wanted() && !self.status.borrow().node_ready {
                *self.begin.borrow_mut() = Instant::now();
                self.status.borrow_mut().steps.clear();
                self.runtime().await?;
                self.node().await?;
            }
        }
    }

    async fn control_plane(&self) -> Result<(), Trouble> {
        let ports = self.plan.ports();
        self.start(parts::etcd::part(&self.plan)?)?;
        self.wait("etcd", async || listens(Ipv4Addr::LOCALHOST, ports.etcd).await).await?;
        self.step("etcd")?;
        self.start(parts::apiserver::part(&self.plan)?)?;
        let client = cluster::client(&self.plan).await?;
        self.wait("kube-apiserver", async || listens(self.plan.address(), ports.apiserver).await).await?;
        self.wait("kube-apiserver", async || cluster::is_ready(&client).await).await?;
        self.step("kube-apiserver")?;
        if !self.plan.file(BARE).exists() {
            // Not earlier: until the server has made the bootstrap roles it refuses them, and they give up.
            self.start(parts::controller_manager::part(&self.plan)?)?;
            self.start(parts::scheduler::part(&self.plan)?)?;
            self.wait("kube-controller-manager", async || cluster::has_default_account(&client).await)
                .await?;
        }
        self.status.borrow_mut().control_plane_ready = true;
        self.step("control plane")?;
        Ok(())
    }

    /// containerd, with the image every pod needs.
    async fn runtime(&self) -> Result<(), Trouble> {
        self.start(parts::containerd::part(&self.plan)?)?;
        let socket = parts::containerd::socket(&self.plan);
        self.wait("containerd", async || tokio::net::UnixStream::connect(&socket).await.is_ok()).await?;
        let archive = image::busybox_archive()?;
        let mut import = image::import_command(&tools::path("ctr").map_err(Error::from)?, &socket, &archive);
        run_command(&mut import)?;
        self.step("containerd")?;
        Ok(())
    }

    async fn node(&self) -> Result<(), Trouble> {
        let client = cluster::client(&self.plan).await?;
        cgroup::create(&self.plan)?;
        self.start(parts::kubelet::part(&self.plan)?)?;
        self.start(parts::proxy::part(&self.plan)?)?;
        cluster::create_volumes(&client, &self.plan).await?;
        self.step("volumes")?;
        self.wait("kubelet", async || cluster::is_node_ready(&client).await).await?;
        self.status.borrow_mut().node_ready = true;
        self.step("node")?;
        Ok(())
    }

    fn node_wanted(&self) -> bool {
        self.plan.file(NODE_WANTED).exists()
    }

    fn start(&self, mut part: Part) -> Result<(), Error> {
        let log_path = self.plan.log(part.name);
        let log = open_log(&log_path)?;
        let errors = log.try_clone().map_err(Error::file("open", &log_path))?;
        let child = part
            .command
            .current_dir(&self.plan.folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(Error::file("run", Path::new(part.command.get_program())))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        self.running.borrow_mut().extend(pid.map(|pid| (pid, part.name)));
        Ok(())
    }

    async fn wait(&self, part: &str, mut ready: impl AsyncFnMut() -> bool) -> Result<(), Trouble> {
        let start = Instant::now();
        while !ready().await {
            if start.elapsed() > PATIENCE {
                let what = format!("was not ready after {} s", PATIENCE.as_secs());
                return Err(Trouble::Part(Failure { part: part.into(), what }));
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    fn step(&self, name: &str) -> Result<(), Error> {
        let seconds = self.begin.borrow().elapsed().as_secs_f64();
        self.status.borrow_mut().steps.push(Step { name: name.into(), seconds });
        self.status.borrow().write(&self.plan)
    }
}

/// The log of a part, continued.
pub(crate) fn open_log(path: &Path) -> Result<fs::File, Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path).map_err(Error::file("open", path))
}

async fn listens(address: Ipv4Addr, port: u16) -> bool {
    tokio::net::TcpStream::connect((address, port)).await.is_ok()
}

fn ending(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
