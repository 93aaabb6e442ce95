//! The composition root: every task, thread and bounded channel in one place, and their ordered end.
//!
//! - `start`: every part, in the order in which one needs another; `reload`: SIGHUP; here: their end.
//! - `driver`: feeds the core; `attacher`, `looker`: what it must not wait for.
//!
//! What starts last ends first. Each part gets its own stop, because a part may only end when those
//! that feed it have.

mod attacher;
mod board;
mod driver;
mod looker;
mod mailbox;
mod metrics;
mod reload;
mod signals;
mod start;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::actions::Actions;
use crate::admin::{Admin, AdminError};
use crate::advert_rules::Release;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::intake::fifo::{Fifo, FifoError};
use crate::intake::{Intake, IntakeError};
use crate::netlink::NetlinkError;
use crate::netns::{NetnsError, NetnsThread};
use crate::outbox::Outbox;
use crate::paths::{self, Lock, PathsError};
use crate::privilege::{self, Host, Role};
use crate::status::Degraded;
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::event::Event;
use crate::telemetry::{self, Events};
use crate::trust;
use crate::wire::{Wire, WireOptions};

use driver::Command;
use signals::{Asked, Signals};
use state::Shared;

/// Everything must have ended by then.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Why the agent cannot run.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Not enough privilege.
    #[error(
        "ha-agent run needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF, …): start it as root or as a systemd service; `ha-agent doctor` says what is missing"
    )]
    NotPermitted,
    /// A directory, a socket path or the lock.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// Others could change what the agent trusts.
    #[error("others could change what the agent trusts:\n{0}")]
    Open(String),
    /// A hook that cannot be run.
    #[error("the configuration names what cannot be run:\n{0}")]
    Missing(String),
    /// The state-change socket.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// A notify FIFO.
    #[error(transparent)]
    Fifo(#[from] FifoError),
    /// The status API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The address watch.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The namespace thread.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The runtime or a signal handler.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] std::io::Error),
}

/// What `run` takes beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration's file, read again on SIGHUP.
    pub config_path: Option<PathBuf>,
    /// How the classifier is loaded.
    pub wire: WireOptions,
    /// Where diagnostics go, if they were installed.
    pub diagnostics: Option<Diagnostics>,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting; see [`AgentError`].
pub fn run(config: Config, options: Options) -> Result<(), AgentError> {
    if !rustix::process::geteuid().is_root() {
        return Err(AgentError::NotPermitted);
    }
    raise_descriptor_limit();
    let missing = trust::missing(&config);
    if !missing.is_empty() {
        return Err(AgentError::Missing(missing.join("\n")));
    }
    let openings = trust::openings(&config, options.config_path.as_deref(), trust::When::Start);
    if !openings.is_empty() {
        return Err(AgentError::Open(openings.join("\n")));
    }
    let lock = claim_directories(&config)?;
    privilege::confine(&config);
    if let Some(diagnostics) = &options.diagnostics {
        diagnostics.start();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(Role::Worker.thread_name())
        .on_thread_start(|| privilege::enter(Role::Worker))
        .enable_all()
        .build()?;
    let result = runtime.block_on(Agent::run(config, options, lock));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Makes the directories and takes the lock: before any thread, whose part of the file system is
/// bound to them.
fn claim_directories(config: &Config) -> Result<Lock, AgentError> {
    // Who may use the socket must be able to reach it.
    paths::prepare_locked(&config.runtime_dir, config.intake.socket_gid)?;
    let lock = Lock::take(&config.runtime_dir)?;
    if let Err(error) = paths::prepare(&config.state_dir, 0o700) {
        // The outbox then goes on from memory and says so.
        warn!(%error, "state directory not usable");
    }
    Ok(lock)
}

/// Three descriptors per router (two links and a delivery) for a thousand routers are more than the
/// usual soft limit.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The running parts, in the order in which they end.
struct Agent {
    intake: Intake,
    fifo: Fifo,
    discoveries: Vec<tokio::task::JoinHandle<()>>,
    discovery_stop: CancellationToken,
    driver: tokio::task::JoinHandle<()>,
    attacher: Option<tokio::task::JoinHandle<()>>,
    looker: tokio::task::JoinHandle<()>,
    driver_stop: CancellationToken,
    actions: Actions,
    /// The thread that a plain keepalived's files are read on.
    plain_host: Option<Host>,
    /// Whose rules configuration files of keepalived are read by.
    releases: watch::Sender<Release>,
    delivery: Arc<Delivery>,
    outbox: Outbox,
    wire: Option<Arc<Wire>>,
    netlink: tokio::task::JoinHandle<()>,
    netlink_stop: CancellationToken,
    netns: NetnsThread,
    admin: Admin,
    shared: Arc<Shared>,
    events: Events,
    telemetry: telemetry::Telemetry,
    commands: mpsc::Sender<Command>,
    config: Config,
    _lock: Lock,
}

impl Agent {
    async fn run(config: Config, options: Options, lock: Lock) -> Result<(), AgentError> {
        let mut signals = Signals::new()?;
        let config_path = options.config_path.clone();
        let mut agent = Self::start(config, options, lock).await?;
        // The last thread to do so: those that the parts needed are there, and have what they need.
        privilege::enter(Role::Main);
        agent.tell_privileges();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let reason = loop {
            match signals.next().await {
                Asked::Reload => {
                    use sd_notify::NotifyState::{Ready, Reloading};
                    let _ = sd_notify::NotifyState::monotonic_usec_now()
                        .and_then(|now| sd_notify::notify(&[Reloading, now]));
                    agent.reload(config_path.as_deref()).await;
                    let _ = sd_notify::notify(&[Ready]);
                }
                Asked::Stop(reason) => break reason,
            }
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let (wire, netns) = (agent.wire.take(), agent.netns.clone());
        if tokio::time::timeout(STOP_LIMIT, agent.stop(reason)).await.is_err() {
            error!("not everything ended within {} s", STOP_LIMIT.as_secs());
        }
        // Last and by itself: the kernel takes a grace period for each link that goes, some 20 ms a
        // router, and would take it just so at the end of the process. Nobody waits for it: states are
        // on disk, events are written, the sockets are gone. The driver and the attacher, the only
        // others that had the wire, have ended.
        if let Some(wire) = wire.and_then(Arc::into_inner) {
            wire.stop().await;
        }
        netns.stop().await;
        Ok(())
    }

    /// What of the threads' confinement this kernel does not have.
    fn tell_privileges(&self) {
        for reason in privilege::lacking() {
            warn!("{reason}");
            let channel = "privilege".to_owned();
            self.shared.lock().degraded.push(Degraded { channel: channel.clone(), reason: reason.clone() });
            self.events.emit(Event::ChannelDegraded { channel, reason, router_id: None });
        }
    }

    /// Ends every part: first those that feed, then those that are fed.
    async fn stop(self, reason: &'static str) {
        info!(reason, "stopping");
        self.intake.stop().await;
        self.fifo.stop().await;
        self.discovery_stop.cancel();
        for discovery in self.discoveries {
            if let Err(error) = discovery.await {
                error!(%error, "a discovery ended badly");
            }
        }
        self.driver_stop.cancel();
        if let Err(error) = self.driver.await {
            error!(%error, "the driver ended badly");
        }
        if let Some(attacher) = self.attacher
            && let Err(error) = attacher.await
        {
            error!(%error, "the attacher ended badly");
        }
        if let Err(error) = self.looker.await {
            error!(%error, "the looker ended badly");
        }
        tokio::join!(self.actions.stop(), self.delivery.stop());
        if let Some(host) = self.plain_host {
            host.stop().await;
        }
        self.outbox.stop().await;
        self.netlink_stop.cancel();
        let _ = self.netlink.await;
        self.admin.stop().await;
        self.events.emit(Event::AgentStopped { reason: reason.to_owned() });
        self.telemetry.stop().await;
    }
}
