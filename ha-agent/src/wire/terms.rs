//! What callers say to this channel and hear from it.

use std::net::IpAddr;
use std::path::PathBuf;

use ha_agent_common::{FAMILY_V4, FAMILY_V6};
use netlink_packet_route::AddressFamily;

use crate::advert_rules::AdvertRules;
use crate::config::Netns;
use crate::core::model::{Advert, Frame, Reason, RouterId};
use crate::core::time::Mono;

/// How to load and attach.
#[derive(Clone, Debug, Default)]
pub struct WireOptions {
    /// An object to load instead of the embedded one.
    pub object: Option<PathBuf>,
    /// Attach by clsact even where the kernel has tcx (6.6).
    pub force_clsact: bool,
    /// Tell attachments apart by a class id of their own even where the namespace's cookie can be
    /// read ([`super::Identity::ClassId`]); this needs clsact and implies it.
    pub force_realm_const: bool,
}

/// Address family of the adverts to watch: the one of the router's VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// VRRP over IPv4.
    V4,
    /// VRRP over IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Family {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::V4 => FAMILY_V4,
            Self::V6 => FAMILY_V6,
        }
    }
}

/// What to watch for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The router.
    pub router: RouterId,
    /// Its namespace.
    pub netns: Netns,
    /// Its HA interface.
    pub interface: String,
    /// The index of the device that its adverts pass, where that is another one: the one below a VMAC that was
    /// made on a macvlan.
    pub through: Option<u32>,
    /// Its virtual router identifier.
    pub vrid: u8,
    /// The family of its adverts.
    pub family: Family,
    /// Its primary VIP.
    pub vip: IpAddr,
    /// What its keepalived sends and takes, as far as the configuration says.
    pub rules: AdvertRules,
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

/// What the frames of a router's VRID were, since it is watched: each count only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Sent by this host's keepalived.
    pub ours: u64,
    /// Taken by it as a peer's.
    pub peers: u64,
    /// Read by it and dropped.
    pub rejected: u64,
    /// Never delivered to it; or sent from here, but not by it.
    pub unheard: u64,
    /// Why the newest one that was not taken was not.
    pub reason: Option<Reason>,
}

/// What the classifier reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireEvent {
    /// Something new about a speaker: first sight, a change, or a new run.
    Advert {
        /// For which router.
        router: RouterId,
        /// The speaker as it stood then.
        advert: Advert,
    },
    /// A frame that no honest speaker sends.
    Invalid {
        /// For which router.
        router: RouterId,
        /// What was seen.
        frame: Frame,
    },
    /// Reports were withheld by a budget or lost to a full ring buffer: every router's reading may
    /// hold what no event told.
    Lost {
        /// How many since the last such event.
        records: u64,
    },
}

/// All speakers of a router as the kernel side remembers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireReading {
    /// Both sides; the local one first.
    pub speakers: Vec<Advert>,
    /// The newest frame of the VRID that keepalived read and dropped.
    pub rejected_at: Option<Mono>,
    /// Whether the VIP is among the addresses of our last advert; none: that cannot be told.
    pub lists_vip: Option<bool>,
    /// Taken before the maps were read: what came later may be in it, what came earlier is.
    pub as_of: Mono,
}
