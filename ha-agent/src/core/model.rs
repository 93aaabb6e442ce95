//! The words of the field: routers, states, what each channel can say.

mod frame;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::frame::{Advert, Frame, Mac, Reason, Side, Standing};
pub use super::reporter::Reporter;

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

/// So many of [`Further`]'s addresses are listed.
pub const FURTHER_LISTED: usize = 16;

/// The virtual addresses of an instance beside the primary VIP, as the address table shows them. No verdict rests on
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Further {
    /// How many it has.
    pub of: usize,
    /// How many of them are set, each on its own device.
    pub set: usize,
    /// Those, at most [`FURTHER_LISTED`].
    pub some_set: Box<[IpAddr]>,
    /// The others, at most as many.
    pub some_missing: Box<[IpAddr]>,
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
    /// Nobody: it resigned, and then it closed its socket.
    Resigned,
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

    /// As an advert carries it, for comparing.
    pub(crate) fn word(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
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
    /// As before, and another node is master; or a backup holds further addresses.
    OrphanVip,
    /// Adverts leave but the VIP is not set; or the primary lacks further addresses.
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
    /// This node is backup, and nobody listens for adverts: it would not take over.
    KeepalivedDown,
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
            Self::KeepalivedDown => "keepalived_down",
        }
    }
}
