//! What is known of one namespace: notifications and dumps in, changes out. Pure, no I/O.
//!
//! Kept are only links that a watch names and addresses that are some watch's VIP; of its further addresses, of
//! which there may be thousands, one byte each (`further`).
//!
//! A dump overlaps with notifications. Those that arrive between its begin and its end are kept in
//! order and applied on top of its result: the last notification of an address or a link, if there
//! is one, is newer than the dump or says the same as it. What lies in between is never told.

mod further;

use std::net::IpAddr;

use self::further::Marks;
use super::decode::{Address, IfName, Message};
use crate::addresses::FurtherAddresses;
use crate::core::model::{Further, Link, RouterId, Vip};

/// Notifications kept during a dump; beyond it the dump has to begin again.
const BACKLOG: usize = 4096;

/// What the table must know of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) router: RouterId,
    pub(super) interface: IfName,
    pub(super) vip: IpAddr,
    pub(super) vip_interface: IfName,
}

/// What a dump must contain. No name and no address is in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) names: Vec<IfName>,
    pub(super) vips: Vec<IpAddr>,
}

/// A link that a watch names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) name: IfName,
    pub(super) ifindex: u32,
    pub(super) up: bool,
}

/// The result of a dump: what is wanted and exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dump {
    pub(super) links: Vec<LinkState>,
    pub(super) addresses: Vec<Address>,
}

/// Something to tell about a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Missing(RouterId),
    Found(RouterId),
    Vip(RouterId, Vip),
    Link(RouterId, Link, Option<u32>),
    /// Its further addresses: [`Namespace::further`] says how they are.
    Further(RouterId),
}

/// What has been told about a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Missing,
    State(Vip, Link, Option<u32>),
}

#[derive(Debug)]
struct Watched {
    interest: Interest,
    told: Told,
    /// A dump that wanted it has ended; before that nothing can be said of it.
    covered: bool,
    /// The running dump wants it.
    asked: bool,
    further: Marks,
}

impl Watched {
    fn names(&self, name: IfName) -> bool {
        let Interest { interface, vip_interface, .. } = &self.interest;
        [*interface, *vip_interface].contains(&name) || self.further.list().devices().contains(&name)
    }
}

#[derive(Debug, Default)]
pub(super) struct Namespace {
    watches: Vec<Watched>,
    links: Vec<LinkState>,
    addresses: Vec<Address>,
    /// Some while a dump runs.
    backlog: Option<Vec<Message>>,
}

impl Namespace {
    /// Adds a watch, or replaces the router's. The same one again changes nothing; with other further
    /// addresses what is known of the rest goes on.
    pub(super) fn watch(&mut self, interest: Interest, further: FurtherAddresses) {
        if let Some(known) = self.watches.iter_mut().find(|w| w.interest == interest) {
            if *known.further.list() != further {
                known.further.replace(further);
            }
            return;
        }
        self.unwatch(interest.router);
        let further = Marks::new(further);
        self.watches.push(Watched { interest, told: Told::Nothing, covered: false, asked: false, further });
    }

    /// What there is to tell of a router's further addresses.
    pub(super) fn further(&mut self, router: RouterId) -> Option<Further> {
        self.watches.iter_mut().find(|w| w.interest.router == router)?.further.tell()
    }

    /// Forgets a router and what only it needed.
    pub(super) fn unwatch(&mut self, router: RouterId) {
        self.watches.retain(|w| w.interest.router != router);
        let watches = &self.watches;
        self.links.retain(|link| watches.iter().any(|w| w.names(link.name)));
        self.addresses.retain(|a| watches.iter().any(|w| w.interest.vip == a.local));
    }

    /// The index of a link that a watch names.
    pub(super) fn index_of(&self, name: IfName) -> Option<u32> {
        self.links.iter().find(|link| link.name == name).map(|link| link.ifindex)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Whether a watch is not covered by a dump that has ended or runs.
    pub(super) fn needs_dump(&self) -> bool {
        self.watches.iter().any(|w| (!w.covered && !w.asked) || w.further.needs_dump())
    }

    /// From now on notifications are kept for the end of the dump. Call before asking for it.
    pub(super) fn begin_dump(&mut self) -> Want {
        self.backlog = Some(Vec::new());
        let mut want = Want::default();
        for watched in &mut self.watches {
            watched.asked = true;
            watched.further.begin_dump();
            let interest = &watched.interest;
            want.names.extend([interest.interface, interest.vip_interface]);
            want.names.extend(watched.further.list().devices());
            want.vips.push(interest.vip);
            want.vips.extend(watched.further.list().iter());
        }
        want.names.sort_unstable();
        want.names.dedup();
        want.vips.sort_unstable();
        want.vips.dedup();
        want
    }

    /// The dump's result is in, and so is every notification that was sent before it ended.
    pub(super) fn end_dump(&mut self, dump: Dump, out: &mut Vec<Change>) {
        let Some(backlog) = self.backlog.take() else {
            return;
        };
        self.links = dump.links;
        self.links.shrink_to_fit();
        self.addresses = Vec::new();
        for watched in &mut self.watches {
            watched.further.dumped();
        }
        // What becomes uncertain by what follows is dumped again, which the caller is told by `needs_dump`.
        for address in dump.addresses.into_iter().filter(|address| address.usable) {
            self.apply(Message::AddressSet(address));
        }
        self.addresses.shrink_to_fit();
        for message in backlog {
            self.apply(message);
        }
        for watched in &mut self.watches {
            watched.covered |= watched.asked;
            watched.asked = false;
        }
        self.tell(|_| true, out);
    }

    /// The dump failed. What was known before it, if anything, goes on from there; the caller dumps
    /// again.
    pub(super) fn abort_dump(&mut self, out: &mut Vec<Change>) {
        let Some(backlog) = self.backlog.take() else {
            return;
        };
        for watched in &mut self.watches {
            watched.asked = false;
            watched.further.dump_failed();
        }
        for message in backlog {
            self.apply(message);
        }
        self.tell(|_| true, out);
    }

    /// A notification. False: a dump must be begun, or begun again: too many came during one, or only one
    /// can tell what this leaves.
    #[must_use]
    pub(super) fn message(&mut self, message: Message, out: &mut Vec<Change>) -> bool {
        if let Some(backlog) = &mut self.backlog {
            if relevant(&self.watches, &message) {
                if backlog.len() == BACKLOG {
                    return false;
                }
                backlog.push(message);
            }
            return true;
        }
        // The names that a link had and has decide which watches it concerns.
        let (ifindex, name) = match message {
            Message::AddressSet(address) | Message::AddressGone(address) => {
                if !relevant(&self.watches, &message) {
                    return true;
                }
                let sure = self.apply(message);
                self.tell(|i| i.vip == address.local, out);
                return sure;
            }
            Message::Link { ifindex, name, .. } => (ifindex, Some(name)),
            Message::LinkGone { ifindex } => (ifindex, None),
            Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => return true,
        };
        let before = self.links.iter().find(|l| l.ifindex == ifindex).map(|l| l.name);
        let sure = self.apply(message);
        let concerned = |own: IfName| Some(own) == before || Some(own) == name;
        if before.is_some() || name.is_some() {
            self.tell(|i| concerned(i.interface) || concerned(i.vip_interface), out);
        }
        sure
    }

    /// The namespace, or its name, is gone: nothing is known any more.
    pub(super) fn missing(&mut self, out: &mut Vec<Change>) {
        self.links = Vec::new();
        self.addresses = Vec::new();
        self.backlog = None;
        for watched in &mut self.watches {
            let router = watched.interest.router;
            watched.covered = false;
            watched.asked = false;
            watched.further.lose();
            if watched.told != Told::Missing {
                out.push(Change::Missing(router));
            }
            if let Told::State(vip, link, _) = watched.told {
                if vip != Vip::Unknown {
                    out.push(Change::Vip(router, Vip::Unknown));
                }
                if link != Link::Unknown {
                    out.push(Change::Link(router, Link::Unknown, None));
                }
            }
            watched.told = Told::Missing;
        }
    }

    /// False: what this leaves only a dump can tell.
    fn apply(&mut self, message: Message) -> bool {
        let mut sure = true;
        match message {
            Message::AddressSet(address) => {
                for watched in &mut self.watches {
                    let at = watched.interest.vip_interface;
                    let is_on = |device: Option<IfName>| is_on(&self.links, device.unwrap_or(at), address.ifindex);
                    sure &= watched.further.set(&address, is_on);
                }
                if !self.watches.iter().any(|w| w.interest.vip == address.local) {
                    return sure;
                }
                match self.addresses.iter_mut().find(|a| same(a, &address)) {
                    Some(known) => *known = address,
                    None => self.addresses.push(address),
                }
            }
            Message::AddressGone(address) => {
                self.addresses.retain(|a| !same(a, &address));
                for watched in &mut self.watches {
                    let at = watched.interest.vip_interface;
                    let is_on = |device: Option<IfName>| is_on(&self.links, device.unwrap_or(at), address.ifindex);
                    sure &= watched.further.gone(&address, is_on);
                }
            }
            Message::Link { ifindex, name, up } => {
                let known = self.links.iter().any(|l| l.ifindex == ifindex && l.name == name);
                if !known {
                    let before = self.links.iter().find(|l| l.ifindex == ifindex).map(|l| l.name);
                    sure &= self.moved([Some(name), before].into_iter().flatten());
                }
                // A link has one name and a name one link; the newer message is right about both.
                self.links.retain(|l| l.ifindex != ifindex && l.name != name);
                if self.watches.iter().any(|w| w.names(name)) {
                    self.links.push(LinkState { name, ifindex, up });
                }
            }
            Message::LinkGone { ifindex } => {
                let before = self.links.iter().find(|l| l.ifindex == ifindex).map(|l| l.name);
                sure &= self.moved(before.into_iter());
                self.links.retain(|l| l.ifindex != ifindex);
                self.addresses.retain(|a| a.ifindex != ifindex);
            }
            Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => {}
        }
        sure
    }

    /// Other links have these names now, or none has. False: further addresses are on one of them.
    fn moved(&mut self, names: impl Iterator<Item = IfName>) -> bool {
        let mut sure = true;
        for name in names {
            for watched in &mut self.watches {
                sure &= watched.further.moved(Some(name));
                if watched.interest.vip_interface == name {
                    sure &= watched.further.moved(None);
                }
            }
        }
        sure
    }

    /// Tells what has changed for the covered watches that `concerned` picks.
    fn tell(&mut self, concerned: impl Fn(&Interest) -> bool, out: &mut Vec<Change>) {
        for watched in &mut self.watches {
            if watched.further.has_news() {
                out.push(Change::Further(watched.interest.router));
            }
            if !watched.covered || !concerned(&watched.interest) {
                continue;
            }
            let interest = &watched.interest;
            let find = |name: IfName| self.links.iter().find(|l| l.name == name);
            let (link, ifindex) = match find(interest.interface) {
                Some(link) if link.up => (Link::Up, Some(link.ifindex)),
                Some(link) => (Link::Down, Some(link.ifindex)),
                None => (Link::Gone, None),
            };
            let held = find(interest.vip_interface).is_some_and(|link| {
                self.addresses.iter().any(|a| a.ifindex == link.ifindex && a.local == interest.vip && a.usable)
            });
            let vip = if held { Vip::Present } else { Vip::Absent };
            let (told_vip, told_link) = match watched.told {
                Told::State(vip, link, ifindex) => (Some(vip), Some((link, ifindex))),
                Told::Nothing | Told::Missing => {
                    out.push(Change::Found(interest.router));
                    (None, None)
                }
            };
            if told_link != Some((link, ifindex)) {
                out.push(Change::Link(interest.router, link, ifindex));
            }
            if told_vip != Some(vip) {
                out.push(Change::Vip(interest.router, vip));
            }
            watched.told = Told::State(vip, link, ifindex);
        }
    }
}

/// Whether the link of that name has that index.
fn is_on(links: &[LinkState], name: IfName, ifindex: u32) -> bool {
    links.iter().any(|link| link.ifindex == ifindex && link.name == name)
}

/// The kernel tells addresses of an interface apart by these.
fn same(a: &Address, b: &Address) -> bool {
    (a.ifindex, a.local, a.peer, a.prefix) == (b.ifindex, b.local, b.peer, b.prefix)
}

/// Whether a dump's result may need it. Links always: which index carries a watched name is not
/// known before the dump ends.
fn relevant(watches: &[Watched], message: &Message) -> bool {
    match message {
        Message::AddressSet(address) | Message::AddressGone(address) => {
            watches.iter().any(|w| w.interest.vip == address.local || !w.further.list().find(address.local).is_empty())
        }
        Message::Link { .. } | Message::LinkGone { .. } => true,
        Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => false,
    }
}

#[cfg(test)]
mod tests;
