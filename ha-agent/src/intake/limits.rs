//! What keeps one reporter from delaying another: who may report, how often, over how many
//! connections. Replaced as a whole when the configuration is read again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use super::turn::Turn;
use crate::config::{self, Grant, Granted, Grantee};
use crate::core::model::RouterId;
use crate::peer::Peer;

/// Requests and connections are counted apart, each by the same rate: one who asks over a connection
/// of its own each time is not counted twice, and one who connects and never asks is counted too.
#[derive(Debug)]
struct Rate {
    requests: DefaultKeyedRateLimiter<Admitted>,
    connections: DefaultKeyedRateLimiter<Admitted>,
}

/// As whom a peer is let in: as itself, or as one of a group, whose members have one share and one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Admitted {
    User(u32),
    Group(u32),
}

/// The limits in force.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) token: Option<Box<[u8]>>,
    pub(super) header_timeout: Duration,
    per_second: u32,
    rate: Arc<Rate>,
    max_connections: usize,
    shares: HashMap<Admitted, Arc<Share>>,
    /// Users that are bound to routers.
    grants: HashMap<u32, Granted>,
}

impl Limits {
    /// As configured; what did not change is taken over from `previous` with its present fill.
    pub(super) fn new(config: &config::Intake, previous: Option<&Self>) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let mut grants = Grant::by(&config.grants, |to| match to {
            Grantee::User(uid) => Some(*uid),
            Grantee::Fifo(_) => None,
        });
        // Whoever runs the agent could replace it: nothing is gained by binding him.
        grants.remove(&own);
        let users = config.allow_uids.iter().chain(grants.keys()).copied().chain([own]).map(Admitted::User);
        let groups = config.allow_gids.iter().copied().map(Admitted::Group);
        let admitted: BTreeSet<Admitted> = users.chain(groups).collect();
        let max_connections = config.max_connections;
        let per_second = config.max_requests_per_second;
        let shares = match previous {
            Some(old)
                if old.max_connections == max_connections
                    && admitted.iter().eq(old.shares.keys().collect::<BTreeSet<_>>()) =>
            {
                old.shares.clone()
            }
            // Connections made before count against the shares of before, until they end.
            _ => {
                let each = (max_connections / admitted.len()).max(1);
                admitted.into_iter().map(|whom| (whom, Arc::new(Share::new(each)))).collect()
            }
        };
        let rate = match previous {
            Some(old) if old.per_second == per_second => old.rate.clone(),
            _ => {
                let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
                let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(1));
                let quota = Quota::per_second(rate).allow_burst(burst);
                Arc::new(Rate { requests: RateLimiter::keyed(quota), connections: RateLimiter::keyed(quota) })
            }
        };
        Self {
            token: config.token.as_deref().map(|token| token.as_bytes().into()),
            header_timeout: config.header_timeout,
            per_second,
            rate,
            max_connections,
            shares,
            grants,
        }
    }

    fn admitted(&self, peer: Peer) -> Option<Admitted> {
        [Admitted::User(peer.uid), Admitted::Group(peer.gid)].into_iter().find(|whom| self.shares.contains_key(whom))
    }

    /// This peer's part of the connections; none: it may not report.
    pub(super) fn share(&self, peer: Peer) -> Option<&Arc<Share>> {
        self.shares.get(&self.admitted(peer)?)
    }

    /// Whether a user that may report may report this router: without a grant any, else those granted.
    pub(super) fn may_report(&self, uid: u32, router: RouterId) -> bool {
        self.grants.get(&uid).is_none_or(|granted| granted.covers(router))
    }

    /// Whether a user may report some routers only.
    pub(super) fn is_bound(&self, uid: u32) -> bool {
        self.grants.get(&uid).is_some_and(|granted| *granted != Granted::All)
    }

    /// Counts a request; an error when the peer may not report, or is over its rate.
    pub(super) fn count_request(&self, peer: Peer) -> Result<(), Refusal> {
        let whom = self.admitted(peer).ok_or(Refusal::PeerNotAllowed)?;
        self.rate.requests.check_key(&whom).map_err(|_| Refusal::TooManyRequests)
    }

    /// Counts a connection in the same way.
    pub(super) fn count_connection(&self, peer: Peer) -> Result<(), Refusal> {
        let whom = self.admitted(peer).ok_or(Refusal::PeerNotAllowed)?;
        self.rate.connections.check_key(&whom).map_err(|_| Refusal::TooManyRequests)
    }
}

/// One user's connections. Every user that may report has an equal share of its own, so whatever
/// one does with its connections, the others have theirs. A burst beyond the share waits for a
/// slot, in order, rather than being refused: twice the share again may wait.
#[derive(Debug)]
pub(super) struct Share {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    /// Of the connections that have their slot, one at a time is worked on.
    pub(super) turn: Turn,
}

impl Share {
    fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            max_waiting: slots.saturating_mul(2),
            turn: Turn::new(),
        }
    }

    /// A slot, or a place in the queue for one; an error when the queue is full too.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entry, Refusal> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(Entry::Slot(slot));
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        if before >= self.max_waiting {
            return Err(Refusal::TooManyConnections);
        }
        Ok(Entry::Queued(place))
    }

    /// Whether someone waits: then idle connections are not kept.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// What a connection has.
#[derive(Debug)]
pub(super) enum Entry {
    /// A slot, held as long as the permit.
    Slot(OwnedSemaphorePermit),
    /// A place in the queue.
    Queued(Place),
}

impl Entry {
    /// The slot, waiting for it at most `limit`.
    pub(super) async fn slot(self, limit: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
        match self {
            Self::Slot(slot) => Ok(slot),
            Self::Queued(place) => {
                let slot = place.0.slots.clone().acquire_owned();
                match tokio::time::timeout(limit, slot).await {
                    Ok(Ok(slot)) => Ok(slot),
                    Ok(Err(_)) | Err(_) => Err(Refusal::TooManyConnections),
                }
            }
        }
    }
}

/// A place in a share's queue, given up when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Share>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
