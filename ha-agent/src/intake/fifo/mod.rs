//! keepalived's notify FIFO: ordered, unlike its notify scripts, and without time or VRID.
//!
//! `line` has the grammar (pure), `reader` the file and its comings and goings, `troubles` which ones say nothing.

mod line;
mod reader;
#[cfg(test)]
mod tests;
mod troubles;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Report;
use super::gate::Gate;
use crate::config::{self, Grant, Granted, Grantee};
use crate::inventory::Directory;
use crate::paths::PathsError;
use crate::telemetry::Events;

#[cfg(feature = "fuzzing")]
pub(crate) use line::{Cut, Lines};
pub use line::{Kind, Line, LineError, MAX_LINE, claim, is_of_another_kind, parse_line};
pub use troubles::Troubles;

use reader::Reader;

/// Why a FIFO cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// Something else has its name.
    #[error("{} exists and is not a FIFO: remove it or configure another path", .0.display())]
    NotAFifo(PathBuf),
    /// Two readers would share its lines between them.
    #[error(
        "another ha-agent reads the notify FIFO {}: each would get a part of the lines. End that one, or give each a FIFO of its own (intake.notify_fifos)",
        .0.display()
    )]
    InUse(PathBuf),
    /// Others could write into it, or the system refused.
    #[error("the notify FIFO: {0}")]
    Path(#[from] PathsError),
}

/// How long a FIFO may have no writer until that is named: keepalived is started after the agent.
const LONELY: Duration = Duration::from_secs(15);

/// FIFOs that are bound to routers.
type Grants = HashMap<PathBuf, Granted>;

fn grants(config: &config::Intake) -> Grants {
    Grant::by(&config.grants, |to| match to {
        Grantee::Fifo(path) => Some(path.clone()),
        Grantee::User(_) => None,
    })
}

/// The readers of all configured FIFOs.
#[derive(Debug)]
pub struct Fifo {
    readers: Vec<JoinHandle<()>>,
    summary: JoinHandle<()>,
    granted: Arc<ArcSwap<Grants>>,
    stop: CancellationToken,
}

impl Fifo {
    /// Creates the FIFOs that do not exist (0600) and reads them all until `stop` is cancelled or
    /// [`Self::stop`] is called. Must be called within a tokio runtime. What waits in them is read once
    /// `directory` is complete.
    ///
    /// When `reports` is full a reader waits: lines wait in the pipe (64 KiB), then in keepalived.
    ///
    /// # Errors
    /// When a FIFO cannot be created or opened, is something else or another agent's, or others may write
    /// into it.
    pub fn start(
        config: &config::Intake,
        directory: Arc<Directory>,
        reports: mpsc::Sender<Report>,
        told: (Events, Troubles),
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<Self, FifoError> {
        Self::start_tuned(config, directory, reports, told, registry, stop, LONELY)
    }

    fn start_tuned(
        config: &config::Intake,
        directory: Arc<Directory>,
        reports: mpsc::Sender<Report>,
        (events, troubles): (Events, Troubles),
        registry: &mut Registry,
        stop: CancellationToken,
        lonely_after: Duration,
    ) -> Result<Self, FifoError> {
        let stop = stop.child_token();
        let gate = Gate::new(events.clone());
        let metrics = Metrics::register(registry);
        let granted = Arc::new(ArcSwap::from_pointee(grants(config)));
        let paths = &config.notify_fifos;
        let opened =
            paths.iter().map(|path| Ok((path.clone(), reader::open(path)?))).collect::<Result<Vec<_>, FifoError>>()?;
        let readers = opened
            .into_iter()
            .map(|(path, pipe)| {
                let reader = Reader {
                    path,
                    directory: directory.clone(),
                    granted: granted.clone(),
                    reports: reports.clone(),
                    events: events.clone(),
                    troubles: troubles.clone(),
                    lonely_after,
                    gate: gate.clone(),
                    metrics: metrics.clone(),
                };
                tokio::spawn(reader.run(pipe, stop.clone()))
            })
            .collect();
        Ok(Self { readers, summary: tokio::spawn(gate.summarise(stop.clone())), granted, stop })
    }

    /// Takes over the grants; other FIFOs take effect at the next start.
    pub fn reload(&self, config: &config::Intake) {
        self.granted.store(Arc::new(grants(config)));
    }

    /// Stops reading. The FIFOs stay, so that keepalived can go on writing; what it writes now is
    /// read after the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.readers.into_iter().chain([self.summary]) {
            if let Err(error) = task.await {
                tracing::warn!(%error, "notify FIFO: a task ended badly");
            }
        }
    }
}

/// Counters of the FIFOs.
#[derive(Clone, Debug)]
struct Metrics {
    taken: Counter,
    ignored: Counter,
    refused: Counter,
    writers: Gauge,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let lines = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let line = |result| lines.get_or_create(&[("result", result)]).clone();
        let metrics = Self {
            taken: line("taken"),
            ignored: line("ignored"),
            refused: line("refused"),
            writers: Gauge::default(),
        };
        registry.register(
            "intake_fifo_lines",
            "Lines read from notify FIFOs: taken as a report, ignored (no change of state), refused",
            lines,
        );
        registry.register("intake_fifo_writers", "Notify FIFOs that a keepalived has open", metrics.writers.clone());
        metrics
    }
}
