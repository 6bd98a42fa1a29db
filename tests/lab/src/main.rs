//! `lab`: starts, shows and removes clusters.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::anyhow;
use clap::{Args, Parser, Subcommand};
use lab::plan::{self, Plan};
use lab::{Lab, Options, image, packages, tools};

#[derive(Parser)]
#[command(name = "lab", about = "A real Kubernetes cluster from Go modules", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Name {
    /// Which lab, where there are several.
    #[arg(long, default_value = "dev")]
    name: String,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster, or add what is missing to one that runs, and wait until it is ready.
    Up {
        /// With containerd, kubelet and kube-proxy. Needs root.
        #[arg(long)]
        node: bool,
        #[command(flatten)]
        name: Name,
    },
    /// Remove a cluster with everything it made, running or not.
    Down {
        #[command(flatten)]
        name: Name,
        /// All clusters of this user, also those of tests.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Show all clusters.
    Status,
    /// Print the path of the kubeconfig.
    Kubeconfig(Name),
    /// Print the log of a part, such as kubelet.
    Logs {
        /// The part; without it the names of those that have a log.
        part: Option<String>,
        #[command(flatten)]
        name: Name,
    },
    /// Load image archives into the node.
    LoadImage {
        /// docker or OCI archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
        #[command(flatten)]
        name: Name,
    },
    /// Build an image from the Dockerfile around a compiled program, on a base of Debian packages.
    BuildImage {
        /// The stage of the Dockerfile: `agent` or `operator`.
        #[arg(long)]
        target: String,
        /// The compiled program.
        #[arg(long)]
        binary: PathBuf,
        /// What the image is called.
        #[arg(long)]
        tag: String,
        /// The Dockerfile.
        #[arg(long, default_value = "Dockerfile")]
        dockerfile: PathBuf,
        /// The docker archive to write.
        #[arg(long)]
        output: PathBuf,
    },
    /// Print the path of a program, such as kubectl or helm; build it if it is missing.
    Tool {
        /// Its name.
        tool: String,
    },
    /// Build all programs that are missing.
    Tools,
    /// Print the Debian packages a node needs.
    Packages,
    /// Own the parts of a cluster. Started by `up`.
    #[command(hide = true)]
    Supervise {
        /// The lab's folder.
        folder: PathBuf,
    },
    /// Remove a cluster once the standard input ends. Started by test fixtures.
    #[command(hide = true)]
    EndWithInput {
        /// The lab's folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // The lab's errors tell their causes themselves.
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up { node, name } => up(node, name.name)?,
        Command::Down { all: true, .. } => plan::all()?.iter().try_for_each(|plan| Lab::down(&plan.name))?,
        Command::Down { name, .. } => Lab::down(&name.name)?,
        Command::Status => return status(),
        Command::Kubeconfig(name) => println!("{}", Lab::find(&name.name)?.kubeconfig().display()),
        Command::Logs { part, name } => logs(&Plan::load(&name.name)?, part)?,
        Command::LoadImage { archives, name } => {
            let lab = Lab::find(&name.name)?;
            archives.iter().try_for_each(|archive| lab.load_image(archive))?;
        }
        Command::BuildImage { target, binary, tag, dockerfile, output } => {
            image::build(&image::Build { tag, target, dockerfile, binary }, &output)?;
        }
        Command::Tool { tool } => println!("{}", tools::path(&tool)?.display()),
        Command::Tools => tools::ensure(&tools::names())?,
        Command::Packages => packages::all().iter().for_each(|package| println!("{}", package.name)),
        Command::Supervise { folder } => {
            let plan = plan_in(folder)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(lab::supervisor::run(plan))?;
        }
        Command::EndWithInput { folder } => lab::end_with_input(&plan_in(folder)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn up(node: bool, name: String) -> anyhow::Result<()> {
    let start = Instant::now();
    let program =
        std::env::current_exe().map_err(|error| anyhow!("cannot find the running program: {error}"))?;
    let lab = Lab::up(&Options { name, node, bare: false, program }, |step| {
        println!("{:6.1} s  {}", step.seconds, step.name)
    })?;
    println!("{:6.1} s  ready at {}", start.elapsed().as_secs_f64(), lab.plan().url());
    println!("export KUBECONFIG={}", lab.kubeconfig().display());
    Ok(())
}

/// Exit code 1 when a lab has failed, as `systemctl status` does.
fn status() -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for plan in plan::all()? {
        let state = match Lab::find(&plan.name) {
            Ok(lab) => {
                let status = lab.status()?;
                match (status.control_plane_ready, status.node_ready) {
                    (_, true) => "ready, with node".to_owned(),
                    (true, false) => "ready".to_owned(),
                    (false, false) => "starting".to_owned(),
                }
            }
            Err(_) => {
                code = ExitCode::FAILURE;
                let failure = lab::status::Status::read(&plan)?.failure;
                failure
                    .map_or("was killed".to_owned(), |failure| format!("{} {}", failure.part, failure.what))
            }
        };
        println!("{:<16} {:<28} {} {}", plan.name, plan.url(), state, plan.folder.display());
    }
    Ok(code)
}

fn logs(plan: &Plan, part: Option<String>) -> anyhow::Result<()> {
    let Some(part) = part else {
        for entry in std::fs::read_dir(plan.file("logs"))? {
            println!(
                "{}",
                entry?.path().with_extension("").file_name().unwrap_or_default().to_string_lossy()
            );
        }
        return Ok(());
    };
    let path = plan.log(&part);
    let mut log =
        std::fs::File::open(&path).map_err(|error| anyhow!("no log {}: {error}", path.display()))?;
    std::io::copy(&mut log, &mut std::io::stdout())?;
    Ok(())
}

fn plan_in(folder: PathBuf) -> anyhow::Result<Plan> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(Plan::load(name)?)
}
