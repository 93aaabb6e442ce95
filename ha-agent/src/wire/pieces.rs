//! Frames that the program cannot judge where they stand: IPv4 fragments, IPv6 with extension headers.
//!
//! Here is done what the kernel does before keepalived's socket gets the packet; then the whole packet is judged
//! by the program's own code.
//!
//! - `ipv4`, `ipv6`: reading pieces, without any state. `queue`: the fragments of one packet.
//! - `assembly`: which fragments belong together, for how long, and how much of them is kept.
//! - `tally`: what pieces turned out to be.
//!
//! What this cannot see: fragments of other protocols that crowd the kernel's own queues (`ipfrag_high_thresh`,
//! `ipfrag_max_dist`), and fragments of the same packet that came through another device.

mod assembly;
mod ipv4;
mod ipv6;
mod queue;
mod tally;
#[cfg(feature = "fuzzing")]
pub(super) mod trial;

use std::sync::Arc;

use ha_agent_common::frame::{self, Envelope, Seen};
use ha_agent_common::judge::{self, Judgement, Peer};
use ha_agent_common::slice::Slice;
use ha_agent_common::{
    Class, FAMILY_V4, ForeignKey, INGRESS, Piece, RECORD_FRAME, Record, Rules, Speaker, Watch, WatchKey, speaker,
};

use self::assembly::{Assembly, Whole};
use super::maps::Shared;

pub(super) use self::tally::Tally;

/// What is being put together.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    assembly: Assembly,
}

impl Pieces {
    /// Takes a piece; a record, when it completes a packet that says something new.
    pub(super) fn take(&mut self, shared: &Arc<Shared>, piece: &Piece) -> Option<Record> {
        let head = &piece.head;
        let bytes = piece.bytes.get(..usize::from(head.length))?;
        let whole = self.assembly.take(head, bytes, || shared.lost(head.realm, head.ifindex))?;
        let opened = Opened::new(&whole, shared.key)?;
        let family = whole.family;
        let key = WatchKey { realm: head.realm, ifindex: head.ifindex, vrid: opened.header[1], family, pad: [0; 2] };
        let id = shared.table().watching(&key).map(|(_, entry)| entry.id)?;
        let before = shared.watch(&key).ok()?.filter(|watch| watch.id == id)?;
        let mut watch = before;
        let (judgement, mut speaker) = opened.judge(&mut watch, |source| shared.peer(id, source));
        if judgement.class == Class::Peer && speaker.priority == 0 {
            speaker::resign(&mut watch, &speaker, head.seen_ns);
        }
        shared.tally(&before, judgement, head.seen_ns);
        shared.keep(&key, &before, &watch);
        let kind = if judgement.class == Class::Unheard {
            speaker.last_seen_ns = head.seen_ns;
            RECORD_FRAME
        } else {
            judge::digest(shared.key, &mut speaker);
            remember(shared, &watch, family, &mut speaker, head.seen_ns)?
        };
        Some(Record {
            speaker,
            watch: id,
            kind,
            direction: INGRESS,
            family,
            class: judgement.class as u8,
            reason: judgement.reason,
            pad: [0; 7],
        })
    }
}

/// Remembers a speaker where the program does; none when it says nothing new.
fn remember(shared: &Shared, watch: &Watch, family: u8, speaker: &mut Speaker, now: u64) -> Option<u8> {
    let key = ForeignKey::of(watch.id, family, speaker);
    let mut known = shared.foreign(&key).ok().flatten().unwrap_or_default();
    if speaker.refused == 0 && speaker::has_resigned(watch, &known) {
        known.priority = 0;
    }
    let kind = speaker::observe(&known, speaker, now);
    if let Err(error) = shared.remember(&key, speaker) {
        tracing::debug!(%error, "speaker not remembered");
    }
    (kind != 0).then_some(kind)
}

/// A whole packet whose headers have been read.
struct Opened<'a> {
    packet: Slice<'a>,
    envelope: Envelope,
    header: [u8; 8],
    whole: &'a Whole,
}

impl<'a> Opened<'a> {
    /// None when it is no VRRP.
    fn new(whole: &'a Whole, key: [u64; 2]) -> Option<Self> {
        let packet = Slice::new(&whole.bytes, key);
        let mut envelope = Envelope::default();
        let seen = if whole.family == FAMILY_V4 {
            frame::open_v4(&packet, &mut envelope, true)
        } else {
            frame::open_v6(&packet, &mut envelope, true)
        };
        if seen != Seen::Vrrp {
            return None;
        }
        if whole.fault != 0 {
            envelope.fault = whole.fault;
        }
        let header = frame::header(&packet, &envelope)?;
        Some(Self { packet, envelope, header, whole })
    }

    /// As the program judges what arrives. What that changes of the watch is in it afterwards.
    fn judge(&self, watch: &mut Watch, peer: impl Fn([u8; 16]) -> Option<Peer>) -> (Judgement, Speaker) {
        let frame = judge::Frame { packet: &self.packet, envelope: &self.envelope, header: self.header };
        let mut speaker = Speaker::default();
        judge::read(&frame, &self.whole.link, &mut speaker);
        let peer = if watch.rules.has(Rules::CHECK_PEERS) { peer(self.envelope.src) } else { None };
        let judgement = judge::arriving(&frame, &self.whole.link, watch, peer, &mut speaker);
        speaker.refused = judge::remembered(judgement.reason, &watch.rules, &speaker);
        (judgement, speaker)
    }
}

/// A piece out of a ring buffer's bytes.
pub(super) fn read(bytes: &[u8]) -> Option<Box<Piece>> {
    if bytes.len() != size_of::<Piece>() {
        return None;
    }
    // SAFETY: `Piece` is plain old data of this size, and the read does not ask for alignment.
    Some(Box::new(unsafe { bytes.as_ptr().cast::<Piece>().read_unaligned() }))
}

#[cfg(test)]
mod tests;
