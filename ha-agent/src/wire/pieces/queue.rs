//! The fragments of one packet, kept as the kernel keeps them (`net/ipv4/inet_fragment.c`, Linux 5.10 to 7.x).

/// The longest packet; for IPv6 without its header.
pub(super) const LONGEST: usize = 65_535;

/// What a fragment of a run costs beside its bytes.
const OVERHEAD: usize = 64;

/// A fragment: its place in the packet's payload, and what it carries of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Offset of the first byte.
    pub(super) at: usize,
    /// What it carries.
    pub(super) bytes: &'a [u8],
    /// There is more behind it.
    pub(super) more: bool,
    /// The two bits of explicit congestion notification (RFC 3168).
    pub(super) ecn: u8,
}

/// What came of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Kept; more is missing.
    Kept,
    /// Known already, or not to be had: as if it had not come.
    Ignored,
    /// It contradicts the others: all of them are thrown away.
    Discarded,
    /// The packet is complete.
    Complete,
}

/// Adjacent fragments that came one behind the other, or one by itself.
#[derive(Debug)]
struct Run {
    at: usize,
    bytes: Vec<u8>,
}

impl Run {
    fn end(&self) -> usize {
        self.at + self.bytes.len()
    }
}

/// The fragments of one packet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In order, none touching what another one holds.
    runs: Vec<Run>,
    /// Where the payload ends, as far as it is known.
    length: usize,
    has_first: bool,
    has_last: bool,
    /// Bytes of the payload that are here.
    here: usize,
    /// A bit for each value of the ECN bits.
    ecn: u8,
}

impl Queue {
    /// Takes a fragment (`ip_frag_queue`, `ip6_frag_queue`, `inet_frag_queue_insert`).
    pub(super) fn add(&mut self, part: &Part<'_>) -> Step {
        let end = part.at + part.bytes.len();
        if !part.more {
            if end < self.length || (self.has_last && end != self.length) {
                return Step::Discarded;
            }
            self.has_last = true;
            self.length = end;
        } else if end > self.length {
            if self.has_last {
                return Step::Discarded;
            }
            self.length = end;
        }
        if part.bytes.is_empty() {
            return Step::Discarded;
        }
        match self.insert(part, end) {
            Step::Kept => {}
            step => return step,
        }
        self.here += part.bytes.len();
        self.ecn |= 1 << (part.ecn & 3);
        self.has_first |= part.at == 0;
        if self.is_complete() { Step::Complete } else { Step::Kept }
    }

    /// What is in a run already is a duplicate, whatever its bytes are; what is in it in part overlaps.
    fn insert(&mut self, part: &Part<'_>, end: usize) -> Step {
        if let Some(last) = self.runs.last_mut().filter(|last| last.end() < end) {
            if part.at < last.end() {
                return Step::Discarded;
            }
            if part.at == last.end() {
                last.bytes.extend_from_slice(part.bytes);
                return Step::Kept;
            }
        } else if let Some(met) = self.runs.iter().find(|run| part.at < run.end() && run.at < end) {
            let known = part.at >= met.at && end <= met.end();
            return if known { Step::Ignored } else { Step::Discarded };
        }
        let place = self.runs.partition_point(|run| run.at < part.at);
        self.runs.insert(place, Run { at: part.at, bytes: part.bytes.to_vec() });
        Step::Kept
    }

    /// Whether nothing is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.has_first && self.has_last && self.here == self.length
    }

    /// Whether nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What it takes of the memory that all share.
    pub(super) fn cost(&self) -> usize {
        self.here + (self.runs.len() + 1) * OVERHEAD
    }

    /// The payload of a complete packet, and its ECN bits: none where fragments with and without ECN do not go
    /// together (`ip_frag_ecn_table`).
    pub(super) fn payload(&self) -> Option<(Vec<u8>, u8)> {
        const NONE: u8 = 1;
        const MARKED: u8 = 1 << 3;
        if self.ecn & NONE != 0 && self.ecn != NONE {
            return None;
        }
        let marked = self.ecn & MARKED != 0 && self.ecn != MARKED;
        let bytes = self.runs.iter().flat_map(|run| &run.bytes).copied().collect();
        Some((bytes, if marked { 3 } else { 0 }))
    }
}
