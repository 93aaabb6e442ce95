//! What a frame is: ours, a peer's, rejected, or never heard. The one place that says so.
//!
//! | a frame | by | is |
//! |---|---|---|
//! | leaves, forwarded or sent by no VRRP socket of this namespace | [`leaving`] | unheard |
//! | leaves for where our keepalived sends nothing to, or with another TTL | [`leaving`] | unheard |
//! | leaves from another source than our keepalived's | [`standing`] | unheard |
//! | leaves, sent by this host's VRRP socket | [`leaving`], [`standing`] | ours |
//! | arrives, and the kernel does not deliver it to keepalived's socket | [`unheard`] | unheard |
//! | arrives, and keepalived drops it | [`rejected`] | rejected |
//! | arrives, and neither | | a peer's |
//!
//! Only one thing is left to user space: whether the kernel takes a packet from this source on this device
//! (reverse path, own addresses), and whether the source of what leaves is this host's, since a program cannot
//! ask the routing table.
//!
//! The checks and their order are those of keepalived 2.2.7 (`vrrp_check_packet`); what other releases do
//! otherwise is in [`Rules`]. Like [`crate::frame`] it is free of helpers.

use crate::frame::{Bytes, Envelope, HEADER_LEN, IPPROTO_AH, IPPROTO_VRRP};
use crate::frame::{Link, Packet, folds_to_ones, half, halves, word};
use crate::list::{List, content};
use crate::{
    Class, FAMILY_V4, Reason, Rules, SPEAKER_AH, SPEAKER_OLD_CHECKSUM, SPEAKER_UNICAST, Speaker, WATCH_OLD_CHECKSUM,
    WATCH_VOUCHED, Watch, ah, device,
};

const AUTH_LEN: u32 = 8;
/// Length of an IPv4 header without options.
const IPV4_LEN: u32 = 20;
const AUTH_NONE: u8 = 0;
const AUTH_PASSWORD: u8 = 1;
const AUTH_AH: u8 = 2;
/// Ethernet's least payload: what is shorter may be padded.
const LEAST_PAYLOAD: u32 = 46;
/// The VRRP group (RFC 9568 section 5.1.1.2), where the instance's mode is not known.
const GROUP_V4: u32 = u32::from_ne_bytes([224, 0, 0, 18]);

/// Who sent a frame that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// It came from another device.
    pub forwarded: bool,
    /// A raw socket for VRRP sent it, of the device's own namespace as far as that can be told.
    pub vrrp_socket: bool,
    /// That socket's cookie; 0: not known.
    pub cookie: u64,
}

/// Key of the map `PEERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// [`Watch::id`].
    pub watch: u32,
    /// Its address; IPv4 in the first four bytes.
    pub address: [u8; 16],
}

/// A peer of `unicast_peer`: our adverts go to it, and `check_unicast_src` looks at it; in the map `PEERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `min_ttl`.
    pub min_ttl: u8,
    /// `max_ttl`.
    pub max_ttl: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// What is judged: a frame's headers.
pub struct Frame<'a, P> {
    /// The packet.
    pub packet: &'a P,
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// Its VRRP header.
    pub header: [u8; 8],
}

/// A judgement: a [`Class`] and a [`Reason`], or 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What the frame is.
    pub class: Class,
    /// Why it is not taken.
    pub reason: u8,
}

impl Judgement {
    #[inline(always)]
    const fn unheard(reason: u8) -> Self {
        Self { class: Class::Unheard, reason }
    }
}

impl<P: Packet> Frame<'_, P> {
    #[inline(always)]
    fn version(&self) -> u8 {
        self.header[0] >> 4
    }

    #[inline(always)]
    fn count(&self) -> u32 {
        u32::from(self.header[3])
    }

    #[inline(always)]
    fn is_v4(&self) -> bool {
        self.envelope.family == FAMILY_V4
    }

    #[inline(always)]
    fn is_ah(&self) -> bool {
        self.envelope.protocol == IPPROTO_AH
    }

    /// Bytes of the address list.
    #[inline(always)]
    fn listed(&self) -> u32 {
        self.count() * if self.is_v4() { 4 } else { 16 }
    }

    /// Bytes of an advert with this header: `expected_vrrp_pkt_len`.
    #[inline(always)]
    fn expected(&self) -> u32 {
        let auth = if self.is_v4() && self.version() == 2 { AUTH_LEN } else { 0 };
        HEADER_LEN + self.listed() + auth
    }

    #[inline(always)]
    fn is_multicast(&self) -> bool {
        let first = self.envelope.dst[0];
        if self.is_v4() { first >> 4 == 14 } else { first == 0xff }
    }

    /// Whether the length fits the address count: exactly, or with what Ethernet padded.
    #[inline(always)]
    fn length_fits(&self, rules: &Rules) -> bool {
        let (expected, len) = (self.expected(), self.envelope.len);
        if self.packet.len() < self.envelope.at + len {
            return false;
        }
        // For IPv4 keepalived counts from the IP header on.
        let before = if self.is_v4() { self.envelope.at } else { 0 };
        let padded = rules.has(Rules::PADDING)
            && len > expected
            && before + expected < LEAST_PAYLOAD
            && (len - expected) % 4 == 2;
        len == expected || padded
    }
}

/// Reads what an advert says into `speaker`: all but what is remembered of its sender.
#[inline(always)]
pub fn read<P: Packet>(frame: &Frame<'_, P>, link: &Link, speaker: &mut Speaker) {
    let header = &frame.header;
    speaker.src = frame.envelope.src;
    speaker.mac = link.mac;
    speaker.vlan = link.vlan;
    speaker.ttl = frame.envelope.ttl;
    speaker.version = frame.version();
    speaker.priority = header[2];
    speaker.vip_count = header[3];
    if frame.is_ah() {
        speaker.flags |= SPEAKER_AH;
    }
    if !frame.is_multicast() {
        speaker.flags |= SPEAKER_UNICAST;
    }
    if frame.version() == 2 {
        speaker.auth_type = header[4];
        speaker.interval_cs = u16::from(header[5]) * 100;
    } else {
        speaker.interval_cs = u16::from_be_bytes([header[4], header[5]]) & 0x0fff;
    }
}

/// Digests what an advert says, once its list has been read and it has been judged.
#[inline(always)]
pub fn digest(key: [u64; 2], speaker: &mut Speaker) {
    let said = u64::from_ne_bytes([
        speaker.priority,
        speaker.version,
        speaker.vip_count,
        speaker.auth_type,
        speaker.flags,
        speaker.refused,
        (speaker.interval_cs >> 8) as u8,
        speaker.interval_cs as u8,
    ]);
    speaker.content = content(key, speaker.list, said);
}

/// Judges a frame that arrives for `watch`.
#[inline(always)]
pub fn arriving<P: Packet>(
    frame: &Frame<'_, P>,
    link: &Link,
    watch: &mut Watch,
    peer: Option<Peer>,
    speaker: &mut Speaker,
) -> Judgement {
    let reason = unheard(frame, link, &watch.rules);
    if reason != 0 {
        return Judgement::unheard(reason);
    }
    let mut list = List::default();
    let fits = frame.length_fits(&watch.rules) && read_list(frame, &mut list, speaker);
    // IPv6's checksum is the kernel's own affair, before the socket gets the packet.
    if !frame.is_v4() && !sum_fits_v6(frame, if fits { Some(list.sum) } else { None }) {
        return Judgement::unheard(Reason::Checksum as u8);
    }
    let reason = if fits { rejected(frame, watch, list.sum, peer, speaker) } else { Reason::Length as u8 };
    let class = if reason == 0 { Class::Peer } else { Class::Rejected };
    Judgement { class, reason }
}

#[inline(always)]
fn read_list<P: Packet>(frame: &Frame<'_, P>, list: &mut List, speaker: &mut Speaker) -> bool {
    if !frame.packet.list(frame.envelope.at + HEADER_LEN, frame.count(), frame.is_v4(), list) {
        return false;
    }
    speaker.list = list.digest;
    true
}

/// Why a frame that arrives never reaches keepalived's socket; 0: it does.
#[inline(always)]
pub fn unheard<P: Packet>(frame: &Frame<'_, P>, link: &Link, rules: &Rules) -> u8 {
    let envelope = frame.envelope;
    if !device::gets(link, envelope, frame.header[1], rules) {
        return Reason::OtherHost as u8;
    }
    if envelope.fault != 0 {
        return envelope.fault;
    }
    if envelope.len < HEADER_LEN {
        return Reason::Length as u8;
    }
    if !reaches(frame, rules) {
        return Reason::Destination as u8;
    }
    // Its socket is for one protocol.
    if frame.is_v4() && rules.has(Rules::KNOWS_AUTH) && (rules.auth_type == AUTH_AH) != frame.is_ah() {
        return Reason::Protocol as u8;
    }
    0
}

/// Whether the destination is what keepalived's socket is bound to.
#[inline(always)]
fn reaches<P: Packet>(frame: &Frame<'_, P>, rules: &Rules) -> bool {
    let dst = &frame.envelope.dst;
    let (high, low) = (word(dst, 0), word(dst, 8));
    let (wanted_high, wanted_low) = (word(&rules.destination, 0), word(&rules.destination, 8));
    if wanted_high != 0 || wanted_low != 0 {
        return high == wanted_high && low == wanted_low;
    }
    if rules.has(Rules::KNOWS_MODE) && rules.has(Rules::UNICAST) == frame.is_multicast() {
        return false;
    }
    if !frame.is_multicast() {
        return true;
    }
    if frame.is_v4() {
        half(dst, 0) == GROUP_V4
    } else {
        // ff02::12
        high == u64::from_ne_bytes([0xff, 2, 0, 0, 0, 0, 0, 0])
            && low == u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 0x12])
    }
}

/// Whether two addresses are the same.
#[inline(always)]
fn same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    word(a, 0) == word(b, 0) && word(a, 8) == word(b, 8)
}

/// What is remembered of a rejected advert. keepalived looks at the interval before it looks at the addresses;
/// for people other addresses weigh more, since they show another virtual router.
#[inline(always)]
pub fn remembered(reason: u8, rules: &Rules, speaker: &Speaker) -> u8 {
    let another = rules.has(Rules::KNOWS_LIST) && speaker.list != rules.list;
    if reason == Reason::Interval as u8 && another { Reason::Addresses as u8 } else { reason }
}

/// Why keepalived drops a frame of sound length, in its own order; 0: it takes it.
#[inline(always)]
pub fn rejected<P: Packet>(
    frame: &Frame<'_, P>,
    watch: &mut Watch,
    sum: u64,
    peer: Option<Peer>,
    speaker: &mut Speaker,
) -> u8 {
    let (header, envelope) = (&frame.header, frame.envelope);
    let rules = &watch.rules;
    let unicast = if rules.has(Rules::KNOWS_MODE) { rules.is_unicast() } else { !frame.is_multicast() };
    if !unicast && envelope.ttl != 255 {
        return Reason::Ttl as u8;
    }
    let version = frame.version();
    let known = rules.version != 0;
    if (known && version != rules.version) || (!known && version != 2 && version != 3) {
        return Reason::Version as u8;
    }
    if version == 2 {
        let reason = authentication(frame, watch);
        if reason != 0 {
            return reason;
        }
        let rules = &watch.rules;
        if rules.interval_cs != 0 && speaker.interval_cs != rules.interval_cs {
            return Reason::Interval as u8;
        }
    }
    if header[0] & 15 != 1 {
        return Reason::Type as u8;
    }
    let lists = watch.rules.has(Rules::KNOWS_LIST) && !watch.rules.has(Rules::ANY_LIST);
    if lists && header[3] != watch.rules.vip_count {
        return Reason::Addresses as u8;
    }
    if frame.is_v4() && !checksum_fits(frame, watch, sum, unicast, speaker) {
        return Reason::Checksum as u8;
    }
    if lists && speaker.list != watch.rules.list {
        return Reason::Addresses as u8;
    }
    if watch.rules.has(Rules::TAKES_NONE) {
        return Reason::Owner as u8;
    }
    if unicast && watch.rules.has(Rules::CHECK_PEERS) {
        return match peer {
            None => Reason::PeerSource as u8,
            Some(peer) if envelope.ttl < peer.min_ttl || envelope.ttl > peer.max_ttl => Reason::PeerTtl as u8,
            Some(_) => 0,
        };
    }
    0
}

/// VRRPv2's authentication: RFC 2338 section 5.3.6 and keepalived.
#[inline(always)]
fn authentication<P: Packet>(frame: &Frame<'_, P>, watch: &mut Watch) -> u8 {
    let rules = &watch.rules;
    let given = frame.header[4];
    if given != AUTH_NONE && given != AUTH_PASSWORD && given != AUTH_AH {
        return Reason::Auth as u8;
    }
    if rules.has(Rules::KNOWS_AUTH) && given != rules.auth_type {
        return Reason::Auth as u8;
    }
    if !rules.has(Rules::KNOWS_AUTH) && frame.is_v4() && (given == AUTH_AH) != frame.is_ah() {
        return Reason::Auth as u8;
    }
    if given == AUTH_AH && frame.is_ah() {
        return authentication_header(frame, watch);
    }
    if given == AUTH_PASSWORD && rules.has(Rules::KNOWS_PASSWORD) {
        // keepalived looks at the last bytes of the packet, also where it bears padding.
        let mut password = Bytes::<8>::zero();
        let at = frame.envelope.at + frame.envelope.len - AUTH_LEN;
        if !frame.packet.load(at, &mut password) || word(&password.0, 0) != word(&rules.password, 0) {
            return Reason::Password as u8;
        }
    }
    0
}

/// The authentication header: next header, integrity value, SPI, sequence number.
#[inline(always)]
fn authentication_header<P: Packet>(frame: &Frame<'_, P>, watch: &mut Watch) -> u8 {
    let envelope = frame.envelope;
    let begin = envelope.at - ah::LENGTH;
    let mut start = Bytes::<12>::zero();
    if !frame.packet.load(begin, &mut start) || start.0[0] != IPPROTO_VRRP {
        return Reason::Protocol as u8;
    }
    if !watch.rules.has(Rules::KNOWS_AUTH | Rules::KNOWS_PASSWORD) {
        return 0;
    }
    // The kernel may rewrite options, and keepalived then takes the value to be wrong; none of its kind sends any.
    if begin != IPV4_LEN {
        return Reason::Icv as u8;
    }
    let fields = mutable(frame, watch.rules.is_unicast());
    if !frame.packet.icv_fits(&watch.rules.ah, fields) || half(&start.0, 4) != half(&envelope.src, 0) {
        return Reason::Icv as u8;
    }
    let sequence = u32::from_be(half(&start.0, 8));
    if sequence <= watch.ah_sequence {
        return Reason::Sequence as u8;
    }
    watch.ah_sequence = sequence;
    0
}

/// What of a packet the integrity value does not count.
#[inline(always)]
fn mutable<P: Packet>(frame: &Frame<'_, P>, unicast: bool) -> ah::Mutable {
    ah::Mutable { total: frame.envelope.at + frame.envelope.len, ttl: unicast }
}

/// The VRRP checksum over IPv4: VRRPv2 without pseudo-header, VRRPv3 with it; by unicast VRRPv3's may be of
/// the old form, made with the group's address.
#[inline(always)]
fn checksum_fits<P: Packet>(
    frame: &Frame<'_, P>,
    watch: &Watch,
    list: u64,
    unicast: bool,
    speaker: &mut Speaker,
) -> bool {
    let mut sum = list + halves(word(&frame.header, 0));
    let rules = &watch.rules;
    if frame.version() == 2 {
        let mut auth = Bytes::<8>::zero();
        if !frame.packet.load(frame.envelope.at + HEADER_LEN + frame.listed(), &mut auth) {
            return false;
        }
        return folds_to_ones(sum + halves(word(&auth.0, 0)));
    }
    if rules.has(Rules::ANY_CHECKSUM) {
        return true;
    }
    sum += upper_v4(frame);
    let group = u64::from(half(&rules.group, 0));
    if rules.has(Rules::OLD_CHECKSUM) {
        return folds_to_ones(sum + group);
    }
    let learned = watch.state & WATCH_OLD_CHECKSUM != 0;
    if !learned && folds_to_ones(sum + u64::from(half(&frame.envelope.dst, 0))) {
        return true;
    }
    if (learned || (unicast && !rules.has(Rules::NEVER_OLD_CHECKSUM))) && folds_to_ones(sum + group) {
        speaker.flags |= SPEAKER_OLD_CHECKSUM;
        return true;
    }
    false
}

/// VRRPv3's pseudo-header over IPv4 (RFC 9568 section 5.2.8), without the destination.
#[inline(always)]
fn upper_v4<P: Packet>(frame: &Frame<'_, P>) -> u64 {
    // Length and protocol, each the low half of a word in network order, may be summed as one.
    let upper = HEADER_LEN + frame.listed() + u32::from(IPPROTO_VRRP);
    u64::from(half(&frame.envelope.src, 0)) + u64::from(upper.to_be())
}

/// RFC 8200 section 8.1. `list` is the sum of the addresses where the packet holds nothing beside them.
#[inline(always)]
fn sum_fits_v6<P: Packet>(frame: &Frame<'_, P>, list: Option<u64>) -> bool {
    let envelope = frame.envelope;
    let body = match list {
        Some(sum) if envelope.len == frame.expected() => Some(sum + halves(word(&frame.header, 0))),
        _ => frame.packet.sum(envelope.at, envelope.len),
    };
    let Some(mut sum) = body else {
        return false;
    };
    sum += halves(word(&envelope.src, 0)) + halves(word(&envelope.src, 8));
    sum += halves(word(&envelope.dst, 0)) + halves(word(&envelope.dst, 8));
    sum += u64::from((envelope.len + u32::from(IPPROTO_VRRP)).to_be());
    folds_to_ones(sum)
}

/// Judges a frame that leaves under these rules, and reads its list of addresses. `to_peer`: its destination is
/// in the map `PEERS`. Its source is for [`standing`].
#[inline(always)]
pub fn leaving<P: Packet>(
    frame: &Frame<'_, P>,
    sender: &Sender,
    rules: &Rules,
    to_peer: bool,
    speaker: &mut Speaker,
    list: &mut List,
) -> Judgement {
    if sender.forwarded {
        return Judgement::unheard(Reason::Forwarded as u8);
    }
    if !sender.vrrp_socket {
        return Judgement::unheard(Reason::NotVrrpSocket as u8);
    }
    // keepalived opens other sockets when it reads its file again.
    let unread = rules.socket != 0 && sender.cookie == rules.socket;
    if !unread && !sends_to(frame, rules, to_peer) {
        return Judgement::unheard(Reason::Destination as u8);
    }
    let ttl = if frame.is_multicast() { 255 } else { rules.ttl };
    if !unread && ttl != 0 && frame.envelope.ttl != ttl {
        return Judgement::unheard(Reason::LocalTtl as u8);
    }
    let version = frame.version();
    if version != 2 && version != 3 {
        return Judgement::unheard(Reason::Version as u8);
    }
    if frame.header[0] & 15 != 1 {
        return Judgement::unheard(Reason::Type as u8);
    }
    if frame.envelope.len != frame.expected() || !read_list(frame, list, speaker) {
        return Judgement::unheard(Reason::Length as u8);
    }
    speaker.sender = sender.cookie;
    Judgement { class: Class::Ours, reason: 0 }
}

/// Whether the destination is one that our keepalived sends to, as far as the configuration says.
#[inline(always)]
fn sends_to<P: Packet>(frame: &Frame<'_, P>, rules: &Rules, to_peer: bool) -> bool {
    if !rules.has(Rules::MODE_CONFIGURED) {
        return true;
    }
    let known = rules.has(Rules::KNOWS_TARGETS);
    if rules.has(Rules::UNICAST) {
        !frame.is_multicast() && (to_peer || !known)
    } else {
        frame.is_multicast() && (same(&frame.envelope.dst, &rules.destination) || !known)
    }
}

/// What an advert is worth that is ours but for its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Its source is vouched for: it counts, and shows the rules.
    Vouched = 1,
    /// No source is vouched for yet: it is remembered until user space has looked at it, and shows nothing.
    Awaited = 2,
    /// Another source is, or another one is looked at: it is unheard.
    Stranger = 3,
}

/// What [`Standing::Stranger`] is.
pub const STRANGER: Judgement = Judgement::unheard(Reason::LocalSource as u8);

/// See [`Standing`]. `local`: whom this watch remembers on this host.
#[inline(always)]
pub fn standing(watch: &Watch, local: &Speaker, speaker: &Speaker) -> Standing {
    if watch.state & WATCH_VOUCHED != 0 {
        return if same(&watch.vouched, &speaker.src) { Standing::Vouched } else { Standing::Stranger };
    }
    if local.last_seen_ns == 0 || same(&local.src, &speaker.src) { Standing::Awaited } else { Standing::Stranger }
}

/// What our own advert, whose list sums up to `sum`, shows of our keepalived: the rules by which it takes
/// others' adverts.
#[inline(always)]
pub fn learn<P: Packet>(frame: &Frame<'_, P>, speaker: &Speaker, sum: u64, watch: &mut Watch) {
    let rules = &mut watch.rules;
    rules.version = speaker.version;
    rules.vip_count = speaker.vip_count;
    rules.list = speaker.list;
    rules.flags |= Rules::KNOWS_LIST | Rules::KNOWS_MODE;
    // Where the mode is configured, this is of that mode.
    if frame.is_multicast() {
        rules.flags &= !Rules::UNICAST;
        rules.destination = frame.envelope.dst;
    } else {
        rules.flags |= Rules::UNICAST;
        rules.destination = frame.envelope.src;
    }
    if speaker.version == 2 {
        rules.interval_cs = speaker.interval_cs;
        if rules.auth_type != speaker.auth_type || !rules.has(Rules::KNOWS_AUTH) {
            rules.auth_type = speaker.auth_type;
            rules.flags = (rules.flags | Rules::KNOWS_AUTH) & !Rules::KNOWS_PASSWORD;
        }
        if speaker.auth_type == AUTH_PASSWORD {
            let mut password = Bytes::<8>::zero();
            let at = frame.envelope.at + frame.envelope.len - AUTH_LEN;
            if frame.packet.load(at, &mut password) {
                rules.password = password.0;
                rules.flags |= Rules::KNOWS_PASSWORD;
            }
        } else if speaker.auth_type == AUTH_AH && frame.is_ah() {
            learn_header(frame, watch);
        }
    } else {
        // VRRPv3 has none.
        rules.auth_type = AUTH_NONE;
        rules.flags |= Rules::KNOWS_AUTH;
        if frame.is_v4() && rules.is_unicast() {
            let old = sum + halves(word(&frame.header, 0)) + upper_v4(frame) + u64::from(half(&rules.group, 0));
            let fits = folds_to_ones(old);
            watch.state = if fits { watch.state | WATCH_OLD_CHECKSUM } else { watch.state & !WATCH_OLD_CHECKSUM };
        }
    }
}

/// What our own authentication header shows: where the sequence stands, and whether the key that we know is
/// the one that our keepalived has.
#[inline(always)]
fn learn_header<P: Packet>(frame: &Frame<'_, P>, watch: &mut Watch) {
    let begin = frame.envelope.at - ah::LENGTH;
    let mut sequence = Bytes::<4>::zero();
    if frame.packet.load(begin + 8, &mut sequence) {
        watch.ah_sequence = u32::from_be_bytes(sequence.0);
    }
    let rules = &mut watch.rules;
    let fields = mutable(frame, rules.is_unicast());
    let known = rules.has(Rules::KNOWS_PASSWORD) && begin == IPV4_LEN;
    if known && !frame.packet.icv_fits(&rules.ah, fields) {
        rules.flags &= !Rules::KNOWS_PASSWORD;
    }
}

#[cfg(test)]
mod tests;
