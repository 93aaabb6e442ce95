//! The virtual addresses of an instance beside the first one, on which no verdict rests.
//!
//! Neutron gives a router thousands of them, and several parts know a router: so they are one table,
//! shared by all, of 20 bytes an address; who watches them adds one byte each.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use crate::netlink::decode::IfName;

#[cfg(test)]
mod tests;

/// Sorted by address, so that one is found among thousands at once. Clones share the table.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FurtherAddresses(Option<Arc<Table>>);

#[derive(Debug, PartialEq, Eq)]
struct Table {
    devices: Box<[IfName]>,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    address: IpAddr,
    /// Counted from 1 in `devices`; 0: where the VIP is.
    device: u16,
}

/// What one address costs in the table.
pub const BYTES: usize = size_of::<Entry>();

impl FurtherAddresses {
    /// Each address with its device; none: the interface that holds the VIP. What stands there twice is
    /// one. What is on a device beyond the 65,535th is not watched.
    pub fn new(given: impl IntoIterator<Item = (IpAddr, Option<IfName>)>) -> Self {
        let given: Vec<(IpAddr, Option<IfName>)> = given.into_iter().collect();
        let mut devices: Vec<IfName> = given.iter().filter_map(|(_, device)| *device).collect();
        devices.sort_unstable();
        devices.dedup();
        let number = |name: &IfName| u16::try_from(devices.binary_search(name).ok()? + 1).ok();
        let entry = |(address, device): (IpAddr, Option<IfName>)| {
            let device = device.as_ref().map_or(Some(0), number)?;
            Some(Entry { address, device })
        };
        let mut entries: Vec<Entry> = given.into_iter().filter_map(entry).collect();
        entries.sort_unstable();
        entries.dedup();
        if entries.is_empty() {
            return Self(None);
        }
        Self(Some(Arc::new(Table { devices: devices.into(), entries: entries.into() })))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The devices that are named, each once.
    pub fn devices(&self) -> &[IfName] {
        self.0.as_ref().map_or(&[], |table| &table.devices)
    }

    /// Every address, in order; the same one on two devices stands there twice.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.entries().iter().map(|entry| entry.address)
    }

    /// Where an address stands.
    pub fn find(&self, address: IpAddr) -> Range<usize> {
        let entries = self.entries();
        let begin = entries.partition_point(|entry| entry.address < address);
        let same = entries.get(begin..).unwrap_or_default().iter().take_while(|entry| entry.address == address);
        begin..begin + same.count()
    }

    /// The device of the address that stands there; none: the interface that holds the VIP.
    pub fn device(&self, at: usize) -> Option<IfName> {
        let entry = self.entries().get(at)?;
        self.devices().get(usize::from(entry.device).checked_sub(1)?).copied()
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |table| &table.entries)
    }
}

/// How many, not all of them: a router's settings are logged.
impl std::fmt::Debug for FurtherAddresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FurtherAddresses({})", self.len())
    }
}
