//! The real Neutron, in the releases that `cargo xtask setup neutron` installs: its L3 agent's
//! state-change server, its way of writing a router's configuration, its monitors.
//!
//! What runs in Python stands in `tests/neutron/`.

mod crowd;
mod monitor;
mod router;
mod server;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use crowd::Crowd;
pub use monitor::Monitor;
pub use router::{Content, Wanted, Written, write};
pub use server::{Kind, Server};

/// A release of Neutron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release(&'static str);

impl Release {
    /// The last one with webob and eventlet.
    pub const V26: Self = Self("26.0.6");
    /// The last one with a monitor in Python.
    pub const V28: Self = Self("28.0.2");
    /// The one whose monitor is a shell script.
    pub const V29: Self = Self("29.0.0");
    /// All that are installed.
    pub const ALL: [Self; 3] = [Self::V26, Self::V28, Self::V29];

    /// Where it is installed.
    ///
    /// # Errors
    /// When it is not: with what to do.
    pub fn folder(self) -> Result<PathBuf> {
        let own = std::env::current_exe().context("the path of this program")?;
        let mut places = own.ancestors().skip(1).map(|folder| folder.join("neutron").join(self.0));
        match places.find(|folder| folder.join("stamp").is_file()) {
            Some(folder) => Ok(folder),
            None => bail!("Neutron {self} is not installed beside this program: cargo xtask setup neutron"),
        }
    }

    /// Its Python with one of the scripts of `tests/neutron/`.
    fn script(self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.folder()?.join("bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("neutron").join(name));
        // What setup compiled is there; nothing of root's is left in the tree.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }

    /// Its own state-change monitor.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn monitor(self) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin/neutron-keepalived-state-change"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.0)
    }
}

/// PATH with a folder before it.
fn path_with(first: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a PATH without odd characters")
}
