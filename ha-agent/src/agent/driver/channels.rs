//! What netlink, the classifier, reporters and the attacher tell, as inputs of the core.

use std::sync::Arc;

use tracing::warn;

use super::super::attacher::{AttachJob, Attached};
use super::super::state::{Inner, VmacPlace};
use super::Driver;

use crate::config::Router;
use crate::core::io::Input;
use crate::core::model::{Channel, Link, RouterId, State};
use crate::intake::Report;
use crate::netlink::{Missing, NetlinkEvent};
use crate::status::Degraded;
use crate::wire::{Target, WireEvent};

impl Driver {
    pub(super) fn wire(&mut self, event: WireEvent) {
        match event {
            WireEvent::Advert { router, advert } => self.input(router, Input::Advert(advert)),
            WireEvent::Invalid { router, frame } => self.input(router, Input::InvalidFrame(frame)),
            WireEvent::Lost { .. } => {
                let routers: Vec<RouterId> = self.parts.shared.lock().node.routers().collect();
                for router in routers {
                    if let Some(reading) = self.read(router) {
                        self.input(router, reading);
                    }
                }
            }
        }
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.input(report.router, Input::Report { state: report.state, reporter: report.reporter.clone() });
    }

    pub(super) fn netlink(&mut self, event: NetlinkEvent) {
        let shared = Arc::clone(&self.parts.shared);
        let mut inner = shared.lock();
        match event {
            NetlinkEvent::Vip { router, vip, .. } => {
                if let Some(wire) = &self.parts.wire {
                    wire.doubt_sources(router);
                }
                self.input_locked(&mut inner, router, Input::Vip(vip));
            }
            NetlinkEvent::Further { router, further, .. } => {
                self.input_locked(&mut inner, router, Input::Further(further));
            }
            NetlinkEvent::Link { router, link, ifindex, .. } => {
                self.follow_link(&mut inner, router, link, ifindex);
                self.input_locked(&mut inner, router, Input::Link(link));
            }
            NetlinkEvent::Vmac { router, name, through } => {
                self.follow_vmac(&mut inner, router, VmacPlace { name, through });
            }
            NetlinkEvent::NetnsMissing { router, why } => {
                let Some(watched) = inner.routers.get_mut(&router) else { return };
                let reason = missing_namespace(&watched.router, &why);
                watched.ifindex = None;
                watched.generation = None;
                watched.missing = true;
                if watched.degrade("vip", &reason) {
                    self.degraded("vip", reason, Some(router));
                }
                self.parts.attachments.post(router, AttachJob::Detach);
                for channel in [Channel::Wire, Channel::Vip] {
                    self.input_locked(&mut inner, router, Input::Channel { channel, up: false });
                }
                self.input_locked(&mut inner, router, Input::Namespace { exists: matches!(why, Missing::Closed(_)) });
            }
            NetlinkEvent::NetnsFound { router } => {
                if let Some(watched) = inner.routers.get_mut(&router) {
                    watched.missing = false;
                }
                self.input_locked(&mut inner, router, Input::Namespace { exists: true });
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Vip, up: true });
                if inner.routers.get_mut(&router).is_some_and(|watched| watched.restore("vip")) {
                    self.restored("vip", Some(router));
                }
            }
            NetlinkEvent::Degraded { reason } => {
                inner.degraded.retain(|d| d.channel != "vip");
                inner.degraded.push(Degraded { channel: "vip".to_owned(), reason: reason.clone() });
                self.degraded("vip", reason, None);
                self.vip_votes(&mut inner, false);
            }
            NetlinkEvent::Restored => {
                inner.degraded.retain(|d| d.channel != "vip");
                self.restored("vip", None);
                self.vip_votes(&mut inner, true);
                // An interface may have been made anew meanwhile, under the same index.
                for router in inner.routers.keys() {
                    self.parts.doubts.post(*router, ());
                }
            }
        }
    }

    /// Says of a router whose reports are passed on unjudged that the L3 agent was told what is not confirmed.
    pub(super) fn diverged(&self, inner: &mut Inner, router: RouterId, difference: Option<(State, State)>) {
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        match difference {
            Some((told, confirmed)) => {
                let reason = format!(
                    "mode observe: the L3 agent was told {told} as it was reported, but {confirmed} is confirmed; with \
                     enforce it would be told {confirmed}"
                );
                if watched.degrade("report", &reason) {
                    self.degraded("report", reason, Some(router));
                }
            }
            None => {
                if watched.restore("report") {
                    self.restored("report", Some(router));
                }
            }
        }
    }

    /// While netlink is overrun nobody's address table can be trusted. One whose namespace is not there
    /// has none.
    fn vip_votes(&mut self, inner: &mut Inner, up: bool) {
        let there = |id: &RouterId| inner.routers.get(id).is_some_and(|watched| !watched.missing);
        for router in inner.node.routers().filter(there).collect::<Vec<_>>() {
            self.input_locked(inner, router, Input::Channel { channel: Channel::Vip, up });
        }
    }

    /// Keeps the classifier where the HA interface is.
    fn follow_link(&mut self, inner: &mut Inner, router: RouterId, link: Link, ifindex: Option<u32>) {
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        if link == Link::Gone && watched.degrade("interface", &missing_interface(&watched.router)) {
            let reason = missing_interface(&watched.router);
            self.degraded("wire", reason, Some(router));
        } else if ifindex.is_some() && watched.restore("interface") {
            self.restored("wire", Some(router));
        }
        if watched.ifindex == ifindex {
            return;
        }
        watched.ifindex = ifindex;
        self.attach(inner, router);
    }

    /// Looks where the kernel shows the VMAC, and not where its name was guessed.
    fn follow_vmac(&mut self, inner: &mut Inner, router: RouterId, vmac: VmacPlace) {
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        let (before, through) = (watched.as_found(), watched.vmac.as_ref().and_then(|vmac| vmac.through));
        watched.vmac = Some(vmac.clone());
        let now = watched.as_found();
        let moved = through != vmac.through || before.rules != now.rules;
        if before.vip_interface != now.vip_interface {
            self.watch_anew(&now);
        }
        if moved && watched.ifindex.is_some() {
            self.attach(inner, router);
        }
    }

    /// Has the classifier brought to where the HA interface is now, or away.
    fn attach(&mut self, inner: &mut Inner, router: RouterId) {
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        let attaching = watched.ifindex.is_some() && self.parts.wire.is_some();
        if attaching {
            self.generation += 1;
            watched.generation = Some(self.generation);
            let through = watched.vmac.as_ref().and_then(|vmac| vmac.through);
            let target = Box::new(target(&watched.as_found(), through));
            let job = AttachJob::Attach { target, generation: self.generation };
            self.parts.attachments.post(router, job);
        } else {
            watched.generation = None;
            self.parts.attachments.post(router, AttachJob::Detach);
        }
        // While it is being attached (half a minute for a thousand routers at the start) the wire has its
        // vote and has not spoken yet: nothing is decided without it.
        self.input_locked(inner, router, Input::Channel { channel: Channel::Wire, up: attaching });
    }

    pub(super) fn attached(&mut self, attached: Attached) {
        let Attached { router, generation, result, repaired } = attached;
        let shared = Arc::clone(&self.parts.shared);
        let mut inner = shared.lock();
        let Some(watched) = inner.routers.get_mut(&router) else { return };
        if watched.generation != Some(generation) {
            return; // The interface changed meanwhile; another attachment is under way.
        }
        match result {
            Ok(()) => {
                if repaired {
                    let interface = watched.router.interface.clone();
                    let reason = format!(
                        "the classifier was no longer on {interface}, or no longer the first program there (somebody took \
                         it off, put another one before it, or made the interface anew): it saw no advert until it was \
                         attached again"
                    );
                    warn!(%router, "{reason}");
                    self.degraded("wire", reason, Some(router));
                    self.restored("wire", Some(router));
                    // What it had seen is over.
                    self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Wire, up: false });
                }
                let Some(watched) = inner.routers.get_mut(&router) else { return };
                if watched.restore("wire") {
                    self.restored("wire", Some(router));
                }
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Wire, up: true });
                if let Some(reading) = self.read(router) {
                    self.input_locked(&mut inner, router, reading);
                }
            }
            Err(error) => {
                warn!(%router, %error, "classifier not attached");
                let reason = format!("{error}; reports and the VIP decide alone");
                if watched.degrade("wire", &reason) {
                    self.degraded("wire", reason, Some(router));
                }
                self.input_locked(&mut inner, router, Input::Channel { channel: Channel::Wire, up: false });
            }
        }
    }
}

fn missing_namespace(router: &Router, why: &Missing) -> String {
    let netns = &router.netns;
    match why {
        Missing::Absent => format!("namespace {netns} does not exist: this router is watched as soon as it does"),
        Missing::NotANamespace => {
            format!("{netns} is no network namespace: this router is watched as soon as it is one")
        }
        Missing::Closed(why) => format!("namespace {netns} is not watched: {why}"),
    }
}

fn missing_interface(router: &Router) -> String {
    format!("interface {} does not exist in {}: it is attached to as soon as it does", router.interface, router.netns)
}

fn target(router: &Router, through: Option<u32>) -> Target {
    Target {
        router: router.id,
        netns: router.netns.clone(),
        interface: router.interface.clone(),
        through,
        vrid: router.vrid,
        family: router.vip.into(),
        vip: router.vip,
        rules: router.rules.clone(),
    }
}
