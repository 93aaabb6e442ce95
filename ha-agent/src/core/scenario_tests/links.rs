//! The interface goes down and comes up again.

use super::*;

#[test]
fn interface_down_is_a_fault_at_once_in_either_order() {
    for link_first in [true, false] {
        let mut bench = Bench::settled_primary(ADV * 3);
        let events = [Input::Link(Link::Down), Input::Vip(Vip::Absent)];
        for input in
            if link_first { events } else { events.into_iter().rev().collect::<Vec<_>>().try_into().expect("two") }
        {
            bench.input(input);
        }
        bench.report(State::Fault);
        let (at, transition) = bench.last_confirmed();
        assert_eq!((at, transition.state), (ADV * 3, State::Fault));
        // Up again at once: the adverts from before must not look like a missing VIP.
        bench.until(ADV * 3 + MS * 100);
        bench.input(Input::Link(Link::Up));
        bench.report(State::Backup);
        bench.until(ADV * 4);
        assert_eq!(bench.delivered(), [State::Primary, State::Fault, State::Backup]);
        assert_eq!(bench.raised(), []);
    }
}

#[test]
fn a_fault_with_the_interface_up_is_taken_from_the_report() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.advert(Side::Local, 0);
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Fault);
    bench.until(ADV * 20);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup, State::Fault]);
}

#[test]
fn adverts_that_go_on_after_a_short_loss_of_carrier_are_seen_again() {
    // `dont_track_primary`: keepalived stays master, so the kernel side has nothing new to tell.
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS * 300);
    bench.input(Input::Link(Link::Down));
    bench.until(ADV * 3 + MS * 400);
    bench.input(Input::Link(Link::Up));
    bench.until(ADV * 4);
    bench.advertise(&[Side::Local], 50, ADV * 9);
    let view = bench.machine.view(bench.now);
    assert_eq!((view.seen, view.anomalies), (Some(State::Primary), vec![]));
}

#[test]
fn a_keepalived_that_goes_on_without_carrier_is_primary_and_unheard() {
    // `dont_track_primary` with the VIP on another interface: it becomes master while the link is down.
    let mut bench = Bench::settled_backup(ADV * 3);
    bench.input(Input::Link(Link::Down));
    bench.until(ADV * 6);
    assert_eq!(bench.delivered(), [State::Backup, State::Fault]);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.advertise(&[Side::Local], 50, ADV * 9);
    assert_eq!(bench.delivered(), [State::Backup, State::Fault, State::Primary]);
    assert_eq!((bench.rejected(), bench.raised()), (vec![], vec![Kind::SilentPrimary]));
    bench.input(Input::Link(Link::Up));
    assert_eq!(bench.cleared(), [Kind::SilentPrimary]);
}

#[test]
fn a_fault_that_nobody_reported_ends_with_the_interface_up_again() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Link(Link::Down));
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 5);
    bench.input(Input::Link(Link::Up));
    bench.advertise(&[Side::Foreign], 50, ADV * 9);
    assert_eq!(bench.delivered(), [State::Primary, State::Fault, State::Backup]);
}
