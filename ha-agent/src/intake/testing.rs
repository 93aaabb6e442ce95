//! What several test modules of the intake share.

use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Intake, IntakeError, Report};
use crate::config;
use crate::telemetry::Events;
use crate::telemetry::event::Event;

pub(super) use super::fixture::{ROUTER, config, directory, named, router};

pub(super) fn events() -> (Events, mpsc::Receiver<Event>) {
    let (events, receiver, _) = Events::channel(100_000);
    (events, receiver)
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
