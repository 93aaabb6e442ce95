//! Observe and enforce, with and without a stand-in for the monitor.

use super::super::simulation::START;
use super::*;

#[test]
fn observe_passes_reports_on_and_only_logs_verdicts() {
    let mut bench = Bench::with(None, |policy| policy.observe = true);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 3);
    bench.report(State::Primary);
    bench.advertise(&[Side::Foreign], 50, ADV * 5);
    assert_eq!(bench.delivered(), [State::Primary]);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::Contradicted)]);
}

#[test]
fn in_observe_a_stand_in_passes_on_what_the_monitor_would_have() {
    let mut bench = Bench::with(None, |policy| (policy.observe, policy.stand_in) = (true, true));
    bench.start(Vip::Absent);
    assert_eq!(bench.delivered(), [State::Backup], "the initial state, before anything is confirmed");
    // Nobody advertises: this verdict would not come, or come late. The monitor did not ask.
    bench.until(ADV * 3);
    bench.out.clear();
    for vip in [Vip::Present, Vip::Present, Vip::Absent, Vip::Unknown, Vip::Absent, Vip::Present] {
        bench.input(Input::Vip(vip));
    }
    let now = bench.now.since(START);
    let passed: Vec<(bool, State, String)> = bench
        .out
        .iter()
        .filter_map(|(at, output)| match output {
            O::Deliver { state, basis, .. } => Some((*at == now, *state, basis.to_string())),
            _ => None,
        })
        .collect();
    let vip = |state| (true, state, "vip".to_owned());
    assert_eq!(passed, [vip(State::Primary), vip(State::Backup), vip(State::Primary)]);
}

#[test]
fn a_stand_in_that_comes_later_begins_with_the_state_it_finds() {
    let mut bench = Bench::with(None, |policy| policy.observe = true);
    bench.start(Vip::Present);
    bench.advertise(&[Side::Local], 50, ADV * 5);
    assert_eq!(bench.delivered(), []);
    for (stand_in, deliveries) in [(true, 1), (true, 1), (false, 1), (true, 2)] {
        bench.policy(|policy| policy.stand_in = stand_in);
        assert_eq!(bench.delivered(), vec![State::Primary; deliveries], "{stand_in}");
    }
}

#[test]
fn in_enforce_a_stand_in_changes_nothing() {
    let run = |stand_in| {
        let mut bench = Bench::with(None, |policy| policy.stand_in = stand_in);
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, ADV * 5);
        bench.input(Input::Vip(Vip::Present));
        bench.advertise(&[Side::Local], 50, ADV * 9);
        bench.out
    };
    assert_eq!(run(true), run(false));
    assert!(run(true).iter().any(|(_, output)| matches!(output, O::Deliver { state: State::Primary, .. })));
}

/// The differences between delivered and confirmed state that were told.
fn diverged(bench: &Bench) -> Vec<Option<(State, State)>> {
    bench
        .out
        .iter()
        .filter_map(|(_, o)| if let O::Diverged(difference) = o { Some(*difference) } else { None })
        .collect()
}

#[test]
fn in_observe_it_is_told_that_the_l3_agent_heard_what_is_not_confirmed() {
    let mut bench = Bench::with(None, |policy| policy.observe = true);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 3);
    bench.report(State::Primary);
    bench.until(ADV * 3 + MS * 200);
    assert_eq!(diverged(&bench), [], "the claim waits for its verdict");
    bench.until(ADV * 3 + MS * 300);
    let passed_on = |(_, o): &(_, O)| matches!(o, O::Rejected { passed_on: true, .. });
    assert!(bench.out.iter().any(passed_on), "{:?}", bench.out);
    let differs = Some((State::Primary, State::Backup));
    assert_eq!(diverged(&bench), [differs]);
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 5);
    assert_eq!(diverged(&bench), [differs, None]);
    // A change that nobody reports is not told to the L3 agent either.
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 5 + MS * 800);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 8);
    assert_eq!(diverged(&bench), [differs, None, Some((State::Backup, State::Primary))]);
}

#[test]
fn in_enforce_nothing_refused_is_passed_on() {
    let mut bench = Bench::settled_backup(ADV * 3);
    bench.report(State::Primary);
    bench.advertise(&[Side::Foreign], 50, ADV * 5);
    assert!(bench.out.iter().any(|(_, o)| matches!(o, O::Rejected { passed_on: false, .. })), "{:?}", bench.out);
    assert_eq!(diverged(&bench), []);
}
