//! The outbox in figures.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Transactions on disk.
    pub commits: Counter,
    /// Transactions that failed.
    pub failures: Counter,
    /// Seconds from handing a transaction to the disk until it is there.
    pub commit_seconds: Histogram,
    /// 1 while entries reach the disk.
    pub healthy: Gauge,
}

impl Metrics {
    /// Registers them as `outbox_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            commits: Counter::default(),
            failures: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            healthy: Gauge::default(),
        };
        registry.register("outbox_commits", "Outbox transactions written to disk", metrics.commits.clone());
        registry.register(
            "outbox_commit_failures",
            "Outbox transactions that the disk refused",
            metrics.failures.clone(),
        );
        registry.register(
            "outbox_commit_seconds",
            "Duration of one outbox transaction",
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "outbox_healthy",
            "1 while confirmed states reach the disk before they are sent, else 0",
            metrics.healthy.clone(),
        );
        metrics
    }
}
