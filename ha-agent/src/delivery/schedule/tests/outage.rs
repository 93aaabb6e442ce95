//! A receiver that is away, full, refuses, or is another one.

use std::collections::BTreeSet;

use super::super::outage::BUSY_MAX;
use super::*;

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
