//! Metrics that are read at scrape time: the status board's, and the process's own.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use rustix::time::{ClockId, clock_gettime};

use super::Board;
use crate::core::model::{AnomalyKind, State};

const STATES: [State; 4] = [State::Primary, State::Backup, State::Fault, State::Unknown];
pub(super) const KINDS: [AnomalyKind; 10] = [
    AnomalyKind::SplitBrain,
    AnomalyKind::SilentPrimary,
    AnomalyKind::OrphanVip,
    AnomalyKind::MissingVip,
    AnomalyKind::ForgedAdvert,
    AnomalyKind::ForeignMaster,
    AnomalyKind::AdvertIntervalMismatch,
    AnomalyKind::NoPrimary,
    AnomalyKind::Flapping,
    AnomalyKind::KeepalivedDown,
];

/// Adds the board's and the process's metrics to the registry.
pub fn register(registry: &mut Registry, board: Arc<dyn Board>) {
    // A gauge, as is usual, not an OpenMetrics info: more tools read it.
    let build = Family::<Vec<(&str, &str)>, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("build_info", "The agent's version", build);
    registry.register_collector(Box::new(BoardCollector(board)));
    registry.register_collector(Box::new(Process));
}

struct BoardCollector(Arc<dyn Board>);

impl fmt::Debug for BoardCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoardCollector")
    }
}

impl Collector for BoardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let node = self.0.node();
        let mut states = encoder.encode_descriptor(
            "router_state",
            "Confirmed state of each router: 1 for the state it is in, 0 for the others",
            None,
            MetricType::Gauge,
        )?;
        for router in &node.routers {
            let id = router.router_id.to_string();
            let confirmed = router.confirmed.unwrap_or(State::Unknown);
            for state in STATES {
                let labels = [("router_id", id.as_str()), ("state", state.as_str())];
                ConstGauge::new(i64::from(state == confirmed)).encode(states.encode_family(&labels)?)?;
            }
        }
        let mut anomalies = encoder.encode_descriptor(
            "router_anomaly",
            "1 for each anomaly that a router has now; no series without one",
            None,
            MetricType::Gauge,
        )?;
        for router in &node.routers {
            let id = router.router_id.to_string();
            for kind in &router.anomalies {
                let labels = [("router_id", id.as_str()), ("kind", kind.as_str())];
                ConstGauge::new(1_i64).encode(anomalies.encode_family(&labels)?)?;
            }
        }
        let mut by_kind = encoder.encode_descriptor(
            "anomalies",
            "Routers that have an anomaly of this kind now",
            None,
            MetricType::Gauge,
        )?;
        for kind in KINDS {
            let count = node.routers.iter().filter(|router| router.anomalies.contains(&kind)).count();
            let labels = [("kind", kind.as_str())];
            gauge(count).encode(by_kind.encode_family(&labels)?)?;
        }
        let mut degraded = encoder.encode_descriptor(
            "channel_degraded",
            "1 for each channel of the node that is without its full strength",
            None,
            MetricType::Gauge,
        )?;
        for channel in ["report", "vip", "wire", "inventory", "outbox", "events"] {
            let is = node.degraded.iter().any(|one| one.channel == channel);
            let labels = [("channel", channel)];
            ConstGauge::new(i64::from(is)).encode(degraded.encode_family(&labels)?)?;
        }
        one(&mut encoder, "routers", "Routers that are watched", node.routers.len())?;
        let registered = node.routers.iter().filter(|router| router.registered).count();
        one(&mut encoder, "routers_registered", "Watched routers whose monitor the agent stands in for", registered)
    }
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "seconds fit a double for millions of years")]
        let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        let counter = encoder.encode_descriptor(
            "process_cpu",
            "Processor time used by the agent",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(seconds).encode(counter)?;
        if let Some(bytes) = resident() {
            let memory = encoder.encode_descriptor(
                "process_resident_memory",
                "Memory of the agent in RAM",
                Some(&Unit::Bytes),
                MetricType::Gauge,
            )?;
            ConstGauge::new(bytes).encode(memory)?;
        }
        match std::fs::read_dir("/proc/self/fd") {
            // One of them is the directory itself.
            Ok(entries) => one(
                &mut encoder,
                "process_open_fds",
                "Descriptors that the agent has open",
                entries.count().saturating_sub(1),
            ),
            Err(_) => Ok(()),
        }
    }
}

/// `VmRSS` in bytes.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn one(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: usize) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    gauge(count).encode(metric)
}

fn gauge(count: usize) -> ConstGauge {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
