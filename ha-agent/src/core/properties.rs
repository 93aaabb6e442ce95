//! [`invariants`](super::invariants), over random operations.

use proptest::prelude::*;

use super::invariants::{self, Op, Setting};
use super::model::{Link, Reason, Side, State, Vip};

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Primary), Just(State::Backup), Just(State::Fault), Just(State::Unknown)]
}

fn refused() -> impl Strategy<Value = Op> {
    let reason = prop_oneof![
        Just(Reason::Interval),
        Just(Reason::Addresses),
        Just(Reason::Password),
        Just(Reason::Ttl),
        Just(Reason::PeerTtl),
    ];
    let interval = prop_oneof![2 => Just(100_u16), 1 => 0..4096_u16];
    // The peer's own address, and two others.
    (2..5_u8, reason, prop_oneof![Just(0_u8), Just(1), Just(55), Just(255)], interval)
        .prop_map(|(last, reason, priority, interval_cs)| Op::Refused { last, reason, priority, interval_cs })
}

/// All but strangers.
fn honest() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u16..1200).prop_map(Op::Wait),
        3 => prop_oneof![Just(Vip::Present), Just(Vip::Absent)].prop_map(Op::Vip),
        1 => prop_oneof![4 => Just(Link::Up), 1 => Just(Link::Down), 1 => Just(Link::Gone)].prop_map(Op::Link),
        5 => (prop_oneof![Just(Side::Local), Just(Side::Foreign)], prop_oneof![Just(0u8), Just(50), Just(60)])
            .prop_map(|(side, priority)| Op::Advert(side, priority)),
        2 => state().prop_map(Op::Report),
        1 => state().prop_map(Op::Claim),
        1 => any::<bool>().prop_map(Op::Wire),
        1 => any::<bool>().prop_map(Op::Table),
        1 => state().prop_map(Op::Check),
        1 => Just(Op::Reading),
        1 => Just(Op::Invalid),
        2 => refused(),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let stranger = (0..4_u8, prop_oneof![Just(0u8), Just(50), Just(255)], 0..4096_u16, 6..8_u64);
    prop_oneof![
        8 => honest(),
        1 => stranger.prop_map(|(last, priority, interval_cs, content)| {
            Op::Stranger { last, priority, interval_cs, content }
        }),
    ]
}

prop_compose! {
    fn setting()(restored in prop::option::of(state()), expected: bool, observe: bool, heal: bool) -> Setting {
        Setting { restored, expected, observe, heal }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_always_holds(ops in prop::collection::vec(any_op(), 1..120), setting in setting()) {
        invariants::always(&ops, setting).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn refused_frames_move_no_verdict(ops in prop::collection::vec(prop_oneof![2 => any_op(), 1 => refused()], 1..120), setting in setting()) {
        invariants::refused_frames_move_nothing(&ops, setting).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn the_confirmed_state_converges_to_the_seen_role(ops in prop::collection::vec(honest(), 1..120), restored in prop::option::of(state()), expected: bool, up: bool, primary: bool) {
        let setting = Setting { restored, expected, ..Setting::default() };
        invariants::converges(&ops, setting, up, primary).map_err(TestCaseError::fail)?;
    }
}
