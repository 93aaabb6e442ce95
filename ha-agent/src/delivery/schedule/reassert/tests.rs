//! On virtual time: the schedule is polled at its deadlines, and the receiver takes everything at once.

use proptest::prelude::*;

use super::super::testing::{self, START, entry, id};
use super::super::{Output, Rules, Schedule, Send};
use super::*;
use crate::config::Protocol;
use crate::core::model::State;
use crate::delivery::answer::{Answer, Failure, FailureKind};
use crate::outbox::Entry;

const SECOND: Duration = Duration::from_secs(1);
const RULES: Rules = Rules { reassert: Some(Duration::from_secs(300)), ..testing::RULES };
const JSON: Rules = Rules { protocol: Protocol::Json, ..RULES };

struct World {
    s: Schedule,
    now: Mono,
    /// When which router was heard, in which state.
    heard: Vec<(Mono, RouterId, State)>,
    /// What was told as events.
    told: Vec<Output>,
    away: bool,
}

impl World {
    /// Routers 1 to `routers` are primary since the start, and the receiver has them.
    fn new(rules: Rules, routers: u128) -> Self {
        let mut world =
            Self { s: Schedule::new(rules, 7, START), now: START, heard: Vec::new(), told: Vec::new(), away: false };
        for n in 1..=routers {
            world.s.confirm(entry(n, 1, State::Primary), Some(START));
        }
        world.until(START + 20 * SECOND);
        assert_eq!(world.heard.len(), usize::try_from(routers).unwrap());
        world.heard.clear();
        world.told.clear();
        world
    }

    fn until(&mut self, end: Mono) {
        loop {
            while let Some(send) = self.s.poll(self.now) {
                self.answer(&send);
            }
            let outputs = self.s.outputs();
            self.told.extend(outputs.into_iter().filter(|output| !matches!(output, Output::Acknowledged { .. })));
            match self.s.deadline().filter(|due| *due <= end) {
                Some(due) => {
                    assert!(due > self.now, "a deadline without anything to do");
                    self.now = due;
                }
                None => break,
            }
        }
        self.now = end;
    }

    fn answer(&mut self, send: &Send) {
        let answer = if self.away {
            let kind = FailureKind::NotListening;
            Answer::Failed(Failure::new(kind, String::new(), false))
        } else {
            self.heard.extend(send.items.iter().map(|entry| (self.now, entry.router, entry.state)));
            Answer::Taken
        };
        self.s.answered(send, vec![answer; send.items.len()], self.now);
    }

    fn confirm(&mut self, n: u128, sequence: u64, state: State) {
        self.s.confirm(entry(n, sequence, state), Some(self.now));
    }

    /// How often each router was heard from then on, and the most in any second.
    fn count(&self, from: Mono, to: Mono) -> (BTreeMap<RouterId, usize>, usize) {
        let mut each = BTreeMap::new();
        let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
        for (at, router, _) in self.heard.iter().filter(|(at, ..)| (from..to).contains(at)) {
            *each.entry(*router).or_default() += 1;
            *seconds.entry(at.since(from).as_secs()).or_default() += 1;
        }
        (each, seconds.into_values().max().unwrap_or(0))
    }
}

/// Everyone so often.
fn all(each: &BTreeMap<RouterId, usize>, routers: usize, times: usize) -> bool {
    each.len() == routers && each.values().all(|count| *count == times)
}

#[test]
fn a_thousand_routers_are_spread_over_each_round_and_no_event_tells_it() {
    let mut world = World::new(JSON, 1000);
    // The first round begins one length after the start.
    let first = START + 300 * SECOND;
    world.until(first - SECOND);
    assert_eq!(world.heard, []);
    world.until(first + 600 * SECOND - Duration::from_nanos(1));
    for round in [first, first + 300 * SECOND] {
        let (each, most) = world.count(round, round + 300 * SECOND);
        assert!(all(&each, 1000, 1), "{} of them", each.len());
        assert!(most <= 4, "{most} in one second");
    }
    assert_eq!(world.told, []);
}

#[test]
fn one_that_has_come_back_is_told_twice_more_soon() {
    let mut world = World::new(RULES, 400);
    let back = START + 1000 * SECOND;
    world.until(back);
    world.heard.clear();
    world.s.receiver_changed(back);
    world.until(back + 20 * SECOND);
    let (each, _) = world.count(back, back + 20 * SECOND);
    assert!(all(&each, 400, 1), "at once");
    world.until(back + 180 * SECOND - Duration::from_nanos(1));
    for (begin, length, at_most) in [(30, 30, 14), (120, 60, 7)] {
        let (each, most) = world.count(back + begin * SECOND, back + (begin + length) * SECOND);
        assert!(all(&each, 400, 1), "{begin}: {} of them", each.len());
        assert!(most <= at_most, "{begin}: {most} in one second");
    }
    assert_eq!(world.heard.len(), 1200, "and nothing between");
    // Then at leisure.
    world.heard.clear();
    world.until(back + 480 * SECOND - Duration::from_nanos(1));
    let (each, most) = world.count(back + 180 * SECOND, back + 480 * SECOND);
    assert!(all(&each, 400, 1) && most <= 2, "{} of them, {most} in one second", each.len());
}

#[test]
fn after_an_outage_too() {
    let mut world = World::new(RULES, 10);
    world.until(START + 1000 * SECOND);
    world.away = true;
    // The round itself finds out that nobody is there.
    world.until(START + 1100 * SECOND);
    assert!(world.told.iter().any(|output| matches!(output, Output::Failed { .. })));
    world.away = false;
    world.told.clear();
    world.heard.clear();
    world.s.receiver_appeared(world.now);
    let back = world.now;
    world.until(back + 179 * SECOND);
    assert!(matches!(world.told[..], [Output::Recovered { restarted: false, count: 10 }, ..]), "{:?}", world.told);
    let (each, _) = world.count(back, back + 180 * SECOND);
    assert!(
        all(&each, 10, 3) || each.values().filter(|count| **count == 4).count() == 1,
        "{each:?}: at once, and twice"
    );
}

#[test]
fn switched_off_there_is_peace_and_switched_on_there_is_not() {
    let off = Rules { reassert: None, ..RULES };
    let mut world = World::new(off, 3);
    assert_eq!(world.s.deadline(), None);
    world.s.receiver_changed(world.now);
    world.until(world.now + 10 * SECOND);
    assert_eq!(world.s.deadline(), None, "asserted once, and that was it");
    world.s.reload(RULES, world.now);
    assert!(world.s.deadline().is_some());
    world.s.reload(off, world.now);
    assert_eq!(world.s.deadline(), None);
}

#[test]
fn not_what_changed_within_the_hold_nor_what_nobody_confirmed_in_this_run() {
    let mut world = World::new(JSON, 2);
    let hold = Rules { reassert: JSON.reassert, ..RULES };
    // Left from before a restart; nobody has seen the router since.
    world.s.confirm(Entry { delivered: 1, delivered_state: Some(State::Primary), ..entry(3, 1, State::Primary) }, None);
    world.until(START + 601 * SECOND);
    let (each, _) = world.count(START, world.now);
    assert_eq!(each.into_keys().collect::<Vec<_>>(), [id(1), id(2)]);

    // With a hold: router 1 changes a second before its turn.
    let mut world = World::new(hold, 1);
    let turn = START + 120 * SECOND;
    world.until(turn - SECOND);
    world.confirm(1, 2, State::Backup);
    world.heard.clear();
    world.until(turn + 100 * SECOND - Duration::from_nanos(1));
    // The change, then nothing until the next round, which begins 60 s after the turn.
    let times: Vec<u64> = world.heard.iter().map(|(at, ..)| at.since(turn - SECOND).as_secs()).collect();
    assert_eq!(times, [0, 61], "{:?}", world.heard);
}

/// The L3 agent waits after `primary` alone, so that a failover right after a round is told at once.
#[test]
fn a_repeated_backup_is_over_sooner_than_a_repeated_primary() {
    for (state, other, wait) in [(State::Backup, State::Primary, 525), (State::Primary, State::Backup, 2100)] {
        let mut world = World::new(Rules { reassert: Some(300 * SECOND), ..RULES }, 1);
        world.confirm(1, 2, state);
        world.until(START + 29 * SECOND);
        world.heard.clear();
        world.until(START + 40 * SECOND);
        let (repeated, _, heard) = world.heard.pop().expect("the quick round");
        assert_eq!(heard, state);
        world.now = repeated;
        world.confirm(1, 3, other);
        world.until(repeated + 10 * SECOND);
        let (at, _, heard) = world.heard.pop().expect("the change");
        assert_eq!((heard, at.since(repeated)), (other, Duration::from_millis(wait)));
    }
}

#[test]
fn it_is_no_pending_state_and_a_change_goes_before_it() {
    let slow = Rules { max_in_flight: 1, reassert: Some(10 * SECOND), ..RULES };
    let mut world = World::new(slow, 40);
    world.until(START + 400 * SECOND);
    // Four in a second are due at once; one is on its way, the others wait.
    let send = loop {
        world.now = world.s.deadline().expect("a round");
        if let Some(send) = world.s.poll(world.now) {
            break send;
        }
    };
    assert_eq!(world.s.pending(), 0);
    let changed = (1..=40).rev().find(|n| id(*n) != send.items[0].router).expect("another one");
    world.confirm(changed, 2, State::Backup);
    assert_eq!(world.s.pending(), 1);
    world.now = world.now + slow.batch_interval;
    world.answer(&send);
    let next = world.s.poll(world.now).expect("the change");
    assert_eq!((next.items[0].router, next.items[0].state), (id(changed), State::Backup));
}

#[test]
fn after_a_standstill_there_is_no_burst() {
    let mut world = World::new(JSON, 300);
    world.until(START + 310 * SECOND);
    world.heard.clear();
    // Nobody polls for half a round.
    world.now = world.now + 150 * SECOND;
    let woken = world.now;
    world.until(woken + 400 * SECOND);
    let (each, most) = world.count(woken, world.now);
    assert_eq!(each.len(), 300, "all that were left, and the next round's first");
    assert!(most <= 2, "{most} in one second");
}

#[derive(Clone, Debug)]
enum Step {
    Confirm(u128, bool),
    Forget(u128),
    Changed,
    Away(bool),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..30_u128, any::<bool>()).prop_map(|(n, primary)| Step::Confirm(n, primary)),
        1 => (1..30_u128).prop_map(Step::Forget),
        1 => Just(Step::Changed),
        1 => any::<bool>().prop_map(Step::Away),
        6 => (0..120_000_u32).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happened before: contrary states keep their distance, nothing but the newest is heard,
    /// and once there is peace everyone is heard once in each round.
    #[test]
    fn rounds_go_on_and_break_no_rule(steps in proptest::collection::vec(step(), 1..40), json in any::<bool>()) {
        let rules = Rules { reassert: Some(60 * SECOND), ..if json { JSON } else { RULES } };
        let mut world = World::new(rules, 5);
        let mut newest: BTreeMap<RouterId, State> = (1..=5).map(|n| (id(n), State::Primary)).collect();
        let mut sequence = 1;
        for step in steps {
            match step {
                Step::Confirm(n, primary) => {
                    sequence += 1;
                    let state = if primary { State::Primary } else { State::Backup };
                    newest.insert(id(n), state);
                    world.confirm(n, sequence, state);
                }
                Step::Forget(n) => {
                    newest.remove(&id(n));
                    world.s.forget(id(n), world.now);
                }
                Step::Changed => world.s.receiver_changed(world.now),
                Step::Away(away) => world.away = away,
                Step::Wait(ms) => {
                    let end = world.now + Duration::from_millis(ms.into());
                    world.until(end);
                }
            }
        }
        if !json {
            // Since when it is so, and when that was last heard.
            let mut last: BTreeMap<RouterId, (Mono, Mono, State)> = BTreeMap::new();
            for (at, router, state) in &world.heard {
                let since = match last.get(router) {
                    Some((since, _, other)) if other == state => *since,
                    Some((since, repeated, other)) => {
                        let wait = if *other == State::Primary { RULES.hold } else { RULES.hold / 4 };
                        prop_assert!(at.since(*since) >= RULES.hold, "contrary within the hold");
                        prop_assert!(at.since(*repeated) >= wait, "contrary right after a repetition");
                        *at
                    }
                    None => *at,
                };
                last.insert(*router, (since, *at, *state));
            }
        }
        world.away = false;
        // Quick rounds and whatever waits are over by then.
        world.until(world.now + 400 * SECOND);
        let from = world.now;
        world.heard.clear();
        world.until(from + 120 * SECOND);
        let (each, _) = world.count(from, world.now);
        prop_assert_eq!(each.keys().copied().collect::<Vec<_>>(), newest.keys().copied().collect::<Vec<_>>());
        for (router, times) in each {
            prop_assert!((1..=3).contains(&times), "{router}: {times} times in two rounds");
        }
        prop_assert!(world.heard.iter().all(|(_, router, state)| newest[router] == *state));
        prop_assert_eq!(world.s.pending(), 0);
    }
}
