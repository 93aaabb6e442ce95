//! What several test modules of the intake share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Intake, IntakeError, Report};
use crate::config;
use crate::core::model::RouterId;
use crate::inventory::Directory;
use crate::telemetry::Events;
use crate::telemetry::event::Event;

pub(super) const ROUTER: &str = "8f3c1d2e-4b5a-4c6d-9e7f-0123456789ab";

pub(super) fn router() -> RouterId {
    ROUTER.parse().unwrap()
}

pub(super) fn events() -> (Events, mpsc::Receiver<Event>) {
    let (events, receiver, _) = Events::channel(100_000);
    (events, receiver)
}

/// A directory with one router, named `VR_1` in FIFO lines.
pub(super) fn directory() -> Arc<Directory> {
    let directory = Directory::default();
    directory.replace(&[config::Router {
        id: router(),
        netns: config::Netns::Own,
        interface: "ha-1".to_owned(),
        vip: "169.254.0.1".parse().unwrap(),
        prefix: 24,
        vip_interface: "ha-1".to_owned(),
        vrid: 1,
        advert_interval: Duration::from_secs(2),
        fifo_instance: Some("VR_1".to_owned()),
    }]);
    Arc::new(directory)
}

pub(super) fn config(dir: &Path) -> config::Intake {
    config::Intake {
        socket: dir.join("keepalived-state-change"),
        socket_mode: 0o660,
        socket_gid: None,
        allow_uids: Vec::new(),
        token: None,
        max_connections: 256,
        backlog: 4096,
        header_timeout: Duration::from_millis(300),
        max_requests_per_second: 1_000_000,
        notify_fifos: Vec::new(),
    }
}

/// A running intake in its own folder, and everything it gives.
pub(super) struct Rig {
    pub(super) intake: Intake,
    pub(super) config: config::Intake,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) registry: Registry,
    pub(super) folder: tempfile::TempDir,
}

impl Rig {
    pub(super) fn start(change: impl FnOnce(&mut config::Intake)) -> Self {
        Self::start_with(100_000, change)
    }

    pub(super) fn start_with(queue: usize, change: impl FnOnce(&mut config::Intake)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let (sender, reports) = mpsc::channel(queue);
        let (emitter, events) = events();
        let mut registry = Registry::with_prefix("ha_agent");
        let intake = start(&config, sender, emitter, &mut registry).unwrap();
        Self { intake, config, reports, events, registry, folder }
    }

    pub(super) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// The counter of reports taken with that state.
    pub(super) fn metrics_count(&self, state: &str) -> u64 {
        let name = format!("ha_agent_intake_reports_total{{state=\"{state}\"}} ");
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    }

    /// The reasons of all refusals so far.
    pub(super) fn refusals(&mut self) -> Vec<(u16, String)> {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .filter_map(|event| match event {
                Event::ReportRefused { status, reason, .. } => Some((status, reason)),
                _ => None,
            })
            .collect()
    }
}

pub(super) fn start(
    config: &config::Intake,
    reports: mpsc::Sender<Report>,
    events: Events,
    registry: &mut Registry,
) -> Result<Intake, IntakeError> {
    Intake::start(config, directory(), reports, events, registry, CancellationToken::new())
}
