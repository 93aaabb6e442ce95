//! What the keepalived of one instance sends, and takes as a peer's advert.

/// What is compared with a frame. The agent fills it from keepalived's configuration; what our own
/// adverts say replaces it ([`crate::judge::learn`]), since keepalived may not have reread its file yet. Where
/// adverts go is an exception ([`Rules::MODE_CONFIGURED`]): by that our own are known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// [`crate::list::List::digest`] of the instance's addresses; with [`Rules::KNOWS_LIST`].
    pub list: u64,
    /// The cookie of the socket that our keepalived sent by under the rules before these; 0: not known. As long as it
    /// sends by that one it has not read what says where adverts go now.
    pub socket: u64,
    /// [`crate::ah::Key`] of the instance's password; with authentication type 2.
    pub ah: crate::ah::Key,
    /// VRRPv2 password; with [`Rules::KNOWS_PASSWORD`].
    pub password: [u8; 8],
    /// Where keepalived's socket is bound to: the group, or in unicast mode our own address. IPv4 in the
    /// first four bytes. Zero: not known.
    pub destination: [u8; 16],
    /// `vrrp_mcast_group4`, which an old VRRPv3 unicast checksum is made with.
    pub group: [u8; 4],
    /// VRRPv2 advert interval in centiseconds; 0: not known.
    pub interval_cs: u16,
    /// `KNOWS_…` and other bits of this type.
    pub flags: u16,
    /// VRRP version; 0: not known.
    pub version: u8,
    /// VRRPv2 authentication type; with [`Rules::KNOWS_AUTH`].
    pub auth_type: u8,
    /// Addresses of the instance; with [`Rules::KNOWS_LIST`].
    pub vip_count: u8,
    /// TTL or hop limit of our own unicast adverts; 0: not known.
    pub ttl: u8,
    /// Zero.
    pub pad: [u8; 4],
}

impl Rules {
    /// Whether adverts go to peers or to the group is known.
    pub const KNOWS_MODE: u16 = 1 << 0;
    /// `unicast_peer`.
    pub const UNICAST: u16 = 1 << 1;
    /// The authentication type is known.
    pub const KNOWS_AUTH: u16 = 1 << 2;
    /// The password is known: that of type 1, or the key of type 2.
    pub const KNOWS_PASSWORD: u16 = 1 << 3;
    /// The addresses are known.
    pub const KNOWS_LIST: u16 = 1 << 4;
    /// This keepalived takes adverts with other addresses, too (from 2.3.3).
    pub const ANY_LIST: u16 = 1 << 5;
    /// This keepalived bears what Ethernet may have padded (from 2.3.2).
    pub const PADDING: u16 = 1 << 6;
    /// `old_unicast_checksum`.
    pub const OLD_CHECKSUM: u16 = 1 << 7;
    /// `old_unicast_checksum never`.
    pub const NEVER_OLD_CHECKSUM: u16 = 1 << 8;
    /// `v3_checksum_as_v2`: VRRPv3's checksum is not looked at (from 2.2.8).
    pub const ANY_CHECKSUM: u16 = 1 << 9;
    /// `check_unicast_src`: only adverts of peers that are in the map `PEERS`.
    pub const CHECK_PEERS: u16 = 1 << 10;
    /// `use_vmac`: keepalived's socket is on the virtual router's device, a macvlan.
    pub const VMAC: u16 = 1 << 11;
    /// `owner_ignore_adverts` of an address owner (from 2.3.3).
    pub const TAKES_NONE: u16 = 1 << 12;
    /// `use_vmac`, but keepalived's socket is on the interface itself (`vmac_xmit_base`).
    pub const VMAC_BESIDE: u16 = 1 << 13;
    /// The configuration says where our own adverts go to: to the group that is [`Rules::destination`], or to the
    /// peers that are in the map `PEERS`.
    pub const KNOWS_TARGETS: u16 = 1 << 14;
    /// The configuration says whether adverts go to peers or to the group: no advert says otherwise.
    pub const MODE_CONFIGURED: u16 = 1 << 15;

    /// Whether all of these bits are set.
    #[inline(always)]
    pub const fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Whether it is known that adverts go to single addresses.
    #[inline(always)]
    pub const fn is_unicast(&self) -> bool {
        self.has(Self::KNOWS_MODE | Self::UNICAST)
    }
}
