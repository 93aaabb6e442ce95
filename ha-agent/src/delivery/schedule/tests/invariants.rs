//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

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
