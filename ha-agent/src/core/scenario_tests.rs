//! Scenarios as keepalived plays them (facts measured on 2.2.7), on virtual time.

use std::net::{IpAddr, Ipv4Addr};

use super::io::{Input, Output as O, RejectReason};
use super::model::{AnomalyKind as Kind, Channel, Link, Password, Reporter, Side, State, Vip};
use super::simulation::{ADV, Bench, MS, THEM, US};

#[test]
fn at_start_silence_is_told_only_after_one_and_a_half_intervals() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.until(ADV + ADV / 2 - MS);
    assert!(bench.out.is_empty(), "{:?}", bench.out);
    bench.until(ADV + ADV / 2 + MS * 2);
    let (_, transition) = bench.last_confirmed();
    assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Backup, "vip+wire"));
}

#[test]
fn an_unchanged_state_is_delivered_again_after_a_restart() {
    let mut bench = Bench::new(Some(State::Primary));
    bench.start(Vip::Present);
    bench.advertise(&[Side::Local], 50, ADV * 3);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_reported_failover_is_confirmed_after_settling() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.until(ADV * 9);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.until(ADV * 9 + MS * 4);
    bench.input(Input::Vip(Vip::Present));
    bench.until(ADV * 9 + MS * 10);
    bench.report(State::Primary);
    bench.until(ADV * 9 + MS * 300);
    let (at, transition) = bench.last_confirmed();
    assert_eq!(transition.basis.to_string(), "report+vip+wire");
    assert_eq!((transition.state, at), (State::Primary, ADV * 9 + MS * 254));
    assert_eq!(transition.latency, MS * 254);
    assert_eq!(bench.delivered(), [State::Primary]);
    assert_eq!(bench.rejected(), []);
}

#[test]
fn backup_after_a_better_advert_needs_no_settling() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 3 + MS);
    bench.advert(Side::Foreign, 60);
    bench.until(ADV * 3 + MS * 2);
    bench.input(Input::Vip(Vip::Absent));
    let (at, transition) = bench.last_confirmed();
    assert_eq!((at, transition.state), (ADV * 3 + MS * 2, State::Backup));
    bench.report(State::Backup);
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    assert_eq!(bench.raised(), []);
}

#[test]
fn netlink_before_the_wire_is_joined() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 3 + MS * 8);
    bench.advert(Side::Local, 0);
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    assert_eq!(bench.raised(), []);
}

#[test]
fn a_spoofed_primary_is_rejected_after_settling() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.report(State::Primary);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::Contradicted)]);
    let at = bench.out.iter().find(|(_, o)| matches!(o, O::Rejected { .. })).map(|(at, _)| *at);
    assert_eq!(at, Some(ADV * 4 + MS * 250));
    assert_eq!(bench.delivered(), [State::Backup]);
}

#[test]
fn a_spoofed_backup_is_rejected_and_the_truth_stays() {
    let mut bench = Bench::settled_primary(ADV * 4);
    bench.report(State::Backup);
    bench.advertise(&[Side::Local], 50, ADV * 6);
    assert_eq!(bench.rejected(), [(State::Backup, RejectReason::Contradicted)]);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_spoof_hidden_behind_a_true_claim_is_still_told() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.report(State::Primary);
    bench.until(ADV * 4 + MS * 100);
    bench.report(State::Backup);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    assert_eq!((bench.superseded(), bench.delivered()), (1, vec![State::Backup]));
}

#[test]
fn a_flap_within_the_settle_time_is_one_superseded_and_nothing_is_delivered() {
    for reported in [false, true] {
        let mut bench = Bench::settled_backup(ADV * 5);
        bench.until(ADV * 9);
        bench.out.clear();
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        if reported {
            bench.report(State::Primary);
        }
        bench.until(ADV * 9 + MS * 100);
        bench.advert(Side::Foreign, 60);
        bench.input(Input::Vip(Vip::Absent));
        bench.until(ADV * 9 + MS * 105);
        if reported {
            bench.report(State::Backup);
        }
        bench.advertise(&[Side::Foreign], 60, ADV * 12);
        assert_eq!((bench.superseded(), bench.delivered()), (1, vec![]), "{reported}: {:?}", bench.out);
        assert_eq!(bench.rejected(), []);
    }
}

#[test]
fn an_unreported_change_waits_for_the_grace_only_where_reports_are_expected() {
    for (expected, wait) in [(true, ADV), (false, MS * 250)] {
        let mut bench = Bench::with(None, |policy| policy.reporter_expected = expected);
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, ADV * 4);
        bench.until(ADV * 8);
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        bench.advertise(&[Side::Local], 50, ADV * 12);
        let (at, transition) = bench.last_confirmed();
        assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Primary, "vip+wire"));
        assert_eq!(at, ADV * 8 + wait);
    }
}

#[test]
fn a_frozen_master_is_silent_then_orphaned_and_backup_in_truth() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.until(ADV * 7);
    assert_eq!(bench.raised(), [Kind::SilentPrimary]);
    bench.advertise(&[Side::Foreign], 50, ADV * 10);
    assert_eq!(bench.raised(), [Kind::SilentPrimary, Kind::OrphanVip]);
    assert_eq!(bench.cleared(), [Kind::SilentPrimary]);
    let (_, transition) = bench.last_confirmed();
    assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Backup, "wire"));
    bench.input(Input::Vip(Vip::Absent));
    assert_eq!(bench.cleared(), [Kind::SilentPrimary, Kind::OrphanVip]);
}

#[test]
fn a_vip_added_by_hand_on_a_backup_is_an_orphan_and_changes_nothing() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Foreign], 50, ADV * 8);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::OrphanVip], vec![State::Backup]));
    bench.input(Input::Vip(Vip::Absent));
    assert_eq!(bench.cleared(), [Kind::OrphanVip]);
}

#[test]
fn adverts_without_a_vip_are_named() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Vip(Vip::Absent));
    bench.advertise(&[Side::Local], 50, ADV * 6);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::MissingVip], vec![State::Primary]));
}

#[test]
fn two_masters_side_by_side_are_a_split_brain_and_the_worse_one_is_not_confirmed() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.advertise(&[Side::Local, Side::Foreign], 50, ADV * 9);
    assert_eq!(bench.raised(), [Kind::SplitBrain]);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
    assert_eq!(bench.delivered(), []);
    // The other one goes: then it is true.
    bench.advertise(&[Side::Local], 50, ADV * 14);
    assert_eq!((bench.cleared(), bench.delivered()), (vec![Kind::SplitBrain], vec![State::Primary]));
}

#[test]
fn a_claim_outdone_by_the_last_advert_is_refused_for_that_reason() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    for tick in 0..8 {
        bench.until(ADV * 5 + ADV * tick / 4 + MS * 10);
        bench.advert_from(
            if tick % 2 == 0 { Side::Local } else { Side::Foreign },
            if tick % 2 == 0 { US } else { THEM },
            50,
            ADV,
            7,
        );
    }
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
}

#[test]
fn a_preemption_is_no_split_brain() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.until(ADV * 5 + MS * 400);
    bench.advert(Side::Local, 60);
    bench.advert(Side::Foreign, 50);
    bench.until(ADV * 5 + MS * 410);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 60, ADV * 9);
    assert_eq!(bench.raised(), []);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
}

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
fn nobody_on_the_wire_is_named_and_cleared() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.until(ADV * 6);
    assert_eq!(bench.raised(), [Kind::NoPrimary]);
    bench.advertise(&[Side::Foreign], 50, ADV * 8);
    assert_eq!(bench.cleared(), [Kind::NoPrimary]);
}

#[test]
fn a_graceful_takeover_is_not_a_time_without_primary() {
    let mut bench = Bench::settled_backup(ADV * 4);
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 4 + MS * 805);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 7);
    assert_eq!((bench.raised(), bench.delivered()), (vec![], vec![State::Backup, State::Primary]));
}

#[test]
fn a_stranger_that_resigns_and_our_own_address_arriving_are_forged() {
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));
    for (source, priority) in [(stranger, 0), (US, 200)] {
        let mut bench = Bench::settled_primary(ADV * 6);
        bench.advert_from(Side::Foreign, source, priority, ADV, 7);
        bench.advertise(&[Side::Local], 50, ADV * 8);
        assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::ForgedAdvert], vec![State::Primary]));
        bench.advertise(&[Side::Local], 50, ADV * 18);
        assert_eq!(bench.cleared(), [Kind::ForgedAdvert]);
    }
}

#[test]
fn another_password_than_ours_is_forged_and_moves_nothing() {
    let ours = Some(Password::new("secret"));
    let stranger = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 9));
    // A backup knows it from the configuration, a primary from its own adverts.
    for (configured, side, vip, state) in
        [(ours, Side::Foreign, Vip::Absent, State::Backup), (None, Side::Local, Vip::Present, State::Primary)]
    {
        let mut bench = Bench::with(None, |policy| policy.password = configured);
        bench.password = ours;
        bench.start(vip);
        bench.advertise(&[side], 50, ADV * 4);
        assert_eq!((bench.raised(), bench.delivered()), (vec![], vec![state]), "ours is no forgery");
        bench.password = Some(Password::new("guess"));
        bench.advert_from(Side::Foreign, stranger, 255, ADV, 7);
        assert_eq!(bench.raised(), [Kind::ForgedAdvert]);
        bench.password = ours;
        bench.advertise(&[side], 50, ADV * 20);
        assert_eq!((bench.raised(), bench.cleared()), (vec![Kind::ForgedAdvert], vec![Kind::ForgedAdvert]));
        assert_eq!(bench.delivered(), [state]);
    }
}

#[test]
fn a_forgery_that_no_record_told_is_found_by_the_reading() {
    let mut bench = Bench::with(None, |policy| policy.password = Some(Password::new("secret")));
    bench.password = Some(Password::new("secret"));
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 4);
    // The kernel side refreshes what goes on and reports nothing.
    bench.speakers[0].password = Some(Password::new("guess"));
    bench.speakers[0].at = bench.now;
    bench.until(ADV * 6);
    assert_eq!(bench.raised(), [Kind::ForgedAdvert, Kind::NoPrimary]);
}

#[test]
fn no_password_where_one_is_configured_is_a_stranger_s() {
    let mut bench = Bench::with(None, |policy| policy.password = Some(Password::new("secret")));
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 255, ADV * 4);
    assert!(bench.raised().contains(&Kind::ForeignMaster), "{:?}", bench.raised());
}

#[test]
fn other_addresses_or_another_interval_on_our_vrid_are_told_apart() {
    let cases = [(ADV, 8, vec![Kind::ForeignMaster]), (ADV * 3, 7, vec![Kind::AdvertIntervalMismatch])];
    for (interval, hash, kinds) in cases {
        let mut bench = Bench::settled_primary(ADV * 3);
        bench.advert_from(Side::Foreign, THEM, 40, interval, hash);
        bench.advertise(&[Side::Local], 50, ADV * 4);
        assert_eq!(bench.raised(), kinds);
    }
}

#[test]
fn a_forged_advert_with_a_long_interval_stretches_nothing() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.until(MS * 100);
    // keepalived drops a VRRPv2 advert whose interval is not its own.
    bench.advert_from(Side::Foreign, THEM, 255, ADV * 255, 7);
    bench.until(ADV * 2);
    assert_eq!(bench.delivered(), [State::Backup]);
    bench.until(ADV * 5);
    assert_eq!(bench.raised(), [Kind::AdvertIntervalMismatch, Kind::NoPrimary]);
    // Nor does it hold back a takeover that keepalived makes in spite of it.
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.advertise(&[Side::Local], 50, ADV * 8);
    assert_eq!(bench.delivered(), [State::Backup, State::Primary]);
}

#[test]
fn without_the_wire_report_and_vip_decide() {
    let mut bench = Bench::new(None);
    bench.input(Input::Link(Link::Up));
    bench.input(Input::Vip(Vip::Absent));
    bench.report(State::Backup);
    bench.until(ADV);
    bench.report(State::Primary);
    bench.until(ADV * 2);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::Contradicted)]);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.until(ADV * 3);
    let (at, transition) = bench.last_confirmed();
    assert_eq!((at, transition.basis.to_string().as_str()), (ADV * 2 + MS * 250, "report+vip"));
    // An unreported change is still found, on one channel, after the grace.
    bench.input(Input::Vip(Vip::Absent));
    bench.until(ADV * 5);
    let (at, transition) = bench.last_confirmed();
    assert_eq!((at, transition.basis.to_string().as_str()), (ADV * 4, "vip"));
}

#[test]
fn with_only_the_report_left_claims_are_held_and_marked() {
    let mut bench = Bench::new(None);
    bench.input(Input::Channel { channel: Channel::Vip, up: false });
    bench.report(State::Primary);
    bench.until(MS * 249);
    assert!(bench.delivered().is_empty());
    bench.until(MS * 251);
    let (_, transition) = bench.last_confirmed();
    assert_eq!(transition.basis.to_string(), "report");
}

#[test]
fn while_the_classifier_is_being_attached_nothing_is_decided_without_the_wire() {
    let mut bench = Bench::new(Some(State::Backup));
    let mut out = Vec::new();
    // Readings are asked for and not answered yet.
    for input in [
        Input::Channel { channel: Channel::Wire, up: true },
        Input::Link(Link::Up),
        Input::Vip(Vip::Present),
        Input::Report { state: State::Primary, reporter: Reporter::Fifo },
    ] {
        bench.now = bench.now + MS;
        bench.machine.input(input, bench.now, &mut out);
    }
    let end = bench.now + ADV * 30;
    while let Some(due) = bench.machine.deadline().filter(|due| *due < end) {
        bench.now = due;
        bench.machine.expire(due, &mut out);
    }
    out.retain(|output| *output != O::ReadWire);
    assert_eq!(out, []);
    // Attached: an orphan VIP of a keepalived that was killed, not a primary.
    bench.input(Input::Channel { channel: Channel::Wire, up: true });
    let attached = bench.elapsed();
    bench.advertise(&[Side::Foreign], 50, attached + ADV * 5);
    assert_eq!((bench.raised(), bench.delivered()), (vec![Kind::OrphanVip], vec![State::Backup]));
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::PartlyContradicted)]);
}

#[test]
fn while_netlink_is_overrun_the_address_table_has_no_vote() {
    let mut bench = Bench::settled_primary(ADV * 3);
    bench.input(Input::Channel { channel: Channel::Vip, up: false });
    bench.advert(Side::Local, 0);
    bench.report(State::Backup);
    let (_, transition) = bench.last_confirmed();
    assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Backup, "report+wire"));
    // The fresh dump told what differed, then the channel is whole again.
    bench.input(Input::Vip(Vip::Absent));
    bench.input(Input::Channel { channel: Channel::Vip, up: true });
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary, State::Backup]);
    // Nothing differed: what was known before counts again.
    let mut bench = Bench::settled_primary(ADV * 3);
    for up in [false, true] {
        bench.input(Input::Channel { channel: Channel::Vip, up });
    }
    bench.report(State::Backup);
    bench.advertise(&[Side::Local], 50, ADV * 5);
    assert_eq!(bench.rejected(), [(State::Backup, RejectReason::Contradicted)]);
}

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
    let now = bench.now.since(super::simulation::START);
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

#[test]
fn a_check_that_differs_delivers_again() {
    let mut bench = Bench::settled_primary(ADV * 3);
    for (seen, count) in [(State::Primary, 1), (State::Backup, 2), (State::Unknown, 3)] {
        bench.input(Input::Check { seen_by_server: seen });
        assert_eq!(bench.delivered(), vec![State::Primary; count]);
    }
}

#[test]
fn many_role_changes_are_flapping_until_they_end() {
    let mut bench = Bench::settled_primary(ADV * 3);
    for round in 0..4 {
        let at = ADV * (4 + round * 3);
        bench.until(at);
        bench.advert(Side::Local, 0);
        bench.input(Input::Vip(Vip::Absent));
        bench.until(at + MS * 900);
        bench.advert(Side::Local, 50);
        bench.input(Input::Vip(Vip::Present));
        bench.until(at + MS * 1800);
        bench.advert(Side::Local, 50);
    }
    assert_eq!(bench.raised(), [Kind::Flapping]);
    bench.advertise(&[Side::Local], 50, ADV * 100);
    assert_eq!(bench.cleared(), [Kind::Flapping]);
}

#[test]
fn a_steady_router_wakes_no_more_than_its_adverts_come() {
    let mut bench = Bench::settled_primary(ADV * 3);
    let mut wakes = 0;
    let end = bench.now + ADV * 60;
    while bench.now < end {
        let due = bench.machine.deadline().expect("a live speaker is watched");
        while bench.now + ADV < due {
            bench.now = bench.now + ADV;
            bench.advert(Side::Local, 50);
        }
        bench.now = bench.now.max(due);
        bench.advert(Side::Local, 50);
        let mut out = Vec::new();
        bench.machine.expire(bench.now, &mut out);
        bench.take(out);
        wakes += 1;
    }
    assert!(wakes <= 62, "{wakes} wake-ups in 60 intervals");
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
fn a_reading_that_is_never_answered_is_asked_for_again_without_spinning() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.until(ADV * 20);
    assert_eq!(bench.machine.deadline(), None, "nobody speaks, nothing is awaited");
    let mut out = Vec::new();
    bench.machine.input(Input::Vip(Vip::Absent), bench.now, &mut out);
    let (mut asked, mut wakes) = (0, 0);
    let end = bench.now + ADV * 10;
    while let Some(due) = bench.machine.deadline().filter(|due| *due < end) {
        let mut out = Vec::new();
        bench.machine.expire(due, &mut out);
        asked += out.iter().filter(|output| **output == O::ReadWire).count();
        wakes += 1;
    }
    assert_eq!((asked, wakes), (19, 19));
}

#[test]
fn a_spoof_that_is_repeated_is_refused_none_the_less() {
    let mut bench = Bench::settled_backup(ADV * 4);
    for tick in 0..10 {
        bench.until(ADV * 4 + MS * 100 * tick);
        bench.report(State::Primary);
    }
    bench.until(ADV * 5);
    let times = bench.out.iter().filter(|(_, o)| matches!(o, O::Rejected { .. })).map(|(at, _)| *at);
    assert_eq!(times.collect::<Vec<_>>()[0], ADV * 4 + MS * 250);
    assert_eq!(bench.delivered(), [State::Backup]);
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

#[test]
fn after_a_standstill_primary_waits_for_a_fresh_reading() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.until(ADV * 9);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    bench.until(ADV * 9 + MS * 100);
    // The agent stands still; meanwhile the other node takes over and its records are not read yet.
    bench.now = bench.now + ADV * 5;
    let mut out = Vec::new();
    bench.machine.expire(bench.now, &mut out);
    assert!(!out.iter().any(|o| matches!(o, O::Confirmed(_))), "{out:?}");
    bench.take(out);
    assert_eq!(bench.delivered(), []);
}

#[test]
fn a_flood_of_sources_does_not_make_the_master_forgotten() {
    let mut bench = Bench::settled_backup(ADV * 5);
    for last in 10..60 {
        bench.until(bench.elapsed() + MS);
        bench.advert_from(Side::Foreign, IpAddr::V4(Ipv4Addr::new(169, 254, 192, last)), 10, ADV, 8);
    }
    let view = bench.machine.view(bench.now);
    assert_eq!(view.evidence.foreign.map(|foreign| foreign.address), Some(THEM));
}

#[test]
fn a_claim_of_what_is_confirmed_is_not_confirmed_again_when_both_channels_go() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.out.clear();
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Backup);
    bench.input(Input::Channel { channel: Channel::Vip, up: false });
    bench.input(Input::Channel { channel: Channel::Wire, up: false });
    bench.until(bench.elapsed() + ADV);
    assert_eq!(bench.delivered(), []);
}
