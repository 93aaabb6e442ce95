//! The task: joins the sockets, the names and the tables. Everything it waits for ends in one loop.
//!
//! Here: the loop, and its timers. `orders`: what is wanted. `names`: what becomes of a namespace with its file.
//! `jobs`: requests about it. `notifications`: what the kernel tells. `recovery`: when it could not.
//! `slot`: where one namespace stands.

mod jobs;
mod names;
mod notifications;
mod orders;
mod recovery;
mod slot;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::carrier::Carrier;
use super::namespace::Change;
use super::requests::Requests;
use super::resolve;
use super::socket::Listener;
use super::{Metrics, Missing, NetlinkError, NetlinkEvent, Orders, Tuning};
use crate::config::Netns;
use crate::core::model::RouterId;
use crate::core::time::Mono;
use crate::netns::names::Names;
use jobs::Done;
use notifications::BATCH;
use recovery::Recovery;
use slot::{Slot, SlotId, Turn};

/// Between two dumps of everything, and between a first sign and a look at the own nsid.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Watcher {
    events: mpsc::Sender<NetlinkEvent>,
    metrics: Metrics,
    orders: Arc<Orders>,
    tuning: Tuning,
    carrier: Carrier,
    thread: JoinHandle<()>,
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
    /// Whose further addresses have changed since they were told.
    further: BTreeMap<RouterId, Mono>,
    out: VecDeque<NetlinkEvent>,
}

impl Watcher {
    pub(super) fn new(
        events: mpsc::Sender<NetlinkEvent>,
        metrics: Metrics,
        orders: Arc<Orders>,
        tuning: Tuning,
    ) -> Result<Self, NetlinkError> {
        let open = |what| move |source| NetlinkError::Open { what, source };
        let (carrier, thread) = Carrier::start().map_err(open("netlink thread"))?;
        let listener = carrier.listen(tuning.receive_buffer).and_then(Listener::new).map_err(open("netlink socket"))?;
        let names = Names::new().map_err(open("inotify instance"))?;
        let (requests, connection) = Requests::start(&carrier).map_err(open("netlink request socket"))?;
        Ok(Self {
            events,
            metrics,
            orders,
            tuning,
            carrier,
            thread,
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
            further: BTreeMap::new(),
            out: VecDeque::new(),
        })
    }

    /// Runs until `stop`; gives the carrier's thread, which then ends by itself.
    pub(super) async fn run(mut self, stop: CancellationToken) -> JoinHandle<()> {
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
        self.thread
    }

    /// Hands out what there is to tell. False when nobody wants it any more.
    async fn flush(&mut self, stop: &CancellationToken) -> bool {
        self.tell_further();
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

    /// A thousand addresses that a keepalived sets one after the other are some tens of events.
    fn tell_further(&mut self) {
        for (router, at) in std::mem::take(&mut self.further) {
            let slot = self.by_router.get(&router).and_then(|id| self.slots.get_mut(id));
            if let Some(further) = slot.and_then(|slot| slot.table.further(router)) {
                self.out.push_back(NetlinkEvent::Further { router, further, at });
            }
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
        for change in std::mem::take(&mut self.changes) {
            self.out.push_back(match change {
                Change::Missing(router) => NetlinkEvent::NetnsMissing { router, why: self.why_missing(router) },
                Change::Found(router) => NetlinkEvent::NetnsFound { router },
                Change::Vip(router, vip) => NetlinkEvent::Vip { router, vip, at },
                Change::Further(router) => {
                    self.further.insert(router, at);
                    continue;
                }
                Change::Link(router, link, ifindex) => NetlinkEvent::Link { router, link, ifindex, at },
            });
        }
    }

    fn why_missing(&self, router: RouterId) -> Missing {
        let slot = self.by_router.get(&router).and_then(|id| self.slots.get(id));
        slot.map(|slot| slot.missing.clone()).unwrap_or_default()
    }

    fn gauges(&self) {
        let bound = i64::try_from(self.by_nsid.len()).unwrap_or(i64::MAX);
        let all = i64::try_from(self.slots.len()).unwrap_or(i64::MAX);
        self.metrics.namespaces.set(bound);
        self.metrics.missing.set(all - bound);
    }
}

#[cfg(test)]
mod tests;
