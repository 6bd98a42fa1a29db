//! What is written down: JSON for programs, a table for people, and which targets were met.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use super::contender::Contender;
use super::machine::Machine;
use super::run::{Load, Run};

/// Around the table in the docs.
const BEGIN: &str = "<!-- make bench-operator: begin -->\n";
const END: &str = "<!-- make bench-operator: end -->\n";

/// The whole benchmark.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// Every run, in its order.
    pub runs: Vec<Run>,
    /// What was hoped for.
    pub targets: Vec<Target>,
}

/// Something that was hoped for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// What.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// It is met when no more is measured.
    pub at_most: f64,
    /// Whether it is.
    pub met: bool,
}

impl Report {
    /// Puts runs together and judges them.
    pub fn new(date: String, machine: Machine, runs: Vec<Run>) -> Self {
        let mut targets = Vec::new();
        let mut sizes: Vec<_> = runs.iter().map(|run| run.bots).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let of = |contender, bots| runs.iter().find(|run| run.contender == contender && run.bots == bots);
        let mut judge = |name: String, measured: f64, at_most: f64| {
            targets.push(Target { name, measured, at_most, met: measured <= at_most });
        };
        for &bots in &sizes {
            let Some(ours) = of(Contender::Ours, bots) else { continue };
            let at = |what: &str| format!("{what}, {bots} bots");
            judge(at("calls per bot at creation"), ours.create.calls_per_bot, ours.children as f64 + 2.0);
            judge(at("calls per bot at the first change of one child"), ours.update.calls_per_bot, 3.0);
            judge(at("calls per bot at each further change"), ours.update_again.calls_per_bot, 3.0);
            judge(at("calls at rest"), ours.idle.calls.total() as f64, 0.0);
            judge(at("calls at restart, without lists"), ours.restart.calls.total() as f64, 0.0);
            judge(at("repair of a deleted Deployment, p99 ms"), ours.repair_deleted.p99_ms, 50.0);
            judge(at("repair of replicas, p99 ms"), ours.repair_replicas.p99_ms, 50.0);
            judge(at("fail-over after kill -9, longest ms"), ours.failover.killed.max_ms, 5000.0);
            judge(at("fail-over after SIGTERM, longest ms"), ours.failover.terminated.max_ms, 5000.0);
        }
        if let Some(&most) = sizes.last()
            && let (Some(ours), Some(peer)) = (of(Contender::Ours, most), of(Contender::Peer, most))
        {
            let cpu = |run: &Run| run.create.cpu_seconds + run.update.cpu_seconds;
            let at = |what: &str| format!("{what}, {most} bots");
            judge(
                at("CPU of creation and change, percent of the peer's"),
                100.0 * cpu(ours) / cpu(peer),
                60.0,
            );
            let memory = 100.0 * ours.peak_kib as f64 / peer.peak_kib as f64;
            judge(at("peak memory, percent of the peer's"), memory, 35.0);
        }
        if let Some(slope) = slope(&runs, Contender::Ours) {
            judge("KB of peak memory a bot, between the smallest and the largest run".into(), slope, 12.0);
        }
        Self { date, machine, runs, targets }
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        let Machine { cores, model, memory_gib, kernel, pinned } = &self.machine;
        let loads = self.runs.iter().map(|run| run.load);
        let (least, most) = loads.fold((f64::MAX, 0.0_f64), |(a, b), load| (a.min(load), b.max(load)));
        let pins =
            if *pinned { "etcd and API server on core 0, the operator on core 1" } else { "not pinned" };
        let mut text = format!(
            "Measured {} on {cores} cores ({model}), {memory_gib} GiB, {kernel}; {pins}; load average before each run {least:.1}–{most:.1}.\nEach pair is *ours / peer*.\n\n",
            self.date
        );
        let mut sizes: Vec<_> = self.runs.iter().map(|run| run.bots).collect();
        sizes.sort_unstable();
        sizes.dedup();
        row(&mut text, "bots", sizes.iter().map(ToString::to_string));
        row(&mut text, "---", sizes.iter().map(|_| "---:".to_owned()));
        for (name, show) in ROWS {
            row(&mut text, name, sizes.iter().map(|bots| self.pair(*bots, *show)));
        }
        let slopes = [Contender::Ours, Contender::Peer].map(|contender| {
            slope(&self.runs, contender).map_or("–".to_owned(), |slope| format!("{slope:.1} KB"))
        });
        let _ = writeln!(
            text,
            "\nPeak memory a bot, between the smallest and the largest run: {}.\n",
            slopes.join(" / ")
        );
        text.push_str("| target | measured | at most | met |\n|---|---:|---:|---|\n");
        for Target { name, measured, at_most, met } in &self.targets {
            let met = if *met { "yes" } else { "**no**" };
            let _ = writeln!(text, "| {name} | {measured:.2} | {at_most} | {met} |");
        }
        text
    }

    fn pair(&self, bots: usize, show: fn(&Run) -> String) -> String {
        let of = |contender| {
            let run = self.runs.iter().find(|run| run.contender == contender && run.bots == bots);
            run.map_or("–".to_owned(), show)
        };
        format!("{} / {}", of(Contender::Ours), of(Contender::Peer))
    }
}

type Row = (&'static str, fn(&Run) -> String);

const ROWS: &[Row] = &[
    ("children a bot; their size as JSON", |run| {
        format!("{}; {:.1} KB", run.children, run.children_bytes as f64 / 1000.0)
    }),
    ("create: calls a bot", |run| calls(&run.create)),
    ("change of a limit (one child): calls a bot", |run| calls(&run.update)),
    ("the same again: calls a bot", |run| calls(&run.update_again)),
    ("Events a bot, at creation; at a change", |run| {
        let events = |load: &Load| load.calls.events as f64 / load.bots.max(1) as f64;
        format!("{:.2}; {:.2}", events(&run.create), events(&run.update))
    }),
    ("at rest: calls in 20 s", |run| run.idle.calls.total().to_string()),
    ("restart: calls; lists and watches", |run| {
        format!("{}; {}", run.restart.calls.total(), run.restart.calls.lists_and_watches)
    }),
    ("create: until all are Ready", |run| format!("{:.1} s", run.create.seconds)),
    ("create: CPU of the operator", |run| format!("{:.2} s", run.create.cpu_seconds)),
    ("change: until all are Ready", |run| format!("{:.1} s", run.update.seconds)),
    ("change: CPU of the operator", |run| format!("{:.2} s", run.update.cpu_seconds)),
    ("at rest: CPU in 20 s", |run| format!("{:.2} s", run.idle.cpu_seconds)),
    ("restart: CPU", |run| format!("{:.2} s", run.restart.cpu_seconds)),
    ("peak resident memory", |run| mib(run.peak_kib)),
    ("resident memory at rest", |run| mib(run.rest_kib)),
    ("peak resident memory of a restart", |run| mib(run.restart_peak_kib)),
    ("create → children complete, all at once: p50; p99", |run| {
        format!("{:.1}; {:.1} s", run.complete.p50_ms / 1000.0, run.complete.p99_ms / 1000.0)
    }),
    ("create → children complete, one by one: p50; p99", |run| quantiles(&run.complete_single)),
    ("a write that breaks something, until its answer: p50; p99", |run| quantiles(&run.breaks)),
    ("a deleted Deployment is there again: p50; p99", |run| quantiles(&run.repair_deleted)),
    ("replicas are right again: p50; p99", |run| quantiles(&run.repair_replicas)),
    ("restart: from start to the first repair", |run| format!("{:.0} ms", run.restart_repair_ms)),
    ("fail-over after kill -9: longest", |run| format!("{:.1} s", run.failover.killed.max_ms / 1000.0)),
    ("fail-over after SIGTERM: longest", |run| format!("{:.1} s", run.failover.terminated.max_ms / 1000.0)),
];

fn calls(load: &Load) -> String {
    let verbs = load
        .calls
        .by_verb
        .iter()
        .map(|(verb, count)| format!("{verb} {:.2}", *count as f64 / load.bots.max(1) as f64));
    format!("{:.2} ({})", load.calls_per_bot, verbs.collect::<Vec<_>>().join(", "))
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn quantiles(samples: &super::samples::Samples) -> String {
    format!("{:.0}; {:.0} ms", samples.p50_ms, samples.p99_ms)
}

fn row(text: &mut String, first: &str, rest: impl Iterator<Item = String>) {
    let _ = writeln!(text, "| {first} | {} |", rest.collect::<Vec<_>>().join(" | "));
}

/// Peak memory that one more bot takes, in KB of 1000 bytes.
fn slope(runs: &[Run], contender: Contender) -> Option<f64> {
    let own = || runs.iter().filter(|run| run.contender == contender);
    let (least, most) = (own().min_by_key(|run| run.bots)?, own().max_by_key(|run| run.bots)?);
    let bots = most.bots.checked_sub(least.bots).filter(|bots| *bots > 0)?;
    Some((most.peak_kib as f64 - least.peak_kib as f64) * 1.024 / bots as f64)
}

/// Puts the tables between their marks.
///
/// # Errors
/// When the marks are not there.
pub fn write_docs(docs: &str, tables: &str) -> Result<String> {
    let (before, rest) =
        docs.split_once(BEGIN).context("docs/performance.md has no mark of the beginning")?;
    let (_, after) = rest.split_once(END).context("docs/performance.md has no mark of the end")?;
    Ok(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::run::Failover;
    use crate::bench::{Calls, Samples};

    fn made(contender: Contender, bots: usize, peak_kib: u64, cpu_seconds: f64) -> Run {
        let load = Load { bots, seconds: 1.0, cpu_seconds, calls: Calls::default(), calls_per_bot: 3.0 };
        let samples = Samples { count: 1, p50_ms: 1.0, p99_ms: 51.0, max_ms: 51.0 };
        Run {
            contender,
            bots,
            load: 0.0,
            children: 9,
            children_bytes: 1,
            create: load.clone(),
            complete: samples,
            complete_single: samples,
            update: load.clone(),
            update_again: load.clone(),
            idle: load.clone(),
            start_kib: 1,
            rest_kib: 1,
            peak_kib,
            breaks: samples,
            repair_deleted: samples,
            repair_replicas: Samples::default(),
            restart: load,
            restart_peak_kib: 1,
            restart_repair_ms: 1.0,
            failover: Failover::default(),
        }
    }

    #[test]
    fn targets_are_judged_by_the_largest_run_and_by_the_slope() {
        let runs = vec![
            made(Contender::Ours, 200, 20_000, 1.0),
            made(Contender::Peer, 200, 20_000, 1.0),
            made(Contender::Ours, 1200, 30_000, 1.0),
            made(Contender::Peer, 1200, 100_000, 2.0),
        ];
        let machine =
            Machine { cores: 2, model: "m".into(), memory_gib: 1, kernel: "k".into(), pinned: true };
        let report = Report::new("2026-01-01".into(), machine, runs);
        let met = |name: &str| report.targets.iter().find(|target| target.name.contains(name)).unwrap();
        assert_eq!((met("CPU").measured, met("CPU").met), (50.0, true));
        assert_eq!(
            (met("percent of the peer's, 1200").measured, met("peak memory, percent").met),
            (50.0, true)
        );
        assert!((met("a bot, between").measured - 10.24).abs() < 1e-9);
        assert!(!met("deleted Deployment").met);
        let text = report.markdown();
        assert!(
            text.contains("| peak resident memory | 19.5 MiB / 19.5 MiB | 29.3 MiB / 97.7 MiB |"),
            "{text}"
        );
    }

    #[test]
    fn the_tables_replace_what_is_between_the_marks() {
        let docs = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(write_docs(&docs, "new").unwrap(), format!("a\n{BEGIN}\nnew\n{END}b\n"));
        assert!(write_docs("a", "new").is_err());
    }
}
