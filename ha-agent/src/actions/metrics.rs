//! What the lanes count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Actions by kind and outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    ended: Family<Labels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    action: &'static str,
    outcome: &'static str,
}

impl Metrics {
    /// Registers the counter.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "actions",
            "Actions on transitions, by kind and outcome (done, failed, timed_out, skipped)",
            metrics.ended.clone(),
        );
        metrics
    }

    /// An action ended so.
    pub(super) fn ended(&self, action: &'static str, outcome: &'static str) {
        self.ended.get_or_create(&Labels { action, outcome }).inc();
    }
}
