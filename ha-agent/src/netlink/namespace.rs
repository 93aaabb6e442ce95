//! What is known of one namespace: notifications and dumps in, changes out. Pure, no I/O.
//!
//! Kept are only links that a watch names and addresses that are some watch's VIP, so that a
//! namespace with thousands of floating addresses costs no more than one without.
//!
//! A dump overlaps with notifications. Those that arrive between its begin and its end are kept in
//! order and applied on top of its result: the last notification of an address or a link, if there
//! is one, is newer than the dump or says the same as it. What lies in between is never told.

use std::net::IpAddr;

use super::decode::{Address, IfName, Message};
use crate::core::model::{Link, RouterId, Vip};

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
    /// Adds a watch, or replaces the router's. The same one again changes nothing.
    pub(super) fn watch(&mut self, interest: Interest) {
        if self.watches.iter().any(|w| w.interest == interest) {
            return;
        }
        self.unwatch(interest.router);
        self.watches.push(Watched { interest, told: Told::Nothing, covered: false, asked: false });
    }

    /// Forgets a router and what only it needed.
    pub(super) fn unwatch(&mut self, router: RouterId) {
        self.watches.retain(|w| w.interest.router != router);
        let watches = &self.watches;
        self.links.retain(|link| {
            watches.iter().any(|w| w.interest.interface == link.name || w.interest.vip_interface == link.name)
        });
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
        self.watches.iter().any(|w| !w.covered && !w.asked)
    }

    /// From now on notifications are kept for the end of the dump. Call before asking for it.
    pub(super) fn begin_dump(&mut self) -> Want {
        self.backlog = Some(Vec::new());
        let mut want = Want::default();
        for watched in &mut self.watches {
            watched.asked = true;
            let interest = &watched.interest;
            want.names.extend([interest.interface, interest.vip_interface]);
            want.vips.push(interest.vip);
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
        self.addresses = dump.addresses;
        self.links.shrink_to_fit();
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
        }
        for message in backlog {
            self.apply(message);
        }
        self.tell(|_| true, out);
    }

    /// A notification. False: too many came during a dump, which must be aborted and begun again.
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
                if relevant(&self.watches, &message) {
                    self.apply(message);
                    self.tell(|i| i.vip == address.local, out);
                }
                return true;
            }
            Message::Link { ifindex, name, .. } => (ifindex, Some(name)),
            Message::LinkGone { ifindex } => (ifindex, None),
            Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => return true,
        };
        let before = self.links.iter().find(|l| l.ifindex == ifindex).map(|l| l.name);
        self.apply(message);
        let concerned = |own: IfName| Some(own) == before || Some(own) == name;
        if before.is_some() || name.is_some() {
            self.tell(|i| concerned(i.interface) || concerned(i.vip_interface), out);
        }
        true
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

    fn apply(&mut self, message: Message) {
        match message {
            Message::AddressSet(address) => {
                if !self.watches.iter().any(|w| w.interest.vip == address.local) {
                    return;
                }
                match self.addresses.iter_mut().find(|a| same(a, &address)) {
                    Some(known) => *known = address,
                    None => self.addresses.push(address),
                }
            }
            Message::AddressGone(address) => self.addresses.retain(|a| !same(a, &address)),
            Message::Link { ifindex, name, up } => {
                // A link has one name and a name one link; the newer message is right about both.
                self.links.retain(|l| l.ifindex != ifindex && l.name != name);
                if self.watches.iter().any(|w| w.interest.interface == name || w.interest.vip_interface == name) {
                    self.links.push(LinkState { name, ifindex, up });
                }
            }
            Message::LinkGone { ifindex } => {
                self.links.retain(|l| l.ifindex != ifindex);
                self.addresses.retain(|a| a.ifindex != ifindex);
            }
            Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => {}
        }
    }

    /// Tells what has changed for the covered watches that `concerned` picks.
    fn tell(&mut self, concerned: impl Fn(&Interest) -> bool, out: &mut Vec<Change>) {
        for watched in &mut self.watches {
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

/// The kernel tells addresses of an interface apart by these.
fn same(a: &Address, b: &Address) -> bool {
    (a.ifindex, a.local, a.peer, a.prefix) == (b.ifindex, b.local, b.peer, b.prefix)
}

/// Whether a dump's result may need it. Links always: which index carries a watched name is not
/// known before the dump ends.
fn relevant(watches: &[Watched], message: &Message) -> bool {
    match message {
        Message::AddressSet(address) | Message::AddressGone(address) => {
            watches.iter().any(|w| w.interest.vip == address.local)
        }
        Message::Link { .. } | Message::LinkGone { .. } => true,
        Message::NamespaceNamed { .. } | Message::NamespaceGone { .. } => false,
    }
}

#[cfg(test)]
mod tests;
