//! When a changed file is looked at: after a pause, so that it is seen whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::model::RouterId;

/// A file that is still being written is looked at after this many pauses none the less.
const PATIENCE: u32 = 10;

/// Routers to look at, soonest first.
#[derive(Debug, Default)]
pub(super) struct Due {
    order: BTreeSet<(Instant, RouterId)>,
    /// When each is looked at, and at the latest.
    times: BTreeMap<RouterId, (Instant, Instant)>,
}

impl Due {
    /// The router's file changed at `now`; looked at when nothing more happened for `pause`.
    pub(super) fn changed(&mut self, router: RouterId, now: Instant, pause: Duration) {
        let before = self.times.get(&router).copied();
        let latest = before.map_or(now + pause * PATIENCE, |(_, latest)| latest);
        let at = latest.min(now + pause);
        if let Some((before, _)) = before {
            self.order.remove(&(before, router));
        }
        self.order.insert((at, router));
        self.times.insert(router, (at, latest));
    }

    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// At most `limit` of those that are to be looked at by `now`.
    pub(super) fn take(&mut self, now: Instant, limit: usize) -> Vec<RouterId> {
        let mut routers = Vec::new();
        while let Some((at, router)) = self.order.first().copied()
            && at <= now
            && routers.len() < limit
        {
            self.order.remove(&(at, router));
            self.times.remove(&router);
            routers.push(router);
        }
        routers
    }
}
