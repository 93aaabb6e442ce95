//! The configurations under which keepalived is asked.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Virtual router of the instance that is asked.
pub const VRID: u8 = 7;
/// The instance's name.
pub const INSTANCE: &str = "asked";
/// Its priority: nearly every advert is worse, so that it says that it took it.
pub const PRIORITY: u8 = 254;
/// The interface's MAC address.
pub const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// The password, as it is configured.
pub const PASSWORD: &str = "secret";

/// Who is on the link. In IPv4 169.254.192.n/18, in IPv6 fe80::n/64 and fd77::n/64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The node under test.
    Own = 10,
    /// Whose adverts are bent.
    Peer = 101,
    /// A second peer: it holds the instance in its state and marks where a case begins and ends.
    Keeper = 102,
    /// A third one, which no configuration names.
    Stranger = 103,
}

/// VRRPv2's authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// None.
    None,
    /// A password.
    Pass,
    /// An authentication header.
    Ah,
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// What it is called.
    pub name: &'static str,
    /// 2 or 3.
    pub version: u8,
    /// Over IPv6.
    pub v6: bool,
    /// Adverts go from address to address.
    pub unicast: bool,
    /// Authentication.
    pub auth: Auth,
    /// How many virtual addresses.
    pub count: u8,
    /// `vrrp_mcast_group4`.
    pub group: Option<Ipv4Addr>,
    /// `use_vmac`.
    pub vmac: bool,
    /// `net.ipv4.conf.….rp_filter`.
    pub rp_filter: bool,
    /// Other lines of `global_defs`.
    pub globals: &'static str,
    /// Other lines of the instance.
    pub lines: &'static str,
    /// What a peer's line says besides the address.
    pub ttl: &'static str,
}

const PLAIN: Configuration = Configuration {
    name: "",
    version: 2,
    v6: false,
    unicast: false,
    auth: Auth::None,
    count: 1,
    group: None,
    vmac: false,
    rp_filter: false,
    globals: "",
    lines: "",
    ttl: "",
};

/// All of them.
pub const ALL: &[Configuration] = &[
    Configuration { name: "v2", ..PLAIN },
    Configuration { name: "v2-pass", auth: Auth::Pass, ..PLAIN },
    Configuration { name: "v2-ah", auth: Auth::Ah, ..PLAIN },
    Configuration { name: "v2-three", count: 3, rp_filter: true, ..PLAIN },
    Configuration { name: "v2-group", group: Some(Ipv4Addr::new(224, 0, 0, 100)), ..PLAIN },
    Configuration { name: "v2-unicast", unicast: true, ..PLAIN },
    Configuration { name: "v2-unicast-ah", unicast: true, auth: Auth::Ah, ..PLAIN },
    Configuration { name: "v2-vmac", vmac: true, ..PLAIN },
    Configuration { name: "v2-vmac-base", vmac: true, lines: "    vmac_xmit_base\n", ..PLAIN },
    Configuration { name: "v3", version: 3, ..PLAIN },
    Configuration { name: "v3-three", version: 3, count: 3, ..PLAIN },
    Configuration { name: "v3-unicast", version: 3, unicast: true, ..PLAIN },
    Configuration {
        name: "v3-unicast-checked",
        version: 3,
        unicast: true,
        lines: "    check_unicast_src\n    old_unicast_checksum never\n",
        ttl: " min_ttl 250 max_ttl 254",
        ..PLAIN
    },
    Configuration { name: "v3-unicast-old", version: 3, unicast: true, lines: "    old_unicast_checksum\n", ..PLAIN },
    Configuration { name: "v3-vmac", version: 3, vmac: true, ..PLAIN },
    Configuration { name: "v3-vmac-unicast", version: 3, vmac: true, unicast: true, ..PLAIN },
    Configuration { name: "v3-ipv6-vmac", version: 3, vmac: true, v6: true, ..PLAIN },
    Configuration { name: "v3-ipv6", version: 3, v6: true, count: 2, ..PLAIN },
    Configuration { name: "v3-ipv6-unicast", version: 3, v6: true, unicast: true, count: 2, ..PLAIN },
];

impl Configuration {
    /// The one that is called so.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|configuration| configuration.name == name)
    }

    /// The address that a host sends adverts from, and gets them at.
    pub fn address(&self, host: Host) -> IpAddr {
        let number = host as u8;
        match (self.v6, self.unicast) {
            (false, _) => self.address_v4(host).into(),
            (true, false) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()).into(),
            (true, true) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()).into(),
        }
    }

    /// The IPv4 address of a host.
    pub fn address_v4(&self, host: Host) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 192, host as u8)
    }

    /// The group of the configuration: for IPv4 also that of the old checksums of unicast adverts.
    pub fn group(&self) -> IpAddr {
        if self.v6 {
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into()
        } else {
            self.group.unwrap_or(Ipv4Addr::new(224, 0, 0, 18)).into()
        }
    }

    /// Where a sound advert goes.
    pub fn destination(&self) -> IpAddr {
        if self.unicast { self.address(Host::Own) } else { self.group() }
    }

    /// The TTL or hop limit of a sound advert.
    pub fn sound_ttl(&self) -> u8 {
        if self.ttl.is_empty() { 255 } else { 252 }
    }

    /// The virtual addresses, in the order in which they are configured.
    pub fn addresses(&self) -> Vec<IpAddr> {
        (0..self.count).map(|number| self.virtual_address(number)).collect()
    }

    /// The virtual address with a number; those behind the last one are foreign.
    pub fn virtual_address(&self, number: u8) -> IpAddr {
        match (self.v6, number) {
            (false, _) => Ipv4Addr::new(169, 254, number, VRID).into(),
            // The first one has to be a link-local one.
            (true, 0) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9, VRID.into()).into(),
            (true, _) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, number.into(), VRID.into()).into(),
        }
    }

    /// Its socket is on the virtual router's device.
    pub fn listens_on_vmac(&self) -> bool {
        self.vmac && !self.unicast && !self.lines.contains("vmac_xmit_base")
    }

    /// The password as the wire has it.
    pub fn password(&self) -> [u8; 8] {
        let mut word = [0; 8];
        if self.auth != Auth::None {
            word.iter_mut().zip(PASSWORD.bytes()).for_each(|(byte, letter)| *byte = letter);
        }
        word
    }

    /// keepalived.conf.
    ///
    /// # Errors
    /// Never: a string takes everything.
    pub fn conf(&self, interface: &str) -> Result<String, std::fmt::Error> {
        // The unknown VRIDs are the marks; no answer to a worse advert but the advert itself.
        let mut conf = String::from("global_defs {\n    log_unknown_vrids\n    vrrp_garp_master_repeat 1\n");
        conf.push_str("    vrrp_garp_lower_prio_repeat 0\n    vrrp_garp_master_delay 0\n");
        conf.push_str(self.globals);
        if let Some(group) = self.group {
            writeln!(conf, "    vrrp_mcast_group4 {group}")?;
        }
        writeln!(conf, "}}\nvrrp_instance {INSTANCE} {{\n    state BACKUP\n    interface {interface}")?;
        writeln!(conf, "    virtual_router_id {VRID}\n    priority {PRIORITY}\n    advert_int 1")?;
        writeln!(conf, "    version {}", self.version)?;
        if self.vmac {
            conf.push_str("    use_vmac\n");
        }
        match self.auth {
            Auth::None => {}
            Auth::Pass | Auth::Ah => {
                let kind = if self.auth == Auth::Pass { "PASS" } else { "AH" };
                writeln!(
                    conf,
                    "    authentication {{\n        auth_type {kind}\n        auth_pass {PASSWORD}\n    }}"
                )?;
            }
        }
        if self.unicast {
            writeln!(conf, "    unicast_src_ip {}\n    unicast_peer {{", self.address(Host::Own))?;
            for peer in [Host::Peer, Host::Keeper] {
                writeln!(conf, "        {}{}", self.address(peer), self.ttl)?;
            }
            conf.push_str("    }\n");
        }
        conf.push_str(self.lines);
        conf.push_str("    virtual_ipaddress {\n");
        for address in self.addresses() {
            writeln!(conf, "        {address}/{}", if self.v6 { 64 } else { 24 })?;
        }
        conf.push_str("    }\n}\n");
        Ok(conf)
    }
}
