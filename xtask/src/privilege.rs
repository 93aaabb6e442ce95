//! Who we are, and how a command is run as root.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// What can be run as root from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// sudo lets us, without a password.
    Sudo,
    /// Neither.
    None,
}

impl Privilege {
    /// Finds out.
    pub(crate) fn detect() -> Self {
        if effective_uid() == Some(0) {
            return Self::Root;
        }
        let sudo = Command::new("sudo")
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match sudo {
            Ok(status) if status.success() => Self::Sudo,
            _ => Self::None,
        }
    }

    /// Whether commands can be run as root.
    pub(crate) fn is_root(self) -> bool {
        self != Self::None
    }

    /// The words to put before a command so that it runs as root; fails without a way to.
    pub(crate) fn prefix(self, what_for: &str) -> Result<&'static [&'static str]> {
        match self {
            Self::Root => Ok(&[]),
            Self::Sudo => Ok(&["sudo", "-n"]),
            Self::None => bail!("{what_for} needs root: run it as root, or let sudo run commands without a password"),
        }
    }

    /// `program` as root.
    pub(crate) fn command(self, program: impl AsRef<OsStr>, what_for: &str) -> Result<Command> {
        Ok(match self.prefix(what_for)? {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        })
    }
}

/// The effective uid, from /proc: the second number of the `Uid:` line.
fn effective_uid() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
