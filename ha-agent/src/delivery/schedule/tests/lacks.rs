//! What this host lacks, and receivers that come and go.

use super::*;

fn recovered(s: &mut Schedule) -> Vec<usize> {
    let told = s.outputs();
    told.iter()
        .filter_map(|output| if let Output::Recovered { count, .. } = output { Some(*count) } else { None })
        .collect()
}

#[test]
fn one_failure_among_successes_is_no_outage() {
    for kind in [FailureKind::Local, FailureKind::Io, FailureKind::Timeout] {
        let (mut s, now) = schedule(RULES);
        for n in 1..=3 {
            confirm(&mut s, n, 1, State::Primary, now);
        }
        let all = sends(&mut s, now);
        take(&mut s, &all[0], now + 5 * MS);
        s.answered(&all[1], vec![failure(kind)], now + 6 * MS);
        assert!(!s.receiver.is_away(), "{kind:?}");
        take(&mut s, &all[2], now + 7 * MS);
        assert!(recovered(&mut s).is_empty(), "{kind:?}");
        let again = one(&mut s, now + 300 * MS);
        assert_eq!(again.items, all[1].items);
    }
}

#[test]
fn when_descriptors_are_there_again_nothing_is_asserted_again() {
    let (mut s, now) = schedule(RULES);
    for n in 1..=40 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    // All are taken but the last, for which there is no descriptor.
    let mut count = 0;
    while count < 40 {
        for send in sends(&mut s, now) {
            count += 1;
            if count < 40 {
                take(&mut s, &send, now);
            } else {
                s.answered(&send, vec![failure(FailureKind::Local)], now);
            }
        }
    }
    assert!(s.receiver.is_away());
    s.outputs();
    let due = s.deadline().unwrap();
    let last = one(&mut s, due);
    take(&mut s, &last, due + MS);
    assert_eq!(recovered(&mut s), [0]);
    assert!(sends(&mut s, due + 60_000 * MS).is_empty());
}

#[test]
fn a_receiver_that_comes_and_goes_is_not_told_everything_each_time() {
    let (mut s, mut now) = schedule(RULES);
    for n in 1..=40 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    let end = now + 4_000 * MS;
    let mut requests = 0;
    // It answers twice, then refuses, and so on.
    while now < end {
        for send in sends(&mut s, now) {
            requests += 1;
            if requests % 3 == 0 {
                s.answered(&send, vec![failure(FailureKind::NotListening)], now + MS);
            } else {
                take(&mut s, &send, now + MS);
            }
        }
        now = s.deadline().unwrap_or(end).max(now + MS);
    }
    assert!(requests < 200, "{requests}");
    // What is owed comes in the end.
    for _ in 0..200 {
        for send in sends(&mut s, now) {
            take(&mut s, &send, now);
        }
        now = now + 100 * MS;
    }
    assert_eq!(s.pending(), 0);
}

#[test]
fn a_batch_that_is_too_large_goes_in_halves_until_it_fits() {
    let (mut s, now) = schedule(JSON);
    for n in 1..=5 {
        confirm(&mut s, n, 1, State::Primary, now);
    }
    let whole = one(&mut s, now);
    s.answered(&whole, vec![failure(FailureKind::TooLarge); 5], now);
    let half = one(&mut s, now);
    assert_eq!(half.items.len(), 3);
    take(&mut s, &half, now);
    let rest = one(&mut s, now + 200 * MS);
    assert_eq!(rest.items.len(), 2);
    s.answered(&rest, vec![failure(FailureKind::TooLarge); 2], now + 200 * MS);
    let single = one(&mut s, now + 200 * MS);
    assert_eq!(single.items.len(), 1);
    // Even one alone: later again, and told.
    s.answered(&single, vec![failure(FailureKind::TooLarge)], now + 200 * MS);
    assert!(s.outputs().iter().any(|output| matches!(output, Output::Failed { retry_in: Some(_), .. })));
    // Another receiver may take more.
    s.receiver_changed(now + 300 * MS);
    assert!(one(&mut s, now + 30_000 * MS).items.len() > 1);
}

#[test]
fn a_wish_to_be_tried_later_is_heeded() {
    let later = |kind| {
        let failure = Failure::new(kind, "answered 429".to_owned(), true);
        Answer::Failed(Failure { retry_after: Some(7_000 * MS), ..failure })
    };
    for rules in [JSON, RULES] {
        let (mut s, now) = schedule(rules);
        confirm(&mut s, 1, 1, State::Primary, now);
        let send = one(&mut s, now);
        s.answered(&send, vec![later(FailureKind::ServerError)], now);
        assert_eq!(s.deadline().unwrap().since(now), 7_000 * MS);
        assert!(sends(&mut s, now + 6_900 * MS).is_empty());
        one(&mut s, now + 7_000 * MS);
    }
}
