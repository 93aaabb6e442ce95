//! Counters of the address and link watch.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use prometheus_client::registry::Registry;

/// Cheap to clone; every clone counts into the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) notifications: Counter,
    pub(super) undecodable: Counter,
    pub(super) overruns: Counter,
    pub(super) dumps: Counter,
    pub(super) failures: Counter,
    pub(super) namespaces: Gauge,
    pub(super) missing: Gauge,
}

impl Metrics {
    /// Registers all under `netlink_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register(
            "netlink_notifications",
            "Datagrams from the kernel about addresses, links and namespaces",
            new.notifications.clone(),
        );
        registry.register(
            "netlink_undecodable",
            "Messages among them that could not be decoded",
            new.undecodable.clone(),
        );
        registry.register(
            "netlink_overruns",
            "Times the kernel had to drop notifications, which leads to a dump of every namespace",
            new.overruns.clone(),
        );
        registry.register("netlink_dumps", "Address tables read as a whole", new.dumps.clone());
        registry.register(
            "netlink_request_failures",
            "Requests to the kernel that failed and were repeated",
            new.failures.clone(),
        );
        registry.register("netlink_namespaces", "Network namespaces watched now", new.namespaces.clone());
        registry.register("netlink_namespaces_missing", "Network namespaces waited for", new.missing.clone());
        new
    }
}
