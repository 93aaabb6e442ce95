use super::*;

const VRRP_SOCKET: Sender = Sender { forwarded: false, vrrp_socket: true, cookie: 77 };

/// Judges a frame that leaves for nobody that is known as a peer, and learns from it when it is ours.
fn leave(watch: &mut Watch, frame: &[u8], sender: Sender) -> (Judgement, Speaker) {
    leave_for(false, watch, frame, sender)
}

fn leave_for(to_peer: bool, watch: &mut Watch, frame: &[u8], sender: Sender) -> (Judgement, Speaker) {
    let (packet, envelope, header) = open(frame, false).unwrap();
    let frame = Frame { packet: &packet, envelope: &envelope, header };
    let (mut speaker, mut list) = (Speaker::default(), List::default());
    read(&frame, &Link::default(), &mut speaker);
    let judgement = leaving(&frame, &sender, &watch.rules, to_peer, &mut speaker, &mut list);
    let vouched = standing(watch, &Speaker::default(), &speaker) == Standing::Vouched;
    if judgement.class == Class::Ours && vouched {
        learn(&frame, &speaker, list.sum, watch);
    }
    (judgement, speaker)
}

fn sent(advert: &Advert, sender: Sender) -> (Class, Option<Reason>) {
    told(leave(&mut watch(nothing()), &advert.frame(), sender).0)
}

fn learnt(from: Rules, advert: &Advert) -> Watch {
    let mut watch = watch(from);
    watch.vouch(wide(advert.source));
    assert_eq!(told(leave(&mut watch, &advert.frame(), VRRP_SOCKET).0), (Class::Ours, None));
    watch
}

fn unicast(advert: Advert) -> Advert {
    Advert { destination: v4(2), to_mac: Some(OWN_MAC), ttl: 64, ..advert }
}

fn keyed(sequence: u32) -> Advert {
    Advert { auth: Auth::AhKey { key: SECRET, sequence }, ..Advert::v2() }
}

#[test]
fn ours_is_what_a_socket_for_vrrp_sent() {
    for advert in [Advert::v2(), Advert::v3(), Advert::v6(), unicast(Advert::v2()), keyed(3)] {
        let (judgement, speaker) = leave(&mut watch(nothing()), &advert.frame(), VRRP_SOCKET);
        assert_eq!(told(judgement), (Class::Ours, None), "{advert:?}");
        assert_eq!((speaker.sender, speaker.mac, speaker.vlan), (77, [0; 6], crate::NO_VLAN));
        assert_eq!(speaker.list, digest_of(&advert.addresses));
    }
}

#[test]
fn the_rest_that_leaves_is_not() {
    let forwarded = Sender { forwarded: true, ..VRRP_SOCKET };
    let packet_socket = Sender { vrrp_socket: false, ..VRRP_SOCKET };
    let v2 = Advert::v2();
    let mut longer = v2.frame();
    longer[VRRP + 3] = 0;
    let cases = [
        (sent(&v2, forwarded), Reason::Forwarded),
        (sent(&v2, packet_socket), Reason::NotVrrpSocket),
        (sent(&Advert { ttl: 254, ..v2.clone() }, VRRP_SOCKET), Reason::LocalTtl),
        (sent(&Advert { version: 4, ..v2.clone() }, VRRP_SOCKET), Reason::Version),
        (sent(&Advert { kind: 2, ..v2.clone() }, VRRP_SOCKET), Reason::Type),
        (sent(&Advert { padding: 2, ..v2 }, VRRP_SOCKET), Reason::Length),
        (told(leave(&mut watch(nothing()), &longer, VRRP_SOCKET).0), Reason::Length),
    ];
    for (is, reason) in cases {
        assert_eq!(is, unheard_for(reason));
    }
}

#[test]
fn what_is_not_ours_teaches_nothing() {
    let mut watch = watch(nothing());
    watch.vouch(wide(Advert::v2().source));
    let before = watch;
    leave(&mut watch, &Advert::v3().frame(), Sender { forwarded: true, ..VRRP_SOCKET });
    leave(&mut watch, &Advert { ttl: 1, ..Advert::v2() }.frame(), VRRP_SOCKET);
    assert_eq!(watch, before);
}

#[test]
fn what_is_not_vouched_for_teaches_nothing() {
    let mut watch = watch(nothing());
    let before = watch;
    assert_eq!(told(leave(&mut watch, &Advert::v3().frame(), VRRP_SOCKET).0), (Class::Ours, None));
    assert_eq!(watch, before);
    watch.vouch(wide(v4(9)));
    let before = watch;
    leave(&mut watch, &Advert::v3().frame(), VRRP_SOCKET);
    assert_eq!(watch, before);
}

#[test]
fn only_the_vouched_source_counts_and_without_one_the_first() {
    let from = |last| Speaker { src: wide(v4(last)), last_seen_ns: 1, ..Speaker::default() };
    let (nobody, mut watch) = (Speaker::default(), watch(nothing()));
    assert_eq!(standing(&watch, &nobody, &from(1)), Standing::Awaited);
    assert_eq!(standing(&watch, &from(1), &from(1)), Standing::Awaited);
    assert_eq!(standing(&watch, &from(2), &from(1)), Standing::Stranger, "another one is looked at");
    watch.vouch(wide(v4(1)));
    for local in [nobody, from(1), from(2)] {
        assert_eq!(standing(&watch, &local, &from(1)), Standing::Vouched);
        assert_eq!(standing(&watch, &local, &from(2)), Standing::Stranger);
    }
    assert_eq!(told(STRANGER), unheard_for(Reason::LocalSource));
}

#[test]
fn where_the_mode_is_configured_no_advert_says_otherwise() {
    let (v2, single) = (Advert::v2(), unicast(Advert::v2()));
    let other = Advert { destination: IpAddr::from([224, 0, 0, 99]), ..Advert::v2() };
    let configured = |advert: &Advert, targets| {
        let destination = if targets { wide(advert.destination) } else { [0; 16] };
        let flags = Rules::MODE_CONFIGURED | if targets { Rules::KNOWS_TARGETS } else { 0 };
        with(Rules { destination, ..rules_like(advert) }, flags)
    };
    let is =
        |rules, to_peer, advert: &Advert| told(leave_for(to_peer, &mut watch(rules), &advert.frame(), VRRP_SOCKET).0);
    let (ours, elsewhere) = ((Class::Ours, None), unheard_for(Reason::Destination));
    for (rules, to_peer, advert, expected) in [
        (nothing(), false, &single, ours),
        (rules_like(&v2), false, &single, ours),
        (configured(&v2, true), false, &v2, ours),
        (configured(&v2, true), false, &other, elsewhere),
        (configured(&v2, true), true, &single, elsewhere),
        // By hand: which group it is, nobody said.
        (configured(&v2, false), false, &other, ours),
        (configured(&v2, false), false, &single, elsewhere),
        (configured(&single, true), true, &single, ours),
        (configured(&single, true), false, &single, elsewhere),
        (configured(&single, true), false, &v2, elsewhere),
        (configured(&single, false), false, &single, ours),
        (configured(&single, false), false, &v2, elsewhere),
    ] {
        assert_eq!(is(rules, to_peer, advert), expected, "{rules:?} {advert:?}");
    }
    // The socket of before the edit: keepalived has not read it.
    for (socket, expected) in [(VRRP_SOCKET.cookie, ours), (VRRP_SOCKET.cookie + 1, elsewhere)] {
        for (configured, sent) in [(configured(&v2, true), &single), (configured(&single, true), &v2)] {
            assert_eq!(is(Rules { socket, ttl: 9, ..configured }, false, sent), expected);
        }
    }
    // Its TTL is 64.
    let mut rules = configured(&single, true);
    for (ttl, expected) in [(0, ours), (64, ours), (255, unheard_for(Reason::LocalTtl))] {
        rules.ttl = ttl;
        assert_eq!(is(rules, true, &single), expected);
    }
}

#[test]
fn our_own_advert_shows_the_rules() {
    let pass = Advert { auth: Auth::Pass(SECRET), interval_cs: 300, ..Advert::v2() };
    let to_group = |advert: &Advert| Rules { destination: wide(advert.destination), ..rules_like(advert) };
    for advert in [&pass, &Advert::v2(), &Advert::v3(), &Advert::v6()] {
        assert_eq!(learnt(nothing(), advert).rules, to_group(advert), "{advert:?}");
    }
    // In unicast mode others' adverts come to where ours come from.
    let advert = unicast(Advert::v2());
    let rules = learnt(nothing(), &advert).rules;
    assert_eq!(rules, Rules { destination: wide(advert.source), ..rules_like(&advert) });
}

#[test]
fn it_overrides_a_configuration_that_keepalived_has_not_read() {
    let said = Advert { addresses: vec![v4(5)], auth: Auth::Pass(SECRET), interval_cs: 100, ..Advert::v2() };
    let configured = [
        rules_like(&Advert::v3()),
        rules_like(&Advert { addresses: vec![v4(6), v4(7)], ..Advert::v2() }),
        rules_like(&Advert { auth: Auth::Pass(*b"other\0\0\0"), ..Advert::v2() }),
        rules_like(&keyed(1)),
        with(rules_like(&unicast(Advert::v2())), Rules::CHECK_PEERS),
    ];
    for rules in configured {
        let mut watch = learnt(rules, &said);
        let twin = Advert { source: v4(2), ..said.clone() };
        assert_eq!(told(arrive(&mut watch, &twin.frame(), None).0), PEER, "{rules:?}");
    }
    // VRRPv3 has no authentication, whatever the file says now.
    for rules in [rules_like(&keyed(1)), rules_like(&said)] {
        let mut watch = learnt(rules, &Advert::v3());
        assert_eq!(told(arrive(&mut watch, &Advert { source: v4(2), ..Advert::v3() }.frame(), None).0), PEER);
    }
    // And the reverse: a key that the file had is not the one of a password in clear.
    let mut watch = learnt(rules_like(&said), &keyed(4));
    assert!(!watch.rules.has(Rules::KNOWS_PASSWORD));
    assert_eq!(told(arrive(&mut watch, &keyed(5).frame(), None).0), PEER);
}

#[test]
fn our_own_header_shows_the_sequence_and_whether_the_key_is_ours() {
    let mut watch = learnt(rules_like(&keyed(1)), &keyed(40));
    assert_eq!(watch.ah_sequence, 40);
    assert!(watch.rules.has(Rules::KNOWS_PASSWORD));
    let mut look = |sequence| told(arrive(&mut watch, &keyed(sequence).frame(), None).0);
    assert_eq!(look(40), rejected_for(Reason::Sequence));
    assert_eq!(look(41), PEER);
    // keepalived still has the key of before: what it makes with it is no forgery.
    let other = rules_like(&Advert { auth: Auth::AhKey { key: *b"new\0\0\0\0\0", sequence: 0 }, ..Advert::v2() });
    let mut watch = learnt(other, &keyed(1));
    assert_eq!(told(arrive(&mut watch, &keyed(2).frame(), None).0), PEER);
}

#[test]
fn our_own_unicast_checksum_shows_the_form() {
    let old = unicast(Advert { old_checksum: Some(GROUP.into()), ..Advert::v3() });
    let new = unicast(Advert::v3());
    let mut watch = learnt(nothing(), &old);
    let back = |advert: &Advert| Advert { source: v4(2), destination: v4(1), ..advert.clone() };
    assert_eq!(told(arrive(&mut watch, &back(&old).frame(), None).0), PEER);
    assert_eq!(told(arrive(&mut watch, &back(&new).frame(), None).0), rejected_for(Reason::Checksum));
    let (judgement, _) = leave(&mut watch, &new.frame(), VRRP_SOCKET);
    assert_eq!(told(judgement), (Class::Ours, None));
    assert_eq!(watch.state & WATCH_OLD_CHECKSUM, 0);
    assert_eq!(told(arrive(&mut watch, &back(&new).frame(), None).0), PEER);
}
