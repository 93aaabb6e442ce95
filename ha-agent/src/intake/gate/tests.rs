use super::*;
use crate::intake::testing;

fn reporter(uid: u32) -> Option<Reporter> {
    Some(Reporter::Socket { uid, pid: 1 })
}

#[test]
fn a_flood_of_one_reason_and_user_hides_no_other() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    for _ in 0..1000 {
        gate.refused(Refusal::BadState, None, reporter(1));
    }
    gate.refused(Refusal::BadState, None, reporter(2));
    gate.refused(Refusal::BadRouterId, None, reporter(1));
    let shown = std::iter::from_fn(|| received.try_recv().ok()).count() as u64;
    let held = gate.take_held_back();
    assert!((12..20).contains(&shown), "{shown}");
    assert_eq!(held, [(Refusal::BadState, 1002 - shown)], "every one is accounted for");
    assert!(gate.take_held_back().is_empty());
}

#[test]
fn strangers_share_one_allowance() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    for uid in 0..1000 {
        gate.refused(Refusal::PeerNotAllowed, None, reporter(uid));
    }
    let shown = std::iter::from_fn(|| received.try_recv().ok()).count();
    assert!((10..20).contains(&shown), "{shown}");
}
