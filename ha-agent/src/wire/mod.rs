//! The wire channel's hands: loading the classifier, attaching it, reading what it saw.
//!
//! [`Wire`] loads one pair of programs and attaches it to the HA interface of every router. What the
//! programs report comes out as [`WireEvent`]s; what they remember is read with [`Wire::read`].
//! Nothing here decides what a sight means: that is the core's.
//!
//! - `object`: the embedded object, its layout, its loading; `btf`: offsets for it.
//! - `attach`: what runs on the namespace thread.
//! - `table`: which router is watched where, under which number.
//! - `maps`: reading and writing the kernel's maps.
//! - `drain`: ring buffers to events; `translate`: records to the core's terms.
//! - `metrics`: the kernel side's counters, read at scrape.
//! - `bench`: what a frame costs.

mod attach;
#[doc(hidden)]
pub mod bench;
mod btf;
mod drain;
mod maps;
mod metrics;
mod object;
mod table;
mod translate;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex};

use aya::Ebpf;
use ha_agent_common::{FAMILY_V4, FAMILY_V6, Watch, WatchKey};
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Netns;
use crate::core::model::{Advert, InvalidFrame, RouterId};
use crate::core::time::Mono;
use crate::netns::{NetnsError, NetnsThread};

use self::attach::{Links, Located, Mode};
use self::maps::Shared;
pub use self::metrics::Stats;
pub use self::object::Identity;
use self::table::{Entry, Place};

/// How to load and attach.
#[derive(Clone, Debug, Default)]
pub struct WireOptions {
    /// An object to load instead of the embedded one.
    pub object: Option<PathBuf>,
    /// Attach by clsact even where the kernel has tcx (6.6).
    pub force_clsact: bool,
    /// Tell attachments apart by a class id of their own even where the namespace's cookie can be
    /// read ([`Identity::ClassId`]); this needs clsact and implies it.
    pub force_realm_const: bool,
}

/// Address family of the adverts to watch: the one of the router's VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// VRRP over IPv4.
    V4,
    /// VRRP over IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Family {
    fn code(self) -> u8 {
        match self {
            Self::V4 => FAMILY_V4,
            Self::V6 => FAMILY_V6,
        }
    }
}

/// What to watch for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The router.
    pub router: RouterId,
    /// Its namespace.
    pub netns: Netns,
    /// Its HA interface.
    pub interface: String,
    /// Its virtual router identifier.
    pub vrid: u8,
    /// The family of its adverts.
    pub family: Family,
}

/// What the classifier reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireEvent {
    /// Something new about a speaker: first sight, a change, or a new run.
    Advert {
        /// For which router.
        router: RouterId,
        /// The speaker as it stood then.
        advert: Advert,
    },
    /// A frame that no honest speaker sends.
    Invalid {
        /// For which router.
        router: RouterId,
        /// What was seen.
        frame: InvalidFrame,
    },
    /// Reports were withheld by a budget or lost to a full ring buffer: every router's reading may
    /// hold what no event told.
    Lost {
        /// How many since the last such event.
        records: u64,
    },
}

/// All speakers of a router as the kernel side remembers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireReading {
    /// Both sides; the local one first.
    pub speakers: Vec<Advert>,
    /// Taken before the maps were read: what came later may be in it, what came earlier is.
    pub as_of: Mono,
}

/// Why the wire cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A capability is missing.
    #[error("not permitted to load or attach the classifier; the agent needs {capability}")]
    NotPermitted {
        /// Which.
        capability: &'static str,
    },
    /// The kernel does not take the classifier.
    #[error("this kernel does not take the classifier: {0}")]
    NoBpf(String),
    /// The object was built with other records than the agent.
    #[error("the eBPF object has another layout than this agent; rebuild it: cargo xtask build-ebpf")]
    LayoutMismatch,
    /// The object given by path cannot be read.
    #[error("cannot read eBPF object {path}: {reason}")]
    Object {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The interface does not exist (yet, or any more).
    #[error("interface {interface} does not exist in network namespace {netns}; it is waited for")]
    NoInterface {
        /// Its name.
        interface: String,
        /// Where it was looked for.
        netns: Netns,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Attaching failed otherwise.
    #[error("cannot attach to {interface}: {reason}")]
    AttachFailed {
        /// The interface.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// Another router has this VRID on this interface.
    #[error("VRID {vrid} on {interface} is already watched for router {other}; one of the two is configured wrongly")]
    Taken {
        /// The VRID.
        vrid: u8,
        /// The interface.
        interface: String,
        /// Who has it.
        other: RouterId,
    },
    /// More routers than the maps hold.
    #[error("{} routers are watched already, the most this agent can", ha_agent_common::MAX_WATCHES)]
    Full,
    /// The router is not attached.
    #[error("router {0} is not watched on the wire")]
    NotAttached(RouterId),
    /// A map could not be read or written.
    #[error("eBPF map {map}: {reason}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
}

/// The loaded classifier and its attachments.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    netns: NetnsThread,
    attachments: Mutex<Attachments>,
    drain: JoinHandle<()>,
    stop: CancellationToken,
}

/// What is attached. Its lock is held across a whole attach or detach.
struct Attachments {
    /// Held here and, for a moment, by the namespace thread.
    programs: Arc<StdMutex<Ebpf>>,
    identity: Identity,
    mode: Mode,
    by_place: HashMap<Place, Attachment>,
    class_ids: ClassIds,
}

impl std::fmt::Debug for Attachments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachments")
            .field("identity", &self.identity)
            .field("mode", &self.mode)
            .field("count", &self.by_place.len())
            .finish_non_exhaustive()
    }
}

/// The programs on one interface.
struct Attachment {
    netns: Netns,
    realm: u64,
    class_id: u16,
    links: Links,
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
        Ok(Self {
            shared,
            netns,
            attachments: Mutex::new(Attachments {
                programs: Arc::new(StdMutex::new(ebpf)),
                identity,
                mode,
                by_place: HashMap::new(),
                class_ids: ClassIds::default(),
            }),
            drain,
            stop,
        })
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
        let alive = attachments.by_place.contains_key(&place) && located.attached;
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
        let Some(attachment) = attachments.by_place.get(&place) else {
            return Err(WireError::NotAttached(target.router));
        };
        let key = WatchKey {
            realm: attachment.realm,
            ifindex: place.ifindex,
            vrid: target.vrid,
            family: target.family.code(),
            pad: [0; 2],
        };
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
        Ok(WireReading { speakers, as_of })
    }

    /// The kernel side's counters, summed over the processors.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// How places are told apart, and whether by tcx: for `doctor`.
    pub async fn identity(&self) -> (Identity, bool) {
        let attachments = self.attachments.lock().await;
        (attachments.identity, attachments.mode == Mode::Tcx)
    }

    /// Detaches everything and ends the reader.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.drain.await.is_err() {
            tracing::warn!("the ring-buffer reader panicked");
        }
        let mut attachments = self.attachments.into_inner();
        for (_, attachment) in attachments.by_place.drain() {
            detach(&self.netns, attachment).await;
        }
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

impl Attachments {
    async fn locate(&self, netns: &NetnsThread, target: &Target) -> Result<Located, WireError> {
        let interface = target.interface.clone();
        let programs = Arc::clone(&self.programs);
        let located = netns
            .run_in(target.netns.clone(), move || attach::locate(&programs, &interface))
            .await?
            .map_err(|error| self.no_interface(error, target))?;
        let by_clsact =
            self.by_place.get(&located.place).is_some_and(|attachment| attachment.links.mode() == Mode::Clsact);
        Ok(Located { attached: located.attached || by_clsact, ..located })
    }

    fn no_interface(&self, error: std::io::Error, target: &Target) -> WireError {
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => {
                WireError::NoInterface { interface: target.interface.clone(), netns: target.netns.clone() }
            }
            _ => WireError::AttachFailed { interface: target.interface.clone(), reason: error.to_string() },
        }
    }

    /// Attaches both programs at a place where they are not, or no longer.
    async fn attach(&mut self, netns: &NetnsThread, target: &Target, located: &Located) -> Result<(), WireError> {
        if let Some(stale) = self.by_place.remove(&located.place) {
            self.class_ids.free(stale.class_id);
            detach(netns, stale).await;
        }
        let class_id = self.class_ids.take().ok_or(WireError::Full)?;
        let realm = match (self.identity, located.cookie) {
            (Identity::Cookie, Some(cookie)) => cookie,
            (Identity::Cookie, None) => {
                self.class_ids.free(class_id);
                return Err(WireError::AttachFailed {
                    interface: target.interface.clone(),
                    reason: "the namespace tells no cookie (Linux 5.14)".to_owned(),
                });
            }
            (Identity::ClassId, _) => u64::from(class_id),
        };
        let programs = Arc::clone(&self.programs);
        let interface = target.interface.clone();
        let ifindex = located.place.ifindex;
        let mode = self.mode;
        let attached = netns
            .run_in(target.netns.clone(), move || attach::attach(&programs, &interface, ifindex, mode, class_id))
            .await;
        let links = match attached {
            Ok(Ok(links)) => links,
            Ok(Err(error)) => {
                self.class_ids.free(class_id);
                return Err(match error {
                    attach::Error::Gone => {
                        WireError::NoInterface { interface: target.interface.clone(), netns: target.netns.clone() }
                    }
                    attach::Error::NotPermitted => {
                        WireError::NotPermitted { capability: "CAP_NET_ADMIN in the router's namespace" }
                    }
                    attach::Error::Other(reason) => {
                        WireError::AttachFailed { interface: target.interface.clone(), reason }
                    }
                });
            }
            Err(error) => {
                self.class_ids.free(class_id);
                return Err(error.into());
            }
        };
        self.mode = links.mode();
        self.by_place.insert(located.place, Attachment { netns: target.netns.clone(), realm, class_id, links });
        Ok(())
    }

    /// Lets a place go when no router is watched there.
    async fn drop_unused(&mut self, netns: &NetnsThread, shared: &Shared, place: Place) {
        if shared.table().is_used(place) {
            return;
        }
        if let Some(attachment) = self.by_place.remove(&place) {
            self.class_ids.free(attachment.class_id);
            detach(netns, attachment).await;
        }
    }
}

/// tcx links are descriptors and go from anywhere; clsact filters only from inside.
async fn detach(netns: &NetnsThread, attachment: Attachment) {
    match attachment.links {
        Links::Tcx(links) => drop(links),
        Links::Clsact(links) => {
            let place = attachment.netns.clone();
            if let Err(error) = netns.run_in(attachment.netns, move || links.detach()).await {
                // Its filters go with the namespace.
                tracing::debug!(%error, netns = %place, "not detached");
            }
        }
    }
}

/// Class ids for attachments: 1 to 65535, the oldest freed one last.
#[derive(Debug, Default)]
struct ClassIds {
    used: u16,
    free: VecDeque<u16>,
}

impl ClassIds {
    fn take(&mut self) -> Option<u16> {
        if self.used < u16::MAX {
            self.used += 1;
            return Some(self.used);
        }
        self.free.pop_front()
    }

    fn free(&mut self, id: u16) {
        self.free.push_back(id);
    }
}

#[cfg(test)]
mod tests;

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
