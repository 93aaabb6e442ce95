//! `virtual_ipaddress` and `virtual_ipaddress_excluded`: keepalived 2.2.7's `alloc_vrrp_vip`, `alloc_vrrp_evip` and
//! `alloc_ipaddress`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use super::ConfError;
use super::definitions::is_random;
use super::instance::device;
use super::statements::{Statement, shown};
use crate::addresses::FurtherAddresses;
use crate::advert_rules::Release;
use crate::netlink::decode::IfName;

/// An advert's count of addresses is one byte; an MTU of 1280 holds as many of IPv4.
const MOST: usize = 255;
/// As many of IPv6 fit where the MTU is 1280, the least that IPv6 has, by keepalived's own reckoning:
/// 14 bytes for Ethernet, 40 for IPv6 and 8 for VRRP are none for addresses.
const MOST_V6_ANYWHERE: usize = (1280 - 14 - 40 - 8) / 16;

/// The addresses of an instance.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Where the VIP lives.
    pub(super) first: Option<Vip>,
    /// All of `virtual_ipaddress`, in order.
    all: Vec<IpAddr>,
    /// The first address of `virtual_ipaddress_excluded`.
    excluded: Option<Vip>,
    /// All but the first of either, with the device that each names.
    further: Vec<(IpAddr, Option<IfName>)>,
}

/// The first address.
#[derive(Debug)]
pub(super) struct Vip {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// `dev`
    pub(super) device: Option<String>,
    /// `use_vmac` behind the address.
    pub(super) vmac: bool,
}

impl Vip {
    fn of(line: &Statement, address: IpAddr, prefix: u8) -> Result<Self, ConfError> {
        let at = line.words.iter().position(|word| word == "dev");
        let device = at.map(|at| device(line, at + 1)).transpose()?;
        Ok(Self { address, prefix, device, vmac: line.words.iter().any(|word| word == "use_vmac") })
    }
}

impl Addresses {
    /// Takes a line; `v6` is the instance's family. The first address is read with more care than
    /// keepalived does: what the agent watches must not be another one for a slip of the pen.
    pub(super) fn take(&mut self, line: &Statement, v6: &mut Option<bool>) -> Result<(), ConfError> {
        let first = self.first.is_none();
        let given = line.keyword();
        let wrong = || line.error(&format!("expected an address such as 169.254.0.1/24, found {:?}", shown(given)));
        let (address, prefix) = given.split_once('/').map_or((given, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = match address.parse() {
            Ok(address) => address,
            // keepalived passes over what is none.
            Err(_) if !first && !is_random(given) => return Ok(()),
            Err(_) => return Err(wrong()),
        };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(|text| text.parse().ok().filter(|length| *length <= whole)) {
            None => whole,
            Some(Some(length)) => length,
            // keepalived takes the whole address.
            Some(None) if !first => whole,
            Some(None) => return Err(wrong()),
        };
        if *v6.get_or_insert(address.is_ipv6()) != address.is_ipv6() {
            return Ok(());
        }
        let label = line.words.iter().position(|word| word == "label").and_then(|at| line.words.get(at + 1));
        if let Some(label) = label.filter(|label| first && label.len() > 15) {
            let what = "expected a label of at most 15 bytes (keepalived drops the address otherwise)";
            return Err(line.error(&format!("{what}, found {:?}", shown(label))));
        }
        if !is_kept(line.words.get(1..).unwrap_or_default(), address.is_ipv6()) {
            return Ok(());
        }
        let vip = Vip::of(line, address, prefix);
        match (first, vip) {
            (true, vip) => self.first = Some(vip?),
            (false, Ok(vip)) => self.note(&vip),
            // Only of what is watched it matters where it is.
            (false, Err(_)) => {}
        }
        self.all.push(address);
        Ok(())
    }

    /// Takes a line of `virtual_ipaddress_excluded`. Either family may stand there; what keepalived passes
    /// over is passed over.
    pub(super) fn exclude(&mut self, line: &Statement) {
        let given = line.keyword();
        let (address, prefix) = given.split_once('/').map_or((given, None), |(a, p)| (a, Some(p)));
        let Ok(address) = address.parse::<IpAddr>() else { return };
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.and_then(|text| text.parse().ok()).filter(|length| *length <= whole).unwrap_or(whole);
        if !is_kept(line.words.get(1..).unwrap_or_default(), address.is_ipv6()) {
            return;
        }
        let Ok(vip) = Vip::of(line, address, prefix) else { return };
        self.note(&vip);
        self.excluded.get_or_insert(vip);
    }

    fn note(&mut self, vip: &Vip) {
        // The interface that keepalived makes for it is not known by its name.
        if !vip.vmac {
            self.further.push((vip.address, vip.device.as_deref().and_then(IfName::new)));
        }
    }

    /// The address that verdicts rest on: the first one, of the excluded ones where there is no other.
    pub(super) fn primary(&self) -> Option<&Vip> {
        self.first.as_ref().or(self.excluded.as_ref())
    }

    /// All but the primary one. With `use_vmac` those of the HA interface are where the VIP is; with
    /// `use_vmac_addr` those of others are on an interface that keepalived makes, and are not watched.
    pub(super) fn further(&self, interface: &str, vmac: bool, vmac_for_others: bool) -> FurtherAddresses {
        let own = IfName::new(interface);
        let primary = self.primary().map(|vip| (vip.address, vip.device.as_deref().and_then(IfName::new).or(own)));
        let vip_on_vmac = vmac && primary.is_some_and(|(_, device)| device == own);
        FurtherAddresses::new(self.further.iter().filter_map(|(address, device)| {
            let device = device.or(own);
            let place = match (device == own, vmac) {
                _ if Some((*address, device)) == primary => return None,
                (true, true) if vip_on_vmac => None,
                (true, true) => return None,
                (false, _) if vmac_for_others => return None,
                _ => device,
            };
            Some((*address, place))
        }))
    }

    /// Those that adverts carry; what is too much for one becomes an excluded address. None: that
    /// depends on the device's MTU.
    pub(super) fn sent(&self, v6: bool, release: Release) -> Option<Vec<IpAddr>> {
        let mut all = self.all.clone();
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

/// Whether keepalived keeps an address for what follows it. A keyword that it does not know is no
/// reason.
fn is_kept(mut words: &[String], v6: bool) -> bool {
    let mut devices = 0;
    while let [keyword, rest @ ..] = words {
        words = rest;
        let takes =
            matches!(keyword.as_str(), "dev" | "scope" | "broadcast" | "brd" | "label" | "peer" | "preferred_lft");
        if !takes {
            continue;
        }
        let [value, rest @ ..] = rest else { return false };
        words = rest;
        let fits = match keyword.as_str() {
            "dev" => {
                devices += 1;
                devices < 2
            }
            "broadcast" | "brd" => !v6 && (matches!(value.as_str(), "-" | "+") || value.parse::<Ipv4Addr>().is_ok()),
            "label" => value.len() <= 15,
            _ => true,
        };
        if !fits {
            return false;
        }
    }
    true
}
