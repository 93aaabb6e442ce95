//! Reports from keepalived's side: the state-change socket (DESIGN section 4) and the notify FIFO.
//!
//! Here a request or a line becomes a [`Report`], or is refused with a reason. Whether the claim
//! is true is decided in `core`, never here. `listener` accepts and looks who connected,
//! `limits` and `turn` keep reporters apart, `strangers` those who may not report, `server` speaks HTTP,
//! `request` validates, `refusal` has every reason to say no, `answers` says who of a flood hears it, `gate`
//! turns refusals into events without flooding, `fifo` reads FIFOs.

mod answers;
#[doc(hidden)]
pub mod bench;
pub mod fifo;
#[cfg(any(test, feature = "fuzzing"))]
mod fixture;
mod gate;
mod limits;
mod listener;
mod metrics;
mod refusal;
pub mod request;
mod server;
mod strangers;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(feature = "fuzzing")]
pub(crate) mod trial;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::core::model::{Reporter, RouterId, State};
use crate::core::time::Mono;
use crate::inventory::Directory;
use crate::paths::{BoundSocket, PathsError};
use crate::privilege::{self, Role};
use crate::telemetry::Events;

pub use refusal::Refusal;

use gate::Gate;
use limits::Limits;
use metrics::Metrics;
use server::Shared;

/// How long [`Intake::stop`] waits for connections to end by themselves.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// A claim from an authorised reporter about a router that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The router.
    pub router: RouterId,
    /// The claim.
    pub state: State,
    /// Who made it.
    pub reporter: Reporter,
    /// When it was taken.
    pub at: Mono,
}

/// Why the intake cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The socket cannot be bound.
    #[error("the state-change socket: {0}")]
    Socket(#[from] PathsError),
    /// There is no thread or descriptor for it.
    #[error("cannot accept on the state-change socket: {0}")]
    Accept(std::io::Error),
}

/// The running state-change server.
#[derive(Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    bound_as: BoundAs,
    connections: TaskTracker,
    accepting: std::thread::JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// What cannot change without a restart.
#[derive(Debug, PartialEq)]
struct BoundAs {
    socket: std::path::PathBuf,
    mode: u32,
    gid: Option<u32>,
    backlog: i32,
    fifos: Vec<std::path::PathBuf>,
}

impl BoundAs {
    fn of(config: &config::Intake) -> Self {
        Self {
            socket: config.socket.clone(),
            mode: config.socket_mode,
            gid: config.socket_gid,
            backlog: config.backlog,
            fifos: config.notify_fifos.clone(),
        }
    }
}

impl Intake {
    /// Binds the socket and serves it until `stop` is cancelled or [`Self::stop`] is called. Must
    /// be called within a tokio runtime. The FIFOs are not started here: see [`fifo::Fifo`].
    ///
    /// When `reports` is full the reporter is told 503, so its size bounds what waits for the core.
    ///
    /// # Errors
    /// When the socket cannot be bound, above all because a live server has it.
    pub fn start(
        config: &config::Intake,
        directory: Arc<Directory>,
        reports: mpsc::Sender<Report>,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<Self, IntakeError> {
        let bound = BoundSocket::bind(&config.socket, config.socket_mode, config.socket_gid, config.backlog)?;
        let (listener, file) = bound.into_parts();
        let stop = stop.child_token();
        let shared = Arc::new(Shared {
            limits: Arc::new(Limits::new(config, None)).into(),
            directory,
            reports,
            gate: Gate::new(events.clone()),
            events,
            metrics: Metrics::register(registry),
            stopping: stop.clone(),
        });
        let connections = TaskTracker::new();
        let (accepting, end) =
            listener::Accepting::new(listener, config.backlog, file, shared.clone(), connections.clone())
                .map_err(IntakeError::Accept)?;
        let accepting = std::thread::Builder::new()
            .name(Role::Intake.thread_name().to_owned())
            .spawn(move || {
                privilege::enter(Role::Intake);
                accepting.run();
            })
            .map_err(IntakeError::Accept)?;
        let stopping = stop.clone();
        // Also when the runtime goes without a word: the thread must not outlive it.
        let ending = async move {
            let _end = end;
            stopping.cancelled().await;
        };
        let tasks = vec![tokio::spawn(ending), tokio::spawn(shared.gate.clone().summarise(stop.clone()))];
        Ok(Self { shared, bound_as: BoundAs::of(config), connections, accepting, tasks, stop })
    }

    /// Takes over what can change while running: users, token, rate, connections, timeout. They
    /// hold from the next request on, also on open connections (the timeout: from the next
    /// connection on).
    pub fn reload(&self, config: &config::Intake) {
        if BoundAs::of(config) != self.bound_as {
            tracing::warn!(
                "intake: a changed socket path, mode, group, backlog or FIFO list takes effect \
                 at the next restart"
            );
        }
        let limits = Limits::new(config, Some(&self.shared.limits.load()));
        self.shared.limits.store(Arc::new(limits));
    }

    /// Stops: the socket's name is removed (if it is still ours), what waits in the backlog and
    /// what still comes on open connections is answered 503, and after a second at most
    /// everything is closed.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "intake: a task ended badly");
            }
        }
        let accepting = self.accepting;
        if !matches!(tokio::task::spawn_blocking(move || accepting.join()).await, Ok(Ok(()))) {
            tracing::warn!("intake: the accept loop ended badly");
        }
        self.connections.close();
        // Each connection ends by itself within the limit; this is the second line.
        let limit = STOP_LIMIT + Duration::from_millis(100);
        if tokio::time::timeout(limit, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "intake: connections did not end in time");
        }
    }
}
