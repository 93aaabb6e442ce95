//! The command lines of Neutron 20 to 29.
//!
//! | releases | written as | environment | expected to |
//! |---|---|---|---|
//! | 20 | `--flag=value` | | daemonise: the L3 agent waits for the command to end |
//! | 21 to 28 | `--flag=value` | `env PROCESS_TAG=…` | daemonise |
//! | 29 | `--flag value` | none | stay in the foreground: it is not waited for |
//!
//! So the way in which `--pid_file` is written tells which it is. `--enable_conntrackd` and `--debug`
//! came with 26. `-` and `_` in a name are one: operators' own scripts mix them.
//! What is not known is ignored, whether it has a value or not: releases added and removed flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

/// For `--help`.
pub(crate) const HELP: &str = "\
Stands in for Neutron's monitor of the same name: registers its router with ha-agent for as long as it lives.
The L3 agent starts it; nobody else needs to.

    neutron-keepalived-state-change --router_id ID --namespace NAME --conf_dir DIR --monitor_interface NAME
        --monitor_cidr CIDR --pid_file FILE [--log-file FILE] [--user USER] [--group GROUP]
        [--enable_conntrackd] [--config FILE]

Written as --flag=value (Neutron 28 and before) it becomes a daemon, written as --flag value (29) it does not.
  --config FILE  the agent's configuration, where its socket and neutron.state_path are found; it must be root's
                 alone; default /etc/ha-agent/ha-agent.toml. Files are made below neutron.state_path only
  --user, --group, --enable_conntrackd  are handed on to the agent, which does what the monitor did
Flags that it does not know are ignored. SIGTERM ends it, SIGHUP reopens the log file.
Exit codes: 0 ok, 1 failed to start, 2 usage.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// To stand in for a monitor.
    Run(Box<Options>),
}

/// A whole command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// What is registered.
    pub(crate) monitor: Monitor,
    /// Where the L3 agent reads our pid.
    pub(crate) pid_file: PathBuf,
    /// Where changes are told.
    pub(crate) log_file: Option<PathBuf>,
    /// The agent's configuration file; none: its default place.
    pub(crate) config: Option<PathBuf>,
    /// Whether the release waits for us to go to the background.
    pub(crate) daemon: bool,
}

/// What the monitor was told of its router. Checked by the agent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Monitor {
    /// UUID.
    pub(crate) router_id: String,
    /// `qrouter-…` or `snat-…`.
    pub(crate) namespace: String,
    /// The router's folder.
    pub(crate) conf_dir: String,
    /// HA interface.
    pub(crate) interface: String,
    /// Primary VIP.
    pub(crate) cidr: String,
    /// `--enable_conntrackd`.
    pub(crate) conntrackd: bool,
    /// The L3 agent's user.
    pub(crate) user: Option<String>,
    /// The L3 agent's group.
    pub(crate) group: Option<String>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgsError {
    /// A flag without which nothing can be registered.
    #[error("--{0} is missing; --help says what is needed")]
    Missing(&'static str),
    /// A flag at the end, or one that is not UTF-8.
    #[error("--{0} needs a value in UTF-8; --help says which")]
    Value(String),
    /// It would have to go into a request's path.
    #[error("--router_id is no UUID")]
    RouterId,
    /// Neither a flag nor a value.
    #[error("the command line cannot be read: {0}")]
    Unreadable(String),
}

/// Reads a command line with its program name.
///
/// # Errors
/// [`ArgsError`].
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, ArgsError> {
    let mut parser = Parser::from_iter(arguments);
    let mut found = Found::default();
    while let Some(argument) = parser.next().map_err(|error| ArgsError::Unreadable(error.to_string()))? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Long("version") => return Ok(Asked::Version),
            Arg::Long(name) => {
                let name = name.replace('-', "_");
                found.flag(&name, &mut parser)?;
            }
            // A value of a flag that is not known.
            Arg::Short(_) | Arg::Value(_) => {
                parser.optional_value();
            }
        }
    }
    found.whole().map(Box::new).map(Asked::Run)
}

#[derive(Default)]
struct Found {
    monitor: Monitor,
    pid_file: Option<PathBuf>,
    log_file: Option<PathBuf>,
    config: Option<PathBuf>,
    daemon: bool,
}

impl Found {
    fn flag(&mut self, name: &str, parser: &mut Parser) -> Result<(), ArgsError> {
        let monitor = &mut self.monitor;
        match name {
            "router_id" => monitor.router_id = text(name, parser)?,
            "namespace" => monitor.namespace = text(name, parser)?,
            "conf_dir" => monitor.conf_dir = text(name, parser)?,
            "monitor_interface" => monitor.interface = text(name, parser)?,
            "monitor_cidr" => monitor.cidr = text(name, parser)?,
            "user" => monitor.user = Some(text(name, parser)?),
            "group" => monitor.group = Some(text(name, parser)?),
            "log_file" => self.log_file = Some(value(name, parser)?.into()),
            "config" => self.config = Some(value(name, parser)?.into()),
            "pid_file" => {
                let attached = parser.optional_value();
                self.daemon = attached.is_some();
                self.pid_file = Some(attached.map_or_else(|| value(name, parser), Ok)?.into());
            }
            // oslo.config gives every switch a `--no…` as well.
            "enable_conntrackd" => monitor.conntrackd = parser.optional_value().is_none_or(|word| !is_no(&word)),
            "noenable_conntrackd" => monitor.conntrackd = false,
            _ => {
                parser.optional_value();
            }
        }
        Ok(())
    }

    fn whole(self) -> Result<Options, ArgsError> {
        let monitor = self.monitor;
        let needed = [
            ("router_id", &monitor.router_id),
            ("namespace", &monitor.namespace),
            ("conf_dir", &monitor.conf_dir),
            ("monitor_interface", &monitor.interface),
            ("monitor_cidr", &monitor.cidr),
        ];
        if let Some((name, _)) = needed.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(ArgsError::Missing(name));
        }
        if monitor.router_id.len() != 36 || !monitor.router_id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Err(ArgsError::RouterId);
        }
        let pid_file =
            self.pid_file.filter(|path| !path.as_os_str().is_empty()).ok_or(ArgsError::Missing("pid_file"))?;
        Ok(Options { monitor, pid_file, log_file: self.log_file, config: self.config, daemon: self.daemon })
    }
}

fn value(name: &str, parser: &mut Parser) -> Result<OsString, ArgsError> {
    parser.value().map_err(|_| ArgsError::Value(name.to_owned()))
}

fn text(name: &str, parser: &mut Parser) -> Result<String, ArgsError> {
    value(name, parser)?.string().map_err(|_| ArgsError::Value(name.to_owned()))
}

fn is_no(word: &OsStr) -> bool {
    matches!(word.to_str(), Some("false" | "False" | "no" | "0"))
}

#[cfg(test)]
mod tests;
