//! Starting every part, in the order in which one needs another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::board::AgentBoard;
use super::driver::{Driver, Inbox, Parts};
use super::mailbox::Mailbox;
use super::state::{Restored, Shared};
use super::{Agent, AgentError, Options, attacher, looker, metrics};

use crate::actions::Actions;
use crate::admin::Admin;
use crate::clock;
use crate::config::{self, Config};
use crate::delivery::Delivery;
use crate::intake::Intake;
use crate::intake::fifo::{Fifo, Troubles};
use crate::inventory::{Directory, HaConfs, Plain, Registrations};
use crate::netlink::Netlink;
use crate::netns::NetnsThread;
use crate::outbox::Outbox;
use crate::paths::Lock;
use crate::privilege::{Host, Role};
use crate::status::Degraded;
use crate::telemetry;
use crate::telemetry::event::Event;
use crate::wire::Wire;

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

impl Agent {
    pub(super) async fn start(config: Config, options: Options, lock: Lock) -> Result<Self, AgentError> {
        let host = host_name();
        let mut registry = telemetry::metrics::registry();
        if let Some(diagnostics) = &options.diagnostics {
            diagnostics.register(&mut registry);
        }
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
            &config,
            host.clone(),
            outbox.clone(),
            entries,
            events.clone(),
            &mut registry,
            CancellationToken::new(),
        ));

        let actions = Actions::start(&config, events.clone(), &mut registry, CancellationToken::new())?;
        let driver_stop = CancellationToken::new();
        let (attachments, doubts) = (Mailbox::default(), Mailbox::default());
        let (attached_sender, attached_inbox) = mpsc::channel(capacity::ATTACHED);
        let attacher = wire.as_ref().map(|wire| {
            attacher::run(attachments.clone(), doubts.clone(), Arc::clone(wire), attached_sender, driver_stop.clone())
        });
        let places = Mailbox::default();
        let (looked_sender, looked_inbox) = mpsc::channel(capacity::LOOKED);
        let looker = looker::run(places.clone(), netns.clone(), looked_sender, driver_stop.clone());
        let discovery_stop = CancellationToken::new();
        let (releases, release) = watch::channel(config.keepalived.installed.release);
        let (discovery_sender, discovery_inbox) = mpsc::channel(capacity::DISCOVERIES);
        let neutron = HaConfs::start(
            &config.neutron.ha_confs_path,
            release.clone(),
            discovery_sender.clone(),
            events.clone(),
            &mut registry,
            discovery_stop.clone(),
        );
        let plain_host = if config.keepalived.configs.is_empty() { None } else { Some(Host::start(Role::Keepalived)?) };
        let mut start_plain = || {
            let found = discovery_sender.clone();
            Plain::start(
                &config.keepalived,
                release.clone(),
                found,
                events.clone(),
                &mut registry,
                discovery_stop.clone(),
            )
        };
        let plain = match &plain_host {
            Some(host) => host.within(start_plain),
            None => start_plain(),
        };
        if plain.is_err() {
            directory.completed();
        }
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
            doubts,
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
        let fifo_troubles = Troubles::default();
        let channels = if wire.is_some() { "report+vip+wire" } else { "report+vip" };
        let board = Arc::new(AgentBoard {
            shared: Arc::clone(&shared),
            outbox: outbox.clone(),
            delivery: Arc::clone(&delivery),
            sinks: telemetry.sinks(),
            diagnostics: options.diagnostics,
            fifos: fifo_troubles.clone(),
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
            (events.clone(), fifo_troubles),
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
            releases,
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
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
