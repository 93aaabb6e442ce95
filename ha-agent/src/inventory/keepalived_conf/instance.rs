//! One `vrrp_instance`, and what `global_defs` says for all of them.

use std::net::IpAddr;
use std::time::Duration;

use super::statements::{Reader, Statement, shown};
use super::{ConfError, refuse_unseen};
use crate::netlink::decode::IfName;

/// A VRRP instance, with keepalived's own defaults where the text is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The line that begins it, counted from 1.
    pub line: usize,
    /// The word after `vrrp_instance`.
    pub name: String,
    /// Where its adverts go.
    pub interface: String,
    /// Virtual router identifier, 1 to 255.
    pub vrid: u8,
    /// 1 to 255; 255 owns the address. Default 100.
    pub priority: u8,
    /// 10 ms to 255 s; default 1 s.
    pub advert_interval: Duration,
    /// VRRP version, 2 or 3. IPv6 is always 3.
    pub version: u8,
    /// The first `virtual_ipaddress`.
    pub vip: IpAddr,
    /// Its prefix length; without one the whole address.
    pub prefix: u8,
    /// The `dev` it is given.
    pub vip_device: Option<String>,
    /// `use_vmac`: the name of the interface that keepalived makes.
    pub vmac: Option<String>,
    /// `native_ipv6`.
    pub native_ipv6: bool,
    /// `unicast_peer`: adverts go to single addresses.
    pub unicast: bool,
    /// `auth_type`, where it is one that keepalived knows.
    pub authentication: Option<Authentication>,
}

/// VRRPv2 authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A password in clear.
    Pass,
    /// IPsec AH.
    Ah,
}

impl Instance {
    /// The interface that holds the VIP: its `dev`, else the VMAC's, else the instance's own.
    pub fn vip_interface(&self) -> &str {
        self.vip_device.as_deref().or(self.vmac.as_deref()).unwrap_or(&self.interface)
    }
}

/// What `global_defs` says.
#[derive(Debug, Default)]
pub(super) struct Globals {
    version: Option<u8>,
    interface: Option<String>,
}

impl Globals {
    pub(super) fn read(&mut self, reader: &mut Reader, head: &Statement) -> Result<(), ConfError> {
        reader.block(head, |_, statement| {
            refuse_unseen(statement)?;
            match statement.keyword() {
                "vrrp_version" => self.version = Some(version(statement)?),
                "default_interface" => self.interface = Some(device(statement, statement.words.get(1))?),
                _ => {}
            }
            Ok(false)
        })
    }
}

/// An instance while it is read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    line: usize,
    name: String,
    interface: Option<String>,
    vrid: Option<u8>,
    priority: Option<u8>,
    advert_interval: Option<Duration>,
    version: Option<u8>,
    vip: Option<(IpAddr, u8)>,
    vip_device: Option<String>,
    /// The name is none where keepalived makes it from the VRID.
    vmac: Option<Option<String>>,
    native_ipv6: bool,
    unicast: bool,
    authentication: Option<Authentication>,
}

impl Draft {
    pub(super) fn read(reader: &mut Reader, head: &Statement) -> Result<Self, ConfError> {
        let name = head.value("a name")?.to_owned();
        let mut draft = Self { line: head.line, name, ..Self::default() };
        reader.block(head, |reader, statement| draft.take(reader, statement))?;
        Ok(draft)
    }

    fn take(&mut self, reader: &mut Reader, statement: &Statement) -> Result<bool, ConfError> {
        refuse_unseen(statement)?;
        match statement.keyword() {
            "interface" => self.interface = Some(device(statement, statement.words.get(1))?),
            "virtual_router_id" => self.vrid = Some(number(statement, 1, 255)?),
            "priority" => self.priority = Some(number(statement, 1, 255)?),
            "advert_int" => self.advert_interval = Some(interval(statement)?),
            "version" => self.version = Some(version(statement)?),
            "use_vmac" => self.vmac = Some(vmac(statement)?),
            "native_ipv6" => self.native_ipv6 = true,
            "unicast_peer" => self.unicast = true,
            "virtual_ipaddress" => {
                reader.block(statement, |_, line| self.address(line).map(|()| false))?;
                return Ok(true);
            }
            "authentication" => {
                reader.block(statement, |_, line| {
                    if line.keyword() == "auth_type" {
                        self.authentication = match line.value("PASS or AH")? {
                            "PASS" => Some(Authentication::Pass),
                            "AH" => Some(Authentication::Ah),
                            _ => None,
                        };
                    }
                    Ok(false)
                })?;
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    /// A line of `virtual_ipaddress`; the first one counts.
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
        if let Some(at) = line.words.iter().position(|word| word == "dev") {
            self.vip_device = Some(device(line, line.words.get(at + 1))?);
        }
        self.vip = Some((address, prefix));
        Ok(())
    }

    pub(super) fn finish(self, globals: &Globals) -> Result<Instance, ConfError> {
        let missing = |what: &str| {
            ConfError::new(self.line, format!("expected {what} in vrrp_instance {:?}, found none", shown(&self.name)))
        };
        let (vip, prefix) = self.vip.ok_or_else(|| missing("an address in virtual_ipaddress"))?;
        let vrid = self.vrid.ok_or_else(|| missing("virtual_router_id"))?;
        let interface = self.interface.or_else(|| globals.interface.clone()).ok_or_else(|| missing("interface"))?;
        let version = if vip.is_ipv6() { 3 } else { self.version.or(globals.version).unwrap_or(2) };
        Ok(Instance {
            line: self.line,
            name: self.name,
            interface,
            vrid,
            priority: self.priority.unwrap_or(100),
            advert_interval: self.advert_interval.unwrap_or(Duration::from_secs(1)),
            version,
            vip,
            prefix,
            vip_device: self.vip_device,
            vmac: self.vmac.map(|name| name.unwrap_or_else(|| format!("vrrp.{vrid}"))),
            native_ipv6: self.native_ipv6,
            unicast: self.unicast,
            authentication: self.authentication,
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

/// `use_vmac [NAME] [MAC]`
fn vmac(statement: &Statement) -> Result<Option<String>, ConfError> {
    let name = statement.words.get(1).filter(|word| !word.contains(':'));
    name.map(|_| device(statement, name)).transpose()
}

fn device(statement: &Statement, given: Option<&String>) -> Result<String, ConfError> {
    let given = given.map_or("", String::as_str);
    if given.contains('$') {
        return Err(statement
            .error(&format!("expected an interface, found {:?}: variables are not replaced here", shown(given))));
    }
    match IfName::new(given) {
        Some(_) => Ok(given.to_owned()),
        None => Err(statement.error(&format!("expected an interface of 1 to 15 bytes, found {:?}", shown(given)))),
    }
}
