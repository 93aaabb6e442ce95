//! Puts packets together out of pieces, and knows when it may have missed one.
//!
//! Bounds: [`PER_DEVICE`] packets and [`DEVICE_BYTES`] for each device, [`PACKETS`] and [`BYTES`] in all, each for
//! at most 75 s; the oldest go. How many pieces come, the classifier bounds (32 a second for each device).
//!
//! Where the kernel may have another fragment than those that came here, what it makes of them is not known, and
//! the packet is not judged: after a loss, and around the time when the kernel gives up waiting.

use std::collections::HashMap;

use ha_agent_common::device::is_virtual_router;
use ha_agent_common::frame::{HOST_DEVICE, HOST_OTHER, Link};
use ha_agent_common::{FAMILY_V4, FAMILY_V6, PieceHead};

use super::queue::{Part, Queue, Step};
use super::{ipv4, ipv6};

/// Incomplete packets of one device.
pub(super) const PER_DEVICE: usize = 16;
/// Bytes of one device's incomplete packets.
pub(super) const DEVICE_BYTES: usize = 128 << 10;
/// Incomplete packets in all.
pub(super) const PACKETS: usize = 256;
/// Bytes of incomplete packets in all.
pub(super) const BYTES: usize = 2 << 20;
/// Devices whose losses are remembered before the old ones are forgotten.
const LOSSES: usize = 1024;

const SECOND: u64 = 1_000_000_000;
/// `net.ipv4.ipfrag_time` and `net.ipv6.ip6frag_time`, by default.
const TIMEOUT_V4: u64 = 30 * SECOND;
const TIMEOUT_V6: u64 = 60 * SECOND;
/// `net.ipv4.ipfrag_max_dist`: fragments of the same source that may come between two of one packet.
const MOST_BETWEEN: u32 = 64;

/// Where a piece was seen.
type Device = (u64, u32);

/// A packet as a raw socket would get it, or as one would if it were not dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Without extension headers, from its IP header on.
    pub(super) bytes: Vec<u8>,
    /// Why the kernel drops it, a `Reason`; 0: as far as the rest of it goes, it does not.
    pub(super) fault: u8,
    /// What the link says of it; of fragments, of the first one.
    pub(super) link: Link,
    /// `FAMILY_…`.
    pub(super) family: u8,
}

/// What fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    device: Device,
    family: u8,
    /// Sent to the MAC of a virtual router, which is not the host's own everywhere.
    is_virtual: bool,
    /// Of IPv4.
    protocol: u8,
    id: u32,
    addresses: [u8; 32],
}

/// What the first fragment gives to the whole.
#[derive(Debug)]
enum Front {
    V4(Vec<u8>),
    V6(Box<ipv6::Fragment>),
}

#[derive(Debug)]
struct Packet {
    key: Key,
    born_ns: u64,
    queue: Queue,
    front: Option<(Front, Link)>,
    /// Fragments of the same source since the last one of this packet.
    between: u32,
    /// What the kernel has of it is not known before then; 0: it is.
    blind_ns: u64,
}

/// What is incomplete.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    packets: Vec<Packet>,
    lost_ns: HashMap<Device, u64>,
}

impl Assembly {
    /// Takes a piece. `lost_ns` tells when the last piece of its device was lost before it came here; 0: never.
    pub(super) fn take(&mut self, head: &PieceHead, bytes: &[u8], lost_ns: impl FnOnce() -> u64) -> Option<Whole> {
        match head.family {
            FAMILY_V4 => self.take_v4(head, bytes, lost_ns),
            FAMILY_V6 => self.take_v6(head, bytes, lost_ns),
            _ => None,
        }
    }

    fn take_v4(&mut self, head: &PieceHead, bytes: &[u8], lost_ns: impl FnOnce() -> u64) -> Option<Whole> {
        let fragment = ipv4::read(bytes)?;
        if fragment.fault != 0 || is_others(head) {
            let (bytes, fault) = ipv4::alone(&fragment)?;
            return Some(Whole { bytes, fault, link: link(head), family: FAMILY_V4 });
        }
        let mut addresses = [0; 32];
        addresses.get_mut(..8)?.copy_from_slice(fragment.header.get(12..20)?);
        let key = key(head, fragment.protocol, fragment.id.into(), addresses);
        self.pass(&key);
        let front = (fragment.part.at == 0).then(|| Front::V4(fragment.header.to_vec()));
        let (front, payload, ecn, link) = self.add(&key, head, front, Some(&fragment.part), lost_ns)?;
        let Front::V4(header) = front else {
            return None;
        };
        Some(Whole { bytes: ipv4::join(&header, &payload, ecn)?, fault: 0, link, family: FAMILY_V4 })
    }

    fn take_v6(&mut self, head: &PieceHead, bytes: &[u8], lost_ns: impl FnOnce() -> u64) -> Option<Whole> {
        let whole = |found, link| match found {
            ipv6::Found::Vrrp(bytes, fault) => Some(Whole { bytes, fault, link, family: FAMILY_V6 }),
            _ => None,
        };
        let fragment = match ipv6::Walk::new(bytes, is_direct(head))?.on() {
            ipv6::Found::Fragment(fragment) => fragment,
            found => return whole(found, link(head)),
        };
        if fragment.fault() != 0 || is_others(head) {
            return whole(fragment.alone()?.on(), link(head));
        }
        let key = key(head, 0, fragment.id, fragment.addresses()?);
        let part = fragment.part();
        let first = part.as_ref().is_some_and(|part| part.at == 0);
        let front = first.then(|| Front::V6(Box::new(fragment.clone())));
        let (front, payload, ecn, link) = self.add(&key, head, front, part.as_ref(), lost_ns)?;
        let Front::V6(first) = front else {
            return None;
        };
        whole(first.join(&payload, ecn)?.on(), link)
    }

    /// Notes that an IPv4 fragment came, for the others of its source (`ip_frag_too_far`).
    fn pass(&mut self, key: &Key) {
        let source = |key: &Key| (key.family, key.device.0, key.addresses.first_chunk::<4>().copied());
        for packet in self.packets.iter_mut().filter(|packet| source(&packet.key) == source(key)) {
            packet.between = packet.between.saturating_add(1);
        }
    }

    /// Adds a fragment to its packet; what the packet is made of, once it is complete.
    fn add(
        &mut self,
        key: &Key,
        head: &PieceHead,
        front: Option<Front>,
        part: Option<&Part<'_>>,
        lost_ns: impl FnOnce() -> u64,
    ) -> Option<(Front, Vec<u8>, u8, Link)> {
        let now = head.seen_ns;
        let place = self.place(key, now)?;
        let packet = self.packets.get_mut(place)?;
        if packet.between > MOST_BETWEEN && !packet.queue.is_empty() {
            packet.restart(now);
        }
        packet.between = 0;
        let step = packet.queue.add(part?);
        if let Some(front) = front.filter(|_| matches!(step, Step::Kept | Step::Complete)) {
            packet.front = Some((front, link(head)));
        }
        match step {
            Step::Complete => {}
            Step::Ignored => return None,
            Step::Kept => {
                self.bound(key.device, now);
                return None;
            }
            Step::Discarded => {
                self.packets.swap_remove(place);
                return None;
            }
        }
        let packet = self.packets.swap_remove(place);
        let lost = lost_ns().max(self.lost_ns.get(&key.device).copied().unwrap_or(0));
        if lost != 0 && packet.born_ns < lost.saturating_add(patience(key.family)) {
            return None;
        }
        let (payload, ecn) = packet.queue.payload()?;
        let (front, link) = packet.front?;
        Some((front, payload, ecn, link))
    }

    /// Where the packet of a fragment is, a new one if need be; none while what the kernel has of it is not known.
    fn place(&mut self, key: &Key, now: u64) -> Option<usize> {
        self.packets.retain(|packet| now < packet.gone_ns());
        if let Some(place) = self.packets.iter().position(|packet| packet.key == *key) {
            let packet = self.packets.get_mut(place)?;
            if packet.blind_ns == 0 && now < packet.born_ns.saturating_add(timeout(key.family)) {
                return Some(place);
            }
            // The kernel may have given up, or not: this fragment may begin a packet, or go on with one.
            packet.restart(now);
            packet.blind_ns = now.saturating_add(patience(key.family));
            return None;
        }
        let new = Packet { key: *key, born_ns: now, queue: Queue::default(), front: None, between: 0, blind_ns: 0 };
        self.packets.push(new);
        self.bound(key.device, now);
        self.packets.iter().position(|packet| packet.key == *key)
    }

    /// Drops the oldest until the bounds hold.
    fn bound(&mut self, device: Device, now: u64) {
        while let Some(oldest) = self.over(|packet| packet.key.device == device, PER_DEVICE, DEVICE_BYTES) {
            self.lose(oldest, now);
        }
        while let Some(oldest) = self.over(|_| true, PACKETS, BYTES) {
            self.lose(oldest, now);
        }
    }

    /// The oldest of some packets, if they are more than they may be.
    fn over(&self, of: impl Fn(&Packet) -> bool, most: usize, bytes: usize) -> Option<usize> {
        let (mut count, mut cost, mut oldest) = (0, 0, None);
        for (place, packet) in self.packets.iter().enumerate().filter(|(_, packet)| of(packet)) {
            count += 1;
            cost += packet.cost();
            let older = |&(_, born): &(usize, u64)| packet.born_ns < born;
            if oldest.as_ref().is_none_or(older) {
                oldest = Some((place, packet.born_ns));
            }
        }
        oldest.filter(|_| count > most || cost > bytes).map(|(place, _)| place)
    }

    fn lose(&mut self, place: usize, now: u64) {
        let packet = self.packets.swap_remove(place);
        if self.lost_ns.len() >= LOSSES {
            self.lost_ns.retain(|_, lost| now < lost.saturating_add(patience(FAMILY_V6)));
        }
        self.lost_ns.insert(packet.key.device, now);
    }

    /// Incomplete packets, and what they take.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.packets.len(), self.packets.iter().map(Packet::cost).sum())
    }
}

impl Packet {
    fn restart(&mut self, now: u64) {
        self.queue = Queue::default();
        self.front = None;
        self.born_ns = now;
    }

    fn gone_ns(&self) -> u64 {
        self.blind_ns.max(self.born_ns.saturating_add(patience(self.key.family)))
    }

    fn cost(&self) -> usize {
        let front = match &self.front {
            Some((Front::V4(header), _)) => header.len(),
            Some((Front::V6(fragment), _)) => fragment.len(),
            None => 0,
        };
        self.queue.cost() + front
    }
}

fn timeout(family: u8) -> u64 {
    if family == FAMILY_V4 { TIMEOUT_V4 } else { TIMEOUT_V6 }
}

/// When the kernel has certainly given up: its timers are never early, and late by an eighth at most.
fn patience(family: u8) -> u64 {
    timeout(family) + timeout(family) / 4
}

fn key(head: &PieceHead, protocol: u8, id: u32, addresses: [u8; 32]) -> Key {
    let device = (head.realm, head.ifindex);
    Key { device, family: head.family, is_virtual: is_virtual(head), protocol, id, addresses }
}

/// Whether the kernel drops it before it looks at anything else.
fn is_others(head: &PieceHead) -> bool {
    head.host == HOST_OTHER && !is_virtual(head)
}

/// Whether it is for a virtual router's MAC: the host's own where the instance has `use_vmac`.
fn is_virtual(head: &PieceHead) -> bool {
    head.host == HOST_OTHER && is_virtual_router(&head.to)
}

/// Whether it is for one of the host's own MACs, and for no group.
fn is_direct(head: &PieceHead) -> bool {
    head.host == HOST_DEVICE || is_virtual(head)
}

fn link(head: &PieceHead) -> Link {
    Link { mac: head.mac, to: head.to, vlan: head.vlan, host: head.host }
}
