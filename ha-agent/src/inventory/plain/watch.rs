//! Changes to whatever a configuration depends on: one inotify watch for each folder on the way to its
//! files, so that links and folders that are replaced, or are not there yet, are seen too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use super::POLL;
use super::disk::{UNREADABLE, folders, is_wild};

/// Folders that are watched at most.
const MAX_FOLDERS: usize = 1024;
/// Links that lead to links.
const MAX_LINKS: usize = 8;

/// What matters in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    /// Everything in it.
    all: bool,
    names: BTreeSet<OsString>,
}

/// See the module.
pub(super) struct Watcher {
    stream: EventStream<[u8; 4096]>,
    watches: Watches,
    armed: HashMap<WatchDescriptor, Interest>,
    trouble: Option<String>,
}

impl Watcher {
    /// Nothing is watched before [`Watcher::arm`].
    pub(super) fn open() -> io::Result<Self> {
        let stream = Inotify::init()?.into_event_stream([0; 4096])?;
        Ok(Self { watches: stream.watches(), stream, armed: HashMap::new(), trouble: None })
    }

    /// What keeps changes from being seen, in words.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Watches what these paths and patterns depend on, and no more. True when something is watched
    /// now that was not before: what changed until now must be looked for again.
    pub(super) fn arm(&mut self, looked: &[PathBuf]) -> bool {
        self.trouble = None;
        let mut wanted = BTreeMap::new();
        for path in looked {
            want(path, &mut wanted, MAX_LINKS);
        }
        if wanted.len() > MAX_FOLDERS {
            self.trouble = Some(format!(
                "more than {MAX_FOLDERS} folders lead to configuration files: changes in the others are looked for every {} s",
                POLL.as_secs()
            ));
        }
        let mut armed: HashMap<WatchDescriptor, Interest> = HashMap::new();
        for (folder, interest) in wanted.into_iter().take(MAX_FOLDERS) {
            match self.watches.add(&folder, mask()) {
                // Two paths of one folder have one descriptor.
                Ok(watch) => {
                    let known = armed.entry(watch).or_default();
                    known.all |= interest.all;
                    known.names.extend(interest.names);
                }
                // It is seen from the folder above when it comes.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => {
                    let cure = match error.raw_os_error() {
                        Some(libc::ENOSPC) => "raise fs.inotify.max_user_watches",
                        Some(libc::EACCES | libc::EPERM) => UNREADABLE,
                        _ => "restart ha-agent once that is mended",
                    };
                    self.trouble = Some(format!(
                        "cannot watch {}: {error}; changes are looked for every {} s: {cure}",
                        folder.display(),
                        POLL.as_secs()
                    ));
                }
            }
        }
        for watch in self.armed.keys().filter(|watch| !armed.contains_key(watch)) {
            let _ = self.watches.remove(watch.clone());
        }
        let news = armed.iter().any(|(watch, interest)| self.armed.get(watch) != Some(interest));
        self.armed = armed;
        news
    }

    /// Waits for a change that matters. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the inotify instance cannot be read any more.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            let event = self.stream.next().await.ok_or_else(|| io::Error::other("the inotify stream has ended"))??;
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                return Ok(());
            }
            let Some(interest) = self.armed.get(&event.wd) else { continue };
            let named = event.name.as_ref().is_none_or(|name| interest.all || interest.names.contains(name));
            // Without a name it is about the folder itself.
            if named {
                return Ok(());
            }
        }
    }
}

/// Notes what must be watched for one path or pattern.
fn want(path: &Path, wanted: &mut BTreeMap<PathBuf, Interest>, links: usize) {
    let steps: Vec<&Path> = path.ancestors().collect();
    for pair in steps.windows(2) {
        let [child, parent] = pair else { continue };
        let Some(name) = child.file_name() else {
            // `..`: its folder is the parent's parent, which has been or will be noted by its own name.
            continue;
        };
        for folder in folders(parent) {
            let interest = wanted.entry(folder.clone()).or_default();
            if is_wild(name) {
                interest.all = true;
            } else {
                interest.names.insert(name.to_owned());
                let target = std::fs::read_link(folder.join(name)).ok().filter(|_| links > 0);
                if let Some(target) = target {
                    want(&folder.join(target), wanted, links - 1);
                }
            }
        }
    }
}

fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::CLOSE_WRITE
        | WatchMask::MODIFY
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}
