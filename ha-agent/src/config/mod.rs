//! The configuration: TOML text (`raw`, by the table in `keys`) → validated ([`Config`], here).
//!
//! A new key is a row in `keys` and a field here, filled in `validate`.

mod accounts;
mod error;
mod grants;
mod keys;
mod raw;
#[cfg(test)]
mod tests;
mod validate;
mod value;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::addresses::FurtherAddresses;
use crate::advert_rules::AdvertRules;
use crate::core::model::{Password, RouterId};
use crate::inventory::keepalived_release::{self, Installed, Origin};

pub use accounts::Accounts;
pub use error::{ConfigError, Problem};
pub use grants::{Grant, Granted, Grantee};

/// Read when no `--config` is given; absent, every default holds.
pub const DEFAULT_PATH: &str = "/etc/ha-agent/ha-agent.toml";

/// Reads and validates the file at `path`, or at [`DEFAULT_PATH`] where that exists. Which release of
/// keepalived is installed is looked up in its program, where the file does not say.
///
/// # Errors
/// Every problem that was found, each with file, line, key and what would be right. A `path` that
/// is given must exist.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text, file, &Accounts::local()).map(Config::with_release),
        Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            parse("", file, &Accounts::local()).map(Config::with_release)
        }
        Err(error) => {
            let mut problems = error::Problems::new(file);
            problems.add(None, "", format!("cannot read the configuration: {error}"));
            problems.into_result(Config::default())
        }
    }
}

/// For commands that only look for the agent's sockets: what can be understood of the file, and what is wrong with the
/// rest. What concerns `[intake]` (a token file that this user may not look at, users that exist elsewhere) is not
/// complained about.
///
/// # Errors
/// A `path` that is given does not exist.
pub fn as_client(path: Option<&Path>) -> Result<(Config, Option<ConfigError>), ConfigError> {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    let mut problems = error::Problems::new(file);
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if path.is_some() && error.kind() == std::io::ErrorKind::NotFound => {
            return load(path).map(|config| (config, None));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            problems.add(None, "", format!("cannot read the configuration: {error}"));
            String::new()
        }
    };
    let document = raw::Document::read_as_far_as_possible(&text, &mut problems);
    let config = validate::config(document, &Accounts::local(), &mut problems);
    problems.forget_section("intake");
    Ok((config.clone(), problems.into_result(config).err()))
}

/// Validates the text of a file named `file`, with these accounts.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file: &Path, accounts: &Accounts) -> Result<Config, ConfigError> {
    let mut problems = error::Problems::new(file);
    let document = raw::Document::read(text, &mut problems);
    let config = validate::config(document, accounts, &mut problems);
    problems.into_result(config)
}

impl Default for Config {
    /// What an empty file means on a machine without a `neutron` user.
    fn default() -> Self {
        let mut problems = error::Problems::new(Path::new(DEFAULT_PATH));
        validate::config(raw::Document::default(), &Accounts::default(), &mut problems)
    }
}

/// A validated configuration: every path absolute, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether verdicts decide or are only logged.
    pub mode: Mode,
    /// For the sockets and the lock; created 0750.
    pub runtime_dir: PathBuf,
    /// For the outbox; created 0700.
    pub state_dir: PathBuf,
    /// Who may report, and how.
    pub intake: Intake,
    /// Where Neutron keeps its files.
    pub neutron: Neutron,
    /// Where a plain keepalived keeps its files.
    pub keepalived: Keepalived,
    /// Routers given by hand.
    pub routers: Vec<Router>,
    /// The core's durations.
    pub corroboration: Corroboration,
    /// How confirmed states reach the L3 agent.
    pub delivery: Delivery,
    /// What confirmed transitions set off on the node.
    pub actions: Actions,
    /// Where events go, in order.
    pub sinks: Vec<Sink>,
    /// The status API.
    pub admin: Admin,
}

impl Config {
    /// Looks up which release of keepalived is installed, unless the file says, and applies it to the
    /// routers given by hand. Waits for the disk.
    #[must_use]
    pub fn with_release(mut self) -> Self {
        if self.keepalived.installed.origin != Origin::Configured {
            self.keepalived.installed = keepalived_release::find(self.keepalived.program.as_deref());
        }
        for router in &mut self.routers {
            router.rules.release = self.keepalived.installed.release;
        }
        self
    }
}

/// See [`Config::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only confirmed states are passed on.
    #[default]
    Enforce,
    /// Every valid report is passed on; verdicts are only logged.
    Observe,
}

/// `[intake]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Intake {
    /// The state-change socket.
    pub socket: PathBuf,
    /// Its mode.
    pub socket_mode: u32,
    /// Its group's gid; none: the agent's own.
    pub socket_gid: Option<u32>,
    /// Uids that may report, beside the agent's own.
    pub allow_uids: Vec<u32>,
    /// Gids whose members may report (`%NAME`), by the group that a process has when it connects.
    pub allow_gids: Vec<u32>,
    /// The bearer token that requests must carry, read from `token_file`.
    pub token: Option<String>,
    /// Connections at once.
    pub max_connections: usize,
    /// `listen(2)` backlog.
    pub backlog: i32,
    /// Time for a whole request head.
    pub header_timeout: Duration,
    /// Per uid; burst twice that.
    pub max_requests_per_second: u32,
    /// keepalived notify FIFOs to read.
    pub notify_fifos: Vec<PathBuf>,
    /// Who may report only some routers.
    pub grants: Vec<Grant>,
    /// Where the token was read from.
    pub token_file: Option<PathBuf>,
}

/// `[neutron]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Neutron {
    /// Neutron's `state_path`.
    pub state_path: PathBuf,
    /// Where it writes the routers' keepalived.conf.
    pub ha_confs_path: PathBuf,
    /// The same folder as the L3 agent sees it: another path where that runs in a container.
    pub l3_agent_ha_confs_path: PathBuf,
    /// Release number; 16 or less speaks `master`.
    pub release: u32,
}

/// `[keepalived]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalived {
    /// Its configuration files; their instances are watched, also later ones.
    pub configs: Vec<PathBuf>,
    /// Whether the configuration names them: then one that is not there is a mistake.
    pub configs_given: bool,
    /// Chooses `@NAME` lines: keepalived's own `--config-id`.
    pub config_id: String,
    /// Where it runs, unless its file says `net_namespace`.
    pub netns: Netns,
    /// The program that tells which release is installed; none: looked for where it usually is.
    pub program: Option<PathBuf>,
    /// The release by whose rules adverts are judged, of every router.
    pub installed: Installed,
}

impl Keepalived {
    /// Files that the configuration names and that are not there (yet).
    pub fn missing(&self) -> Vec<&Path> {
        let absent = |path: &&PathBuf| {
            self.configs_given
                && path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        self.configs.iter().filter(absent).map(PathBuf::as_path).collect()
    }

    /// Whether another one names the same instances in the same places.
    pub fn finds_the_same(&self, other: &Self) -> bool {
        (&self.configs, &self.config_id, &self.netns) == (&other.configs, &other.config_id, &other.netns)
    }
}

/// `[[router]]`, or a router found otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its id.
    pub id: RouterId,
    /// Where it lives.
    pub netns: Netns,
    /// HA interface, where adverts are seen.
    pub interface: String,
    /// Primary VIP.
    pub vip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Interface that holds the VIP (with `use_vmac` not the HA interface).
    pub vip_interface: String,
    /// Its other addresses, where they and their devices are known.
    pub further: FurtherAddresses,
    /// Virtual router identifier, 1 to 255.
    pub vrid: u8,
    /// Advert interval until an advert tells better.
    pub advert_interval: Duration,
    /// Name in notify FIFO lines.
    pub fifo_instance: Option<String>,
    /// VRRPv2 password (`auth_pass`), where it is known.
    pub password: Option<Password>,
    /// What its keepalived sends, and takes as a peer's advert.
    pub rules: AdvertRules,
}

impl Router {
    /// Whether what is known of `before` goes on with these settings: only the further addresses differ, if
    /// anything does.
    pub fn goes_on_as(&self, before: &Self) -> bool {
        Self { further: before.further.clone(), ..self.clone() } == *before
    }
}

/// A network namespace by path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Netns {
    /// The agent's own.
    Own,
    /// A file such as `/run/netns/qrouter-…`.
    Path(PathBuf),
}

impl std::fmt::Display for Netns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own => f.write_str("self"),
            Self::Path(path) => match path.strip_prefix("/run/netns") {
                Ok(name) => write!(f, "{}", name.display()),
                Err(_) => write!(f, "{}", path.display()),
            },
        }
    }
}

/// `[corroboration]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Corroboration {
    /// Agreement must hold this long before primary is confirmed.
    pub settle: Duration,
    /// How long a seen change may stay unreported; none: one advert interval.
    pub report_grace: Option<Duration>,
    /// Whether an unreported change is passed on at all.
    pub heal_unreported: bool,
}

/// `[delivery]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The language of the receiver.
    pub protocol: Protocol,
    /// Its socket.
    pub socket: PathBuf,
    /// At most one batch per interval after the first change.
    pub batch_interval: Duration,
    /// Distance between contrary states of one router (protocol `neutron`).
    pub l3_agent_hold: Duration,
    /// Requests at once.
    pub max_in_flight: usize,
    /// Longest pause between attempts.
    pub retry_max: Duration,
    /// How often every confirmed state is sent again although nothing changed; none: never.
    pub reassert_interval: Option<Duration>,
}

/// `[actions]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// Whether forwarding and `accept_ra` follow a router's state, as the L3 agent sets them.
    pub ipv6: bool,
    /// Run when a router becomes primary.
    pub on_primary: Option<Hook>,
    /// Run when a router becomes backup.
    pub on_backup: Option<Hook>,
    /// Run when a router becomes fault.
    pub on_fault: Option<Hook>,
    /// How long a hook may run.
    pub hook_timeout: Duration,
    /// Hooks at once.
    pub max_hooks: usize,
}

/// A program that the agent runs as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// `delivery.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// One request per router to the L3 agent's state-change socket.
    Neutron,
    /// `POST /v1/ha-states` per batch.
    Json,
}

/// `events.sinks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// journald's native protocol.
    Journald,
    /// Appended to a file; reopened on SIGHUP.
    File(PathBuf),
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The status socket, 0660.
    pub socket: PathBuf,
    /// Optional TCP address for /metrics, /livez, /readyz.
    pub listen: Option<std::net::SocketAddr>,
}
