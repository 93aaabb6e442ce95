//! Who is waited for: one report must not slow every failover.

use std::time::Duration;

use super::*;

/// A takeover at `at`: the time until it is confirmed. A graceful one, so that nobody is missed.
fn takeover(bench: &mut Bench, at: Duration, reported: Option<Duration>) -> Duration {
    bench.until(at - MS * 100);
    bench.advert(Side::Foreign, 0);
    bench.until(at);
    bench.advert(Side::Local, 60);
    bench.input(Input::Vip(Vip::Present));
    if let Some(after) = reported {
        bench.until(at + after);
        bench.report(State::Primary);
    }
    bench.until(bench.elapsed() + MS);
    while bench.elapsed() < at + ADV * 3 {
        bench.until(bench.elapsed() + ADV);
        bench.advert(Side::Local, 60);
    }
    let (confirmed, transition) = bench.last_confirmed();
    assert_eq!(transition.state, State::Primary);
    confirmed - at
}

/// The peer takes it back at `at`: the time until backup is confirmed.
fn giveback(bench: &mut Bench, at: Duration) -> Duration {
    bench.until(at);
    bench.advert(Side::Local, 0);
    bench.input(Input::Vip(Vip::Absent));
    for tick in 1..4_u32 {
        bench.until(at + ADV * tick);
        bench.advert(Side::Foreign, 50);
    }
    let (confirmed, transition) = bench.last_confirmed();
    assert_eq!(transition.state, State::Backup);
    confirmed - at
}

const SETTLE: Duration = Duration::from_millis(250);

#[test]
fn reports_that_change_nothing_earn_no_grace() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.report(State::Fault);
    bench.until(ADV * 5 + MS * 100);
    bench.report(State::Backup);
    assert_eq!(bench.delivered(), [State::Backup, State::Fault, State::Backup]);
    assert_eq!(takeover(&mut bench, ADV * 6, None), SETTLE);
    assert_eq!(giveback(&mut bench, ADV * 12), Duration::ZERO);
    // Nor does a report of what has been confirmed already.
    bench.report(State::Backup);
    assert_eq!(takeover(&mut bench, ADV * 18, None), SETTLE);
}

#[test]
fn what_was_true_when_the_agent_began_earns_no_grace() {
    for restored in [None, Some(State::Primary)] {
        let mut bench = Bench::new(restored);
        bench.start(Vip::Absent);
        bench.report(State::Backup);
        bench.advertise(&[Side::Foreign], 50, ADV * 5);
        assert_eq!(bench.last_confirmed().1.basis.to_string(), "report+vip+wire");
        assert_eq!(takeover(&mut bench, ADV * 6, None), SETTLE, "{restored:?}");
        assert_eq!(giveback(&mut bench, ADV * 12), Duration::ZERO, "{restored:?}");
    }
}

#[test]
fn a_reporter_is_waited_for_until_it_misses_one_change_of_that_kind() {
    for expected in [false, true] {
        let mut bench = Bench::with(None, |policy| policy.reporter_expected = expected);
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, ADV * 5);
        assert_eq!(takeover(&mut bench, ADV * 6, Some(MS * 10)), SETTLE);
        // Of backups nothing was reported: who is expected is waited for, once.
        assert_eq!(giveback(&mut bench, ADV * 12), if expected { ADV } else { Duration::ZERO });
        assert_eq!(takeover(&mut bench, ADV * 18, None), ADV, "earned at the last takeover");
        assert_eq!(giveback(&mut bench, ADV * 24), Duration::ZERO, "missed one");
        assert_eq!(takeover(&mut bench, ADV * 30, None), SETTLE, "missed one");
        assert_eq!(giveback(&mut bench, ADV * 36), Duration::ZERO);
        assert_eq!(takeover(&mut bench, ADV * 42, Some(MS * 10)), SETTLE);
        assert_eq!(giveback(&mut bench, ADV * 48), Duration::ZERO);
        assert_eq!(takeover(&mut bench, ADV * 54, None), ADV, "earned again");
    }
}

#[test]
fn a_report_channel_that_is_down_is_not_waited_for() {
    let mut bench = Bench::settled_backup(ADV * 5);
    assert_eq!(takeover(&mut bench, ADV * 6, Some(MS * 10)), SETTLE);
    giveback(&mut bench, ADV * 12);
    bench.input(Input::Channel { channel: Channel::Report, up: false });
    assert_eq!(takeover(&mut bench, ADV * 18, None), SETTLE);
}

#[test]
fn a_reporter_that_is_configured_anew_is_expected_again() {
    let mut bench = Bench::with(None, |policy| policy.reporter_expected = true);
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 5);
    assert_eq!(takeover(&mut bench, ADV * 6, None), ADV);
    giveback(&mut bench, ADV * 12);
    for expected in [false, true] {
        bench.policy(|policy| policy.reporter_expected = expected);
    }
    assert_eq!(takeover(&mut bench, ADV * 18, None), ADV);
}
