//! The further addresses.

use std::time::Duration;

use super::*;
use crate::core::evidence::AddressEvidence;
use crate::core::model::Further;

fn address(n: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(n).expect("small")])
}

/// Of `of` addresses the first `set` are set.
fn further(set: usize, of: usize) -> Input {
    Input::Further(Further {
        of,
        set,
        some_set: (0..set).map(address).take(16).collect(),
        some_missing: (set..of).map(address).take(16).collect(),
    })
}

fn raised(bench: &Bench) -> Vec<(Duration, Kind, String)> {
    let raised = |(at, output): &(Duration, O)| match output {
        O::AnomalyRaised { kind, detail, .. } => Some((*at, *kind, detail.clone())),
        _ => None,
    };
    bench.out.iter().filter_map(raised).collect()
}

#[test]
fn a_primary_that_lacks_addresses_is_named_once_they_are_stable() {
    let mut bench = Bench::settled_primary(ADV * 3);
    // keepalived sets them one after the other, for longer than the time to settle.
    for set in 0..40 {
        bench.input(further(set, 50));
        bench.until(ADV * 3 + MS * 20 * u32::try_from(set).expect("small"));
    }
    let stable = bench.elapsed();
    bench.input(further(48, 50));
    bench.advertise(&[Side::Local], 50, ADV * 6);
    let told = "2 of 50 further addresses are not set although this node is master: 10.0.0.48, 10.0.0.49";
    assert_eq!(raised(&bench), [(stable + MS * 250, Kind::MissingVip, told.to_owned())]);
    assert_eq!(bench.machine.view(bench.now).evidence.further, Some(AddressEvidence { of: 50, set: 48 }));
    assert_eq!(bench.delivered(), [State::Primary], "no verdict rests on them");
    bench.input(further(50, 50));
    assert_eq!(bench.cleared(), [Kind::MissingVip]);
}

#[test]
fn a_backup_that_holds_addresses_is_named() {
    let mut bench = Bench::settled_backup(ADV * 3);
    bench.input(further(30, 50));
    bench.advertise(&[Side::Foreign], 50, ADV * 5);
    let [(at, Kind::OrphanVip, detail)] = &raised(&bench)[..] else { panic!("{:?}", bench.out) };
    assert_eq!(*at, ADV * 3 + MS * 250);
    assert!(detail.starts_with("30 of 50 further addresses are set here although this node is not master: 10.0.0.0, "));
    assert!(detail.ends_with("10.0.0.15 and 14 more"), "{detail}");
    bench.input(further(0, 50));
    assert_eq!((bench.cleared(), bench.delivered()), (vec![Kind::OrphanVip], vec![State::Backup]));
}

#[test]
fn a_failover_names_no_addresses() {
    let mut bench = Bench::settled_backup(ADV * 3);
    bench.input(further(0, 50));
    bench.advert(Side::Foreign, 0);
    bench.until(ADV * 3 + MS * 800);
    bench.advert(Side::Local, 50);
    bench.input(Input::Vip(Vip::Present));
    bench.input(further(50, 50));
    bench.advertise(&[Side::Local], 50, ADV * 6);
    bench.advert(Side::Local, 0);
    bench.input(Input::Vip(Vip::Absent));
    bench.input(further(0, 50));
    bench.until(ADV * 7);
    assert_eq!(raised(&bench), []);
}

#[test]
fn an_orphan_address_makes_no_orphan_of_the_vip() {
    let mut bench = Bench::settled_backup(ADV * 3);
    bench.input(further(1, 1));
    bench.advertise(&[Side::Foreign], 50, ADV * 4);
    bench.advert(Side::Foreign, 0);
    bench.input(Input::Vip(Vip::Present));
    bench.until(ADV * 8);
    let kinds: Vec<Kind> = raised(&bench).into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::OrphanVip, Kind::SilentPrimary], "nobody else is master");
}

#[test]
fn a_vip_that_is_not_the_adverts_is_compared_with_them() {
    for (lists_vip, compared) in [(Some(false), true), (Some(true), false), (None, false)] {
        let mut bench = Bench::new(None);
        bench.lists_vip = lists_vip;
        bench.start(Vip::Absent);
        bench.until(MS * 10);
        bench.advertise(&[Side::Local], 50, ADV * 4);
        let [(_, Kind::MissingVip, detail)] = &raised(&bench)[..] else { panic!("{:?}", bench.out) };
        assert_eq!(detail.contains("compare the vip that is configured here"), compared, "{detail}");
    }
}
