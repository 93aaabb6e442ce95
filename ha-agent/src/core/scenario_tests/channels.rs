//! A channel is silent, not there yet, or late.

use super::*;

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

/// As netlink tells it: nothing has a vote any more.
fn namespace(bench: &mut Bench, exists: bool) {
    bench.input(Input::Channel { channel: Channel::Wire, up: false });
    bench.input(Input::Channel { channel: Channel::Vip, up: exists });
    bench.input(Input::Namespace { exists });
}

#[test]
fn a_namespace_that_goes_is_a_fault_after_settle() {
    let mut bench = Bench::settled_primary(ADV * 3);
    namespace(&mut bench, false);
    bench.until(ADV * 3 + MS * 249);
    assert_eq!(bench.delivered(), [State::Primary]);
    bench.until(ADV * 3 + MS * 251);
    let (_, transition) = bench.last_confirmed();
    assert_eq!((transition.state, transition.basis.to_string().as_str()), (State::Fault, "vip"));
    bench.until(ADV * 30);
    assert_eq!(bench.delivered(), [State::Primary, State::Fault]);
    // There again at once: nothing of it is told.
    let mut bench = Bench::settled_primary(ADV * 3);
    namespace(&mut bench, false);
    bench.until(ADV * 3 + MS * 200);
    namespace(&mut bench, true);
    bench.until(ADV * 4);
    assert_eq!(bench.delivered(), [State::Primary]);
}

#[test]
fn a_namespace_that_went_while_nobody_looked_is_a_fault_at_the_start() {
    let mut bench = Bench::new(Some(State::Primary));
    namespace(&mut bench, false);
    // A watch that was overrun and is whole again knows no more of it.
    bench.until(MS * 100);
    bench.input(Input::Channel { channel: Channel::Vip, up: true });
    bench.until(MS * 251);
    assert_eq!(bench.delivered(), [State::Fault]);
    // One that nobody ever saw says nothing, and reports are passed on.
    let mut bench = Bench::new(None);
    namespace(&mut bench, false);
    bench.report(State::Primary);
    bench.until(ADV * 5);
    assert_eq!(bench.delivered(), [State::Primary]);
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
fn a_reading_that_is_never_answered_is_asked_for_again_without_spinning() {
    let mut bench = Bench::new(None);
    bench.start(Vip::Absent);
    bench.until(ADV * 20);
    let due = bench.machine.deadline().expect("a look at who listens");
    assert!(due.since(bench.now) > ADV * 2, "nobody speaks, nothing else is awaited");
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
