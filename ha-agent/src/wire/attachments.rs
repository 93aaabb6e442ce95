//! What is attached where: one pair of programs per interface, however many routers are on it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aya::Ebpf;

use super::attach::{self, Links, Located, Mode};
use super::maps::Shared;
use super::table::Place;
use super::{Identity, Target, WireError};
use crate::config::Netns;
use crate::netns::NetnsThread;

/// What is attached. Its lock is held across a whole attach or detach.
pub(super) struct Attachments {
    /// Held here and, for a moment, by the namespace thread.
    programs: Arc<Mutex<Ebpf>>,
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

impl Attachments {
    /// Nothing attached yet; `mode` is what is tried first.
    pub(super) fn new(programs: Ebpf, identity: Identity, mode: Mode) -> Self {
        Self {
            programs: Arc::new(Mutex::new(programs)),
            identity,
            mode,
            by_place: HashMap::new(),
            class_ids: ClassIds::default(),
        }
    }

    /// How places are told apart.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// How the last attachment was made.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// The realm under which adverts of a place are remembered; none: not attached there.
    pub(super) fn realm(&self, place: Place) -> Option<u64> {
        self.by_place.get(&place).map(|attachment| attachment.realm)
    }

    /// Where a router's interface is, and whether the programs are on it.
    pub(super) async fn locate(&self, netns: &NetnsThread, target: &Target) -> Result<Located, WireError> {
        let (interface, through) = (target.interface.clone(), target.through);
        let programs = Arc::clone(&self.programs);
        let (family, vips) = (target.family, target.rules.addresses.clone().unwrap_or_default());
        let located = netns
            .run_in(target.netns.clone(), move || {
                let passed = attach::passed(&interface, through)?;
                attach::locate(&programs, &passed, family, &vips)
            })
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
            Some(libc::EPFNOSUPPORT) => WireError::UnknownLink { interface: target.interface.clone() },
            _ => WireError::AttachFailed { interface: target.interface.clone(), reason: error.to_string() },
        }
    }

    /// Attaches both programs at a place where they are not, or no longer.
    pub(super) async fn attach(
        &mut self,
        netns: &NetnsThread,
        target: &Target,
        located: &Located,
    ) -> Result<(), WireError> {
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
        let (interface, through) = (target.interface.clone(), target.through);
        let place = *located;
        let mode = self.mode;
        let attached = netns
            .run_in(target.netns.clone(), move || {
                let passed = attach::passed(&interface, through).map_err(|_| attach::Error::Gone)?;
                attach::attach(&programs, &passed, &place, mode, class_id)
            })
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
    pub(super) async fn drop_unused(&mut self, netns: &NetnsThread, shared: &Shared, place: Place) {
        if shared.table().is_used(place) {
            return;
        }
        if let Some(attachment) = self.by_place.remove(&place) {
            shared.remove_device(attachment.realm, place.ifindex);
            self.class_ids.free(attachment.class_id);
            detach(netns, attachment).await;
        }
    }

    /// Lets every place go.
    pub(super) async fn detach_all(self, netns: &NetnsThread) {
        for attachment in self.by_place.into_values() {
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
