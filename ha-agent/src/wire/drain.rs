//! Ring buffers to events: one task, the local buffer always first.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use ha_agent_common::{EGRESS, ForeignKey, INGRESS, RECORD_FRAME, Reason, Record, Speaker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::asker::{Ask, Asker, QUEUE};
use super::batch::Cursor;
use super::maps::{Found, Shared};
use super::pieces::{self, Pieces};
use super::sources::Whose;
use super::table::Entry;
use super::{WireError, WireEvent, translate};
use crate::core::model::{RouterId, Side};
use crate::core::time::Mono;
use crate::netns::NetnsThread;

/// Foreign records taken before the local buffer is looked at again.
const FOREIGN_AT_ONCE: usize = 64;
/// How often the loss counters are read.
const LOSS_PERIOD: Duration = Duration::from_secs(1);
/// Between two looks into the map of foreign speakers: a full one is seen through in some 5 s.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);

type Ring = AsyncFd<RingBuf<MapData>>;

/// Starts the task; what it gives first takes questions about sources.
pub(super) fn spawn(
    ebpf: &mut Ebpf,
    shared: Arc<Shared>,
    netns: NetnsThread,
    events: mpsc::Sender<WireEvent>,
    stop: CancellationToken,
) -> Result<(mpsc::Sender<Ask>, JoinHandle<()>), WireError> {
    let local = ring(ebpf, "LOCAL_EVENTS")?;
    let foreign = ring(ebpf, "FOREIGN_EVENTS")?;
    let pieces = ring(ebpf, "PIECES")?;
    let log = logger(ebpf);
    let (asks, questions) = mpsc::channel(QUEUE);
    let asker = Asker { shared: Arc::clone(&shared), netns, events: events.clone() };
    let reader = Reader { shared, events, asks: asks.clone() };
    let task = tokio::spawn(async move {
        tokio::select! {
            () = reader.run(local, foreign, pieces) => {}
            () = asker.run(questions) => {}
            () = follow(log) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok((asks, task))
}

fn ring(ebpf: &mut Ebpf, name: &'static str) -> Result<Ring, WireError> {
    let map = ebpf.take_map(name).ok_or(WireError::LayoutMismatch)?;
    let ring = RingBuf::try_from(map).map_err(|_| WireError::LayoutMismatch)?;
    // SAFETY: the map's descriptor is owned by `ring`, never replaced, and closed only with it.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
        .map_err(|error| WireError::Map { map: name, reason: error.to_string() })
}

struct Reader {
    shared: Arc<Shared>,
    events: mpsc::Sender<WireEvent>,
    asks: mpsc::Sender<Ask>,
}

impl Reader {
    /// Ends when the receiver of the events is gone, or a buffer cannot be polled.
    async fn run(self, mut local: Ring, mut foreign: Ring, mut pieces: Ring) {
        let mut assembly = Pieces::default();
        let mut losses = tokio::time::interval_at(Instant::now() + LOSS_PERIOD, LOSS_PERIOD);
        losses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lost = self.shared.stats().lost();
        let mut search = Search::default();
        let pause = tokio::time::sleep(SEARCH_PAUSE);
        tokio::pin!(pause);
        loop {
            let going_on = tokio::select! {
                biased;
                guard = local.readable_mut() => match guard {
                    Ok(mut guard) => {
                        let going_on = self.drain(guard.get_inner_mut(), usize::MAX).await;
                        guard.clear_ready();
                        going_on.is_some()
                    }
                    Err(error) => { tracing::error!(%error, "local ring buffer"); false }
                },
                guard = foreign.readable_mut() => match guard {
                    Ok(mut guard) => {
                        match self.drain(guard.get_inner_mut(), FOREIGN_AT_ONCE).await {
                            Some(Drained::Empty) => { guard.clear_ready(); true }
                            Some(Drained::More) => true,
                            None => false,
                        }
                    }
                    Err(error) => { tracing::error!(%error, "foreign ring buffer"); false }
                },
                guard = pieces.readable_mut() => match guard {
                    Ok(mut guard) => {
                        match self.assemble(guard.get_inner_mut(), &mut assembly).await {
                            Some(Drained::Empty) => { guard.clear_ready(); true }
                            Some(Drained::More) => true,
                            None => false,
                        }
                    }
                    Err(error) => { tracing::error!(%error, "ring buffer of fragments"); false }
                },
                _ = losses.tick() => self.tell_losses(&mut lost, &mut search).await,
                () = &mut pause, if search.wanted || search.from.is_some() => {
                    let going_on = self.search(&mut search).await;
                    pause.as_mut().reset(Instant::now() + SEARCH_PAUSE);
                    going_on
                }
            };
            if !going_on {
                return;
            }
        }
    }

    /// Takes up to `most` records; none when nobody wants events any more.
    async fn drain(&self, ring: &mut RingBuf<MapData>, most: usize) -> Option<Drained> {
        for _ in 0..most {
            // The item borrows the buffer's place: copied out before anything is awaited.
            let Some(record) = ring.next().map(|item| read(&item)) else {
                return Some(Drained::Empty);
            };
            let Some(event) = record.and_then(|record| self.translate(&record)) else {
                continue;
            };
            self.events.send(event).await.ok()?;
        }
        Some(Drained::More)
    }

    /// Takes some pieces and puts them together.
    async fn assemble(&self, ring: &mut RingBuf<MapData>, assembly: &mut Pieces) -> Option<Drained> {
        for _ in 0..FOREIGN_AT_ONCE {
            let Some(piece) = ring.next().map(|item| pieces::read(&item)) else {
                return Some(Drained::Empty);
            };
            if self.shared.forget_pieces.swap(false, Ordering::AcqRel) {
                *assembly = Pieces::default();
            }
            let record = piece.and_then(|piece| assembly.take(&self.shared, &piece));
            self.shared.pieces_taken.fetch_add(1, Ordering::Release);
            let Some(event) = record.and_then(|record| self.translate(&record)) else {
                continue;
            };
            self.events.send(event).await.ok()?;
        }
        Some(Drained::More)
    }

    fn translate(&self, record: &Record) -> Option<WireEvent> {
        let (router, entry) = {
            let table = self.shared.table();
            let (router, entry) = table.router(record.watch)?;
            // A record in flight from an earlier holder of the number.
            (record.speaker.last_seen_ns >= entry.since.0).then(|| (router, entry.clone()))?
        };
        let side = translate::side(record);
        if record.kind == RECORD_FRAME {
            let asked = side == Side::Local && record.reason == Reason::LocalSource as u8;
            return if asked {
                self.unvouched(router, &entry, &record.speaker)
            } else {
                translate::event(router, record)
            };
        }
        if side == Side::Foreign {
            let key = ForeignKey::of(record.watch, record.family, &record.speaker);
            self.shared.note(key, &record.speaker, Mono(record.speaker.last_seen_ns));
        }
        self.vetted(router, &entry, side, &record.speaker)
    }

    /// A speaker, if the kernel takes its source. Where that is not known yet, the asker tells it later.
    fn vetted(&self, router: RouterId, entry: &Entry, side: Side, speaker: &Speaker) -> Option<WireEvent> {
        let whose = if side == Side::Local { Whose::Ours } else { Whose::Theirs };
        let known = self.shared.look(entry, whose, speaker, crate::clock::now());
        if known.ask {
            // Without room it is asked again with the next reading.
            let _full = self.asks.try_send(Ask { router, source: (whose, speaker.src) });
        }
        let family = entry.key.family;
        match known.taken? {
            true => {
                self.shared.adopt(entry, side, speaker);
                Some(WireEvent::Advert { router, advert: translate::advert(speaker, family, side) })
            }
            false => {
                let reason = self.shared.refusal(entry, side, &speaker.src);
                Some(WireEvent::Invalid { router, frame: translate::frame(speaker, family, side, reason) })
            }
        }
    }

    /// An advert that is ours but for its source, which is not the one that ours have: keepalived may have another
    /// one since it read its configuration again. Where that is not known yet, the asker tells it later.
    fn unvouched(&self, router: RouterId, entry: &Entry, speaker: &Speaker) -> Option<WireEvent> {
        let known = self.shared.look(entry, Whose::Ours, speaker, crate::clock::now());
        if known.ask || known.taken.is_none() {
            self.shared.hold(entry.id, speaker);
        }
        if known.ask {
            // Without room it is asked again with a later advert.
            let _full = self.asks.try_send(Ask { router, source: (Whose::Ours, speaker.src) });
        }
        let family = entry.key.family;
        Some(if known.taken? {
            let speaker = self.shared.promote(entry, speaker);
            WireEvent::Advert { router, advert: translate::advert(&speaker, family, Side::Local) }
        } else {
            let reason = self.shared.refusal(entry, Side::Local, &speaker.src);
            WireEvent::Invalid { router, frame: translate::frame(speaker, family, Side::Local, reason) }
        })
    }

    /// What was withheld about a speaker that is not known, no reading tells: it is searched for.
    async fn tell_losses(&self, before: &mut u64, search: &mut Search) -> bool {
        let now = self.shared.stats().lost();
        let records = now.saturating_sub(*before);
        *before = now;
        search.wanted |= self.shared.take_left_out() || records > 0;
        records == 0 || self.events.send(WireEvent::Lost { records }).await.is_ok()
    }

    /// Looks a little further for speakers that no record told of.
    async fn search(&self, search: &mut Search) -> bool {
        if search.from.is_none() {
            search.wanted = false;
        }
        let found = self.shared.search(search.from.take());
        let failed = found.is_err();
        let found = found.unwrap_or_else(|error| {
            if !search.failed {
                tracing::warn!(%error, "foreign speakers are not searched: those that no record told of are not seen");
            }
            Found::default()
        });
        search.failed = failed;
        search.from = found.next;
        for (router, _, speaker) in found.new {
            let entry = self.shared.table().entry(router).cloned();
            if let Some(event) = entry.and_then(|entry| self.vetted(router, &entry, Side::Foreign, &speaker))
                && self.events.send(event).await.is_err()
            {
                return false;
            }
        }
        true
    }
}

/// The search for speakers that no record told of, a little at a time.
#[derive(Debug, Default)]
struct Search {
    /// A round should begin once none is under way: what one has passed it does not see again.
    wanted: bool,
    /// Where the round under way goes on.
    from: Option<Cursor>,
    /// The last step failed, and that was told.
    failed: bool,
}

/// Why draining ended.
enum Drained {
    Empty,
    More,
}

/// A record out of a ring buffer's bytes; none when they are none, which a checked layout excludes.
fn read(bytes: &[u8]) -> Option<Record> {
    if bytes.len() != size_of::<Record>() {
        return None;
    }
    // SAFETY: `Record` is plain old data of this size, and the read does not ask for alignment.
    let record: Record = unsafe { bytes.as_ptr().cast::<Record>().read_unaligned() };
    matches!(record.direction, INGRESS | EGRESS).then_some(record)
}

/// The kernel side's own log. Its absence is no fault: then there is nothing to follow.
fn logger(ebpf: &mut Ebpf) -> Option<AsyncFd<EbpfLogger<Bridge>>> {
    let logger = EbpfLogger::init_with_logger(ebpf, Bridge)
        .map_err(|error| tracing::debug!(%error, "no log of the classifier"))
        .ok()?;
    tracing::trace!(fd = logger.as_raw_fd(), "following the classifier's log");
    // SAFETY: as for the ring buffers: the logger owns its map's descriptor.
    unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }.ok()
}

/// Follows the log for ever.
async fn follow(log: Option<AsyncFd<EbpfLogger<Bridge>>>) {
    if let Some(mut log) = log {
        while let Ok(mut guard) = log.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }
    std::future::pending::<()>().await;
}

/// aya-log speaks `log`; the agent speaks `tracing`.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::debug!(target: "ha_agent::wire::kernel", "{}", record.args());
    }

    fn flush(&self) {}
}
