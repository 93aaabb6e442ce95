//! The VIP goes, with and without adverts of ours after it.

use super::*;

#[test]
fn a_vip_that_goes_with_no_advert_after_it_is_backup_after_settling() {
    // SIGKILL of keepalived's child: it does not resign, and the next one removes the VIP.
    for (reported, wait) in [(false, MS * 250), (true, MS * 250)] {
        let mut bench = Bench::settled_primary(ADV * 3);
        bench.until(ADV * 3 + MS * 17);
        bench.input(Input::Vip(Vip::Absent));
        if reported {
            bench.report(State::Backup);
        }
        bench.until(ADV * 4);
        let (at, transition) = bench.last_confirmed();
        assert_eq!((at, transition.state), (ADV * 3 + MS * 17 + wait, State::Backup));
        let basis = if reported { "report+vip+wire" } else { "vip+wire" };
        assert_eq!(transition.basis.to_string(), basis);
        assert_eq!(bench.raised(), []);
        bench.until(ADV * 5);
        assert_eq!(bench.raised(), [Kind::NoPrimary]);
    }
}

#[test]
fn netlink_may_be_late_or_early_by_some_tens_of_milliseconds() {
    // The last advert left a moment before or after the VIP went, as far as the order can be told.
    for advert in [MS * 960, MS * 1000, MS * 1040] {
        let mut bench = Bench::settled_primary(ADV * 3);
        let mut events = [(MS * 1000, Some(Input::Vip(Vip::Absent))), (advert, None)];
        events.sort_by_key(|(at, _)| *at);
        for (at, input) in events {
            bench.until(ADV * 3 + at);
            match input {
                Some(input) => bench.input(input),
                None => bench.advert(Side::Local, 50),
            }
        }
        bench.until(ADV * 5);
        let (at, transition) = bench.last_confirmed();
        assert_eq!((at, transition.state), (ADV * 4 + MS * 250, State::Backup), "{advert:?}");
    }
}

#[test]
fn an_advert_well_after_the_vip_went_keeps_it_missing() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 900);
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Backup);
    bench.until(ADV * 4);
    bench.advertise(&[Side::Local], 50, ADV * 7);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::MissingVip], vec![State::Primary]));
    assert_eq!(bench.rejected(), [(State::Backup, RejectReason::PartlyContradicted)]);
}

#[test]
fn adverts_that_go_on_after_backup_was_told_are_a_missing_vip() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 300);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    bench.advertise(&[Side::Local], 50, ADV * 7);
    assert_eq!(bench.raised(), [Kind::MissingVip]);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 9);
    assert_eq!((bench.cleared(), bench.delivered().last()), (vec![Kind::MissingVip], Some(&State::Primary)));
}

#[test]
fn what_puts_adverts_off_does_not_put_off_that_the_vip_went() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 900);
    bench.advert_from(Side::Foreign, THEM, 1, ADV * 3, 7);
    bench.until(ADV * 4 + MS * 600);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 5);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
}

#[test]
fn an_advert_that_leaves_while_a_report_is_waited_for_keeps_it_missing() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.policy(|policy| policy.reporter_expected = true);
    bench.until(ADV * 3 + MS * 100);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 4);
    bench.advertise(&[Side::Local], 50, ADV * 7);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::MissingVip], vec![State::Primary]));
}
