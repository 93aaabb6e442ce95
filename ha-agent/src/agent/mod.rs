//! The composition root: every task, thread and bounded channel in one place, and their ordered end.
//!
//! What starts last ends first. Each part gets its own stop, because a part may only end when those
//! that feed it have.

mod attacher;
mod board;
mod driver;
mod looker;
mod mailbox;
mod metrics;
mod state;
mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::actions::Actions;
use crate::admin::{Admin, AdminError};
use crate::clock;
use crate::config::{self, Config};
use crate::delivery::Delivery;
use crate::intake::fifo::{Fifo, FifoError};
use crate::intake::{Intake, IntakeError};
use crate::inventory::{Directory, HaConfs, Plain, Registrations};
use crate::netlink::{Netlink, NetlinkError};
use crate::netns::{NetnsError, NetnsThread};
use crate::outbox::Outbox;
use crate::paths::{self, Lock, PathsError};
use crate::privilege::{self, Host, Role};
use crate::status::Degraded;
use crate::telemetry::event::Event;
use crate::telemetry::{self, Events};
use crate::wire::{Wire, WireOptions};

use board::AgentBoard;
use driver::{Command, Driver, Inbox, Parts};
use mailbox::Mailbox;
use state::{Restored, Shared};

/// Queue lengths. When one is full: netlink and wire wait, the kernel then drops and says so, which
/// leads to a fresh dump or reading, and so does the discovery; the intake answers 503; a check is answered "busy".
mod capacity {
    /// Address and link events: two per router at the start.
    pub(super) const NETLINK: usize = 4096;
    /// Wire records.
    pub(super) const WIRE: usize = 4096;
    /// Reports.
    pub(super) const REPORTS: usize = 8192;
    /// Finished attachments.
    pub(super) const ATTACHED: usize = 64;
    /// Namespaces looked into.
    pub(super) const LOOKED: usize = 64;
    /// Routers found and gone.
    pub(super) const DISCOVERIES: usize = 256;
    /// Checks and reconfigurations.
    pub(super) const COMMANDS: usize = 1024;
}

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
    let openings = trust::openings(&config, options.config_path.as_deref(), trust::When::Start);
    if !openings.is_empty() {
        return Err(AgentError::Open(openings.join("\n")));
    }
    let lock = claim_directories(&config)?;
    privilege::confine(&config);
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
    match config.intake.socket_gid {
        // Who may use the socket must be able to reach it.
        Some(gid) => paths::prepare_for_group(&config.runtime_dir, 0o750, gid)?,
        None => paths::prepare(&config.runtime_dir, 0o750)?,
    }
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

    async fn start(config: Config, options: Options, lock: Lock) -> Result<Self, AgentError> {
        let host = host_name();
        let mut registry = telemetry::metrics::registry();
        let (events, recent, telemetry) =
            telemetry::start(&config.sinks, &host, &mut registry, CancellationToken::new());
        let (outbox, entries) = Outbox::open(&config.state_dir, events.clone(), &mut registry);
        let restored: BTreeMap<_, _> = entries.iter().map(|entry| (entry.router, Restored::from(entry))).collect();
        let shared = Arc::new(Shared::default());
        let directory = Arc::new(Directory::default());
        let registrations = Arc::new(Registrations::new(events.clone()));

        let netns = NetnsThread::spawn(CancellationToken::new())?;
        let (wire_sender, wire_inbox) = mpsc::channel(capacity::WIRE);
        let wire = match Wire::start(options.wire, netns.clone(), wire_sender, &mut registry, CancellationToken::new())
        {
            Ok(wire) => Some(Arc::new(wire)),
            Err(error) => {
                let reason = format!("{error}; reports and VIPs decide alone");
                warn!("{reason}");
                shared.lock().degraded.push(Degraded { channel: "wire".to_owned(), reason: reason.clone() });
                events.emit(Event::ChannelDegraded { channel: "wire".to_owned(), reason, router_id: None });
                None
            }
        };
        let netlink_stop = CancellationToken::new();
        let (netlink_sender, netlink_inbox) = mpsc::channel(capacity::NETLINK);
        let (netlink, netlink_task) = Netlink::start(netlink_sender, &mut registry, netlink_stop.clone())?;
        let delivery = Arc::new(Delivery::start(
            &config.delivery,
            config.neutron.release,
            host.clone(),
            outbox.clone(),
            entries,
            events.clone(),
            &mut registry,
            CancellationToken::new(),
        ));

        let actions = Actions::start(&config, events.clone(), &mut registry, CancellationToken::new())?;
        let driver_stop = CancellationToken::new();
        let attachments = Mailbox::default();
        let (attached_sender, attached_inbox) = mpsc::channel(capacity::ATTACHED);
        let attacher = wire
            .as_ref()
            .map(|wire| attacher::run(attachments.clone(), Arc::clone(wire), attached_sender, driver_stop.clone()));
        let places = Mailbox::default();
        let (looked_sender, looked_inbox) = mpsc::channel(capacity::LOOKED);
        let looker = looker::run(places.clone(), netns.clone(), looked_sender, driver_stop.clone());
        let discovery_stop = CancellationToken::new();
        let (discovery_sender, discovery_inbox) = mpsc::channel(capacity::DISCOVERIES);
        let neutron = HaConfs::start(
            &config.neutron.ha_confs_path,
            discovery_sender.clone(),
            events.clone(),
            &mut registry,
            discovery_stop.clone(),
        );
        let plain_host = if config.keepalived.configs.is_empty() { None } else { Some(Host::start(Role::Keepalived)?) };
        let mut start_plain = || {
            let found = discovery_sender.clone();
            Plain::start(&config.keepalived, found, events.clone(), &mut registry, discovery_stop.clone())
        };
        let plain = match &plain_host {
            Some(host) => host.within(start_plain),
            None => start_plain(),
        };
        let mut discoveries = Vec::new();
        for (source, started) in [("Neutron's files", neutron), ("keepalived's configuration", plain)] {
            match started {
                Ok(task) => discoveries.push(task),
                Err(error) => {
                    let reason = format!("{error}; routers are not looked for in {source}");
                    warn!("{reason}");
                    shared.lock().degraded.push(Degraded { channel: "inventory".to_owned(), reason: reason.clone() });
                    events.emit(Event::ChannelDegraded { channel: "inventory".to_owned(), reason, router_id: None });
                    // Never complete: what was watched before the restart may well be there.
                }
            }
        }
        let (report_sender, report_inbox) = mpsc::channel(capacity::REPORTS);
        let (commands, command_inbox) = mpsc::channel(capacity::COMMANDS);
        let driver = Driver::new(Parts {
            shared: Arc::clone(&shared),
            directory: Arc::clone(&directory),
            netlink,
            wire: wire.clone(),
            attachments,
            places,
            outbox: outbox.clone(),
            actions: actions.orders(),
            ha_confs: config.neutron.ha_confs_path.clone(),
            events: events.clone(),
            metrics: metrics::Metrics::register(&mut registry),
            mode: config.mode,
            fifos: !config.intake.notify_fifos.is_empty(),
            l3_agent: config.delivery.protocol == config::Protocol::Neutron,
            corroboration: config.corroboration,
            restored,
        });
        let channels = if wire.is_some() { "report+vip+wire" } else { "report+vip" };
        let board = Arc::new(AgentBoard {
            shared: Arc::clone(&shared),
            outbox: outbox.clone(),
            delivery: Arc::clone(&delivery),
            sinks: telemetry.sinks(),
            commands: commands.clone(),
            registrations: Arc::clone(&registrations),
            l3_agent_ha_confs_path: config.neutron.l3_agent_ha_confs_path.clone(),
            ready: false.into(),
            host,
            mode: config.mode,
            started_at: clock::wall(),
        });
        let intake = Intake::start(
            &config.intake,
            Arc::clone(&directory),
            report_sender.clone(),
            events.clone(),
            &mut registry,
            CancellationToken::new(),
        )?;
        let fifo = Fifo::start(
            &config.intake,
            directory,
            report_sender,
            events.clone(),
            &mut registry,
            CancellationToken::new(),
        )?;
        let admin_board: Arc<dyn crate::admin::Board> = board.clone();
        crate::admin::collector::register(&mut registry, Arc::clone(&admin_board));
        let admin = Admin::start(&config.admin, admin_board, recent, Arc::new(registry), CancellationToken::new())?;

        events.emit(Event::AgentStarted {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            mode: if config.mode == config::Mode::Observe { "observe" } else { "enforce" }.to_owned(),
            channels: channels.to_owned(),
        });
        let inbox = Inbox {
            netlink: netlink_inbox,
            wire: wire_inbox,
            reports: report_inbox,
            attached: attached_inbox,
            looked: looked_inbox,
            discoveries: discovery_inbox,
            registrations,
            commands: command_inbox,
        };
        let driver = tokio::spawn(driver.run(config.routers.clone(), inbox, driver_stop.clone()));
        board.ready.store(true, Ordering::Release);
        info!(routers = config.routers.len(), socket = %config.intake.socket.display(), channels, "ha-agent runs");
        Ok(Self {
            intake,
            fifo,
            discoveries,
            discovery_stop,
            driver,
            attacher,
            looker,
            driver_stop,
            actions,
            plain_host,
            delivery,
            outbox,
            wire,
            netlink: netlink_task,
            netlink_stop,
            netns,
            admin,
            shared,
            events,
            telemetry,
            commands,
            config,
            _lock: lock,
        })
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

    /// Reads the configuration again: validated first, kept as it was on error.
    async fn reload(&mut self, path: Option<&std::path::Path>) {
        self.telemetry.reopen();
        let new = match config::load(path) {
            Ok(new) => new,
            Err(error) => {
                error!("configuration kept as it was:\n{error}");
                return;
            }
        };
        for (what, changed) in [
            ("mode", new.mode != self.config.mode),
            (
                "runtime_dir or state_dir",
                (&new.runtime_dir, &new.state_dir) != (&self.config.runtime_dir, &self.config.state_dir),
            ),
            ("events.sinks", new.sinks != self.config.sinks),
            ("[admin]", new.admin != self.config.admin),
            ("intake.notify_fifos", new.intake.notify_fifos != self.config.intake.notify_fifos),
            (
                "neutron.l3_agent_ha_confs_path",
                new.neutron.l3_agent_ha_confs_path != self.config.neutron.l3_agent_ha_confs_path,
            ),
            ("neutron.ha_confs_path", new.neutron.ha_confs_path != self.config.neutron.ha_confs_path),
            ("[keepalived]", new.keepalived != self.config.keepalived),
            ("neutron.release", new.neutron.release != self.config.neutron.release),
        ] {
            if changed {
                warn!("{what} changed: takes effect when ha-agent is restarted");
            }
        }
        if !self.check_trust(&new, path) {
            return;
        }
        self.intake.reload(&new.intake);
        self.fifo.reload(&new.intake);
        self.delivery.reload(&new.delivery);
        self.actions.reload(&new.actions);
        let command = Command::Reconfigure { routers: new.routers.clone(), corroboration: new.corroboration };
        if self.commands.send(command).await.is_err() {
            error!("the driver has ended");
        }
        self.config = new;
        info!("configuration read again");
    }

    /// Whether nobody else could change what the agent trusts. If somebody could, the event stream and
    /// `status` say so, until a later reload finds it in order.
    fn check_trust(&self, new: &Config, path: Option<&std::path::Path>) -> bool {
        let openings = trust::openings(new, path, trust::When::Reload(&self.config));
        let mut inner = self.shared.lock();
        let before = inner.degraded.len();
        inner.degraded.retain(|degraded| degraded.channel != trust::CHANNEL);
        let restored = inner.degraded.len() < before;
        if openings.is_empty() {
            drop(inner);
            if restored {
                self.events.emit(Event::ChannelRestored { channel: trust::CHANNEL.to_owned(), router_id: None });
            }
            return true;
        }
        error!("configuration kept as it was, others could change what the agent trusts:\n{}", openings.join("\n"));
        let reason = format!("the reload is refused: {}", openings.join("; "));
        inner.degraded.push(Degraded { channel: trust::CHANNEL.to_owned(), reason: reason.clone() });
        drop(inner);
        self.events.emit(Event::ChannelDegraded { channel: trust::CHANNEL.to_owned(), reason, router_id: None });
        false
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

/// What a signal asks for.
enum Asked {
    Reload,
    Stop(&'static str),
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
