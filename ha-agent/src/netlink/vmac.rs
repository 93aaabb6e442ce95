//! Which macvlan is an instance's VMAC: by what the kernel shows of it, not by a name, which keepalived
//! changes where it is taken. Pure.
//!
//! It has the virtual router's MAC (RFC 9568 section 7.3), and its lower device is the instance's interface;
//! where that is a macvlan itself, the kernel puts the VMAC on that one's lower device.

use std::collections::BTreeMap;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkHeader, LinkInfo, LinkMessage};

use super::decode::IfName;
use crate::core::model::RouterId;

/// linux/rtnetlink.h: message types.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
/// linux/if_link.h: attribute types.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

/// A virtual router's MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vmac {
    /// Of IPv6 adverts.
    pub v6: bool,
    /// Its virtual router identifier.
    pub vrid: u8,
}

impl Vmac {
    fn of(mac: &[u8]) -> Option<Self> {
        match *mac {
            [0, 0, 0x5e, 0, 1, vrid] => Some(Self { v6: false, vrid }),
            [0, 0, 0x5e, 0, 2, vrid] => Some(Self { v6: true, vrid }),
            _ => None,
        }
    }
}

/// A macvlan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Macvlan {
    ifindex: u32,
    name: IfName,
    /// The device below it.
    lower: u32,
    vmac: Option<Vmac>,
}

/// Where an instance's VMAC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: IfName,
    /// The device below it, where that is not the instance's interface.
    pub(super) through: Option<u32>,
}

/// A macvlan from a request's answer.
pub(super) fn of(message: &LinkMessage) -> Option<Macvlan> {
    let (mut name, mut lower, mut vmac, mut macvlan) = (None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = IfName::new(text),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::Address(mac) => vmac = Vmac::of(mac),
            LinkAttribute::LinkInfo(infos) => {
                macvlan = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::MacVlan)));
            }
            _ => {}
        }
    }
    macvlan.then_some(Macvlan { ifindex: message.header.index, name: name?, lower: lower?, vmac })
}

/// The links that a datagram tells of, each with the macvlan that it is now; none where it is none, or gone.
pub(super) fn links(mut rest: &[u8]) -> Vec<(u32, Option<Macvlan>)> {
    let mut found = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        let length = buffer.length() as usize;
        let told = match buffer.message_type() {
            RTM_NEWLINK => Some(macvlan(buffer.payload())),
            RTM_DELLINK => Some(None),
            _ => None,
        };
        if let (Some(told), Ok(header)) = (told, LinkHeader::parse(buffer.payload())) {
            found.push((header.index, told));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

fn macvlan(payload: &[u8]) -> Option<Macvlan> {
    let header = LinkHeader::parse(payload).ok()?;
    let (mut name, mut lower, mut vmac, mut macvlan) = (None, None, None, false);
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_IFNAME => name = std::str::from_utf8(value).ok().and_then(|t| IfName::new(t.trim_end_matches('\0'))),
            IFLA_LINK => lower = value.try_into().ok().map(u32::from_ne_bytes),
            IFLA_ADDRESS => vmac = Vmac::of(value),
            IFLA_LINKINFO => {
                macvlan = NlasIterator::new(value)
                    .flatten()
                    .any(|info| info.kind() == IFLA_INFO_KIND && info.value().starts_with(b"macvlan\0"));
            }
            _ => {}
        }
    }
    macvlan.then_some(Macvlan { ifindex: header.index, name: name?, lower: lower?, vmac })
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    interface: IfName,
    vmac: Vmac,
    told: Option<Found>,
}

/// The macvlans of a namespace, as far as an instance there has a VMAC.
#[derive(Debug, Default)]
pub(super) struct Vmacs {
    wanted: BTreeMap<RouterId, Wanted>,
    macvlans: Vec<Macvlan>,
    /// What is told while they are read.
    backlog: Option<Vec<(u32, Option<Macvlan>)>>,
}

impl Vmacs {
    pub(super) fn watch(&mut self, router: RouterId, interface: IfName, vmac: Vmac) {
        self.wanted.insert(router, Wanted { interface, vmac, told: None });
    }

    pub(super) fn unwatch(&mut self, router: RouterId) {
        self.wanted.remove(&router);
        if self.wanted.is_empty() {
            self.lose();
        }
    }

    /// Whether any instance has one.
    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// From now on what is told is kept for the end of the reading.
    pub(super) fn begin(&mut self) {
        self.backlog = Some(Vec::new());
    }

    /// They were read, or that failed.
    pub(super) fn end(&mut self, read: Option<Vec<Macvlan>>) {
        let backlog = self.backlog.take().unwrap_or_default();
        if let Some(read) = read {
            self.macvlans = read;
        }
        for (ifindex, macvlan) in backlog {
            self.take(ifindex, macvlan);
        }
    }

    /// Nothing is known any more.
    pub(super) fn lose(&mut self) {
        (self.macvlans, self.backlog) = (Vec::new(), None);
    }

    /// A link as it is now.
    pub(super) fn take(&mut self, ifindex: u32, macvlan: Option<Macvlan>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.push((ifindex, macvlan));
            return;
        }
        self.macvlans.retain(|known| known.ifindex != ifindex);
        self.macvlans.extend(macvlan);
    }

    /// What is new of instances' VMACs; `index_of` knows their interfaces. One that goes is no news: it comes
    /// back under its name, or another.
    pub(super) fn news(&mut self, index_of: impl Fn(IfName) -> Option<u32>) -> Vec<(RouterId, Found)> {
        let mut news = Vec::new();
        for (router, wanted) in &mut self.wanted {
            let Some(own) = index_of(wanted.interface) else { continue };
            let below = self.macvlans.iter().find(|macvlan| macvlan.ifindex == own).map(|macvlan| macvlan.lower);
            let fits = |macvlan: &&Macvlan| {
                macvlan.vmac == Some(wanted.vmac) && (macvlan.lower == own || Some(macvlan.lower) == below)
            };
            // Of two the newer one: the other is about to go.
            let found = self.macvlans.iter().filter(fits).max_by_key(|macvlan| macvlan.ifindex);
            let found = found.map(|macvlan| Found {
                name: macvlan.name,
                through: Some(macvlan.lower).filter(|lower| *lower != own),
            });
            if let Some(found) = found
                && wanted.told.replace(found) != Some(found)
            {
                news.push((*router, found));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests;
