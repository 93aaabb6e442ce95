//! Who made a report, as the kernel told it when the connection was accepted.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

/// Who made a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "via")]
pub enum Reporter {
    /// Over the state-change socket: `SO_PEERCRED` of the peer, and what its process was then.
    Socket {
        /// Peer's user id.
        uid: u32,
        /// Peer's process id; 0 when it lives in a pid namespace that is not below the agent's.
        pid: i32,
        /// Peer's group id; none in lines of releases that did not tell it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gid: Option<u32>,
        /// What had that process id.
        #[serde(flatten)]
        process: Naming,
    },
    /// A line of keepalived's notify FIFO: whoever wrote it cannot be told.
    Fifo,
}

impl Reporter {
    /// A peer of which the credentials are all that is known.
    pub fn socket(uid: u32, gid: u32, pid: i32) -> Self {
        Self::Socket { uid, pid, gid: Some(gid), process: Naming::Untold {} }
    }
}

/// A peer's process, or why it has no name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Naming {
    /// It was looked at while it certainly had the process id.
    Named(Arc<Process>),
    /// It was looked for in vain.
    Unnamed {
        /// Why.
        unnamed: Unnamed,
    },
    /// Nobody looked.
    Untold {},
}

/// Why a process has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// It had ended, and its parent had taken note, before the connection was accepted.
    Ended,
    /// It lives in a pid namespace that is not below the agent's: its number means nothing here.
    OtherPidNamespace,
    /// `/proc` does not show it: mounted with `hidepid`, or no descriptor was free.
    NotReadable,
}

/// A process as `/proc` showed it. Every text is bounded and free of control characters (`\xNN`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Told")]
pub struct Process {
    /// Start time, RFC 3339, UTC, milliseconds: exact to the tick as far as the clock was not set since.
    pub started: Box<str>,
    /// The same in ticks (100 a second) after boot, field 22 of `/proc/PID/stat`: with the process id it names
    /// one process of this boot.
    pub start_ticks: u64,
    /// Its name, `/proc/PID/comm`: a process can choose it. At most 64 bytes before escaping.
    pub command: Box<str>,
    /// Path of its control group, that of systemd's hierarchy where there are several. At most 512 bytes before escaping.
    pub cgroup: Option<Box<str>>,
    /// What it executes, where the agent may know it. At most 256 bytes before escaping, the last ones.
    pub executable: Option<Box<str>>,
}

impl Process {
    /// The unit of the system's service manager that it belongs to, by its control group.
    pub fn unit(&self) -> Option<&str> {
        unit(self.cgroup.as_deref()?)
    }
}

/// Suffixes of units that have processes, but for slices.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The unit in a control group's path as systemd lays them out: the first part that is no slice. What lies below is
/// the unit's own affair, also units of a user's service manager.
pub fn unit(cgroup: &str) -> Option<&str> {
    // Dots lead above the agent's own cgroup namespace.
    let first = cgroup.split('/').find(|part| !matches!(*part, "" | "..") && !part.ends_with(".slice"))?;
    // An underscore stands before names that the kernel uses itself.
    let name = first.strip_suffix(" (deleted)").unwrap_or(first);
    let name = name.strip_prefix('_').unwrap_or(name);
    UNITS.iter().any(|suffix| name.len() > suffix.len() && name.ends_with(suffix)).then_some(name)
}

impl Serialize for Process {
    /// With `unit`, which is not kept beside the control group it follows from.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = self.unit();
        let absent = [&self.cgroup, &self.executable].into_iter().filter(|text| text.is_none()).count()
            + usize::from(unit.is_none());
        let mut fields = serializer.serialize_struct("Process", 6 - absent)?;
        fields.serialize_field("started", &self.started)?;
        fields.serialize_field("start_ticks", &self.start_ticks)?;
        fields.serialize_field("command", &self.command)?;
        let optional = [("unit", unit), ("cgroup", self.cgroup.as_deref()), ("executable", self.executable.as_deref())];
        for (name, text) in optional {
            match text {
                Some(text) => fields.serialize_field(name, text)?,
                None => fields.skip_field(name)?,
            }
        }
        fields.end()
    }
}

/// What is read back of a process.
#[derive(Deserialize)]
struct Told {
    started: Box<str>,
    start_ticks: u64,
    command: Box<str>,
    #[serde(default)]
    cgroup: Option<Box<str>>,
    #[serde(default)]
    executable: Option<Box<str>>,
}

impl From<Told> for Process {
    fn from(told: Told) -> Self {
        let Told { started, start_ticks, command, cgroup, executable } = told;
        Self { started, start_ticks, command, cgroup, executable }
    }
}
