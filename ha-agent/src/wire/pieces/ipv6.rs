//! IPv6 extension headers, as the kernel reads them on the way to a raw socket (`net/ipv6/ip6_input.c`,
//! `exthdrs.c`, `reassembly.c`; Linux 5.10 to 7.x with its default settings; RFC 8200 section 4).

use ha_agent_common::Reason;
use ha_agent_common::frame::{IPPROTO_VRRP, be16};

use super::queue::{LONGEST, Part};

/// Bytes of the IPv6 header.
pub(super) const HEADER: usize = 40;
/// Where it says what follows.
const NEXT: usize = 6;
const FRAGMENT: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENTED: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;

/// `net.ipv6.max_hbh_opts_number` and `max_dst_opts_number`, by default: options that are no padding.
const MOST_OPTIONS: u32 = 8;
/// Extension headers that newer kernels read at most (`IP6_MAX_EXT_HDRS_CNT`); older ones know no limit.
const MOST_HEADERS: u32 = 12;
/// Padding needs no more than this to align what follows.
const MOST_PADDING: usize = 7;

const PAD_1: u8 = 0;
const PAD_N: u8 = 1;
const ROUTER_ALERT: u8 = 5;
const CALIPSO: u8 = 7;
const IOAM: u8 = 49;

/// A packet on its way through its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// From the IPv6 header to the end that this one says.
    bytes: Vec<u8>,
    /// Where the next header begins.
    at: usize,
    /// Where the byte is that says what it is.
    field: usize,
    /// A fragment header was there: there is no other one.
    fragmented: bool,
    /// It is for this host's own MAC.
    own_mac: bool,
    headers: u32,
    /// Why the kernel drops it, a [`Reason`]; 0: it does not.
    fault: u8,
}

/// What is behind the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// VRRP: the packet without extension headers, and why the kernel drops it, a [`Reason`], or 0.
    Vrrp(Vec<u8>, u8),
    /// A fragment of something.
    Fragment(Fragment),
    /// No VRRP, or nothing that can be read.
    Other,
}

/// A fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Identification.
    pub(super) id: u32,
    /// The packet up to the fragment header, and what follows that.
    pub(super) walk: Walk,
    next: u8,
    at: usize,
    more: bool,
}

impl Walk {
    /// Reads the IPv6 header; none when it is not there, or the packet is cut off.
    pub(super) fn new(bytes: &[u8], own_mac: bool) -> Option<Self> {
        let ip: &[u8; HEADER] = bytes.first_chunk()?;
        if ip[0] >> 4 != 6 {
            return None;
        }
        let carried = usize::from(be16(ip[4], ip[5]));
        // A length of 0 before hop-by-hop options may mean a jumbogram: then the kernel takes all there is.
        let end = if carried == 0 && ip[NEXT] == HOP_BY_HOP { bytes.len() } else { HEADER + carried };
        let bytes = bytes.get(..end)?.to_vec();
        Some(Self { bytes, at: HEADER, field: NEXT, fragmented: false, own_mac, headers: 0, fault: 0 })
    }

    /// Reads the headers up to VRRP or a fragment.
    pub(super) fn on(mut self) -> Found {
        loop {
            let next = self.byte(self.field);
            match next {
                Some(IPPROTO_VRRP) => {
                    return self.plain().map_or(Found::Other, |(bytes, fault)| Found::Vrrp(bytes, fault));
                }
                Some(HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENTED) => {}
                _ => return Found::Other,
            }
            self.headers += 1;
            if self.headers > MOST_HEADERS {
                self.blame(Reason::Header);
            }
            let whole = match next {
                // Anywhere else it is no protocol that the kernel knows.
                Some(HOP_BY_HOP) if self.at != HEADER || self.fragmented => return Found::Other,
                Some(HOP_BY_HOP) => self.options(true),
                Some(DESTINATION) => self.options(false),
                Some(ROUTING) => self.routing(),
                _ => match self.fragment() {
                    Some(Ok(fragment)) => return Found::Fragment(fragment),
                    step => step.map(drop),
                },
            };
            if whole.is_none() {
                return Found::Other;
            }
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn blame(&mut self, reason: Reason) {
        if self.fault == 0 {
            self.fault = reason as u8;
        }
    }

    /// The header at hand, by its own length; none when it is cut off.
    fn header(&self) -> Option<&[u8]> {
        let length = (usize::from(self.byte(self.at + 1)?) + 1) * 8;
        self.bytes.get(self.at..self.at + length)
    }

    fn pass(&mut self, length: usize) {
        self.field = self.at;
        self.at += length;
    }

    fn options(&mut self, hop_by_hop: bool) -> Option<()> {
        let header = self.header()?;
        let length = header.len();
        if !options_are_sound(header, self.at, hop_by_hop) {
            self.blame(Reason::Header);
        }
        self.pass(length);
        Some(())
    }

    /// `ipv6_rthdr_rcv`: what is not for this host's own addresses, or goes on from here, is not delivered.
    fn routing(&mut self) -> Option<()> {
        let header = self.header()?;
        let length = header.len();
        let (kind, left) = (header[2], header[3]);
        let multicast = self.byte(24) == Some(0xff);
        // Mobility, and segment routing that has to be enabled.
        let closed = matches!(kind, 2..=4);
        if multicast || !self.own_mac || left != 0 || closed {
            self.blame(Reason::SourceRoute);
        }
        self.pass(length);
        Some(())
    }

    /// `ipv6_frag_rcv`. The inner error: it is no fragment, only says so, or is dropped; the walk goes on.
    fn fragment(&mut self) -> Option<Result<Fragment, ()>> {
        let header: &[u8; FRAGMENT] = self.bytes.get(self.at..)?.first_chunk()?;
        let place = be16(header[2], header[3]);
        let (at, more) = (usize::from(place & 0xfff8), place & 1 != 0);
        let (next, id) = (header[0], u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
        if self.fragmented || (self.byte(4) == Some(0) && self.byte(5) == Some(0)) {
            self.blame(Reason::Header);
        }
        if at == 0 && !more || self.fragmented {
            self.fragmented = true;
            self.pass(FRAGMENT);
            return Some(Err(()));
        }
        if self.is_cut_short() {
            self.blame(Reason::Header);
        }
        Some(Ok(Fragment { id, walk: self.clone(), next, at, more }))
    }

    /// `ipv6frag_thdr_truncated` (from 5.11): a first fragment has to hold all the headers.
    fn is_cut_short(&self) -> bool {
        let (mut next, mut at) = (self.byte(NEXT), HEADER);
        for _ in 0..self.bytes.len() / 8 {
            let length = match next {
                Some(HOP_BY_HOP | ROUTING | DESTINATION) => {
                    self.byte(at + 1).map(|length| (usize::from(length) + 1) * 8)
                }
                Some(AUTHENTICATION) => self.byte(at + 1).map(|length| (usize::from(length) + 2) * 4),
                Some(FRAGMENTED) => match (self.byte(at + 2), self.byte(at + 3)) {
                    (Some(high), Some(low)) if be16(high, low) & 0xfff8 != 0 => return false,
                    (Some(_), Some(_)) => Some(FRAGMENT),
                    _ => None,
                },
                Some(NOTHING) => None,
                Some(_) => return at >= self.bytes.len(),
                None => None,
            };
            let Some(length) = length else {
                return false;
            };
            next = self.byte(at);
            at += length;
        }
        false
    }

    /// The packet as it would be without extension headers.
    fn plain(&self) -> Option<(Vec<u8>, u8)> {
        let carried = self.bytes.get(self.at..)?;
        let length = u16::try_from(carried.len()).ok()?;
        let mut packet = self.bytes.get(..HEADER)?.to_vec();
        packet.extend_from_slice(carried);
        let ip: &mut [u8; HEADER] = packet.first_chunk_mut()?;
        [ip[4], ip[5]] = length.to_be_bytes();
        ip[NEXT] = IPPROTO_VRRP;
        Some((packet, self.fault))
    }
}

impl Fragment {
    /// Why the kernel drops it before it looks for the others, a [`Reason`]; 0: it does not.
    pub(super) fn fault(&self) -> u8 {
        self.walk.fault
    }

    /// What it carries; none when the kernel takes no notice of it.
    pub(super) fn part(&self) -> Option<Part<'_>> {
        let bytes = self.walk.bytes.get(self.walk.at + FRAGMENT..)?;
        let end = self.at + bytes.len();
        if end > LONGEST || (self.more && !end.is_multiple_of(8)) {
            return None;
        }
        let ecn = self.walk.byte(1)? >> 4 & 3;
        Some(Part { at: self.at, bytes, more: self.more, ecn })
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.walk.bytes.len()
    }

    /// Source and destination.
    pub(super) fn addresses(&self) -> Option<[u8; 32]> {
        self.walk.bytes.get(8..HEADER)?.first_chunk().copied()
    }

    /// The packet, of which this is the first fragment; none when it would be too long.
    pub(super) fn join(&self, payload: &[u8], ecn: u8) -> Option<Walk> {
        let mut walk = self.walk.clone();
        walk.bytes.truncate(walk.at);
        walk.bytes.extend_from_slice(payload);
        let length = u16::try_from(walk.bytes.len().checked_sub(HEADER)?).ok()?;
        *walk.bytes.get_mut(walk.field)? = self.next;
        walk.fragmented = true;
        let ip: &mut [u8; HEADER] = walk.bytes.first_chunk_mut()?;
        ip[1] |= ecn << 4;
        [ip[4], ip[5]] = length.to_be_bytes();
        Some(walk)
    }

    /// What the first fragment says by itself, as if it were the whole: for naming one that is dropped.
    pub(super) fn alone(&self) -> Option<Walk> {
        let mut walk = self.join(self.walk.bytes.get(self.walk.at + FRAGMENT..)?, 0)?;
        walk.blame(Reason::Header);
        (self.at == 0).then_some(walk)
    }
}

/// `ip6_parse_tlv` of a whole header, which begins at `begin` of the packet.
fn options_are_sound(header: &[u8], begin: usize, hop_by_hop: bool) -> bool {
    let mut at = 2;
    let mut padding = 0;
    let mut options = 0;
    while let Some(kind) = header.get(at).copied() {
        if kind == PAD_1 {
            padding += 1;
            at += 1;
        } else {
            let end = header.get(at + 1).map_or(usize::MAX, |length| at + 2 + usize::from(*length));
            let Some(value) = header.get(at + 2..end) else {
                return false;
            };
            if kind == PAD_N {
                padding += end - at;
                if value.iter().any(|byte| *byte != 0) {
                    return false;
                }
            } else {
                padding = 0;
                options += 1;
                if options > MOST_OPTIONS || !option_is_passed(kind, value, begin + at, hop_by_hop) {
                    return false;
                }
            }
            at = end;
        }
        if padding > MOST_PADDING {
            return false;
        }
    }
    true
}

/// Whether the kernel goes on behind an option. A jumbogram (194) is longer than a piece, and a home address
/// (201) needs a state that hosts of HA networks do not have: both are dropped like what is not known, by the
/// two upper bits (RFC 8200 section 4.2).
fn option_is_passed(kind: u8, value: &[u8], at: usize, hop_by_hop: bool) -> bool {
    match kind {
        ROUTER_ALERT if hop_by_hop => value.len() == 2,
        // Without a label domain nothing is valid.
        CALIPSO if hop_by_hop => false,
        // From 5.15 on it has to be aligned; what it says counts only where it is enabled.
        IOAM if hop_by_hop => at.is_multiple_of(4),
        _ => kind >> 6 == 0,
    }
}
