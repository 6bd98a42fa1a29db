//! Every metric of the operator: names and meanings are declared here and nowhere else. docs/metrics.md lists them.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crds::contract::condition;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::controller::Guarded;
use crate::reason::Reason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    resource: &'static str,
    verb: &'static str,
}

/// The operator's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    duration: Histogram,
    reconciles: Counter,
    errors: Family<ByReason, Counter>,
    calls: Family<Call, Counter>,
    leading: Gauge,
}

impl Metrics {
    /// The metrics of an operator that has these bots in view, and what shows them.
    pub fn new(bots: Store<Guarded>) -> (Self, Registry) {
        let mut registry = Registry::default();
        let buckets = [0.000_1, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
        let metrics = Self {
            duration: Histogram::new(buckets),
            reconciles: Counter::default(),
            errors: Family::default(),
            calls: Family::default(),
            leading: Gauge::default(),
        };
        registry.register(
            "tradingbot_operator_reconcile_duration_seconds",
            "Time that reconciles took",
            metrics.duration.clone(),
        );
        registry.register("tradingbot_operator_reconciles", "Reconciles begun", metrics.reconciles.clone());
        registry.register(
            "tradingbot_operator_reconcile_errors",
            "Reconciles that failed or refused a bot, by reason",
            metrics.errors.clone(),
        );
        registry.register(
            "tradingbot_operator_api_calls",
            "Calls of the API server for bots, watches aside, by resource and verb",
            metrics.calls.clone(),
        );
        registry.register(
            "tradingbot_operator_leading",
            "Whether this process is the one that writes",
            metrics.leading.clone(),
        );
        registry.register_collector(Box::new(Bots(bots)));
        (metrics, registry)
    }

    /// Says whether this process writes.
    pub fn leads(&self, leads: bool) {
        self.leading.set(leads.into());
    }

    /// Begins a reconcile.
    pub fn start(&self) -> Timer {
        self.reconciles.inc();
        Timer { metrics: self.clone(), start: Instant::now() }
    }

    /// Counts a bot that cannot be built.
    pub fn refused(&self, reason: Reason) {
        self.errors.get_or_create(&ByReason { reason: reason.as_str() }).inc();
    }

    /// Counts a call of the API server.
    pub fn call(&self, resource: &'static str, verb: &'static str) {
        self.calls.get_or_create(&Call { resource, verb }).inc();
    }
}

/// A reconcile that runs.
#[derive(Debug)]
pub struct Timer {
    metrics: Metrics,
    start: Instant,
}

impl Timer {
    /// It went well.
    pub fn done(self) {
        self.metrics.duration.observe(self.start.elapsed().as_secs_f64());
    }

    /// It failed.
    pub fn failed(self, reason: Reason) {
        self.metrics.refused(reason);
        self.done();
    }
}

/// Counts bots by their readiness, and says when their certificates run out, when it is asked.
struct Bots(Store<Guarded>);

impl fmt::Debug for Bots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bots")
    }
}

impl Collector for Bots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let bots = self.0.state();
        let ready = bots.iter().filter(|bot| is_ready(bot)).count();
        let mut metric = encoder.encode_descriptor(
            "tradingbot_operator_bots",
            "TradingBots, by whether they are ready.",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (label, count) in [("true", ready), ("false", bots.len() - ready)] {
            let gauge = ConstGauge::new(u32::try_from(count).unwrap_or(u32::MAX));
            gauge.encode(metric.encode_family(&[("ready", label)])?)?;
        }
        let mut metric = encoder.encode_descriptor(
            "tradingbot_certificate_expiry_timestamp_seconds",
            "When the certificate of a bot's address runs out, since 1970.",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for bot in &bots {
            if let Some((namespace, name, end)) = certificate_end(bot) {
                let gauge = ConstGauge::new(end);
                gauge.encode(metric.encode_family(&[("namespace", namespace), ("name", name)])?)?;
            }
        }
        Ok(())
    }
}

fn certificate_end(bot: &Guarded) -> Option<(&str, &str, i64)> {
    let bot = bot.0.as_ref().ok()?;
    let end = bot.status.as_ref()?.tls.as_ref()?.not_after.as_ref()?.0.as_second();
    Some((bot.metadata.namespace.as_deref()?, bot.metadata.name.as_deref()?, end))
}

fn is_ready(bot: &Arc<Guarded>) -> bool {
    let Ok(bot) = &bot.0 else { return false };
    bot.status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|c| c.type_ == condition::READY && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    /// The rows of docs/metrics.md that a text makes: name as it is scraped, type, labels and meaning.
    fn rows(text: &str) -> Vec<String> {
        let families = text.split("# HELP ").skip(1);
        let row = |family: &str| {
            let mut lines = family.lines();
            let (name, meaning) = lines.next()?.split_once(' ')?;
            let kind = lines.next()?.rsplit(' ').next()?;
            let sample = lines.next()?;
            let name = if kind == "histogram" { name } else { sample.split(['{', ' ']).next()? };
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
        let (_, section) = page.split_once("\n## Operator\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let told: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let (text, registry) = everything();
        assert_eq!(told, rows(&text), "the rows should be:\n{}", rows(&text).join("\n"));
        // The text leaves out what has no sample yet.
        for declared in format!("{registry:?}").split("Descriptor { name: \"").skip(1) {
            let name = declared.split('"').next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")), "this test makes no sample of {name}");
        }
    }

    #[test]
    fn what_happened_is_in_the_text() {
        let (text, _) = everything();
        for line in [
            "tradingbot_operator_reconciles_total 2",
            "tradingbot_operator_reconcile_errors_total{reason=\"ApplyFailed\"} 1",
            "tradingbot_operator_api_calls_total{resource=\"Deployment\",verb=\"create\"} 1",
            "tradingbot_operator_leading 1",
            "tradingbot_operator_bots{ready=\"true\"} 1",
            "tradingbot_operator_bots{ready=\"false\"} 2",
            "tradingbot_certificate_expiry_timestamp_seconds{namespace=\"n\",name=\"b\"} 3600",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("expiry_timestamp_seconds{").count(), 1, "only who has a certificate");
    }

    /// The text of an operator in which every metric has a sample.
    fn everything() -> (String, Registry) {
        let (store, mut writer) = reflector::store::<Guarded>();
        let (metrics, registry) = Metrics::new(store);
        metrics.start().failed(Reason::ApplyFailed);
        metrics.start().done();
        metrics.call("Deployment", "create");
        metrics.leads(true);
        for (name, status) in [("a", "True"), ("b", "False"), ("c", "False")] {
            let condition = json!({"type": "Ready", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let mut bot =
                json!({"metadata": {"name": name, "namespace": "n"}, "status": {"conditions": [condition]}});
            if name == "b" {
                bot["status"]["tls"] = json!({"secretName": "tls", "notAfter": "1970-01-01T01:00:00Z"});
            }
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(bot).unwrap()));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        (text, registry)
    }
}
