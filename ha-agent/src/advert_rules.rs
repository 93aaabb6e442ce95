//! What a keepalived sends, and which adverts it takes as a peer's, as far as that is known.
//!
//! For a router that was found it comes from its keepalived.conf
//! ([`crate::inventory::keepalived_conf`]), for one given by hand from its table; whoever judges
//! frames fills in the rest from adverts that this host itself sent. Facts are keepalived 2.2.7's
//! (`vrrp_check_packet`, `vrrp_complete_instance`), and of later releases where one is named.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use crate::core::model::Password;

#[cfg(test)]
mod tests;

/// What an instance's keepalived sends, and takes as a peer's advert. `None`: not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertRules {
    /// VRRP version, 2 or 3. Another one is refused.
    pub version: Option<u8>,
    /// Where adverts go to, and where they are listened for.
    pub mode: Option<Mode>,
    /// VRRPv2 authentication; of VRRPv3 always [`Authentication::None`].
    pub authentication: Option<Authentication>,
    /// As adverts carry it. VRRPv2 refuses another one, VRRPv3 does not.
    pub interval: Option<Duration>,
    /// The addresses in its adverts, in their order, each as often as it is sent; any order is taken.
    pub addresses: Option<Vec<IpAddr>>,
    /// Whether another list of addresses is a reason to refuse an advert at all. False with
    /// `skip_check_adv_addr`: a backup then looks neither at the list nor, before 2.3.3, at
    /// [`UnicastPeer`]s where the source is the master that it knows. From 2.3.3 on no list is a reason
    /// ([`Release::takes_any_addresses`]).
    pub check_addresses: bool,
    /// The checksum of VRRPv3 over IPv4; VRRPv2 and IPv6 have only one form.
    pub checksum: Checksum,
    /// The destination in the pseudo-header of the old form: the group of all instances
    /// (`vrrp_mcast_group4`), also where this one has a group of its own. None: 224.0.0.18.
    pub old_checksum_group: Option<Ipv4Addr>,
    /// `unicast_src_ip` or `mcast_src_ip`: what it sends from, and in unicast mode listens on. None:
    /// the first address of the interface that is no virtual one.
    pub source: Option<IpAddr>,
    /// TTL or hop limit of what it sends. None: not known (IPv6 unicast without `unicast_ttl`: the
    /// kernel's default).
    pub ttl: Option<u8>,
    /// The device that its socket is bound to, where that is not the HA interface: the VMAC without
    /// `vmac_xmit_base`, or the ipvlan.
    pub receive_interface: Option<String>,
    /// `use_vmac`: a macvlan is on the HA interface, which keeps from it what has the macvlan's own MAC as
    /// its source.
    pub has_vmac: bool,
    /// Whether the VIP is on that macvlan, whatever its name.
    pub vip_on_vmac: bool,
    /// `lower_prio_no_advert`: a master leaves an advert of a lower priority unanswered, and does not
    /// put its next one off for it either.
    pub lower_priority_unanswered: bool,
    /// `owner_ignore_adverts`, from 2.3.3 on: priority 255, and no advert is taken.
    pub takes_none: bool,
    /// Whose rules they are.
    pub release: Release,
}

/// See [`AdvertRules::mode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To a group. A frame to any other address never reaches it.
    Multicast {
        /// `mcast_dst_ip`, or the group of all instances. None: 224.0.0.18 or ff02::12.
        group: Option<IpAddr>,
    },
    /// To single addresses. A frame to another one than its own never reaches it; TTL may be anything.
    Unicast {
        /// Where its adverts go, in their order.
        peers: Vec<UnicastPeer>,
        /// Whether only peers' adverts are taken, and only with their TTL.
        check_source: bool,
    },
}

/// A line of `unicast_peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastPeer {
    /// The peer's source address.
    pub address: IpAddr,
    /// The lowest TTL or hop limit that is taken from it.
    pub min_ttl: u8,
    /// The highest one.
    pub max_ttl: u8,
}

/// VRRPv2 authentication. A frame of another type is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Type 0.
    None,
    /// Type 1, a password in clear.
    Pass(Password),
    /// Type 2, IPsec AH: IP protocol 51, and its ICV is made with this key.
    Ah(Password),
    /// Type 1; the password is not read with certainty, so only the type is compared.
    PassUnknown,
    /// Type 2, likewise.
    AhUnknown,
}

/// See [`AdvertRules::checksum`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// With the pseudo-header of the packet. In unicast mode also the old form, which it changes to for
    /// good when one that fits only that is heard.
    #[default]
    Default,
    /// `old_unicast_checksum never`: with the pseudo-header of the packet, and nothing else.
    Never,
    /// `old_unicast_checksum`: only with the pseudo-header of [`AdvertRules::old_checksum_group`], in
    /// multicast mode too.
    Old,
    /// `v3_checksum_as_v2`, from 2.2.8 on: sent without pseudo-header, and of what is received **no**
    /// checksum is wrong.
    PlainV3,
}

/// A release of keepalived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// 2 of 2.3.4.
    pub major: u8,
    /// 3 of 2.3.4.
    pub minor: u8,
    /// 4 of 2.3.4.
    pub patch: u8,
}

impl AdvertRules {
    /// Nothing is known but the release.
    pub fn unknown(release: Release) -> Self {
        Self {
            version: None,
            mode: None,
            authentication: None,
            interval: None,
            addresses: None,
            check_addresses: true,
            checksum: Checksum::Default,
            old_checksum_group: None,
            source: None,
            ttl: None,
            receive_interface: None,
            has_vmac: false,
            vip_on_vmac: false,
            lower_priority_unanswered: false,
            takes_none: false,
            release,
        }
    }

    /// The password in clear that adverts carry, where it is known.
    pub fn password(&self) -> Option<Password> {
        match self.authentication {
            Some(Authentication::Pass(password)) => Some(password),
            _ => None,
        }
    }

    /// Whether adverts go to single addresses.
    pub fn is_unicast(&self) -> bool {
        matches!(self.mode, Some(Mode::Unicast { .. }))
    }
}

impl Default for AdvertRules {
    fn default() -> Self {
        Self::unknown(Release::default())
    }
}

impl Release {
    /// Of its three numbers.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch }
    }

    /// Another number or list of addresses is only counted, and the advert is taken.
    pub fn takes_any_addresses(self) -> bool {
        self >= Self::new(2, 3, 3)
    }

    /// Bytes behind the advert that Ethernet filled up are no reason to refuse it.
    pub fn bears_padding(self) -> bool {
        self >= Self::new(2, 3, 2)
    }

    /// Knows `v3_checksum_as_v2`.
    pub fn has_plain_v3(self) -> bool {
        self >= Self::new(2, 2, 8)
    }

    /// Knows `owner_ignore_adverts`.
    pub(crate) fn has_owner_ignore_adverts(self) -> bool {
        self >= Self::new(2, 3, 3)
    }

    /// Drops what stands twice in a list of addresses or peers.
    pub(crate) fn drops_repetitions(self) -> bool {
        self >= Self::new(2, 3, 3)
    }

    /// Reads seconds with strtod(3).
    pub(crate) fn reads_seconds_as_double(self) -> bool {
        self < Self::new(2, 2, 3)
    }

    /// Knows `use_vmac_addr`, and `use_vmac` behind an address.
    pub(crate) fn has_vmac_of_addresses(self) -> bool {
        self >= Self::new(2, 2, 0)
    }

    /// Drops an address whose label is too long; before it cuts the label.
    pub(crate) fn drops_long_labels(self) -> bool {
        self >= Self::new(2, 2, 3)
    }

    /// Unicast mode and a VMAC go together; before a peer takes `use_vmac` away.
    pub(crate) fn has_vmac_with_unicast(self) -> bool {
        self >= Self::new(2, 2, 0)
    }

    /// Knows `mcast_dst_ip`, and takes every keyword of unicast mode for a wish for it.
    pub(crate) fn has_group_of_instance(self) -> bool {
        self >= Self::new(2, 2, 5)
    }

    /// Unicast mode goes without an interface.
    pub(crate) fn has_unicast_anywhere(self) -> bool {
        self < Self::new(2, 2, 5) || self >= Self::new(2, 3, 0)
    }

    /// Reads options behind `use_vmac` such as `name` and `group`.
    pub(crate) fn has_vmac_options(self) -> bool {
        self >= Self::new(2, 3, 0)
    }

    /// Takes no line for one of the instance before, where the instance that it stands in is passed over.
    pub(crate) fn forgets_what_it_passes_over(self) -> bool {
        self >= Self::new(2, 3, 0)
    }

    /// Knows `no_virtual_ipaddress`.
    pub(crate) fn has_no_virtual_ipaddress(self) -> bool {
        self >= Self::new(2, 3, 0)
    }

    /// Reads `no` and `false` behind `vrrp_strict` and `vrrp_skip_check_adv_addr`.
    pub(crate) fn reads_global_flags(self) -> bool {
        self >= Self::new(2, 3, 0)
    }
}

impl Default for Release {
    /// The oldest that is reckoned with.
    fn default() -> Self {
        Self::new(2, 2, 7)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not three numbers such as `2.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a release of keepalived such as 2.2.7")]
pub struct NoRelease;

impl FromStr for Release {
    type Err = NoRelease;

    fn from_str(text: &str) -> Result<Self, NoRelease> {
        let mut numbers = text.split('.').map(|number| {
            let plain = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| plain).ok_or(NoRelease)
        });
        let mut next = || numbers.next().unwrap_or(Err(NoRelease));
        let release = Self::new(next()?, next()?, next()?);
        if numbers.next().is_some() { Err(NoRelease) } else { Ok(release) }
    }
}
