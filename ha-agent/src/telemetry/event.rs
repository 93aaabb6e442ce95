//! The event stream's types (DESIGN section 6): released names are never renamed.

use serde::{Deserialize, Serialize};

use crate::core::evidence::Evidence;
use crate::core::io::RejectReason;
use crate::core::model::{AnomalyKind, Basis, Listener, Reporter, RouterId, State};
use crate::core::reporter::Naming;

/// Version of the event schema; rises only if a field's meaning changes.
pub const SCHEMA: u32 = 1;

/// How much attention an event wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Normal traffic.
    Info,
    /// A change that operators follow.
    Notice,
    /// Something is not as it should be.
    Warning,
    /// Something is lost or broken.
    Error,
}

/// One line of the stream: the envelope, then the event's own fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: u32,
    /// RFC 3339, UTC, microseconds.
    pub ts: String,
    /// Counts from 1 in each run of the agent, without gaps in what was written.
    pub seq: u64,
    /// Host name.
    pub host: String,
    /// The event, flattened: `event` names it. Its severity stands before its fields.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. The `event` field's value is given by each variant's rename.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// The agent is ready.
    #[serde(rename = "agent.started")]
    AgentStarted {
        /// The agent's version.
        version: String,
        /// `uname -r`.
        kernel: String,
        /// `enforce` or `observe`.
        mode: String,
        /// Channels in use, `report+vip+wire`.
        channels: String,
    },
    /// The agent ends in order.
    #[serde(rename = "agent.stopped")]
    AgentStopped {
        /// What ended it, such as `SIGTERM`.
        reason: String,
    },
    /// A router is watched from now on.
    #[serde(rename = "router.watched")]
    RouterWatched {
        /// The router.
        router_id: RouterId,
        /// How it became known: `config`, `ha_confs`, `registration`, `ha_confs+registration`, `keepalived`.
        source: String,
        /// Namespace, `self` for the agent's own.
        netns: String,
        /// HA interface.
        interface: String,
        /// Primary VIP in CIDR form.
        vip: String,
        /// Virtual router identifier.
        vrid: u8,
        /// Name of its `vrrp_instance`, where it is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        instance: Option<String>,
    },
    /// A router is no longer watched.
    #[serde(rename = "router.forgotten")]
    RouterForgotten {
        /// The router.
        router_id: RouterId,
        /// Why.
        reason: String,
    },
    /// Someone stands in for the router's monitor from now on, and says so for as long as it lives.
    #[serde(rename = "router.registered")]
    RouterRegistered {
        /// The router.
        router_id: RouterId,
        /// Its namespace's name, as registered.
        netns: String,
        /// Peer's user id.
        uid: u32,
        /// Peer's process id, as this host's kernel tells it.
        pid: i32,
        /// Peer's group id; none in lines of releases that did not tell it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gid: Option<u32>,
        /// What had that process id.
        #[serde(flatten)]
        process: Naming,
    },
    /// A registration has ended: its process has, or its connection.
    #[serde(rename = "router.unregistered")]
    RouterUnregistered {
        /// The router.
        router_id: RouterId,
        /// Peer's user id.
        uid: u32,
        /// Peer's process id.
        pid: i32,
    },
    /// A report was taken.
    #[serde(rename = "report.received")]
    ReportReceived {
        /// The router.
        router_id: RouterId,
        /// The claim.
        state: State,
        /// Who made it.
        reporter: Reporter,
    },
    /// A report was refused before it reached the core.
    #[serde(rename = "report.refused")]
    ReportRefused {
        /// The router, where the request named one that parses.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        router_id: Option<RouterId>,
        /// HTTP status, 0 for the FIFO.
        status: u16,
        /// Short fixed word, such as `peer_not_allowed`, `bad_router_id`, `duplicate_header`.
        reason: String,
        /// Who made it, where known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reporter: Option<Reporter>,
        /// So many in one second that are not told one by one; then neither router nor reporter is there.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        count: Option<u64>,
    },
    /// A state is confirmed.
    #[serde(rename = "transition.confirmed")]
    TransitionConfirmed {
        /// The router.
        router_id: RouterId,
        /// The new state.
        state: State,
        /// The state before.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        previous: Option<State>,
        /// Channels that bear it out.
        basis: Basis,
        /// From the first sign to the verdict, milliseconds.
        latency_ms: f64,
        /// What was seen.
        evidence: Evidence,
    },
    /// A claim is refused by the core: the spoofed or mistaken notification.
    #[serde(rename = "transition.rejected")]
    TransitionRejected {
        /// The router.
        router_id: RouterId,
        /// The claim.
        claim: State,
        /// Who made it.
        reporter: Reporter,
        /// Why.
        reason: RejectReason,
        /// In mode `observe`: the L3 agent was told all the same.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        passed_on: bool,
        /// What was seen instead.
        evidence: Evidence,
    },
    /// A change was overtaken before it was confirmed.
    #[serde(rename = "transition.superseded")]
    TransitionSuperseded {
        /// The router.
        router_id: RouterId,
        /// The state that did not last.
        state: State,
        /// What overtook it.
        by: State,
        /// How long it had held, milliseconds.
        held_ms: f64,
    },
    /// A disagreement begins.
    #[serde(rename = "anomaly.raised")]
    AnomalyRaised {
        /// The router.
        router_id: RouterId,
        /// Which one.
        kind: AnomalyKind,
        /// In words.
        detail: String,
        /// What was seen.
        evidence: Evidence,
    },
    /// A disagreement ends.
    #[serde(rename = "anomaly.cleared")]
    AnomalyCleared {
        /// The router.
        router_id: RouterId,
        /// Which one.
        kind: AnomalyKind,
        /// How long it lasted, milliseconds.
        lasted_ms: f64,
    },
    /// A batch reached the L3 agent.
    #[serde(rename = "delivery.sent")]
    DeliverySent {
        /// Batch number, rising in each run.
        batch: u64,
        /// States in it.
        count: usize,
        /// How many attempts it took, from 1.
        attempt: u32,
        /// The routers and states delivered.
        states: Vec<Delivered>,
    },
    /// A batch, or part of it, did not reach the L3 agent; it is retried unless refused.
    #[serde(rename = "delivery.failed")]
    DeliveryFailed {
        /// Batch number.
        batch: u64,
        /// States in it.
        count: usize,
        /// The attempt that failed.
        attempt: u32,
        /// What happened, in words.
        reason: String,
        /// Milliseconds until the next attempt; absent when the receiver refused for good.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_in_ms: Option<u64>,
    },
    /// The L3 agent answers again, or was restarted: every confirmed state is asserted again.
    #[serde(rename = "delivery.recovered")]
    DeliveryRecovered {
        /// `answering_again` or `restarted`.
        reason: String,
        /// States that are asserted again.
        count: usize,
    },
    /// What a transition sets off on the node is done.
    #[serde(rename = "action.done")]
    ActionDone {
        /// The router.
        router_id: RouterId,
        /// `state_file`, `ipv6`, `conntrackd`, `hook`.
        action: String,
        /// The confirmed state.
        state: State,
        /// How long it took, milliseconds.
        took_ms: f64,
    },
    /// It failed, or was ended because its time was over; it is not tried again.
    #[serde(rename = "action.failed")]
    ActionFailed {
        /// The router.
        router_id: RouterId,
        /// As in `action.done`.
        action: String,
        /// The confirmed state.
        state: State,
        /// What happened, in words.
        reason: String,
        /// Exit status of the program, where it ended by itself.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        exit_status: Option<i32>,
        /// How long it took, milliseconds.
        took_ms: f64,
    },
    /// It was not begun: a newer state overtook it, or the router or the agent went.
    #[serde(rename = "action.skipped")]
    ActionSkipped {
        /// The router.
        router_id: RouterId,
        /// As in `action.done`.
        action: String,
        /// The confirmed state that it was for.
        state: State,
        /// Why, in words.
        reason: String,
    },
    /// A channel (or the event stream itself) lost its full strength.
    #[serde(rename = "channel.degraded")]
    ChannelDegraded {
        /// `report`, `vip`, `wire`, `outbox`, `events`, `inventory` (keepalived's files).
        channel: String,
        /// What happened and what it means, in words.
        reason: String,
        /// The router concerned, if it is one only.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        router_id: Option<RouterId>,
    },
    /// It has it again.
    #[serde(rename = "channel.restored")]
    ChannelRestored {
        /// As in `channel.degraded`.
        channel: String,
        /// The router concerned, if it is one only.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        router_id: Option<RouterId>,
    },
}

/// One delivered state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The router.
    pub router_id: RouterId,
    /// The state.
    pub state: State,
    /// Its sequence number.
    pub sequence: u64,
}

impl Event {
    /// The value of the `event` field.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AgentStarted { .. } => "agent.started",
            Self::AgentStopped { .. } => "agent.stopped",
            Self::RouterWatched { .. } => "router.watched",
            Self::RouterForgotten { .. } => "router.forgotten",
            Self::RouterRegistered { .. } => "router.registered",
            Self::RouterUnregistered { .. } => "router.unregistered",
            Self::ReportReceived { .. } => "report.received",
            Self::ReportRefused { .. } => "report.refused",
            Self::TransitionConfirmed { .. } => "transition.confirmed",
            Self::TransitionRejected { .. } => "transition.rejected",
            Self::TransitionSuperseded { .. } => "transition.superseded",
            Self::AnomalyRaised { .. } => "anomaly.raised",
            Self::AnomalyCleared { .. } => "anomaly.cleared",
            Self::DeliverySent { .. } => "delivery.sent",
            Self::DeliveryFailed { .. } => "delivery.failed",
            Self::DeliveryRecovered { .. } => "delivery.recovered",
            Self::ActionDone { .. } => "action.done",
            Self::ActionFailed { .. } => "action.failed",
            Self::ActionSkipped { .. } => "action.skipped",
            Self::ChannelDegraded { .. } => "channel.degraded",
            Self::ChannelRestored { .. } => "channel.restored",
        }
    }

    /// The severity of each event: a table, so that dashboards can rely on it.
    pub fn severity(&self) -> Severity {
        match self {
            Self::AgentStarted { .. } | Self::AgentStopped { .. } => Severity::Notice,
            Self::RouterWatched { .. } | Self::RouterForgotten { .. } => Severity::Info,
            Self::RouterRegistered { .. } | Self::RouterUnregistered { .. } => Severity::Info,
            Self::ReportReceived { .. } => Severity::Info,
            Self::ReportRefused { .. } => Severity::Warning,
            Self::TransitionConfirmed { .. } => Severity::Notice,
            Self::TransitionRejected { .. } => Severity::Warning,
            Self::TransitionSuperseded { .. } => Severity::Notice,
            Self::AnomalyRaised { kind, evidence, .. } => match kind {
                // In order, as far as can be seen: somebody stopped it.
                AnomalyKind::KeepalivedDown if evidence.listener == Some(Listener::Resigned) => Severity::Notice,
                AnomalyKind::SplitBrain | AnomalyKind::OrphanVip | AnomalyKind::SilentPrimary => Severity::Error,
                _ => Severity::Warning,
            },
            Self::AnomalyCleared { .. } => Severity::Notice,
            Self::DeliverySent { .. } => Severity::Info,
            Self::DeliveryFailed { .. } => Severity::Warning,
            Self::DeliveryRecovered { .. } => Severity::Notice,
            Self::ActionDone { .. } | Self::ActionSkipped { .. } => Severity::Info,
            Self::ActionFailed { .. } => Severity::Warning,
            Self::ChannelDegraded { .. } => Severity::Warning,
            Self::ChannelRestored { .. } => Severity::Notice,
        }
    }

    /// Whether the event is about this router, alone or among others.
    pub fn concerns(&self, id: RouterId) -> bool {
        match self {
            Self::DeliverySent { states, .. } => states.iter().any(|state| state.router_id == id),
            _ => self.router() == Some(id),
        }
    }

    /// The router that the event is about, if it is about one.
    pub fn router(&self) -> Option<RouterId> {
        match self {
            Self::RouterWatched { router_id, .. }
            | Self::RouterForgotten { router_id, .. }
            | Self::RouterRegistered { router_id, .. }
            | Self::RouterUnregistered { router_id, .. }
            | Self::ReportReceived { router_id, .. }
            | Self::TransitionConfirmed { router_id, .. }
            | Self::TransitionRejected { router_id, .. }
            | Self::TransitionSuperseded { router_id, .. }
            | Self::AnomalyRaised { router_id, .. }
            | Self::AnomalyCleared { router_id, .. }
            | Self::ActionDone { router_id, .. }
            | Self::ActionFailed { router_id, .. }
            | Self::ActionSkipped { router_id, .. } => Some(*router_id),
            Self::ReportRefused { router_id, .. }
            | Self::ChannelDegraded { router_id, .. }
            | Self::ChannelRestored { router_id, .. } => *router_id,
            Self::AgentStarted { .. }
            | Self::AgentStopped { .. }
            | Self::DeliverySent { .. }
            | Self::DeliveryFailed { .. }
            | Self::DeliveryRecovered { .. } => None,
        }
    }
}
