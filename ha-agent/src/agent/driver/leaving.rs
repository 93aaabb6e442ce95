//! Instances that keepalived's files name no more. keepalived goes on with what it read until it reads
//! again, so they are watched on for as long as a sign of them is there, and [`HOLD`] longer:
//!
//! | the file | is a sign |
//! |---|---|
//! | can be read, and does not name it | its VIP is set; adverts of ours leave; the receiver has not taken its last state yet |
//! | is gone as a whole | these, and somebody who listens for adverts in its namespace |
//!
//! Pure but for the router's namespace, which others look into.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::evidence::{Evidence, Tx};
use crate::core::model::{Listener, RouterId, Vip};
use crate::core::time::Mono;

/// How long an instance without any sign is kept: a file that is short for a moment, because somebody
/// writes it, is whole again by then, and a backup shows no sign at all.
pub(super) const HOLD: Duration = Duration::from_secs(60);
/// How long without a sign until a namespace is looked into.
const LOOK_AFTER: Duration = Duration::from_secs(10);
/// How often they are looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    table: BTreeMap<RouterId, One>,
    due: Option<Mono>,
}

#[derive(Clone, Copy, Debug)]
struct One {
    /// Its file is gone as a whole.
    lost: bool,
    last_sign: Mono,
}

impl Leaving {
    /// No file names it from `now` on. When it is said again, the time goes on.
    pub(super) fn begin(&mut self, id: RouterId, lost: bool, now: Mono) {
        self.table.entry(id).or_insert(One { lost, last_sign: now }).lost = lost;
        self.due.get_or_insert(now + PAUSE);
    }

    /// A file names it again, or nobody wants to know of it any more.
    pub(super) fn end(&mut self, id: RouterId) {
        self.table.remove(&id);
        if self.table.is_empty() {
            self.due = None;
        }
    }

    /// When they are to be looked at.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Why it is watched all the same, in words.
    pub(super) fn reason(&self, id: RouterId) -> Option<&'static str> {
        self.table.get(&id).map(|one| match one.lost {
            false => {
                "keepalived's configuration does not name this instance any more: it is watched until keepalived has stopped it; \
                 reload keepalived where that was meant"
            }
            true => "keepalived's configuration file is gone: this instance is watched for as long as keepalived runs with it",
        })
    }

    /// Those whose namespace is to be looked into, as nothing else shows that keepalived runs.
    pub(super) fn unsure(&self, now: Mono) -> Vec<RouterId> {
        let unsure = |one: &One| one.lost && now.since(one.last_sign) >= LOOK_AFTER;
        self.table.iter().filter(|(_, one)| unsure(one)).map(|(id, _)| *id).collect()
    }

    /// Who listens for adverts in its namespace.
    pub(super) fn heard(&mut self, id: RouterId, listener: Option<Listener>, now: Mono) {
        if let Some(one) = self.table.get_mut(&id).filter(|one| one.lost)
            && matches!(listener, Some(Listener::Reading | Listener::Stalled))
        {
            one.last_sign = now;
        }
    }

    /// Looks at all of them where that is due; gives those that have left. `sign` says whether there is
    /// one.
    pub(super) fn look(&mut self, now: Mono, sign: impl Fn(RouterId) -> bool) -> Vec<RouterId> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut left = Vec::new();
        for (id, one) in &mut self.table {
            if sign(*id) {
                one.last_sign = now;
            } else if now.since(one.last_sign) >= HOLD {
                left.push(*id);
            }
        }
        self.due = Some(now + PAUSE);
        for id in &left {
            self.end(*id);
        }
        left
    }
}

/// Whether the kernel or the wire shows that keepalived runs with it.
pub(super) fn is_seen(evidence: &Evidence) -> bool {
    evidence.vip == Vip::Present || matches!(evidence.tx.state, Tx::Transmitting | Tx::Delayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id() -> RouterId {
        RouterId(uuid::Uuid::from_u128(1))
    }

    /// The second in which it has left, within five minutes, where `sign` gives what is seen in each.
    fn left(lost: bool, sign: impl Fn(u32) -> bool, listener: impl Fn(u32) -> Option<Listener>) -> Option<u32> {
        let begin = Mono(1);
        let mut leaving = Leaving::default();
        leaving.begin(id(), lost, begin);
        (1..300).find(|second| {
            let now = begin + SECOND * *second;
            leaving.heard(id(), listener(*second), now);
            leaving.look(now, |_| sign(*second)) == [id()]
        })
    }

    #[test]
    fn it_is_kept_while_a_sign_is_there_and_a_hold_longer() {
        let never = |_| None;
        assert_eq!(left(false, |_| false, never), Some(60));
        assert_eq!(left(false, |second| second <= 100, never), Some(160));
        assert_eq!(left(false, |_| true, never), None);
        assert_eq!(left(true, |_| false, never), Some(60));
    }

    #[test]
    fn with_its_file_gone_a_keepalived_that_runs_is_a_sign() {
        for listener in [Listener::Reading, Listener::Stalled] {
            assert_eq!(left(true, |_| false, |_| Some(listener)), None);
            assert_eq!(left(true, |_| false, |second| (second < 50).then_some(listener)), Some(109));
            // One that was taken out of a file stays out, whoever else listens there.
            assert_eq!(left(false, |_| false, |_| Some(listener)), Some(60));
        }
        assert_eq!(left(true, |_| false, |_| Some(Listener::Gone)), Some(60));
    }

    #[test]
    fn one_that_is_named_again_stays() {
        let mut leaving = Leaving::default();
        leaving.begin(id(), false, Mono(1));
        assert!(leaving.reason(id()).is_some());
        leaving.end(id());
        assert_eq!((leaving.reason(id()), leaving.due()), (None, None));
        assert_eq!(leaving.look(Mono(1) + HOLD * 2, |_| false), []);
    }

    #[test]
    fn the_file_that_goes_after_its_text_gives_no_new_time() {
        let mut leaving = Leaving::default();
        leaving.begin(id(), false, Mono(1));
        leaving.begin(id(), true, Mono(1) + HOLD / 2);
        assert_eq!(leaving.unsure(Mono(1) + SECOND * 9), []);
        assert_eq!(leaving.unsure(Mono(1) + SECOND * 10), [id()]);
        assert_eq!(leaving.look(Mono(1) + HOLD, |_| false), [id()]);
    }
}
