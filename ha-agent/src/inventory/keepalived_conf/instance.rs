//! One `vrrp_instance`, and what `global_defs` says for all of them: keepalived's `vrrp_parser.c`,
//! `vrrp_end_handler`, `chk_min_cfg` and `vrrp_complete_instance`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::addresses::{Addresses, Held, Home};
use super::numbers::{Number, seconds, whole};
use super::rules::{About, Common, Said};
use super::statements::{Statement, quoted};
use super::{Effect, Place, Trouble, keep, keywords, vmac};
use crate::addresses::FurtherAddresses;
use crate::advert_rules::{AdvertRules, Release};
use crate::netlink::decode::IfName;

/// A VRRP instance, with keepalived's own defaults where the text is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The file that it stands in.
    pub file: Arc<str>,
    /// The line that begins it, counted from 1.
    pub line: usize,
    /// The word after `vrrp_instance`.
    pub name: String,
    /// `interface`. Its adverts go there, also those of a VMAC, which is a child of it.
    pub interface: String,
    /// Virtual router identifier, 1 to 255.
    pub vrid: u8,
    /// 1 to 255; 255 owns the address. Default 100, or 255 with `state MASTER`.
    pub priority: u8,
    /// As it is sent: default 1 s; VRRPv2 whole seconds up to 255, VRRPv3 hundredths up to 40.95.
    pub advert_interval: Duration,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// The first `virtual_ipaddress`; where there is none, the first of those that adverts do not list.
    pub vip: IpAddr,
    /// Its prefix length; without one the whole address.
    pub prefix: u8,
    /// The interface that holds the VIP.
    pub vip_interface: String,
    /// All addresses, the VIP first.
    pub addresses: Vec<Held>,
    /// `use_vmac`: the name of the interface that keepalived makes.
    pub vmac: Option<String>,
    /// `native_ipv6`.
    pub native_ipv6: bool,
    /// What it sends, and takes as a peer's advert.
    pub rules: AdvertRules,
}

impl Instance {
    /// All addresses but the VIP. Those on an interface that keepalived makes are watched where the VIP is on it, too:
    /// what another one is called, only the kernel knows.
    pub fn further(&self) -> FurtherAddresses {
        FurtherAddresses::new(self.addresses.iter().skip(1).filter_map(|held| {
            let with_vip = held.interface == self.vip_interface;
            match (held.made, with_vip) {
                (true, false) => None,
                (true, true) => Some((held.address, None)),
                (false, _) => Some((held.address, Some(IfName::new(&held.interface)?))),
            }
        }))
    }
}

/// What `global_defs` says.
#[derive(Debug, Default)]
pub(super) struct Globals {
    version: Option<u8>,
    adverts: Common,
    pub(super) vmac_prefix: Option<String>,
    pub(super) vmac_addr_prefix: Option<String>,
}

impl Globals {
    /// Takes a line of it; what stands there later holds, but for the names of interfaces.
    pub(super) fn take(
        &mut self,
        line: &Statement,
        release: Release,
        warnings: &mut Vec<Trouble>,
    ) -> Result<(), Trouble> {
        match line.keyword() {
            "vrrp_version" => {
                if let Some(version) = version(line, warnings)? {
                    self.version = Some(version);
                }
            }
            keyword @ ("vmac_prefix" | "vmac_addr_prefix") if release.has_vmac_of_addresses() => {
                let given = line.value("the beginning of an interface's name")?;
                if !is_interface(given) {
                    let what = format!("expected the beginning of an interface's name, found {}", quoted(given));
                    return Err(line.trouble(Effect::Unknown, what));
                }
                let prefix = if keyword == "vmac_prefix" { &mut self.vmac_prefix } else { &mut self.vmac_addr_prefix };
                prefix.get_or_insert_with(|| given.to_owned());
            }
            _ => self.adverts.take(line)?,
        }
        Ok(())
    }
}

/// An instance while it is read.
#[derive(Debug)]
pub(super) struct Draft {
    place: Place,
    pub(super) name: String,
    /// The first thing for which it cannot be known, or keepalived ends.
    wrong: Option<Trouble>,
    /// What keepalived warns of.
    pub(super) warnings: Vec<Trouble>,
    interface: Option<String>,
    /// The last one that was given is none that there can be.
    has_no_such_interface: bool,
    vrid: Option<u8>,
    /// One that is none, where there is no other.
    refused_vrid: Option<Trouble>,
    priority: Option<u8>,
    starts_as_master: bool,
    /// Microseconds.
    advert_interval: Option<u64>,
    version: Option<u8>,
    /// The family, once it is known: the first address of any kind decides it.
    v6: Option<bool>,
    addresses: Addresses,
    /// `no_virtual_ipaddress`
    goes_without: bool,
    /// The name is none where keepalived makes it from the VRID.
    pub(super) vmac: Option<Option<String>>,
    vmac_for_addresses: bool,
    /// `use_ipvlan`; the name likewise.
    pub(super) ipvlan: Option<Option<String>>,
    native_ipv6: bool,
    adverts: Said,
}

impl Draft {
    /// The line that begins it is read.
    pub(super) fn new(head: &Statement, name: &str) -> Self {
        Self {
            place: head.place.clone(),
            name: name.to_owned(),
            wrong: None,
            warnings: Vec::new(),
            interface: None,
            has_no_such_interface: false,
            vrid: None,
            refused_vrid: None,
            priority: None,
            starts_as_master: false,
            advert_interval: None,
            version: None,
            v6: None,
            addresses: Addresses::default(),
            goes_without: false,
            vmac: None,
            vmac_for_addresses: false,
            ipvlan: None,
            native_ipv6: false,
            adverts: Said::default(),
        }
    }

    /// Takes a line of its block.
    pub(super) fn keyword(&mut self, line: &Statement, release: Release) {
        let taken = self.take(line, release);
        self.note(taken);
    }

    /// Takes a line of a block of values within it.
    pub(super) fn value(&mut self, block: &str, line: &Statement, release: Release) {
        let mut warnings = Vec::new();
        let taken = match block {
            "virtual_ipaddress" => self.addresses.list(line, &mut self.v6, release, &mut warnings),
            "virtual_ipaddress_excluded" => self.addresses.exclude(line, release, &mut warnings),
            "unicast_peer" => self.adverts.peer(line, &mut self.v6),
            _ => Ok(()),
        };
        warnings.into_iter().for_each(|warning| keep(&mut self.warnings, warning));
        self.note(taken);
    }

    /// Takes a line of `authentication`.
    pub(super) fn authentication(&mut self, line: &Statement) {
        let taken = self.adverts.authentication(line);
        self.note(taken);
    }

    fn note(&mut self, taken: Result<(), Trouble>) {
        if let Err(wrong) = taken {
            self.wrong.get_or_insert(wrong);
        }
    }

    fn warn(&mut self, warning: Trouble) {
        keep(&mut self.warnings, warning);
    }

    fn take(&mut self, line: &Statement, release: Release) -> Result<(), Trouble> {
        match line.keyword() {
            "interface" => self.take_interface(line)?,
            "virtual_router_id" => {
                let given = line.value("a number from 1 to 255")?;
                match whole(given, 1..=255, false) {
                    Number::Is(vrid) => self.vrid = u8::try_from(vrid).ok(),
                    _ => {
                        let expected = "virtual_router_id from 1 to 255";
                        let ends = line.assumed(expected, given, "ends with such a configuration");
                        self.refused_vrid = Some(Trouble { effect: Effect::Ends, ..ends });
                        self.warn(line.assumed(expected, given, "passes over it"));
                    }
                }
            }
            "priority" => {
                let given = line.value("a number from 1 to 255")?;
                self.priority = match whole(given, 1..=255, false) {
                    Number::Is(priority) => u8::try_from(priority).ok(),
                    _ => {
                        self.warn(line.assumed("a priority from 1 to 255", given, "takes 100"));
                        Some(100)
                    }
                };
            }
            "state" => match line.value("MASTER or BACKUP")? {
                "MASTER" => self.starts_as_master = true,
                "BACKUP" => {}
                given => {
                    self.warn(line.assumed("MASTER or BACKUP", given, "takes BACKUP"));
                    self.starts_as_master = false;
                }
            },
            "advert_int" => self.take_interval(line, release)?,
            "version" => {
                // keepalived ignores one that contradicts what it knows by then.
                if let Some(version) = version(line, &mut self.warnings)? {
                    let conflicts = self.version.is_some_and(|known| known != version);
                    if conflicts || (version == 2 && self.v6 == Some(true)) {
                        let given = line.value("2 or 3")?;
                        self.warn(line.assumed("the version that is known by then", given, "passes over it"));
                    } else {
                        self.version = Some(version);
                    }
                }
            }
            "use_vmac" => self.take_vmac(line, release)?,
            "use_vmac_addr" if release.has_vmac_of_addresses() => self.vmac_for_addresses = true,
            "use_ipvlan" => self.take_ipvlan(line)?,
            "no_virtual_ipaddress" if release.has_no_virtual_ipaddress() => self.goes_without = true,
            "native_ipv6" if self.v6 == Some(false) => {
                self.warn(line.trouble(
                    Effect::Assumed,
                    "expected no native_ipv6 where there are IPv4 addresses: keepalived passes over it",
                ));
            }
            "native_ipv6" => {
                self.native_ipv6 = true;
                self.v6 = Some(true);
                self.version = Some(3);
            }
            keyword if keywords::NEED_A_VALUE.contains(&keyword) => {
                if line.words.len() < 2 {
                    return Err(line.lacks_a_value("a value"));
                }
            }
            _ => {
                self.adverts.take(line, &mut self.v6, release)?;
            }
        }
        Ok(())
    }

    fn take_interface(&mut self, line: &Statement) -> Result<(), Trouble> {
        let given = line.value("an interface")?;
        if given.len() > 15 {
            self.warn(line.assumed("an interface of 1 to 15 bytes", given, "passes over it"));
            return Ok(());
        }
        if given.chars().any(char::is_control) {
            let what = format!("expected an interface, found {}: such a name is not watched", quoted(given));
            return Err(line.trouble(Effect::Unknown, what));
        }
        if given.contains('$') {
            let what = format!("expected an interface, found {}: no such definition is known here", quoted(given));
            self.warn(line.trouble(Effect::Assumed, what));
        }
        self.has_no_such_interface = !is_interface(given);
        self.interface = Some(given).filter(|given| is_interface(given) && *given != "lo").map(str::to_owned);
        if self.interface.is_none() {
            self.warn(line.assumed("an interface that adverts can be sent on", given, "has none then"));
        }
        Ok(())
    }

    fn take_interval(&mut self, line: &Statement, release: Release) -> Result<(), Trouble> {
        let expected = "seconds from 0.01 to 255";
        let given = line.value(expected)?;
        let before = self.advert_interval.unwrap_or(1_000_000);
        match seconds(given, 10_000..=255_000_000, release) {
            Number::Is(micros) => self.advert_interval = Some(micros),
            Number::Taken(micros) => {
                self.advert_interval = Some(micros);
                self.warn(line.assumed(expected, given, &format!("takes {}", shown_seconds(micros))));
            }
            Number::Refused => {
                self.warn(line.assumed(expected, given, &format!("takes {}", shown_seconds(before))));
            }
        }
        Ok(())
    }

    /// `use_vmac [NAME] [MAC]`, in either order.
    fn take_vmac(&mut self, line: &Statement, release: Release) -> Result<(), Trouble> {
        let words = line.words.get(1..).unwrap_or_default();
        let words = if release.has_vmac_of_addresses() { words } else { words.get(..1).unwrap_or_default() };
        let words = if release.has_vmac_options() { words } else { words.get(..2).unwrap_or(words) };
        let mut words = words.iter();
        let mut name = self.vmac.take().flatten();
        while let Some(mut word) = words.next() {
            if release.has_vmac_of_addresses() && word.contains(':') {
                continue;
            }
            if release.has_vmac_options() {
                match word.as_str() {
                    "netlink_notify_msg" => continue,
                    "group" => {
                        words.next();
                        continue;
                    }
                    "name" => match words.next() {
                        Some(next) => word = next,
                        None => return Err(line.lacks_a_value("a name")),
                    },
                    _ => {}
                }
            }
            if name.is_some() {
                continue;
            }
            if is_interface(word) {
                name = Some(word.clone());
            } else {
                let instead = "makes a name from virtual_router_id";
                self.warn(line.assumed("an interface of 1 to 15 bytes", word, instead));
            }
        }
        self.vmac = Some(name);
        Ok(())
    }

    /// `use_ipvlan [NAME] [bridge|private|vepa] [ADDRESS]`, in any order; the first one of an instance.
    fn take_ipvlan(&mut self, line: &Statement) -> Result<(), Trouble> {
        if self.ipvlan.is_some() {
            return Ok(());
        }
        let mut name = None;
        for word in line.words.iter().skip(1) {
            let address = word.split('/').next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
            match word.as_str() {
                "bridge" | "private" | "vepa" => {}
                word if address => self.adverts.source_of_ipvlan(word, &mut self.v6),
                word if name.is_none() && is_interface(word) => name = Some(word.to_owned()),
                _ => {}
            }
        }
        self.ipvlan = Some(name);
        Ok(())
    }

    /// Gives up a name that an instance before it has.
    pub(super) fn settle_vmac(&mut self, taken: &mut std::collections::HashSet<String>) {
        for name in [&mut self.vmac, &mut self.ipvlan].into_iter().flatten() {
            if name.as_ref().is_some_and(|name| !taken.insert(name.clone())) {
                *name = None;
            }
        }
    }

    /// The instance, with the defaults that the whole configuration decides.
    ///
    /// # Errors
    /// The first thing for which it cannot be known, or that it lacks.
    pub(super) fn finish(
        mut self,
        globals: &Globals,
        release: Release,
        vmacs: &mut vmac::Names,
    ) -> Result<Instance, Trouble> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let place = self.place.clone();
        let title = format!("in vrrp_instance {}", quoted(&self.name));
        let wrong = |effect, expected: &str, found: &str| {
            let error = place.error(format!("expected {expected} {title}, found {found}"));
            Trouble { error, instance: None, effect }
        };
        let ends = |what: &str| wrong(Effect::Ends, what, "none: keepalived ends with such a configuration");
        let strict = self.adverts.is_strict(&globals.adverts, release);
        let Some(vrid) = self.vrid else { return Err(self.refused_vrid.unwrap_or_else(|| ends("virtual_router_id"))) };
        let unicast =
            if release.has_group_of_instance() { self.adverts.is_about_unicast() } else { self.adverts.has_peers() };
        let Some(interface) = self.interface.take() else {
            if self.has_no_such_interface {
                return Err(wrong(Effect::Unknown, "interface", "a name that none can have"));
            }
            let source = self.adverts.source();
            let local = source.is_some_and(|source| matches!(source, IpAddr::V6(source) if is_link_local(source)));
            if !unicast || !release.has_unicast_anywhere() || source.is_none() || local {
                return Err(ends("interface"));
            }
            return Err(wrong(Effect::Unknown, "interface", "none: without one it cannot be watched"));
        };
        let v6 = self.v6.unwrap_or(false);
        let version = match self.version {
            Some(2) if v6 && strict => 3,
            given => given.unwrap_or(if v6 { 3 } else { globals.version.unwrap_or(2) }),
        };
        let may_go_without = if self.goes_without { !strict } else { version == 2 && !strict && !v6 };
        if self.addresses.lists_none() && !may_go_without {
            return Err(ends("an address in virtual_ipaddress"));
        }
        if strict && self.adverts.has_peers() && !release.has_group_of_instance() {
            return Err(wrong(Effect::Ends, "no unicast_peer with strict_mode", "one: keepalived ends"));
        }
        if v6 && version == 2 {
            // keepalived takes it, when the version stands before the address, and sends VRRPv2 over
            // IPv6. No RFC has that, and the classifier calls it invalid.
            return Err(wrong(Effect::Unknown, "version 3 with an IPv6 address", "2"));
        }
        if !release.has_vmac_with_unicast() && self.adverts.has_peers() {
            self.vmac = None;
            self.ipvlan = None;
        }
        let vmac = self.vmac.map(|name| name.unwrap_or_else(|| vmacs.instance(vrid, v6)));
        let ipvlan = self.ipvlan.map(|name| name.unwrap_or_else(|| vmacs.instance(vrid, v6)));
        if let Some(name) = &vmac {
            vmacs.note(vrid, v6, &interface, name);
        }
        let home = Home {
            interface: &interface,
            vrid,
            v6,
            vmac: vmac.as_deref(),
            vmac_for_addresses: self.vmac_for_addresses,
        };
        let addresses = self.addresses.held(&home, release, vmacs);
        let Some(vip) = addresses.first().cloned() else {
            return Err(wrong(Effect::Unknown, "an address", "none: without one it cannot be watched"));
        };
        let vip_on_vmac = vmac.as_ref().is_some_and(|vmac| *vmac == vip.interface);
        let default_priority = if self.starts_as_master { 255 } else { 100 };
        let priority = self.priority.unwrap_or(default_priority);
        let interval = sent(self.advert_interval.unwrap_or(1_000_000), version);
        let about = About {
            version,
            v6,
            priority,
            interval,
            addresses: &self.addresses,
            vmac: vmac.as_deref(),
            ipvlan: ipvlan.as_deref(),
        };
        Ok(Instance {
            file: self.place.file,
            line: self.place.line,
            name: self.name,
            interface,
            vrid,
            priority,
            advert_interval: interval,
            version,
            vip: vip.address,
            prefix: vip.prefix,
            vip_interface: vip.interface,
            addresses,
            native_ipv6: self.native_ipv6,
            rules: AdvertRules { vip_on_vmac, ..self.adverts.rules(&globals.adverts, release, &about) },
            vmac,
        })
    }
}

/// A version that is given; a number that is followed by something else is taken.
fn version(line: &Statement, warnings: &mut Vec<Trouble>) -> Result<Option<u8>, Trouble> {
    let given = line.value("2 or 3")?;
    Ok(match whole(given, 2..=3, true) {
        Number::Is(version) => u8::try_from(version).ok(),
        Number::Taken(version) => {
            keep(warnings, line.assumed("version 2 or 3", given, &format!("takes {version}")));
            u8::try_from(version).ok()
        }
        Number::Refused => {
            keep(warnings, line.assumed("version 2 or 3", given, "passes over it"));
            None
        }
    })
}

/// What an advert of this version carries: rounded as keepalived rounds it. Microseconds.
fn sent(micros: u64, version: u8) -> Duration {
    let (unit, most) = if version == 2 { (1_000_000, 255) } else { (10_000, 4_095) };
    let units = (micros.saturating_add(unit / 2) / unit).clamp(1, most);
    Duration::from_micros(units * unit)
}

fn shown_seconds(micros: u64) -> String {
    format!("{:?}", Duration::from_micros(micros))
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether an interface can have this name, and a terminal can show it.
pub(super) fn is_interface(name: &str) -> bool {
    !name.chars().any(char::is_control) && IfName::new(name).is_some()
}
