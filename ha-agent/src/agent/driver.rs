//! The one task that feeds the core: inputs in, outputs to their places.
//!
//! It owns every router's life. It never waits for a consumer: the outbox and the attacher take the
//! newest word per router, events are queued or counted as lost. So its own inputs are the only
//! queues that can fill, and each of those says what happens then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::attacher::{AttachJob, Attached};
use super::mailbox::Mailbox;
use super::metrics::Metrics;
use super::state::{Inner, Restored, Shared, Source, Watched, policy};

use crate::clock;
use crate::config::{Corroboration, Mode, Router};
use crate::core::io::{Input, Output};
use crate::core::model::{Channel, Link, RouterId, State};
use crate::core::time::Mono;
use crate::intake::Report;
use crate::inventory::{Directory, Discovery};
use crate::netlink::{Netlink, NetlinkEvent, Watch};
use crate::outbox::{Confirmed, Outbox};
use crate::status::Degraded;
use crate::telemetry::Events;
use crate::telemetry::event::Event;
use crate::wire::{Target, Wire, WireEvent};

/// Inputs taken from one queue before the others get their turn.
const TURN: usize = 256;

/// What other parts ask of the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Deliver the confirmed state again where it differs from the neutron-server's view.
    Check {
        /// The router.
        router: RouterId,
        /// What the neutron-server believes.
        seen_by_server: State,
    },
    /// The configuration was read again.
    Reconfigure {
        /// All routers that it gives.
        routers: Vec<Router>,
        /// The core's durations.
        corroboration: Corroboration,
    },
}

/// The queues that the driver reads.
pub(super) struct Inbox {
    /// From the netlink watch.
    pub(super) netlink: mpsc::Receiver<NetlinkEvent>,
    /// From the classifier.
    pub(super) wire: mpsc::Receiver<WireEvent>,
    /// From the intake.
    pub(super) reports: mpsc::Receiver<Report>,
    /// From the attacher.
    pub(super) attached: mpsc::Receiver<Attached>,
    /// From the discovery.
    pub(super) discoveries: mpsc::Receiver<Discovery>,
    /// From the status API and SIGHUP.
    pub(super) commands: mpsc::Receiver<Command>,
}

/// The parts that the driver acts on.
pub(super) struct Parts {
    /// Shared with the status API.
    pub(super) shared: Arc<Shared>,
    /// Read by the intake.
    pub(super) directory: Arc<Directory>,
    /// The address and link watch.
    pub(super) netlink: Netlink,
    /// The classifier, where BPF is to be had.
    pub(super) wire: Option<Arc<Wire>>,
    /// To the attacher.
    pub(super) attachments: Mailbox<AttachJob>,
    /// Takes confirmed states.
    pub(super) outbox: Outbox,
    /// Takes events.
    pub(super) events: Events,
    /// Counts.
    pub(super) metrics: Metrics,
    /// Whether verdicts decide.
    pub(super) mode: Mode,
    /// The core's durations.
    pub(super) corroboration: Corroboration,
    /// States confirmed before the restart.
    pub(super) restored: BTreeMap<RouterId, Restored>,
}

/// See the module.
pub(super) struct Driver {
    parts: Parts,
    /// Confirmed states of this turn, handed over together.
    deliver: Vec<Confirmed>,
    /// Number of the last attachment that was asked for.
    generation: u64,
    /// Routers that the configuration gives.
    configured: BTreeMap<RouterId, Router>,
    /// Routers that were found; one that is configured too is watched as configured.
    discovered: BTreeMap<RouterId, Router>,
    /// Why some are not found, by router; none: it concerns all.
    troubles: BTreeMap<Option<RouterId>, String>,
}

impl Driver {
    /// A driver that has not run yet.
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            deliver: Vec::new(),
            configured: BTreeMap::new(),
            discovered: BTreeMap::new(),
            troubles: BTreeMap::new(),
            generation: 0,
        }
    }

    /// Runs until `stop`; what was decided by then has been handed to the outbox.
    pub(super) async fn run(mut self, routers: Vec<Router>, mut inbox: Inbox, stop: CancellationToken) {
        self.reconfigure(routers);
        loop {
            let deadline = self.parts.shared.lock().node.deadline();
            let wait = async {
                match deadline {
                    Some(at) => tokio::time::sleep(at.since(clock::now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = inbox.wire.recv() => self.wire(event),
                Some(event) = inbox.netlink.recv() => self.netlink(event),
                Some(report) = inbox.reports.recv() => self.report(&report),
                Some(attached) = inbox.attached.recv() => self.attached(attached),
                Some(command) = inbox.commands.recv() => self.command(command),
                Some(discovery) = inbox.discoveries.recv() => self.discoveries(discovery, &mut inbox.discoveries),
                () = wait => {}
            }
            // What else is there already belongs to the same turn and the same batch.
            for _ in 0..TURN {
                let Ok(event) = inbox.wire.try_recv() else { break };
                self.wire(event);
            }
            for _ in 0..TURN {
                let Ok(event) = inbox.netlink.try_recv() else { break };
                self.netlink(event);
            }
            for _ in 0..TURN {
                let Ok(report) = inbox.reports.try_recv() else { break };
                self.report(&report);
            }
            self.expire();
            self.hand_over();
        }
        while let Ok(report) = inbox.reports.try_recv() {
            self.report(&report);
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if !self.deliver.is_empty() {
            self.parts.outbox.put(&self.deliver);
            self.deliver.clear();
        }
    }

    fn expire(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        let mut inner = shared.lock();
        let now = clock::now();
        while let Some((router, outputs)) = inner.node.expire(now) {
            self.settle(&mut inner, router, outputs, now);
        }
    }

    fn input(&mut self, router: RouterId, input: Input) {
        let shared = Arc::clone(&self.parts.shared);
        self.input_locked(&mut shared.lock(), router, input);
    }

    fn input_locked(&mut self, inner: &mut Inner, router: RouterId, input: Input) {
        let now = clock::now();
        let outputs = inner.node.input(router, input, now);
        self.settle(inner, router, outputs, now);
    }

    /// Brings outputs to their places; readings of the wire are answered at once.
    fn settle(&mut self, inner: &mut Inner, router: RouterId, outputs: Vec<Output>, now: Mono) {
        let mut outputs: VecDeque<Output> = outputs.into();
        while let Some(output) = outputs.pop_front() {
            if output == Output::ReadWire {
                if let Some(reading) = self.read(router) {
                    outputs.extend(inner.node.input(router, reading, clock::now().max(now)));
                }
            } else {
                self.place(inner, router, output);
            }
        }
    }

    fn read(&self, router: RouterId) -> Option<Input> {
        match self.parts.wire.as_ref()?.read(router) {
            Ok(reading) => Some(Input::WireRead { speakers: reading.speakers, as_of: reading.as_of }),
            Err(error) => {
                debug!(%router, %error, "wire not read");
                None
            }
        }
    }

    fn place(&mut self, inner: &mut Inner, router_id: RouterId, output: Output) {
        let Parts { events, metrics, .. } = &self.parts;
        match output {
            Output::Confirmed(transition) => {
                metrics.confirmed(transition.state.as_str(), transition.basis.to_string(), transition.latency);
                if let Some(watched) = inner.routers.get_mut(&router_id) {
                    watched.confirmed_at = Some(clock::wall());
                }
                events.emit(Event::TransitionConfirmed {
                    router_id,
                    state: transition.state,
                    previous: transition.previous,
                    basis: transition.basis,
                    latency_ms: milliseconds(transition.latency),
                    evidence: transition.evidence,
                });
            }
            Output::Rejected { claim, reporter, reason, evidence } => {
                metrics.rejected(reason.as_str());
                events.emit(Event::TransitionRejected { router_id, claim, reporter, reason, evidence });
            }
            Output::Superseded { state, by, held } => {
                metrics.superseded();
                events.emit(Event::TransitionSuperseded { router_id, state, by, held_ms: milliseconds(held) });
            }
            Output::AnomalyRaised { kind, detail, evidence } => {
                metrics.raised(kind.as_str());
                events.emit(Event::AnomalyRaised { router_id, kind, detail, evidence });
            }
            Output::AnomalyCleared { kind, lasted } => {
                events.emit(Event::AnomalyCleared { router_id, kind, lasted_ms: milliseconds(lasted) });
            }
            Output::Deliver { state, previous, basis } => {
                let confirmed_at_us = clock::wall_micros();
                self.deliver.push(Confirmed { router: router_id, state, previous, basis, confirmed_at_us });
            }
            Output::ReadWire => {}
        }
    }

    fn wire(&mut self, event: WireEvent) {
        match event {
            WireEvent::Advert { router, advert } => self.input(router, Input::Advert(advert)),
            WireEvent::Invalid { router, frame } => self.input(router, Input::InvalidFrame(frame)),
            WireEvent::Lost { .. } => {
                let routers: Vec<RouterId> = self.parts.shared.lock().node.routers().collect();
                for router in routers {
                    if let Some(reading) = self.read(router) {
                        self.input(router, reading);
                    }
                }
            }
        }
    }

    fn report(&mut self, report: &Report) {
        self.input(report.router, Input::Report { state: report.state, reporter: report.reporter });
    }

    fn netlink(&mut self, event: NetlinkEvent) {
        let shared = Arc::clone(&self.parts.shared);
        let mut inner = shared.lock();
        match event {
            NetlinkEvent::Vip { router, vip, .. } => self.input_locked(&mut inner, router, Input::Vip(vip)),
            NetlinkEvent::Link { router, link, ifindex, .. } => {
                self.follow_link(&mut inner, router, link, ifindex);
                self.input_locked(&mut inner, router, Input::Link(link));
            }
            NetlinkEvent::NetnsMissing { router } => {
                let Some(watched) = inner.routers.get_mut(&router) else { return };
                let reason = format!(
                    "namespace {} does not exist: this router is watched as soon as it does",
                    watched.router.netns
                );
                watched.ifindex = None;
                watched.generation = None;
                if watched.degrade("vip", &reason) {
                    self.degraded("vip", reason, Some(router));
                }
                self.parts.attachments.post(router, AttachJob::Detach);
                for channel in [Channel::Wire, Channel::Vip] {
                    self.input_locked(&mut inner, router, Input::Channel { channel, up: false });
                }
            }
            NetlinkEvent::NetnsFound { router } => {
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Vip, up: true });
                if inner.routers.get_mut(&router).is_some_and(|watched| watched.restore("vip")) {
                    self.restored("vip", Some(router));
                }
            }
            NetlinkEvent::Degraded { reason } => {
                inner.degraded.retain(|d| d.channel != "vip");
                inner.degraded.push(Degraded { channel: "vip".to_owned(), reason: reason.clone() });
                self.degraded("vip", reason, None);
                self.vip_votes(&mut inner, false);
            }
            NetlinkEvent::Restored => {
                inner.degraded.retain(|d| d.channel != "vip");
                self.restored("vip", None);
                self.vip_votes(&mut inner, true);
            }
        }
    }

    /// While netlink is overrun nobody's address table can be trusted.
    fn vip_votes(&mut self, inner: &mut Inner, up: bool) {
        for router in inner.node.routers().collect::<Vec<_>>() {
            self.input_locked(inner, router, Input::Channel { channel: Channel::Vip, up });
        }
    }

    /// Keeps the classifier where the HA interface is.
    fn follow_link(&mut self, inner: &mut Inner, router: RouterId, link: Link, ifindex: Option<u32>) {
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        if link == Link::Gone && watched.degrade("interface", &missing_interface(&watched.router)) {
            let reason = missing_interface(&watched.router);
            self.degraded("wire", reason, Some(router));
        } else if ifindex.is_some() && watched.restore("interface") {
            self.restored("wire", Some(router));
        }
        if watched.ifindex == ifindex {
            return;
        }
        watched.ifindex = ifindex;
        let attaching = ifindex.is_some() && self.parts.wire.is_some();
        if attaching {
            self.generation += 1;
            watched.generation = Some(self.generation);
            let job = AttachJob::Attach { target: target(&watched.router), generation: self.generation };
            self.parts.attachments.post(router, job);
        } else {
            watched.generation = None;
            self.parts.attachments.post(router, AttachJob::Detach);
        }
        // While it is being attached (half a minute for a thousand routers at the start) the wire has its
        // vote and has not spoken yet: nothing is decided without it.
        self.input_locked(inner, router, Input::Channel { channel: Channel::Wire, up: attaching });
    }

    fn attached(&mut self, attached: Attached) {
        let Attached { router, generation, result } = attached;
        let shared = Arc::clone(&self.parts.shared);
        let mut inner = shared.lock();
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        if watched.generation != Some(generation) {
            return; // The interface changed meanwhile; another attachment is under way.
        }
        match result {
            Ok(()) => {
                if watched.restore("wire") {
                    self.restored("wire", Some(router));
                }
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Wire, up: true });
                if let Some(reading) = self.read(router) {
                    self.input_locked(&mut inner, router, reading);
                }
            }
            Err(error) => {
                warn!(%router, %error, "classifier not attached");
                let reason = format!("{error}; reports and the VIP decide alone");
                if watched.degrade("wire", &reason) {
                    self.degraded("wire", reason, Some(router));
                }
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Wire, up: false });
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Check { router, seen_by_server } => self.input(router, Input::Check { seen_by_server }),
            Command::Reconfigure { routers, corroboration } => {
                self.parts.corroboration = corroboration;
                self.reconfigure(routers);
            }
        }
    }

    /// Takes `first` and what else was found, up to a turn's worth.
    fn discoveries(&mut self, first: Discovery, more: &mut mpsc::Receiver<Discovery>) {
        let mut touched = BTreeSet::new();
        let mut complete = false;
        let mut next = Some(first);
        for _ in 0..TURN {
            match next {
                None => break,
                Some(Discovery::Found(router)) => {
                    touched.insert(router.id);
                    self.discovered.insert(router.id, router);
                }
                Some(Discovery::Gone(id)) => {
                    touched.insert(id);
                    self.discovered.remove(&id);
                }
                Some(Discovery::Trouble { router, reason }) => self.trouble(router, reason),
                Some(Discovery::Complete) => complete = true,
            }
            next = more.try_recv().ok();
        }
        self.reconcile(&touched);
        if complete {
            // Watched before the restart, and neither configured nor there any more.
            for id in std::mem::take(&mut self.parts.restored).into_keys() {
                self.parts.outbox.forget(id);
            }
        }
    }

    /// Keeps for `status` what the discovery complains about; it has made the event itself.
    fn trouble(&mut self, router: Option<RouterId>, reason: Option<String>) {
        match reason {
            Some(reason) => self.troubles.insert(router, reason),
            None => self.troubles.remove(&router),
        };
        let mut inner = self.parts.shared.lock();
        inner.degraded.retain(|d| d.channel != "inventory");
        let all = self.troubles.values();
        inner.degraded.extend(all.map(|reason| Degraded { channel: "inventory".to_owned(), reason: reason.clone() }));
    }

    /// Makes `routers` those that the configuration gives.
    fn reconfigure(&mut self, routers: Vec<Router>) {
        let mut touched: BTreeSet<RouterId> = self.configured.keys().chain(self.discovered.keys()).copied().collect();
        self.configured = routers.into_iter().map(|router| (router.id, router)).collect();
        touched.extend(self.configured.keys());
        self.reconcile(&touched);
    }

    /// Who is to be watched, and on whose word: the configuration's before the discovery's.
    fn wanted(&self, id: RouterId) -> Option<(&Router, Source)> {
        let configured = self.configured.get(&id).map(|router| (router, Source::Config));
        configured.or_else(|| self.discovered.get(&id).map(|router| (router, Source::HaConfs)))
    }

    /// Makes what is watched of these routers what is wanted.
    fn reconcile(&mut self, touched: &BTreeSet<RouterId>) {
        let gone: Vec<RouterId> = {
            let inner = self.parts.shared.lock();
            let unwanted = |id: &&RouterId| {
                let watched = inner.routers.get(id).map(|watched| &watched.router);
                watched.is_some() && watched != self.wanted(**id).map(|(router, _)| router)
            };
            touched.iter().filter(unwanted).copied().collect()
        };
        for id in gone {
            self.forget(id, self.wanted(id).is_some());
        }
        let found = self.discovered.iter().filter(|(id, _)| !self.configured.contains_key(id));
        self.parts.directory.replace(self.configured.values().chain(found.map(|(_, router)| router)));
        for id in touched {
            if let Some((router, source)) = self.wanted(*id) {
                let router = router.clone();
                self.watch(*id, router, source);
            }
        }
    }

    fn watch(&mut self, id: RouterId, router: Router, source: Source) {
        let watch = Watch {
            router: id,
            netns: router.netns.clone(),
            interface: router.interface.clone(),
            vip: router.vip,
            prefix: router.prefix,
            vip_interface: router.vip_interface.clone(),
        };
        {
            let mut inner = self.parts.shared.lock();
            let policy = policy(self.parts.mode, &self.parts.corroboration, &router);
            let restored = self.parts.restored.remove(&id);
            let confirmed = restored.as_ref().map(|restored| (restored.state, restored.basis));
            inner.node.watch(id, policy, confirmed, clock::now());
            if let Some(watched) = inner.routers.get_mut(&id) {
                watched.source = source;
                return;
            }
            self.parts.events.emit(Event::RouterWatched {
                router_id: id,
                source: source.as_str().to_owned(),
                netns: router.netns.to_string(),
                interface: router.interface.clone(),
                vip: format!("{}/{}", router.vip, router.prefix),
                vrid: router.vrid,
            });
            let watched = Watched {
                router,
                source,
                ifindex: None,
                generation: None,
                degraded: Vec::new(),
                confirmed_at: restored.and_then(|restored| restored.since),
            };
            inner.routers.insert(id, watched);
        }
        if let Err(error) = self.parts.netlink.watch(watch) {
            warn!(router = %id, %error, "addresses not watched");
            self.degraded("vip", error.to_string(), Some(id));
            self.input(id, Input::Channel { channel: Channel::Vip, up: false });
        }
    }

    /// Stops watching; `changed` routers come back with other settings and keep their outbox entry.
    fn forget(&mut self, id: RouterId, changed: bool) {
        self.parts.netlink.unwatch(id);
        self.parts.attachments.post(id, AttachJob::Detach);
        let mut inner = self.parts.shared.lock();
        if changed {
            let confirmed = inner.node.view(id, clock::now()).and_then(|view| view.confirmed);
            let since = inner.routers.get(&id).and_then(|watched| watched.confirmed_at.clone());
            self.parts.restored.extend(confirmed.map(|(state, _, basis)| (id, Restored { state, basis, since })));
        } else {
            self.parts.outbox.forget(id);
        }
        inner.node.forget(id);
        let source = inner.routers.remove(&id).map(|watched| watched.source);
        let reason = match source {
            _ if changed => "its settings changed",
            Some(Source::HaConfs) => "its keepalived.conf is gone",
            Some(Source::Config) | None => "no longer configured",
        };
        self.parts.events.emit(Event::RouterForgotten { router_id: id, reason: reason.to_owned() });
    }

    fn degraded(&self, channel: &str, reason: String, router_id: Option<RouterId>) {
        self.parts.events.emit(Event::ChannelDegraded { channel: channel.to_owned(), reason, router_id });
    }

    fn restored(&self, channel: &str, router_id: Option<RouterId>) {
        self.parts.events.emit(Event::ChannelRestored { channel: channel.to_owned(), router_id });
    }
}

fn missing_interface(router: &Router) -> String {
    format!("interface {} does not exist in {}: it is attached to as soon as it does", router.interface, router.netns)
}

fn target(router: &Router) -> Target {
    Target {
        router: router.id,
        netns: router.netns.clone(),
        interface: router.interface.clone(),
        vrid: router.vrid,
        family: router.vip.into(),
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are all that is meaningful; three decimals keep lines short.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
