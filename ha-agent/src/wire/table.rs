//! Which router is watched where, under which number. Bookkeeping only.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ha_agent_common::{MAX_WATCHES, WatchKey};

use super::{Target, WireError};
use crate::core::model::RouterId;
use crate::core::time::Mono;

/// A watch that begins this long after another one ended is of the same keepalived.
const HOLDS: Duration = Duration::from_secs(60);

/// An interface of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Cookie or inode of the namespace.
    pub(super) namespace: u64,
    /// Index of the interface in it.
    pub(super) ifindex: u32,
}

/// A watched router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `ha_agent_common::Watch::id`.
    pub(super) id: u32,
    /// Where.
    pub(super) place: Place,
    /// Its key in `WATCHES`.
    pub(super) key: WatchKey,
    /// What was asked for.
    pub(super) target: Arc<Target>,
    /// Since when: what was seen earlier under this number was another router's.
    pub(super) since: Mono,
}

/// What is known of a keepalived beyond one watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Where its AH sequence stands; it takes no earlier number. 0: not known.
    pub(super) ah_sequence: u32,
    /// The cookie of the socket that it sends by; 0: not known.
    pub(super) socket: u64,
}

/// All watched routers.
#[derive(Debug, Default)]
pub(super) struct Table {
    routers: HashMap<RouterId, Entry>,
    by_id: HashMap<u32, RouterId>,
    by_key: HashMap<WatchKey, RouterId>,
    next: u32,
    /// What was known of keepalived where watches have ended, and when they did.
    left: HashMap<(Place, u8, u8), (Left, Mono)>,
    /// Numbers to use again, the longest unused first: records in flight still carry the others.
    free: VecDeque<u32>,
}

impl Table {
    pub(super) fn entry(&self, router: RouterId) -> Option<&Entry> {
        self.routers.get(&router)
    }

    /// Whose number this is.
    pub(super) fn router(&self, id: u32) -> Option<(RouterId, &Entry)> {
        let router = *self.by_id.get(&id)?;
        self.routers.get(&router).map(|entry| (router, entry))
    }

    /// Gives a router a number.
    pub(super) fn add(&mut self, target: &Target, place: Place, key: WatchKey, since: Mono) -> Result<u32, WireError> {
        let router = target.router;
        let id = if self.next < MAX_WATCHES {
            self.next += 1;
            self.next - 1
        } else {
            self.free.pop_front().ok_or(WireError::Full)?
        };
        self.by_id.insert(id, router);
        self.by_key.insert(key, router);
        self.routers.insert(router, Entry { id, place, key, target: Arc::new(target.clone()), since });
        Ok(id)
    }

    pub(super) fn remove(&mut self, router: RouterId) -> Option<Entry> {
        let entry = self.routers.remove(&router)?;
        self.by_id.remove(&entry.id);
        self.by_key.remove(&entry.key);
        self.free.push_back(entry.id);
        Some(entry)
    }

    /// Remembers for a while what was known of keepalived when a watch ended: one that follows, since the rules are
    /// others, has the same keepalived.
    pub(super) fn keep(&mut self, entry: &Entry, left: Left, now: Mono) {
        self.left.retain(|_, (_, ended)| now.since(*ended) < HOLDS);
        if left != Left::default() && self.left.len() < MAX_WATCHES as usize {
            self.left.insert((entry.place, entry.key.vrid, entry.key.family), (left, now));
        }
    }

    /// What was known, if that is not long ago.
    pub(super) fn left(&self, place: Place, key: &WatchKey, now: Mono) -> Left {
        let found = self.left.get(&(place, key.vrid, key.family));
        found.filter(|(_, ended)| now.since(*ended) < HOLDS).map_or(Left::default(), |(left, _)| *left)
    }

    /// Whether any router is watched at a place.
    pub(super) fn is_used(&self, place: Place) -> bool {
        self.routers.values().any(|entry| entry.place == place)
    }

    /// Which router is watched under a key.
    pub(super) fn watching(&self, key: &WatchKey) -> Option<(RouterId, &Entry)> {
        let router = *self.by_key.get(key)?;
        self.routers.get(&router).map(|entry| (router, entry))
    }

    /// Who watches a VRID at a place.
    pub(super) fn holder(&self, place: Place, vrid: u8, family: u8) -> Option<RouterId> {
        self.routers
            .iter()
            .find(|(_, entry)| entry.place == place && entry.key.vrid == vrid && entry.key.family == family)
            .map(|(router, _)| *router)
    }
}

#[cfg(test)]
mod tests;
