//! Several adverts of one source address, and several senders of one advert.

use super::*;
use crate::core::model::Mac;

fn forged(bench: &Bench) -> Vec<String> {
    let details = bench.out.iter().filter_map(|(_, output)| match output {
        O::AnomalyRaised { kind: Kind::ForgedAdvert, detail, .. } => Some(detail.clone()),
        _ => None,
    });
    details.collect()
}

/// The deaf half of a split brain: it takes over although a better master advertises every interval, and
/// someone advertises priority 1 with that master's address in between.
fn hidden_master(mac: Option<Mac>) -> Bench {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.out.clear();
    for tick in 0..24_u32 {
        bench.until(ADV * 5 + MS * 250 * tick);
        let claimed_mac = std::mem::replace(&mut bench.mac, mac);
        match tick % 4 {
            1 => {
                bench.mac = claimed_mac;
                bench.advert(Side::Foreign, 60);
            }
            2 => bench.advert(Side::Foreign, 1),
            3 if tick > 10 => {
                bench.advert(Side::Local, 50);
                if tick == 11 {
                    bench.input(Input::Vip(Vip::Present));
                    bench.report(State::Primary);
                }
            }
            _ => {}
        }
        bench.mac = claimed_mac;
    }
    bench
}

#[test]
fn the_best_of_several_adverts_of_one_source_counts() {
    for mac in [None, Some(Mac([2, 0, 0, 0, 0, 66]))] {
        let bench = hidden_master(mac);
        assert_eq!(bench.delivered(), [], "{:?}", bench.out);
        assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
    }
}

#[test]
fn a_source_that_contradicts_itself_is_named() {
    let bench = hidden_master(None);
    let details = forged(&bench);
    let begin = "an advert from 169.254.192.2 is not genuine: contradiction (priority ";
    assert!(details.len() == 1 && details[0].starts_with(begin), "{details:?}");
    assert!(details[0].contains("is advertised from the same address at the same time"), "{details:?}");
}

#[test]
fn one_address_from_two_macs_is_named_with_both() {
    let mut bench = Bench::settled_backup(ADV * 5);
    for tick in 0..8_u32 {
        bench.until(ADV * 5 + MS * 500 * tick);
        let last = if tick % 2 == 0 { 1 } else { 2 };
        bench.mac = Some(Mac([2, 0, 0, 0, 0, last]));
        bench.advert(Side::Foreign, 50);
    }
    let details = forged(&bench);
    assert_eq!(details.len(), 1);
    for mac in ["02:00:00:00:00:01", "02:00:00:00:00:02"] {
        assert!(details[0].contains(mac), "{details:?}");
    }
    // One goes on alone: over after 10 s without the other.
    bench.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    bench.advertise(&[Side::Foreign], 50, ADV * 30);
    assert_eq!(bench.cleared(), [Kind::ForgedAdvert]);
}

#[test]
fn a_node_that_changes_its_priority_or_its_mac_contradicts_nothing() {
    let mut bench = Bench::settled_backup(ADV * 5);
    for (round, priority) in [(6, 40), (9, 50), (12, 40)] {
        bench.mac = Some(Mac([2, 0, 0, 0, 0, round]));
        bench.until(ADV * u32::from(round));
        bench.advertise(&[Side::Foreign], priority, ADV * u32::from(round) + ADV * 2);
    }
    assert_eq!(bench.raised(), []);
}

#[test]
fn a_resignation_from_another_mac_ends_no_run() {
    let mut bench = Bench::new(None);
    bench.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    bench.start(Vip::Absent);
    bench.advertise(&[Side::Foreign], 50, ADV * 6);
    bench.mac = Some(Mac([2, 0, 0, 0, 0, 66]));
    bench.advert(Side::Foreign, 0);
    let reading = bench.reading();
    bench.input(reading);
    let foreign = bench.machine.view(bench.now).evidence.foreign.expect("the master goes on");
    assert_eq!(foreign.priority, 50);
    let details = forged(&bench);
    assert!(details.len() == 1 && details[0].contains("stranger_resigned"), "{details:?}");
    // The control: its own one does.
    bench.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    bench.advert(Side::Foreign, 0);
    assert_eq!(bench.machine.view(bench.now).evidence.foreign, None);
}

#[test]
fn a_resigned_master_is_not_live_again_by_what_the_reading_still_holds() {
    let mut bench = Bench::settled_backup(ADV * 5);
    bench.advert(Side::Foreign, 0);
    let reading = bench.reading();
    bench.input(reading);
    assert_eq!(bench.machine.view(bench.now).evidence.foreign, None);
    bench.until(ADV * 5 + MS * 500);
    bench.advert(Side::Foreign, 50);
    assert_eq!(bench.machine.view(bench.now).evidence.foreign.map(|foreign| foreign.address), Some(THEM));
}

#[test]
fn two_local_senders_are_named_and_one_after_the_other_is_not() {
    for (senders, named) in [([1, 2, 1, 2, 1, 2], true), ([1, 1, 1, 2, 2, 2], false), ([0, 1, 0, 2, 2, 0], false)] {
        let mut bench = Bench::settled_primary(ADV * 3);
        for (tick, sender) in (0_u32..).zip(senders) {
            bench.sender = sender;
            bench.until(ADV * 3 + MS * 500 * (tick + 1));
            bench.advert(Side::Local, 50);
            let reading = bench.reading();
            bench.input(reading);
        }
        assert_eq!(bench.raised(), if named { vec![Kind::ForgedAdvert] } else { vec![] }, "{senders:?}");
        assert_eq!(
            forged(&bench).iter().filter(|detail| detail.contains("second_sender")).count(),
            bench.raised().len()
        );
        assert_eq!(bench.delivered(), [State::Primary]);
    }
}
