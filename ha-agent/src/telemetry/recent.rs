//! The last events, kept in memory for `explain` and `events`, and handed to followers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use super::event::{Event, Severity};
use crate::core::model::RouterId;

/// Events of the whole node that are kept, and their bytes at most.
const NODE: Limit = Limit { lines: 1000, bytes: 1 << 20 };
/// Events of each watched router: with 1,000 routers 4 MiB at most.
const ROUTER: Limit = Limit { lines: 12, bytes: 3072 };
/// Lines that a follower may lag behind before it is cut.
const FOLLOW: usize = 1024;

/// One event as it was written.
#[derive(Debug)]
pub struct Record {
    /// The JSON line, without its newline.
    pub line: Box<str>,
    /// The event's name.
    pub name: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// Routers it is about.
    pub routers: Box<[RouterId]>,
    /// In words; present when a sink wants it.
    pub summary: Option<Box<str>>,
}

impl Record {
    /// Whether it passes a filter by router.
    pub fn concerns(&self, router: Option<RouterId>) -> bool {
        router.is_none_or(|id| self.routers.contains(&id))
    }
}

/// Shared, cheap to clone.
#[derive(Clone, Debug)]
pub struct Recent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rings: Mutex<Rings>,
    live: broadcast::Sender<Arc<Record>>,
}

#[derive(Debug, Default)]
struct Rings {
    node: Ring,
    routers: HashMap<RouterId, Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
}

struct Limit {
    lines: usize,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, record: &Arc<Record>, limit: &Limit) {
        self.bytes += record.line.len();
        self.records.push_back(Arc::clone(record));
        while self.records.len() > limit.lines || (self.bytes > limit.bytes && self.records.len() > 1) {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.line.len();
        }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { rings: Mutex::default(), live: broadcast::channel(FOLLOW).0 }) }
    }
}

impl Recent {
    /// Keeps the record and hands it to followers.
    pub(super) fn push(&self, event: &Event, record: &Arc<Record>) {
        let mut rings = self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.node.push(record, &NODE);
        match event {
            Event::RouterForgotten { router_id, .. } => {
                rings.routers.remove(router_id);
            }
            // Only these open a ring, so that refused requests with invented ids take no memory.
            Event::RouterWatched { router_id, .. } | Event::TransitionConfirmed { router_id, .. } => {
                rings.routers.entry(*router_id).or_default().push(record, &ROUTER);
            }
            _ => {
                if let Some(ring) = event.router().and_then(|id| rings.routers.get_mut(&id)) {
                    ring.push(record, &ROUTER);
                }
            }
        }
        // Under the lock, so that a follower gets each record exactly once.
        let _ = self.shared.live.send(Arc::clone(record));
    }

    /// The last events about a watched router, oldest first.
    pub fn of(&self, router: RouterId) -> Vec<Arc<Record>> {
        let rings = self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.routers.get(&router).map(|ring| ring.records.iter().cloned().collect()).unwrap_or_default()
    }

    /// The node's last events, oldest first, and the receiver of all that come after them.
    pub fn follow(&self) -> (Vec<Arc<Record>>, broadcast::Receiver<Arc<Record>>) {
        let rings = self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let last = rings.node.records.iter().cloned().collect();
        (last, self.shared.live.subscribe())
    }
}
