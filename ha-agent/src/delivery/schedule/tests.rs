mod invariants;
mod lacks;
mod outage;

use super::testing::{JSON, RULES, START, entry, id};
use super::*;
use crate::core::model::State;
use crate::delivery::answer::{Answer, Failure, FailureKind};

const MS: Duration = Duration::from_millis(1);

fn failure(kind: FailureKind) -> Answer {
    let written = !matches!(kind, FailureKind::Absent | FailureKind::NotListening | FailureKind::Busy);
    Answer::Failed(Failure::new(kind, kind.as_str().to_owned(), written))
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
    confirm(&mut s, 2, 5, State::Primary, START);
    assert!(sends(&mut s, START + 2099 * MS).is_empty());
    assert_eq!(one(&mut s, START + 2100 * MS).items[0].router, id(2));
    let mut s = Schedule::new(JSON, 7, START);
    confirm(&mut s, 2, 5, State::Primary, START);
    assert_eq!(sends(&mut s, START).len(), 1, "json has no hold");
}

/// The namespace may not be there yet, or the role have changed while the agent was down.
#[test]
fn what_is_left_of_an_earlier_run_is_not_sent_before_this_run_has_seen_the_router() {
    let (mut s, now) = schedule(RULES);
    for n in 1..=3 {
        s.confirm(entry(n, 1, State::Primary), None);
    }
    assert!(sends(&mut s, now).is_empty());
    // Nor when it is asked for, nor for another receiver, nor after an outage.
    s.assert_again(id(1));
    s.receiver_changed(now);
    assert!(sends(&mut s, now).is_empty());
    confirm(&mut s, 2, 2, State::Backup, now);
    let send = one(&mut s, now);
    assert_eq!((send.items[0].router, send.items[0].state), (id(2), State::Backup));
    s.answered(&send, vec![failure(FailureKind::NotListening)], now);
    let due = s.deadline().unwrap();
    let send = one(&mut s, due);
    take(&mut s, &send, due);
    assert!(sends(&mut s, due + 60_000 * MS).is_empty());
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
