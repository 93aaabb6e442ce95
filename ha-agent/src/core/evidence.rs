//! What the channels said, as it is shown to people and written into events.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::model::{Link, Listener, Mac, Reporter, State, Vip};

/// A snapshot of all that is known of one router at the moment of a verdict. Ages are milliseconds
/// before that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The address table.
    pub vip: Vip,
    /// The HA interface.
    pub link: Link,
    /// Our own adverts.
    pub tx: TxEvidence,
    /// The best live foreign master on the wire.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub foreign: Option<ForeignEvidence>,
    /// The last report.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub report: Option<ReportEvidence>,
    /// The further addresses, where it has any.
    #[serde(rename = "further_addresses", skip_serializing_if = "Option::is_none", default)]
    pub further: Option<AddressEvidence>,
    /// Who listens for adverts here, where nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub listener: Option<Listener>,
    /// Channels that have no vote now.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub channels_down: Vec<super::model::Channel>,
}

/// The virtual addresses beside the primary VIP, excluded ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressEvidence {
    /// How many there are.
    pub of: usize,
    /// How many of them are set.
    pub set: usize,
}

/// What our own adverts say (W-tx in DESIGN section 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxEvidence {
    /// The judgement.
    pub state: Tx,
    /// Priority of the last advert.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub priority: Option<u8>,
    /// Age of the last advert.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub age_ms: Option<u64>,
}

/// W-tx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tx {
    /// Our last advert is younger than 1.5 intervals.
    Transmitting,
    /// Our last advert had priority 0.
    Resigned,
    /// A better foreign advert came after our last one.
    Yielded,
    /// Nothing left for 1.5 intervals; keepalived puts adverts off by as much for the ones that it rejects.
    Delayed,
    /// Nothing left for 1.5 intervals, or for `settle` since the VIP went, and nothing explains it.
    Silent,
    /// Not observed for long enough to say.
    #[default]
    Unknown,
}

/// A foreign master (W-rx).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignEvidence {
    /// Its address.
    pub address: IpAddr,
    /// Its address on the link layer, where the device has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<Mac>,
    /// The VLAN that its adverts come in, where they are tagged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vlan: Option<u16>,
    /// Its priority.
    pub priority: u8,
    /// The interval its adverts carry.
    pub interval_ms: u64,
    /// Age of its last advert.
    pub age_ms: u64,
}

/// The last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEvidence {
    /// What it claimed.
    pub state: State,
    /// Who made it.
    pub reporter: Reporter,
    /// How long ago.
    pub age_ms: u64,
}
