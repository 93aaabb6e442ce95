//! How many events of one kind are written: what somebody who reports all the time, files that are rewritten all the
//! time, or a peer that toggles could write without end. The one limit in the way of events, after all sources.
//!
//! | events | limit |
//! |---|---|
//! | what confirms, rejects or delivers; refused reports, which the intake counts by itself; the agent's own | none |
//! | all others | [`OF_ROUTER`] of one subject and router, [`OF_ALL`] of one subject |
//!
//! What begins and ends (an anomaly, a degraded channel, a watched router) is never left in the wrong state: the last
//! word is written later. How many were left out is told.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::event::Event;
use crate::core::model::RouterId;

/// At once, and then a second, of one subject and router.
const OF_ROUTER: (NonZeroU32, NonZeroU32) =
    (NonZeroU32::new(60).expect("not zero"), NonZeroU32::new(1).expect("not zero"));
/// The same of one subject: every router of a large node may change three times at once.
const OF_ALL: (NonZeroU32, NonZeroU32) =
    (NonZeroU32::new(4096).expect("not zero"), NonZeroU32::new(50).expect("not zero"));
/// How often it is told while it goes on, and how long it must have been quiet to be over.
const SUMMARY: Duration = Duration::from_secs(10);

type Subject = Cow<'static, str>;
type Key = (Option<RouterId>, Subject);
type Rates<K, C> = RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// What an event is about, as far as there is a limit for it.
struct About {
    key: Key,
    /// Whether it begins or ends what it is about; none: neither.
    begins: Option<bool>,
}

/// See the module.
pub(super) struct Limiter<C: Clock = DefaultClock> {
    clock: C,
    routers: Rates<Key, C>,
    all: Rates<Subject, C>,
    /// What was written last of what begins and ends.
    written: HashMap<Key, bool>,
    /// The last of those that were left out.
    owed: HashMap<Key, Event>,
    left_out: BTreeMap<&'static str, Count>,
    /// When it was told, or went on, last; none: nothing is left out now.
    told: Option<C::Instant>,
}

/// Of one kind of events.
#[derive(Default)]
struct Count {
    all: u64,
    routers: HashMap<RouterId, u64>,
}

impl Limiter {
    pub(super) fn new() -> Self {
        Self::with(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with(clock: C) -> Self {
        let quota = |(at_once, a_second): (NonZeroU32, NonZeroU32)| Quota::per_second(a_second).allow_burst(at_once);
        Self {
            routers: RateLimiter::new(quota(OF_ROUTER), DefaultKeyedStateStore::default(), clock.clone()),
            all: RateLimiter::new(quota(OF_ALL), DefaultKeyedStateStore::default(), clock.clone()),
            clock,
            written: HashMap::new(),
            owed: HashMap::new(),
            left_out: BTreeMap::new(),
            told: None,
        }
    }

    /// Whether the event is written; if not, it is counted.
    pub(super) fn admits(&mut self, event: &Event) -> bool {
        let Some(about) = about(event) else { return true };
        // An older word of the same is still owed: it would come after a newer one.
        let admitted = !self.owed.contains_key(&about.key) && self.has_room(&about.key);
        match (admitted, about.begins) {
            (true, Some(begins)) => drop(self.written.insert(about.key, begins)),
            (true, None) => {}
            (false, begins) => {
                let count = self.left_out.entry(event.name()).or_default();
                count.all += 1;
                if let Some(router) = event.router() {
                    *count.routers.entry(router).or_default() += 1;
                }
                if begins.is_some() {
                    self.owed.insert(about.key, event.clone());
                }
            }
        }
        admitted
    }

    fn has_room(&self, key: &Key) -> bool {
        let of_its_own = key.0.is_none() || self.routers.check_key(key).is_ok();
        of_its_own && self.all.check_key(&key.1).is_ok()
    }

    /// What is due: last words that have room now, and what was left out. Called once a second.
    pub(super) fn due(&mut self) -> Vec<Event> {
        let mut due = Vec::new();
        let owed: Vec<Key> = self.owed.keys().cloned().collect();
        for key in owed {
            let ends_the_same =
                self.owed.get(&key).and_then(about).and_then(|about| about.begins) == self.written.get(&key).copied();
            if ends_the_same {
                self.owed.remove(&key);
            } else if self.has_room(&key)
                && let Some(event) = self.owed.remove(&key)
            {
                if let Some(begins) = about(&event).and_then(|about| about.begins) {
                    self.written.insert(key, begins);
                }
                due.push(event);
            }
        }
        let now = self.clock.now();
        let since = self.told.map(|told| Duration::from(now.duration_since(told)));
        if since.is_none_or(|since| since >= SUMMARY) {
            if let Some(reason) = self.sum_up() {
                self.told = Some(now);
                due.push(Event::ChannelDegraded { channel: "events".to_owned(), reason, router_id: None });
            } else if since.is_some() && self.owed.is_empty() {
                self.told = None;
                due.push(Event::ChannelRestored { channel: "events".to_owned(), router_id: None });
                // What ended needs no memory; neither do those that have been quiet.
                self.written.retain(|_, begins| *begins);
                self.routers.retain_recent();
                self.all.retain_recent();
            }
        }
        due
    }

    /// The last time: whatever was left out is told.
    pub(super) fn finish(&mut self) -> Vec<Event> {
        self.told = None;
        self.due()
    }

    /// In words; none: nothing was left out since the last time.
    fn sum_up(&mut self) -> Option<String> {
        let left_out = std::mem::take(&mut self.left_out);
        let words: Vec<String> = left_out
            .into_iter()
            .map(|(name, count)| {
                let most = count.routers.iter().max_by_key(|(_, count)| **count);
                let most =
                    most.map_or(String::new(), |(router, count)| format!(" ({count} of them of router {router})"));
                format!("{} {name}{most}", count.all)
            })
            .collect();
        if words.is_empty() {
            return None;
        }
        Some(format!(
            "left out: {}. Of each kind {} at once and then one a second of a router are written, {} at once and then {} \
             a second of all; what confirms, rejects or delivers is always written",
            words.join(", "),
            OF_ROUTER.0,
            OF_ALL.0,
            OF_ALL.1
        ))
    }
}

/// None: it is always written.
fn about(event: &Event) -> Option<About> {
    let (subject, begins): (Subject, Option<bool>) = match event {
        Event::ReportReceived { .. }
        | Event::TransitionSuperseded { .. }
        | Event::ActionDone { .. }
        | Event::ActionFailed { .. }
        | Event::ActionSkipped { .. } => (event.name().into(), None),
        Event::AnomalyRaised { kind, .. } => (kind.as_str().into(), Some(true)),
        Event::AnomalyCleared { kind, .. } => (kind.as_str().into(), Some(false)),
        Event::ChannelDegraded { channel, .. } => (channel.clone().into(), Some(true)),
        Event::ChannelRestored { channel, .. } => (channel.clone().into(), Some(false)),
        Event::RouterWatched { .. } => ("router".into(), Some(true)),
        Event::RouterForgotten { .. } => ("router".into(), Some(false)),
        Event::RouterRegistered { .. } => ("registration".into(), Some(true)),
        Event::RouterUnregistered { .. } => ("registration".into(), Some(false)),
        _ => return None,
    };
    Some(About { key: (event.router(), subject), begins })
}
