//! What a frame is, and why it is not taken: the codes that cross the maps.

/// What a frame for a watched VRID is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// This host's own VRRP socket sent it out of this device.
    Ours = 1,
    /// The kernel delivers it to keepalived's socket, and keepalived takes it as a peer's advert.
    Peer = 2,
    /// keepalived reads it and drops it.
    Rejected = 3,
    /// It never reaches keepalived's socket; or it leaves here, and our keepalived did not send it.
    Unheard = 4,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a frame is not taken. 0 is no reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason of a code; none for 0 and for what is no code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// TTL or hop limit is not 255, in multicast mode (RFC 9568 section 5.1.1.3).
    Ttl = 1,
    /// The VRRP checksum is not the one of this version, family and mode.
    Checksum = 2,
    /// Shorter or longer than its address count says.
    Length = 3,
    /// VRRP type is not 1, advertisement.
    Type = 4,
    /// Another VRRP version than the instance's.
    Version = 5,
    /// Another VRRPv2 authentication type than the instance's, or none that exists.
    Auth = 6,
    /// Another VRRPv2 password than the instance's.
    Password = 7,
    /// The authentication header's integrity value is wrong, or its SPI is not the source address.
    Icv = 8,
    /// The authentication header's sequence number was used before.
    Sequence = 9,
    /// Another VRRPv2 advert interval than the instance's.
    Interval = 10,
    /// Another number of addresses, or other ones, than the instance's.
    Addresses = 11,
    /// The source is no `unicast_peer`, where that is checked.
    PeerSource = 12,
    /// The TTL is not within the peer's `min_ttl` and `max_ttl`.
    PeerTtl = 13,
    /// The instance owns the address and takes nobody's adverts.
    Owner = 14,
    /// The frame is another host's by its destination MAC: a switch floods it, IP drops it.
    OtherHost = 20,
    /// Sent to another address than the one that keepalived's socket is bound to; or leaves here for another one
    /// than our keepalived sends to.
    Destination = 21,
    /// The IP header is malformed, or its checksum is wrong.
    Header = 22,
    /// An IP option asks for a source route.
    SourceRoute = 23,
    /// The kernel takes no packet from this source on this device.
    MartianSource = 24,
    /// From an address of this host.
    OwnSource = 25,
    /// In an authentication header although the instance has none, or the other way round.
    Protocol = 26,
    /// Leaves here, but came from another device: forwarded.
    Forwarded = 30,
    /// Leaves here, but no raw socket for VRRP of this namespace sent it.
    NotVrrpSocket = 31,
    /// Leaves here, but not from an address of this host, or not yet known to be from one.
    LocalSource = 32,
    /// Leaves here with a TTL or hop limit that keepalived does not send.
    LocalTtl = 33,
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn codes_and_reasons_are_one_to_one() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(*reason as u8), Some(*reason));
        }
        let known = (0..=u8::MAX).filter(|code| Reason::from_code(*code).is_some()).count();
        assert_eq!(known, Reason::ALL.len());
        assert_eq!(Reason::from_code(0), None);
    }
}
