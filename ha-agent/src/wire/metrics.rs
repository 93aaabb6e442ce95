//! The kernel side's counters, read when someone asks.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::maps::Shared;

/// `ha_agent_common::counter`, summed over the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames looked at.
    pub frames: u64,
    /// VRRP frames among them.
    pub vrrp: u64,
    /// VRRP frames for a VRID that is not watched there.
    pub unknown_vrid: u64,
    /// Invalid frames for a watched VRID.
    pub invalid: u64,
    /// What may be VRRP in IP fragments or behind IPv6 extension headers: put together here.
    pub fragments: u64,
    /// VRRP in 802.1Q frames, skipped.
    pub tagged: u64,
    /// Records lost to a full local ring buffer.
    pub local_ring_full: u64,
    /// Records lost to a full foreign ring buffer.
    pub foreign_ring_full: u64,
    /// Records withheld by a budget.
    pub withheld: u64,
    /// Foreign speakers not remembered.
    pub foreign_not_stored: u64,
}

impl Stats {
    /// Records that never came.
    pub(super) fn lost(&self) -> u64 {
        self.local_ring_full + self.foreign_ring_full + self.withheld
    }

    fn named(&self) -> [(&'static str, &'static str, u64); 10] {
        [
            ("wire_frames", "Frames the classifier looked at", self.frames),
            ("wire_vrrp_frames", "VRRP frames", self.vrrp),
            ("wire_unknown_vrid_frames", "VRRP frames for a VRID that is not watched there", self.unknown_vrid),
            ("wire_invalid_frames", "Invalid VRRP frames for a watched VRID", self.invalid),
            ("wire_fragments", "IP fragments and extension headers that may hold VRRP", self.fragments),
            ("wire_tagged_frames", "VRRP in 802.1Q frames, skipped", self.tagged),
            ("wire_local_records_lost", "Records lost because the local ring buffer was full", self.local_ring_full),
            (
                "wire_foreign_records_lost",
                "Records lost because the foreign ring buffer was full",
                self.foreign_ring_full,
            ),
            ("wire_records_withheld", "Records withheld by a router's budget", self.withheld),
            (
                "wire_foreign_not_stored",
                "Foreign speakers not remembered: no budget, or no room",
                self.foreign_not_stored,
            ),
        ]
    }
}

/// Reads the counters at scrape. Once the wire has stopped there are none.
struct KernelCounters {
    shared: Weak<Shared>,
}

impl fmt::Debug for KernelCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KernelCounters")
    }
}

impl Collector for KernelCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        for (name, help, value) in shared.stats().named() {
            let metric = ConstCounter::new(value);
            let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            metric.encode(encoder)?;
        }
        Ok(())
    }
}

/// Registers the counters.
pub(super) fn register(registry: &mut Registry, shared: &Arc<Shared>) {
    registry.register_collector(Box::new(KernelCounters { shared: Arc::downgrade(shared) }));
}
