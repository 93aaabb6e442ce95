//! What the driver counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counters of verdicts.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    confirmed: Family<StateLabel, Counter>,
    rejected: Family<ReasonLabel, Counter>,
    superseded: Counter,
    anomalies: Family<KindLabel, Counter>,
    latency: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
    basis: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl Metrics {
    /// Registers every family.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            confirmed: Family::default(),
            rejected: Family::default(),
            superseded: Counter::default(),
            anomalies: Family::default(),
            latency: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0]),
        };
        registry.register("transitions_confirmed", "States confirmed", metrics.confirmed.clone());
        registry.register("transitions_rejected", "Claims refused by the core", metrics.rejected.clone());
        registry.register(
            "transitions_superseded",
            "Changes overtaken before they were confirmed",
            metrics.superseded.clone(),
        );
        registry.register("anomalies_raised", "Disagreements named", metrics.anomalies.clone());
        registry.register(
            "verdict_latency_seconds",
            "From the first sign of a change to its confirmation",
            metrics.latency.clone(),
        );
        metrics
    }

    /// A state was confirmed.
    pub(super) fn confirmed(&self, state: &'static str, basis: String, latency: Duration) {
        self.confirmed.get_or_create(&StateLabel { state, basis }).inc();
        self.latency.observe(latency.as_secs_f64());
    }

    /// A claim was refused.
    pub(super) fn rejected(&self, reason: &'static str) {
        self.rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A change was overtaken.
    pub(super) fn superseded(&self) {
        self.superseded.inc();
    }

    /// An anomaly was named.
    pub(super) fn raised(&self, kind: &'static str) {
        self.anomalies.get_or_create(&KindLabel { kind }).inc();
    }
}
