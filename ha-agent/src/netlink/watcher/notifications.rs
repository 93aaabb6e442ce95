//! What the kernel tells unasked, and which namespaces' tables it goes to.

use std::ops::RangeInclusive;

use tokio::time::Instant;

use super::slot::{Slot, SlotId, Step, restart};
use super::{PAUSE, Watcher};
use crate::config::Netns;
use crate::core::time::Mono;
use crate::netlink::NetlinkEvent;
use crate::netlink::decode::{self, Message};
use crate::netlink::socket::Received;
use crate::netlink::vmac::{self, Found, Macvlan};

/// Datagrams taken before anything else has its turn.
pub(super) const BATCH: usize = 512;
/// Datagrams taken before a request's answer is used; see [`Watcher::drain`].
const DRAIN: usize = 1 << 16;

/// The slots of a namespace.
fn all_of(nsid: Option<i32>) -> RangeInclusive<(Option<i32>, SlotId)> {
    (nsid, 0)..=(nsid, SlotId::MAX)
}

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
        let bytes = self.listener.bytes(length);
        let messages: Vec<_> = decode::messages(bytes).collect();
        let wanted = |id: &SlotId| self.slots.get(id).is_some_and(|slot| slot.vmacs.is_wanted());
        let links =
            if self.by_nsid.range(all_of(nsid)).any(|(_, id)| wanted(id)) { vmac::links(bytes) } else { Vec::new() };
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
        if !links.is_empty() {
            self.links(nsid, &links);
        }
    }

    /// Links that changed, as an instance's VMAC may be among them.
    fn links(&mut self, nsid: Option<i32>, links: &[(u32, Option<Macvlan>)]) {
        let ids: Vec<SlotId> = self.by_nsid.range(all_of(nsid)).map(|(_, id)| *id).collect();
        for id in ids {
            if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.vmacs.is_wanted()) {
                for (ifindex, macvlan) in links {
                    slot.vmacs.take(*ifindex, *macvlan);
                }
            }
            self.tell_vmacs(id);
        }
    }

    pub(super) fn tell_vmacs(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Slot { table, vmacs, .. } = slot;
        for (router, Found { name, through }) in vmacs.news(|interface| table.index_of(interface)) {
            self.out.push_back(NetlinkEvent::Vmac { router, name: name.to_text(), through });
        }
    }

    fn message(&mut self, nsid: Option<i32>, message: Message, at: Mono) {
        let range = all_of(nsid);
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
                slot.vmacs.end(None);
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
