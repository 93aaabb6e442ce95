//! Which of an instance's further addresses are set: one byte for each.

use std::net::IpAddr;

use crate::addresses::FurtherAddresses;
use crate::core::model::{FURTHER_LISTED, Further};
use crate::netlink::decode::{Address, IfName};

/// What is known of one address. Else it is its prefix length + 1.
const NOT_SET: u8 = 0;
/// It is set with several prefixes.
const SEVERAL: u8 = u8::MAX;

#[derive(Debug)]
pub(super) struct Marks {
    list: FurtherAddresses,
    marks: Box<[u8]>,
    /// A dump that wanted them has ended; before that nothing can be said.
    covered: bool,
    /// The running dump wants them.
    asked: bool,
    /// Changed since it was told.
    news: bool,
    told: bool,
}

impl Marks {
    pub(super) fn new(list: FurtherAddresses) -> Self {
        let marks = vec![NOT_SET; list.len()].into();
        Self { covered: list.is_empty(), list, marks, asked: false, news: false, told: false }
    }

    pub(super) fn list(&self) -> &FurtherAddresses {
        &self.list
    }

    /// Other addresses of the same router; what was told of it goes on.
    pub(super) fn replace(&mut self, list: FurtherAddresses) {
        let told = self.told;
        *self = Self { told, news: told, ..Self::new(list) };
    }

    pub(super) fn needs_dump(&self) -> bool {
        !self.covered && !self.asked
    }

    pub(super) fn begin_dump(&mut self) {
        self.asked = true;
    }

    /// The dump's addresses come next, by [`Marks::set`].
    pub(super) fn dumped(&mut self) {
        self.marks.fill(NOT_SET);
        let all = std::mem::take(&mut self.asked);
        self.news |= all && !self.list.is_empty();
        self.covered |= all;
    }

    pub(super) fn dump_failed(&mut self) {
        self.asked = false;
    }

    /// Nothing is known any more.
    pub(super) fn lose(&mut self) {
        self.marks.fill(NOT_SET);
        self.covered = self.list.is_empty();
        self.asked = false;
    }

    /// An address is set, or is no longer usable; `is_on`: whether a device has that index. False: as with
    /// [`Marks::gone`].
    #[must_use]
    pub(super) fn set(&mut self, address: &Address, is_on: impl Fn(Option<IfName>) -> bool) -> bool {
        if !address.usable {
            return self.gone(address, is_on);
        }
        let new = address.prefix.min(128) + 1;
        for at in self.list.find(address.local) {
            if !is_on(self.list.device(at)) {
                continue;
            }
            if let Some(mark) = self.marks.get_mut(at) {
                self.news |= *mark == NOT_SET;
                *mark = if *mark == NOT_SET || *mark == new { new } else { SEVERAL };
            }
        }
        true
    }

    /// One is gone. False: the address may be set with another prefix still, which only a dump can tell.
    #[must_use]
    pub(super) fn gone(&mut self, address: &Address, is_on: impl Fn(Option<IfName>) -> bool) -> bool {
        let mut sure = true;
        for at in self.list.find(address.local) {
            if !is_on(self.list.device(at)) {
                continue;
            }
            match self.marks.get_mut(at) {
                Some(mark) if *mark == SEVERAL => sure = false,
                Some(mark) if *mark == address.prefix.min(128) + 1 => {
                    *mark = NOT_SET;
                    self.news = true;
                }
                _ => {}
            }
        }
        self.covered &= sure;
        sure
    }

    /// Another link has the name of a device, or none: what it holds only a dump can tell. False: it
    /// concerns these addresses.
    #[must_use]
    pub(super) fn moved(&mut self, device: Option<IfName>) -> bool {
        let concerns = match device {
            Some(name) => self.list.devices().contains(&name),
            None => (0..self.list.len()).any(|at| self.list.device(at).is_none()),
        };
        self.covered &= !concerns;
        !concerns
    }

    /// What the marks cost.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.marks)
    }

    /// Whether there is something to tell.
    pub(super) fn has_news(&self) -> bool {
        self.news && self.covered
    }

    /// What there is to tell, if anything.
    pub(super) fn tell(&mut self) -> Option<Further> {
        if !self.has_news() {
            return None;
        }
        (self.news, self.told) = (false, true);
        let some = |set: bool| {
            let of = |(address, mark): (IpAddr, &u8)| ((*mark != NOT_SET) == set).then_some(address);
            self.list.iter().zip(&self.marks).filter_map(of).take(FURTHER_LISTED).collect()
        };
        Some(Further {
            of: self.list.len(),
            set: self.marks.iter().filter(|mark| **mark != NOT_SET).count(),
            some_set: some(true),
            some_missing: some(false),
        })
    }
}
