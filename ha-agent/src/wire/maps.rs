//! The kernel's maps, and what userspace adds to them: which foreign keys belong to which watch.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray};
use ha_agent_common::{ForeignKey, SPEAKER_UNICAST, Speaker, Watch, WatchKey, counter};

use super::WireError;
use super::metrics::Stats;
use super::table::{Entry, Table};
use super::translate;
use crate::core::model::{Advert, Side};

/// Foreign speakers remembered per watch here; the least steady ones go first.
const KNOWN_PER_WATCH: usize = 64;

/// Maps and bookkeeping that the handle and the ring-buffer reader share.
pub(super) struct Shared {
    table: Mutex<Table>,
    known: Mutex<HashMap<u32, Vec<ForeignKey>>>,
    watches: Mutex<BpfHashMap<MapData, WatchKey, Watch>>,
    local: Mutex<Array<MapData, Speaker>>,
    foreign: Mutex<BpfHashMap<MapData, ForeignKey, Speaker>>,
    counters: PerCpuArray<MapData, u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, WireError> {
        Ok(Self {
            table: Mutex::default(),
            known: Mutex::default(),
            watches: Mutex::new(taken(ebpf, "WATCHES")?),
            local: Mutex::new(taken(ebpf, "LOCAL")?),
            foreign: Mutex::new(taken(ebpf, "FOREIGN")?),
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
        for key in keys {
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
        let keys = locked(&self.known).get(&entry.id).cloned().unwrap_or_default();
        let mut forgotten = Vec::new();
        for key in keys {
            match self.foreign(&key)? {
                Some(speaker) if speaker.last_seen_ns < entry.since.0 => {}
                Some(speaker) if !is_heard(&speaker, local.as_ref()) => {}
                Some(speaker) => {
                    speakers.push(translate::advert(&speaker, entry.key.family, Side::Foreign));
                }
                None => forgotten.push(key),
            }
        }
        if !forgotten.is_empty()
            && let Some(keys) = locked(&self.known).get_mut(&entry.id)
        {
            keys.retain(|key| !forgotten.contains(key));
        }
        Ok(speakers)
    }

    fn foreign(&self, key: &ForeignKey) -> Result<Option<Speaker>, WireError> {
        let foreign = locked(&self.foreign);
        steady(|| foreign.get(key, 0)).map_err(|error| failed("FOREIGN", &error))
    }

    /// Notes that a watch has this foreign speaker.
    ///
    /// At most [`KNOWN_PER_WATCH`] are kept: of more, the one with the shortest run and, among
    /// equals, the one silent for longest goes, so that a flood of sources cannot push out a master
    /// that goes on advertising.
    pub(super) fn note(&self, key: ForeignKey) {
        let mut known = locked(&self.known);
        let keys = known.entry(key.watch).or_default();
        if keys.contains(&key) {
            return;
        }
        keys.push(key);
        if keys.len() > KNOWN_PER_WATCH {
            let steadiness = |key: &ForeignKey| match self.foreign(key) {
                Ok(Some(speaker)) => (speaker.run_adverts, speaker.last_seen_ns),
                _ => (0, 0),
            };
            let least = (0..keys.len()).min_by_key(|index| steadiness(&keys[*index]));
            if let Some(index) = least {
                keys.swap_remove(index);
            }
        }
    }

    /// Notes every foreign speaker that the kernel remembers: after records were lost.
    pub(super) fn note_all(&self) {
        let keys: Vec<ForeignKey> = locked(&self.foreign).keys().flatten().collect();
        for key in keys {
            if self.table().router(key.watch).is_some() {
                self.note(key);
            }
        }
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
