use super::*;
use crate::intake::testing;

fn refused(gate: &Gate, refusal: Refusal, uid: u32) {
    gate.refused(refusal, None, Some(uid), || Reporter::socket(uid, 1, 1));
}

#[test]
fn a_flood_of_one_reason_and_user_hides_no_other() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    for _ in 0..1000 {
        refused(&gate, Refusal::BadState, 1);
    }
    refused(&gate, Refusal::BadState, 2);
    refused(&gate, Refusal::BadRouterId, 1);
    let shown = std::iter::from_fn(|| received.try_recv().ok()).count() as u64;
    let held = gate.take_held_back();
    assert!((12..20).contains(&shown), "{shown}");
    assert_eq!(held, [(Refusal::BadState, 1002 - shown)], "every one is accounted for");
    assert!(gate.take_held_back().is_empty());
}

#[test]
fn a_stranger_hides_no_other_stranger() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    for _ in 0..1000 {
        refused(&gate, Refusal::PeerNotAllowed, 1);
    }
    refused(&gate, Refusal::PeerNotAllowed, 2);
    let mut of_the_second = 0;
    while let Ok(Event::ReportRefused { reporter, .. }) = received.try_recv() {
        of_the_second += u32::from(matches!(reporter, Some(Reporter::Socket { uid: 2, .. })));
    }
    assert_eq!(of_the_second, 1);
}

#[test]
fn whoever_floods_under_many_names_gets_no_more_events() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    for uid in 0..500 {
        refused(&gate, Refusal::PeerNotAllowed, uid);
    }
    let shown = std::iter::from_fn(|| received.try_recv().ok()).count();
    assert!((64..100).contains(&shown), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_was_held_back_is_told_as_a_sum() {
    let (events, mut received) = testing::events();
    let gate = Gate::new(events);
    let stop = CancellationToken::new();
    let summary = tokio::spawn(gate.clone().summarise(stop.clone()));
    for _ in 0..7 {
        gate.hold_back(Refusal::PeerNotAllowed);
    }
    let Some(Event::ReportRefused { status, reason, reporter, count, .. }) = received.recv().await else {
        panic!("no event");
    };
    assert_eq!((status, reason.as_str(), reporter, count), (403, "peer_not_allowed", None, Some(7)));
    gate.hold_back(Refusal::BadState);
    stop.cancel();
    summary.await.expect("no panic");
    // What came last is told at the end.
    assert!(matches!(received.try_recv(), Ok(Event::ReportRefused { status: 400, count: Some(1), .. })));
    assert!(received.try_recv().is_err());
}
