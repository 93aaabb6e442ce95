//! `virtual_ipaddress` and `virtual_ipaddress_excluded`: keepalived's `alloc_vrrp_vip`, `alloc_vrrp_evip` and
//! `alloc_ipaddress`; and where each address lives, which `vrrp_complete_instance` decides.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use super::definitions::is_random;
use super::instance::is_interface;
use super::numbers::{Number, whole};
use super::statements::{Statement, quoted};
use super::vmac::Names;
use super::{Effect, Trouble};
use crate::advert_rules::Release;

/// An advert's count of addresses is one byte; an MTU of 1280 holds as many of IPv4.
const MOST: usize = 255;
/// As many of IPv6 fit where the MTU is 1280, the least that IPv6 has, by keepalived's own reckoning:
/// 14 bytes for Ethernet, 40 for IPv6 and 8 for VRRP are none for addresses.
const MOST_V6_ANYWHERE: usize = (1280 - 14 - 40 - 8) / 16;

/// An address that an instance adds and takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length; without one the whole address.
    pub prefix: u8,
    /// The interface that holds it.
    pub interface: String,
    /// Of `virtual_ipaddress_excluded`: adverts do not list it.
    pub excluded: bool,
    /// keepalived makes that interface; its name may be another one where this one is taken.
    pub made: bool,
}

/// The addresses of an instance.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// `virtual_ipaddress`, in order.
    listed: Vec<Address>,
    /// `virtual_ipaddress_excluded`, in order.
    excluded: Vec<Address>,
}

/// A line of it.
#[derive(Debug)]
struct Address {
    address: IpAddr,
    prefix: u8,
    /// `dev`
    device: Option<String>,
    /// `use_vmac` behind the address.
    vmac: bool,
}

/// What else decides where an address lives.
pub(super) struct Home<'a> {
    pub(super) interface: &'a str,
    pub(super) vrid: u8,
    pub(super) v6: bool,
    /// The instance's VMAC.
    pub(super) vmac: Option<&'a str>,
    /// `use_vmac_addr`
    pub(super) vmac_for_addresses: bool,
}

impl Addresses {
    /// Takes a line of `virtual_ipaddress`; `v6` is the instance's family, which the first address of any kind decides.
    pub(super) fn list(
        &mut self,
        line: &Statement,
        v6: &mut Option<bool>,
        release: Release,
        warnings: &mut Vec<Trouble>,
    ) -> Result<(), Trouble> {
        let Some(new) = Address::read(line, release, warnings)? else { return Ok(()) };
        if *v6.get_or_insert(new.address.is_ipv6()) != new.address.is_ipv6() {
            warnings.push(line.assumed("an address of the instance's family", line.keyword(), "passes over it"));
            return Ok(());
        }
        if !release.drops_repetitions() || !self.has(&new, false) {
            self.listed.push(new);
        }
        Ok(())
    }

    /// Takes a line of `virtual_ipaddress_excluded`, where either family may stand.
    pub(super) fn exclude(
        &mut self,
        line: &Statement,
        release: Release,
        warnings: &mut Vec<Trouble>,
    ) -> Result<(), Trouble> {
        let Some(new) = Address::read(line, release, warnings)? else { return Ok(()) };
        if !release.drops_repetitions() || !self.has(&new, true) {
            self.excluded.push(new);
        }
        Ok(())
    }

    /// Whether later releases would find it there already.
    fn has(&self, new: &Address, excluded: bool) -> bool {
        let same = |old: &Address| old.address == new.address;
        self.listed.iter().any(|old| same(old) && (!excluded || old.device == new.device))
            || self.excluded.iter().any(|old| same(old) && old.device == new.device)
    }

    /// Whether adverts list none.
    pub(super) fn lists_none(&self) -> bool {
        self.listed.is_empty()
    }

    /// All of them, those that adverts list first, with their interfaces.
    pub(super) fn held(&self, home: &Home<'_>, release: Release, names: &mut Names) -> Vec<Held> {
        let listed = self.listed.iter().enumerate().map(|(at, one)| (one, at >= MOST));
        let excluded = self.excluded.iter().map(|one| (one, true));
        let all = listed.chain(excluded);
        all.map(|(one, excluded)| {
            let (interface, made) = one.interface(home, release, names);
            Held { address: one.address, prefix: one.prefix, interface, excluded, made }
        })
        .collect()
    }

    /// Those that adverts carry; what is too much for one becomes an excluded address. None: that
    /// depends on the device's MTU.
    pub(super) fn sent(&self, v6: bool, release: Release) -> Option<Vec<IpAddr>> {
        let mut all: Vec<IpAddr> = self.listed.iter().map(|one| one.address).collect();
        if release.drops_repetitions() {
            let mut known = HashSet::new();
            all.retain(|address| known.insert(*address));
        }
        if v6 && all.len() > MOST_V6_ANYWHERE {
            return None;
        }
        all.truncate(MOST);
        Some(all)
    }
}

impl Address {
    /// Reads a line; none where keepalived drops the address.
    fn read(line: &Statement, release: Release, warnings: &mut Vec<Trouble>) -> Result<Option<Self>, Trouble> {
        let given = line.keyword();
        let expected = "an address such as 169.254.0.1/24";
        if let Some(word) = line.words.iter().find(|word| is_random(word)) {
            let what = format!("expected {expected}, found {}, which only keepalived knows", quoted(word));
            return Err(line.trouble(Effect::Unknown, what));
        }
        let (address, prefix) = given.split_once('/').map_or((given, None), |(a, p)| (a, Some(p)));
        let family = given.contains(':');
        let Some(address) = address.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == family) else {
            warnings.push(line.assumed(expected, given, "passes over it"));
            return Ok(None);
        };
        let all: u8 = if family { 128 } else { 32 };
        let mut prefix = match prefix.map(|text| whole(text, 0..=all.into(), true)) {
            None => all,
            Some(Number::Is(length)) => u8::try_from(length).unwrap_or(all),
            Some(number) => {
                let taken = if let Number::Taken(length) = number { u8::try_from(length).unwrap_or(all) } else { all };
                let instead = format!("takes /{taken}");
                warnings.push(line.assumed(&format!("a prefix length from 0 to {all}"), given, &instead));
                taken
            }
        };
        let mut read = Self { address, prefix, device: None, vmac: false };
        if let Err(why) = read.options(line.words.get(1..).unwrap_or_default(), release, &mut prefix) {
            let what = format!("{why} behind {}: keepalived passes over the address", quoted(given));
            warnings.push(line.trouble(Effect::Assumed, what));
            return Ok(None);
        }
        read.prefix = prefix;
        Ok(Some(read))
    }

    /// What follows an address. A keyword that keepalived does not know is no reason to drop it.
    ///
    /// # Errors
    /// In words, what is.
    fn options(&mut self, mut words: &[String], release: Release, prefix: &mut u8) -> Result<(), String> {
        let v6 = self.address.is_ipv6();
        let mut peer = false;
        while let [keyword, rest @ ..] = words {
            words = rest;
            self.vmac |= keyword == "use_vmac" && release.has_vmac_of_addresses();
            let takes =
                matches!(keyword.as_str(), "dev" | "scope" | "broadcast" | "brd" | "label" | "peer" | "preferred_lft");
            if !takes {
                continue;
            }
            let [value, rest @ ..] = rest else { return Err(format!("expected a value after {keyword:?}")) };
            words = rest;
            match keyword.as_str() {
                "dev" if self.device.is_some() => return Err("expected one interface".to_owned()),
                "dev" if !is_interface(value) => {
                    return Err(format!("expected an interface of 1 to 15 bytes, found {}", quoted(value)));
                }
                "dev" => self.device = Some(value.clone()),
                "broadcast" | "brd" => {
                    let fits = matches!(value.as_str(), "-" | "+") || value.parse::<Ipv4Addr>().is_ok();
                    if v6 || !fits {
                        return Err(format!("expected no such broadcast address as {}", quoted(value)));
                    }
                }
                "label" if value.len() > 15 && release.drops_long_labels() => {
                    return Err(format!("expected a label of at most 15 bytes, found {}", quoted(value)));
                }
                "peer" if !peer && value.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == v6) => {
                    peer = true;
                    *prefix = if v6 { 128 } else { 32 };
                }
                // keepalived stays at the second one's value, which is no keyword either.
                _ => {}
            }
        }
        Ok(())
    }

    /// Where it lives, and whether keepalived makes that interface.
    fn interface(&self, home: &Home<'_>, release: Release, names: &mut Names) -> (String, bool) {
        let v6 = self.address.is_ipv6();
        let device = self.device.as_deref();
        let here = device.is_none_or(|device| device == home.interface);
        let own = home.vmac.filter(|_| v6 == home.v6);
        if !release.has_vmac_of_addresses() {
            let made = device.is_none() && home.vmac.is_some();
            return (device.or(home.vmac).unwrap_or(home.interface).to_owned(), made);
        }
        if let Some(vmac) = own.filter(|_| here) {
            return (vmac.to_owned(), true);
        }
        let base = device.unwrap_or(home.interface);
        if self.vmac || (home.vmac_for_addresses && (!here || v6 != home.v6)) {
            return (names.address(home.vrid, v6, base), true);
        }
        (base.to_owned(), false)
    }
}
