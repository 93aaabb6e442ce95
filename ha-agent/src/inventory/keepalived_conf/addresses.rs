//! `virtual_ipaddress`: keepalived 2.2.7's `alloc_vrrp_vip` and `alloc_ipaddress`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use super::ConfError;
use super::definitions::is_random;
use super::instance::device;
use super::statements::{Statement, shown};
use crate::advert_rules::Release;

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
    /// All of them, in order.
    all: Vec<IpAddr>,
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
        if first {
            let at = line.words.iter().position(|word| word == "dev");
            let device = at.map(|at| device(line, at + 1)).transpose()?;
            let vmac = line.words.iter().any(|word| word == "use_vmac");
            self.first = Some(Vip { address, prefix, device, vmac });
        }
        self.all.push(address);
        Ok(())
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
