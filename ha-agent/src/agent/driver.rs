//! The one task that feeds the core: inputs in, outputs to their places.
//!
//! - `channels`: what netlink, the classifier and reporters tell, as inputs.
//! - `life`: which routers are watched. `leaving`: those that no file names any more. `registered`: who stands in for whose monitor.
//! - `acting`: what a transition sets off.
//! - here: the queues, the core's turns, and where its outputs go.
//!
//! It never waits for a consumer: the outbox, the actions and the attacher take the
//! newest word per router, events are queued or counted as lost. So its own inputs are the only
//! queues that can fill, and each of those says what happens then.

mod acting;
mod channels;
mod leaving;
mod life;
mod registered;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::attacher::{AttachJob, Attached};
use super::looker::Looked;
use super::mailbox::Mailbox;
use super::metrics::Metrics;
use super::state::{Inner, Restored, Shared, Source};

use crate::actions::{Change, Orders};
use crate::clock;
use crate::config::{Corroboration, Mode, Netns, Router};
use crate::core::io::{Input, Output, Transition};
use crate::core::model::{AnomalyKind, RouterId, State};
use crate::core::time::Mono;
use crate::intake::Report;
use crate::inventory::{Directory, Discovery, Registration, Registrations};
use crate::netlink::{Netlink, NetlinkEvent};
use crate::outbox::{Confirmed, Outbox};
use crate::telemetry::Events;
use crate::telemetry::event::Event;
use crate::wire::{Wire, WireEvent, WireReading};
use leaving::Leaving;

/// Discoveries that tell: Neutron's files, a plain keepalived's.
const SOURCES: usize = 2;
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
    /// From the looker.
    pub(super) looked: mpsc::Receiver<Looked>,
    /// From the discovery.
    pub(super) discoveries: mpsc::Receiver<Discovery>,
    /// From the status API, the newest word per router.
    pub(super) registrations: Arc<Registrations>,
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
    /// Routers whose attachments are to be looked at.
    pub(super) doubts: Mailbox<()>,
    /// To the looker.
    pub(super) places: Mailbox<Netns>,
    /// Takes confirmed states.
    pub(super) outbox: Outbox,
    /// Takes what transitions set off.
    pub(super) actions: Orders,
    /// Where Neutron keeps its routers' folders.
    pub(super) ha_confs: PathBuf,
    /// Takes events.
    pub(super) events: Events,
    /// Counts.
    pub(super) metrics: Metrics,
    /// Whether verdicts decide.
    pub(super) mode: Mode,
    /// Whether there are notify FIFOs.
    pub(super) fifos: bool,
    /// Whether an L3 agent is told, which knows Neutron's routers only.
    pub(super) l3_agent: bool,
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
    /// Transitions of this turn.
    act: Vec<(RouterId, Change)>,
    /// Number of the last attachment that was asked for.
    generation: u64,
    /// Routers that the configuration gives.
    configured: BTreeMap<RouterId, Router>,
    /// Routers that were found; one that is configured too is watched as configured.
    discovered: BTreeMap<RouterId, Router>,
    /// Who stands in for a router's monitor, watched or not.
    registered: BTreeMap<RouterId, Arc<Registration>>,
    /// Registered routers as they were found last, whose files are gone.
    remembered: BTreeMap<RouterId, Router>,
    /// Found routers that no file names any more.
    leaving: Leaving,
    /// Routers that there is no room for.
    left_out: BTreeSet<RouterId>,
    /// Why some are not found, by router and by file; none: it concerns several, or all.
    troubles: BTreeMap<(Option<RouterId>, Option<PathBuf>), String>,
    /// Sources that have not told yet what was there at the start.
    incomplete: usize,
}

impl Driver {
    /// A driver that has not run yet.
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            deliver: Vec::new(),
            act: Vec::new(),
            configured: BTreeMap::new(),
            discovered: BTreeMap::new(),
            registered: BTreeMap::new(),
            remembered: BTreeMap::new(),
            leaving: Leaving::default(),
            left_out: BTreeSet::new(),
            troubles: BTreeMap::new(),
            incomplete: SOURCES,
            generation: 0,
        }
    }

    /// Runs until `stop`; what was decided by then has been handed to the outbox.
    pub(super) async fn run(mut self, routers: Vec<Router>, mut inbox: Inbox, stop: CancellationToken) {
        self.reconfigure(routers);
        loop {
            let deadline = self.parts.shared.lock().node.deadline();
            let deadline = deadline.into_iter().chain(self.leaving.due()).min();
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
                Some(Looked { router, listener }) = inbox.looked.recv() => {
                    self.leaving.heard(router, listener, clock::now());
                    self.input(router, Input::Listener(listener));
                }
                Some(command) = inbox.commands.recv() => self.command(command),
                changed = inbox.registrations.changed() => self.registrations(changed),
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
            self.let_go();
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
        // After delivery, which waits for nothing here.
        self.act();
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
            Ok(WireReading { speakers, rejected_at, lists_vip, as_of }) => {
                Some(Input::WireRead { speakers, rejected_at, lists_vip, as_of })
            }
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
                let Transition { state, previous, basis, .. } = transition;
                let changed = previous != Some(state);
                if let Some(watched) = inner.routers.get_mut(&router_id) {
                    if changed || watched.confirmed_at_us.is_none() {
                        watched.confirmed_at_us = Some(clock::wall_micros());
                    }
                    watched.decided = true;
                }
                if !self.passes_vips_on(inner, router_id) {
                    self.act.push((router_id, Change { state, previous, basis, sequence: 0 }));
                }
                if !changed {
                    // What was confirmed before a restart goes on.
                    return;
                }
                self.parts.events.emit(Event::TransitionConfirmed {
                    router_id,
                    state: transition.state,
                    previous: transition.previous,
                    basis: transition.basis,
                    latency_ms: milliseconds(transition.latency),
                    evidence: transition.evidence,
                });
            }
            Output::Rejected { claim, reporter, reason, passed_on, evidence } => {
                metrics.rejected(reason.as_str());
                events.emit(Event::TransitionRejected { router_id, claim, reporter, reason, passed_on, evidence });
            }
            Output::Diverged(difference) => self.diverged(inner, router_id, difference),
            Output::Superseded { state, by, held } => {
                metrics.superseded();
                events.emit(Event::TransitionSuperseded { router_id, state, by, held_ms: milliseconds(held) });
            }
            Output::AnomalyRaised { kind, detail, evidence } => {
                metrics.raised(kind.as_str());
                if matches!(kind, AnomalyKind::SilentPrimary | AnomalyKind::NoPrimary | AnomalyKind::OrphanVip) {
                    // A silence may be our own deafness.
                    self.parts.doubts.post(router_id, ());
                }
                events.emit(Event::AnomalyRaised { router_id, kind, detail, evidence });
            }
            Output::AnomalyCleared { kind, lasted } => {
                events.emit(Event::AnomalyCleared { router_id, kind, lasted_ms: milliseconds(lasted) });
            }
            Output::Deliver { state, previous, basis } => {
                let plain = inner.routers.get(&router_id).is_some_and(|router| router.source == Source::Keepalived);
                if plain && self.parts.l3_agent {
                    return;
                }
                if self.passes_vips_on(inner, router_id) && !basis.report {
                    self.act.push((router_id, Change { state, previous, basis, sequence: 0 }));
                }
                // What is asserted again was confirmed when it was; a report that is passed on is one of now.
                let since = inner.routers.get(&router_id).and_then(|router| router.confirmed_at_us);
                let holds = self.parts.mode == Mode::Enforce || previous == Some(state);
                let confirmed_at_us = since.filter(|_| holds).unwrap_or_else(clock::wall_micros);
                self.deliver.push(Confirmed { router: router_id, state, previous, basis, confirmed_at_us });
            }
            Output::LookForListener => {
                if let Some(watched) = inner.routers.get(&router_id) {
                    self.parts.places.post(router_id, watched.router.netns.clone());
                }
            }
            Output::ReadWire => {}
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

    fn degraded(&self, channel: &str, reason: String, router_id: Option<RouterId>) {
        self.parts.events.emit(Event::ChannelDegraded { channel: channel.to_owned(), reason, router_id });
    }

    fn restored(&self, channel: &str, router_id: Option<RouterId>) {
        self.parts.events.emit(Event::ChannelRestored { channel: channel.to_owned(), router_id });
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are all that is meaningful; three decimals keep lines short.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
