//! Routers found through a plain keepalived's own configuration, as its files appear, change and go.
//!
//! - `disk`: reading files, and which ones were looked at.
//! - `watch`: when one of those changed.
//! - `routers`: what was read → routers; pure.
//! - here: the task that joins them, and remembers what it told.
//!
//! A file that does not exist is waited for; one that the configuration names, or that was there before, is named
//! meanwhile. What cannot be understood is named once
//! (`channel.degraded`, channel `inventory`, with file and line); what was known of that instance stays.

mod disk;
mod metrics;
mod routers;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

pub use disk::Disk;
pub use routers::{NAMESPACE, router_id};

use super::{Discovery, InventoryError, Search, keepalived_conf};
use crate::advert_rules::Release;
use crate::config::{Keepalived, Router};
use crate::core::model::RouterId;
use crate::telemetry::Events;
use crate::telemetry::event::Event;
use metrics::Metrics;
use routers::{About, Known, together};
use watch::Watcher;

/// Changed files are read when nothing more happened to them for this long, so that they are seen whole.
const PAUSE: Duration = Duration::from_millis(50);
/// Files that change without end are read after this time none the less.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause before inotify is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// How often changes are looked for that inotify cannot tell.
pub(super) const POLL: Duration = Duration::from_secs(10);
/// Readings in a row that each find other files to watch, until one is taken as it is.
const LOOKS: usize = 8;

/// The discovery through a plain keepalived's files.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Plain {
    /// Starts the task, which ends when `stop` is cancelled or the receiver of `found` is dropped.
    /// Must be called within a tokio runtime. `release` is whose rules the files are read by; when it
    /// changes, all of them are read again.
    ///
    /// While `found` is full the task waits; changes then wait in the kernel, and when that drops
    /// some, everything is looked at again.
    ///
    /// # Errors
    /// [`InventoryError`].
    pub fn start(
        settings: &Keepalived,
        release: Receiver<Release>,
        found: mpsc::Sender<Discovery>,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, InventoryError> {
        let task = Task {
            settings: settings.clone(),
            release,
            watcher: Watcher::open().map_err(|source| InventoryError::Open { source })?,
            files: settings.configs.iter().map(|path| (path.clone(), Known::default())).collect(),
            told: BTreeMap::new(),
            troubles: BTreeMap::new(),
            found,
            events,
            metrics: Metrics::register(registry),
        };
        Ok(tokio::spawn(async move {
            // Ended by `stop`, or because nobody listens any more.
            let _ = stop.run_until_cancelled(task.run()).await;
        }))
    }
}

/// The receiver is gone.
struct Deaf;

struct Task {
    settings: Keepalived,
    /// Whose rules the files are read by.
    release: Receiver<Release>,
    watcher: Watcher,
    files: Vec<(PathBuf, Known)>,
    /// As told.
    told: BTreeMap<RouterId, Router>,
    /// As told.
    troubles: BTreeMap<About, String>,
    found: mpsc::Sender<Discovery>,
    events: Events,
    metrics: Metrics,
}

/// What one look at all files gave; none: there is no such file.
struct Look {
    readings: Vec<Option<keepalived_conf::Reading>>,
    looked: Vec<PathBuf>,
}

impl Task {
    async fn run(mut self) -> Result<(), Deaf> {
        self.look().await?;
        self.tell(Discovery::Complete(Search::Keepalived)).await?;
        loop {
            let blind = self.watcher.trouble().is_some();
            let changed = tokio::select! {
                changed = self.watcher.next() => changed,
                () = sleep(POLL), if blind => {
                    self.look().await?;
                    continue;
                }
                Ok(()) = self.release.changed() => {
                    self.look().await?;
                    continue;
                }
                () = self.found.closed() => return Err(Deaf),
            };
            match changed {
                Ok(()) => self.settle().await,
                Err(error) => self.reopen(&error).await?,
            }
            self.look().await?;
        }
    }

    /// Waits until nothing more changes.
    async fn settle(&mut self) {
        let latest = Instant::now() + PATIENCE;
        while Instant::now() < latest {
            let quiet = latest.min(Instant::now() + PAUSE);
            if !matches!(timeout_at(quiet, self.watcher.next()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Reads everything and tells what is new.
    async fn look(&mut self) -> Result<(), Deaf> {
        let mut look = self.read().await?;
        for _ in 0..LOOKS {
            if !self.watcher.arm(&look.looked) {
                break;
            }
            look = self.read().await?;
        }
        for ((path, known), reading) in self.files.iter_mut().zip(&look.readings) {
            match reading {
                Some(reading) => known.take(path, reading, &self.settings.netns),
                None => known.absent(path, self.settings.configs_given),
            }
        }
        let (routers, mut troubles) = together(&self.files);
        if let Some(trouble) = self.watcher.trouble() {
            troubles.insert((None, PathBuf::new()), trouble.to_owned());
        }
        self.tell_routers(routers).await?;
        self.tell_troubles(troubles).await
    }

    async fn read(&mut self) -> Result<Look, Deaf> {
        let release = *self.release.borrow_and_update();
        let (configs, id) = (self.settings.configs.clone(), self.settings.config_id.clone());
        let read = move || {
            let mut disk = Disk::default();
            let readings = configs.iter().map(|path| {
                if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
                    disk.looked.push(path.clone());
                    return None;
                }
                Some(keepalived_conf::read(path, &id, release, &mut disk))
            });
            Look { readings: readings.collect(), looked: disk.looked }
        };
        self.metrics.reads.inc();
        // Only a runtime that shuts down does not run it.
        tokio::task::spawn_blocking(read).await.map_err(|_| Deaf)
    }

    async fn tell_routers(&mut self, routers: BTreeMap<RouterId, Router>) -> Result<(), Deaf> {
        let gone: Vec<RouterId> = self.told.keys().filter(|id| !routers.contains_key(id)).copied().collect();
        for id in gone {
            let lost = self.files.iter().any(|(_, known)| known.has_lost(id));
            self.tell(if lost { Discovery::Lost(id) } else { Discovery::Gone(id) }).await?;
        }
        for (id, router) in &routers {
            if self.told.get(id) != Some(router) {
                self.tell(Discovery::Found(Box::new(router.clone()))).await?;
            }
        }
        self.metrics.instances.set(routers.len().try_into().unwrap_or(i64::MAX));
        self.told = routers;
        Ok(())
    }

    /// Names what is wrong, once; or that it is over.
    async fn tell_troubles(&mut self, now: BTreeMap<About, String>) -> Result<(), Deaf> {
        let before = std::mem::replace(&mut self.troubles, now.clone());
        let channel = "inventory".to_owned();
        for (about, _) in before.iter().filter(|(about, _)| !now.contains_key(*about)) {
            let (router, file) = about.clone();
            self.events.emit(Event::ChannelRestored { channel: channel.clone(), router_id: router });
            self.tell(Discovery::Trouble { router, file: Some(file), reason: None }).await?;
        }
        for (about, reason) in now.iter().filter(|(about, reason)| before.get(*about) != Some(reason)) {
            let (router, file) = about.clone();
            tracing::warn!("{reason}");
            let event = Event::ChannelDegraded { channel: channel.clone(), reason: reason.clone(), router_id: router };
            self.events.emit(event);
            self.tell(Discovery::Trouble { router, file: Some(file), reason: Some(reason.clone()) }).await?;
        }
        self.metrics.troubles.set(now.len().try_into().unwrap_or(i64::MAX));
        Ok(())
    }

    async fn tell(&self, discovery: Discovery) -> Result<(), Deaf> {
        self.found.send(discovery).await.map_err(|_| Deaf)
    }

    /// inotify is lost: opens it again, for as long as it takes.
    async fn reopen(&mut self, error: &io::Error) -> Result<(), Deaf> {
        let lost = format!("inotify is lost ({error}): changes to keepalived.conf are not seen until it is back");
        let mut troubles = self.troubles.clone();
        troubles.insert((None, PathBuf::new()), lost);
        self.tell_troubles(troubles).await?;
        loop {
            sleep(REOPEN).await;
            if let Ok(watcher) = Watcher::open() {
                self.watcher = watcher;
                return Ok(());
            }
        }
    }
}
