//! The task: joins the sockets, the names and the tables. Everything it waits for ends in one loop.

mod jobs;
mod names;
mod orders;
mod recovery;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::decode::{self, Message};
use super::namespace::{Change, Dump, Namespace};
use super::requests::{RequestError, Requests};
use super::resolve::{self, Bound, ResolveError};
use super::socket::{Listener, Received};
use super::{Metrics, NetlinkError, NetlinkEvent, Orders, Tuning};
use crate::config::Netns;
use crate::core::model::RouterId;
use crate::core::time::Mono;
use crate::netns::names::Names;

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

#[cfg(test)]
mod tests;
