//! Where the agent's admin socket is, and where Neutron's files are, from the agent's own configuration. Only the keys
//! that say so are looked at: whether the rest is right is the agent's to say.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::places;

/// Read when no `--config` is given; absent, the defaults hold.
const DEFAULT_PATH: &str = "/etc/ha-agent/ha-agent.toml";
const RUNTIME_DIR: &str = "/run/ha-agent";
const SOCKET: &str = "admin.sock";
const STATE_PATH: &str = "/var/lib/neutron";
/// A longer file is not the agent's.
const MAX_BYTES: u64 = 1 << 20;

/// What is read of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The admin socket's path.
    pub(crate) socket: PathBuf,
    /// Neutron's `state_path`, as the L3 agent sees it and as this host does.
    pub(crate) state_paths: Vec<PathBuf>,
}

/// Reads it. A `config` that is given may have been chosen by anybody who may start us: it must be root's alone.
///
/// # Errors
/// The file is there and cannot be read, is not root's, or is no TOML; in words, with nothing of what is in it.
pub(crate) fn read(config: Option<&Path>) -> Result<Settings, String> {
    let path = config.unwrap_or(Path::new(DEFAULT_PATH));
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = match config {
        Some(path) => places::open_roots_own(path).map(File::from).map_err(|error| error.to_string())?,
        None => match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return find("").map_err(|error| failed(&error)),
            Err(error) => return Err(failed(&error)),
        },
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| failed(&error))?;
    find(&text).map_err(|error| failed(&error))
}

fn find(text: &str) -> io::Result<Settings> {
    let table = DeTable::parse(text).map_err(|_| io::Error::other("is no TOML: `ha-agent check-config` says where"))?;
    let table = table.get_ref();
    let text = |table: &DeTable<'_>, key| table.get(key).and_then(|value| value.get_ref().as_str().map(PathBuf::from));
    let below = |section, key| match table.get(section)?.get_ref() {
        DeValue::Table(section) => text(section, key),
        _ => None,
    };
    let runtime_dir = text(table, "runtime_dir").unwrap_or_else(|| RUNTIME_DIR.into());
    let seen_by_the_l3_agent = below("neutron", "l3_agent_ha_confs_path");
    let state_path = below("neutron", "state_path").unwrap_or_else(|| STATE_PATH.into());
    let state_paths = seen_by_the_l3_agent.and_then(|path| Some(path.parent()?.to_owned())).into_iter();
    Ok(Settings {
        socket: runtime_dir.join(below("admin", "socket").unwrap_or_else(|| SOCKET.into())),
        // A relative one, or the root folder, would let in everything.
        state_paths: state_paths
            .chain([state_path])
            .filter(|path| path.is_absolute() && path.parent().is_some())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_count() {
        let cases = [
            ("", "/run/ha-agent/admin.sock"),
            ("runtime_dir = \"/srv/a\"\n[intake]\nsocket = \"no\"", "/srv/a/admin.sock"),
            ("[admin]\nsocket = \"x.sock\" # here", "/run/ha-agent/x.sock"),
            ("admin.socket = '/y.sock'\nruntime_dir = \"/srv\"", "/y.sock"),
            ("admin = { socket = \"z\" }\nunknown = [1, 2]", "/run/ha-agent/z"),
        ];
        for (text, path) in cases {
            assert_eq!(find(text).expect(text).socket, Path::new(path), "{text}");
        }
        assert!(find("runtime_dir = ").is_err());
        let cases: [(&str, &[&str]); 4] = [
            ("", &["/var/lib/neutron"]),
            ("[neutron]\nstate_path = \"/srv/n\"", &["/srv/n"]),
            ("[neutron]\nl3_agent_ha_confs_path = \"/k/ha_confs\"\nstate_path = \"/v\"", &["/k", "/v"]),
            ("[neutron]\nl3_agent_ha_confs_path = \"/ha_confs\"\nstate_path = \"x\"", &[]),
        ];
        for (text, paths) in cases {
            let found = find(text).expect(text).state_paths;
            assert_eq!(found, paths.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let said = read(Some(Path::new("/nonexistent/ha-agent.toml"))).expect_err("not there");
        assert!(said.starts_with("/nonexistent/ha-agent.toml: "), "{said}");
    }
}
