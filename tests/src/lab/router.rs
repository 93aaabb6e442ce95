//! A router: what all nodes know of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

/// A router as the nodes know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its id.
    pub id: Uuid,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Its primary VIP, and so its adverts, are of IPv6.
    pub v6: bool,
}

impl Router {
    /// A router with a fresh id.
    pub fn new(vrid: u8) -> Self {
        Self { id: Uuid::new_v4(), vrid, v6: false }
    }

    /// One of IPv6.
    pub fn of_ipv6(vrid: u8) -> Self {
        Self { v6: true, ..Self::new(vrid) }
    }

    /// The primary VIP of a router of IPv4, without its prefix length.
    pub fn vip_ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 0, self.vrid)
    }

    /// The primary VIP, as Neutron chooses it; of IPv6 a link-local one.
    pub fn vip(&self) -> String {
        format!("{}/{}", self.vip_address(), if self.v6 { 64 } else { 24 })
    }

    /// The primary VIP without its prefix length, whatever its family.
    pub fn vip_address(&self) -> IpAddr {
        if self.v6 { Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, self.vrid.into()).into() } else { self.vip_ip().into() }
    }
}
