//! More foreign speakers than are kept.

use super::*;

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
fn a_better_master_is_not_hidden_by_many_worse_ones_that_go_on() {
    let mut bench = Bench::settled_backup(ADV * 5);
    let better = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 200));
    // It left long ago, so that the readings tell of it first.
    bench.advert_from(Side::Foreign, better, 0, ADV, 7);
    let others = |bench: &mut Bench| {
        for last in 10..74 {
            bench.advert_from(Side::Foreign, IpAddr::V4(Ipv4Addr::new(169, 254, 192, last)), 10, ADV, 7);
        }
    };
    for tick in 6..20 {
        bench.until(ADV * tick);
        bench.advert(Side::Foreign, 50);
        others(&mut bench);
    }
    // The master goes; we take over, and so does another one that is better: our keepalived is deaf.
    bench.advert(Side::Foreign, 0);
    bench.input(Input::Vip(Vip::Present));
    bench.report(State::Primary);
    for tick in 20..26 {
        bench.until(ADV * tick);
        bench.advert_from(Side::Foreign, better, 60, ADV, 7);
        others(&mut bench);
        bench.until(ADV * tick + MS * 50);
        bench.advert(Side::Local, 50);
    }
    assert_eq!(bench.delivered(), [State::Backup], "{:?}", bench.out);
    assert_eq!(bench.rejected(), [(State::Primary, RejectReason::BetterCompetitor)]);
}
