//! When it is looked for who listens for adverts: only where nothing else shows that keepalived lives.

use std::time::Duration;

use crate::core::model::Listener;
use crate::core::time::Mono;

/// Between two looks at a backup. What ends a keepalived that never spoke leaves no other sign.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A keepalived that is reloaded, or started again, has its socket again after this long.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The VIP is held in silence: its socket tells a keepalived that is dead from one that is frozen or
    /// filtered. Once when the silence begins, and once another node's adverts should have been read.
    Silence {
        /// Another node is established as master.
        established: bool,
    },
    /// A backup says nothing as long as all is well, and nothing when it is dead.
    Backup,
}

/// Who listens, as far as it was looked.
#[derive(Debug, Default)]
pub(super) struct Listening {
    why: Option<Why>,
    /// When to look next.
    due: Option<Mono>,
    found: Option<Listener>,
    /// Looks in a row that found nobody who reads.
    absent: u32,
    /// The last look that found somebody who reads.
    there: Option<Mono>,
}

impl Listening {
    /// Whether to look now.
    pub(super) fn look(&mut self, why: Option<Why>, now: Mono) -> bool {
        if why != self.why {
            let first = match why {
                None => None,
                Some(Why::Silence { .. }) => Some(now),
                Some(Why::Backup) => Some(now + LOOK_AGAIN),
            };
            (self.why, self.due, self.found, self.absent) = (why, first, None, 0);
        }
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        self.due = (why == Some(Why::Backup)).then(|| now + LOOK_EVERY);
        true
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Something happened that may come with a keepalived's start or end.
    pub(super) fn hurry(&mut self, now: Mono) {
        self.due = self.due.map(|due| due.min(now + LOOK_AGAIN));
    }

    /// What was found; none: that cannot be told.
    pub(super) fn found(&mut self, listener: Option<Listener>, now: Mono) {
        self.found = listener.filter(|_| self.why.is_some());
        match self.found {
            Some(Listener::Reading) => (self.absent, self.there) = (0, Some(now)),
            Some(Listener::Stalled | Listener::Gone | Listener::Resigned) => {
                self.absent = self.absent.saturating_add(1);
                if self.absent == 1 {
                    self.hurry(now);
                }
            }
            None => self.absent = 0,
        }
    }

    /// Who listens. `resigned`: when our last advert gave the role up, if it did.
    pub(super) fn listener(&self, resigned: Option<Mono>) -> Option<Listener> {
        let since = resigned.is_some_and(|at| self.there.is_none_or(|there| there <= at));
        match self.found {
            Some(Listener::Gone) if since => Some(Listener::Resigned),
            found => found,
        }
    }

    /// Whether a backup's keepalived is known not to listen: seen twice, so that a restart is none.
    pub(super) fn is_absent(&self) -> bool {
        self.why == Some(Why::Backup) && self.absent > 1
    }
}
