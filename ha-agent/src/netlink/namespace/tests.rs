use std::collections::BTreeMap;

use proptest::prelude::*;

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
    table.watch(interest(1));
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
    table.watch(interest(1));
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
    table.watch(interest(1));
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
    table.watch(interest(1));
    table.begin_dump();
    table.watch(interest(2));
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
    table.watch(interest(1));
    assert!(!table.needs_dump());
    table.watch(Interest { vip: vip(7), ..interest(1) });
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

#[test]
fn forgetting_a_router_forgets_what_only_it_needed() {
    let mut table = known(up_with_vip());
    table.watch(interest(2));
    table.unwatch(router(1));
    assert!(table.addresses.is_empty());
    assert_eq!(table.links, [state(2, "ha-0", true)]);
    table.unwatch(router(2));
    assert!(table.is_empty() && table.links.is_empty());
}

// ---- the truth is reached, whatever the order ----

const NAMES: [&str; 3] = ["ha-0", "ha-1", "other"];

/// A kernel: links and addresses, and the notifications it sends.
#[derive(Clone, Debug, Default)]
struct Kernel {
    links: BTreeMap<u32, (usize, bool)>,
    addresses: Vec<Address>,
    sent: Vec<Message>,
}

#[derive(Clone, Debug)]
enum Act {
    MakeLink(usize, bool),
    DeleteLink(usize),
    SetUp(usize, bool),
    Rename(usize, usize),
    SetAddress(usize, u8, u8, bool),
    DeleteAddress(usize),
    /// The agent reads some of what was sent.
    Read(usize),
    BeginDump,
    /// The kernel reads one part of the dump: the links (one by one) or the addresses.
    DumpPart,
    EndDump,
    FailDump,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3usize, any::<bool>()).prop_map(|(n, up)| Act::MakeLink(n, up)),
        1 => (0..4usize).prop_map(Act::DeleteLink),
        2 => (0..4usize, any::<bool>()).prop_map(|(l, up)| Act::SetUp(l, up)),
        2 => (0..4usize, 0..3usize).prop_map(|(l, n)| Act::Rename(l, n)),
        5 => (0..4usize, 1..4u8, 24..26u8, any::<bool>())
            .prop_map(|(l, a, p, u)| Act::SetAddress(l, a, p, u)),
        3 => (0..8usize).prop_map(Act::DeleteAddress),
        3 => (0..6usize).prop_map(Act::Read),
        2 => Just(Act::BeginDump),
        4 => Just(Act::DumpPart),
        2 => Just(Act::EndDump),
        1 => Just(Act::FailDump),
    ]
}

impl Kernel {
    fn pick(&self, n: usize) -> Option<u32> {
        self.links.keys().copied().nth(n)
    }

    fn tell_link(&mut self, ifindex: u32) {
        if let Some((n, up)) = self.links.get(&ifindex) {
            self.sent.push(link(ifindex, NAMES[*n], *up));
        }
    }

    fn act(&mut self, act: &Act, next_index: &mut u32) {
        match *act {
            Act::MakeLink(n, up) if !self.links.values().any(|(m, _)| *m == n) => {
                *next_index += 1;
                self.links.insert(*next_index, (n, up));
                self.tell_link(*next_index);
            }
            Act::DeleteLink(l) => {
                if let Some(ifindex) = self.pick(l) {
                    let (gone, kept) = self.addresses.iter().partition(|a| a.ifindex == ifindex);
                    self.addresses = kept;
                    let gone: Vec<Address> = gone;
                    self.sent.extend(gone.into_iter().map(Message::AddressGone));
                    self.links.remove(&ifindex);
                    self.sent.push(Message::LinkGone { ifindex });
                }
            }
            Act::SetUp(l, up) => {
                if let Some(ifindex) = self.pick(l) {
                    if let Some(link) = self.links.get_mut(&ifindex) {
                        link.1 = up;
                    }
                    self.tell_link(ifindex);
                }
            }
            Act::Rename(l, n) if !self.links.values().any(|(m, _)| *m == n) => {
                if let Some(ifindex) = self.pick(l) {
                    if let Some(link) = self.links.get_mut(&ifindex) {
                        link.0 = n;
                    }
                    self.tell_link(ifindex);
                }
            }
            Act::SetAddress(l, n, prefix, usable) => {
                if let Some(ifindex) = self.pick(l) {
                    let new = Address { prefix, usable, ..address(ifindex, n) };
                    self.addresses.retain(|a| !same(a, &new));
                    self.addresses.push(new);
                    self.sent.push(Message::AddressSet(new));
                }
            }
            Act::DeleteAddress(n) if n < self.addresses.len() => {
                let gone = self.addresses.remove(n);
                self.sent.push(Message::AddressGone(gone));
            }
            _ => {}
        }
    }

    fn truth(&self, interest: &Interest) -> (Vip, Link, Option<u32>) {
        let find = |wanted: IfName| {
            self.links.iter().find(|(_, (n, _))| name(NAMES[*n]) == wanted).map(|(ifindex, (_, up))| (*ifindex, *up))
        };
        let (link, ifindex) = match find(interest.interface) {
            Some((ifindex, true)) => (Link::Up, Some(ifindex)),
            Some((ifindex, false)) => (Link::Down, Some(ifindex)),
            None => (Link::Gone, None),
        };
        let held = find(interest.vip_interface).is_some_and(|(ifindex, _)| {
            self.addresses.iter().any(|a| a.ifindex == ifindex && a.local == interest.vip && a.usable)
        });
        (if held { Vip::Present } else { Vip::Absent }, link, ifindex)
    }
}

/// A dump that is read part by part while the kernel goes on.
struct Running {
    want: Want,
    parts: usize,
    dump: Dump,
}

impl Running {
    fn part(&mut self, kernel: &Kernel) {
        if let Some(wanted) = self.want.names.get(self.parts) {
            for (ifindex, (n, up)) in &kernel.links {
                if name(NAMES[*n]) == *wanted {
                    self.dump.links.push(state(*ifindex, NAMES[*n], *up));
                }
            }
        } else if self.parts == self.want.names.len() {
            self.dump.addresses = kernel.addresses.clone();
            self.dump.addresses.retain(|a| self.want.vips.contains(&a.local));
        }
        self.parts += 1;
    }
}

/// What was told of a router: VIP, link and index.
type LastTold = (Option<Vip>, Option<(Link, Option<u32>)>);

#[derive(Default)]
struct Seen {
    told: BTreeMap<RouterId, LastTold>,
}

impl Seen {
    /// Applies and checks that nothing is told that was told already.
    fn take(&mut self, changes: &mut Vec<Change>) {
        for change in changes.drain(..) {
            match change {
                Change::Found(router) => {
                    assert!(self.told.insert(router, (None, None)).is_none());
                }
                Change::Vip(router, vip) => {
                    let told = self.told.get_mut(&router).expect("found first");
                    assert_ne!(told.0.replace(vip), Some(vip));
                }
                Change::Link(router, link, ifindex) => {
                    let told = self.told.get_mut(&router).expect("found first");
                    assert_ne!(told.1.replace((link, ifindex)), Some((link, ifindex)));
                }
                Change::Missing(_) => panic!("never lost here"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn dumps_and_notifications_in_any_order_end_in_the_truth(
        acts in proptest::collection::vec(act(), 0..80),
    ) {
        let interests = [
            Interest { router: router(1), interface: name("ha-0"), vip: vip(1), vip_interface: name("ha-0") },
            Interest { router: router(2), interface: name("ha-0"), vip: vip(2), vip_interface: name("ha-1") },
        ];
        let mut kernel = Kernel::default();
        let mut next_index = 1;
        let mut table = Namespace::default();
        for interest in interests {
            table.watch(interest);
        }
        let mut read = 0;
        let mut running: Option<Running> = None;
        let (mut changes, mut seen) = (Vec::new(), Seen::default());
        let finish = Act::EndDump;
        let begin = Act::BeginDump;
        // At the end: what runs is finished, one dump has run, everything is read.
        for act in acts.iter().chain([&finish, &begin, &finish]) {
            match act {
                Act::Read(n) => {
                    for message in kernel.sent.iter().skip(read).take(*n) {
                        prop_assert!(table.message(*message, &mut changes));
                    }
                    read = (read + n).min(kernel.sent.len());
                }
                Act::BeginDump if running.is_none() => {
                    running = Some(Running { want: table.begin_dump(), parts: 0, dump: Dump::default() });
                }
                Act::DumpPart => if let Some(running) = &mut running {
                    running.part(&kernel);
                },
                Act::EndDump => if let Some(mut ended) = running.take() {
                    while ended.parts <= ended.want.names.len() {
                        ended.part(&kernel);
                    }
                    // As the watcher does: all that was sent before the end is read first.
                    for message in &kernel.sent[read..] {
                        prop_assert!(table.message(*message, &mut changes));
                    }
                    read = kernel.sent.len();
                    table.end_dump(ended.dump, &mut changes);
                },
                Act::FailDump => if running.take().is_some() {
                    table.abort_dump(&mut changes);
                },
                act => kernel.act(act, &mut next_index),
            }
            seen.take(&mut changes);
        }
        for interest in interests {
            let (vip, link, ifindex) = kernel.truth(&interest);
            let told = seen.told.get(&interest.router);
            prop_assert_eq!(told, Some(&(Some(vip), Some((link, ifindex)))));
        }
    }
}
