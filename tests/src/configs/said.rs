//! What keepalived, or the agent, says of a configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ha_agent::advert_rules::{Mode, Release};
use ha_agent::inventory::keepalived_conf::{Effect, FileError, Files, Held, Instance, Reading, read};

/// Adverts go to a group, which is not told.
pub const MULTICAST: &str = "a group";
/// What both are told to be.
pub const CONFIG_ID: &str = "node1";

/// An instance, as both tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// Where its adverts leave, VMAC or not.
    pub interface: String,
    /// Its VRID.
    pub vrid: u8,
    /// Its family.
    pub v6: bool,
    /// Its version.
    pub version: u8,
    /// Milliseconds between adverts.
    pub interval_ms: u128,
    /// Its priority.
    pub priority: u8,
    /// Where adverts go: the peers, or the group.
    pub mode: String,
    /// `ADDRESS/PREFIX INTERFACE`, in their order.
    pub listed: Vec<String>,
    /// Those that adverts do not list.
    pub excluded: Vec<String>,
}

/// What is said of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These run.
    Runs(Vec<Said>),
    /// It does not start, in words.
    Ends(String),
}

/// The agent's answer.
#[derive(Clone, Debug)]
pub struct Ours {
    /// What it says.
    pub answer: Answer,
    /// Instances of which it says that it does not know them.
    pub unknown: BTreeSet<String>,
    /// It says that it does not see all of them.
    pub hides: bool,
    /// What it warns of.
    pub warnings: usize,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.v6 { 6 } else { 4 };
        write!(
            f,
            "{:?} on {:?}, VRID {}, IPv{family}, VRRPv{}, every {} ms, priority {}, to {}, listed {:?}, excluded {:?}",
            self.name,
            self.interface,
            self.vrid,
            self.version,
            self.interval_ms,
            self.priority,
            self.mode,
            self.listed,
            self.excluded
        )
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(all) if all.is_empty() => write!(f, "  no instance"),
            Self::Runs(all) => {
                let lines: Vec<String> = all.iter().map(|one| format!("  {one}")).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Ends(why) => write!(f, "  it does not start: {why}"),
        }
    }
}

/// The agent reads a text.
pub fn ours(text: &str, release: Release) -> Ours {
    of(&read(Path::new("/k.conf"), CONFIG_ID, release, &mut Alone(text)))
}

/// A file that is alone.
struct Alone<'a>(&'a str);

impl Files for Alone<'_> {
    fn find(&mut self, _: &Path) -> Result<Vec<PathBuf>, FileError> {
        Err(FileError::Skipped("it is not there".to_owned()))
    }

    fn text(&mut self, _: &Path) -> Result<String, FileError> {
        Ok(self.0.to_owned())
    }
}

fn of(reading: &Reading) -> Ours {
    let ends = reading.troubles.iter().find(|trouble| trouble.effect == Effect::Ends);
    let answer = match ends {
        Some(trouble) => Answer::Ends(trouble.error.to_string()),
        None => Answer::Runs(reading.instances.iter().map(said).collect()),
    };
    let unknown = reading.untold().map(str::to_owned).collect();
    let warnings = reading.troubles.iter().filter(|trouble| trouble.effect == Effect::Assumed).count();
    // A brace that is missing at the end hides nothing in a text that is whole.
    let hides = reading
        .troubles
        .iter()
        .any(|trouble| trouble.effect == Effect::Hides && !trouble.error.what.contains("found the end of the file"));
    Ours { answer, unknown, hides, warnings }
}

fn said(instance: &Instance) -> Said {
    let rules = &instance.rules;
    let v6 = rules.addresses.as_ref().and_then(|all| all.first()).is_some_and(IpAddr::is_ipv6);
    let rfc = if v6 { "ff02::12" } else { "224.0.0.18" };
    let mode = match &rules.mode {
        Some(Mode::Multicast { .. }) if rules.release < Release::new(2, 2, 0) => MULTICAST.to_owned(),
        Some(Mode::Multicast { group }) => group.map_or(rfc.to_owned(), |group| group.to_string()),
        Some(Mode::Unicast { peers, .. }) => {
            let peers: Vec<String> = peers.iter().map(|peer| peer.address.to_string()).collect();
            format!("peers {}", peers.join(" "))
        }
        None => String::new(),
    };
    let shown = |held: &Held| format!("{}/{} {}", held.address, held.prefix, held.interface);
    let of = |excluded| instance.addresses.iter().filter(|held| held.excluded == excluded).map(shown).collect();
    Said {
        name: instance.name.clone(),
        interface: instance.interface.clone(),
        vrid: instance.vrid,
        v6,
        version: instance.version,
        interval_ms: instance.advert_interval.as_millis(),
        priority: instance.priority,
        mode,
        listed: of(false),
        excluded: of(true),
    }
}
