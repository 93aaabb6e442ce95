//! The words of the field: routers, states, what each channel can say.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Mono;

/// A Neutron router's UUID, or the one that the configuration gives a plain keepalived instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouterId(pub Uuid);

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RouterId {
    type Err = uuid::Error;
    /// Takes the hyphenated form only, in either case: what Neutron and keepalived users write.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 36 {
            // `Uuid` takes four forms; parsing a bad one yields the error that says what is wrong.
            return Err(Uuid::parse_str("-").expect_err("not a UUID"));
        }
        Uuid::parse_str(text).map(Self)
    }
}

/// A router's role as VRRP and Neutron name it (Neutron 17 and later: `primary`; before: `master`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Holds the VIP and sends adverts.
    Primary,
    /// Holds no VIP and sends no adverts.
    Backup,
    /// Cannot take part: its interface is down or gone.
    Fault,
    /// Not known.
    Unknown,
}

impl State {
    /// The lower-case word, as in events and in Neutron from release 17 on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
            Self::Fault => "fault",
            Self::Unknown => "unknown",
        }
    }

    /// The state that a reporter's word names; `master` is the word of releases up to 16. Exact case.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "primary" | "master" => Self::Primary,
            "backup" => Self::Backup,
            "fault" => Self::Fault,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The three independent sources of knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// What keepalived's side says.
    Report,
    /// The kernel's address table, by rtnetlink.
    Vip,
    /// Adverts that the classifier sees.
    Wire,
}

/// The channels that bear a state out: written `report+vip+wire`, in this order; `none` when empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Basis {
    /// Someone reported it.
    pub report: bool,
    /// The address table agrees.
    pub vip: bool,
    /// The wire agrees.
    pub wire: bool,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = [(self.report, "report"), (self.vip, "vip"), (self.wire, "wire")]
            .into_iter()
            .filter_map(|(on, word)| on.then_some(word))
            .collect();
        f.pad(&if words.is_empty() { "none".to_owned() } else { words.join("+") })
    }
}

impl FromStr for Basis {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut basis = Self::default();
        for word in text.split('+') {
            match word {
                "report" => basis.report = true,
                "vip" => basis.vip = true,
                "wire" => basis.wire = true,
                "none" => {}
                _ => return Err(()),
            }
        }
        Ok(basis)
    }
}

impl Serialize for Basis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Basis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("not a basis"))
    }
}

/// Whether the primary VIP is in the address table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vip {
    /// It is set.
    Present,
    /// It is not set, or its interface is gone.
    Absent,
    /// Not read yet, or the channel is down.
    #[default]
    Unknown,
}

/// The HA interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// Up, with carrier.
    Up,
    /// Administratively down, or without carrier.
    Down,
    /// Does not exist.
    Gone,
    /// Not read yet.
    #[default]
    Unknown,
}

/// keepalived as its own socket shows it: who listens for adverts in the router's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// Somebody does, and reads what comes.
    Reading,
    /// Somebody has the socket, but adverts pile up unread.
    Stalled,
    /// Nobody.
    Gone,
}

/// Who made a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "via")]
pub enum Reporter {
    /// Over the state-change socket: `SO_PEERCRED` of the peer. The pid may have been reused.
    Socket {
        /// Peer's user id.
        uid: u32,
        /// Peer's process id.
        pid: i32,
    },
    /// A line of keepalived's notify FIFO.
    Fifo,
}

/// A VRRPv2 simple password (RFC 2338 section 5.3.10). It crosses the wire in clear and keeps nobody
/// out for good; still no message shows it, so that no log spreads it further.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; 8]);

impl Password {
    /// As `auth_pass` gives it: keepalived sends its first eight bytes, filled up with zeros.
    pub fn new(text: &str) -> Self {
        let mut word = [0; 8];
        for (into, byte) in word.iter_mut().zip(text.bytes()) {
            *into = byte;
        }
        Self(word)
    }

    /// As an advert carries it.
    pub fn from_wire(word: [u8; 8]) -> Self {
        Self(word)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

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
            let word = words.next().filter(|word| word.len() == 2).ok_or(())?;
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
            | Self::PeerTtl => Standing::Rejected,
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

/// The disagreements that are named (DESIGN section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyKind {
    /// This node and another one advertise at the same time.
    SplitBrain,
    /// The VIP is held but no adverts leave.
    SilentPrimary,
    /// As before, and another node is master.
    OrphanVip,
    /// Adverts leave but the VIP is not set.
    MissingVip,
    /// A frame that keepalived would reject, or that no honest speaker sends.
    ForgedAdvert,
    /// Someone else uses our VRID with other addresses, version or authentication.
    ForeignMaster,
    /// The other master's adverts carry another interval.
    AdvertIntervalMismatch,
    /// Nobody advertises and nobody here holds the VIP.
    NoPrimary,
    /// The role changes too often.
    Flapping,
}

impl AnomalyKind {
    /// The word used in events, metrics and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SplitBrain => "split_brain",
            Self::SilentPrimary => "silent_primary",
            Self::OrphanVip => "orphan_vip",
            Self::MissingVip => "missing_vip",
            Self::ForgedAdvert => "forged_advert",
            Self::ForeignMaster => "foreign_master",
            Self::AdvertIntervalMismatch => "advert_interval_mismatch",
            Self::NoPrimary => "no_primary",
            Self::Flapping => "flapping",
        }
    }
}
