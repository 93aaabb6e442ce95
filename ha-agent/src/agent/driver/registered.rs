//! Registrations: who stands in for which router's monitor, and what follows for that router.
//!
//! | known from | watched as |
//! |---|---|
//! | the configuration | it says, whatever the others say |
//! | a plain keepalived's files | they say |
//! | `ha_confs` and a registration | `ha_confs` says, in the namespace that the registration names |
//! | a registration alone | `ha_confs` said last; if it never did, it is waited for |

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::state::{Inner, Source};
use super::Driver;

use crate::config::Router;
use crate::core::model::RouterId;
use crate::inventory::Registration;
use crate::status::Degraded;

/// Routers that `status` names one by one while their files are waited for.
const NAMED: usize = 3;

impl Driver {
    /// Takes the newest word per router.
    pub(super) fn registrations(&mut self, changed: Vec<(RouterId, Option<Arc<Registration>>)>) {
        let mut touched = BTreeSet::new();
        let mut begun = Vec::new();
        for (id, newest) in changed {
            match newest {
                Some(registration) => {
                    self.registered.insert(id, registration);
                    begun.push(id);
                }
                None => {
                    self.registered.remove(&id);
                    self.parts.actions.stood_down(id);
                    self.remembered.remove(&id);
                }
            }
            touched.insert(id);
        }
        self.reconcile(&touched);
        for id in begun {
            self.begin_standing_in(id);
        }
    }

    /// What `ha_confs` tells of a router is gone: kept for as long as someone stands in for its monitor.
    pub(super) fn gone(&mut self, id: RouterId) {
        let last = self.discovered.remove(&id);
        if self.registered.contains_key(&id) {
            self.remembered.extend(last.map(|router| (id, router)));
        }
    }

    /// Who is to be watched, and on whose word.
    pub(super) fn wanted(&self, id: RouterId) -> Option<(Router, Source)> {
        if let Some(router) = self.configured.get(&id) {
            return Some((router.clone(), Source::Config));
        }
        let (router, source, registration) = match (self.discovered.get(&id), self.registered.get(&id)) {
            (Some(router), None) if self.given_by_hand(router) => return None,
            // Neutron's routers have no name in FIFO lines.
            (Some(router), None) if router.fifo_instance.is_some() => {
                return Some((router.clone(), Source::Keepalived));
            }
            (Some(router), None) => return Some((router.clone(), Source::HaConfs)),
            (Some(router), Some(registration)) => (router, Source::HaConfsAndRegistration, registration),
            (None, Some(registration)) => (self.remembered.get(&id)?, Source::Registration, registration),
            (None, None) => return None,
        };
        Some((Router { netns: registration.netns(), ..router.clone() }, source))
    }

    /// Whether the configuration gives the same virtual router, under whatever id.
    fn given_by_hand(&self, found: &Router) -> bool {
        let place = |router: &Router| (router.netns.clone(), router.interface.clone(), router.vip.is_ipv4());
        self.configured.values().any(|router| router.vrid == found.vrid && place(router) == place(found))
    }

    /// Names where a registration and `ha_confs` differ in more than the namespace, and whom no file names any
    /// more, once.
    pub(super) fn compare(&self, inner: &mut Inner, id: RouterId) {
        let Some(watched) = inner.routers.get_mut(&id) else { return };
        let difference = match (watched.source, &watched.registered) {
            (Source::HaConfsAndRegistration, Some(registration)) => difference(&watched.router, registration),
            _ => self.leaving.reason(id).map(str::to_owned),
        };
        match difference {
            Some(reason) => {
                if watched.degrade("inventory", &reason) {
                    self.degraded("inventory", reason, Some(id));
                }
            }
            None => {
                if watched.restore("inventory") {
                    self.restored("inventory", Some(id));
                }
            }
        }
    }

    /// Shows in `status` what keeps routers from being watched at all.
    pub(super) fn show_inventory(&self) {
        let reasons = self.troubles.values().cloned().chain(self.waited_for()).chain(self.no_room());
        let shown = reasons.map(|reason| Degraded { channel: "inventory".to_owned(), reason });
        let mut inner = self.parts.shared.lock();
        inner.degraded.retain(|d| d.channel != "inventory");
        inner.degraded.extend(shown);
    }

    fn waited_for(&self) -> Option<String> {
        let known = |id: &&RouterId| {
            self.configured.contains_key(id) || self.discovered.contains_key(id) || self.remembered.contains_key(id)
        };
        let waiting: Vec<&RouterId> = self.registered.keys().filter(|id| !known(id)).collect();
        let (named, more) = waiting.split_at(waiting.len().min(NAMED));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        (!named.is_empty()).then(|| {
            format!(
                "registered, and watched as soon as a readable keepalived.conf is there: {}{more}",
                named.join(", ")
            )
        })
    }
}

fn difference(router: &Router, registration: &Registration) -> Option<String> {
    let written = (router.interface.as_str(), router.vip, router.prefix);
    let Registration { interface, vip, prefix, .. } = registration;
    (written != (interface.as_str(), *vip, *prefix)).then(|| {
        format!(
            "keepalived.conf has {}/{} on {}, who registered has {vip}/{prefix} on {interface}: keepalived.conf is believed",
            router.vip, router.prefix, router.interface
        )
    })
}
