//! One `vrrp_instance`, and what `global_defs` says for all of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::statements::{Reader, Statement, shown};
use super::{ConfError, Place, refuse_unseen, vmac};
use crate::core::model::Password;
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
    /// `use_vmac`: the name of the interface that keepalived makes.
    pub vmac: Option<String>,
    /// `native_ipv6`.
    pub native_ipv6: bool,
    /// `unicast_peer` with a peer: adverts go to single addresses.
    pub unicast: bool,
    /// `auth_type`, where it is one that keepalived knows and the version has it.
    pub authentication: Option<Authentication>,
    /// `auth_pass` with `auth_type PASS`.
    pub password: Option<Password>,
}

/// VRRPv2 authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A password in clear.
    Pass,
    /// IPsec AH.
    Ah,
}

/// What `global_defs` says.
#[derive(Debug, Default)]
pub(super) struct Globals {
    version: Option<u8>,
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
                _ => {}
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
    vip: Option<Vip>,
    /// The name is none where keepalived makes it from the VRID.
    pub(super) vmac: Option<Option<String>>,
    vmac_for_addresses: bool,
    native_ipv6: bool,
    unicast: bool,
    authentication: Option<Authentication>,
    password: Option<Password>,
}

/// The first `virtual_ipaddress`.
#[derive(Debug)]
struct Vip {
    address: IpAddr,
    prefix: u8,
    /// `dev`
    device: Option<String>,
    /// `use_vmac` behind the address.
    vmac: bool,
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
            vip: None,
            vmac: None,
            vmac_for_addresses: false,
            native_ipv6: false,
            unicast: false,
            authentication: None,
            password: None,
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
                if self.version.is_none() && !(version == 2 && self.is_v6() == Some(true)) {
                    self.version = Some(version);
                }
            }
            "use_vmac" => self.vmac = Some(vmac_name(statement)?),
            "use_vmac_addr" => self.vmac_for_addresses = true,
            "native_ipv6" if self.is_v6() != Some(false) => {
                self.native_ipv6 = true;
                self.version = Some(3);
            }
            "unicast_peer" => {
                return reader.block(statement, |_, peer| {
                    self.unicast = true;
                    refuse_unseen(peer)
                });
            }
            "virtual_ipaddress" => return reader.block(statement, |_, line| self.address(line)),
            "authentication" => {
                return reader.block(statement, |_, line| {
                    match line.keyword() {
                        "auth_type" => {
                            self.authentication = match line.value("PASS or AH")? {
                                "PASS" => Some(Authentication::Pass),
                                "AH" => Some(Authentication::Ah),
                                _ => None,
                            };
                        }
                        "auth_pass" => self.password = password(line),
                        _ => {}
                    }
                    refuse_unseen(line)
                });
            }
            "vrrp_instance" => {
                let error =
                    statement.error(&format!("expected a }} that closes vrrp_instance {:?} first", shown(&self.name)));
                reader.fault(error.clone());
                return Err(error);
            }
            _ => {}
        }
        Ok(())
    }

    /// The family, once it is known.
    fn is_v6(&self) -> Option<bool> {
        self.vip.as_ref().map(|vip| vip.address.is_ipv6()).or(self.native_ipv6.then_some(true))
    }

    /// A line of `virtual_ipaddress`; the first one of the instance's family counts.
    fn address(&mut self, line: &Statement) -> Result<(), ConfError> {
        refuse_unseen(line)?;
        if self.vip.is_some() {
            return Ok(());
        }
        let given = line.keyword();
        let wrong = || line.error(&format!("expected an address such as 169.254.0.1/24, found {:?}", shown(given)));
        let (address, prefix) = given.split_once('/').map_or((given, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => whole,
            Some(text) => text.parse().ok().filter(|length| *length <= whole).ok_or_else(wrong)?,
        };
        if self.native_ipv6 && address.is_ipv4() {
            return Ok(());
        }
        let at = line.words.iter().position(|word| word == "dev");
        let device = at.map(|at| device(line, at + 1)).transpose()?;
        let label = line.words.iter().position(|word| word == "label").and_then(|at| line.words.get(at + 1));
        if let Some(label) = label.filter(|label| label.len() > 15) {
            let what = "expected a label of at most 15 bytes (keepalived drops the address otherwise)";
            return Err(line.error(&format!("{what}, found {:?}", shown(label))));
        }
        self.vip = Some(Vip { address, prefix, device, vmac: line.words.iter().any(|word| word == "use_vmac") });
        Ok(())
    }

    /// The instance, with the defaults that the whole configuration decides.
    ///
    /// # Errors
    /// The first thing that is wrong with it, or what it lacks.
    pub(super) fn finish(self, globals: &Globals, vmacs: &mut vmac::Names) -> Result<Instance, ConfError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let wrong = |expected: &str, found: &str| {
            self.place.error(format!("expected {expected} in vrrp_instance {:?}, found {found}", shown(&self.name)))
        };
        let missing = |what: &str| wrong(what, "none");
        let vip = self.vip.ok_or_else(|| missing("an address in virtual_ipaddress"))?;
        let vrid = self.vrid.ok_or_else(|| missing("virtual_router_id"))?;
        let interface = self.interface.ok_or_else(|| missing("interface"))?;
        let v6 = vip.address.is_ipv6();
        let version = self.version.unwrap_or(if v6 { 3 } else { globals.version.unwrap_or(2) });
        if v6 && version == 2 {
            // keepalived 2.2.7 takes it, when the version stands before the address, and sends VRRPv2 over
            // IPv6. No RFC has that, and the classifier calls it invalid.
            return Err(wrong("version 3 with an IPv6 address", "2"));
        }
        let vmac = self.vmac.map(|name| name.unwrap_or_else(|| vmacs.instance(vrid, v6)));
        let elsewhere = vip.device.filter(|device| *device != interface);
        let vip_interface = match (&vmac, elsewhere) {
            (Some(vmac), None) => vmac.clone(),
            (None, None) if vip.vmac => vmacs.address(vrid, v6),
            (None, None) => interface.clone(),
            (_, Some(_)) if vip.vmac || self.vmac_for_addresses => vmacs.address(vrid, v6),
            (_, Some(device)) => device,
        };
        let default_priority = if self.starts_as_master { 255 } else { 100 };
        Ok(Instance {
            file: self.place.file,
            line: self.place.line,
            name: self.name,
            interface,
            vrid,
            priority: self.priority.unwrap_or(default_priority),
            advert_interval: sent(self.advert_interval.unwrap_or(Duration::from_secs(1)), version),
            version,
            vip: vip.address,
            prefix: vip.prefix,
            vip_interface,
            vmac,
            native_ipv6: self.native_ipv6,
            unicast: self.unicast,
            authentication: self.authentication.filter(|_| version == 2),
            password: self.password.filter(|_| version == 2 && self.authentication == Some(Authentication::Pass)),
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

/// `auth_pass WORD`. A word that releases of keepalived split or replace in ways of their own is not
/// compared with anything: a peer must not be called a liar for it.
fn password(line: &Statement) -> Option<Password> {
    let [_, word] = line.words.as_slice() else { return None };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+/=:@%".contains(c);
    (!line.opens && !word.is_empty() && word.chars().all(plain)).then(|| Password::new(word))
}

/// `use_vmac [NAME] [MAC]`, in either order.
fn vmac_name(statement: &Statement) -> Result<Option<String>, ConfError> {
    let at = statement.words.iter().skip(1).take(2).position(|word| !word.contains(':'));
    at.map(|at| device(statement, at + 1)).transpose()
}

/// The interface that is the word at `at`.
fn device(statement: &Statement, at: usize) -> Result<String, ConfError> {
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
