//! Every metric of the agent: names and meanings are declared here and nowhere else. docs/metrics.md lists them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use engine::{Event, Output};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::journal::{event_kind, output_kind};
use crate::view::{View, outcome_word};

/// A float that goes up and down.
type Level = Gauge<f64, AtomicU64>;
/// A whole number that goes up and down.
type Number = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabels {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

/// The agent's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    events: Family<Kind, Counter>,
    outputs: Family<Kind, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    trades: Counter,
    fills: Counter,
    equity: Level,
    cash: Level,
    day_pnl: Level,
    drawdown: Level,
    positions: Number,
    lease: Number,
    feed_healthy: Number,
    market_time: Level,
    last_cycle: Level,
    loop_state: Family<StateLabel, Number>,
    commits: Counter,
    commit_seconds: Histogram,
    journal_healthy: Number,
    journal_failures: Family<ReasonLabel, Counter>,
    unauthorized: Counter,
    lease_failures: Family<ReasonLabel, Counter>,
    status_writes: Counter,
    status_failures: Counter,
}

impl Metrics {
    /// Registers everything, for the bot of that name.
    pub fn new(namespace: &str, name: &str) -> Self {
        let mut registry = Registry::with_prefix("tradingbot");
        registry.register(
            "agent",
            "The bot and the version of its agent",
            Info::new([
                ("namespace", namespace.to_owned()),
                ("bot", name.to_owned()),
                ("version", crate::journal::VERSION.to_owned()),
            ]),
        );
        let mut metrics = Self {
            registry: Arc::default(),
            events: Family::default(),
            outputs: Family::default(),
            decisions: Family::default(),
            refused: Family::default(),
            trades: Counter::default(),
            fills: Counter::default(),
            equity: Level::default(),
            cash: Level::default(),
            day_pnl: Level::default(),
            drawdown: Level::default(),
            positions: Number::default(),
            lease: Number::default(),
            feed_healthy: Number::default(),
            market_time: Level::default(),
            last_cycle: Level::default(),
            loop_state: Family::default(),
            commits: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.0005, 4.0, 8)),
            journal_healthy: Number::default(),
            journal_failures: Family::default(),
            unauthorized: Counter::default(),
            lease_failures: Family::default(),
            status_writes: Counter::default(),
            status_failures: Counter::default(),
        };
        registry.register("events", "Events handled, by kind", metrics.events.clone());
        registry.register("outputs", "Outputs of the engine, by kind", metrics.outputs.clone());
        registry.register(
            "decisions",
            "Decisions, by outcome and reason of rejection",
            metrics.decisions.clone(),
        );
        registry.register("events_refused", "Events that cannot be used, by reason", metrics.refused.clone());
        registry.register("trades_closed", "Round trips closed", metrics.trades.clone());
        registry.register("fills", "Orders filled", metrics.fills.clone());
        registry.register("equity", "Cash and marked positions, in account currency", metrics.equity.clone());
        registry.register("cash", "Cash, in account currency", metrics.cash.clone());
        registry.register("day_pnl", "Change of equity since the day began", metrics.day_pnl.clone());
        registry.register("drawdown_percent", "Distance of equity below its peak", metrics.drawdown.clone());
        registry.register("open_positions", "Open positions", metrics.positions.clone());
        registry.register("lease_held", "1 while this process may open positions", metrics.lease.clone());
        registry.register(
            "feed_healthy",
            "0 while the data of the feed cannot be used",
            metrics.feed_healthy.clone(),
        );
        registry.register("market_time_seconds", "Market time, since 1970", metrics.market_time.clone());
        registry.register(
            "last_cycle_time_seconds",
            "Market time of the last cycle, since 1970",
            metrics.last_cycle.clone(),
        );
        registry.register("loop_state", "1 for the state that the loop is in", metrics.loop_state.clone());
        registry.register("journal_commits", "Batches made durable", metrics.commits.clone());
        registry.register(
            "journal_commit_seconds",
            "Time that a batch takes to become durable",
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "journal_healthy",
            "0 while the journal takes nothing and the market stands still",
            metrics.journal_healthy.clone(),
        );
        registry.register(
            "journal_failures",
            "Attempts to make a batch durable that failed, by reason",
            metrics.journal_failures.clone(),
        );
        registry.register("api_unauthorized", "Requests without a valid key", metrics.unauthorized.clone());
        registry.register(
            "lease_failures",
            "Attempts to read or renew the Lease that failed, by reason",
            metrics.lease_failures.clone(),
        );
        registry.register("status_writes", "Writes of the resource's status", metrics.status_writes.clone());
        registry.register(
            "status_write_failures",
            "Writes of the resource's status that failed",
            metrics.status_failures.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// Counts an event and what came of it.
    pub fn handled(&self, event: &Event, outputs: &[Output]) {
        self.events.get_or_create(&Kind { kind: event_kind(event) }).inc();
        for output in outputs {
            self.outputs.get_or_create(&Kind { kind: output_kind(output) }).inc();
            match output {
                Output::Decision(decision) => {
                    let reason =
                        decision.rejection.as_ref().map_or("", |rejection| rejection.reason.as_str());
                    let labels = DecisionLabels { outcome: outcome_word(decision.outcome), reason };
                    self.decisions.get_or_create(&labels).inc();
                }
                Output::Refused(refused) => {
                    let reason = format!("{:?}", refused.reason);
                    self.refused.get_or_create(&RefusedLabels { reason }).inc();
                }
                Output::Fill(_) => {
                    self.fills.inc();
                }
                Output::TradeClosed(_) => {
                    self.trades.inc();
                }
                _ => {}
            }
        }
    }

    /// Counts an attempt to make a batch durable that failed.
    pub fn journal_failure(&self, reason: &'static str) {
        self.journal_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Takes over the levels of a committed projection.
    pub fn committed(&self, view: &View, took: Duration) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
        self.observe(view);
    }

    /// Takes over the levels of a projection.
    pub fn observe(&self, view: &View) {
        let float = |value: rust_decimal::Decimal| {
            rust_decimal::prelude::ToPrimitive::to_f64(&value).unwrap_or(f64::NAN)
        };
        let seconds =
            |time: Option<jiff::Timestamp>| time.map_or(0.0, |time| time.as_millisecond() as f64 / 1e3);
        self.equity.set(float(view.account.equity));
        self.cash.set(float(view.account.cash));
        self.day_pnl.set(float(view.account.day_pnl));
        self.drawdown.set(float(view.account.drawdown_percent));
        self.positions.set(i64::try_from(view.positions.len()).unwrap_or(i64::MAX));
        self.lease.set(view.lease_held.into());
        self.feed_healthy.set(view.feed.healthy.into());
        self.journal_healthy.set(view.journal.trouble.is_none().into());
        self.market_time.set(seconds(view.market_time));
        self.last_cycle.set(seconds(view.last_cycle_at));
        for state in engine::LoopState::ALL {
            let labels = StateLabel { state: state.as_str().to_owned() };
            self.loop_state.get_or_create(&labels).set((state.as_str() == view.loop_state).into());
        }
    }

    /// Counts a request without a valid key.
    pub fn unauthorized(&self) {
        self.unauthorized.inc();
    }

    /// Counts a failed attempt at the Lease.
    pub fn lease_failure(&self, reason: &'static str) {
        self.lease_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a write of the status.
    pub fn status_written(&self, ok: bool) {
        self.status_writes.inc();
        if !ok {
            self.status_failures.inc();
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// None in practice: writing to a string does not fail.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of docs/metrics.md that a text makes: name as it is scraped, type, labels and meaning.
    fn rows(text: &str) -> Vec<String> {
        let families = text.split("# HELP ").skip(1);
        let row = |family: &str| {
            let mut lines = family.lines();
            let (_, meaning) = lines.next()?.split_once(' ')?;
            let kind = lines.next()?.rsplit(' ').next()?;
            let sample = lines.next()?;
            let name = sample.split(['{', ' ']).next()?;
            let (before, _) = sample.rsplit_once("=\"").unwrap_or_default();
            let labels = before.split("=\"").filter_map(|part| part.rsplit([',', '{']).next());
            let labels: Vec<_> =
                labels.filter(|label| !label.is_empty()).map(|label| format!("`{label}`")).collect();
            Some(format!("| `{name}` | {kind} | {} | {meaning} |", labels.join(", ")))
        };
        families.map(|family| row(family).unwrap()).collect()
    }

    #[test]
    fn the_documents_tell_of_every_metric() {
        let page = include_str!("../../docs/metrics.md");
        let (_, section) = page.split_once("\n## Agent\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let told: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let metrics = Metrics::new("default", "majors");
        let kind = Kind { kind: "bar" };
        metrics.events.get_or_create(&kind).inc();
        metrics.outputs.get_or_create(&kind).inc();
        metrics.decisions.get_or_create(&DecisionLabels { outcome: "hold", reason: "" }).inc();
        metrics.refused.get_or_create(&RefusedLabels { reason: "Stale".into() }).inc();
        metrics.loop_state.get_or_create(&StateLabel { state: "Idle".into() }).set(1);
        metrics.lease_failure("conflict");
        metrics.journal_failure("JournalDiskFull");
        let text = metrics.text().unwrap();
        assert_eq!(told, rows(&text), "the rows should be:\n{}", rows(&text).join("\n"));
        // The text leaves out what has no sample yet.
        for declared in format!("{:?}", metrics.registry).split("Descriptor { name: \"").skip(1) {
            let name = declared.split('"').next().unwrap();
            assert!(
                text.contains(&format!("# TYPE tradingbot_{name} ")),
                "this test makes no sample of {name}"
            );
        }
    }

    #[test]
    fn no_other_file_declares_a_metric() {
        fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { files(&path, found) } else { found.push(path) }
            }
        }
        let mut sources = Vec::new();
        files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
        let declares = |path: &&std::path::PathBuf| {
            std::fs::read_to_string(path).unwrap().contains("prometheus_client::")
        };
        let declaring: Vec<_> = sources.iter().filter(declares).collect();
        assert!(matches!(declaring[..], [file] if file.ends_with("metrics.rs")), "{declaring:?}");
    }

    #[test]
    fn the_text_is_complete_and_well_formed() {
        let text = Metrics::new("default", "majors").text().unwrap();
        for part in [
            "tradingbot_agent_info{namespace=\"default\",bot=\"majors\"",
            "# TYPE tradingbot_equity gauge",
            "tradingbot_trades_closed_total 0",
            "# EOF",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }
}
