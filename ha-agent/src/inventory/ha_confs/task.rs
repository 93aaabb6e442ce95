//! The task that joins what is seen of folders, files and namespaces, and remembers what it told.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::conf_file::{self, Unread};
use super::due::Due;
use super::folders::{Folders, Visit};
use super::{Discovery, InventoryError, Metrics, POLL, Search};
use crate::advert_rules::Release;
use crate::config::{Netns, Router};
use crate::core::model::RouterId;
use crate::inventory::keepalived_conf::Instance;
use crate::netns::names::Names;
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// A changed file is looked at when nothing more happened to it for this long.
const PAUSE: Duration = Duration::from_millis(50);
/// Pause before inotify is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// A path that does not answer for so long hangs: the others go on without it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How often those that hang are looked at.
const HANGS: Duration = Duration::from_secs(1);
/// Paths that may hang at once, each with a thread that waits for it. Beyond, no file is read any more.
const MOST_HANGING: usize = 16;
/// Files read in one go off the runtime's threads.
const CHUNK: usize = 64;
/// The token of `ha_confs` itself; routers' tokens count from 1.
const ROOT: u64 = 0;

fn open(path: &Path, most: usize) -> Result<(Folders, Names), InventoryError> {
    let folders = Folders::open(path, most).map_err(|source| InventoryError::Open { source })?;
    let mut names = Names::new().map_err(|source| InventoryError::Open { source })?;
    names.add(path, ROOT).map_err(|source| InventoryError::Watch { path: path.to_owned(), source })?;
    Ok((folders, names))
}

/// The receiver is gone.
pub(super) struct Deaf;

/// What is known of a router.
#[derive(Default)]
struct Known {
    /// As told.
    told: Option<Router>,
    /// What is wrong with its file, as told.
    trouble: Option<String>,
    /// Its namespaces' names are watched under this token.
    token: Option<u64>,
}

pub(super) struct Task {
    path: PathBuf,
    netns: PathBuf,
    /// Routers at most.
    most: usize,
    /// Whose folders do not answer, and the threads that wait for them.
    hanging: HashMap<RouterId, JoinHandle<()>>,
    /// When changes are to be looked for, while inotify does not tell them.
    poll_at: Option<Instant>,
    folders: Folders,
    names: Names,
    due: Due,
    known: HashMap<RouterId, Known>,
    tokens: HashMap<u64, RouterId>,
    last_token: u64,
    /// What keeps changes from being seen, as told.
    trouble: Option<String>,
    /// Until then `ha_confs` is waited for; none: it has been told that all is told.
    complete_by: Option<Instant>,
    /// Whose rules the files are read by.
    release: watch::Receiver<Release>,
    found: mpsc::Sender<Discovery>,
    events: Events,
    metrics: Metrics,
    /// The runtime whose threads have no privileges.
    workers: Handle,
}

impl Task {
    /// Opens what it watches.
    pub(super) fn open(
        path: &Path,
        (netns, grace, most): (&Path, Duration, usize),
        release: watch::Receiver<Release>,
        found: mpsc::Sender<Discovery>,
        events: Events,
        registry: &mut Registry,
    ) -> Result<Self, InventoryError> {
        let (folders, names) = open(path, most)?;
        Ok(Self {
            most,
            path: path.to_owned(),
            netns: netns.to_owned(),
            folders,
            names,
            due: Due::default(),
            known: HashMap::new(),
            tokens: HashMap::new(),
            last_token: ROOT,
            trouble: None,
            poll_at: None,
            hanging: HashMap::new(),
            complete_by: Some(Instant::now() + grace),
            release,
            found,
            events,
            metrics: Metrics::register(registry),
            workers: Handle::current(),
        })
    }

    pub(super) async fn run(mut self) -> Result<(), Deaf> {
        self.look_everywhere(Duration::ZERO);
        self.read_due().await?;
        self.note_trouble().await?;
        loop {
            self.complete().await?;
            let grace = self.complete_by.filter(|until| *until > Instant::now());
            let poll = self.poll();
            let hanging = (!self.hanging.is_empty()).then(|| Instant::now() + HANGS);
            let next = self.due.next().into_iter().chain(grace).chain(poll).chain(hanging).min();
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let seen = tokio::select! {
                changed = self.folders.next() => changed.map(|routers| {
                    self.changed(&routers, PAUSE);
                    Vec::new()
                }),
                changes = self.names.next() => changes,
                () = wait => Ok(Vec::new()),
                Ok(()) = self.release.changed() => {
                    self.look_everywhere(Duration::ZERO);
                    Ok(Vec::new())
                }
                () = self.found.closed() => return Err(Deaf),
            };
            match seen {
                Ok(changes) => {
                    let tokens: BTreeSet<u64> = changes.into_iter().map(|(token, _)| token).collect();
                    self.names_changed(tokens).await?;
                }
                Err(error) => self.reopen(&error).await?,
            }
            self.look_at_hanging();
            self.read_due().await?;
            self.note_trouble().await?;
        }
    }

    /// Says that all is told, once, when it is. A folder that is there and cannot be read is waited for
    /// without end.
    async fn complete(&mut self) -> Result<(), Deaf> {
        let Some(until) = self.complete_by else { return Ok(()) };
        let looked = self.folders.are_watched() || Instant::now() >= until;
        if !looked || self.folders.trouble().is_some() || self.due.next().is_some() {
            return Ok(());
        }
        self.complete_by = None;
        self.tell(Discovery::Complete(Search::HaConfs)).await
    }

    /// When changes are looked for next; looks for them where that is due.
    fn poll(&mut self) -> Option<Instant> {
        if !self.folders.is_blind() {
            self.poll_at = None;
            return None;
        }
        let now = Instant::now();
        if self.poll_at.is_some_and(|at| at <= now) {
            self.look_everywhere(Duration::ZERO);
            self.poll_at = None;
        }
        Some(*self.poll_at.get_or_insert(now + POLL))
    }

    fn changed(&mut self, routers: &BTreeSet<RouterId>, pause: Duration) {
        let now = Instant::now();
        for router in routers {
            self.due.changed(*router, now, pause);
        }
    }

    fn look_everywhere(&mut self, pause: Duration) {
        let mut routers = self.folders.look_everywhere();
        routers.extend(self.known.keys());
        self.changed(&routers, pause);
    }

    async fn names_changed(&mut self, tokens: BTreeSet<u64>) -> Result<(), Deaf> {
        for token in tokens {
            if token == ROOT {
                self.look_everywhere(PAUSE);
            } else if let Some(id) = self.tokens.get(&token).copied() {
                let told = self.known.get(&id).and_then(|known| known.told.clone());
                if let Some(told) = told {
                    let netns = Netns::Path(self.namespace(id, Some(&told)));
                    self.tell_found(Router { netns, ..told }).await?;
                }
            }
        }
        Ok(())
    }

    async fn read_due(&mut self) -> Result<(), Deaf> {
        loop {
            let routers = self.due.take(Instant::now(), CHUNK);
            if routers.is_empty() {
                return Ok(());
            }
            // Fetched by who may open them, read by who may do nothing.
            let files = self.fetch(routers).await?;
            let release = *self.release.borrow_and_update();
            let read = move || files.into_iter().map(|(id, file)| (id, conf_file::read(file, release))).collect();
            let readings: Vec<(RouterId, Result<Option<Instance>, String>)> =
                // On a thread that one of the workers makes: it would have this one's privileges otherwise.
                // Only a runtime that shuts down does not run it.
                match self.workers.spawn(async { tokio::task::spawn_blocking(read).await }).await {
                    Ok(Ok(readings)) => readings,
                    _ => return Err(Deaf),
                };
            for (id, reading) in readings {
                self.metrics.reads.inc();
                self.take(id, reading).await?;
            }
        }
    }

    /// Has their files fetched by a thread of this one's role. One that hangs is left to that thread, and the
    /// others to another one.
    async fn fetch(&mut self, routers: Vec<RouterId>) -> Result<Vec<(RouterId, Unread)>, Deaf> {
        let mut files = Vec::new();
        let mut left: VecDeque<RouterId> = routers.into_iter().filter(|id| !self.hanging.contains_key(id)).collect();
        while !left.is_empty() {
            if self.hanging.len() >= MOST_HANGING {
                let now = Instant::now();
                left.iter().for_each(|id| self.due.changed(*id, now, POLL));
                break;
            }
            let visits: Vec<Visit> = left.iter().map(|id| self.folders.visit(*id)).collect();
            let (sender, mut visited) = mpsc::channel(CHUNK);
            let thread = tokio::task::spawn_blocking(move || {
                for visit in visits {
                    if sender.blocking_send(visit.make()).is_err() {
                        return;
                    }
                }
            });
            loop {
                match timeout(ANSWERS_WITHIN, visited.recv()).await {
                    Ok(Some(one)) => {
                        left.pop_front();
                        if let Some(watch) = one.watch {
                            self.folders.visited(one.router, watch);
                        }
                        files.push((one.router, one.file));
                    }
                    Ok(None) => left.clear(),
                    Err(_) => {
                        // What else it was to look at is looked at by another one.
                        left.iter().for_each(|id| self.folders.watch(*id));
                        if let Some(id) = left.pop_front() {
                            self.hanging.insert(id, thread);
                            let path = self.folders.path(id);
                            let reason = format!(
                                "{}: no answer within {} s: what is mounted there hangs. What is known of this router \
                                 stays, and the others go on",
                                path.display(),
                                ANSWERS_WITHIN.as_secs()
                            );
                            self.file_trouble(id, Some(reason)).await?;
                        }
                        break;
                    }
                }
                if left.is_empty() {
                    break;
                }
            }
        }
        Ok(files)
    }

    /// Those that answer again are looked at.
    fn look_at_hanging(&mut self) {
        let (answer, hang): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.hanging).into_iter().partition(|(_, thread)| thread.is_finished());
        self.hanging = hang;
        let answering = answer.into_keys().collect();
        self.changed(&answering, Duration::ZERO);
    }

    async fn take(&mut self, id: RouterId, reading: Result<Option<Instance>, String>) -> Result<(), Deaf> {
        match reading {
            Ok(Some(instance)) => {
                self.file_trouble(id, None).await?;
                self.watch_names(id);
                let told = self.known.get(&id).and_then(|known| known.told.as_ref());
                let netns = self.namespace(id, told);
                self.tell_found(conf_file::router(id, &instance, netns)).await
            }
            Ok(None) => {
                let broken = self.known.get(&id).is_some_and(|known| known.trouble.is_some());
                self.file_trouble(id, None).await?;
                self.unwatch_names(id);
                let told = self.known.get_mut(&id).and_then(|known| known.told.take());
                if told.is_some() {
                    self.metrics.routers.dec();
                }
                if told.is_some() || broken {
                    self.tell(Discovery::Gone(id)).await?;
                }
                self.known.remove(&id);
                Ok(())
            }
            Err(reason) => self.file_trouble(id, Some(reason)).await,
        }
    }

    /// With DVR a network node has both namespaces, and the HA interface is in `snat-…`; without,
    /// there is only `qrouter-…`. Where neither is there yet, the last answer holds.
    fn namespace(&self, id: RouterId, told: Option<&Router>) -> PathBuf {
        let [qrouter, snat] = self.namespaces(id);
        match told.map(|told| &told.netns) {
            _ if snat.exists() => snat,
            Some(Netns::Path(last)) if !qrouter.exists() => last.clone(),
            _ => qrouter,
        }
    }

    fn namespaces(&self, id: RouterId) -> [PathBuf; 2] {
        ["qrouter", "snat"].map(|kind| self.netns.join(format!("{kind}-{id}")))
    }

    /// Before the namespaces are looked at, so that no change is missed.
    fn watch_names(&mut self, id: RouterId) {
        let known = self.known.entry(id).or_default();
        if known.token.is_some() {
            return;
        }
        self.last_token += 1;
        let token = self.last_token;
        known.token = Some(token);
        self.tokens.insert(token, id);
        self.add_names(id, token);
    }

    fn add_names(&mut self, id: RouterId, token: u64) {
        for path in self.namespaces(id) {
            if let Err(error) = self.names.add(&path, token) {
                tracing::warn!(path = %path.display(), %error, "cannot watch for a namespace");
            }
        }
    }

    fn unwatch_names(&mut self, id: RouterId) {
        if let Some(token) = self.known.get_mut(&id).and_then(|known| known.token.take()) {
            self.tokens.remove(&token);
            for path in self.namespaces(id) {
                self.names.remove(&path);
            }
        }
    }

    async fn tell_found(&mut self, router: Router) -> Result<(), Deaf> {
        let known = self.known.entry(router.id).or_default();
        if known.told.as_ref() == Some(&router) {
            return Ok(());
        }
        if known.told.replace(router.clone()).is_none() {
            self.metrics.routers.inc();
        }
        self.tell(Discovery::Found(Box::new(router))).await
    }

    async fn tell(&self, discovery: Discovery) -> Result<(), Deaf> {
        self.found.send(discovery).await.map_err(|_| Deaf)
    }

    /// Names what is wrong with a file, once; or that nothing is any more.
    async fn file_trouble(&mut self, id: RouterId, reason: Option<String>) -> Result<(), Deaf> {
        let before = match (&reason, self.known.get_mut(&id)) {
            (None, None) => return Ok(()),
            (_, known) => known.and_then(|known| known.trouble.take()),
        };
        match (&before, &reason) {
            (None, Some(_)) => self.metrics.unreadable.inc(),
            (Some(_), None) => self.metrics.unreadable.dec(),
            _ => 0,
        };
        if reason.is_some() {
            self.known.entry(id).or_default().trouble.clone_from(&reason);
        }
        self.announce(before, reason, Some(id)).await
    }

    async fn note_trouble(&mut self) -> Result<(), Deaf> {
        let now = self.folders.trouble();
        let before = std::mem::replace(&mut self.trouble, now.clone());
        self.announce(before, now, None).await
    }

    async fn announce(
        &self,
        before: Option<String>,
        now: Option<String>,
        router_id: Option<RouterId>,
    ) -> Result<(), Deaf> {
        if before == now {
            return Ok(());
        }
        let channel = "inventory".to_owned();
        match &now {
            Some(reason) => {
                tracing::warn!("{reason}");
                self.events.emit(Event::ChannelDegraded { channel, reason: reason.clone(), router_id });
            }
            None => self.events.emit(Event::ChannelRestored { channel, router_id }),
        }
        self.tell(Discovery::Trouble { router: router_id, file: None, reason: now }).await
    }

    /// inotify is lost: opens it again, for as long as it takes.
    async fn reopen(&mut self, error: &io::Error) -> Result<(), Deaf> {
        let before = self.trouble.take();
        let lost = format!("inotify is lost ({error}): routers that come or go are not seen until it is back");
        self.trouble = Some(lost.clone());
        self.announce(before, Some(lost), None).await?;
        loop {
            tokio::time::sleep(REOPEN).await;
            if let Ok((folders, names)) = open(&self.path, self.most) {
                (self.folders, self.names) = (folders, names);
                break;
            }
        }
        let tokens: Vec<(u64, RouterId)> = self.tokens.iter().map(|(token, id)| (*token, *id)).collect();
        for (token, id) in tokens {
            self.add_names(id, token);
        }
        self.look_everywhere(Duration::ZERO);
        Ok(())
    }
}
