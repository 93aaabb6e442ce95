//! The status API's view of the running agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::driver::Command;
use super::state::{Inner, Shared};
use crate::admin::{Board, CheckError, RegisterError, RouterStatusAndEvidence};
use crate::clock;
use crate::config::Mode;
use crate::core::model::{RouterId, State};
use crate::delivery::Delivery;
use crate::intake::fifo::Troubles;
use crate::inventory::{Held, Registration, Registrations};
use crate::outbox::{Health, Outbox};
use crate::peer::Caller;
use crate::status::{AnomalyDetail, Degraded, NodeStatus, RouterStatus};
use crate::telemetry::Sinks;
use crate::telemetry::diagnostics::Diagnostics;

/// Reads the shared state on demand; nothing is kept twice.
pub(super) struct AgentBoard {
    /// The driver's state.
    pub(super) shared: Arc<Shared>,
    /// What was delivered.
    pub(super) outbox: Outbox,
    /// How delivery stands.
    pub(super) delivery: Arc<Delivery>,
    /// How the event sinks do.
    pub(super) sinks: Sinks,
    /// How standard error does.
    pub(super) diagnostics: Option<Diagnostics>,
    /// Which notify FIFOs say nothing.
    pub(super) fifos: Troubles,
    /// To the driver.
    pub(super) commands: mpsc::Sender<Command>,
    /// Those that stand in for Neutron's monitors.
    pub(super) registrations: Arc<Registrations>,
    /// Where registered routers have their folders, as the L3 agent sees it.
    pub(super) l3_agent_ha_confs_path: PathBuf,
    /// Set once everything runs.
    pub(super) ready: AtomicBool,
    /// Host name.
    pub(super) host: String,
    /// Whether verdicts decide.
    pub(super) mode: Mode,
    /// RFC 3339.
    pub(super) started_at: String,
}

impl AgentBoard {
    fn row(&self, inner: &Inner, id: RouterId) -> Option<RouterStatusAndEvidence> {
        let watched = inner.routers.get(&id)?;
        let view = inner.node.view(id, clock::now())?;
        let standing = self.outbox.standing(id);
        let router = &watched.router;
        let status = RouterStatus {
            router_id: id,
            netns: router.netns.to_string(),
            interface: router.interface.clone(),
            vip_address: format!("{}/{}", router.vip, router.prefix),
            vrid: router.vrid,
            source: watched.source.as_str().to_owned(),
            registered: watched.registered.is_some(),
            instance: router.fifo_instance.clone(),
            observed: self.mode == Mode::Observe,
            claimed: view.claimed,
            vip: view.evidence.vip,
            wire: view.evidence.tx.state,
            confirmed: view.confirmed.map(|(state, ..)| state),
            basis: view.confirmed.map(|(.., basis)| basis),
            since: watched.confirmed_at_us.and_then(clock::rfc3339),
            delivered: standing.as_ref().and_then(|standing| standing.delivered_state),
            sequence: standing.as_ref().map_or(0, |standing| standing.sequence),
            anomalies: view.anomalies.iter().map(|(kind, _)| *kind).collect(),
            degraded: watched.degraded.clone(),
        };
        let details = view.details.into_iter().map(|(kind, detail)| AnomalyDetail { kind, detail }).collect();
        Some(RouterStatusAndEvidence { status, evidence: view.evidence, details })
    }
}

impl Board for AgentBoard {
    fn node(&self) -> NodeStatus {
        let mut degraded = Vec::new();
        if let Health::MemoryOnly { reason } = &*self.outbox.health().borrow() {
            degraded.push(Degraded { channel: "outbox".to_owned(), reason: reason.clone() });
        }
        degraded.extend(self.sinks.degraded());
        degraded.extend(self.diagnostics.as_ref().and_then(Diagnostics::degraded));
        degraded.extend(self.fifos.degraded());
        let inner = self.shared.lock();
        degraded.extend(inner.degraded.iter().cloned());
        NodeStatus {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.mode,
            started_at: self.started_at.clone(),
            degraded,
            delivery: self.delivery.status(),
            sinks: self.sinks.names(),
            routers: inner.routers.keys().filter_map(|id| Some(self.row(&inner, *id)?.status)).collect(),
        }
    }

    fn router(&self, id: RouterId) -> Option<RouterStatusAndEvidence> {
        self.row(&self.shared.lock(), id)
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn register(&self, id: RouterId, body: &[u8], caller: &Caller) -> Result<Held, RegisterError> {
        Ok(self.registrations.hold(Registration::parse(id, body, &self.l3_agent_ha_confs_path)?, caller)?)
    }

    fn check(&self, router: RouterId, seen_by_server: State) -> Result<(), CheckError> {
        if !self.shared.lock().routers.contains_key(&router) {
            return Err(CheckError::UnknownRouter);
        }
        self.commands.try_send(Command::Check { router, seen_by_server }).map_err(|_| CheckError::Busy)
    }
}
