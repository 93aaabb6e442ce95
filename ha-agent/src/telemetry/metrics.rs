//! The metrics registry, and the metrics of the event stream itself.
//!
//! Each module registers its own `Metrics`; a router's id is a label only where the status board is
//! read at scrape time (`admin::collector`), never on a counter that is on a hot path.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// An empty registry whose names all begin with `ha_agent`.
pub fn registry() -> Registry {
    Registry::with_prefix("ha_agent")
}

/// What the event stream counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    written: Family<ByEvent, Counter>,
    lost: Family<BySink, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByEvent {
    event: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BySink {
    sink: String,
}

impl Metrics {
    /// Registers the event stream's counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("events", "Events that were written, by name", metrics.written.clone());
        registry.register(
            "events_lost",
            "Events that were lost because a queue was full, by sink; `queue` is the one before all sinks",
            metrics.lost.clone(),
        );
        metrics
    }

    pub(super) fn written(&self, event: &'static str) {
        self.written.get_or_create(&ByEvent { event }).inc();
    }

    pub(super) fn lost(&self, sink: &str, count: u64) {
        let sink = sink.to_owned();
        self.lost.get_or_create(&BySink { sink }).inc_by(count);
    }
}
