//! What a frame is: the judgement that classifier and agent share, compiled for this machine and reading
//! from a slice. What the program does around it (tags, candidates, packet types) is written out here anew.

use ha_agent_common::frame::{
    self, ETH_LEN, Envelope, HOST_DEVICE, HOST_GROUP, HOST_OTHER, Link, Packet, Seen, header, open_v4, open_v6,
};
use ha_agent_common::judge::{self, Frame, Judgement, Peer, Sender};
use ha_agent_common::list::List;
use ha_agent_common::slice::Slice;
use ha_agent_common::{Class, FAMILY_V4, FAMILY_V6, INGRESS, Speaker, WATCH_VOUCHED, Watch};

/// Tags that the program reads.
const MOST_TAGS: usize = 8;

/// What a frame is before anyone looks for its watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Not VRRP, as far as can be told.
    Other,
    /// VRRP behind a tag of another VLAN.
    Tagged,
    /// What may be VRRP in a fragment or behind extension headers; its family, and where the packet begins.
    Piece(u8, usize),
    /// VRRP without so much as a VRID.
    Headless,
    /// VRRP of this VRID and family; where the packet begins.
    Vrrp {
        /// Virtual router.
        vrid: u8,
        /// `FAMILY_…`.
        family: u8,
        /// Where the packet begins.
        base: usize,
    },
}

/// What a VRRP frame is to a watch.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Class and reason.
    pub judgement: Judgement,
    /// What it says; digested where it is remembered.
    pub speaker: Speaker,
    /// The watch afterwards: what was learnt, and what only moves on.
    pub watch: Watch,
}

/// Reads a frame that begins with its Ethernet header and carries its tags, if any, in its bytes.
pub fn sight(bytes: &[u8], direction: u8) -> Sight {
    let mut base = ETH_LEN as usize;
    let mut protocol = number(bytes, 12);
    let mut vlan = 0;
    let mut tags = 0;
    while matches!(protocol, Some(0x8100 | 0x88a8)) && tags < MOST_TAGS {
        vlan |= number(bytes, base).filter(|_| bytes.len() >= base + 4).unwrap_or(0) & 0x0fff;
        protocol = number(bytes, base + 2);
        base += 4;
        tags += 1;
    }
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let (v6, next) = match protocol {
        Some(0x0800) => (false, byte(base + 9)),
        Some(0x86dd) => (true, byte(base + 6)),
        _ => return Sight::Other,
    };
    let candidate = next == 112 || if v6 { frame::is_extension(next) } else { next == 51 };
    if !candidate {
        return Sight::Other;
    }
    if vlan != 0 {
        return Sight::Tagged;
    }
    let family = if v6 { FAMILY_V6 } else { FAMILY_V4 };
    let packet = Slice::new(bytes.get(base..).unwrap_or(&[]), [0; 2]);
    let (seen, envelope) = open(&packet, v6, direction == INGRESS);
    match seen {
        Seen::Other => Sight::Other,
        Seen::Piece => Sight::Piece(family, base),
        Seen::Vrrp => match header(&packet, &envelope) {
            Some(header) => Sight::Vrrp { vrid: header[1], family, base },
            None => Sight::Headless,
        },
    }
}

/// Judges a frame that is VRRP for its watch. `key`: the secret of lists.
///
/// `peer`: by the address that decides, see [`far_end`]. `local`: whom this host's watch remembers.
pub fn judge(
    bytes: &[u8],
    base: usize,
    direction: u8,
    watch: &Watch,
    (peer, local): (Option<Peer>, &Speaker),
    key: [u64; 2],
) -> Judged {
    let mut watch = *watch;
    let mut speaker = Speaker::default();
    let packet = Slice::new(bytes.get(base..).unwrap_or(&[]), key);
    let v6 = packet_version(&packet) == 6;
    let (_, envelope) = open(&packet, v6, direction == INGRESS);
    let frame = Frame { packet: &packet, envelope: &envelope, header: header(&packet, &envelope).unwrap_or_default() };
    let judgement = if direction == INGRESS {
        let link = link(bytes);
        judge::read(&frame, &link, &mut speaker);
        judge::arriving(&frame, &link, &mut watch, peer, &mut speaker)
    } else {
        judge::read(&frame, &Link::default(), &mut speaker);
        // A test run has no socket: `ANY_SENDER`.
        let sender = Sender { forwarded: false, vrrp_socket: true, cookie: 0 };
        let mut list = List::default();
        let to_peer = peer.is_some();
        let judgement = judge::leaving(&frame, &sender, &watch.rules, to_peer, &mut speaker, &mut list);
        let counts = judgement.class == Class::Ours;
        let vouched = (watch.state & WATCH_VOUCHED != 0).then_some(watch.vouched);
        match vouched.or((local.last_seen_ns != 0).then_some(local.src)) {
            Some(source) if counts && source != speaker.src => judge::STRANGER,
            _ => {
                if counts && vouched.is_some() {
                    judge::learn(&frame, &speaker, list.sum, &mut watch);
                }
                judgement
            }
        }
    };
    if judgement.class == Class::Rejected {
        speaker.refused = judge::remembered(judgement.reason, &watch.rules, &speaker);
    }
    if judgement.class != Class::Unheard {
        judge::digest(key, &mut speaker);
    }
    Judged { judgement, speaker, watch }
}

/// Whose address is looked up among the peers: where it comes from, or where it goes to.
pub fn far_end(bytes: &[u8], base: usize, direction: u8) -> [u8; 16] {
    let packet = Slice::new(bytes.get(base..).unwrap_or(&[]), [0; 2]);
    let envelope = open(&packet, packet_version(&packet) == 6, true).1;
    if direction == INGRESS { envelope.src } else { envelope.dst }
}

/// What the link says. A test run is on `lo`, whose MAC is zero (`eth_type_trans`).
pub fn link(bytes: &[u8]) -> Link {
    let mut link = Link::default();
    if let Some(macs) = bytes.first_chunk::<12>() {
        link.to.copy_from_slice(&macs[..6]);
        link.mac.copy_from_slice(&macs[6..]);
        link.host = match macs[..6] {
            [0, 0, 0, 0, 0, 0] => HOST_DEVICE,
            [first, ..] if first & 1 == 1 => HOST_GROUP,
            _ => HOST_OTHER,
        };
    }
    link
}

fn open<P: Packet>(packet: &P, v6: bool, arriving: bool) -> (Seen, Envelope) {
    let mut envelope = Envelope::default();
    let seen = if v6 { open_v6(packet, &mut envelope, arriving) } else { open_v4(packet, &mut envelope, arriving) };
    (seen, envelope)
}

fn packet_version(packet: &Slice<'_>) -> u8 {
    let mut first = frame::Bytes::<1>::zero();
    if packet.load(0, &mut first) { first.0[0] >> 4 } else { 0 }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair))
}
