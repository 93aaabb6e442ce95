//! The wire channel's hands: loading the classifier, attaching it, reading what it saw.
//!
//! [`Wire`] loads one pair of programs and attaches it to the HA interface of every router. What the
//! programs report comes out as [`WireEvent`]s; what they remember is read with [`Wire::read`].
//! Nothing here decides what a sight means: that is the core's.
//!
//! - `terms`, `error`: what callers say and hear.
//! - `object`: the embedded object, its layout, its loading; `btf`: offsets for it.
//! - `attachments`: what is attached where; `attach`: the part of it on the namespace thread.
//! - `table`: which router is watched where, under which number.
//! - `maps`: reading and writing the kernel's maps; `batch`: many elements by one call; `known`: which foreign
//!   speakers are read.
//! - `drain`: ring buffers to events; `translate`: records to the core's terms; `pieces`: fragments and extension
//!   headers, put together and judged as the program judges whole packets.
//! - `rules`: what an instance's keepalived takes, for the program. `source`: whether the kernel takes packets from
//!   an address; `sources`: what it answered; `asker`: who asks.
//! - `metrics`: the kernel side's counters, read at scrape.
//! - `trial`: the program run on frames that are handed to it; `bench`: what a frame costs; `oracle`: what is asked
//!   about one frame of many.

mod asker;
mod attach;
mod attachments;
mod batch;
#[doc(hidden)]
pub mod bench;
mod btf;
mod drain;
mod error;
mod known;
mod maps;
mod metrics;
mod object;
mod oracle;
mod pieces;
mod rules;
mod source;
mod sources;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod translate;
#[doc(hidden)]
pub mod trial;

use std::net::IpAddr;
use std::sync::Arc;

use ha_agent_common::{Watch, WatchKey};
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::model::RouterId;
use crate::netns::NetnsThread;

use self::asker::Ask;
use self::attach::{Located, Mode};
use self::attachments::Attachments;
pub use self::error::WireError;
use self::maps::Shared;
pub use self::metrics::Stats;
pub use self::object::Identity;
#[cfg(feature = "fuzzing")]
pub use self::pieces::trial::take as take_pieces;
use self::table::{Entry, Left, Place};
pub use self::terms::{Family, Judged, Target, WireEvent, WireOptions, WireReading};
use crate::advert_rules::Mode as AdvertMode;

/// The loaded classifier and its attachments.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    netns: NetnsThread,
    attachments: Mutex<Attachments>,
    asks: mpsc::Sender<Ask>,
    drain: JoinHandle<()>,
    stop: CancellationToken,
}

impl Wire {
    /// Loads the classifier and starts reading its ring buffers. A full `events` channel makes the
    /// reader wait; the kernel side then drops records and counts them.
    ///
    /// # Errors
    /// [`WireError::NotPermitted`], [`WireError::NoBpf`], [`WireError::LayoutMismatch`],
    /// [`WireError::Object`].
    pub fn start(
        options: WireOptions,
        netns: NetnsThread,
        events: mpsc::Sender<WireEvent>,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<Self, WireError> {
        let choice = object::Choice {
            path: options.object.as_ref(),
            force_class_id: options.force_realm_const,
            any_sender: false,
        };
        let object::Loaded { mut ebpf, identity, key } = object::load(choice)?;
        let shared = Arc::new(Shared::take(&mut ebpf, key)?);
        metrics::register(registry, &shared);
        let stop = stop.child_token();
        let (asks, drain) = drain::spawn(&mut ebpf, Arc::clone(&shared), netns.clone(), events, stop.clone())?;
        let mode = if options.force_clsact || identity == Identity::ClassId { Mode::Clsact } else { Mode::Tcx };
        tracing::debug!(?identity, ?mode, "classifier loaded");
        let attachments = Mutex::new(Attachments::new(ebpf, identity, mode));
        Ok(Self { shared, netns, attachments, asks, drain, stop })
    }

    /// Watches a router. Idempotent; when the interface was recreated, the new one is watched.
    ///
    /// # Errors
    /// Any [`WireError`] but those of [`Wire::start`]; then the router is not watched, or as before.
    pub async fn attach(&self, target: Target) -> Result<(), WireError> {
        let mut attachments = self.attachments.lock().await;
        let located = attachments.locate(&self.netns, &target).await?;
        let place = located.place;
        let entry = self.shared.table().entry(target.router).cloned();
        let alive = attachments.realm(place).is_some() && located.attached;
        if let Some(entry) = entry {
            if entry.place == place && *entry.target == target && alive {
                return Ok(());
            }
            self.release(&mut attachments, target.router, Some(place)).await;
        }
        if let Err(error) = self.fits(&target, &located) {
            attachments.drop_unused(&self.netns, &self.shared, place).await;
            return Err(error);
        }
        if !alive {
            attachments.attach(&self.netns, &target, &located).await?;
        }
        let Some(realm) = attachments.realm(place) else {
            return Err(WireError::NotAttached(target.router));
        };
        let key =
            WatchKey { realm, ifindex: place.ifindex, vrid: target.vrid, family: target.family.code(), pad: [0; 2] };
        if let Err(error) = self.watch(&target, place, key, located.own) {
            attachments.drop_unused(&self.netns, &self.shared, place).await;
            return Err(error);
        }
        Ok(())
    }

    /// Looks whether the programs are still where they were put for a router, before all others, and puts them there
    /// again: true. Somebody may have taken them off, or the interface been made anew under the same index.
    ///
    /// # Errors
    /// As [`Wire::attach`], and [`WireError::NotAttached`].
    pub async fn verify(&self, router: RouterId) -> Result<bool, WireError> {
        let entry = self.entry(router)?;
        let located = self.attachments.lock().await.locate(&self.netns, &entry.target).await?;
        if located.place == entry.place && located.attached {
            return Ok(false);
        }
        self.attach((*entry.target).clone()).await?;
        Ok(true)
    }

    /// Stops watching a router; its interface is let go when no other router is on it. Unknown
    /// routers are no error.
    pub async fn detach(&self, router: RouterId) {
        let mut attachments = self.attachments.lock().await;
        self.release(&mut attachments, router, None).await;
    }

    /// Reads what is remembered of a router's speakers: a few map look-ups, no waiting.
    ///
    /// # Errors
    /// [`WireError::NotAttached`], [`WireError::Map`].
    pub fn read(&self, router: RouterId) -> Result<WireReading, WireError> {
        let entry = self.entry(router)?;
        let (reading, questions) = self.shared.read(&entry)?;
        for source in questions {
            // Without room it is asked again with the next reading.
            let _full = self.asks.try_send(Ask { router, source });
        }
        Ok(reading)
    }

    /// What the frames of a router's VRID were.
    ///
    /// # Errors
    /// [`WireError::NotAttached`], [`WireError::Map`].
    pub fn judged(&self, router: RouterId) -> Result<Judged, WireError> {
        self.shared.judged(&self.entry(router)?)
    }

    /// Addresses of a router changed: whether the kernel takes its speakers' sources is asked again with the
    /// next reading.
    pub fn doubt_sources(&self, router: RouterId) {
        if let Ok(entry) = self.entry(router) {
            self.shared.doubt(entry.id);
        }
    }

    fn entry(&self, router: RouterId) -> Result<Entry, WireError> {
        self.shared.table().entry(router).cloned().ok_or(WireError::NotAttached(router))
    }

    /// The kernel side's counters, summed over the processors.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How places are told apart, and whether by tcx: for `doctor`.
    pub async fn identity(&self) -> (Identity, bool) {
        let attachments = self.attachments.lock().await;
        (attachments.identity(), attachments.mode() == Mode::Tcx)
    }

    /// Detaches everything and ends the reader.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.drain.await.is_err() {
            tracing::warn!("the ring-buffer reader panicked");
        }
        self.attachments.into_inner().detach_all(&self.netns).await;
    }

    /// Whether a router can be watched where it is.
    fn fits(&self, target: &Target, located: &Located) -> Result<(), WireError> {
        let interface = || target.interface.clone();
        if let Some(other) = self.shared.table().holder(located.place, target.vrid, target.family.code()) {
            return Err(WireError::Taken { vrid: target.vrid, interface: interface(), other });
        }
        let unicast = matches!(target.rules.mode, Some(AdvertMode::Unicast { .. }));
        if unicast && target.rules.source.is_none() && located.own.is_none() {
            return Err(WireError::NoAddress { interface: interface() });
        }
        Ok(())
    }

    /// Begins a watch. `own`: the address of the interface that keepalived sends from, unless it is told otherwise.
    fn watch(&self, target: &Target, place: Place, key: WatchKey, own: Option<IpAddr>) -> Result<(), WireError> {
        let now = clock::now();
        let rules = rules::kernel_rules(&target.rules, target.family, own, self.shared.key);
        let peers = rules::kernel_peers(&target.rules);
        let id = self.shared.table().add(target, place, key, now)?;
        let mut watch = Watch::new(id, rules, now.0);
        if let Some(source) = target.rules.source.or(own) {
            watch.vouch(rules::wide(source));
        }
        let left = self.shared.table().left(place, &key, now);
        (watch.ah_sequence, watch.rules.socket) = (left.ah_sequence, left.socket);
        if let Err(error) = self.shared.insert_watch(&key, &watch, &peers) {
            self.shared.table().remove(target.router);
            return Err(error);
        }
        Ok(())
    }

    /// Ends a router's watch. Its place is let go, where no other router is and it is not `kept`.
    async fn release(&self, attachments: &mut Attachments, router: RouterId, kept: Option<Place>) {
        let removed = self.shared.table().remove(router);
        let Some(entry) = removed else {
            return;
        };
        if let Ok(Some(watch)) = self.shared.watch(&entry.key) {
            let local = self.shared.local(entry.id).ok().flatten();
            let sent = local.map_or(0, |speaker| speaker.sender);
            // One that has not sent since the last change of the rules is still the one from before.
            let socket = if sent == 0 { watch.rules.socket } else { sent };
            self.shared.table().keep(&entry, Left { ah_sequence: watch.ah_sequence, socket }, clock::now());
        }
        let Entry { place, key, id, target, .. } = entry;
        self.shared.remove_watch(&key, id, &rules::kernel_peers(&target.rules));
        if kept != Some(place) {
            attachments.drop_unused(&self.netns, &self.shared, place).await;
        }
    }
}

/// A trial load for `doctor`: nothing is attached, everything is gone when it returns. In words,
/// what the kernel took, or why it did not.
///
/// # Errors
/// In words, as [`WireError`] says it.
pub fn probe() -> Result<String, String> {
    let loaded = object::load(object::Choice::default()).map_err(|error| error.to_string())?;
    Ok(match loaded.identity {
        Identity::Cookie => "the kernel takes the classifier".to_owned(),
        Identity::ClassId => "the kernel takes the classifier, but does not let it read namespaces: clsact".to_owned(),
    })
}
