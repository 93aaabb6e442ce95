//! What must hold whatever happens, in whatever order.

use std::time::Duration;

use proptest::prelude::*;

use super::evidence::Tx;
use super::io::{Input, Output};
use super::model::{Channel, Link, Reporter, Side, State, Vip};
use super::policy::fits;
use super::simulation::{ADV, Bench, MS};

#[derive(Clone, Debug)]
enum Op {
    Wait(u16),
    Vip(Vip),
    Link(Link),
    Advert(Side, u8),
    Report(State),
    Wire(bool),
    Table(bool),
    Check(State),
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Primary), Just(State::Backup), Just(State::Fault), Just(State::Unknown)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u16..1200).prop_map(Op::Wait),
        3 => prop_oneof![Just(Vip::Present), Just(Vip::Absent)].prop_map(Op::Vip),
        1 => prop_oneof![4 => Just(Link::Up), 1 => Just(Link::Down), 1 => Just(Link::Gone)].prop_map(Op::Link),
        5 => (prop_oneof![Just(Side::Local), Just(Side::Foreign)], prop_oneof![Just(0u8), Just(50), Just(60)])
            .prop_map(|(side, priority)| Op::Advert(side, priority)),
        3 => state().prop_map(Op::Report),
        1 => any::<bool>().prop_map(Op::Wire),
        1 => any::<bool>().prop_map(Op::Table),
        1 => state().prop_map(Op::Check),
    ]
}

fn play(ops: &[Op], restored: Option<State>, expected: bool) -> Bench {
    let mut bench = Bench::with(restored, |policy| policy.reporter_expected = expected);
    bench.start(Vip::Absent);
    for op in ops {
        match op {
            Op::Wait(ms) => {
                let until = bench.elapsed() + Duration::from_millis((*ms).into());
                bench.until(until);
            }
            Op::Vip(vip) => bench.input(Input::Vip(*vip)),
            Op::Link(link) => bench.input(Input::Link(*link)),
            Op::Advert(side, priority) => bench.advert(*side, *priority),
            Op::Report(state) => bench.input(Input::Report { state: *state, reporter: Reporter::Fifo }),
            Op::Wire(up) => {
                bench.speakers.clear();
                bench.input(Input::Channel { channel: Channel::Wire, up: *up });
            }
            Op::Table(up) => bench.input(Input::Channel { channel: Channel::Vip, up: *up }),
            Op::Check(state) => bench.input(Input::Check { seen_by_server: *state }),
        }
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn primary_needs_vip_and_wire_while_both_vote(ops in prop::collection::vec(op(), 1..120), restored in prop::option::of(state()), expected: bool) {
        let bench = play(&ops, restored, expected);
        for (_, output) in &bench.out {
            if let Output::Confirmed(transition) = output
                && transition.state == State::Primary
                && transition.evidence.channels_down.is_empty()
            {
                prop_assert_eq!(transition.evidence.vip, Vip::Present);
                prop_assert_eq!(transition.evidence.tx.state, Tx::Transmitting);
                prop_assert!(transition.basis.vip && transition.basis.wire);
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(ops in prop::collection::vec(op(), 1..120), restored in prop::option::of(state())) {
        let (one, two) = (play(&ops, restored, true), play(&ops, restored, true));
        prop_assert_eq!(one.out, two.out);
        prop_assert_eq!(one.machine.deadline(), two.machine.deadline());
    }

    #[test]
    fn the_confirmed_state_converges_to_the_seen_role(ops in prop::collection::vec(op(), 1..120), expected: bool, up: bool, primary: bool) {
        let mut bench = play(&ops, None, expected);
        // Inputs stop, but for a keepalived that goes on doing its job in one role.
        bench.input(Input::Link(Link::Up));
        bench.input(Input::Channel { channel: Channel::Vip, up: true });
        bench.input(Input::Channel { channel: Channel::Wire, up });
        bench.speakers.clear();
        bench.input(Input::Vip(if primary { Vip::Present } else { Vip::Absent }));
        let end = bench.elapsed() + ADV * 12;
        bench.advertise(&[if primary { Side::Local } else { Side::Foreign }], 50, end);
        let view = bench.machine.view(bench.now);
        let role = if primary { State::Primary } else { State::Backup };
        prop_assert_eq!(view.seen, Some(role));
        let confirmed = view.confirmed.map(|(state, ..)| state);
        prop_assert!(confirmed.is_some_and(|state| fits(state, role)), "confirmed {:?}, seen {:?}", confirmed, role);
        // And what the L3 agent heard last is the confirmed state.
        prop_assert_eq!(bench.delivered().last().copied(), confirmed);
    }

    #[test]
    fn deadlines_lie_ahead_and_never_spin(ops in prop::collection::vec(op(), 1..80)) {
        let mut bench = play(&ops, None, true);
        let mut wakes = 0;
        let end = bench.now + ADV * 30;
        while let Some(due) = bench.machine.deadline().filter(|due| *due <= end) {
            prop_assert!(due > bench.now || wakes == 0);
            let until = bench.elapsed() + due.since(bench.now).max(MS);
            bench.until(until);
            wakes += 1;
            prop_assert!(wakes < 400, "{} wake-ups without an input", wakes);
        }
    }
}
