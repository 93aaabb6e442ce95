//! What a frame was, in the words of the agent.

use std::fmt;

/// What a frame was to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A peer's advert.
    Taken,
    /// The instance read it and dropped it.
    Rejected(Reason),
    /// It never reached the instance.
    Unheard,
}

/// Why an instance dropped a frame that it had read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// TTL or hop limit.
    Ttl,
    /// VRRP checksum.
    Checksum,
    /// Length.
    Length,
    /// VRRP type.
    Type,
    /// VRRP version.
    Version,
    /// Type of authentication.
    Auth,
    /// Password.
    Password,
    /// Integrity check value, or SPI.
    Icv,
    /// Sequence number.
    Sequence,
    /// Interval.
    Interval,
    /// Address list.
    Addresses,
    /// Unicast for multicast or the reverse.
    Mode,
    /// Not a configured peer.
    PeerSource,
    /// Outside the peer's range.
    PeerTtl,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => write!(out, "taken"),
            Self::Rejected(reason) => write!(out, "rejected: {reason:?}"),
            Self::Unheard => write!(out, "unheard"),
        }
    }
}
