//! Which routers are watched, and what a router's coming, change or going sets off.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use super::super::attacher::AttachJob;
use super::super::state::{Restored, Source, Watched, policy};
use super::leaving::is_seen;
use super::{Driver, TURN};

use crate::clock;
use crate::config::Router;
use crate::core::io::Input;
use crate::core::model::{Channel, RouterId};
use crate::core::time::Mono;
use crate::inventory::{Discovery, MOST_ROUTERS, Search};
use crate::netlink::{Vmac, Watch};
use crate::telemetry::event::Event;

impl Driver {
    /// Takes `first` and what else was found, up to a turn's worth.
    pub(super) fn discoveries(&mut self, first: Discovery, more: &mut mpsc::Receiver<Discovery>) {
        let mut touched = BTreeSet::new();
        let (mut complete, mut named) = (false, false);
        let mut next = Some(first);
        for _ in 0..TURN {
            match next {
                None => break,
                Some(Discovery::Found(router)) => {
                    touched.insert(router.id);
                    self.leaving.end(router.id);
                    self.remembered.remove(&router.id);
                    self.discovered.insert(router.id, *router);
                }
                Some(told @ (Discovery::Gone(id) | Discovery::Lost(id))) => {
                    touched.insert(id);
                    if self.is_plain(id) {
                        self.leaving.begin(id, matches!(told, Discovery::Lost(_)), clock::now());
                    } else {
                        self.left(id);
                    }
                }
                Some(Discovery::Trouble { router, file, reason }) => self.trouble((router, file), reason),
                Some(Discovery::Complete(search)) => {
                    named |= search == Search::Keepalived;
                    self.incomplete = self.incomplete.saturating_sub(1);
                    complete = self.incomplete == 0;
                }
            }
            next = more.try_recv().ok();
        }
        self.reconcile(&touched);
        if named {
            self.parts.directory.completed();
        }
        if complete {
            self.forget_leftovers();
        }
    }

    /// Whether keepalived goes on with it until it reads its files again.
    fn is_plain(&self, id: RouterId) -> bool {
        self.parts.shared.lock().routers.get(&id).is_some_and(|watched| watched.source == Source::Keepalived)
    }

    fn left(&mut self, id: RouterId) {
        self.leaving.end(id);
        self.gone(id);
        if self.wanted(id).is_none() {
            self.forget_leftover(id);
        }
    }

    /// Lets go whom no file names, once nothing shows that keepalived runs with it.
    pub(super) fn let_go(&mut self) {
        let now = clock::now();
        if self.leaving.due().is_none_or(|due| now < due) {
            return;
        }
        let left = {
            let inner = self.parts.shared.lock();
            self.leaving.look(now, |id| {
                let seen = inner.node.view(id, now).is_some_and(|view| is_seen(&view.evidence));
                seen || self.parts.outbox.standing(id).is_some_and(|standing| standing.pending)
            })
        };
        self.look_for_keepaliveds(now);
        for id in &left {
            self.left(*id);
        }
        if !left.is_empty() {
            self.reconcile(&left.into_iter().collect());
        }
    }

    fn look_for_keepaliveds(&self, now: Mono) {
        let inner = self.parts.shared.lock();
        for id in self.leaving.unsure(now) {
            if let Some(watched) = inner.routers.get(&id) {
                self.parts.places.post(id, watched.router.netns.clone());
            }
        }
    }

    /// Lets go what was watched before the restart, and is neither configured nor there any more. A
    /// router whose file is only broken is kept: it is known again once that is mended, or gone for good. Of
    /// a broken file with several routers nobody can tell which.
    fn forget_leftovers(&mut self) {
        let concerns = |(router, file): &(Option<RouterId>, Option<PathBuf>), id: &RouterId| {
            router.map_or(file.is_some(), |router| router == *id)
        };
        let broken = |id: &RouterId| self.troubles.keys().any(|about| concerns(about, id));
        let left: Vec<RouterId> = self.parts.restored.keys().filter(|id| !broken(id)).copied().collect();
        for id in left {
            self.forget_leftover(id);
        }
    }

    fn forget_leftover(&mut self, id: RouterId) {
        if self.parts.restored.remove(&id).is_some() {
            tracing::info!(router = %id, "what was confirmed of it before is forgotten: nothing names it any more");
            self.parts.outbox.forget(id);
        }
    }

    /// Keeps for `status` what the discovery complains about; it has made the event itself.
    fn trouble(&mut self, about: (Option<RouterId>, Option<PathBuf>), reason: Option<String>) {
        match reason {
            Some(reason) => self.troubles.insert(about, reason),
            None => self.troubles.remove(&about),
        };
        self.show_inventory();
    }

    /// Makes `routers` those that the configuration gives.
    pub(super) fn reconfigure(&mut self, routers: Vec<Router>) {
        let found = self.discovered.keys().chain(self.registered.keys());
        let mut touched: BTreeSet<RouterId> = self.configured.keys().chain(found).copied().collect();
        self.configured = routers.into_iter().map(|router| (router.id, router)).collect();
        touched.extend(self.configured.keys());
        self.reconcile(&touched);
    }

    /// Makes what is watched of these routers what is wanted.
    pub(super) fn reconcile(&mut self, touched: &BTreeSet<RouterId>) {
        let gone: Vec<RouterId> = {
            let inner = self.parts.shared.lock();
            let unwanted = |id: &&RouterId| {
                let watched = inner.routers.get(id).map(|watched| &watched.router);
                let wanted = self.wanted(**id).map(|(router, _)| router);
                watched.is_some_and(|watched| !wanted.is_some_and(|wanted| wanted.goes_on_as(watched)))
            };
            touched.iter().filter(unwanted).copied().collect()
        };
        for id in gone {
            self.forget(id, self.wanted(id).is_some());
        }
        let found = self.discovered.keys().chain(self.remembered.keys()).filter(|id| !self.configured.contains_key(id));
        let found: Vec<Router> = found.filter_map(|id| self.wanted(*id)).map(|(router, _)| router).collect();
        self.parts.directory.replace(self.configured.values().chain(&found));
        let waiting = std::mem::take(&mut self.left_out);
        for id in touched.union(&waiting) {
            if let Some((router, source)) = self.wanted(*id) {
                if self.has_room(*id) {
                    self.watch(*id, router, source);
                } else {
                    self.left_out.insert(*id);
                }
            }
        }
        if self.left_out.is_empty() != waiting.is_empty() {
            match self.no_room() {
                Some(reason) => self.degraded("inventory", reason, None),
                None => self.restored("inventory", None),
            }
        }
        self.show_inventory();
    }

    /// Whether this one is watched, or may be.
    fn has_room(&self, id: RouterId) -> bool {
        let inner = self.parts.shared.lock();
        inner.routers.contains_key(&id) || inner.routers.len() < MOST_ROUTERS
    }

    /// That routers are left out, in words.
    pub(super) fn no_room(&self) -> Option<String> {
        (!self.left_out.is_empty()).then(|| {
            format!("more than {MOST_ROUTERS} routers are found: the first {MOST_ROUTERS} are watched, and the others are not")
        })
    }

    fn watch(&mut self, id: RouterId, router: Router, source: Source) {
        let watch = watch_of(&router);
        let registered = self.registered.get(&id).cloned();
        {
            let shared = Arc::clone(&self.parts.shared);
            let mut inner = shared.lock();
            let policy =
                policy(self.parts.mode, &self.parts.corroboration, self.parts.fifos, &router, registered.is_some());
            let restored = self.parts.restored.remove(&id);
            let confirmed = restored.as_ref().map(|restored| (restored.state, restored.basis));
            let now = clock::now();
            let outputs = inner.node.watch(id, policy, confirmed, now);
            if let Some(watched) = inner.routers.get_mut(&id) {
                (watched.source, watched.registered) = (source, registered);
                let further = watched.router.further != router.further;
                watched.router.further = router.further;
                if further {
                    let found = watched.as_found();
                    self.watch_anew(&found);
                }
                self.settle(&mut inner, id, outputs, now);
                self.compare(&mut inner, id);
                return;
            }
            self.parts.events.emit(Event::RouterWatched {
                router_id: id,
                source: source.as_str().to_owned(),
                netns: router.netns.to_string(),
                interface: router.interface.clone(),
                vip: format!("{}/{}", router.vip, router.prefix),
                vrid: router.vrid,
                instance: router.fifo_instance.clone(),
            });
            let watched = Watched {
                router,
                source,
                ifindex: None,
                generation: None,
                missing: false,
                vmac: None,
                degraded: Vec::new(),
                decided: false,
                confirmed_at_us: restored.map(|restored| restored.confirmed_at_us),
                registered,
            };
            inner.routers.insert(id, watched);
            self.compare(&mut inner, id);
        }
        if let Err(error) = self.parts.netlink.watch(watch) {
            warn!(router = %id, %error, "addresses not watched");
            self.degraded("vip", error.to_string(), Some(id));
            self.input(id, Input::Channel { channel: Channel::Vip, up: false });
        }
    }

    /// What netlink is asked to watch has changed.
    pub(super) fn watch_anew(&self, router: &Router) {
        if let Err(error) = self.parts.netlink.watch(watch_of(router)) {
            warn!(router = %router.id, %error, "addresses not watched");
        }
    }

    /// Stops watching; `changed` routers come back with other settings and keep their outbox entry.
    fn forget(&mut self, id: RouterId, changed: bool) {
        self.parts.netlink.unwatch(id);
        if !changed {
            self.parts.actions.forget(id);
        }
        self.parts.attachments.post(id, AttachJob::Detach);
        let mut inner = self.parts.shared.lock();
        if changed {
            let confirmed = inner.node.view(id, clock::now()).and_then(|view| view.confirmed);
            let since = inner.routers.get(&id).and_then(|watched| watched.confirmed_at_us);
            let confirmed_at_us = since.unwrap_or_else(clock::wall_micros);
            let restored = confirmed.map(|(state, _, basis)| (id, Restored { state, basis, confirmed_at_us }));
            self.parts.restored.extend(restored);
        } else {
            self.parts.outbox.forget(id);
        }
        inner.node.forget(id);
        let source = inner.routers.remove(&id).map(|watched| watched.source);
        let reason = match source {
            _ if changed => "its settings changed",
            Some(Source::HaConfs | Source::HaConfsAndRegistration) => "its keepalived.conf is gone",
            Some(Source::Registration) => "its keepalived.conf is gone and its registration has ended",
            Some(Source::Keepalived) => {
                "no longer in keepalived's configuration and not run by keepalived, or given by hand now"
            }
            Some(Source::Config) | None => "no longer configured",
        };
        self.parts.events.emit(Event::RouterForgotten { router_id: id, reason: reason.to_owned() });
    }
}

fn watch_of(router: &Router) -> Watch {
    Watch {
        router: router.id,
        netns: router.netns.clone(),
        interface: router.interface.clone(),
        vip: router.vip,
        prefix: router.prefix,
        vip_interface: router.vip_interface.clone(),
        further: router.further.clone(),
        vmac: router.rules.has_vmac.then_some(Vmac { v6: router.vip.is_ipv6(), vrid: router.vrid }),
    }
}
