use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::advert_rules::{Release, UnicastPeer};
use crate::core::model::Password;

const KEY: [u64; 2] = [3, 4];

fn kernel(rules: &AdvertRules) -> Rules {
    kernel_rules(rules, Family::V4, None, KEY)
}

fn unknown() -> AdvertRules {
    AdvertRules::unknown(Release::default())
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(169, 254, 192, last).into()
}

#[test]
fn what_is_not_known_is_not_compared() {
    assert_eq!(kernel(&unknown()), Rules { group: [224, 0, 0, 18], ..Rules::default() });
}

#[test]
fn what_is_known_is() {
    let rules = AdvertRules {
        version: Some(2),
        mode: Some(Mode::Multicast { group: None }),
        authentication: Some(Authentication::Pass(Password::new("secret"))),
        interval: Some(Duration::from_secs(2)),
        addresses: Some(vec![v4(1), v4(2), "fe80::1".parse().unwrap()]),
        old_checksum_group: Some(Ipv4Addr::new(224, 0, 0, 77)),
        ..unknown()
    };
    let mut list = List::default();
    list.add_v4(KEY, [169, 254, 192, 2]);
    list.add_v4(KEY, [169, 254, 192, 1]);
    let expected = Rules {
        list: list.digest,
        password: *b"secret\0\0",
        group: [224, 0, 0, 77],
        interval_cs: 200,
        flags: Rules::KNOWS_MODE
            | Rules::MODE_CONFIGURED
            | Rules::KNOWS_AUTH
            | Rules::KNOWS_PASSWORD
            | Rules::KNOWS_LIST,
        version: 2,
        auth_type: 1,
        vip_count: 3,
        ..Rules::default()
    };
    assert_eq!(kernel(&rules), expected);
}

#[test]
fn every_kind_of_authentication() {
    let of = |authentication| {
        let rules = kernel(&AdvertRules { authentication: Some(authentication), ..unknown() });
        assert!(rules.has(Rules::KNOWS_AUTH));
        (rules.auth_type, rules.has(Rules::KNOWS_PASSWORD), rules.password, rules.ah)
    };
    let (none, key) = (ah::Key::default(), ah::Key::new(*b"secret\0\0"));
    let password = Password::new("secret");
    assert_eq!(of(Authentication::None), (0, false, [0; 8], none));
    assert_eq!(of(Authentication::Pass(password)), (1, true, *b"secret\0\0", none));
    assert_eq!(of(Authentication::PassUnknown), (1, false, [0; 8], none));
    assert_eq!(of(Authentication::Ah(password)), (2, true, [0; 8], key));
    assert_eq!(of(Authentication::AhUnknown), (2, false, [0; 8], none));
}

#[test]
fn the_destination_is_the_group_or_our_own_address() {
    let multicast =
        AdvertRules { mode: Some(Mode::Multicast { group: Some("239.1.2.3".parse().unwrap()) }), ..unknown() };
    let rules = kernel_rules(&multicast, Family::V4, Some(v4(9)), KEY);
    assert_eq!(rules.destination, wide("239.1.2.3".parse().unwrap()));
    assert!(!rules.is_unicast() && rules.has(Rules::MODE_CONFIGURED | Rules::KNOWS_TARGETS));
    assert!(kernel_peers(&multicast).is_empty());
    let peer = UnicastPeer { address: v4(2), min_ttl: 250, max_ttl: 255 };
    let unicast = |check_source, source| AdvertRules {
        mode: Some(Mode::Unicast { peers: vec![peer], check_source }),
        source,
        ttl: Some(64),
        ..unknown()
    };
    let rules = kernel_rules(&unicast(false, None), Family::V4, Some(v4(9)), KEY);
    assert_eq!((rules.destination, rules.ttl), (wide(v4(9)), 64));
    assert!(rules.is_unicast() && !rules.has(Rules::CHECK_PEERS));
    assert!(rules.has(Rules::MODE_CONFIGURED | Rules::KNOWS_TARGETS));
    let rules = kernel_rules(&unicast(true, Some(v4(7))), Family::V4, Some(v4(9)), KEY);
    assert_eq!(rules.destination, wide(v4(7)), "unicast_src_ip before the interface's first address");
    assert!(rules.has(Rules::CHECK_PEERS));
    for check_source in [false, true] {
        let peers = kernel_peers(&unicast(check_source, None));
        assert_eq!(peers, [(wide(v4(2)), Peer { min_ttl: 250, max_ttl: 255, pad: [0; 2] })]);
    }
}

#[test]
fn of_a_router_given_by_hand_the_mode_is_known_and_no_more() {
    let by_hand = |mode| kernel_rules(&AdvertRules { mode: Some(mode), ..unknown() }, Family::V4, Some(v4(9)), KEY);
    let rules = by_hand(Mode::Multicast { group: None });
    assert!(rules.has(Rules::MODE_CONFIGURED) && !rules.has(Rules::KNOWS_TARGETS) && rules.destination == [0; 16]);
    let rules = by_hand(Mode::Unicast { peers: Vec::new(), check_source: false });
    assert!(rules.has(Rules::MODE_CONFIGURED) && !rules.has(Rules::KNOWS_TARGETS) && rules.ttl == 0);
}

#[test]
fn releases_and_options_are_flags() {
    let flags = |rules: AdvertRules| kernel(&rules).flags;
    let release = |patch| Release::new(2, 3, patch);
    assert_eq!(flags(AdvertRules::unknown(release(1))), 0);
    assert_eq!(flags(AdvertRules::unknown(release(2))), Rules::PADDING);
    assert_eq!(flags(AdvertRules::unknown(release(3))), Rules::PADDING | Rules::ANY_LIST);
    let checksum = |checksum, release| flags(AdvertRules { checksum, ..AdvertRules::unknown(release) });
    let old = Release::new(2, 2, 7);
    assert_eq!(checksum(Checksum::Old, old), Rules::OLD_CHECKSUM);
    assert_eq!(checksum(Checksum::Never, old), Rules::NEVER_OLD_CHECKSUM);
    assert_eq!(checksum(Checksum::PlainV3, old), 0, "2.2.7 does not know it");
    assert_eq!(checksum(Checksum::PlainV3, Release::new(2, 2, 8)), Rules::ANY_CHECKSUM);
    assert_eq!(flags(AdvertRules { takes_none: true, ..unknown() }), Rules::TAKES_NONE);
    let vmac = AdvertRules { has_vmac: true, ..unknown() };
    assert_eq!(flags(vmac.clone()), Rules::VMAC_BESIDE, "its socket is on the interface itself");
    assert_eq!(flags(AdvertRules { receive_interface: Some("vrrp.1".to_owned()), ..vmac }), Rules::VMAC);
}

#[test]
fn more_than_an_advert_can_say_is_the_most() {
    let rules =
        AdvertRules { interval: Some(Duration::from_secs(3600)), addresses: Some(vec![v4(1); 300]), ..unknown() };
    let rules = kernel(&rules);
    assert_eq!((rules.interval_cs, rules.vip_count), (u16::MAX, 255));
}

#[test]
fn addresses_are_digested_by_family() {
    let rules = AdvertRules { addresses: Some(vec!["fe80::1".parse().unwrap()]), ..unknown() };
    let mut list = List::default();
    list.add_v6(KEY, &"fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(kernel_rules(&rules, Family::V6, None, KEY).list, list.digest);
}
