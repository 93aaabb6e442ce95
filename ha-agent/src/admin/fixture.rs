//! A node with routers in every condition, for the tests of the API and of the CLI.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{Board, CheckError, RegisterError, RouterStatusAndEvidence};
use crate::config::Mode;
use crate::core::evidence::{Evidence, ForeignEvidence, ReportEvidence, Tx, TxEvidence};
use crate::core::model::{AnomalyKind, Basis, Link, Reporter, RouterId, State, Vip};
use crate::core::reporter::{Naming, Process};
use crate::inventory::{Held, Registration, Registrations};
use crate::peer::Caller;
use crate::status::{Degraded, DeliveryStatus, NodeStatus, RouterStatus};
use crate::telemetry::Events;

pub(crate) const IDS: [&str; 4] = [
    "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d",
    "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6e",
    "7d31e0aa-0c5e-4a11-8a53-0b8f0f6f1a02",
    "c94b7720-66f8-4f0e-8a1c-51f9b1d2c003",
];

pub(crate) fn id(index: usize) -> RouterId {
    IDS[index].parse().expect("a UUID")
}

fn basis(text: &str) -> Option<Basis> {
    text.parse().ok()
}

fn row(index: usize) -> RouterStatus {
    RouterStatus {
        router_id: id(index),
        netns: format!("qrouter-{}", IDS[index]),
        interface: "ha-1b2c3d4e-5f".to_owned(),
        vip_address: format!("169.254.0.{}/24", index + 1),
        vrid: u8::try_from(index + 1).expect("small"),
        instance: None,
        source: "ha_confs".to_owned(),
        registered: false,
        observed: false,
        claimed: Some(State::Primary),
        vip: Vip::Present,
        wire: Tx::Transmitting,
        confirmed: Some(State::Primary),
        basis: basis("report+vip+wire"),
        since: Some("2026-01-02T03:04:05.678901Z".to_owned()),
        delivered: Some(State::Primary),
        sequence: 3,
        anomalies: vec![],
        degraded: vec![],
    }
}

pub(crate) fn evidence() -> Evidence {
    Evidence {
        vip: Vip::Present,
        link: Link::Up,
        tx: TxEvidence { state: Tx::Transmitting, priority: Some(50), age_ms: Some(412) },
        foreign: None,
        report: Some(ReportEvidence {
            state: State::Primary,
            reporter: Reporter::Socket {
                uid: 42,
                pid: 4711,
                gid: Some(42),
                process: Naming::Named(Arc::new(Process {
                    started: "2026-01-02T03:03:00.120Z".into(),
                    start_ticks: 178_012,
                    command: "curl".into(),
                    cgroup: Some("/system.slice/keepalived.service".into()),
                    executable: Some("/usr/bin/curl".into()),
                })),
            },
            age_ms: 65_000,
        }),
        further: None,
        listener: None,
        channels_down: vec![],
    }
}

pub(crate) fn foreign() -> ForeignEvidence {
    ForeignEvidence {
        address: "169.254.192.7".parse().expect("an address"),
        mac: None,
        vlan: None,
        priority: 50,
        interval_ms: 2000,
        age_ms: 120,
    }
}

/// A healthy primary, a split brain with a second anomaly, a backup, one that waits for its
/// namespace.
pub(crate) fn node() -> NodeStatus {
    let mut split = row(1);
    split.source = "ha_confs+registration".to_owned();
    split.registered = true;
    split.anomalies = vec![AnomalyKind::SplitBrain, AnomalyKind::Flapping];
    split.delivered = Some(State::Backup);
    let mut backup = row(2);
    backup.claimed = Some(State::Backup);
    backup.vip = Vip::Absent;
    backup.wire = Tx::Silent;
    backup.confirmed = Some(State::Backup);
    backup.delivered = Some(State::Backup);
    let mut waiting = row(3);
    waiting.claimed = None;
    waiting.vip = Vip::Unknown;
    waiting.wire = Tx::Unknown;
    waiting.confirmed = None;
    waiting.basis = None;
    waiting.since = None;
    waiting.delivered = None;
    waiting.degraded =
        vec![Degraded { channel: "vip".to_owned(), reason: "its namespace does not exist yet".to_owned() }];
    NodeStatus {
        host: "ha-x".to_owned(),
        version: "0.1.0".to_owned(),
        mode: Mode::Enforce,
        started_at: "2026-01-02T03:00:00.000000Z".to_owned(),
        degraded: vec![],
        delivery: DeliveryStatus { answering: Some(true), pending: 1, last_error: None },
        sinks: vec!["file:/var/log/ha-agent/events.jsonl".to_owned()],
        routers: vec![row(0), split, backup, waiting],
    }
}

/// Remembers what was asked; ready from the start.
pub(crate) struct FakeBoard {
    pub(crate) checks: Mutex<Vec<(RouterId, State)>>,
    pub(crate) registrations: Arc<Registrations>,
}

impl Default for FakeBoard {
    fn default() -> Self {
        let registrations = Arc::new(Registrations::new(Events::channel(1).0));
        Self { checks: Mutex::default(), registrations }
    }
}

impl Board for FakeBoard {
    fn node(&self) -> NodeStatus {
        node()
    }
    fn router(&self, id: RouterId) -> Option<RouterStatusAndEvidence> {
        let status = node().routers.into_iter().find(|row| row.router_id == id)?;
        Some(RouterStatusAndEvidence { status, evidence: evidence(), details: vec![] })
    }
    fn ready(&self) -> bool {
        !self.checks.lock().expect("no panic").is_empty()
    }
    fn register(&self, id: RouterId, body: &[u8], caller: &Caller) -> Result<Held, RegisterError> {
        Ok(self.registrations.hold(Registration::parse(id, body, Path::new("/ha_confs"))?, caller)?)
    }
    fn check(&self, asked: RouterId, state: State) -> Result<(), CheckError> {
        if asked == id(3) {
            return Err(CheckError::Busy);
        }
        if self.router(asked).is_none() {
            return Err(CheckError::UnknownRouter);
        }
        self.checks.lock().expect("no panic").push((asked, state));
        Ok(())
    }
}
