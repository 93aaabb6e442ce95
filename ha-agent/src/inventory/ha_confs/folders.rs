//! Which routers' folders changed: one inotify watch for `ha_confs`, one for each folder in it.
//!
//! Whether `ha_confs` itself exists is [`crate::netns::names`]'s to know.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use super::POLL;
use super::conf_file::{NAME, Unread, fetch};
use crate::core::model::RouterId;

/// Names of folders that there is no room for which are remembered. Beyond, they wait until everything is
/// looked at again.
const REMEMBERED: usize = 65_536;

/// See the module.
pub(super) struct Folders {
    root: PathBuf,
    stream: EventStream<[u8; 4096]>,
    watches: Watches,
    root_watch: Option<WatchDescriptor>,
    by_watch: HashMap<WatchDescriptor, RouterId>,
    by_router: HashMap<RouterId, WatchDescriptor>,
    /// Those whose folder is to be watched with the next visit.
    unwatched: BTreeSet<RouterId>,
    /// Those that are looked at, watched or not; at most `most`.
    admitted: BTreeSet<RouterId>,
    most: usize,
    /// Those that there is no room for, as far as [`REMEMBERED`] goes.
    left_out: BTreeSet<RouterId>,
    trouble: Option<String>,
}

impl Folders {
    /// Nothing is watched before [`Folders::look_everywhere`].
    pub(super) fn open(root: &Path, most: usize) -> io::Result<Self> {
        let stream = Inotify::init()?.into_event_stream([0; 4096])?;
        Ok(Self {
            root: root.to_owned(),
            watches: stream.watches(),
            stream,
            root_watch: None,
            by_watch: HashMap::new(),
            by_router: HashMap::new(),
            unwatched: BTreeSet::new(),
            admitted: BTreeSet::new(),
            most,
            left_out: BTreeSet::new(),
            trouble: None,
        })
    }

    /// A router's folder.
    pub(super) fn path(&self, router: RouterId) -> PathBuf {
        self.root.join(router.to_string())
    }

    /// Whether `ha_confs` is there, and its folders are watched.
    pub(super) fn are_watched(&self) -> bool {
        self.root_watch.is_some() && self.trouble.is_none()
    }

    /// Whether changes are not seen as they happen, and must be looked for.
    pub(super) fn is_blind(&self) -> bool {
        self.trouble.is_some()
    }

    /// What keeps changes or routers from being seen, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        let full = (!self.left_out.is_empty()).then(|| {
            format!(
                "{} holds more than {} router folders: that many are watched, and the others are not, until one of the first goes",
                self.root.display(),
                self.most
            )
        });
        let all: Vec<String> = self.trouble.iter().cloned().chain(full).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Watches everything anew; gives every router whose folder is there, or was.
    pub(super) fn look_everywhere(&mut self) -> BTreeSet<RouterId> {
        self.trouble = None;
        self.left_out.clear();
        let mut routers = std::mem::take(&mut self.admitted);
        for watch in self.by_watch.drain().map(|(watch, _)| watch).chain(self.root_watch.take()) {
            let _ = self.watches.remove(watch);
        }
        self.by_router.clear();
        match self.watches.add(&self.root, root_mask()) {
            Ok(watch) => self.root_watch = Some(watch),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return routers,
            Err(error) => {
                self.complain(&self.root.clone(), &error);
                return routers;
            }
        }
        let listing = match std::fs::read_dir(&self.root) {
            Ok(listing) => listing,
            Err(error) => {
                self.complain(&self.root.clone(), &error);
                return routers;
            }
        };
        let there: BTreeSet<RouterId> =
            listing.flatten().filter_map(|entry| entry.file_name().to_str().and_then(router_of)).collect();
        // Those that were there before come first.
        let (old, new): (Vec<RouterId>, Vec<RouterId>) = there.into_iter().partition(|router| routers.contains(router));
        for router in old.into_iter().chain(new) {
            if self.admit(router) {
                routers.insert(router);
            }
        }
        routers
    }

    /// Watches a router where there is room for it.
    fn admit(&mut self, router: RouterId) -> bool {
        if self.admitted.len() >= self.most && !self.admitted.contains(&router) {
            if self.left_out.len() < REMEMBERED {
                self.left_out.insert(router);
            }
            return false;
        }
        self.admitted.insert(router);
        self.watch(router);
        true
    }

    /// Waits for changes, or for a change of [`Folders::trouble`]; gives the routers to look at. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the inotify instance cannot be read any more.
    pub(super) async fn next(&mut self) -> io::Result<BTreeSet<RouterId>> {
        loop {
            let event = self.stream.next().await.ok_or_else(|| io::Error::other("the inotify stream has ended"))??;
            let were_left_out = self.left_out.is_empty();
            let routers = self.take(&event);
            if !routers.is_empty() || self.left_out.is_empty() != were_left_out {
                return Ok(routers);
            }
        }
    }

    fn take(&mut self, event: &EventOwned) -> BTreeSet<RouterId> {
        let name = event.name.as_ref().and_then(|name| name.to_str());
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.look_everywhere();
        }
        if self.root_watch.as_ref() == Some(&event.wd) {
            if event.mask.intersects(ended()) {
                return self.look_everywhere();
            }
            let Some(router) = name.and_then(router_of) else { return BTreeSet::new() };
            // What had the name before is another folder, even where it lives on elsewhere.
            self.unwatch(router);
            if event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                return if self.admit(router) { BTreeSet::from([router]) } else { BTreeSet::new() };
            }
            if self.left_out.remove(&router) || !self.admitted.remove(&router) {
                return BTreeSet::new();
            }
            let next = self.left_out.pop_first().filter(|next| self.admit(*next));
            return std::iter::once(router).chain(next).collect();
        }
        let Some(router) = self.by_watch.get(&event.wd).copied() else { return BTreeSet::new() };
        if event.mask.intersects(ended()) {
            self.unwatch(router);
            self.watch(router);
        } else if name != Some(NAME) {
            return BTreeSet::new();
        }
        BTreeSet::from([router])
    }

    /// What a look at a router takes; it is watched from its next visit on.
    pub(super) fn visit(&mut self, router: RouterId) -> Visit {
        let watches = self.unwatched.remove(&router).then(|| self.watches.clone());
        Visit { router, path: self.path(router), watches }
    }

    /// A visit came to no end: the next one watches the folder anew.
    pub(super) fn watch(&mut self, router: RouterId) {
        if self.admitted.contains(&router) {
            self.unwatched.insert(router);
        }
    }

    /// A visit has watched the folder, or could not.
    pub(super) fn visited(&mut self, router: RouterId, watch: io::Result<WatchDescriptor>) {
        let path = self.path(router);
        match watch {
            Ok(watch) if self.admitted.contains(&router) => {
                if let Some(before) = self.by_router.insert(router, watch.clone()).filter(|before| *before != watch) {
                    self.by_watch.remove(&before);
                    let _ = self.watches.remove(before);
                }
                self.by_watch.insert(watch, router);
            }
            Ok(gone) => {
                let _ = self.watches.remove(gone);
            }
            // Gone again, or a file or a symbolic link.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => self.complain(&path, &error),
        }
    }

    fn unwatch(&mut self, router: RouterId) {
        if let Some(watch) = self.by_router.remove(&router) {
            self.by_watch.remove(&watch);
            let _ = self.watches.remove(watch);
        }
    }

    fn complain(&mut self, path: &Path, error: &io::Error) {
        let cure = match error.raw_os_error() {
            Some(libc::ENOSPC) => "; no inotify watch is left: raise fs.inotify.max_user_watches",
            _ => "",
        };
        self.trouble = Some(format!(
            "cannot watch {}: {error}; changes are looked for every {} s meanwhile{cure}",
            path.display(),
            POLL.as_secs()
        ));
    }
}

/// A look at one router, which may wait for whatever is mounted at its folder.
pub(super) struct Visit {
    router: RouterId,
    path: PathBuf,
    watches: Option<Watches>,
}

/// What it gave.
pub(super) struct Visited {
    pub(super) router: RouterId,
    /// None: it is watched already.
    pub(super) watch: Option<io::Result<WatchDescriptor>>,
    pub(super) file: Unread,
}

impl Visit {
    /// Watches the folder where it is not, then fetches the file, so that no change is missed.
    pub(super) fn make(self) -> Visited {
        let Self { router, path, watches } = self;
        let watch = watches.map(|mut watches| watches.add(&path, folder_mask()));
        Visited { router, watch, file: fetch(&path) }
    }
}

/// The router whose folder has this name: a UUID as Neutron writes it.
fn router_of(name: &str) -> Option<RouterId> {
    name.parse().ok().filter(|router: &RouterId| router.to_string() == name)
}

fn ended() -> EventMask {
    EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::UNMOUNT
}

fn root_mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

fn folder_mask() -> WatchMask {
    root_mask() | WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::DONT_FOLLOW
}
