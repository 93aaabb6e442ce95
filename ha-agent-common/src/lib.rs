//! What the eBPF classifier (`ha-agent-ebpf`) and the agent share: the records that cross the maps, and
//! the one judgement of what a frame is.
//!
//! - [`frame`]: from the link to the VRRP header. [`list`]: the advertised addresses. [`ah`]: the
//!   authentication header.
//! - [`judge`]: what a frame is, given the rules of the instance whose VRID it carries: [`Class`], [`Reason`].
//! - [`mod@slice`]: a packet in memory, for user space.
//! - [`device`]: which device a frame gets to. [`rules`]: those rules. [`speaker`]: what an advert adds to what is known of its sender.
//! - [`budget`]: how many records a watch may cause.
//!
//! Every shared struct is `repr(C)`, holds no `bool`, no enum and no implicit padding, and has its size
//! and offsets asserted below. [`LAYOUT_VERSION`] rises with every change here; the agent refuses an
//! object that carries another one.
//!
//! Times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`). Intervals are centiseconds, the
//! unit of VRRPv3's Max Advertise Interval (RFC 9568 section 5.2.7); VRRPv2's seconds are multiplied.
#![cfg_attr(not(any(test, feature = "user")), no_std)]

pub mod ah;
pub mod budget;
#[cfg(any(test, feature = "user"))]
pub mod build;
pub mod device;
pub mod frame;
pub mod judge;
pub mod list;
pub mod options;
mod reason;
pub mod rules;
pub mod slice;
pub mod speaker;

pub use reason::{Class, Reason};
pub use rules::Rules;

/// Rises with every change of a record's layout or meaning.
pub const LAYOUT_VERSION: u32 = 3;
/// The classifier's global that carries [`LAYOUT_VERSION`]. The version is part of the name: an
/// object of another layout lacks the symbol, and the loader says so before anything is attached.
pub const LAYOUT_GLOBAL: &str = "LAYOUT_3";
const _: () = assert!(LAYOUT_VERSION == 3, "rename LAYOUT_GLOBAL with it");

/// Routers that one node can watch: the size of [`Speaker`] array `LOCAL` and of `WATCHES`.
pub const MAX_WATCHES: u32 = 8192;
/// Peers of all watches: the size of `PEERS`.
pub const MAX_PEERS: u32 = 4 * MAX_WATCHES;
/// Foreign speakers remembered over all watches (LRU; unknown VRIDs never enter).
pub const MAX_FOREIGN: u32 = 16384;

/// Which address family a watch or a frame belongs to: the values of [`WatchKey::family`].
pub const FAMILY_V4: u8 = 4;
/// See [`FAMILY_V4`].
pub const FAMILY_V6: u8 = 6;

/// What an advert is looked up by: the place where it was seen, and its VRID.
///
/// `realm` tells equal interface indexes of different namespaces apart. It is the cookie of the
/// namespace that the frame's device is in (`SO_NETNS_COOKIE`, 5.14), read through the offsets of
/// [`global::NETNS_OFFSETS`]; where that cannot be read, the class id that the agent gave to the
/// attachment. (`bpf_get_netns_cookie` is no help: in a classifier it speaks of the frame's socket,
/// and an arriving frame has none.) A frame cannot choose its place; what it says of itself is for
/// [`judge`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchKey {
    /// Namespace cookie, or the attachment's class id.
    pub realm: u64,
    /// Interface index within that namespace.
    pub ifindex: u32,
    /// Virtual router identifier, 1 to 255.
    pub vrid: u8,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// One watched VRID on one interface: who it is to the agent, what its keepalived takes, and its budgets.
///
/// A budget is a token bucket refilled by the program from the clock; it bounds how many ring-buffer
/// records this watch may cause, not what is counted or refreshed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The agent's number for this watch: index into `LOCAL`, below [`MAX_WATCHES`].
    pub id: u32,
    /// Tokens left for records about peers.
    pub foreign_tokens: u32,
    /// Tokens left for records about frames that keepalived rejects or never hears.
    pub refused_tokens: u32,
    /// Tokens left for records about our own adverts.
    pub local_tokens: u32,
    /// When the buckets were last refilled.
    pub refilled_ns: u64,
    /// Frames of [`Class::Ours`].
    pub ours: u64,
    /// Frames of [`Class::Peer`].
    pub peers: u64,
    /// Frames of [`Class::Rejected`].
    pub rejected: u64,
    /// Frames of [`Class::Unheard`], both directions.
    pub unheard: u64,
    /// Records withheld by a budget or lost to a full ring buffer.
    pub withheld: u64,
    /// The newest frame of [`Class::Rejected`]; 0: none. keepalived puts its next advert off with each.
    pub rejected_ns: u64,
    /// The newest priority-0 advert of a peer; 0: none.
    pub resigned_ns: u64,
    /// Whose it was: source address and MAC.
    pub resigned_src: [u8; 16],
    /// See [`Watch::resigned_src`].
    pub resigned_mac: [u8; 6],
    /// Zero.
    pub pad2: [u8; 2],
    /// Our keepalived's source address, as far as it is vouched for; with [`WATCH_VOUCHED`].
    pub vouched: [u8; 16],
    /// keepalived's counter of AH sequence numbers, as far as the wire shows it.
    pub ah_sequence: u32,
    /// Tokens left for records about adverts like ours from another source than the vouched one.
    pub source_tokens: u32,
    /// The reason of the newest frame that was refused, a [`Reason`]; 0: none.
    pub reason: u8,
    /// `WATCH_…` bits.
    pub state: u8,
    /// Zero.
    pub pad: [u8; 6],
    /// What its keepalived takes.
    pub rules: Rules,
}

/// keepalived has heard a VRRPv3 unicast checksum of the old form, and keeps to it (`Watch::state`). The agent sets
/// it, once it knows that the kernel takes packets from a speaker of [`SPEAKER_OLD_CHECKSUM`].
pub const WATCH_OLD_CHECKSUM: u8 = 1;
/// [`Watch::vouched`] holds (`Watch::state`): an address that the configuration names, or that the kernel says is
/// this host's. The agent sets it.
pub const WATCH_VOUCHED: u8 = 2;

/// Records a watch may cause at once, per bucket.
pub const BUDGET_BURST: u32 = 64;
/// Nanoseconds after which a bucket gains one token: 32 records a second.
pub const BUDGET_REFILL_NS: u64 = 31_250_000;

/// Key of `FOREIGN`: who sent, and what. One source that says different things has an entry for each.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForeignKey {
    /// [`Watch::id`].
    pub watch: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u16,
    /// See [`Speaker::vlan`].
    pub vlan: u16,
    /// Source address, network order; IPv4 in the first four bytes, the rest zero.
    pub src: [u8; 16],
    /// See [`Speaker::content`].
    pub content: u64,
    /// Source MAC; zero where the link has none.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}

impl ForeignKey {
    /// The key that a speaker is remembered under.
    #[inline(always)]
    pub fn of(watch: u32, family: u8, speaker: &Speaker) -> Self {
        Self {
            watch,
            family: u16::from(family),
            vlan: speaker.vlan,
            src: speaker.src,
            content: speaker.content,
            mac: speaker.mac,
            pad: [0; 2],
        }
    }
}

/// What is remembered of one speaker: its last advert and its current run.
///
/// A run is a series of adverts without a gap of more than 1.5 advert intervals.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// First advert of the current run.
    pub run_since_ns: u64,
    /// The newest advert; 0: none was ever seen.
    pub last_seen_ns: u64,
    /// Adverts since the speaker was first seen.
    pub adverts: u64,
    /// Adverts in the current run, the newest included.
    pub run_adverts: u64,
    /// [`list::List::digest`] of the advertised addresses.
    pub list: u64,
    /// Tells adverts of one source apart: a keyed digest over all that an advert says.
    pub content: u64,
    /// Cookie of the local socket that sent it (`bpf_get_socket_cookie`); 0 for what arrived.
    pub sender: u64,
    /// Source address, network order; IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Source MAC; zero where the link has none.
    pub mac: [u8; 6],
    /// VLAN id of an 802.1Q tag (0: a priority tag); [`NO_VLAN`] without one.
    pub vlan: u16,
    /// Advert interval in centiseconds.
    pub interval_cs: u16,
    /// 0 leaving, 255 address owner.
    pub priority: u8,
    /// VRRP version.
    pub version: u8,
    /// Addresses in the advert.
    pub vip_count: u8,
    /// VRRPv2 authentication type: 0 none, 1 password, 2 IP authentication header.
    pub auth_type: u8,
    /// `SPEAKER_…` bits.
    pub flags: u8,
    /// Why keepalived rejects it, a [`Reason`]; 0: it does not.
    pub refused: u8,
    /// IP TTL or hop limit.
    pub ttl: u8,
    /// Zero.
    pub pad: [u8; 7],
}

/// See [`Speaker::vlan`].
pub const NO_VLAN: u16 = 0xffff;

/// The advert came in an IP authentication header (protocol 51).
pub const SPEAKER_AH: u8 = 1;
/// The destination was no multicast group: unicast peers.
pub const SPEAKER_UNICAST: u8 = 2;
/// Its VRRPv3 checksum is of the old form alone, which makes keepalived keep to that for good.
pub const SPEAKER_OLD_CHECKSUM: u8 = 4;

/// One ring-buffer record: something new about a speaker, or a frame that is told by itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The speaker as it now stands; for [`RECORD_FRAME`] what could be read of the frame.
    pub speaker: Speaker,
    /// [`Watch::id`].
    pub watch: u32,
    /// `RECORD_…`: why this was sent.
    pub kind: u8,
    /// [`EGRESS`] or [`INGRESS`].
    pub direction: u8,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// A [`Class`].
    pub class: u8,
    /// Of [`RECORD_FRAME`]: the frame's [`Reason`].
    pub reason: u8,
    /// Zero.
    pub pad: [u8; 7],
}

/// Seen leaving this host: [`Record::direction`].
pub const EGRESS: u8 = 0;
/// Seen arriving: [`Record::direction`].
pub const INGRESS: u8 = 1;

/// The speaker was not known before.
pub const RECORD_FIRST: u8 = 1;
/// Our own adverts say something else than before, or another socket sends them.
pub const RECORD_CHANGED: u8 = 2;
/// A new run: the speaker was silent for more than 1.5 intervals, or had left.
pub const RECORD_RESUMED: u8 = 3;
/// A frame of [`Class::Unheard`]; no speaker's record was touched.
pub const RECORD_FRAME: u8 = 4;

/// A frame that the program cannot judge where it stands: a fragment, or IPv6 with extension headers.
/// The agent puts it together and judges it by the same rules.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What is known of it beside its bytes.
    pub head: PieceHead,
    /// The packet, from its IP header on.
    pub bytes: [u8; PIECE_BYTES],
}

/// See [`Piece`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHead {
    /// See [`WatchKey::realm`].
    pub realm: u64,
    /// When it was seen.
    pub seen_ns: u64,
    /// See [`WatchKey::ifindex`].
    pub ifindex: u32,
    /// Bytes of [`Piece::bytes`] in use.
    pub length: u16,
    /// See [`Speaker::vlan`].
    pub vlan: u16,
    /// Source MAC; zero where the link has none.
    pub mac: [u8; 6],
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// See [`frame::Link::host`], and [`frame::HOST_GROUP`].
    pub host: u8,
    /// Destination MAC; zero where the link has none.
    pub to: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}

/// The longest piece: an Ethernet frame's payload and more; a power of two, for the verifier's sake. What
/// is longer cannot be judged.
pub const PIECE_BYTES: usize = 2048;

/// An attached interface: how many [`Piece`]s it may cause.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// When the bucket was last refilled.
    pub refilled_ns: u64,
    /// When a piece was last not handed over: for want of a token or of room, or since it was too long. What
    /// the kernel has of other fragments is not known from then on. 0: never.
    pub lost_ns: u64,
    /// Tokens left.
    pub tokens: u32,
    /// Zero.
    pub pad: u32,
}

/// Key of `DEVICES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceKey {
    /// See [`WatchKey::realm`].
    pub realm: u64,
    /// See [`WatchKey::ifindex`].
    pub ifindex: u32,
    /// Zero.
    pub pad: u32,
}

/// Names of the classifier's other globals (set before it is loaded, constant after).
pub mod global {
    /// `[u32; 4]`: 1 when the cookie can be read, then the offsets of `sk_buff.dev`,
    /// `net_device.nd_net.net` and `net.net_cookie` in the running kernel, from its BTF.
    pub const NETNS_OFFSETS: &str = "NETNS_OFFSETS";
    /// `[u32; 3]`: 1 when the rest is valid, and the first two offsets of [`NETNS_OFFSETS`], too; then the offsets
    /// of `sk_buff.sk` and `sock.__sk_common.skc_net.net`.
    pub const SOCKET_OFFSETS: &str = "SOCKET_OFFSETS";
    /// `[u64; 2]`: the secret of [`crate::list`], random for each run of the agent.
    pub const DIGEST_KEY: &str = "DIGEST_KEY";
    /// `u32`: 1 takes what leaves for our own whatever sent it, since a frame of a test run
    /// (`BPF_PROG_TEST_RUN`) has no socket. Never set for a program that is attached.
    pub const ANY_SENDER: &str = "ANY_SENDER";
}

/// Indexes of the per-CPU counter array `COUNTERS`.
pub mod counter {
    /// Frames the classifier looked at.
    pub const FRAMES: u32 = 0;
    /// VRRP frames, valid or not, watched or not.
    pub const VRRP: u32 = 1;
    /// VRRP frames for a VRID that is not watched here.
    pub const UNKNOWN_VRID: u32 = 2;
    /// Frames of a watched VRID that keepalived rejects or never hears.
    pub const INVALID: u32 = 3;
    /// What may be VRRP in IP fragments or behind IPv6 extension headers: handed to the agent.
    pub const FRAGMENT: u32 = 4;
    /// VRRP in an 802.1Q frame of another VLAN: not this interface's.
    pub const TAGGED: u32 = 5;
    /// Records lost because the local ring buffer was full.
    pub const LOCAL_RING_FULL: u32 = 6;
    /// Records lost because the foreign ring buffer was full.
    pub const FOREIGN_RING_FULL: u32 = 7;
    /// Records withheld by a budget.
    pub const WITHHELD: u32 = 8;
    /// A foreign speaker that could not be remembered (map update failed, or no budget).
    pub const FOREIGN_NOT_STORED: u32 = 9;
    /// How many counters there are.
    pub const COUNT: u32 = 10;
}

impl Watch {
    /// Our keepalived's adverts have this source.
    pub const fn vouch(&mut self, source: [u8; 16]) {
        self.vouched = source;
        self.state |= WATCH_VOUCHED;
    }

    /// A watch with full budgets.
    pub const fn new(id: u32, rules: Rules, now_ns: u64) -> Self {
        Self {
            id,
            foreign_tokens: BUDGET_BURST,
            refused_tokens: BUDGET_BURST,
            local_tokens: BUDGET_BURST,
            refilled_ns: now_ns,
            ours: 0,
            peers: 0,
            rejected: 0,
            unheard: 0,
            withheld: 0,
            rejected_ns: 0,
            resigned_ns: 0,
            resigned_src: [0; 16],
            resigned_mac: [0; 6],
            pad2: [0; 2],
            vouched: [0; 16],
            ah_sequence: 0,
            source_tokens: BUDGET_BURST,
            reason: 0,
            state: 0,
            pad: [0; 6],
            rules,
        }
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<WatchKey>() == 16);
    assert!(size_of::<Rules>() == 88);
    assert!(size_of::<Watch>() == 224);
    assert!(offset_of!(Watch, refilled_ns) == 16);
    assert!(offset_of!(Watch, rules) == 136);
    assert!(size_of::<ForeignKey>() == 40);
    assert!(size_of::<Speaker>() == 96);
    assert!(offset_of!(Speaker, src) == 56);
    assert!(offset_of!(Speaker, interval_cs) == 80);
    assert!(offset_of!(Speaker, ttl) == 88);
    assert!(size_of::<Record>() == 112);
    assert!(offset_of!(Record, watch) == 96);
    assert!(size_of::<PieceHead>() == 40);
    assert!(size_of::<Piece>() == 40 + PIECE_BYTES);
    assert!(size_of::<Device>() == 24);
    assert!(size_of::<DeviceKey>() == 16);
    assert!(size_of::<judge::PeerKey>() == 20);
    assert!(size_of::<judge::Peer>() == 4);
};

#[cfg(feature = "user")]
mod user {
    use super::judge::{Peer, PeerKey};
    use super::{Device, DeviceKey, ForeignKey, Record, Speaker, Watch, WatchKey};
    // SAFETY: `repr(C)`, integers only, no padding (sizes asserted above): every bit pattern is a value.
    unsafe impl aya::Pod for WatchKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Watch {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ForeignKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Speaker {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Record {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Device {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DeviceKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Peer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PeerKey {}
}
