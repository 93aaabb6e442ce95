//! The task: joins the sockets, the names and the tables. Everything it waits for ends in one loop.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::decode::{self, IfName, Message};
use super::namespace::{Change, Dump, Interest, Namespace};
use super::requests::{RequestError, Requests};
use super::resolve::{self, Bound, ResolveError};
use super::socket::{Listener, Received};
use super::{Metrics, NetlinkError, NetlinkEvent, Order, Orders, Tuning, Watch};
use crate::clock;
use crate::config::Netns;
use crate::core::model::RouterId;
use crate::core::time::Mono;
use crate::netns::names::{NameChange, Names};

/// Requests at once: enough to keep the kernel busy, few enough to bound what their answers hold.
const JOBS: usize = 8;
/// Datagrams taken before anything else has its turn.
const BATCH: usize = 512;
/// Datagrams taken before a request's answer is used; see [`Watcher::drain`].
const DRAIN: usize = 1 << 16;
/// Between two dumps of everything, and between a first sign and a look at the own nsid.
const PAUSE: Duration = Duration::from_millis(100);

type SlotId = u64;

/// A namespace that at least one router is watched in.
struct Slot {
    netns: Arc<Netns>,
    table: Namespace,
    /// None: waited for, or being looked for.
    bound: Option<Bound>,
    step: Step,
    /// A job with another epoch is of no more interest.
    epoch: u32,
    /// Failures in a row.
    attempts: u8,
    turn: Turn,
    /// The dump must be made again although every watch is covered.
    stale: bool,
}

/// What is to be done next about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Look at the file.
    Resolve,
    /// Dump, where needed.
    Dump,
}

/// Where a slot stands in the queue of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing is under way.
    Idle,
    /// Will be taken from the queue.
    Queued,
    /// Its job runs.
    Running,
    /// Will be queued at a time of its own.
    Waiting,
}

enum Done {
    Resolved(SlotId, u32, Result<Bound, ResolveError>),
    Dumped(SlotId, u32, Result<Dump, RequestError>),
    Own(Result<Option<i32>, ResolveError>),
}

pub(super) struct Watcher {
    events: mpsc::Sender<NetlinkEvent>,
    metrics: Metrics,
    orders: Arc<Orders>,
    tuning: Tuning,
    listener: Listener,
    requests: Requests,
    connection: JoinHandle<()>,
    names: Names,
    slots: HashMap<SlotId, Slot>,
    by_netns: HashMap<Arc<Netns>, SlotId>,
    by_router: HashMap<RouterId, SlotId>,
    /// Several paths may name one namespace. None: the agent's own.
    by_nsid: BTreeSet<(Option<i32>, SlotId)>,
    next_slot: SlotId,
    own_nsid: Option<i32>,
    /// When to look whether the own namespace was given an nsid in itself.
    own_due: Option<Instant>,
    queue: VecDeque<SlotId>,
    retries: BTreeSet<(Instant, SlotId)>,
    jobs: JoinSet<Done>,
    /// Some while degraded.
    recovery: Option<Recovery>,
    last_redump: Option<Instant>,
    changes: Vec<Change>,
    out: VecDeque<NetlinkEvent>,
}

#[derive(Default)]
struct Recovery {
    /// When the dump of everything begins; none once it has.
    due: Option<Instant>,
    /// A socket has to be opened again first.
    reopen: bool,
    /// Slots whose dump is awaited.
    pending: HashSet<SlotId>,
}

impl Watcher {
    pub(super) fn new(
        events: mpsc::Sender<NetlinkEvent>,
        metrics: Metrics,
        orders: Arc<Orders>,
        tuning: Tuning,
    ) -> Result<Self, NetlinkError> {
        let open = |what| move |source| NetlinkError::Open { what, source };
        let listener = Listener::open(tuning.receive_buffer).map_err(open("netlink socket"))?;
        let names = Names::new().map_err(open("inotify instance"))?;
        let (requests, connection) = Requests::start().map_err(open("netlink request socket"))?;
        Ok(Self {
            events,
            metrics,
            orders,
            tuning,
            listener,
            requests,
            connection,
            names,
            slots: HashMap::new(),
            by_netns: HashMap::new(),
            by_router: HashMap::new(),
            by_nsid: BTreeSet::new(),
            next_slot: 0,
            own_nsid: None,
            own_due: None,
            queue: VecDeque::new(),
            retries: BTreeSet::new(),
            jobs: JoinSet::new(),
            recovery: None,
            last_redump: None,
            changes: Vec::new(),
            out: VecDeque::new(),
        })
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let orders = Arc::clone(&self.orders);
        loop {
            self.start_jobs();
            if !self.flush(&stop).await {
                break;
            }
            let timer = self.next_timer();
            tokio::select! {
                () = stop.cancelled() => break,
                () = orders.given.notified() => self.take_orders(),
                ready = self.listener.readable(), if !self.reopening() => match ready {
                    Ok(()) => {
                        self.receive(BATCH, false);
                    }
                    Err(e) => self.lost_socket(&format!("the netlink socket is lost: {e}")),
                },
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    // A job that panicked is a defect, and its slot would wait for ever.
                    match done {
                        Ok(done) => self.done(done),
                        Err(e) => std::panic::resume_unwind(e.into_panic()),
                    }
                }
                changes = self.names.next() => match changes {
                    Ok(changes) => for (slot, change) in changes {
                        self.name_changed(slot, change);
                    },
                    Err(e) => self.reopen_names(&e),
                },
                _ = &mut self.connection, if !self.reopening() => {
                    self.lost_socket("the netlink request socket is lost");
                }
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)),
                    if timer.is_some() => self.timers(),
            }
        }
        self.connection.abort();
        self.jobs.shutdown().await;
    }

    /// Hands out what there is to tell. False when nobody wants it any more.
    async fn flush(&mut self, stop: &CancellationToken) -> bool {
        while let Some(event) = self.out.pop_front() {
            tokio::select! {
                () = stop.cancelled() => return false,
                sent = self.events.send(event) => if sent.is_err() {
                    return false;
                },
            }
        }
        true
    }

    // ---- orders ----

    fn take_orders(&mut self) {
        for (router, order) in self.orders.take() {
            match order {
                Order::Unwatch => self.unwatch(router),
                Order::Watch { watch, anew } => {
                    if anew {
                        self.unwatch(router);
                    }
                    self.watch(watch);
                }
            }
        }
    }

    fn watch(&mut self, watch: Watch) {
        let (Some(interface), Some(vip_interface)) = (IfName::new(&watch.interface), IfName::new(&watch.vip_interface))
        else {
            return;
        };
        let interest = Interest { router: watch.router, interface, vip: watch.vip, vip_interface };
        let known = self.by_netns.get(&watch.netns).copied();
        let before = self.by_router.get(&watch.router).copied();
        if before.is_some() && before != known {
            self.unwatch(watch.router);
        }
        let id = known.unwrap_or_else(|| self.add_slot(watch.netns));
        self.by_router.insert(watch.router, id);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.table.watch(interest);
        if slot.bound.is_none() && matches!(slot.turn, Turn::Idle | Turn::Waiting) {
            // Known to be missing: the file's appearance is what is waited for.
            self.missing(id);
        } else {
            self.enqueue(id);
        }
    }

    fn add_slot(&mut self, netns: Netns) -> SlotId {
        let id = self.next_slot;
        self.next_slot += 1;
        let netns = Arc::new(netns);
        match &*netns {
            // Before the first look at the file, so that no change is missed.
            Netns::Path(path) => {
                if let Err(e) = self.names.add(path, id) {
                    tracing::warn!(path = %path.display(), error = %e,
                        "cannot watch the folder of a network namespace; it is not noticed when it \
                         is deleted or made again");
                }
            }
            Netns::Own => self.own_due = Some(Instant::now()),
        }
        self.by_netns.insert(Arc::clone(&netns), id);
        let slot = Slot {
            netns,
            table: Namespace::default(),
            bound: None,
            step: Step::Resolve,
            epoch: 0,
            attempts: 0,
            turn: Turn::Queued,
            stale: false,
        };
        self.slots.insert(id, slot);
        self.queue.push_back(id);
        self.gauges();
        id
    }

    fn unwatch(&mut self, router: RouterId) {
        let Some(id) = self.by_router.remove(&router) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.table.unwatch(router);
        if !slot.table.is_empty() {
            return;
        }
        self.unbind(id);
        if let Some(slot) = self.slots.remove(&id) {
            self.by_netns.remove(&slot.netns);
            if let Netns::Path(path) = &*slot.netns {
                self.names.remove(path);
            }
        }
        self.recovered(id);
        self.gauges();
    }

    // ---- notifications ----

    /// Takes what is queued, at most `limit` datagrams. With `now` also what the reactor has not
    /// noticed yet.
    /// True when nothing is left.
    fn receive(&mut self, limit: usize, now: bool) -> bool {
        for _ in 0..limit {
            let received = if now { self.listener.receive_now() } else { self.listener.receive() };
            match received {
                Ok(Received::Empty) => return true,
                Ok(Received::Overrun) => {
                    self.metrics.overruns.inc();
                    self.overrun("netlink overrun: the kernel had to drop notifications");
                }
                Ok(Received::Datagram { length, nsid, at }) => {
                    self.metrics.notifications.inc();
                    self.datagram(length, nsid, at);
                }
                Err(e) => {
                    self.lost_socket(&format!("the netlink socket is lost: {e}"));
                    return false;
                }
            }
        }
        false
    }

    /// Takes every notification that was sent before an answer which is about to be used: an nsid
    /// may have died and been given anew before it, and a dump is newer than they.
    /// False when the socket still was not empty.
    fn drain(&mut self) -> bool {
        self.receive(DRAIN, true)
    }

    fn datagram(&mut self, length: usize, nsid: Option<i32>, at: Mono) {
        let nsid = nsid.filter(|_| nsid != self.own_nsid);
        // Copied out of the buffer, which the tables' answer may not borrow.
        let messages: Vec<_> = decode::messages(self.listener.bytes(length)).collect();
        for message in messages {
            match message {
                Ok(Message::NamespaceGone { nsid: dead }) if nsid.is_none() => self.died(dead),
                // Perhaps the own one: which namespace it was is not told.
                Ok(Message::NamespaceNamed { .. }) if nsid.is_none() => {
                    if self.by_netns.contains_key(&Netns::Own) {
                        self.own_due.get_or_insert(Instant::now() + PAUSE);
                    }
                }
                // Ids in the eyes of another namespace.
                Ok(Message::NamespaceGone { .. } | Message::NamespaceNamed { .. }) => {}
                Ok(message) => self.message(nsid, message, at),
                Err(e) => {
                    self.metrics.undecodable.inc();
                    tracing::debug!(error = %e, "a netlink message could not be decoded");
                }
            }
        }
    }

    fn message(&mut self, nsid: Option<i32>, message: Message, at: Mono) {
        let range = (nsid, 0)..=(nsid, SlotId::MAX);
        let mut overflown = Vec::new();
        for (_, id) in self.by_nsid.range(range) {
            if let Some(slot) = self.slots.get_mut(id)
                && !slot.table.message(message, &mut self.changes)
            {
                overflown.push(*id);
            }
        }
        self.told(at);
        for id in overflown {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.table.abort_dump(&mut self.changes);
                slot.stale = true;
                restart(slot, Step::Dump);
            }
            self.told(at);
            self.enqueue(id);
        }
    }

    fn died(&mut self, nsid: i32) {
        let range = (Some(nsid), 0)..=(Some(nsid), SlotId::MAX);
        let ids: Vec<SlotId> = self.by_nsid.range(range).map(|(_, id)| *id).collect();
        for id in ids {
            self.lose(id);
            // Its name may be another one's by now.
            self.look(id);
        }
    }

    // ---- names ----

    fn name_changed(&mut self, id: SlotId, change: NameChange) {
        match change {
            NameChange::Vanished => self.lose(id),
            NameChange::Appeared | NameChange::Unsure => self.look(id),
        }
    }

    /// Nothing is known of the namespace any more; its file is waited for.
    fn lose(&mut self, id: SlotId) {
        self.unbind(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            restart(slot, Step::Resolve);
            slot.attempts = 0;
        }
        self.missing(id);
        self.recovered(id);
        self.gauges();
    }

    fn missing(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.table.missing(&mut self.changes);
            self.told(clock::now());
        }
    }

    fn unbind(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && let Some(bound) = slot.bound.take()
        {
            self.by_nsid.remove(&(bound.nsid, id));
        }
    }

    /// Looks at the slot's file again.
    fn look(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.table.abort_dump(&mut self.changes);
            slot.attempts = 0;
            restart(slot, Step::Resolve);
            slot.turn = Turn::Queued;
            self.queue.push_back(id);
            self.told(clock::now());
        }
    }

    fn reopen_names(&mut self, error: &io::Error) {
        tracing::warn!(error = %error, "inotify is lost; opening it again");
        match Names::new() {
            Ok(names) => self.names = names,
            Err(e) => {
                self.lost_socket(&format!("cannot watch namespace files: {e}"));
                return;
            }
        }
        let ids: Vec<SlotId> = self.slots.keys().copied().collect();
        for id in ids {
            if let Some(Netns::Path(path)) = self.slots.get(&id).map(|s| &*s.netns) {
                let _ = self.names.add(path, id);
            }
            self.look(id);
        }
    }

    // ---- jobs ----

    /// Queues what a slot needs, unless it is under way.
    fn enqueue(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.turn == Turn::Idle
            && (slot.step == Step::Resolve || slot.stale || slot.table.needs_dump())
        {
            slot.turn = Turn::Queued;
            self.queue.push_back(id);
        }
    }

    fn start_jobs(&mut self) {
        // Between an overrun and the dump of everything an answer could already be wrong.
        if self.recovery.as_ref().is_some_and(|r| r.due.is_some()) {
            return;
        }
        while self.jobs.len() < JOBS
            && let Some(id) = self.queue.pop_front()
        {
            let queued = |slot: &&mut Slot| slot.turn == Turn::Queued;
            let Some(slot) = self.slots.get_mut(&id).filter(queued) else {
                continue;
            };
            slot.turn = Turn::Running;
            let (requests, epoch) = (self.requests.clone(), slot.epoch);
            match (slot.step, slot.bound) {
                (Step::Dump, Some(bound)) => {
                    self.metrics.dumps.inc();
                    slot.stale = false;
                    let want = slot.table.begin_dump();
                    self.jobs.spawn(async move { Done::Dumped(id, epoch, requests.dump(bound.nsid, &want).await) });
                }
                _ => {
                    let netns = Arc::clone(&slot.netns);
                    self.jobs
                        .spawn(async move { Done::Resolved(id, epoch, resolve::resolve(&requests, &netns).await) });
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        self.drain();
        match done {
            Done::Resolved(id, epoch, result) => {
                if self.is_current(id, epoch) {
                    self.resolved(id, result);
                }
            }
            Done::Dumped(id, epoch, result) => {
                if self.is_current(id, epoch) {
                    self.dumped(id, result);
                }
            }
            Done::Own(Ok(nsid)) => self.own(nsid),
            Done::Own(Err(e)) => {
                tracing::debug!(error = %e, "cannot read the nsid of the agent's own namespace");
                self.own_due = Some(Instant::now() + Duration::from_secs(1));
            }
        }
    }

    fn is_current(&self, id: SlotId, epoch: u32) -> bool {
        self.slots.get(&id).is_some_and(|slot| slot.epoch == epoch)
    }

    fn resolved(&mut self, id: SlotId, result: Result<Bound, ResolveError>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.turn = Turn::Idle;
        match result {
            Ok(bound) => {
                slot.attempts = 0;
                if slot.bound != Some(bound) {
                    if slot.bound.is_some() {
                        // Another namespace under the same name.
                        self.unbind(id);
                        self.missing(id);
                    }
                    self.by_nsid.insert((bound.nsid, id));
                }
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.bound = Some(bound);
                    slot.step = Step::Dump;
                }
                self.gauges();
                self.enqueue(id);
            }
            Err(ResolveError::Absent) => self.lose(id),
            Err(e) => {
                let attempts = slot.attempts;
                // Only a look that succeeded says something about a namespace that is known.
                let known = slot.bound.is_some() && !matches!(e, ResolveError::NotYet);
                if attempts == 0 && !known {
                    self.lose(id);
                }
                if matches!(e, ResolveError::NotYet) {
                    tracing::debug!(slot = id, attempts, error = %e, "not a network namespace yet");
                } else {
                    self.failed(id, &e);
                }
                self.again(id, attempts);
            }
        }
    }

    fn dumped(&mut self, id: SlotId, result: Result<Dump, RequestError>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.turn = Turn::Idle;
        match result {
            Ok(dump) => {
                slot.attempts = 0;
                slot.table.end_dump(dump, &mut self.changes);
                self.told(clock::now());
                self.recovered(id);
                self.enqueue(id);
            }
            Err(e) => {
                // The namespace may have died meanwhile: look at its file first.
                let attempts = slot.attempts;
                slot.step = Step::Resolve;
                slot.stale = true;
                slot.table.abort_dump(&mut self.changes);
                self.told(clock::now());
                if !matches!(e, RequestError::Interrupted) {
                    self.failed(id, &e);
                }
                self.again(id, attempts);
            }
        }
    }

    fn failed(&self, id: SlotId, error: &dyn std::error::Error) {
        self.metrics.failures.inc();
        if let Some(slot) = self.slots.get(&id)
            && (slot.attempts == 0 || slot.attempts == 10)
        {
            tracing::warn!(netns = %slot.netns, %error,
                "cannot read a network namespace; it is tried again");
        }
    }

    /// Tries again after 1 ms, 2 ms, … up to a second.
    fn again(&mut self, id: SlotId, attempts: u8) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.attempts = attempts.saturating_add(1);
            slot.turn = Turn::Waiting;
            let pause = Duration::from_millis(1 << attempts.min(10));
            self.retries.insert((Instant::now() + pause, id));
        }
    }

    fn own(&mut self, nsid: Option<i32>) {
        if self.own_nsid == nsid {
            return;
        }
        self.own_nsid = nsid;
        // Notifications that came under the other id were not recognised.
        if let Some(id) = self.by_netns.get(&Netns::Own).copied() {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.stale = true;
            }
            self.enqueue(id);
        }
    }

    // ---- overrun ----

    fn reopening(&self) -> bool {
        self.recovery.as_ref().is_some_and(|r| r.reopen)
    }

    fn lost_socket(&mut self, reason: &str) {
        tracing::error!(reason, "opening the netlink sockets again");
        self.overrun(reason);
        if let Some(recovery) = &mut self.recovery {
            recovery.reopen = true;
        }
    }

    /// Notifications are lost: every table may be wrong and every answer under way may be too.
    fn overrun(&mut self, reason: &str) {
        if self.recovery.is_none() {
            tracing::warn!(reason, "every network namespace is read again");
            self.out.push_back(NetlinkEvent::Degraded { reason: reason.to_owned() });
        }
        let now = Instant::now();
        let due = self.last_redump.map_or(now, |last| now.max(last + PAUSE));
        let recovery = self.recovery.get_or_insert_default();
        if recovery.due.is_some() {
            return;
        }
        recovery.due = Some(due);
        recovery.pending = self.slots.keys().copied().collect();
        for slot in self.slots.values_mut() {
            slot.table.abort_dump(&mut self.changes);
            restart(slot, Step::Resolve);
            slot.stale = true;
            // `redump` puts all of them into the queue.
            slot.turn = Turn::Queued;
        }
        self.queue.clear();
        self.retries.clear();
        self.told(clock::now());
    }

    /// Begins the dump of everything. The socket accepts notifications again only once it has been
    /// read empty, so that comes first: a dump before it could miss what is dropped after it.
    fn redump(&mut self) {
        if self.reopening() && !self.reopen() {
            if let Some(recovery) = &mut self.recovery {
                recovery.due = Some(Instant::now() + Duration::from_secs(1));
            }
            return;
        }
        let empty = self.drain();
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        if recovery.reopen || !empty {
            recovery.due = Some(Instant::now() + PAUSE);
            return;
        }
        recovery.due = None;
        recovery.pending = self.slots.keys().copied().collect();
        self.last_redump = Some(Instant::now());
        self.own_due.get_or_insert(Instant::now());
        for (id, slot) in &mut self.slots {
            // Also those that were added since.
            restart(slot, Step::Resolve);
            slot.attempts = 0;
            slot.stale = true;
            slot.turn = Turn::Queued;
            self.queue.push_back(*id);
        }
        self.check_recovered();
    }

    fn reopen(&mut self) -> bool {
        let opened = Listener::open(self.tuning.receive_buffer).and_then(|listener| Ok((listener, Requests::start()?)));
        match opened {
            Ok((listener, (requests, connection))) => {
                self.connection.abort();
                (self.listener, self.requests) = (listener, requests);
                self.connection = connection;
                if let Some(recovery) = &mut self.recovery {
                    recovery.reopen = false;
                }
                true
            }
            Err(e) => {
                tracing::error!(error = %e, "cannot open the netlink sockets; trying again");
                false
            }
        }
    }

    fn recovered(&mut self, id: SlotId) {
        if let Some(recovery) = &mut self.recovery {
            recovery.pending.remove(&id);
            self.check_recovered();
        }
    }

    fn check_recovered(&mut self) {
        if let Some(recovery) = &self.recovery
            && recovery.due.is_none()
            && recovery.pending.is_empty()
        {
            self.recovery = None;
            self.out.push_back(NetlinkEvent::Restored);
        }
    }

    // ---- time ----

    fn next_timer(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| *at);
        let redump = self.recovery.as_ref().and_then(|r| r.due);
        [retry, redump, self.own_due].into_iter().flatten().min()
    }

    fn timers(&mut self) {
        let now = Instant::now();
        while let Some((at, id)) = self.retries.first().copied()
            && at <= now
        {
            self.retries.pop_first();
            // One that was restarted meanwhile is queued already, or waits for its file.
            if let Some(slot) = self.slots.get_mut(&id)
                && slot.turn == Turn::Waiting
            {
                slot.turn = Turn::Queued;
                self.queue.push_back(id);
            }
        }
        if self.recovery.as_ref().and_then(|r| r.due).is_some_and(|at| at <= now) {
            self.redump();
        }
        if self.own_due.is_some_and(|at| at <= now) {
            self.own_due = None;
            let requests = self.requests.clone();
            self.jobs.spawn(async move { Done::Own(resolve::own_nsid(&requests).await) });
        }
    }

    // ---- telling ----

    fn told(&mut self, at: Mono) {
        for change in self.changes.drain(..) {
            self.out.push_back(match change {
                Change::Missing(router) => NetlinkEvent::NetnsMissing { router },
                Change::Found(router) => NetlinkEvent::NetnsFound { router },
                Change::Vip(router, vip) => NetlinkEvent::Vip { router, vip, at },
                Change::Link(router, link, ifindex) => NetlinkEvent::Link { router, link, ifindex, at },
            });
        }
    }

    fn gauges(&self) {
        let bound = i64::try_from(self.by_nsid.len()).unwrap_or(i64::MAX);
        let all = i64::try_from(self.slots.len()).unwrap_or(i64::MAX);
        self.metrics.namespaces.set(bound);
        self.metrics.missing.set(all - bound);
    }
}

/// What is under way for the slot is of no more interest.
fn restart(slot: &mut Slot, step: Step) {
    slot.epoch = slot.epoch.wrapping_add(1);
    slot.step = step;
    slot.turn = Turn::Idle;
}
