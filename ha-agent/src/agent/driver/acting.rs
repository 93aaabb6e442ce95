//! What a router's transition, or its registration, sets off on the node.

use super::super::state::Inner;
use super::Driver;

use crate::actions::{Change, Place, Registered};
use crate::clock;
use crate::config::Mode;
use crate::core::model::RouterId;

impl Driver {
    /// Orders what this turn's transitions set off.
    pub(super) fn act(&mut self) {
        for (id, change) in std::mem::take(&mut self.act) {
            let sequence = self.parts.outbox.standing(id).map_or(0, |standing| standing.sequence);
            if let Some(place) = self.place_of(id) {
                self.parts.actions.confirmed(&place, &Change { sequence, ..change });
            }
        }
    }

    /// Someone stands in for the router's monitor from now on: what that would write at its start. Before
    /// the first verdict of this run nothing is known; that verdict then writes it.
    pub(super) fn begin_standing_in(&mut self, id: RouterId) {
        let inner = self.parts.shared.lock();
        let decided = inner.routers.get(&id).is_some_and(|watched| watched.decided);
        if !decided || self.passes_vips_on(&inner, id) {
            return;
        }
        let confirmed = inner.node.view(id, clock::now()).and_then(|view| view.confirmed);
        drop(inner);
        if let Some((state, _, basis)) = confirmed {
            self.act.push((id, Change { state, previous: Some(state), basis, sequence: 0 }));
        }
    }

    /// In `observe` the stand-in for a monitor passes VIPs on, and what is done in that monitor's place
    /// follows them as well, not the verdicts: so it was with the monitor. (Nothing else is done then.)
    pub(super) fn passes_vips_on(&self, inner: &Inner, id: RouterId) -> bool {
        self.parts.mode == Mode::Observe && inner.routers.get(&id).is_some_and(|watched| watched.registered.is_some())
    }

    /// What the actions must know of a router.
    fn place_of(&self, id: RouterId) -> Option<Place> {
        let router = self.parts.shared.lock().routers.get(&id)?.as_found();
        let registered = self.registered.get(&id).map(|registration| Registered {
            conntrackd: registration.conntrackd,
            user: registration.user.clone(),
            group: registration.group.clone(),
        });
        // A router of a plain keepalived is found too, and has a name in FIFO lines.
        let found = self.discovered.get(&id).is_some_and(|found| found.fifo_instance.is_none());
        let neutrons = found || registered.is_some();
        let folder = neutrons.then(|| self.parts.ha_confs.join(id.to_string()));
        Some(Place { router, folder, registered })
    }
}
