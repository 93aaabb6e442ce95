//! What the kernel tells unasked, and which namespaces' tables it goes to.

use tokio::time::Instant;

use super::slot::{SlotId, Step, restart};
use super::{PAUSE, Watcher};
use crate::config::Netns;
use crate::core::time::Mono;
use crate::netlink::decode::{self, Message};
use crate::netlink::socket::Received;

/// Datagrams taken before anything else has its turn.
pub(super) const BATCH: usize = 512;
/// Datagrams taken before a request's answer is used; see [`Watcher::drain`].
const DRAIN: usize = 1 << 16;

impl Watcher {
    /// Takes what is queued, at most `limit` datagrams. With `now` also what the reactor has not
    /// noticed yet.
    /// True when nothing is left.
    pub(super) fn receive(&mut self, limit: usize, now: bool) -> bool {
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
    pub(super) fn drain(&mut self) -> bool {
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
}
