//! The maps and globals that the agent finds by name.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use ha_agent_common::{
    Device, DeviceKey, ForeignKey, LAYOUT_VERSION, MAX_FOREIGN, MAX_PEERS, MAX_WATCHES, Speaker, Watch, WatchKey, ah, counter,
    frame::{Bytes, Envelope, Link},
    judge::{Peer, PeerKey},
    list::List,
    options,
};

/// Carries the layout in its name, see `ha_agent_common::LAYOUT_GLOBAL`.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT_3: Global<u32> = Global::new(LAYOUT_VERSION);

/// See `ha_agent_common::global::NETNS_OFFSETS`.
#[unsafe(no_mangle)]
pub(crate) static NETNS_OFFSETS: Global<[u32; 4]> = Global::new([0; 4]);

/// See `ha_agent_common::global::SOCKET_OFFSETS`.
#[unsafe(no_mangle)]
pub(crate) static SOCKET_OFFSETS: Global<[u32; 3]> = Global::new([0; 3]);

/// See `ha_agent_common::global::DIGEST_KEY`.
#[unsafe(no_mangle)]
pub(crate) static DIGEST_KEY: Global<[u64; 2]> = Global::new([0; 2]);

/// See `ha_agent_common::global::ANY_SENDER`.
#[unsafe(no_mangle)]
pub(crate) static ANY_SENDER: Global<u32> = Global::new(0);

/// What is watched. Written by the agent; the program changes values in place, never keys.
#[map]
pub(crate) static WATCHES: HashMap<WatchKey, Watch> = HashMap::with_max_entries(MAX_WATCHES, BPF_F_NO_PREALLOC);

/// Peers of `unicast_peer`, where they are known. Written by the agent.
#[map]
pub(crate) static PEERS: HashMap<PeerKey, Peer> = HashMap::with_max_entries(MAX_PEERS, BPF_F_NO_PREALLOC);

/// Where the programs are attached. Written by the agent.
#[map]
pub(crate) static DEVICES: HashMap<DeviceKey, Device> = HashMap::with_max_entries(MAX_WATCHES, BPF_F_NO_PREALLOC);

/// The speaker on this host, by watch id.
#[map]
pub(crate) static LOCAL: Array<Speaker> = Array::with_max_entries(MAX_WATCHES, 0);

/// Speakers elsewhere.
#[map]
pub(crate) static FOREIGN: LruHashMap<ForeignKey, Speaker> = LruHashMap::with_max_entries(MAX_FOREIGN, 0);

/// Records about frames that leave.
#[map]
pub(crate) static LOCAL_EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Records about frames that arrive.
#[map]
pub(crate) static FOREIGN_EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Frames that the agent puts together.
#[map]
pub(crate) static PIECES: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// `ha_agent_common::counter`.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// The list of addresses of the advert that this processor is looking at.
#[map]
pub(crate) static LIST: PerCpuArray<List> = PerCpuArray::with_max_entries(1, 0);

/// The advert that this processor is looking at: too large for the stack.
#[map]
pub(crate) static ADVERT: PerCpuArray<Advert> = PerCpuArray::with_max_entries(1, 0);

/// See [`ADVERT`].
#[repr(C)]
pub(crate) struct Advert {
    pub(crate) envelope: Envelope,
    pub(crate) speaker: Speaker,
    pub(crate) link: Link,
    pub(crate) key: WatchKey,
    /// `Watch::id`.
    pub(crate) watch: u32,
    /// When it was looked at, `CLOCK_MONOTONIC`.
    pub(crate) now: u64,
}

/// The IPv4 options of the packet that this processor is looking at.
#[map]
pub(crate) static OPTIONS: PerCpuArray<Bytes<{ options::ROOM }>> = PerCpuArray::with_max_entries(1, 0);

/// Where this processor computes an integrity value, and with which key.
#[map]
pub(crate) static WORK: PerCpuArray<ah::Work> = PerCpuArray::with_max_entries(1, 0);

/// See [`WORK`].
#[map]
pub(crate) static AH_KEY: PerCpuArray<ah::Key> = PerCpuArray::with_max_entries(1, 0);

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(which: u32) {
    if let Some(slot) = COUNTERS.get_ptr_mut(which) {
        // SAFETY: the slot is this processor's own, and a classifier does not interrupt itself.
        unsafe { *slot += 1 };
    }
}
