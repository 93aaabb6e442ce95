//! Counters of the discovery.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Cheap to clone; every clone counts into the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) instances: Gauge,
    pub(super) troubles: Gauge,
    pub(super) reads: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register(
            "inventory_keepalived_instances",
            "Instances found in a plain keepalived's configuration now",
            new.instances.clone(),
        );
        registry.register(
            "inventory_keepalived_troubles",
            "Files or instances there that cannot be read or understood now",
            new.troubles.clone(),
        );
        registry.register("inventory_keepalived_reads", "Times that all of it was read", new.reads.clone());
        new
    }
}
