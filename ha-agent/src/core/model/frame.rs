//! Frames of our VRID: what an advert is, who sent it, and why one is not taken.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Mono;

/// A speaker's last advert and its current run, as the kernel side remembers it. One speaker is one
/// source, MAC, VLAN and content: several adverts of one source are several of these.
///
/// Equal in meaning to `ha_agent_common::Speaker`, in the core's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Sent by this host (egress), or received (ingress).
    pub side: Side,
    /// Why keepalived drops it. None: it is ours, or a peer's that keepalived takes.
    pub refused: Option<Reason>,
    /// Source address.
    pub source: IpAddr,
    /// Source address of the link layer, where the device has one.
    pub mac: Option<Mac>,
    /// VLAN that it came in, where it was tagged.
    pub vlan: Option<u16>,
    /// Cookie of the local socket that sent it; 0 unknown.
    pub sender: u64,
    /// Compares what else it says: equal content, equal advert.
    pub content: u64,
    /// 0 leaving, 255 address owner.
    pub priority: u8,
    /// The interval the advert carries.
    pub interval: Duration,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// How many addresses it lists.
    pub vip_count: u8,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// First advert of the current run (no gap over 1.5 intervals, no priority 0 in between).
    pub run_since: Mono,
    /// This advert.
    pub at: Mono,
    /// Adverts in the run, this one included.
    pub run_adverts: u64,
}

impl Advert {
    /// Whether two records are of one speaker: what it says of itself tells it from another one that
    /// uses the same source address.
    pub fn is_same_speaker(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.side, of.source, of.mac, of.vlan, of.refused, of.content, of.priority);
        key(self) == key(other)
    }

    /// Whether two records come from one host, as far as addresses tell.
    pub fn is_same_host(&self, other: &Self) -> bool {
        let differs = self.mac.zip(other.mac).is_some_and(|(a, b)| a != b);
        self.source == other.source && !differs
    }

    /// Whether its host resigned after it: priority 0 ends whatever else came from the same source
    /// address and MAC, and nothing that came from another MAC.
    pub fn has_resigned<'a>(&self, known: impl IntoIterator<Item = &'a Self>) -> bool {
        known.into_iter().any(|other| other.priority == 0 && other.at >= self.at && self.is_same_host(other))
    }
}

/// An Ethernet address. Written `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut words = text.split(':');
        for byte in &mut bytes {
            let word = words
                .next()
                .filter(|word| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .ok_or(())?;
            *byte = u8::from_str_radix(word, 16).map_err(|_| ())?;
        }
        if words.next().is_some() { Err(()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("not an Ethernet address"))
    }
}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Left this host.
    Local,
    /// Arrived.
    Foreign,
}

/// A frame of our VRID that is nobody's advert: keepalived never hears it, or cannot read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which way it went.
    pub side: Side,
    /// Source address it claims.
    pub source: IpAddr,
    /// Source address of the link layer, where the device has one.
    pub mac: Option<Mac>,
    /// VLAN that it came in, where it was tagged.
    pub vlan: Option<u16>,
    /// What is wrong with it.
    pub reason: Reason,
    /// Priority it claims.
    pub priority: u8,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// When it was seen.
    pub at: Mono,
}

impl Frame {
    /// The frame that brought an advert, as far as it is remembered.
    pub fn of(advert: &Advert, reason: Reason) -> Self {
        let Advert { side, source, mac, vlan, priority, ttl, at, .. } = *advert;
        Self { side, source, mac, vlan, reason, priority, ttl, at }
    }
}

/// Why a frame is neither ours nor a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// TTL or hop limit is not 255.
    Ttl,
    /// No checksum form that keepalived accepts matches.
    Checksum,
    /// Length does not fit the address count and the authentication.
    Length,
    /// Not an advertisement.
    Type,
    /// Another version than the instance's.
    Version,
    /// Another authentication type than the instance's.
    Auth,
    /// Another password than the instance's.
    Password,
    /// The integrity check value of an authentication header does not fit.
    Icv,
    /// The sequence number of an authentication header was used before.
    Sequence,
    /// Another advert interval than the instance's; VRRPv2 only.
    Interval,
    /// Other addresses than the instance's.
    Addresses,
    /// By unicast to an instance that uses multicast, or the reverse.
    Mode,
    /// From an address that is no configured peer's, where keepalived checks that.
    PeerSource,
    /// TTL or hop limit outside the range that is configured for this unicast peer.
    PeerTtl,
    /// The instance owns the address and takes no advert.
    Owner,
    /// For another host's Ethernet address.
    OtherHost,
    /// For an address that the instance's socket does not receive.
    Destination,
    /// The IP header is malformed: length, checksum or options.
    Header,
    /// With a source route.
    SourceRoute,
    /// From an address that the kernel does not accept there.
    MartianSource,
    /// Arrived with the address that this host sends from.
    OwnSource,
    /// Under another IP protocol than the instance's: with or without an authentication header.
    Protocol,
    /// Came from elsewhere and was forwarded.
    Forwarded,
    /// Sent by a local socket that is not a raw one of VRRP's protocol.
    NotVrrpSocket,
    /// Sent from an address that is not the device's.
    LocalSource,
    /// Sent from here with a TTL or hop limit that is not 255.
    LocalTtl,
    /// A second local socket sends for the VRID.
    SecondSender,
    /// Priority 0 from an address that never was master.
    StrangerResigned,
    /// One source address says different things at the same time.
    Contradiction,
}

/// How far a frame gets that is neither ours nor a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// keepalived reads it and drops it.
    Rejected,
    /// It never reaches keepalived's socket, or it leaves here and is not keepalived's.
    Unheard,
    /// keepalived takes it; what is odd about it shows only beside other frames.
    Taken,
}

impl Reason {
    /// How far a frame with this fault gets.
    pub fn standing(self) -> Standing {
        match self {
            Self::Ttl
            | Self::Checksum
            | Self::Length
            | Self::Type
            | Self::Version
            | Self::Auth
            | Self::Password
            | Self::Icv
            | Self::Sequence
            | Self::Interval
            | Self::Addresses
            | Self::Mode
            | Self::PeerSource
            | Self::PeerTtl
            | Self::Owner => Standing::Rejected,
            Self::OtherHost
            | Self::Destination
            | Self::Header
            | Self::SourceRoute
            | Self::MartianSource
            | Self::OwnSource
            | Self::Protocol
            | Self::Forwarded
            | Self::NotVrrpSocket
            | Self::LocalSource
            | Self::LocalTtl
            | Self::SecondSender => Standing::Unheard,
            Self::StrangerResigned | Self::Contradiction => Standing::Taken,
        }
    }

    /// The word used in events and details.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Checksum => "checksum",
            Self::Length => "length",
            Self::Type => "type",
            Self::Version => "version",
            Self::Auth => "auth",
            Self::Password => "password",
            Self::Icv => "icv",
            Self::Sequence => "sequence",
            Self::Interval => "interval",
            Self::Addresses => "addresses",
            Self::Mode => "mode",
            Self::PeerSource => "peer_source",
            Self::PeerTtl => "peer_ttl",
            Self::Owner => "owner",
            Self::OtherHost => "other_host",
            Self::Destination => "destination",
            Self::Header => "header",
            Self::SourceRoute => "source_route",
            Self::MartianSource => "martian_source",
            Self::OwnSource => "own_source",
            Self::Protocol => "protocol",
            Self::Forwarded => "forwarded",
            Self::NotVrrpSocket => "not_vrrp_socket",
            Self::LocalSource => "local_source",
            Self::LocalTtl => "local_ttl",
            Self::SecondSender => "second_sender",
            Self::StrangerResigned => "stranger_resigned",
            Self::Contradiction => "contradiction",
        }
    }
}

#[cfg(test)]
mod tests;
