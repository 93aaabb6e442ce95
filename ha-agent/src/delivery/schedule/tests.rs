use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::outage::BUSY_MAX;
use super::*;
use crate::core::model::{Basis, State};
use crate::delivery::answer::{Answer, Failure, FailureKind};

const MS: Duration = Duration::from_millis(1);
const START: Mono = Mono(1_000_000_000_000);
const RULES: Rules = Rules {
    protocol: Protocol::Neutron,
    batch_interval: Duration::from_millis(200),
    hold: Duration::from_secs(2),
    max_in_flight: 4,
    retry_max: Duration::from_secs(30),
    reassert: None,
};
const JSON: Rules = Rules { protocol: Protocol::Json, ..RULES };

fn id(n: u128) -> RouterId {
    RouterId(Uuid::from_u128(n))
}

fn entry(n: u128, sequence: u64, state: State) -> Entry {
    Entry {
        router: id(n),
        state,
        previous: None,
        basis: Basis::default(),
        confirmed_at_us: 0,
        sequence,
        delivered: 0,
        delivered_state: None,
    }
}

fn failure(kind: FailureKind) -> Answer {
    let written = !matches!(kind, FailureKind::Absent | FailureKind::NotListening | FailureKind::Busy);
    Answer::Failed(Failure { kind, detail: kind.as_str().to_owned(), written })
}

/// A schedule whose hold since the start has passed.
fn schedule(rules: Rules) -> (Schedule, Mono) {
    (Schedule::new(rules, 7, START), START + 10_000 * MS)
}

fn confirm(schedule: &mut Schedule, n: u128, sequence: u64, state: State, now: Mono) {
    schedule.confirm(entry(n, sequence, state), Some(now));
}

fn sends(schedule: &mut Schedule, now: Mono) -> Vec<Send> {
    std::iter::from_fn(|| schedule.poll(now)).collect()
}

fn one(schedule: &mut Schedule, now: Mono) -> Send {
    let mut all = sends(schedule, now);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn take(schedule: &mut Schedule, send: &Send, now: Mono) {
    schedule.answered(send, vec![Answer::Taken; send.items.len()], now);
}

#[test]
fn the_first_change_goes_at_once_then_one_batch_per_interval() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let first = one(&mut s, now);
    assert_eq!((first.batch, first.items[0].router), (1, id(1)));
    confirm(&mut s, 2, 1, State::Primary, now + 10 * MS);
    confirm(&mut s, 3, 1, State::Primary, now + 20 * MS);
    assert!(sends(&mut s, now + 199 * MS).is_empty());
    assert_eq!(s.deadline(), Some(now + 200 * MS));
    let second = sends(&mut s, now + 200 * MS);
    assert_eq!(second.iter().map(|s| s.batch).collect::<Vec<_>>(), [2, 2]);
    for send in &second {
        take(&mut s, send, now + 201 * MS);
    }
    take(&mut s, &first, now + 202 * MS);
    let sent: Vec<_> = s
        .outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Sent { batch, attempt, states } => Some((batch, attempt, states.len())),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [(2, 1, 2), (1, 1, 1)]);
    assert_eq!((s.pending(), s.deadline()), (0, None));
}

#[test]
fn only_so_many_are_in_flight() {
    let (mut s, now) = schedule(RULES);
    for n in 1..=10 {
        confirm(&mut s, n, 1, State::Backup, now);
    }
    let first = sends(&mut s, now);
    assert_eq!(first.len(), 4);
    assert_eq!(s.deadline(), None);
    take(&mut s, &first[0], now + MS);
    assert_eq!(sends(&mut s, now + MS).len(), 1);
}

#[test]
fn a_newer_state_waits_for_the_answer_and_for_the_hold() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let first = one(&mut s, now);
    confirm(&mut s, 1, 2, State::Backup, now + 500 * MS);
    assert!(sends(&mut s, now + 4000 * MS).is_empty(), "in flight");
    take(&mut s, &first, now + 4000 * MS);
    assert_eq!(s.deadline(), Some(now + 6100 * MS), "hold and a twentieth");
    assert!(sends(&mut s, now + 6099 * MS).is_empty());
    assert_eq!(one(&mut s, now + 6100 * MS).items[0].sequence, 2);
}

/// primary, backup, primary within the hold: the receiver has it already.
#[test]
fn a_state_that_follows_itself_was_asked_for_and_is_sent() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let first = one(&mut s, now);
    take(&mut s, &first, now);
    let again = Entry { previous: Some(State::Primary), ..entry(1, 2, State::Primary) };
    s.confirm(again, Some(now + 500 * MS));
    assert_eq!(one(&mut s, now + 500 * MS).items, [again]);
}

#[test]
fn an_overtaken_pair_is_not_sent() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let first = one(&mut s, now);
    take(&mut s, &first, now);
    confirm(&mut s, 1, 2, State::Backup, now + 500 * MS);
    assert!(sends(&mut s, now + 500 * MS).is_empty());
    s.outputs();
    confirm(&mut s, 1, 3, State::Primary, now + 1000 * MS);
    assert_eq!(
        s.outputs(),
        [Output::Acknowledged { router: id(1), sequence: 3, state: State::Primary, confirmed: Some(now + 1000 * MS) }]
    );
    assert!(sends(&mut s, now + 60_000 * MS).is_empty());
    assert_eq!(s.pending(), 0);
}

#[test]
fn after_an_unclear_answer_the_state_is_sent_again_and_the_contrary_one_held() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let first = one(&mut s, now);
    s.answered(&first, vec![failure(FailureKind::Closed)], now);
    confirm(&mut s, 1, 2, State::Backup, now);
    assert!(sends(&mut s, now + 2000 * MS).is_empty(), "it may have been read");
    confirm(&mut s, 1, 3, State::Primary, now + 2000 * MS);
    assert_eq!(one(&mut s, now + 2000 * MS).items[0].sequence, 3);
}

/// What the last run sent, and when, is not known.
#[test]
fn after_a_start_nothing_goes_before_the_hold() {
    let mut s = Schedule::new(RULES, 7, START);
    let mut known = entry(1, 5, State::Primary);
    known.delivered = 5;
    known.delivered_state = Some(State::Primary);
    s.confirm(known, None);
    s.confirm(entry(2, 5, State::Primary), None);
    assert!(sends(&mut s, START + 2099 * MS).is_empty());
    assert_eq!(one(&mut s, START + 2100 * MS).items[0].router, id(2));
    let mut s = Schedule::new(JSON, 7, START);
    s.confirm(entry(2, 5, State::Primary), None);
    assert_eq!(sends(&mut s, START).len(), 1, "json has no hold");
}

#[test]
fn an_outage_is_probed_by_one_and_its_end_asserts_all() {
    let (mut s, mut now) = schedule(RULES);
    confirm(&mut s, 9, 1, State::Backup, now);
    let send = one(&mut s, now);
    take(&mut s, &send, now);
    now = now + 1000 * MS;
    for n in 1..=6 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    let wave = sends(&mut s, now);
    for send in &wave {
        s.answered(send, vec![failure(FailureKind::Absent)], now);
    }
    let failed: Vec<_> = s.outputs().into_iter().filter(|o| matches!(o, Output::Failed { .. })).collect();
    let [Output::Failed { count: 6, attempt: 1, retry_in: Some(pause), .. }] = failed[..] else { panic!("{failed:?}") };
    assert!(pause >= 50 * MS && pause <= 100 * MS);
    assert_eq!((s.answering(), s.last_error()), (Some(false), Some("absent")));
    let mut attempts = Vec::new();
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let due = s.deadline().unwrap();
        pauses.push(due.since(now));
        now = due;
        let probe = one(&mut s, now);
        s.answered(&probe, vec![failure(FailureKind::NotListening)], now);
        attempts.extend(s.outputs().into_iter().filter_map(|o| match o {
            Output::Failed { attempt, .. } => Some(attempt),
            _ => None,
        }));
    }
    assert_eq!(attempts, [2, 4, 8, 16]);
    assert!(pauses.iter().max().unwrap() <= &RULES.retry_max);
    assert!(pauses[19] >= RULES.retry_max / 2, "{pauses:?}");
    now = s.deadline().unwrap();
    let probe = one(&mut s, now);
    take(&mut s, &probe, now);
    let outputs = s.outputs();
    assert!(outputs.contains(&Output::Recovered { restarted: false, count: 7 }), "{outputs:?}");
    let mut heard = BTreeSet::from([probe.items[0].router]);
    while let Some(due) = s.deadline() {
        now = due;
        for send in sends(&mut s, now) {
            heard.insert(send.items[0].router);
            take(&mut s, &send, now);
        }
    }
    assert_eq!(heard.len(), 7, "also the one that was delivered before");
}

/// All routers flap all the while.
#[test]
fn after_an_hour_without_a_receiver_the_latest_states_are_told() {
    const ROUTERS: u128 = 50;
    let (mut s, mut now) = schedule(RULES);
    let (begun, mut probes, mut sequence) = (now, 0, 0);
    while now.since(begun) < Duration::from_secs(3600) {
        sequence += 1;
        let state = if sequence % 2 == 0 { State::Primary } else { State::Backup };
        for n in 1..=ROUTERS {
            confirm(&mut s, n, sequence, state, now);
        }
        for send in sends(&mut s, now) {
            probes += 1;
            s.answered(&send, vec![failure(FailureKind::Absent)], now);
        }
        now = s.deadline().expect("it is tried for ever").max(now + MS);
    }
    assert!((3600 / 30..3600 / 15 + 50).contains(&probes), "{probes} requests in an hour");
    let mut heard = BTreeSet::new();
    loop {
        for send in sends(&mut s, now) {
            assert_eq!(send.items[0].sequence, sequence, "the latest");
            heard.insert(send.items[0].router);
            take(&mut s, &send, now);
        }
        let Some(due) = s.deadline() else { break };
        now = due;
    }
    assert_eq!((heard.len(), s.pending()), (50, 0));
    assert!(now.since(begun) < Duration::from_secs(3600) + RULES.retry_max + RULES.hold * 2);
}

#[test]
fn a_full_queue_is_tried_again_within_milliseconds_and_is_no_outage() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let send = one(&mut s, now);
    s.answered(&send, vec![failure(FailureKind::Busy)], now);
    let due = s.deadline().unwrap();
    assert!((5 * MS..=20 * MS).contains(&due.since(now)), "{:?}", due.since(now));
    let again = one(&mut s, due);
    assert_eq!(again.batch, send.batch);
    take(&mut s, &again, due);
    assert!(!s.outputs().iter().any(|o| matches!(o, Output::Failed { .. } | Output::Recovered { .. })));
}

#[test]
fn a_queue_that_stays_full_is_an_outage_tried_each_second() {
    let (mut s, mut now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let begun = now;
    let mut outputs = Vec::new();
    while now.since(begun) < 20_000 * MS {
        let send = one(&mut s, now);
        s.answered(&send, vec![failure(FailureKind::Busy)], now);
        outputs.extend(s.outputs());
        let due = s.deadline().unwrap();
        assert!(due.since(now) <= BUSY_MAX);
        now = due;
    }
    assert!(matches!(outputs[0], Output::Failed { attempt: 1, .. }));
    let send = one(&mut s, now);
    take(&mut s, &send, now);
    assert!(s.outputs().iter().any(|o| matches!(o, Output::Recovered { .. })));
}

/// One router whose request always fails must not make the others start over.
#[test]
fn a_failing_state_does_not_hold_up_others() {
    for kind in [FailureKind::Closed, FailureKind::Nonsense, FailureKind::ServerError] {
        let (mut s, now) = schedule(RULES);
        confirm(&mut s, 1, 1, State::Primary, now);
        confirm(&mut s, 2, 1, State::Primary, now);
        let both = sends(&mut s, now);
        s.answered(&both[0], vec![failure(kind)], now);
        take(&mut s, &both[1], now);
        let outputs = s.outputs();
        assert!(outputs.iter().any(|o| matches!(o, Output::Sent { states, .. } if states.len() == 1)));
        assert!(outputs.iter().any(|o| matches!(o, Output::Failed { count: 1, retry_in: Some(_), .. })));
        let due = s.deadline().unwrap();
        assert_eq!(one(&mut s, due).items[0].router, id(1));
        assert!(!s.outputs().iter().any(|o| matches!(o, Output::Recovered { .. })));
    }
}

#[test]
fn a_refused_state_waits_for_the_next_change_or_assertion() {
    let (mut s, mut now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let send = one(&mut s, now);
    s.answered(&send, vec![Answer::Refused("answered 400".to_owned())], now);
    assert!(matches!(&s.outputs()[..], [Output::Failed { retry_in: None, .. }]));
    assert_eq!((s.deadline(), s.pending()), (None, 0));
    now = now + 1000 * MS;
    s.assert_again(id(1));
    let send = one(&mut s, now);
    s.answered(&send, vec![Answer::Refused("answered 400".to_owned())], now);
    now = now + 1000 * MS;
    confirm(&mut s, 1, 2, State::Primary, now);
    assert_eq!(one(&mut s, now).items[0].sequence, 2);
}

#[test]
fn another_receiver_hears_everything_and_the_old_ones_answers_do_not_count() {
    let (mut s, mut now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    confirm(&mut s, 2, 1, State::Backup, now);
    let both = sends(&mut s, now);
    take(&mut s, &both[0], now);
    s.receiver_changed(now);
    take(&mut s, &both[1], now);
    assert!(!s.outputs().iter().any(|o| matches!(o, Output::Recovered { .. })));
    now = now + 200 * MS;
    let again = sends(&mut s, now);
    assert_eq!(again.len(), 2);
    take(&mut s, &again[0], now);
    assert!(s.outputs().contains(&Output::Recovered { restarted: true, count: 2 }));
    take(&mut s, &again[1], now);
    assert_eq!(s.pending(), 0);
}

#[test]
fn changes_overtake_assertions() {
    let (mut s, mut now) = schedule(RULES);
    for n in 1..=50 {
        confirm(&mut s, n, 1, State::Backup, now);
    }
    while let Some(due) = s.deadline() {
        now = due;
        for send in sends(&mut s, now) {
            take(&mut s, &send, now);
        }
    }
    now = now + 3000 * MS;
    s.receiver_changed(now);
    let wave = sends(&mut s, now);
    confirm(&mut s, 50, 2, State::Primary, now);
    now = now + 200 * MS;
    take(&mut s, &wave[0], now);
    assert_eq!(one(&mut s, now).items[0].router, id(50));
}

#[test]
fn a_forgotten_router_is_let_go_and_its_hold_kept() {
    let (mut s, now) = schedule(RULES);
    confirm(&mut s, 1, 1, State::Primary, now);
    let send = one(&mut s, now);
    s.forget(id(1), now);
    confirm(&mut s, 1, 1, State::Backup, now);
    assert!(sends(&mut s, now + MS).is_empty(), "never two in flight");
    take(&mut s, &send, now + MS);
    s.forget(id(1), now + MS);
    assert!(s.slots.is_empty());
    confirm(&mut s, 1, 1, State::Backup, now + 300 * MS);
    assert!(sends(&mut s, now + 2000 * MS).is_empty());
    assert_eq!(sends(&mut s, now + 2200 * MS).len(), 1);
}

#[test]
fn json_sends_a_batch_whole_and_one_at_a_time() {
    let (mut s, now) = schedule(JSON);
    for n in 1..=5 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    let batch = one(&mut s, now);
    assert_eq!(batch.items.len(), 5);
    confirm(&mut s, 1, 2, State::Backup, now);
    assert!(sends(&mut s, now + 1000 * MS).is_empty());
    let mut answers = vec![Answer::Taken; 5];
    answers[2] = Answer::Refused("no".to_owned());
    s.answered(&batch, answers, now + 1000 * MS);
    let outputs = s.outputs();
    let acknowledged = outputs.iter().filter(|o| matches!(o, Output::Acknowledged { .. }));
    assert_eq!(acknowledged.count(), 4);
    let next = one(&mut s, now + 1000 * MS);
    assert_eq!(next.items.iter().map(|e| (e.router, e.sequence)).collect::<Vec<_>>(), [(id(1), 2)]);
    // A proxy in front of a receiver that is away.
    s.answered(&next, vec![failure(FailureKind::ServerError)], now + 1000 * MS);
    assert!(s.receiver.is_away());
    // A full queue of a whole batch.
    let (mut s, now) = schedule(JSON);
    for n in 1..=300 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    let batch = one(&mut s, now);
    s.answered(&batch, vec![failure(FailureKind::Busy); 300], now);
    let due = s.deadline().unwrap();
    assert!(due.since(now) <= 20 * MS);
    assert_eq!(one(&mut s, due).items.len(), 300);
}

#[derive(Clone, Debug)]
enum Step {
    Confirm(u128, usize),
    Forget(u128),
    Assert(u128),
    Changed,
    Wait(u64),
    /// The n-th request in flight ends so.
    Answer(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u128, 0..3_usize).prop_map(|(n, state)| Step::Confirm(n, state)),
        1 => (0..5_u128).prop_map(Step::Forget),
        1 => (0..5_u128).prop_map(Step::Assert),
        1 => Just(Step::Changed),
        6 => (0..1500_u64).prop_map(Step::Wait),
        8 => (0..4_usize, 0..8_u8).prop_map(|(n, how)| Step::Answer(n, how)),
    ]
}

/// A receiver that hears what was written, and the rules that must hold for it.
struct World {
    s: Schedule,
    now: Mono,
    flying: Vec<Send>,
    newest: BTreeMap<RouterId, (u64, State)>,
    sequence: u64,
    /// Per router: what it heard last, when its answer came.
    heard: BTreeMap<RouterId, (u64, State, Mono)>,
    json: bool,
}

impl World {
    fn depart(&mut self) {
        while let Some(send) = self.s.poll(self.now) {
            for entry in &send.items {
                let flying = self.flying.iter().flat_map(|send| &send.items);
                assert!(flying.into_iter().all(|other| other.router != entry.router), "two in flight");
                if let Some((sequence, state, at)) = self.heard.get(&entry.router) {
                    assert!(entry.sequence >= *sequence, "out of order");
                    if !self.json && *state != entry.state {
                        assert!(self.now.since(*at) >= RULES.hold, "contrary within the hold");
                    }
                }
            }
            self.flying.push(send);
            assert!(self.flying.len() <= if self.json { 1 } else { RULES.max_in_flight });
        }
    }

    fn answer(&mut self, n: usize, how: u8) {
        if n >= self.flying.len() {
            return;
        }
        let send = self.flying.remove(n);
        let answer = match how {
            0..=2 => Answer::Taken,
            3 => failure(FailureKind::Busy),
            4 => failure(FailureKind::Absent),
            5 => failure(FailureKind::Timeout),
            6 => failure(FailureKind::Closed),
            _ => failure(FailureKind::ServerError),
        };
        let written = !matches!(&answer, Answer::Failed(failure) if !failure.written);
        for entry in send.items.iter().filter(|_| written) {
            self.heard.insert(entry.router, (entry.sequence, entry.state, self.now));
        }
        self.s.answered(&send, vec![answer; send.items.len()], self.now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Confirm(n, state) => {
                self.sequence += 1;
                let state = [State::Primary, State::Backup, State::Fault][state];
                self.newest.insert(id(n), (self.sequence, state));
                confirm(&mut self.s, n, self.sequence, state, self.now);
            }
            Step::Forget(n) => {
                self.newest.remove(&id(n));
                self.s.forget(id(n), self.now);
            }
            Step::Assert(n) => self.s.assert_again(id(n)),
            Step::Changed => self.s.receiver_changed(self.now),
            Step::Wait(ms) => {
                // As the driver does: it polls at each deadline on the way.
                let until = self.now + MS * u32::try_from(ms).unwrap();
                while let Some(due) = self.s.deadline().filter(|due| *due <= until) {
                    self.now = self.now.max(due);
                    let before = self.flying.len();
                    self.depart();
                    if self.flying.len() == before && self.s.deadline().is_some_and(|due| due <= self.now) {
                        panic!("a deadline without anything to do");
                    }
                }
                self.now = until;
            }
            Step::Answer(n, how) => self.answer(n, how),
        }
        self.depart();
        assert!(self.s.batches.progress.len() <= 10 && self.s.slots.len() <= 5);
        assert!(self.s.batches.changes.len() + self.s.batches.again.len() <= 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn order_hold_and_arrival(steps in proptest::collection::vec(step(), 1..120), json in any::<bool>()) {
        let rules = if json { JSON } else { RULES };
        let mut world = World {
            s: Schedule::new(rules, 3, START),
            now: START,
            flying: Vec::new(),
            newest: BTreeMap::new(),
            sequence: 0,
            heard: BTreeMap::new(),
            json,
        };
        for step in steps {
            world.step(step);
        }
        // The receiver is well from now on: everything arrives, and then there is peace.
        let mut rounds = 0;
        loop {
            while !world.flying.is_empty() {
                world.answer(0, 0);
                world.depart();
            }
            let Some(due) = world.s.deadline() else { break };
            world.now = world.now.max(due);
            world.depart();
            rounds += 1;
            prop_assert!(rounds < 500, "never at rest");
        }
        prop_assert_eq!(world.s.pending(), 0);
        prop_assert!(world.s.batches.progress.is_empty());
        for (router, (_, state)) in &world.newest {
            prop_assert_eq!(&world.heard[router].1, state);
        }
    }
}
