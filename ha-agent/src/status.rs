//! What `status`, `explain` and the admin API show of a router: one type for server and client.

use serde::{Deserialize, Serialize};

use crate::core::evidence::{Evidence, Tx};
use crate::core::model::{AnomalyKind, Basis, RouterId, State, Vip};
use crate::telemetry::event::Line;

/// The node: `GET /v1/routers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Host name.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// `enforce` or `observe`.
    pub mode: crate::config::Mode,
    /// RFC 3339.
    pub started_at: String,
    /// Degraded channels of the node and why; empty: all is well.
    pub degraded: Vec<Degraded>,
    /// The L3 agent's side.
    pub delivery: DeliveryStatus,
    /// Where events go: `stdout`, `journald`, `file:/path`.
    #[serde(default)]
    pub sinks: Vec<String>,
    /// Every watched router, by id.
    pub routers: Vec<RouterStatus>,
}

/// A channel without its full strength.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// `report`, `vip`, `wire`, `outbox`, `events`, `inventory` (keepalived's files), `diagnostics` (standard error).
    pub channel: String,
    /// What happened and what it means.
    pub reason: String,
}

/// How delivery stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// Whether the last attempt succeeded; none before the first one.
    pub answering: Option<bool>,
    /// States not yet acknowledged.
    pub pending: usize,
    /// The last failure, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
}

/// One router, a row of `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The router.
    pub router_id: RouterId,
    /// Namespace, `self` for the agent's own.
    pub netns: String,
    /// HA interface.
    pub interface: String,
    /// Primary VIP in CIDR form.
    pub vip_address: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// How the router became known: `config`, `ha_confs`, `registration`, `ha_confs+registration`.
    pub source: String,
    /// Whether someone stands in for Neutron's monitor of it.
    #[serde(default)]
    pub registered: bool,
    /// Name of its `vrrp_instance`, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// Whether every report is passed on (mode `observe`).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub observed: bool,
    /// The last claim.
    pub claimed: Option<State>,
    /// The address table.
    pub vip: Vip,
    /// Our adverts.
    pub wire: Tx,
    /// The confirmed state.
    pub confirmed: Option<State>,
    /// On whose word.
    pub basis: Option<Basis>,
    /// RFC 3339: since when it is confirmed.
    pub since: Option<String>,
    /// The state that the L3 agent acknowledged last.
    pub delivered: Option<State>,
    /// Sequence number of the last confirmed state.
    pub sequence: u64,
    /// Present anomalies.
    pub anomalies: Vec<AnomalyKind>,
    /// Why the router cannot be fully watched, if so (namespace or interface missing, no BPF).
    pub degraded: Vec<Degraded>,
}

/// A present anomaly, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnomalyDetail {
    /// Which.
    pub kind: AnomalyKind,
    /// As in the event that raised it, but as it is now.
    pub detail: String,
}

/// One router in full: `GET /v1/routers/{id}`, `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterDetail {
    /// The row.
    #[serde(flatten)]
    pub status: RouterStatus,
    /// What is seen now.
    pub evidence: Evidence,
    /// What each present anomaly is about: who, which field, which addresses.
    #[serde(default)]
    pub details: Vec<AnomalyDetail>,
    /// The last events about this router, oldest first.
    pub recent: Vec<Line>,
}
