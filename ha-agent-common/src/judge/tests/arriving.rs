use super::*;

fn group_mac(last: u8) -> [u8; 6] {
    [0x01, 0, 0x5e, 0, 0, last]
}

fn to_own(advert: Advert) -> Advert {
    Advert { destination: v4(9), to_mac: Some(OWN_MAC), ttl: 64, ..advert }
}

fn keyed(sequence: u32) -> Advert {
    Advert { auth: Auth::AhKey { key: SECRET, sequence }, ..Advert::v2() }
}

/// Adverts of every variant that some keepalived sends.
fn sound() -> Vec<Advert> {
    let pass = Auth::Pass(SECRET);
    let many: Vec<IpAddr> = (0..=254).map(|last| Ipv4Addr::new(10, 0, 0, last).into()).collect();
    let many_v6: Vec<IpAddr> = (0..=254).map(v6).collect();
    vec![
        Advert::v2(),
        Advert { auth: pass, ..Advert::v2() },
        keyed(1),
        Advert::v3(),
        Advert::v6(),
        to_own(Advert::v2()),
        to_own(Advert { auth: pass, ..Advert::v2() }),
        to_own(keyed(1)),
        to_own(Advert::v3()),
        Advert { destination: v6(9), to_mac: Some(OWN_MAC), ttl: 64, ..Advert::v6() },
        Advert { priority: 0, ..Advert::v2() },
        Advert { priority: 255, ..Advert::v3() },
        Advert { addresses: Vec::new(), ..Advert::v2() },
        Advert { addresses: Vec::new(), ..Advert::v3() },
        Advert { addresses: many.clone(), ..Advert::v2() },
        Advert { addresses: many, auth: Auth::AhKey { key: SECRET, sequence: 1 }, ..Advert::v2() },
        Advert { addresses: many_v6, ..Advert::v6() },
        Advert { option_words: 10, ..Advert::v2() },
        Advert { vmac: true, ..Advert::v2() },
        Advert { destination: Ipv4Addr::new(239, 1, 2, 3).into(), ..Advert::v2() },
        Advert { interval_cs: 4095, ..Advert::v3() },
    ]
}

#[test]
fn what_a_twin_sends_is_a_peers() {
    for advert in sound() {
        let (judgement, speaker) = arrive(&mut watch(rules_like(&advert)), &advert.frame(), None);
        assert_eq!(told(judgement), PEER, "{advert:?}");
        assert_eq!(speaker.src, wide(advert.source));
        assert_eq!((speaker.version, speaker.priority, speaker.ttl), (advert.version, advert.priority, advert.ttl));
        assert_eq!(speaker.interval_cs, advert.interval_cs, "{advert:?}");
        assert_eq!(usize::from(speaker.vip_count), advert.addresses.len());
        assert_eq!(speaker.list, digest_of(&advert.addresses));
        assert_eq!(speaker.flags & SPEAKER_UNICAST != 0, !advert.destination.is_multicast());
        assert_eq!(speaker.flags & SPEAKER_AH != 0, advert.auth.is_ah());
        let mac = if advert.vmac { [0, 0, 0x5e, 0, 1, 1] } else { advert.mac };
        assert_eq!(speaker.mac, mac);
    }
}

#[test]
fn what_nobody_knows_is_not_compared() {
    for advert in sound().into_iter().filter(|advert| advert.destination != IpAddr::from([239, 1, 2, 3])) {
        assert_eq!(judged(nothing(), &advert.frame()), PEER, "{advert:?}");
    }
    let wrong_key = Advert { auth: Auth::Ah, ..Advert::v2() };
    assert_eq!(judged(nothing(), &wrong_key.frame()), PEER);
    assert_eq!(judged(rules_like(&wrong_key), &wrong_key.frame()), PEER, "the type is known, the key is not");
}

#[test]
fn keepalived_drops_what_its_own_checks_find() {
    let v2 = Advert::v2();
    let pass = Advert { auth: Auth::Pass(SECRET), ..Advert::v2() };
    let two = vec![v4(1), v4(2)];
    let cases = [
        ("ttl", rules_like(&v2), Advert { ttl: 254, ..v2.clone() }.frame(), Reason::Ttl),
        ("ttl of v6", rules_like(&Advert::v6()), Advert { ttl: 64, ..Advert::v6() }.frame(), Reason::Ttl),
        ("checksum", rules_like(&v2), corrupt(&v2), Reason::Checksum),
        ("v3 without pseudo-header", rules_like(&Advert::v3()), plain().frame(), Reason::Checksum),
        (
            "v3 with the group's address by multicast to another",
            rules_like(&elsewhere()),
            Advert { old_checksum: Some(GROUP.into()), ..elsewhere() }.frame(),
            Reason::Checksum,
        ),
        ("count too great", rules_like(&v2), v2_with(&v2, |body| body[3] = 2), Reason::Length),
        ("count too small", rules_like(&v2), v2_with(&v2, |body| body[3] = 0), Reason::Length),
        ("padding", rules_like(&v2), Advert { padding: 2, ..v2.clone() }.frame(), Reason::Length),
        ("trailer", rules_like(&Advert::v3()), Advert { trailer: true, ..Advert::v3() }.frame(), Reason::Length),
        ("type", rules_like(&v2), Advert { kind: 3, ..v2.clone() }.frame(), Reason::Type),
        ("version", rules_like(&v2), Advert::v3().frame(), Reason::Version),
        ("version that nobody has", nothing(), Advert { version: 4, ..Advert::v3() }.frame(), Reason::Version),
        ("another authentication", rules_like(&v2), pass.frame(), Reason::Auth),
        ("no authentication", rules_like(&pass), v2.frame(), Reason::Auth),
        ("type that nobody has", nothing(), v2_with(&v2, |body| body[4] = 3), Reason::Auth),
        ("type of a header without one", nothing(), v2_with(&v2, |body| body[4] = 2), Reason::Auth),
        (
            "password",
            rules_like(&pass),
            Advert { auth: Auth::Pass(*b"Secret\0\0"), ..v2.clone() }.frame(),
            Reason::Password,
        ),
        ("integrity value", rules_like(&keyed(1)), Advert { auth: Auth::Ah, ..v2.clone() }.frame(), Reason::Icv),
        (
            "key",
            rules_like(&keyed(1)),
            Advert { auth: Auth::AhKey { key: *b"Secret\0\0", sequence: 1 }, ..v2.clone() }.frame(),
            Reason::Icv,
        ),
        ("options", rules_like(&keyed(1)), Advert { option_words: 1, ..keyed(1) }.frame(), Reason::Icv),
        ("sequence", rules_like(&keyed(1)), keyed(0).frame(), Reason::Sequence),
        ("next header", rules_like(&keyed(1)), next_header(), Reason::Protocol),
        ("next header, no key", rules_like(&Advert { auth: Auth::Ah, ..v2.clone() }), next_header(), Reason::Protocol),
        ("interval", rules_like(&v2), Advert { interval_cs: 300, ..v2.clone() }.frame(), Reason::Interval),
        ("other address", rules_like(&v2), Advert { addresses: vec![v4(77)], ..v2.clone() }.frame(), Reason::Addresses),
        ("more addresses", rules_like(&v2), Advert { addresses: two, ..v2.clone() }.frame(), Reason::Addresses),
        ("owner", with(rules_like(&v2), Rules::TAKES_NONE), v2.frame(), Reason::Owner),
    ];
    for (case, rules, frame, reason) in cases {
        assert_eq!(judged(rules, &frame), rejected_for(reason), "{case}");
    }
}

fn corrupt(advert: &Advert) -> Vec<u8> {
    let mut frame = advert.frame();
    frame[VRRP + 7] ^= 1;
    frame
}

fn plain() -> Advert {
    Advert { plain_checksum: true, ..Advert::v3() }
}

fn elsewhere() -> Advert {
    Advert { destination: Ipv4Addr::new(239, 1, 2, 3).into(), ..Advert::v3() }
}

fn next_header() -> Vec<u8> {
    let mut frame = keyed(5).frame();
    frame[VRRP] = 6;
    frame
}

#[test]
fn the_first_fault_in_keepaliveds_order_is_told() {
    let v2 = Advert::v2();
    let rules = rules_like(&v2);
    let all = Advert {
        ttl: 1,
        version: 3,
        kind: 2,
        interval_cs: 100,
        auth: Auth::Pass(SECRET),
        addresses: vec![v4(1), v4(2)],
        ..v2.clone()
    };
    let mut frame = Advert { padding: 1, ..all.clone() }.frame();
    frame[VRRP + 7] ^= 1;
    assert_eq!(judged(rules, &frame), rejected_for(Reason::Length));
    let ordered = [
        (all.clone(), Reason::Ttl),
        (Advert { ttl: 255, ..all.clone() }, Reason::Version),
        (Advert { ttl: 255, version: 2, ..all.clone() }, Reason::Auth),
        (Advert { ttl: 255, version: 2, auth: Auth::None, ..all.clone() }, Reason::Interval),
        (Advert { ttl: 255, version: 2, auth: Auth::None, interval_cs: 200, ..all.clone() }, Reason::Type),
        (Advert { ttl: 255, version: 2, auth: Auth::None, interval_cs: 200, kind: 1, ..all }, Reason::Addresses),
    ];
    for (advert, reason) in ordered {
        let mut frame = advert.frame();
        frame[VRRP + 7] ^= 1;
        assert_eq!(judged(rules, &frame), rejected_for(reason), "the count before the checksum: {advert:?}");
    }
    // The list itself after the checksum.
    let other = Advert { addresses: vec![v4(77)], ..v2 };
    assert_eq!(judged(rules, &corrupt(&other)), rejected_for(Reason::Checksum));
}

#[test]
fn what_the_kernel_does_not_deliver_is_unheard() {
    let v2 = Advert::v2();
    let rules = rules_like(&v2);
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = v2.frame();
        change(&mut frame);
        sum_header(&mut frame);
        frame
    };
    let mut v6_sum = Advert::v6().frame();
    v6_sum[ETHERNET + 40 + 7] ^= 1;
    let unicast = to_own(Advert::v2());
    let from = |source: IpAddr| Advert { source, ..v2.clone() }.frame();
    let from_v6 = |source: Ipv6Addr| Advert { source: source.into(), ..Advert::v6() }.frame();
    let cases = [
        ("MAC", rules, Advert { to_mac: Some([2, 0, 0, 0, 0, 0x99]), ..v2.clone() }.frame(), Reason::OtherHost),
        ("group", rules, elsewhere_v2().frame(), Reason::Destination),
        ("our address", rules, unicast.frame(), Reason::Destination),
        ("unicast hears no group", rules_like(&unicast), v2.frame(), Reason::Destination),
        (
            "nor another address",
            rules_like(&unicast),
            Advert { destination: v4(10), ..unicast.clone() }.frame(),
            Reason::Destination,
        ),
        ("header checksum", rules, header_sum(&v2), Reason::Header),
        ("options", rules, options(&[7, 3, 3]), Reason::Header),
        ("length beyond the frame", rules, header(&|frame| frame[16] = 5), Reason::Header),
        ("loose source route", rules, options(&[131, 7, 4, 1, 2, 3, 4]), Reason::SourceRoute),
        ("strict source route", rules, options(&[137, 7, 8, 1, 2, 3, 4]), Reason::SourceRoute),
        ("from a group", rules, from(Ipv4Addr::new(224, 0, 0, 18).into()), Reason::MartianSource),
        ("from all", rules, from(Ipv4Addr::BROADCAST.into()), Reason::MartianSource),
        ("a header for none", rules, keyed(1).frame(), Reason::Protocol),
        ("none for a header", rules_like(&keyed(1)), v2.frame(), Reason::Protocol),
        ("v3 in a header", rules_like(&Advert::v3()), keyed(1).frame(), Reason::Protocol),
        ("too short", rules, short(), Reason::Length),
        ("v6 checksum", rules_like(&Advert::v6()), v6_sum, Reason::Checksum),
        ("from ::1", rules_like(&Advert::v6()), from_v6(Ipv6Addr::LOCALHOST), Reason::MartianSource),
        ("from a v6 group", rules_like(&Advert::v6()), from_v6("ff02::12".parse().unwrap()), Reason::MartianSource),
        ("v6 group", rules_like(&Advert::v6()), v6_to("ff02::13"), Reason::Destination),
        ("v6 scope", rules_like(&Advert::v6()), v6_to("ff05::12"), Reason::Destination),
        ("v6 cut", rules_like(&Advert::v6()), v6_longer(), Reason::Header),
    ];
    for (case, rules, frame, reason) in cases {
        assert_eq!(judged(rules, &frame), unheard_for(reason), "{case}");
    }
}

fn elsewhere_v2() -> Advert {
    Advert { version: 2, ..elsewhere() }
}

fn header_sum(advert: &Advert) -> Vec<u8> {
    let mut frame = advert.frame();
    frame[ETHERNET + 11] ^= 1;
    frame
}

fn options(options: &[u8]) -> Vec<u8> {
    Advert { options: options.to_vec(), ..Advert::v2() }.frame()
}

/// Seven bytes of VRRP.
fn short() -> Vec<u8> {
    let mut frame = Advert::v2().frame();
    frame[17] = 27;
    sum_header(&mut frame);
    frame
}

fn v6_to(destination: &str) -> Vec<u8> {
    Advert { destination: destination.parse().unwrap(), ..Advert::v6() }.frame()
}

fn v6_longer() -> Vec<u8> {
    let mut frame = Advert::v6().frame();
    frame[19] += 1;
    frame
}

#[test]
fn without_rules_only_the_groups_of_vrrp_and_single_addresses_are_heard() {
    assert_eq!(judged(nothing(), &elsewhere_v2().frame()), unheard_for(Reason::Destination));
    assert_eq!(judged(nothing(), &v6_to("ff02::13")), unheard_for(Reason::Destination));
    assert_eq!(judged(nothing(), &to_own(Advert::v2()).frame()), PEER);
    let unicast = Rules { flags: Rules::KNOWS_MODE | Rules::UNICAST, ..nothing() };
    assert_eq!(judged(unicast, &Advert::v2().frame()), unheard_for(Reason::Destination));
    assert_eq!(judged(unicast, &to_own(Advert::v2()).frame()), PEER);
    let multicast = Rules { flags: Rules::KNOWS_MODE, ..nothing() };
    assert_eq!(judged(multicast, &to_own(Advert::v2()).frame()), unheard_for(Reason::Destination));
    assert_eq!(judged(multicast, &Advert::v2().frame()), PEER);
}

#[test]
fn options_without_a_source_route_are_no_fault() {
    let rules = rules_like(&Advert::v2());
    for known in [&[148, 4, 0, 0][..], &[7, 7, 4, 0, 0, 0, 0], &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 0]] {
        assert_eq!(judged(rules, &options(known)), PEER, "{known:?}");
    }
}

#[test]
fn any_order_of_the_addresses_is_the_same_list() {
    let listed =
        |addresses: &[u8]| Advert { addresses: addresses.iter().map(|last| v4(*last)).collect(), ..Advert::v2() };
    let rules = rules_like(&listed(&[1, 2, 3]));
    assert_eq!(judged(rules, &listed(&[3, 1, 2]).frame()), PEER);
    assert_eq!(judged(rules, &listed(&[1, 1, 2]).frame()), rejected_for(Reason::Addresses));
    assert_eq!(judged(rules, &listed(&[1, 2, 4]).frame()), rejected_for(Reason::Addresses));
}

#[test]
fn releases_that_take_any_list_take_it() {
    let rules = with(rules_like(&Advert::v2()), Rules::ANY_LIST);
    assert_eq!(judged(rules, &Advert { addresses: vec![v4(77)], ..Advert::v2() }.frame()), PEER);
    assert_eq!(judged(rules, &Advert { addresses: Vec::new(), ..Advert::v2() }.frame()), PEER);
}

#[test]
fn padding_is_borne_from_2_3_2_on_and_only_as_ethernet_pads() {
    let v2 = Advert::v2();
    let rules = with(rules_like(&v2), Rules::PADDING);
    // Expected are 40 bytes of packet, less than 46.
    for (padding, taken) in [(0, true), (1, false), (2, true), (3, false), (4, false), (6, true), (7, false)] {
        let frame = Advert { padding, ..v2.clone() }.frame();
        let expected = if taken { PEER } else { rejected_for(Reason::Length) };
        assert_eq!(judged(rules, &frame), expected, "{padding}");
    }
    // 44 and 48 bytes: from 46 on nothing is padded.
    let long = |count: u8| Advert { addresses: (0..count).map(v4).collect(), padding: 2, ..Advert::v2() };
    let rules = |count| with(rules_like(&long(count)), Rules::PADDING);
    assert_eq!(judged(rules(2), &long(2).frame()), PEER);
    assert_eq!(judged(rules(3), &long(3).frame()), rejected_for(Reason::Length));
    // keepalived looks for the password in the last bytes, and Ethernet's zeros are none.
    let pass = Advert { auth: Auth::Pass(SECRET), padding: 2, ..Advert::v2() };
    assert_eq!(judged(with(rules_like(&pass), Rules::PADDING), &pass.frame()), rejected_for(Reason::Password));
    // The packet's length counts for IPv6, without its header.
    let v6 = Advert { padding: 2, ..Advert::v6() };
    let mut frame = v6.frame();
    let length = usize::from(frame[19]);
    frame[ETHERNET + 46..ETHERNET + 48].fill(0);
    let mut summed = frame[ETHERNET + 8..ETHERNET + 40 + length].to_vec();
    summed.extend([0, 0, 0, frame[19], 0, 0, 0, 112]);
    let sum = checksum(&summed);
    frame[ETHERNET + 46..ETHERNET + 48].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(judged(with(rules_like(&v6), Rules::PADDING), &frame), PEER);
    assert_eq!(judged(rules_like(&v6), &frame), rejected_for(Reason::Length));
}

#[test]
fn the_checksum_of_v3_follows_the_configuration() {
    let v3 = Advert::v3();
    let any = with(rules_like(&v3), Rules::ANY_CHECKSUM);
    assert_eq!(judged(any, &plain().frame()), PEER);
    assert_eq!(judged(any, &corrupt(&v3)), PEER, "keepalived looks at none");
    // VRRPv2's is not meant.
    assert_eq!(
        judged(with(rules_like(&Advert::v2()), Rules::ANY_CHECKSUM), &corrupt(&Advert::v2())),
        rejected_for(Reason::Checksum)
    );
    let unicast = to_own(Advert::v3());
    let old = Advert { old_checksum: Some(GROUP.into()), ..unicast.clone() };
    let configured = with(rules_like(&unicast), Rules::OLD_CHECKSUM);
    assert_eq!(judged(configured, &old.frame()), PEER);
    assert_eq!(judged(configured, &unicast.frame()), rejected_for(Reason::Checksum));
    let never = with(rules_like(&unicast), Rules::NEVER_OLD_CHECKSUM);
    assert_eq!(judged(never, &old.frame()), rejected_for(Reason::Checksum));
    assert_eq!(judged(never, &unicast.frame()), PEER);
    // By multicast, too, `old_unicast_checksum` means the group of all instances.
    let multicast = with(rules_like(&elsewhere()), Rules::OLD_CHECKSUM);
    assert_eq!(judged(multicast, &Advert { old_checksum: Some(GROUP.into()), ..elsewhere() }.frame()), PEER);
    assert_eq!(judged(multicast, &elsewhere().frame()), rejected_for(Reason::Checksum));
}

#[test]
fn an_old_checksum_that_was_heard_once_is_told_of_and_then_kept_to() {
    let unicast = to_own(Advert::v3());
    let old = Advert { old_checksum: Some(GROUP.into()), ..unicast.clone() };
    let told_of = |advert: &Advert, state: u8| {
        let mut watch = Watch { state, ..watch(rules_like(&unicast)) };
        let (judgement, speaker) = arrive(&mut watch, &advert.frame(), None);
        assert_eq!(watch.state, state, "the program cannot know whether the kernel takes its source");
        (told(judgement), speaker.flags & SPEAKER_OLD_CHECKSUM != 0)
    };
    assert_eq!(told_of(&unicast, 0), (PEER, false));
    assert_eq!(told_of(&old, 0), (PEER, true));
    assert_eq!(told_of(&unicast, WATCH_OLD_CHECKSUM), (rejected_for(Reason::Checksum), false));
    assert_eq!(told_of(&old, WATCH_OLD_CHECKSUM), (PEER, true), "it says the same as before");
    // keepalived changes over before it looks at the list.
    let other = Advert { addresses: vec![v4(77)], ..old };
    assert_eq!(told_of(&other, 0), (rejected_for(Reason::Addresses), true));
}

#[test]
fn a_sequence_number_counts_once() {
    let mut watch = watch(rules_like(&keyed(1)));
    let mut look = |advert: Advert| told(arrive(&mut watch, &advert.frame(), None).0);
    assert_eq!(look(keyed(5)), PEER);
    assert_eq!(look(keyed(5)), rejected_for(Reason::Sequence));
    assert_eq!(look(keyed(4)), rejected_for(Reason::Sequence));
    let wrong = Advert { auth: Auth::AhKey { key: *b"othr\0\0\0\0", sequence: 90 }, ..Advert::v2() };
    assert_eq!(look(wrong), rejected_for(Reason::Icv));
    assert_eq!(look(keyed(6)), PEER, "a wrong value moves no counter");
    // The counter moves before the interval is looked at.
    assert_eq!(look(Advert { interval_cs: 100, ..keyed(9) }), rejected_for(Reason::Interval));
    assert_eq!(look(keyed(9)), rejected_for(Reason::Sequence));
    assert_eq!(look(keyed(10)), PEER);
}

#[test]
fn the_security_index_is_the_source() {
    let advert = keyed(1);
    let mut frame = advert.frame();
    frame[VRRP + 7] ^= 1;
    let packet = frame[ETHERNET..].to_vec();
    let fields = ah::Mutable { total: u32::try_from(advert.packet().len()).unwrap(), ttl: false };
    let icv = ah::icv(&Slice::new(&packet, KEY), &ah::Key::new(SECRET), fields, &mut ah::Work::new()).unwrap();
    frame[VRRP + 12..VRRP + 24].copy_from_slice(&icv);
    assert_eq!(judged(rules_like(&advert), &frame), rejected_for(Reason::Icv));
}

#[test]
fn ttl_counts_in_the_integrity_value_by_multicast_only() {
    let unicast = to_own(keyed(1));
    let mut frame = unicast.frame();
    frame[ETHERNET + 8] = 9;
    sum_header(&mut frame);
    assert_eq!(judged(rules_like(&unicast), &frame), PEER);
}

#[test]
fn peers_are_looked_up_where_their_addresses_are_checked() {
    let advert = to_own(Advert::v2());
    let rules = with(rules_like(&advert), Rules::CHECK_PEERS);
    let look = |rules, peer| told(arrive(&mut watch(rules), &advert.frame(), peer).0);
    let peer = |min_ttl, max_ttl| Some(Peer { min_ttl, max_ttl, pad: [0; 2] });
    assert_eq!(look(rules, None), rejected_for(Reason::PeerSource));
    assert_eq!(look(rules, peer(0, 255)), PEER);
    assert_eq!(look(rules, peer(64, 64)), PEER);
    assert_eq!(look(rules, peer(65, 255)), rejected_for(Reason::PeerTtl));
    assert_eq!(look(rules, peer(0, 63)), rejected_for(Reason::PeerTtl));
    assert_eq!(look(with(rules, Rules::TAKES_NONE), None), rejected_for(Reason::Owner), "before the peers");
    // A configuration that was not read again: the instance still speaks to the group.
    let mut watch = watch(with(rules_like(&Advert::v2()), Rules::CHECK_PEERS));
    assert_eq!(told(arrive(&mut watch, &Advert::v2().frame(), None).0), PEER);
}

#[test]
fn with_a_virtual_mac_the_device_behind_it_listens() {
    let rules = with(rules_like(&Advert::v2()), Rules::VMAC);
    let to = |mac| Advert { to_mac: Some(mac), ..Advert::v2() };
    let cases = [
        (group_mac(18), true),
        ([0xff; 6], true),
        ([0, 0, 0x5e, 0, 1, 1], true),
        // Another group's, another VRID's, and IPv6's.
        (group_mac(19), false),
        ([0, 0, 0x5e, 0, 1, 2], false),
        ([0, 0, 0x5e, 0, 2, 1], false),
        // The interface's own: IP there takes it, keepalived's socket is elsewhere.
        (OWN_MAC, false),
        ([2, 0, 0, 0, 0, 0x99], false),
    ];
    for (mac, heard) in cases {
        let expected = if heard { PEER } else { unheard_for(Reason::OtherHost) };
        assert_eq!(judged(rules, &to(mac).frame()), expected, "{mac:x?}");
    }
    let plain = rules_like(&Advert::v2());
    assert_eq!(judged(plain, &to(OWN_MAC).frame()), PEER);
    assert_eq!(judged(plain, &to([0, 0, 0x5e, 0, 1, 1]).frame()), unheard_for(Reason::OtherHost));
    let v6 = with(rules_like(&Advert::v6()), Rules::VMAC);
    let to_v6 = |mac| Advert { to_mac: Some(mac), ..Advert::v6() }.frame();
    assert_eq!(judged(v6, &to_v6([0, 0, 0x5e, 0, 2, 1])), PEER);
    assert_eq!(judged(v6, &to_v6([0, 0, 0x5e, 0, 1, 1])), unheard_for(Reason::OtherHost));
    assert_eq!(judged(v6, &to_v6([0x33, 0x33, 0, 0, 0, 0x12])), PEER);
    assert_eq!(judged(v6, &to_v6([0x33, 0x33, 0, 0, 0, 0x13])), unheard_for(Reason::OtherHost));
    let unicast = Advert { to_mac: Some([0, 0, 0x5e, 0, 1, 1]), ..to_own(Advert::v2()) };
    assert_eq!(judged(with(rules_like(&unicast), Rules::VMAC), &unicast.frame()), PEER);
}

#[test]
fn what_comes_from_a_virtual_mac_is_for_that_device_alone() {
    let from = |mac: [u8; 6], to| Advert { mac, to_mac: Some(to), ..Advert::v2() }.frame();
    let (own, other) = ([0, 0, 0x5e, 0, 1, 1], [0, 0, 0x5e, 0, 1, 2]);
    let vmac = with(rules_like(&Advert::v2()), Rules::VMAC);
    assert_eq!(judged(vmac, &from(own, group_mac(18))), PEER);
    assert_eq!(judged(vmac, &from(own, group_mac(19))), PEER, "the kernel looks at the source first");
    assert_eq!(judged(vmac, &from(other, group_mac(18))), unheard_for(Reason::OtherHost));
    let beside = with(rules_like(&Advert::v2()), Rules::VMAC_BESIDE);
    for mac in [own, other] {
        assert_eq!(judged(beside, &from(mac, group_mac(18))), unheard_for(Reason::OtherHost));
        assert_eq!(judged(beside, &from(mac, OWN_MAC)), PEER);
        assert_eq!(judged(rules_like(&Advert::v2()), &from(mac, group_mac(18))), PEER, "no macvlan of ours");
    }
    assert_eq!(judged(beside, &from([2, 0, 0, 0, 0, 1], group_mac(18))), PEER);
}

#[test]
fn other_addresses_weigh_more_than_another_interval() {
    let rules = rules_like(&Advert::v2());
    let both = Advert { interval_cs: 100, addresses: vec![v4(77)], ..Advert::v2() };
    for (advert, kept) in [(Advert { interval_cs: 100, ..Advert::v2() }, Reason::Interval), (both, Reason::Addresses)] {
        let (judgement, speaker) = arrive(&mut watch(rules), &advert.frame(), None);
        assert_eq!(told(judgement), rejected_for(Reason::Interval));
        assert_eq!(Reason::from_code(remembered(judgement.reason, &rules, &speaker)), Some(kept));
    }
    assert_eq!(remembered(0, &rules, &Speaker::default()), 0);
}

#[test]
fn contents_of_one_source_are_told_apart() {
    let speak = |advert: Advert| {
        let (judgement, mut speaker) = arrive(&mut watch(rules_like(&Advert::v2())), &advert.frame(), None);
        speaker.refused = judgement.reason;
        digest(KEY, &mut speaker);
        speaker.content
    };
    let all = [
        speak(Advert::v2()),
        speak(Advert { priority: 51, ..Advert::v2() }),
        speak(Advert { interval_cs: 100, ..Advert::v2() }),
        speak(Advert { addresses: vec![v4(3)], ..Advert::v2() }),
        speak(Advert { addresses: vec![v4(3), v4(4)], ..Advert::v2() }),
        speak(Advert::v3()),
        speak(Advert { auth: Auth::Pass(SECRET), ..Advert::v2() }),
        speak(Advert { ttl: 254, ..Advert::v2() }),
    ];
    for (index, content) in all.iter().enumerate() {
        assert!(!all[..index].contains(content), "{index}");
    }
    assert_eq!(all[0], speak(Advert::v2()));
}

#[test]
fn every_reason_of_one_that_arrives_has_a_case_here() {
    // What leaves has its own; sources that only the kernel knows are asked about in user space.
    let elsewhere =
        [Reason::OwnSource, Reason::Forwarded, Reason::NotVrrpSocket, Reason::LocalSource, Reason::LocalTtl];
    let text = include_str!("arriving.rs");
    for reason in Reason::ALL.iter().filter(|reason| !elsewhere.contains(reason)) {
        assert!(text.contains(&std::format!("Reason::{reason:?}")), "{reason:?}");
    }
}
