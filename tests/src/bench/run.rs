//! One contender with one number of bots, from an empty cluster to its fail-over.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::config::Kubeconfig;
use serde::Serialize;

use super::calls::{Calls, Counter};
use super::contender::Contender;
use super::drive::{Driver, names};
use super::machine::{self, Machine};
use super::observer::Observer;
use super::process::Process;
use super::samples::Samples;
use crate::account;
use crate::cluster::Cluster;
use crate::faker::{Faker, Options};

/// Repairs of each kind that are timed.
const REPAIRS: usize = 50;
/// Bots that are created one after the other.
const SINGLES: usize = 50;
/// Bots that are changed a second time.
const AGAIN: usize = 200;
/// How long an operator at rest is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// How often each way of ending is tried.
const FAILOVERS: usize = 3;

/// What one contender did with so many bots.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Who.
    pub contender: Contender,
    /// How many bots.
    pub bots: usize,
    /// Load average before the run.
    pub load: f64,
    /// Children of each bot.
    pub children: usize,
    /// Their size as JSON, without managedFields.
    pub children_bytes: usize,
    /// All bots at once, until all are Ready.
    pub create: Load,
    /// From a bot's creation to its last child, all at once.
    pub complete: Samples,
    /// The same, one bot after the other, with all bots loaded.
    pub complete_single: Samples,
    /// A limit of every bot, until all are Ready with it: one child changes.
    pub update: Load,
    /// The same again for some: the first change of an object may cost more.
    pub update_again: Load,
    /// Nothing happens.
    pub idle: Load,
    /// Resident memory before the first bot.
    pub start_kib: u64,
    /// Resident memory with all bots, at rest.
    pub rest_kib: u64,
    /// Peak of the resident memory over creation and update.
    pub peak_kib: u64,
    /// What a write takes without any operator: from sending each of those that break something to its answer.
    pub breaks: Samples,
    /// From the deletion of a Deployment to the new one.
    pub repair_deleted: Samples,
    /// From another number of replicas to the right one.
    pub repair_replicas: Samples,
    /// A new process, until it is at rest.
    pub restart: Load,
    /// Its peak.
    pub restart_peak_kib: u64,
    /// From its start to the first repair of what broke while there was none.
    pub restart_repair_ms: f64,
    /// Two processes, of which one writes.
    pub failover: Failover,
}

/// Something that is broken on purpose: when that was sent, answered, and made good.
#[derive(Clone, Copy, Debug)]
struct Repair {
    begun: Instant,
    broken: Instant,
    repaired: Instant,
}

impl Repair {
    fn writing(self) -> Duration {
        self.broken.saturating_duration_since(self.begun)
    }

    fn repairing(self) -> Duration {
        self.repaired.saturating_duration_since(self.broken)
    }
}

/// What a phase cost.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Bots that were touched.
    pub bots: usize,
    /// How long it took.
    pub seconds: f64,
    /// CPU seconds of the operator.
    pub cpu_seconds: f64,
    /// Its calls.
    pub calls: Calls,
    /// Calls of single objects for each bot, without Events.
    pub calls_per_bot: f64,
}

/// How long nobody wrote.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// The leader was killed.
    pub killed: Samples,
    /// The leader was asked to end.
    pub terminated: Samples,
}

/// Measures one contender with so many bots on a cluster of its own.
///
/// # Errors
/// When a program or the API server fails.
pub fn run(contender: Contender, bots: usize, machine: &Machine) -> Result<Run> {
    let load = machine::load();
    let cluster = Cluster::api_server();
    if machine.pinned {
        for pid in cluster.processes() {
            // A process that has ended in the meantime is none to pin.
            Command::new("taskset").args(["-acp", "0", &pid.to_string()]).output()?;
        }
    }
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let faker = Faker::start(&cluster.kubeconfig(), Options { renew_every: None, ..Options::default() });
    let result = runtime.block_on(async {
        let administrator = Kubeconfig::read_from(cluster.kubeconfig())?;
        let kubeconfig = folder.path().join("kubeconfig");
        let own = account::administrator(&administrator, contender.name()).await?;
        std::fs::write(&kubeconfig, serde_json::to_vec(&own)?)?;
        let client = account::client(&administrator, Some("tradingbot-bench")).await?;
        let bench = Bench {
            contender,
            machine,
            kubeconfig: &kubeconfig,
            log: &folder.path().join("operator.log"),
            driver: Driver::new(client.clone()).await?,
            observer: Observer::start(&client),
            counter: Counter::new(cluster.audit(), account::user(contender.name())),
        };
        bench.measure(bots, load).await
    });
    drop(faker);
    result.with_context(|| {
        let log = std::fs::read_to_string(folder.path().join("operator.log")).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(10).collect();
        format!("{} with {bots} bots; the end of its log:\n{}", contender.name(), tail.join("\n"))
    })
}

struct Bench<'a> {
    contender: Contender,
    machine: &'a Machine,
    kubeconfig: &'a Path,
    log: &'a Path,
    driver: Driver,
    observer: Observer,
    counter: Counter,
}

impl Bench<'_> {
    async fn measure(mut self, count: usize, load: f64) -> Result<Run> {
        let mut process = self.start(false)?;
        process.ready().await?;
        self.counter.rest().await?;
        let (start_kib, _) = process.resident_kib();

        let all = names("bot", count);
        let phase = Phase::begin(&process);
        let created = self.driver.create(&all).await?;
        self.observer.all_ready(&all, 1).await?;
        let create = phase.end(&process, &mut self.counter, count).await?;
        let complete = self.since(&all, &created)?;
        let (children, children_bytes) = self.driver.children(&all[0]).await?;

        let phase = Phase::begin(&process);
        self.driver.limit(&all, 3).await?;
        self.observer.all_ready(&all, 2).await?;
        let update = phase.end(&process, &mut self.counter, count).await?;
        let some = &all[..AGAIN.min(count)];
        let phase = Phase::begin(&process);
        self.driver.limit(some, 4).await?;
        self.observer.all_ready(some, 3).await?;
        let update_again = phase.end(&process, &mut self.counter, some.len()).await?;

        let phase = Phase::begin(&process);
        tokio::time::sleep(IDLE).await;
        let idle = phase.end_now(&process, &mut self.counter, count);
        let (rest_kib, peak_kib) = process.resident_kib();

        let singles = names("single", SINGLES);
        let mut answered = Vec::new();
        for name in &singles {
            answered.extend(self.driver.create(std::slice::from_ref(name)).await?);
            self.observer.all_ready(std::slice::from_ref(name), 1).await?;
        }
        let complete_single = self.since(&singles, &answered)?;

        // Spread over all bots, and none twice.
        let chosen = |index: usize| &all[index * count / (2 * REPAIRS)];
        let (mut breaks, mut deleted, mut replicas) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..REPAIRS {
            let of_deleted = self.repair_deleted(chosen(2 * index)).await?;
            let of_replicas = self.repair_replicas(chosen(2 * index + 1)).await?;
            breaks.extend([of_deleted.writing(), of_replicas.writing()]);
            deleted.push(of_deleted.repairing());
            replicas.push(of_replicas.repairing());
        }
        self.counter.rest().await?;

        process.terminate()?;
        process.ended().await?;
        let mut process = self.start(false)?;
        let phase = Phase::begin(&process);
        process.ready().await?;
        let restart = phase.end(&process, &mut self.counter, count).await?;
        let (_, restart_peak_kib) = process.resident_kib();

        process.kill();
        self.driver.scale(&all[0]).await?;
        self.observer.deployment_that(&all[0], |seen| seen.replicas == 3).await?;
        let begin = Instant::now();
        let mut process = self.start(false)?;
        let repaired = self.observer.deployment_that(&all[0], |seen| seen.replicas == 1).await?;
        let restart_repair_ms = repaired.saturating_duration_since(begin).as_secs_f64() * 1000.0;
        self.counter.rest().await?;
        process.terminate()?;
        process.ended().await?;

        Ok(Run {
            contender: self.contender,
            bots: count,
            load,
            children,
            children_bytes,
            create,
            complete,
            complete_single,
            update,
            update_again,
            idle,
            start_kib,
            rest_kib,
            peak_kib,
            breaks: Samples::of(breaks),
            repair_deleted: Samples::of(deleted),
            repair_replicas: Samples::of(replicas),
            restart,
            restart_peak_kib,
            restart_repair_ms,
            failover: self.failover(&all).await?,
        })
    }

    fn start(&self, elects: bool) -> Result<Process> {
        Process::start(self.contender, self.kubeconfig, self.log, elects, self.machine)
    }

    /// From each creation to the Deployment, which both contenders make last.
    fn since(&self, names: &[String], created: &[Instant]) -> Result<Samples> {
        let durations = names.iter().zip(created).map(|(name, created)| {
            let seen = self.observer.deployment(name).with_context(|| format!("{name} has no Deployment"))?;
            Ok(seen.since.saturating_duration_since(*created))
        });
        Ok(Samples::of(durations.collect::<Result<_>>()?))
    }

    async fn repair_deleted(&self, name: &str) -> Result<Repair> {
        let before = self.observer.deployment(name).context("the Deployment is there")?;
        let begun = Instant::now();
        self.driver.delete_deployment(name).await?;
        let broken = Instant::now();
        let repaired = self.observer.deployment_that(name, |seen| seen.uid != before.uid).await?;
        self.observer.all_ready(&[name.to_owned()], self.generation(name)).await?;
        Ok(Repair { begun, broken, repaired })
    }

    async fn repair_replicas(&self, name: &str) -> Result<Repair> {
        let repair = self.break_replicas(name).await?;
        self.observer.all_ready(&[name.to_owned()], self.generation(name)).await?;
        Ok(repair)
    }

    async fn break_replicas(&self, name: &str) -> Result<Repair> {
        let before = self.observer.deployment(name).context("the Deployment is there")?;
        ensure!(before.replicas == 1, "{name} has {} replicas before it is broken", before.replicas);
        let begun = Instant::now();
        self.driver.scale(name).await?;
        let broken = Instant::now();
        // The watch shows the break first: until then the old number is no repair.
        let repaired = self
            .observer
            .deployment_that(name, |seen| seen.replicas == 1 && seen.since > before.since)
            .await?;
        Ok(Repair { begun, broken, repaired })
    }

    fn generation(&self, name: &str) -> i64 {
        self.observer.generation(name).unwrap_or_default()
    }

    async fn failover(&self, names: &[String]) -> Result<Failover> {
        let mut leader = self.start(true)?;
        leader.ready().await?;
        self.repair_replicas(&names[0]).await?;
        let (mut killed, mut terminated) = (Vec::new(), Vec::new());
        for round in 0..2 * FAILOVERS {
            let mut standby = self.start(true)?;
            standby.ready().await?;
            // What it lists is not part of taking over.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let begin = Instant::now();
            let times = if round % 2 == 0 {
                leader.kill();
                &mut killed
            } else {
                leader.terminate()?;
                leader.ended().await?;
                &mut terminated
            };
            ensure!(standby.runs()?, "the one that should take over has ended");
            let repair = self.break_replicas(&names[(round + 1) % names.len()]).await?;
            times.push(repair.repaired.saturating_duration_since(begin));
            leader = standby;
        }
        Ok(Failover { killed: Samples::of(killed), terminated: Samples::of(terminated) })
    }
}

struct Phase {
    begin: Instant,
    cpu_seconds: f64,
}

impl Phase {
    fn begin(process: &Process) -> Self {
        Self { begin: Instant::now(), cpu_seconds: process.cpu_seconds() }
    }

    /// Ends the clock now, and the account once the operator is at rest.
    async fn end(self, process: &Process, counter: &mut Counter, bots: usize) -> Result<Load> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let calls = counter.rest().await?;
        Ok(Load { seconds, ..self.load(process, calls, bots) })
    }

    fn end_now(self, process: &Process, counter: &mut Counter, bots: usize) -> Load {
        let calls = counter.take();
        self.load(process, calls, bots)
    }

    fn load(&self, process: &Process, calls: Calls, bots: usize) -> Load {
        Load {
            bots,
            seconds: self.begin.elapsed().as_secs_f64(),
            cpu_seconds: process.cpu_seconds() - self.cpu_seconds,
            calls_per_bot: calls.per_bot(bots),
            calls,
        }
    }
}
