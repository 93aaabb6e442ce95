//! The maps and globals that the agent finds by name.

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use ha_agent_common::{
    ForeignKey, LAYOUT_VERSION, MAX_FOREIGN, MAX_WATCHES, Speaker, Watch, WatchKey, counter, frame::List,
};

/// Carries the layout in its name, see `ha_agent_common::LAYOUT_GLOBAL`.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT_1: Global<u32> = Global::new(LAYOUT_VERSION);

/// See `ha_agent_common::global::NETNS_OFFSETS`.
#[unsafe(no_mangle)]
pub(crate) static NETNS_OFFSETS: Global<[u32; 4]> = Global::new([0; 4]);

/// What is watched. Written by the agent; the program changes values in place, never keys.
#[map]
pub(crate) static WATCHES: HashMap<WatchKey, Watch> = HashMap::with_max_entries(MAX_WATCHES, BPF_F_NO_PREALLOC);

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

/// `ha_agent_common::counter`.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// The list of addresses of the advert that this processor is looking at.
#[map]
pub(crate) static LIST: PerCpuArray<List> = PerCpuArray::with_max_entries(1, 0);

/// The speaker of the advert that this processor is looking at: too large for the stack.
#[map]
pub(crate) static SPEAKER: PerCpuArray<Speaker> = PerCpuArray::with_max_entries(1, 0);

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(which: u32) {
    if let Some(slot) = COUNTERS.get_ptr_mut(which) {
        // SAFETY: the slot is this processor's own, and a classifier does not interrupt itself.
        unsafe { *slot += 1 };
    }
}
