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
//! - `drain`: ring buffers to events; `translate`: records to the core's terms.
//! - `metrics`: the kernel side's counters, read at scrape.
//! - `trial`: the program run on frames that are handed to it; `bench`: what a frame costs.

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
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod translate;
#[doc(hidden)]
pub mod trial;

use std::sync::Arc;

use ha_agent_common::{Watch, WatchKey};
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::model::RouterId;
use crate::netns::NetnsThread;

use self::attach::Mode;
use self::attachments::Attachments;
pub use self::error::WireError;
use self::maps::Shared;
pub use self::metrics::Stats;
pub use self::object::Identity;
use self::table::{Entry, Place};
pub use self::terms::{Family, Target, WireEvent, WireOptions, WireReading};

/// The loaded classifier and its attachments.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    netns: NetnsThread,
    attachments: Mutex<Attachments>,
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
        let object::Loaded { mut ebpf, identity } = object::load(options.object.as_ref(), options.force_realm_const)?;
        let shared = Arc::new(Shared::take(&mut ebpf)?);
        metrics::register(registry, &shared);
        let stop = stop.child_token();
        let drain = drain::spawn(&mut ebpf, Arc::clone(&shared), events, stop.clone())?;
        let mode = if options.force_clsact || identity == Identity::ClassId { Mode::Clsact } else { Mode::Tcx };
        tracing::debug!(?identity, ?mode, "classifier loaded");
        Ok(Self { shared, netns, attachments: Mutex::new(Attachments::new(ebpf, identity, mode)), drain, stop })
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
            let same =
                entry.place == place && entry.key.vrid == target.vrid && entry.key.family == target.family.code();
            if same && alive {
                return Ok(());
            }
            self.release(&mut attachments, target.router).await;
        }
        if let Some(other) = self.shared.table().holder(place, target.vrid, target.family.code()) {
            return Err(WireError::Taken { vrid: target.vrid, interface: target.interface, other });
        }
        if !alive {
            attachments.attach(&self.netns, &target, &located).await?;
        }
        let Some(realm) = attachments.realm(place) else {
            return Err(WireError::NotAttached(target.router));
        };
        let key =
            WatchKey { realm, ifindex: place.ifindex, vrid: target.vrid, family: target.family.code(), pad: [0; 2] };
        if let Err(error) = self.watch(target.router, place, key) {
            attachments.drop_unused(&self.netns, &self.shared, place).await;
            return Err(error);
        }
        Ok(())
    }

    /// Stops watching a router; its interface is let go when no other router is on it. Unknown
    /// routers are no error.
    pub async fn detach(&self, router: RouterId) {
        let mut attachments = self.attachments.lock().await;
        self.release(&mut attachments, router).await;
    }

    /// Reads what is remembered of a router's speakers: a few map look-ups, no waiting.
    ///
    /// # Errors
    /// [`WireError::NotAttached`], [`WireError::Map`].
    pub fn read(&self, router: RouterId) -> Result<WireReading, WireError> {
        let entry = self.shared.table().entry(router).cloned().ok_or(WireError::NotAttached(router))?;
        let as_of = clock::now();
        let speakers = self.shared.speakers(&entry)?;
        Ok(WireReading { speakers, rejected_at: None, as_of })
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

    fn watch(&self, router: RouterId, place: Place, key: WatchKey) -> Result<(), WireError> {
        let now = clock::now();
        let id = self.shared.table().add(router, place, key, now)?;
        if let Err(error) = self.shared.insert_watch(&key, &Watch::new(id, now.0)) {
            self.shared.table().remove(router);
            return Err(error);
        }
        Ok(())
    }

    async fn release(&self, attachments: &mut Attachments, router: RouterId) {
        let removed = self.shared.table().remove(router);
        let Some(Entry { place, key, id, .. }) = removed else {
            return;
        };
        self.shared.remove_watch(&key, id);
        attachments.drop_unused(&self.netns, &self.shared, place).await;
    }
}

/// A trial load for `doctor`: nothing is attached, everything is gone when it returns. In words,
/// what the kernel took, or why it did not.
///
/// # Errors
/// In words, as [`WireError`] says it.
pub fn probe() -> Result<String, String> {
    let loaded = object::load(None, false).map_err(|error| error.to_string())?;
    Ok(match loaded.identity {
        Identity::Cookie => "the kernel takes the classifier".to_owned(),
        Identity::ClassId => "the kernel takes the classifier, but does not let it read namespaces: clsact".to_owned(),
    })
}
