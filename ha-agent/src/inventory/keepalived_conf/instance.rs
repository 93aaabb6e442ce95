//! One `vrrp_instance`, and what `global_defs` says for all of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Addresses;
use super::rules::{About, Common, Said};
use super::statements::{Reader, Statement, shown};
use super::{ConfError, Place, refuse_unseen, vmac};
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
    /// The first `virtual_ipaddress`.
    pub vip: IpAddr,
    /// Its prefix length; without one the whole address.
    pub prefix: u8,
    /// The interface that holds the VIP.
    pub vip_interface: String,
    /// Its other addresses, those of `virtual_ipaddress_excluded` too.
    pub further: FurtherAddresses,
    /// `use_vmac`: the name of the interface that keepalived makes.
    pub vmac: Option<String>,
    /// `native_ipv6`.
    pub native_ipv6: bool,
    /// What it sends, and takes as a peer's advert.
    pub rules: AdvertRules,
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
    /// Reads a block of it; what stands there later holds.
    pub(super) fn read(&mut self, reader: &mut Reader, head: &Statement) -> Result<(), ConfError> {
        reader.block(head, |_, statement| {
            refuse_unseen(statement)?;
            match statement.keyword() {
                "vrrp_version" => self.version = Some(version(statement)?),
                "vmac_prefix" => self.vmac_prefix = Some(device(statement, 1)?),
                "vmac_addr_prefix" => self.vmac_addr_prefix = Some(device(statement, 1)?),
                _ => self.adverts.take(statement)?,
            }
            Ok(())
        })
    }
}

/// An instance while it is read.
#[derive(Debug)]
pub(super) struct Draft {
    place: Place,
    pub(super) name: String,
    /// The first thing that is wrong with it.
    wrong: Option<ConfError>,
    interface: Option<String>,
    vrid: Option<u8>,
    priority: Option<u8>,
    starts_as_master: bool,
    advert_interval: Option<Duration>,
    version: Option<u8>,
    /// The family, once it is known: the first address of any kind decides it.
    v6: Option<bool>,
    addresses: Addresses,
    /// The name is none where keepalived makes it from the VRID.
    pub(super) vmac: Option<Option<String>>,
    vmac_for_addresses: bool,
    /// `use_ipvlan`; the name likewise.
    pub(super) ipvlan: Option<Option<String>>,
    native_ipv6: bool,
    adverts: Said,
}

impl Draft {
    /// Reads the block to its end, whatever is wrong in it.
    ///
    /// # Errors
    /// When it has no name, or is no block.
    pub(super) fn read(reader: &mut Reader, head: &Statement) -> Result<Self, ConfError> {
        let name = head.value("a name")?.to_owned();
        let mut draft = Self {
            place: head.place.clone(),
            name,
            wrong: None,
            interface: None,
            vrid: None,
            priority: None,
            starts_as_master: false,
            advert_interval: None,
            version: None,
            v6: None,
            addresses: Addresses::default(),
            vmac: None,
            vmac_for_addresses: false,
            ipvlan: None,
            native_ipv6: false,
            adverts: Said::default(),
        };
        if !head.opens {
            return Err(head.error("expected { after \"vrrp_instance\""));
        }
        draft.wrong = reader.block(head, |reader, statement| draft.take(reader, statement)).err();
        Ok(draft)
    }

    fn take(&mut self, reader: &mut Reader, statement: &Statement) -> Result<(), ConfError> {
        refuse_unseen(statement)?;
        match statement.keyword() {
            "interface" => self.interface = Some(device(statement, 1)?),
            "virtual_router_id" => self.vrid = Some(number(statement, 1, 255)?),
            "priority" => self.priority = Some(number(statement, 1, 255)?),
            "state" => self.starts_as_master = statement.value("MASTER or BACKUP")? == "MASTER",
            "advert_int" => self.advert_interval = Some(interval(statement)?),
            "version" => {
                // keepalived ignores one that contradicts what it knows by then.
                let version = version(statement)?;
                if self.version.is_none() && !(version == 2 && self.v6 == Some(true)) {
                    self.version = Some(version);
                }
            }
            "use_vmac" => self.vmac = Some(vmac_name(statement)?),
            "use_vmac_addr" => self.vmac_for_addresses = true,
            "use_ipvlan" => self.ipvlan(statement)?,
            "native_ipv6" if self.v6 != Some(false) => {
                self.native_ipv6 = true;
                self.v6 = Some(true);
                self.version = Some(3);
            }
            "virtual_ipaddress" => {
                return reader.block(statement, |_, line| {
                    refuse_unseen(line)?;
                    self.addresses.take(line, &mut self.v6)
                });
            }
            "virtual_ipaddress_excluded" => {
                return reader.block(statement, |_, line| {
                    refuse_unseen(line)?;
                    self.addresses.exclude(line);
                    Ok(())
                });
            }
            "vrrp_instance" => {
                let error =
                    statement.error(&format!("expected a }} that closes vrrp_instance {:?} first", shown(&self.name)));
                reader.fault(error.clone());
                return Err(error);
            }
            _ => {
                self.adverts.take(reader, statement, &mut self.v6)?;
            }
        }
        Ok(())
    }

    /// `use_ipvlan [NAME] [bridge|private|vepa] [ADDRESS]`, in any order; the first one of an instance.
    fn ipvlan(&mut self, statement: &Statement) -> Result<(), ConfError> {
        if self.ipvlan.is_some() {
            return Ok(());
        }
        let mut name = None;
        for (at, word) in statement.words.iter().enumerate().skip(1) {
            let address = word.split('/').next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
            match word.as_str() {
                "bridge" | "private" | "vepa" => {}
                word if address => self.adverts.source_of_ipvlan(word, &mut self.v6),
                _ if name.is_none() => name = Some(device(statement, at)?),
                _ => {}
            }
        }
        self.ipvlan = Some(name);
        Ok(())
    }

    /// The instance, with the defaults that the whole configuration decides.
    ///
    /// # Errors
    /// The first thing that is wrong with it, or what it lacks.
    pub(super) fn finish(
        self,
        globals: &Globals,
        release: Release,
        vmacs: &mut vmac::Names,
    ) -> Result<Instance, ConfError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let wrong = |expected: &str, found: &str| {
            self.place.error(format!("expected {expected} in vrrp_instance {:?}, found {found}", shown(&self.name)))
        };
        let missing = |what: &str| wrong(what, "none");
        let vip = self.addresses.primary().ok_or_else(|| missing("an address in virtual_ipaddress"))?;
        let vrid = self.vrid.ok_or_else(|| missing("virtual_router_id"))?;
        let interface = self.interface.ok_or_else(|| missing("interface"))?;
        let v6 = vip.address.is_ipv6();
        let version = match self.version {
            Some(2) if v6 && self.adverts.is_strict(&globals.adverts, release) => 3,
            given => given.unwrap_or(if v6 { 3 } else { globals.version.unwrap_or(2) }),
        };
        if v6 && version == 2 {
            // keepalived 2.2.7 takes it, when the version stands before the address, and sends VRRPv2 over
            // IPv6. No RFC has that, and the classifier calls it invalid.
            return Err(wrong("version 3 with an IPv6 address", "2"));
        }
        let vmac = self.vmac.map(|name| name.unwrap_or_else(|| vmacs.instance(vrid, v6)));
        let ipvlan = self.ipvlan.map(|name| name.unwrap_or_else(|| vmacs.instance(vrid, v6)));
        let elsewhere = vip.device.clone().filter(|device| *device != interface);
        let vip_on_vmac = vmac.is_some() && elsewhere.is_none();
        let vip_interface = match (&vmac, elsewhere) {
            (Some(vmac), None) => vmac.clone(),
            (None, None) if vip.vmac => vmacs.address(vrid, v6),
            (None, None) => interface.clone(),
            (_, Some(_)) if vip.vmac || self.vmac_for_addresses => vmacs.address(vrid, v6),
            (_, Some(device)) => device,
        };
        let default_priority = if self.starts_as_master { 255 } else { 100 };
        let priority = self.priority.unwrap_or(default_priority);
        let interval = sent(self.advert_interval.unwrap_or(Duration::from_secs(1)), version);
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
            vrid,
            priority,
            advert_interval: interval,
            version,
            vip: vip.address,
            prefix: vip.prefix,
            further: self.addresses.further(&interface, vmac.is_some(), self.vmac_for_addresses),
            vip_interface,
            interface,
            native_ipv6: self.native_ipv6,
            rules: AdvertRules { vip_on_vmac, ..self.adverts.rules(&globals.adverts, release, &about) },
            vmac,
        })
    }
}

fn number(statement: &Statement, min: u8, max: u8) -> Result<u8, ConfError> {
    let expected = format!("a number from {min} to {max}");
    let given = statement.value(&expected)?;
    given.parse().ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        statement.error(&format!("expected {expected} after {:?}, found {:?}", statement.keyword(), shown(given)))
    })
}

fn version(statement: &Statement) -> Result<u8, ConfError> {
    number(statement, 2, 3)
}

/// Whole seconds, or with up to six decimals.
fn interval(statement: &Statement) -> Result<Duration, ConfError> {
    let expected = "seconds from 0.01 to 255";
    let given = statement.value(expected)?;
    let plain = given.len() <= 12 && given.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = given.parse::<f64>().ok().filter(|seconds| plain && (0.01..=255.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| {
        statement.error(&format!("expected {expected} after {:?}, found {:?}", statement.keyword(), shown(given)))
    })
}

/// What an advert of this version carries: rounded as keepalived rounds it.
fn sent(interval: Duration, version: u8) -> Duration {
    let (unit, most) = if version == 2 { (1_000_000, 255) } else { (10_000, 4_095) };
    let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
    let units = (micros.saturating_add(unit / 2) / unit).clamp(1, most);
    Duration::from_micros(units * unit)
}

/// `use_vmac [NAME] [MAC]`, in either order.
fn vmac_name(statement: &Statement) -> Result<Option<String>, ConfError> {
    let at = statement.words.iter().skip(1).take(2).position(|word| !word.contains(':'));
    at.map(|at| device(statement, at + 1)).transpose()
}

/// The interface that is the word at `at`.
pub(super) fn device(statement: &Statement, at: usize) -> Result<String, ConfError> {
    let given = statement.words.get(at).map_or("", String::as_str);
    if given.contains('$') {
        return Err(statement
            .error(&format!("expected an interface, found {:?}: no such definition is known here", shown(given))));
    }
    match IfName::new(given) {
        Some(_) => Ok(given.to_owned()),
        None => Err(statement.error(&format!("expected an interface of 1 to 15 bytes, found {:?}", shown(given)))),
    }
}
