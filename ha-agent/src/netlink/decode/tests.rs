use super::*;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressHeaderFlags;
use proptest::prelude::*;

fn bytes(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut message =
        NetlinkMessage::new(netlink_packet_core::NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut out = vec![0; message.buffer_len()];
    message.serialize(&mut out);
    out
}

fn address_message(attributes: Vec<AddressAttribute>, flags: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = 7;
    message.header.prefix_len = 24;
    message.header.flags = AddressHeaderFlags::from_bits_retain(flags);
    message.attributes = attributes;
    message
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn addresses_of_both_families() {
    let v4 = address_message(
        vec![
            AddressAttribute::Address(ip("169.254.0.1")),
            AddressAttribute::Local(ip("169.254.0.1")),
            AddressAttribute::Label("ha-1".to_owned()),
        ],
        0,
    );
    let expected = Address { ifindex: 7, local: ip("169.254.0.1"), peer: ip("169.254.0.1"), prefix: 24, usable: true };
    let decoded = message(&bytes(RouteNetlinkMessage::NewAddress(v4))).expect("decodes");
    assert_eq!(decoded, Some(Message::AddressSet(expected)));

    let v6 = address_message(vec![AddressAttribute::Address(ip("fe80::1"))], 0);
    let decoded = message(&bytes(RouteNetlinkMessage::DelAddress(v6))).expect("decodes");
    let Some(Message::AddressGone(address)) = decoded else {
        panic!("{decoded:?}");
    };
    assert_eq!((address.local, address.peer), (ip("fe80::1"), ip("fe80::1")));
}

#[test]
fn the_local_end_counts_not_the_peer() {
    let ptp =
        address_message(vec![AddressAttribute::Address(ip("10.0.0.2")), AddressAttribute::Local(ip("10.0.0.1"))], 0);
    let decoded = message(&bytes(RouteNetlinkMessage::NewAddress(ptp))).expect("decodes");
    let Some(Message::AddressSet(address)) = decoded else {
        panic!("{decoded:?}");
    };
    assert_eq!((address.local, address.peer), (ip("10.0.0.1"), ip("10.0.0.2")));
}

#[test]
fn two_ends_of_different_families_are_an_error() {
    let mixed =
        address_message(vec![AddressAttribute::Address(ip("10.0.0.2")), AddressAttribute::Local(ip("fe80::1"))], 0);
    assert!(message(&bytes(RouteNetlinkMessage::NewAddress(mixed))).is_err());
}

#[test]
fn failed_duplicate_detection_is_not_usable_tentative_is() {
    for (flags, usable) in [
        (AddressFlags::Tentative, true),
        (AddressFlags::Dadfailed, false),
        (AddressFlags::Dadfailed | AddressFlags::Tentative, false),
    ] {
        let message_ =
            address_message(vec![AddressAttribute::Address(ip("2001:db8::1")), AddressAttribute::Flags(flags)], 0);
        let decoded = message(&bytes(RouteNetlinkMessage::NewAddress(message_))).expect("decodes");
        let Some(Message::AddressSet(address)) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(address.usable, usable, "{flags:?}");
    }
}

fn link_message(family: AddressFamily, flags: LinkFlags, name: Option<&str>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = family;
    message.header.index = 3;
    message.header.flags = flags;
    message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.to_owned())));
    message
}

#[test]
fn a_link_is_up_when_running_with_carrier() {
    let all = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
    for (flags, up) in [
        (all, true),
        (LinkFlags::Up | LinkFlags::Running, false),
        (LinkFlags::Up | LinkFlags::LowerUp, false),
        (LinkFlags::Running | LinkFlags::LowerUp, false),
    ] {
        let link = link_message(AddressFamily::Unspec, flags, Some("ha-1b2c3d4e-5f"));
        let decoded = message(&bytes(RouteNetlinkMessage::NewLink(link))).expect("decodes");
        let expected = Message::Link { ifindex: 3, name: IfName::new("ha-1b2c3d4e-5f").expect("a name"), up };
        assert_eq!(decoded, Some(expected), "{flags:?}");
    }
}

#[test]
fn what_a_bridge_says_of_its_ports_is_not_about_the_device() {
    let link = link_message(AddressFamily::Bridge, LinkFlags::empty(), Some("tap0"));
    let deleted = bytes(RouteNetlinkMessage::DelLink(link.clone()));
    assert_eq!(message(&deleted).expect("decodes"), None);
    let changed = bytes(RouteNetlinkMessage::NewLink(link));
    assert_eq!(message(&changed).expect("decodes"), None);
}

#[test]
fn a_message_without_its_subject_is_an_error() {
    let nameless = link_message(AddressFamily::Unspec, LinkFlags::Up, None);
    assert!(message(&bytes(RouteNetlinkMessage::NewLink(nameless))).is_err());
    let empty = address_message(vec![], 0);
    assert!(message(&bytes(RouteNetlinkMessage::NewAddress(empty))).is_err());
}

#[test]
fn an_attribute_of_an_unknown_shape_does_not_cost_the_fact() {
    let message_ = address_message(vec![AddressAttribute::Address(ip("fe80::1"))], 0);
    let mut raw = bytes(RouteNetlinkMessage::NewAddress(message_));
    // IFA_CACHEINFO with one byte where the crate expects sixteen.
    raw.extend([5, 0, 6, 0, 0xff, 0, 0, 0]);
    let length = u32::try_from(raw.len()).expect("short");
    raw[..4].copy_from_slice(&length.to_ne_bytes());
    assert!(matches!(message(&raw), Ok(Some(Message::AddressSet(_)))));
}

#[test]
fn namespaces_and_several_messages_in_one_datagram() {
    let mut gone = NsidMessage::default();
    gone.attributes = vec![NsidAttribute::Id(5)];
    let mut named = NsidMessage::default();
    named.attributes = vec![NsidAttribute::Id(6)];
    let mut datagram = bytes(RouteNetlinkMessage::DelNsId(gone));
    datagram.extend(bytes(RouteNetlinkMessage::NewNsId(named)));
    let decoded: Vec<_> = messages(&datagram).map(|m| m.expect("decodes")).collect();
    assert_eq!(decoded, [Message::NamespaceGone { nsid: 5 }, Message::NamespaceNamed { nsid: 6 }]);
}

#[test]
fn names_that_the_kernel_would_refuse() {
    for bad in ["", ".", "..", "a b", "a/b", "a:b", "a\0", "a\u{b}", "0123456789abcdef"] {
        assert!(IfName::new(bad).is_none(), "{bad:?}");
    }
    assert_eq!(IfName::new("vrrp.7").expect("a name").to_text(), "vrrp.7");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = message(&raw);
        prop_assert!(messages(&raw).count() <= raw.len());
    }

    #[test]
    fn no_damage_makes_it_panic(
        kind in prop::sample::select(vec![16u16, 17, 20, 21, 88, 89]),
        mut raw in proptest::collection::vec(any::<u8>(), 16..200),
        fix_length in any::<bool>(),
    ) {
        raw[4..6].copy_from_slice(&kind.to_ne_bytes());
        if fix_length {
            let length = u32::try_from(raw.len()).expect("short");
            raw[..4].copy_from_slice(&length.to_ne_bytes());
            // So that link messages are looked into.
            if raw.len() > 16 {
                raw[16] = 0;
            }
        }
        let _ = message(&raw);
        prop_assert!(messages(&raw).count() <= raw.len());
    }

    #[test]
    fn a_cut_message_is_an_error_or_nothing(cut in 0usize..60) {
        let whole = bytes(RouteNetlinkMessage::NewAddress(address_message(
            vec![
                AddressAttribute::Address(ip("2001:db8::1")),
                AddressAttribute::Flags(AddressFlags::Permanent),
            ],
            0,
        )));
        prop_assume!(cut < whole.len());
        prop_assert!(message(&whole[..cut]).is_err());
    }
}
