//! When namespace files (or others) come and go: a watch of the folders they live in, such as `/run/netns`.
//!
//! inotify shows a file being created and removed, not a namespace being mounted over it (which
//! `ip netns add` does a moment later): who hears of a file has to look until it is a namespace.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

/// What happened to a watched file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameChange {
    /// A file of that name was made or moved there.
    Appeared,
    /// It was removed, or its folder was.
    Vanished,
    /// The folder has just been found, or the kernel lost events: look yourself.
    Unsure,
}

/// Watches files by their paths. A folder that does not exist is waited for.
pub struct Names {
    stream: EventStream<[u8; 4096]>,
    watches: Watches,
    folders: HashMap<PathBuf, Folder>,
    /// Two paths of one folder (`/run/netns`, `/var/run/netns`) have one descriptor.
    armed: HashMap<WatchDescriptor, Vec<PathBuf>>,
    /// Watched only until a missing folder below appears.
    ancestors: HashMap<WatchDescriptor, PathBuf>,
}

#[derive(Default)]
struct Folder {
    names: HashMap<OsString, u64>,
    watch: Option<WatchDescriptor>,
}

impl Names {
    /// Starts with nothing watched. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no inotify instance (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let stream = Inotify::init()?.into_event_stream([0; 4096])?;
        Ok(Self {
            watches: stream.watches(),
            stream,
            folders: HashMap::new(),
            armed: HashMap::new(),
            ancestors: HashMap::new(),
        })
    }

    /// Watches an absolute path; changes are told with `token`. From the return on none is missed,
    /// so look at the file after it. One token per path: a later one replaces the earlier.
    ///
    /// # Errors
    /// When the path has no file name, or the folder cannot be watched for another reason than that
    /// it does not exist.
    pub fn add(&mut self, path: &Path, token: u64) -> io::Result<()> {
        let (folder, name) = split(path)?;
        let entry = self.folders.entry(folder.to_owned()).or_default();
        entry.names.insert(name, token);
        if entry.watch.is_none() {
            let folder = folder.to_owned();
            self.arm(&folder)?;
        }
        Ok(())
    }

    /// No longer watches a path; the folder too with its last name.
    pub fn remove(&mut self, path: &Path) {
        let Ok((folder, name)) = split(path) else {
            return;
        };
        let Some(entry) = self.folders.get_mut(folder) else {
            return;
        };
        entry.names.remove(&name);
        if !entry.names.is_empty() {
            return;
        }
        let watch = entry.watch.take();
        self.folders.remove(folder);
        if let Some(watch) = watch {
            self.disarm(&watch, folder);
        }
        self.drop_ancestors();
    }

    /// Waits for changes; in the order in which they happened.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the inotify instance cannot be read any more.
    pub async fn next(&mut self) -> io::Result<Vec<(u64, NameChange)>> {
        loop {
            let event = self.stream.next().await.ok_or_else(|| io::Error::other("the inotify stream has ended"))??;
            let changes = self.take(&event);
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    fn take(&mut self, event: &EventOwned) -> Vec<(u64, NameChange)> {
        let mut out = Vec::new();
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            self.rearm(&mut out);
            let all = self.folders.values().flat_map(|f| f.names.values());
            out.extend(all.map(|token| (*token, NameChange::Unsure)));
            return out;
        }
        let folders = self.armed.get(&event.wd).cloned().unwrap_or_default();
        let ended = EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED;
        if event.mask.intersects(ended) {
            self.ancestors.remove(&event.wd);
            self.armed.remove(&event.wd);
            if event.mask.contains(EventMask::MOVE_SELF) {
                // The descriptor follows the folder to its new place, where it is of no interest.
                let _ = self.watches.remove(event.wd.clone());
            }
            for folder in &folders {
                if let Some(entry) = self.folders.get_mut(folder) {
                    entry.watch = None;
                    let all = entry.names.values();
                    out.extend(all.map(|token| (*token, NameChange::Vanished)));
                }
            }
            self.rearm(&mut out);
            return out;
        }
        let change = if event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
            NameChange::Appeared
        } else {
            NameChange::Vanished
        };
        if let Some(name) = &event.name {
            for folder in &folders {
                if let Some(token) = self.folders.get(folder).and_then(|f| f.names.get(name)) {
                    out.push((*token, change));
                }
            }
        }
        if self.ancestors.contains_key(&event.wd) && change == NameChange::Appeared {
            self.rearm(&mut out);
        }
        out
    }

    /// Tries the folders that are not watched yet.
    fn rearm(&mut self, out: &mut Vec<(u64, NameChange)>) {
        let waiting: Vec<PathBuf> =
            self.folders.iter().filter(|(_, folder)| folder.watch.is_none()).map(|(path, _)| path.clone()).collect();
        for path in waiting {
            if let Err(e) = self.arm(&path) {
                tracing::warn!(folder = %path.display(), error = %e,
                    "cannot watch a folder; what appears in it is not seen");
            }
            if let Some(folder) = self.folders.get(&path).filter(|f| f.watch.is_some()) {
                let all = folder.names.values();
                out.extend(all.map(|token| (*token, NameChange::Unsure)));
            }
        }
        self.drop_ancestors();
    }

    /// Watches the folder, or while it does not exist its nearest ancestor that does.
    fn arm(&mut self, folder: &Path) -> io::Result<()> {
        loop {
            for place in folder.ancestors() {
                match self.watches.add(place, mask()) {
                    Ok(watch) if place == folder => {
                        self.armed.entry(watch.clone()).or_default().push(folder.to_owned());
                        if let Some(entry) = self.folders.get_mut(folder) {
                            entry.watch = Some(watch);
                        }
                        return Ok(());
                    }
                    Ok(watch) => {
                        // Already watched before this look: nothing can have been missed since.
                        if self.ancestors.insert(watch, place.to_owned()).is_some() {
                            return Ok(());
                        }
                        break;
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
    }

    fn disarm(&mut self, watch: &WatchDescriptor, folder: &Path) {
        if let Some(paths) = self.armed.get_mut(watch) {
            paths.retain(|path| path != folder);
            if paths.is_empty() {
                self.armed.remove(watch);
                if !self.ancestors.contains_key(watch) {
                    let _ = self.watches.remove(watch.clone());
                }
            }
        }
    }

    fn drop_ancestors(&mut self) {
        if self.folders.values().any(|folder| folder.watch.is_none()) {
            return;
        }
        for (watch, _) in std::mem::take(&mut self.ancestors) {
            if !self.armed.contains_key(&watch) {
                let _ = self.watches.remove(watch);
            }
        }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("folders", &self.folders.len()).finish_non_exhaustive()
    }
}

/// The same for every watch: a second one on a folder would replace the first one's.
fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.is_absolute() => Ok((folder, name.to_owned())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not the absolute path of a file", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests;
