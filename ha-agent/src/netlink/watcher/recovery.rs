//! After an overrun, or when a socket is lost: everything is read again.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::slot::{SlotId, Step, Turn, restart};
use super::{PAUSE, Watcher};
use crate::clock;
use crate::netlink::NetlinkEvent;
use crate::netlink::requests::Requests;
use crate::netlink::socket::Listener;

#[derive(Default)]
pub(super) struct Recovery {
    /// When the dump of everything begins; none once it has.
    pub(super) due: Option<Instant>,
    /// A socket has to be opened again first.
    reopen: bool,
    /// Slots whose dump is awaited.
    pending: HashSet<SlotId>,
}

impl Watcher {
    pub(super) fn reopening(&self) -> bool {
        self.recovery.as_ref().is_some_and(|r| r.reopen)
    }

    pub(super) fn lost_socket(&mut self, reason: &str) {
        tracing::error!(reason, "opening the netlink sockets again");
        self.overrun(reason);
        if let Some(recovery) = &mut self.recovery {
            recovery.reopen = true;
        }
    }

    /// Notifications are lost: every table may be wrong and every answer under way may be too.
    pub(super) fn overrun(&mut self, reason: &str) {
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
            slot.vmacs.end(None);
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
    pub(super) fn redump(&mut self) {
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
        let opened = self
            .carrier
            .listen(self.tuning.receive_buffer)
            .and_then(Listener::new)
            .and_then(|listener| Ok((listener, Requests::start(&self.carrier)?)));
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

    pub(super) fn recovered(&mut self, id: SlotId) {
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
}
