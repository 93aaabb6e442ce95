//! The kernel's maps, and what userspace adds to them: which foreign keys belong to which watch.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray};
use ha_agent_common::{ForeignKey, SPEAKER_UNICAST, Speaker, Watch, WatchKey, counter};

use super::WireError;
use super::batch::{Batches, Cursor};
use super::known::{Known, is_live};
use super::metrics::Stats;
use super::table::{Entry, Table};
use super::translate;
use crate::clock;
use crate::core::model::{Advert, RouterId, Side};
use crate::core::time::Mono;

/// Maps and bookkeeping that the handle and the ring-buffer reader share.
pub(super) struct Shared {
    table: Mutex<Table>,
    known: Mutex<HashMap<u32, Known>>,
    /// Someone who goes on advertising is not known.
    left_out: AtomicBool,
    watches: Mutex<BpfHashMap<MapData, WatchKey, Watch>>,
    local: Mutex<Array<MapData, Speaker>>,
    foreign: Mutex<BpfHashMap<MapData, ForeignKey, Speaker>>,
    batches: Batches,
    counters: PerCpuArray<MapData, u64>,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Masters that were not known.
    pub(super) new: Vec<(RouterId, Advert)>,
    /// Where to go on; none: it has seen all.
    pub(super) next: Option<Cursor>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, WireError> {
        let foreign = ebpf.take_map("FOREIGN").ok_or(WireError::LayoutMismatch)?;
        Ok(Self {
            table: Mutex::default(),
            known: Mutex::default(),
            left_out: AtomicBool::new(false),
            watches: Mutex::new(taken(ebpf, "WATCHES")?),
            local: Mutex::new(taken(ebpf, "LOCAL")?),
            batches: Batches::of(&foreign)?,
            foreign: Mutex::new(BpfHashMap::try_from(foreign).map_err(|_| WireError::LayoutMismatch)?),
            counters: taken(ebpf, "COUNTERS")?,
        })
    }

    /// The table of watched routers. Held for moments only, never across an await.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        locked(&self.table)
    }

    /// Begins a watch; what an earlier holder of its number left is cleared.
    pub(super) fn insert_watch(&self, key: &WatchKey, watch: &Watch) -> Result<(), WireError> {
        locked(&self.local).set(watch.id, Speaker::default(), 0).map_err(|error| failed("LOCAL", &error))?;
        locked(&self.watches).insert(key, watch, 0).map_err(|error| failed("WATCHES", &error))
    }

    /// Ends a watch and forgets its speakers.
    pub(super) fn remove_watch(&self, key: &WatchKey, id: u32) {
        if let Err(error) = locked(&self.watches).remove(key) {
            tracing::debug!(%error, ?key, "watch not removed");
        }
        let keys = locked(&self.known).remove(&id).unwrap_or_default();
        let mut foreign = locked(&self.foreign);
        for key in keys.into_keys() {
            // The LRU may have been faster.
            if foreign.remove(&key).is_err() {
                tracing::trace!(?key, "speaker already forgotten");
            }
        }
    }

    /// The speaker on this host; none when it was never heard.
    pub(super) fn local(&self, id: u32) -> Result<Option<Speaker>, WireError> {
        let local = locked(&self.local);
        steady(|| local.get(&id, 0))
            .map(|speaker| speaker.filter(|speaker| speaker.last_seen_ns != 0))
            .map_err(|error| failed("LOCAL", &error))
    }

    /// All speakers of a router, the local one first.
    pub(super) fn speakers(&self, entry: &Entry) -> Result<Vec<Advert>, WireError> {
        let mut speakers = Vec::new();
        let local = self.local(entry.id)?.filter(|speaker| speaker.last_seen_ns >= entry.since.0);
        if let Some(speaker) = &local {
            speakers.push(translate::advert(speaker, entry.key.family, Side::Local));
        }
        if let Some(known) = locked(&self.known).get_mut(&entry.id) {
            known.refresh(|key| self.foreign(key))?;
            let ours = known.speakers().filter(|speaker| speaker.last_seen_ns >= entry.since.0);
            let heard = ours.filter(|speaker| is_heard(speaker, local.as_ref()));
            speakers.extend(heard.map(|speaker| translate::advert(speaker, entry.key.family, Side::Foreign)));
        }
        Ok(speakers)
    }

    /// Puts a foreign speaker where the classifier would.
    #[cfg(test)]
    pub(super) fn remember(&self, key: &ForeignKey, speaker: &Speaker) {
        locked(&self.foreign).insert(key, speaker, 0).unwrap();
    }

    fn foreign(&self, key: &ForeignKey) -> Result<Option<Speaker>, WireError> {
        let foreign = locked(&self.foreign);
        steady(|| foreign.get(key, 0)).map_err(|error| failed("FOREIGN", &error))
    }

    /// Notes that a watch has this foreign speaker, as it was at `now`; whether that is new and there
    /// is a place for it.
    pub(super) fn note(&self, key: ForeignKey, speaker: &Speaker, local: Option<&Speaker>, now: Mono) -> bool {
        let again = |key: &ForeignKey| self.foreign(key).ok().flatten();
        let mut known = locked(&self.known);
        let offer = known.entry(key.watch).or_default().offer(key, *speaker, local, now, again);
        self.left_out.fetch_or(offer.left_out, Ordering::Relaxed);
        offer.new
    }

    /// Whether someone was left out since this was last asked.
    pub(super) fn take_left_out(&self) -> bool {
        self.left_out.swap(false, Ordering::Relaxed)
    }

    /// Notes some of the masters that the kernel remembers.
    pub(super) fn search(&self, from: Option<Cursor>) -> Result<Found, WireError> {
        let batch = self.batches.read(from)?;
        let now = clock::now();
        let mut new = Vec::new();
        for (key, speaker) in batch.found.iter().filter(|(_, speaker)| is_live(speaker, now)) {
            let watched = self.table().router(key.watch).map(|(router, entry)| (router, entry.clone()));
            let Some((router, entry)) = watched.filter(|(_, entry)| speaker.last_seen_ns >= entry.since.0) else {
                continue;
            };
            let local = self.local(entry.id)?;
            if is_heard(speaker, local.as_ref())
                && self.note(*key, speaker, local.as_ref(), now)
                && let Some(speaker) = self.foreign(key)?
            {
                new.push((router, translate::advert(&speaker, entry.key.family, Side::Foreign)));
            }
        }
        Ok(Found { new, next: batch.next })
    }

    /// The counters, summed over the processors; zero where one cannot be read.
    pub(super) fn stats(&self) -> Stats {
        let sum = |index: u32| self.counters.get(&index, 0).map_or(0, |values| values.iter().sum());
        Stats {
            frames: sum(counter::FRAMES),
            vrrp: sum(counter::VRRP),
            unknown_vrid: sum(counter::UNKNOWN_VRID),
            invalid: sum(counter::INVALID),
            fragments: sum(counter::FRAGMENT),
            tagged: sum(counter::TAGGED),
            local_ring_full: sum(counter::LOCAL_RING_FULL),
            foreign_ring_full: sum(counter::FOREIGN_RING_FULL),
            withheld: sum(counter::WITHHELD),
            foreign_not_stored: sum(counter::FOREIGN_NOT_STORED),
        }
    }
}

/// Whether keepalived would hear a valid foreign advert: not when it comes from our own address,
/// and not when it comes by unicast while our own go to the group.
pub(super) fn is_heard(foreign: &Speaker, local: Option<&Speaker>) -> bool {
    local.is_none_or(|local| {
        foreign.src != local.src && (foreign.flags & SPEAKER_UNICAST == 0 || local.flags & SPEAKER_UNICAST != 0)
    })
}

/// Source address of a speaker.
pub(super) fn source(speaker: &Speaker, family: u8) -> IpAddr {
    if family == ha_agent_common::FAMILY_V6 {
        IpAddr::from(speaker.src)
    } else {
        let [a, b, c, d, ..] = speaker.src;
        IpAddr::from([a, b, c, d])
    }
}

/// Reads until two reads agree: the program may be writing the same value. None: no such key.
fn steady(read: impl Fn() -> Result<Speaker, MapError>) -> Result<Option<Speaker>, MapError> {
    let mut before = None;
    // An advert takes the program well under a microsecond; more than a few rounds cannot be.
    for _ in 0..4 {
        let now = match read() {
            Ok(speaker) => speaker,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        if before == Some(now) {
            break;
        }
        before = Some(now);
    }
    Ok(before)
}

/// A map of the loaded object, as the type that it should have.
pub(super) fn taken<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, WireError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(WireError::LayoutMismatch)?;
    T::try_from(map).map_err(|_| WireError::LayoutMismatch)
}

/// A failed operation on a map.
pub(super) fn failed(map: &'static str, error: &MapError) -> WireError {
    WireError::Map { map, reason: error.to_string() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
