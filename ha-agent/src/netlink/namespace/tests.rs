mod order;

use super::*;

fn router(n: u8) -> RouterId {
    RouterId(uuid::Uuid::from_u128(u128::from(n)))
}

fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

fn vip(n: u8) -> IpAddr {
    IpAddr::from([169, 254, 0, n])
}

fn interest(n: u8) -> Interest {
    Interest { router: router(n), interface: name("ha-0"), vip: vip(n), vip_interface: name("ha-0") }
}

fn address(ifindex: u32, n: u8) -> Address {
    Address { ifindex, local: vip(n), peer: vip(n), prefix: 24, usable: true }
}

fn link(ifindex: u32, text: &str, up: bool) -> Message {
    Message::Link { ifindex, name: name(text), up }
}

fn state(ifindex: u32, text: &str, up: bool) -> LinkState {
    LinkState { name: name(text), ifindex, up }
}

/// A table with router 1 covered by this dump; what that told is dropped.
fn known(dump: Dump) -> Namespace {
    let mut table = Namespace::default();
    table.watch(interest(1), FurtherAddresses::default());
    table.begin_dump();
    table.end_dump(dump, &mut Vec::new());
    table
}

fn up_with_vip() -> Dump {
    Dump { links: vec![state(2, "ha-0", true)], addresses: vec![address(2, 1)] }
}

fn send(table: &mut Namespace, message: Message) -> Vec<Change> {
    let mut out = Vec::new();
    assert!(table.message(message, &mut out), "the backlog is full");
    out
}

#[test]
fn the_first_state_is_told_once_the_dump_has_ended() {
    let mut table = Namespace::default();
    table.watch(interest(1), FurtherAddresses::default());
    assert!(table.needs_dump());
    assert_eq!(send(&mut table, link(2, "ha-0", true)), []);
    let want = table.begin_dump();
    assert_eq!((want.names, want.vips), (vec![name("ha-0")], vec![vip(1)]));
    assert!(!table.needs_dump());
    let mut out = Vec::new();
    table.end_dump(up_with_vip(), &mut out);
    assert_eq!(
        out,
        [Change::Found(router(1)), Change::Link(router(1), Link::Up, Some(2)), Change::Vip(router(1), Vip::Present),]
    );
}

#[test]
fn without_interface_the_vip_is_absent() {
    let mut table = Namespace::default();
    table.watch(interest(1), FurtherAddresses::default());
    table.begin_dump();
    let mut out = Vec::new();
    let elsewhere = Dump { links: vec![], addresses: vec![address(9, 1)] };
    table.end_dump(elsewhere, &mut out);
    assert_eq!(
        out,
        [Change::Found(router(1)), Change::Link(router(1), Link::Gone, None), Change::Vip(router(1), Vip::Absent),]
    );
    // The interface that holds it gets the name.
    assert_eq!(
        send(&mut table, link(9, "ha-0", false)),
        [Change::Link(router(1), Link::Down, Some(9)), Change::Vip(router(1), Vip::Present),]
    );
}

#[test]
fn only_changes_are_told() {
    let mut table = known(up_with_vip());
    assert_eq!(send(&mut table, Message::AddressSet(address(2, 1))), []);
    assert_eq!(send(&mut table, Message::AddressSet(address(2, 9))), []);
    assert_eq!(send(&mut table, Message::AddressGone(address(3, 1))), []);
    assert_eq!(send(&mut table, link(5, "qr-1", true)), []);
    assert_eq!(send(&mut table, Message::AddressGone(address(2, 1))), [Change::Vip(router(1), Vip::Absent)]);
    assert_eq!(send(&mut table, link(2, "ha-0", false)), [Change::Link(router(1), Link::Down, Some(2))]);
}

#[test]
fn the_same_address_with_two_prefixes_is_held_until_both_are_gone() {
    let mut table = known(up_with_vip());
    let host = Address { prefix: 32, ..address(2, 1) };
    assert_eq!(send(&mut table, Message::AddressSet(host)), []);
    assert_eq!(send(&mut table, Message::AddressGone(address(2, 1))), []);
    assert_eq!(send(&mut table, Message::AddressGone(host)), [Change::Vip(router(1), Vip::Absent)]);
}

#[test]
fn an_address_refused_by_duplicate_detection_is_absent() {
    let mut table = known(up_with_vip());
    let refused = Address { usable: false, ..address(2, 1) };
    assert_eq!(send(&mut table, Message::AddressSet(refused)), [Change::Vip(router(1), Vip::Absent)]);
}

#[test]
fn a_recreated_device_has_a_new_index_and_no_addresses() {
    let mut table = known(up_with_vip());
    assert_eq!(
        send(&mut table, Message::LinkGone { ifindex: 2 }),
        [Change::Link(router(1), Link::Gone, None), Change::Vip(router(1), Vip::Absent),]
    );
    assert_eq!(send(&mut table, link(8, "ha-0", true)), [Change::Link(router(1), Link::Up, Some(8))]);
    // Also when the end of the old one was not told.
    assert_eq!(send(&mut table, link(9, "ha-0", true)), [Change::Link(router(1), Link::Up, Some(9))]);
}

#[test]
fn renaming_takes_the_link_and_its_addresses_along() {
    let mut table = known(up_with_vip());
    assert_eq!(
        send(&mut table, link(2, "old", true)),
        [Change::Link(router(1), Link::Gone, None), Change::Vip(router(1), Vip::Absent),]
    );
    assert_eq!(
        send(&mut table, link(2, "ha-0", true)),
        [Change::Link(router(1), Link::Up, Some(2)), Change::Vip(router(1), Vip::Present),]
    );
}

#[test]
fn what_happened_during_a_dump_is_told_as_one() {
    let mut table = known(up_with_vip());
    table.begin_dump();
    assert_eq!(send(&mut table, Message::AddressGone(address(2, 1))), []);
    assert_eq!(send(&mut table, Message::AddressSet(address(2, 1))), []);
    assert_eq!(send(&mut table, link(2, "ha-0", false)), []);
    let mut out = Vec::new();
    table.end_dump(Dump { links: vec![state(2, "ha-0", true)], addresses: vec![] }, &mut out);
    assert_eq!(out, [Change::Link(router(1), Link::Down, Some(2))]);
}

#[test]
fn a_failed_dump_loses_nothing() {
    let mut table = known(up_with_vip());
    table.begin_dump();
    assert_eq!(send(&mut table, Message::AddressGone(address(2, 1))), []);
    let mut out = Vec::new();
    table.abort_dump(&mut out);
    assert_eq!(out, [Change::Vip(router(1), Vip::Absent)]);
}

#[test]
fn the_backlog_is_bounded() {
    let mut table = known(up_with_vip());
    table.begin_dump();
    let mut out = Vec::new();
    for _ in 0..BACKLOG {
        assert!(table.message(link(2, "ha-0", true), &mut out));
    }
    assert!(!table.message(link(2, "ha-0", true), &mut out));
}

#[test]
fn a_watch_added_during_a_dump_waits_for_the_next() {
    let mut table = Namespace::default();
    table.watch(interest(1), FurtherAddresses::default());
    table.begin_dump();
    table.watch(interest(2), FurtherAddresses::default());
    let mut out = Vec::new();
    table.end_dump(up_with_vip(), &mut out);
    assert!(out.iter().all(|change| !matches!(change, Change::Found(r) if *r == router(2))));
    assert!(table.needs_dump());
    table.begin_dump();
    out.clear();
    table.end_dump(up_with_vip(), &mut out);
    assert_eq!(
        out,
        [Change::Found(router(2)), Change::Link(router(2), Link::Up, Some(2)), Change::Vip(router(2), Vip::Absent),]
    );
}

#[test]
fn the_same_watch_again_changes_nothing_another_one_is_told_anew() {
    let mut table = known(up_with_vip());
    table.watch(interest(1), FurtherAddresses::default());
    assert!(!table.needs_dump());
    table.watch(Interest { vip: vip(7), ..interest(1) }, FurtherAddresses::default());
    assert!(table.needs_dump());
}

#[test]
fn a_lost_namespace_is_unknown_and_told_once() {
    let mut table = known(up_with_vip());
    let mut out = Vec::new();
    table.missing(&mut out);
    table.missing(&mut out);
    assert_eq!(
        out,
        [
            Change::Missing(router(1)),
            Change::Vip(router(1), Vip::Unknown),
            Change::Link(router(1), Link::Unknown, None),
        ]
    );
    assert!(table.needs_dump());
    assert_eq!(send(&mut table, Message::AddressSet(address(2, 1))), []);
}

fn further(addresses: &[(u8, Option<&str>)]) -> FurtherAddresses {
    FurtherAddresses::new(addresses.iter().map(|(n, device)| (vip(*n), device.map(name))))
}

/// Router 1 with further addresses 11 on `qg-1`, of which nothing is set, and 12 where the VIP is.
fn with_further() -> Namespace {
    let mut table = Namespace::default();
    table.watch(interest(1), further(&[(11, Some("qg-1")), (12, None)]));
    let want = table.begin_dump();
    assert_eq!((want.names, want.vips), (vec![name("ha-0"), name("qg-1")], vec![vip(1), vip(11), vip(12)]));
    let links = vec![state(2, "ha-0", true), state(3, "qg-1", true)];
    table.end_dump(Dump { links, addresses: vec![address(2, 1), address(2, 12)] }, &mut Vec::new());
    assert_eq!(set(&mut table), Some(1));
    table
}

/// How many are set, if there is something to tell.
fn set(table: &mut Namespace) -> Option<usize> {
    table.further(router(1)).map(|further| further.set)
}

#[test]
fn further_addresses_are_told_where_they_belong() {
    let mut table = with_further();
    assert_eq!(send(&mut table, Message::AddressSet(address(2, 11))), [], "on another device");
    assert_eq!(set(&mut table), None);
    assert_eq!(send(&mut table, Message::AddressSet(address(3, 11))), [Change::Further(router(1))]);
    assert_eq!(table.further(router(1)).map(|further| (further.of, further.set)), Some((2, 2)));
    assert_eq!(send(&mut table, Message::AddressSet(address(3, 11))), [], "as before");
    send(&mut table, Message::AddressGone(address(2, 12)));
    let told = table.further(router(1)).expect("news");
    assert_eq!((told.some_set.to_vec(), told.some_missing.to_vec()), (vec![vip(11)], vec![vip(12)]));
    send(&mut table, Message::AddressGone(Address { prefix: 32, ..address(3, 11) }));
    assert_eq!(set(&mut table), None, "another prefix was never set");
}

#[test]
fn what_a_notification_leaves_open_only_a_dump_tells() {
    let several = |table: &mut Namespace| {
        send(table, Message::AddressSet(address(3, 11)));
        send(table, Message::AddressSet(Address { prefix: 32, ..address(3, 11) }));
    };
    for message in [
        Message::AddressGone(address(3, 11)),
        link(3, "old", true),
        link(9, "qg-1", true),
        Message::LinkGone { ifindex: 3 },
    ] {
        let mut table = with_further();
        several(&mut table);
        assert_eq!(set(&mut table), Some(2));
        assert!(!table.message(message, &mut Vec::new()), "{message:?}");
        assert!(table.needs_dump(), "{message:?}");
        table.begin_dump();
        table.end_dump(Dump { links: vec![state(2, "ha-0", true)], addresses: vec![] }, &mut Vec::new());
        assert_eq!(set(&mut table), Some(0), "{message:?}");
    }
}

#[test]
fn other_further_addresses_leave_what_is_known_of_the_vip() {
    let mut table = with_further();
    table.watch(interest(1), further(&[(13, None)]));
    assert!(table.needs_dump());
    assert_eq!(send(&mut table, Message::AddressGone(address(2, 1))), [Change::Vip(router(1), Vip::Absent)]);
    table.begin_dump();
    let mut out = Vec::new();
    table.end_dump(Dump { links: vec![state(2, "ha-0", true)], addresses: vec![] }, &mut out);
    assert_eq!((out, set(&mut table)), (vec![Change::Further(router(1))], Some(0)));
    table.watch(interest(1), FurtherAddresses::default());
    assert_eq!(table.further(router(1)), Some(Further::default()), "it has none any more");
}

#[test]
fn an_address_costs_one_byte_here() {
    let many = FurtherAddresses::new((0..5000_u32).map(|n| (IpAddr::V4(n.into()), None)));
    assert_eq!(Marks::new(many).bytes(), 5000);
}

#[test]
fn forgetting_a_router_forgets_what_only_it_needed() {
    let mut table = known(up_with_vip());
    table.watch(interest(2), FurtherAddresses::default());
    table.unwatch(router(1));
    assert!(table.addresses.is_empty());
    assert_eq!(table.links, [state(2, "ha-0", true)]);
    table.unwatch(router(2));
    assert!(table.is_empty() && table.links.is_empty());
}
