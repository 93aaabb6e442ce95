//! Counters of the discovery.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Cheap to clone; every clone counts into the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) routers: Gauge,
    pub(super) unreadable: Gauge,
    pub(super) reads: Counter,
}

impl Metrics {
    /// Registers all under `inventory_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("inventory_routers", "Routers found in Neutron's ha_confs now", new.routers.clone());
        registry.register(
            "inventory_unreadable",
            "keepalived.conf files there that cannot be read or understood now",
            new.unreadable.clone(),
        );
        registry.register("inventory_reads", "Times one of them was read", new.reads.clone());
        new
    }
}
