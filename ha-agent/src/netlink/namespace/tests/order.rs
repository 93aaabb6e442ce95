//! The truth is reached, whatever the order of dumps and notifications.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

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

    /// How many of [`further`] are set.
    fn further(&self, interest: &Interest) -> usize {
        let places = [(1, interest.vip_interface), (2, name("ha-1")), (3, name("other"))];
        let is_set = |(n, device): &(u8, IfName)| {
            let link = self.links.iter().find(|(_, (at, _))| name(NAMES[*at]) == *device).map(|(ifindex, _)| *ifindex);
            self.addresses.iter().any(|a| Some(a.ifindex) == link && a.local == vip(*n) && a.usable)
        };
        places.iter().filter(|place| is_set(place)).count()
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

/// Address 1 where the VIP is, 2 and 3 on devices.
fn further() -> FurtherAddresses {
    super::further(&[(1, None), (2, Some("ha-1")), (3, Some("other"))])
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
    /// Whose further addresses have changed since they were asked for.
    further: Vec<RouterId>,
    /// How many are set.
    set: BTreeMap<RouterId, usize>,
}

impl Seen {
    fn ask(&mut self, table: &mut Namespace) {
        for router in self.further.drain(..) {
            if let Some(further) = table.further(router) {
                self.set.insert(router, further.set);
            }
        }
    }

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
                Change::Further(router) => self.further.push(router),
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
            table.watch(interest, further());
        }
        let mut read = 0;
        let mut running: Option<Running> = None;
        let (mut changes, mut seen) = (Vec::new(), Seen::default());
        let finish = Act::EndDump;
        let begin = Act::BeginDump;
        let all = Act::Read(usize::MAX);
        // At the end: what runs is finished, one dump has run, everything is read; and again, for what that left open.
        for act in acts.iter().chain([&finish, &begin, &finish, &all, &begin, &finish]) {
            match act {
                Act::Read(n) => {
                    for message in kernel.sent.iter().skip(read).take(*n) {
                        // What is left open is dumped some time.
                        prop_assert!(table.message(*message, &mut changes) || table.needs_dump());
                    }
                    read = read.saturating_add(*n).min(kernel.sent.len());
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
                        prop_assert!(table.message(*message, &mut changes) || table.needs_dump());
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
            seen.ask(&mut table);
        }
        for interest in interests {
            let (vip, link, ifindex) = kernel.truth(&interest);
            let told = seen.told.get(&interest.router);
            prop_assert_eq!(told, Some(&(Some(vip), Some((link, ifindex)))));
            prop_assert_eq!(seen.set.get(&interest.router), Some(&kernel.further(&interest)));
        }
    }
}
