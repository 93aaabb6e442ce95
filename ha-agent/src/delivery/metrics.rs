//! Delivery in figures.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The label of the failure counter.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Reason {
    /// A [`super::answer::FailureKind`], or `refused`.
    pub reason: &'static str,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// States that the receiver took.
    pub delivered: Counter,
    /// Requests (`neutron`) or batches (`json`) that failed, by reason.
    pub failures: Family<Reason, Counter>,
    /// States that wait for the receiver.
    pub pending: Gauge,
    /// 1 while the receiver answers.
    pub answering: Gauge,
    /// Seconds from confirmed to taken.
    pub latency: Histogram,
}

impl Metrics {
    /// Registers them as `delivery_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            delivered: Counter::default(),
            failures: Family::default(),
            pending: Gauge::default(),
            answering: Gauge::default(),
            latency: Histogram::new(exponential_buckets(0.000_5, 2.0, 18)),
        };
        registry.register("delivery_delivered", "States that the receiver took", metrics.delivered.clone());
        registry.register(
            "delivery_failures",
            "Requests that the receiver did not take, by reason",
            metrics.failures.clone(),
        );
        registry.register("delivery_pending", "States that wait for the receiver", metrics.pending.clone());
        registry.register("delivery_answering", "1 while the receiver answers, else 0", metrics.answering.clone());
        registry.register(
            "delivery_latency_seconds",
            "From a state's confirmation until the receiver took it",
            metrics.latency.clone(),
        );
        metrics
    }

    pub(super) fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&Reason { reason }).inc();
    }
}
