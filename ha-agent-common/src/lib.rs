//! The records that the eBPF classifier (`ha-agent-ebpf`) and the agent share through maps.
//!
//! Every struct is `repr(C)`, holds no `bool`, no enum and no implicit padding, and has its size and
//! offsets asserted below. [`LAYOUT_VERSION`] rises with every change here; the agent refuses an
//! object that carries another one.
//!
//! Times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`). Intervals are centiseconds, the
//! unit of VRRPv3's Max Advertise Interval (RFC 9568 section 5.2.7); VRRPv2's seconds are multiplied.
#![cfg_attr(not(any(test, feature = "user")), no_std)]

pub mod budget;
#[cfg(any(test, feature = "user"))]
pub mod build;
pub mod frame;
pub mod speaker;

/// Rises with every change of a record's layout or meaning.
pub const LAYOUT_VERSION: u32 = 1;
/// The classifier's global that carries [`LAYOUT_VERSION`]. The version is part of the name: an
/// object of another layout lacks the symbol, and the loader says so before anything is attached.
pub const LAYOUT_GLOBAL: &str = "LAYOUT_1";
const _: () = assert!(LAYOUT_VERSION == 1, "rename LAYOUT_GLOBAL with it");

/// Routers that one node can watch: the size of [`Speaker`] array `LOCAL` and of `WATCHES`.
pub const MAX_WATCHES: u32 = 8192;
/// Foreign speakers remembered over all watches (LRU; unknown VRIDs never enter).
pub const MAX_FOREIGN: u32 = 16384;

/// Which address family a watch or a frame belongs to: the values of [`WatchKey::family`].
pub const FAMILY_V4: u8 = 4;
/// See [`FAMILY_V4`].
pub const FAMILY_V6: u8 = 6;

/// What an advert is looked up by: the unforgeable place where it was seen, and its VRID.
///
/// `realm` tells equal interface indexes of different namespaces apart. It is the cookie of the
/// namespace that the frame's device is in (`SO_NETNS_COOKIE`, 5.14), read through the offsets of
/// [`global::NETNS_OFFSETS`]; where that cannot be read, the class id that the agent gave to the
/// attachment. (`bpf_get_netns_cookie` is no help: in a classifier it speaks of the frame's socket,
/// and an arriving frame has none.)
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

/// One watched VRID on one interface: who it is to the agent, and its budgets.
///
/// A budget is a token bucket refilled by the program from the clock; it bounds how many ring-buffer
/// records this watch may cause, not what is counted or refreshed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The agent's number for this watch: index into `LOCAL`, below [`MAX_WATCHES`].
    pub id: u32,
    /// Tokens left for records about valid foreign adverts.
    pub foreign_tokens: u32,
    /// Tokens left for records about invalid frames.
    pub invalid_tokens: u32,
    /// Tokens left for records about local adverts.
    pub local_tokens: u32,
    /// When the buckets were last refilled.
    pub refilled_ns: u64,
    /// Valid adverts seen leaving.
    pub local_adverts: u64,
    /// Valid adverts seen arriving.
    pub foreign_adverts: u64,
    /// Invalid frames for this VRID, both directions.
    pub invalid_frames: u64,
    /// Records withheld by a budget or lost to a full ring buffer.
    pub withheld: u64,
}

/// Records a watch may cause at once, per bucket.
pub const BUDGET_BURST: u32 = 64;
/// Nanoseconds after which a bucket gains one token: 32 records a second.
pub const BUDGET_REFILL_NS: u64 = 31_250_000;

/// Key of `FOREIGN`: a source address heard for a watch.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForeignKey {
    /// [`Watch::id`].
    pub watch: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`], as a word to leave no padding.
    pub family: u32,
    /// Source address, network order; IPv4 in the first four bytes, the rest zero.
    pub src: [u8; 16],
}

/// What is remembered of one speaker: its last valid advert and its current run.
///
/// A run is a series of adverts without a gap of more than 1.5 advert intervals and without a
/// priority-0 advert in between.
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
    /// FNV-1a over the advertised addresses, in their order, as [`frame`] takes it (what two
    /// routers of one VRID must share).
    pub vips_hash: u64,
    /// Source address, network order; IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// First advertised address; zero when the advert lists none.
    pub first_vip: [u8; 16],
    /// VRRPv2 simple password, else zero (RFC 2338 section 5.3.10).
    pub auth_data: [u8; 8],
    /// Advert interval in centiseconds.
    pub interval_cs: u16,
    /// 0 leaving, 255 address owner.
    pub priority: u8,
    /// 2 or 3.
    pub version: u8,
    /// Addresses in the advert.
    pub vip_count: u8,
    /// VRRPv2 authentication type: 0 none, 1 password, 2 IP authentication header.
    pub auth_type: u8,
    /// `SPEAKER_…` bits.
    pub flags: u8,
    /// The newest priority above 0 before this advert's; 0: there was none. Tells a master that
    /// leaves from a stranger.
    pub last_priority: u8,
}

/// The advert came in an IP authentication header (protocol 51).
pub const SPEAKER_AH: u8 = 1;
/// The source MAC was the virtual router's (`use_vmac`).
pub const SPEAKER_VMAC: u8 = 2;
/// The destination was no multicast group: unicast peers.
pub const SPEAKER_UNICAST: u8 = 4;
/// The VRRPv3/IPv4 checksum left out the pseudo-header.
pub const SPEAKER_CHECKSUM_PLAIN: u8 = 8;

/// One ring-buffer record: something new about a speaker, or an invalid frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The speaker as it now stands; for an invalid frame what could be read of it.
    pub speaker: Speaker,
    /// [`Watch::id`].
    pub watch: u32,
    /// `RECORD_…`: why this was sent.
    pub kind: u8,
    /// [`EGRESS`] or [`INGRESS`].
    pub direction: u8,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u8,
    /// `INVALID_…`, or 0 when the frame is valid.
    pub invalid: u8,
    /// IP TTL or hop limit.
    pub ttl: u8,
    /// Zero.
    pub pad: [u8; 7],
}

/// Seen leaving this host: [`Record::direction`].
pub const EGRESS: u8 = 0;
/// Seen arriving: [`Record::direction`].
pub const INGRESS: u8 = 1;

/// The speaker was not known before.
pub const RECORD_FIRST: u8 = 1;
/// Priority, interval, version, addresses, authentication or flags differ from the advert before.
pub const RECORD_CHANGED: u8 = 2;
/// A new run: the speaker was silent for more than 1.5 intervals, or had left.
pub const RECORD_RESUMED: u8 = 3;
/// The frame is invalid; the speaker's own record was not touched.
pub const RECORD_INVALID: u8 = 4;

/// TTL or hop limit is not 255, in multicast mode (RFC 9568 section 5.1.1.3).
pub const INVALID_TTL: u8 = 1;
/// The checksum matches neither form.
pub const INVALID_CHECKSUM: u8 = 2;
/// Shorter or longer than its address count says.
pub const INVALID_LENGTH: u8 = 3;
/// VRRP type is not 1, advertisement.
pub const INVALID_TYPE: u8 = 4;
/// VRRP version is neither 2 nor 3.
pub const INVALID_VERSION: u8 = 5;
/// VRRPv2 authentication type is not 0, 1 or 2, or does not fit what carries it: type 2 goes in an
/// IP authentication header and nothing else does; over IPv6 there is no authentication.
pub const INVALID_AUTH: u8 = 6;

/// Names of the classifier's other globals (set before it is loaded, constant after).
pub mod global {
    /// `[u32; 4]`: 1 when the rest is valid, then the offsets of `sk_buff.dev`,
    /// `net_device.nd_net.net` and `net.net_cookie` in the running kernel, from its BTF.
    pub const NETNS_OFFSETS: &str = "NETNS_OFFSETS";
}

/// Indexes of the per-CPU counter array `COUNTERS`.
pub mod counter {
    /// Frames the classifier looked at.
    pub const FRAMES: u32 = 0;
    /// VRRP frames, valid or not, watched or not.
    pub const VRRP: u32 = 1;
    /// VRRP frames for a VRID that is not watched here.
    pub const UNKNOWN_VRID: u32 = 2;
    /// Invalid frames for a watched VRID.
    pub const INVALID: u32 = 3;
    /// VRRP in an IP fragment: skipped.
    pub const FRAGMENT: u32 = 4;
    /// VRRP in an 802.1Q frame: not this interface's.
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
    /// A watch with full budgets.
    pub const fn new(id: u32, now_ns: u64) -> Self {
        Self {
            id,
            foreign_tokens: BUDGET_BURST,
            invalid_tokens: BUDGET_BURST,
            local_tokens: BUDGET_BURST,
            refilled_ns: now_ns,
            local_adverts: 0,
            foreign_adverts: 0,
            invalid_frames: 0,
            withheld: 0,
        }
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<WatchKey>() == 16);
    assert!(size_of::<Watch>() == 56);
    assert!(offset_of!(Watch, refilled_ns) == 16);
    assert!(size_of::<ForeignKey>() == 24);
    assert!(size_of::<Speaker>() == 88);
    assert!(offset_of!(Speaker, src) == 40);
    assert!(offset_of!(Speaker, interval_cs) == 80);
    assert!(offset_of!(Speaker, last_priority) == 87);
    assert!(size_of::<Record>() == 104);
    assert!(offset_of!(Record, watch) == 88);
};

#[cfg(feature = "user")]
mod user {
    use super::{ForeignKey, Record, Speaker, Watch, WatchKey};
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
}
