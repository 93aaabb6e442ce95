//! The kernel's maps, and what userspace adds to them: which foreign keys belong to which watch, and
//! which sources the kernel takes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError, PerCpuArray};
use ha_agent_common::judge::{self, Judgement, Peer, PeerKey};
use ha_agent_common::speaker::observe;
use ha_agent_common::{
    Device, DeviceKey, FAMILY_V6, ForeignKey, Reason as Code, SPEAKER_OLD_CHECKSUM, Speaker, WATCH_OLD_CHECKSUM,
    WATCH_VOUCHED, Watch, WatchKey, counter,
};

use super::batch::{Batches, Cursor};
use super::known::{Known, Rejected, is_live};
use super::metrics::Stats;
use super::pieces::Tally;
use super::sources::{self, Source, Sources, Whose};
use super::table::{Entry, Table};
use super::{Judged, WireError, WireReading, rules, translate};
use crate::clock;
use crate::core::model::{Advert, Reason, RouterId, Side};
use crate::core::time::Mono;

/// Sources of one watch that are asked about at once: keepalived has one, or a new one after a reload.
const HELD: usize = 8;
/// `linux/bpf.h`: changes what is there, adds nothing.
const BPF_EXIST: u64 = 2;

/// Maps and bookkeeping that the handle and the ring-buffer reader share.
pub(super) struct Shared {
    table: Mutex<Table>,
    known: Mutex<HashMap<u32, Known>>,
    sources: Mutex<HashMap<u32, Sources>>,
    pieces: Mutex<HashMap<u32, Tally>>,
    /// By watch: adverts that leave, whose sources are asked about.
    held: Mutex<HashMap<u32, Vec<Speaker>>>,
    /// Someone who goes on advertising is not known.
    left_out: AtomicBool,
    /// See [`super::Wire::pieces`].
    pub(super) pieces_taken: AtomicU64,
    /// See [`super::Wire::forget_pieces`].
    pub(super) forget_pieces: AtomicBool,
    watches: Mutex<BpfHashMap<MapData, WatchKey, Watch>>,
    peers: Mutex<BpfHashMap<MapData, PeerKey, Peer>>,
    devices: Mutex<BpfHashMap<MapData, DeviceKey, Device>>,
    local: Mutex<Array<MapData, Speaker>>,
    foreign: Mutex<BpfHashMap<MapData, ForeignKey, Speaker>>,
    batches: Batches,
    counters: PerCpuArray<MapData, u64>,
    /// `ha_agent_common::global::DIGEST_KEY`.
    pub(super) key: [u64; 2],
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Speakers that were not known.
    pub(super) new: Vec<(RouterId, ForeignKey, Speaker)>,
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
    pub(super) fn take(ebpf: &mut Ebpf, key: [u64; 2]) -> Result<Self, WireError> {
        let foreign = ebpf.take_map("FOREIGN").ok_or(WireError::LayoutMismatch)?;
        Ok(Self {
            table: Mutex::default(),
            known: Mutex::default(),
            sources: Mutex::default(),
            pieces: Mutex::default(),
            held: Mutex::default(),
            left_out: AtomicBool::new(false),
            pieces_taken: AtomicU64::new(0),
            forget_pieces: AtomicBool::new(false),
            watches: Mutex::new(taken(ebpf, "WATCHES")?),
            peers: Mutex::new(taken(ebpf, "PEERS")?),
            devices: Mutex::new(taken(ebpf, "DEVICES")?),
            local: Mutex::new(taken(ebpf, "LOCAL")?),
            batches: Batches::of(&foreign)?,
            foreign: Mutex::new(BpfHashMap::try_from(foreign).map_err(|_| WireError::LayoutMismatch)?),
            counters: taken(ebpf, "COUNTERS")?,
            key,
        })
    }

    /// The table of watched routers. Held for moments only, never across an await.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        locked(&self.table)
    }

    /// Begins a watch; what an earlier holder of its number left is cleared.
    pub(super) fn insert_watch(
        &self,
        key: &WatchKey,
        watch: &Watch,
        peers: &[([u8; 16], Peer)],
    ) -> Result<(), WireError> {
        locked(&self.local).set(watch.id, Speaker::default(), 0).map_err(|error| failed("LOCAL", &error))?;
        let device = DeviceKey { realm: key.realm, ifindex: key.ifindex, pad: 0 };
        let mut devices = locked(&self.devices);
        // What another watch's pieces have used up or lost there stays.
        if let Err(MapError::KeyNotFound) = devices.get(&device, 0) {
            devices.insert(device, Device::default(), 0).map_err(|error| failed("DEVICES", &error))?;
        }
        drop(devices);
        for (address, peer) in peers {
            let key = PeerKey { watch: watch.id, address: *address };
            locked(&self.peers).insert(key, peer, 0).map_err(|error| failed("PEERS", &error))?;
        }
        locked(&self.watches).insert(key, watch, 0).map_err(|error| failed("WATCHES", &error))
    }

    /// Ends a watch and forgets its speakers and peers.
    pub(super) fn remove_watch(&self, key: &WatchKey, id: u32, peers: &[([u8; 16], Peer)]) {
        if let Err(error) = locked(&self.watches).remove(key) {
            tracing::debug!(%error, ?key, "watch not removed");
        }
        locked(&self.sources).remove(&id);
        locked(&self.held).remove(&id);
        locked(&self.pieces).remove(&id);
        let keys = locked(&self.known).remove(&id).unwrap_or_default();
        let mut foreign = locked(&self.foreign);
        for key in keys.into_keys() {
            // The LRU may have been faster.
            if foreign.remove(&key).is_err() {
                tracing::trace!(?key, "speaker already forgotten");
            }
        }
        drop(foreign);
        for (address, _) in peers {
            let peer = PeerKey { watch: id, address: *address };
            if let Err(error) = locked(&self.peers).remove(&peer) {
                tracing::debug!(%error, ?peer, "peer not removed");
            }
        }
    }

    /// A device's budget is full, and no piece of it was lost.
    pub(super) fn reset_device(&self, key: &WatchKey) -> Result<(), WireError> {
        let device = DeviceKey { realm: key.realm, ifindex: key.ifindex, pad: 0 };
        locked(&self.devices).insert(device, Device::default(), 0).map_err(|error| failed("DEVICES", &error))
    }

    /// Nothing is attached to a device any more.
    pub(super) fn remove_device(&self, realm: u64, ifindex: u32) {
        if let Err(error) = locked(&self.devices).remove(&DeviceKey { realm, ifindex, pad: 0 }) {
            tracing::trace!(%error, ifindex, "device was not known");
        }
    }

    /// When a piece of a device was last lost on its way here; 0: never.
    pub(super) fn lost(&self, realm: u64, ifindex: u32) -> u64 {
        // Of a device that nothing is attached to any more nothing is known.
        locked(&self.devices).get(&DeviceKey { realm, ifindex, pad: 0 }, 0).map_or(u64::MAX, |device| device.lost_ns)
    }

    /// Counts a packet that was put together, judged when the program's counts were those of `watch`.
    pub(super) fn tally(&self, watch: &Watch, judgement: Judgement, now_ns: u64) {
        locked(&self.pieces).entry(watch.id).or_default().count(watch, judgement, now_ns);
    }

    /// Keeps what judging a packet changed of a watch: what keepalived remembers of what it took.
    ///
    /// The program may be counting in the same value: that is rare, since this is, and either may lose one step.
    pub(super) fn keep(&self, key: &WatchKey, before: &Watch, after: &Watch) {
        let same = before.ah_sequence == after.ah_sequence
            && before.state == after.state
            && before.resigned_ns == after.resigned_ns;
        if same {
            return;
        }
        self.change(key, after.id, |watch| {
            watch.ah_sequence = after.ah_sequence;
            watch.state = after.state;
            watch.resigned_ns = after.resigned_ns;
            watch.resigned_src = after.resigned_src;
            watch.resigned_mac = after.resigned_mac;
        });
    }

    /// Changes a watch where that makes a difference. As for [`Shared::keep`], the program may be counting.
    fn change(&self, key: &WatchKey, id: u32, change: impl FnOnce(&mut Watch)) {
        let mut watches = locked(&self.watches);
        let Some(before) = watches.get(key, 0).ok().filter(|watch| watch.id == id) else {
            return;
        };
        let mut watch = before;
        change(&mut watch);
        // Not where the watch has ended meanwhile.
        if watch != before
            && let Err(error) = watches.insert(key, watch, BPF_EXIST)
        {
            tracing::debug!(%error, ?key, "watch not changed");
        }
    }

    /// A watch as the kernel has it; none when it has ended.
    pub(super) fn watch(&self, key: &WatchKey) -> Result<Option<Watch>, WireError> {
        match locked(&self.watches).get(key, 0) {
            Ok(watch) => Ok(Some(watch)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(failed("WATCHES", &error)),
        }
    }

    /// What a router's frames were.
    pub(super) fn judged(&self, entry: &Entry) -> Result<Judged, WireError> {
        let watch = self.watch(&entry.key)?.unwrap_or_default();
        let pieces = locked(&self.pieces).get(&entry.id).copied().unwrap_or_default();
        Ok(Judged {
            ours: watch.ours,
            peers: watch.peers + pieces.peers,
            rejected: watch.rejected + pieces.rejected,
            unheard: watch.unheard + pieces.unheard,
            reason: Code::from_code(pieces.reason(&watch)).map(translate::reason),
        })
    }

    /// A peer of `unicast_peer`, where its address is checked.
    pub(super) fn peer(&self, watch: u32, address: [u8; 16]) -> Option<Peer> {
        locked(&self.peers).get(&PeerKey { watch, address }, 0).ok()
    }

    /// The speaker on this host; none when it was never heard.
    pub(super) fn local(&self, id: u32) -> Result<Option<Speaker>, WireError> {
        let local = locked(&self.local);
        steady(|| local.get(&id, 0))
            .map(|speaker| speaker.filter(|speaker| speaker.last_seen_ns != 0))
            .map_err(|error| failed("LOCAL", &error))
    }

    /// All speakers of a router whose source the kernel takes, the local one first; and the sources that
    /// are to be asked about.
    pub(super) fn read(&self, entry: &Entry) -> Result<(WireReading, Vec<Source>), WireError> {
        let as_of = clock::now();
        let family = entry.key.family;
        let mut speakers: Vec<Advert> = Vec::new();
        let mut ask = Vec::new();
        // Read first: what a speaker has that is newer has come meanwhile.
        let newest = self.watch(&entry.key)?.map_or(0, |watch| watch.rejected_ns);
        let newest = newest.max(locked(&self.pieces).get(&entry.id).map_or(0, |tally| tally.rejected_ns));
        let fresh = |speaker: &Speaker| speaker.last_seen_ns >= entry.since.0;
        let mut take = |whose, speaker: &Speaker| {
            let known = self.look(entry, whose, speaker, as_of);
            if known.ask {
                ask.push((whose, speaker.src));
            }
            known.taken == Some(true)
        };
        let mut lists_vip = None;
        if let Some(speaker) = self.local(entry.id)?.filter(fresh)
            && take(Whose::Ours, &speaker)
        {
            lists_vip = rules::lists_vip(&entry.target, &speaker, self.key);
            speakers.push(translate::advert(&speaker, family, Side::Local));
        }
        let mut rejected = Rejected::new(newest, entry.since);
        if let Some(known) = locked(&self.known).get_mut(&entry.id) {
            known.refresh(|key| self.foreign(key))?;
            rejected.crowded = known.is_full();
            for speaker in known.speakers().filter(|speaker| fresh(speaker)) {
                let taken = take(Whose::Theirs, speaker);
                if speaker.refused != 0 {
                    rejected.found(speaker, taken);
                }
                if taken {
                    speakers.push(translate::advert(speaker, family, Side::Foreign));
                }
            }
        }
        let rejected_at = rejected.at();
        Ok((WireReading { speakers, rejected_at, lists_vip, as_of }, ask))
    }

    /// What is known of a speaker's source.
    pub(super) fn look(&self, entry: &Entry, whose: Whose, speaker: &Speaker, now: Mono) -> sources::Known {
        if whose == Whose::Theirs && entry.key.family == FAMILY_V6 {
            // What IPv6 takes from no link, the classifier has judged.
            return sources::Known { taken: Some(true), ask: false };
        }
        locked(&self.sources).entry(entry.id).or_default().look((whose, speaker.src), now)
    }

    /// The kernel takes this speaker's source. Our own keepalived is known by its own; with another one's,
    /// keepalived keeps to the form of checksum that it heard.
    pub(super) fn adopt(&self, entry: &Entry, side: Side, speaker: &Speaker) {
        match side {
            Side::Local => self.change(&entry.key, entry.id, |watch| watch.vouch(speaker.src)),
            Side::Foreign if speaker.flags & SPEAKER_OLD_CHECKSUM != 0 => {
                self.change(&entry.key, entry.id, |watch| watch.state |= WATCH_OLD_CHECKSUM);
            }
            Side::Foreign => {}
        }
    }

    /// A source is no address of this host: nothing from it is ours, nor was what is remembered.
    pub(super) fn disown(&self, entry: &Entry, source: [u8; 16]) {
        self.change(&entry.key, entry.id, |watch| {
            if watch.vouched == source {
                watch.state &= !WATCH_VOUCHED;
            }
        });
        let remembered = self.local(entry.id).ok().flatten();
        if remembered.is_some_and(|speaker| speaker.src == source)
            && let Err(error) = locked(&self.local).set(entry.id, Speaker::default(), 0)
        {
            tracing::debug!(%error, "local speaker not forgotten");
        }
    }

    /// Keeps an advert that left until its source has been asked about: of a source the newest one, and of few
    /// sources.
    pub(super) fn hold(&self, id: u32, speaker: &Speaker) {
        let mut held = locked(&self.held);
        let held = held.entry(id).or_default();
        held.retain(|other| other.src != speaker.src);
        if held.len() >= HELD {
            held.remove(0);
        }
        held.push(*speaker);
    }

    /// The advert that was kept of a source.
    pub(super) fn held(&self, id: u32, source: &[u8; 16]) -> Option<Speaker> {
        let mut held = locked(&self.held);
        let held = held.get_mut(&id)?;
        let at = held.iter().position(|speaker| speaker.src == *source)?;
        Some(held.swap_remove(at))
    }

    /// An advert that the program passed over is ours: its source is the one that ours have from now on, and it is
    /// remembered as the program would have.
    pub(super) fn promote(&self, entry: &Entry, speaker: &Speaker) -> Speaker {
        self.adopt(entry, Side::Local, speaker);
        let before = self.local(entry.id).ok().flatten().unwrap_or_default();
        if before.src == speaker.src && before.last_seen_ns >= speaker.last_seen_ns {
            return before;
        }
        let mut speaker = Speaker { refused: 0, ..*speaker };
        judge::digest(self.key, &mut speaker);
        let now = speaker.last_seen_ns;
        observe(&before, &mut speaker, now);
        if let Err(error) = locked(&self.local).set(entry.id, speaker, 0) {
            tracing::debug!(%error, "local speaker not remembered");
        }
        speaker
    }

    /// Remembers an answer; whether it is another one than before.
    pub(super) fn answered(&self, id: u32, source: Source, taken: Option<bool>) -> bool {
        locked(&self.sources).get_mut(&id).is_some_and(|sources| sources.answered(source, taken))
    }

    /// Remembers whether a source that is not taken is an address of this host.
    pub(super) fn is_ours(&self, id: u32, source: Source, own: bool) {
        if let Some(sources) = locked(&self.sources).get_mut(&id) {
            sources.is_ours(source, own);
        }
    }

    /// Why a speaker's source is not taken.
    pub(super) fn refusal(&self, entry: &Entry, side: Side, source: &[u8; 16]) -> Reason {
        let own = || locked(&self.sources).get(&entry.id).is_some_and(|sources| sources.own(&(Whose::Theirs, *source)));
        match side {
            Side::Local => Reason::LocalSource,
            Side::Foreign if own() => Reason::OwnSource,
            Side::Foreign => Reason::MartianSource,
        }
    }

    /// Every source of a watch is asked about again.
    pub(super) fn doubt(&self, id: u32) {
        if let Some(sources) = locked(&self.sources).get_mut(&id) {
            sources.doubt();
        }
    }

    /// The speakers of a source as they stand.
    pub(super) fn of_source(&self, entry: &Entry, source: Source) -> Result<Vec<(Side, Speaker)>, WireError> {
        let mut found = Vec::new();
        match source.0 {
            Whose::Ours => found.extend(self.local(entry.id)?.map(|speaker| (Side::Local, speaker))),
            Whose::Theirs => {
                if let Some(known) = locked(&self.known).get_mut(&entry.id) {
                    known.refresh(|key| self.foreign(key))?;
                    found.extend(known.speakers().map(|speaker| (Side::Foreign, *speaker)));
                }
            }
        }
        found.retain(|(_, speaker)| speaker.src == source.1 && speaker.last_seen_ns >= entry.since.0);
        Ok(found)
    }

    /// Puts a foreign speaker where the classifier would.
    pub(super) fn remember(&self, key: &ForeignKey, speaker: &Speaker) -> Result<(), WireError> {
        locked(&self.foreign).insert(key, speaker, 0).map_err(|error| failed("FOREIGN", &error))
    }

    /// A foreign speaker; none: not remembered.
    pub(super) fn foreign(&self, key: &ForeignKey) -> Result<Option<Speaker>, WireError> {
        let foreign = locked(&self.foreign);
        steady(|| foreign.get(key, 0)).map_err(|error| failed("FOREIGN", &error))
    }

    /// Notes that a watch has this foreign speaker, as it was at `now`; whether that is new and there
    /// is a place for it.
    pub(super) fn note(&self, key: ForeignKey, speaker: &Speaker, now: Mono) -> bool {
        let again = |key: &ForeignKey| self.foreign(key).ok().flatten();
        let mut known = locked(&self.known);
        let offer = known.entry(key.watch).or_default().offer(key, *speaker, now, again);
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
            let watched = self.table().router(key.watch).map(|(router, entry)| (router, entry.since));
            let Some((router, _)) = watched.filter(|(_, since)| speaker.last_seen_ns >= since.0) else {
                continue;
            };
            if self.note(*key, speaker, now)
                && let Some(speaker) = self.foreign(key)?
            {
                new.push((router, *key, speaker));
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
