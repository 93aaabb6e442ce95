//! Where the agent's admin socket is, from the agent's own configuration. Only the two keys that say
//! so are looked at: whether the rest is right is the agent's to say.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Read when no `--config` is given; absent, the defaults hold.
const DEFAULT_PATH: &str = "/etc/ha-agent/ha-agent.toml";
const RUNTIME_DIR: &str = "/run/ha-agent";
const SOCKET: &str = "admin.sock";

/// The admin socket's path.
///
/// # Errors
/// The file is there and cannot be read, or is no TOML; in words.
pub(crate) fn admin_socket(config: Option<&Path>) -> Result<PathBuf, String> {
    let path = config.unwrap_or(Path::new(DEFAULT_PATH));
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if config.is_none() && error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(&error)),
    };
    find(&text).map_err(|error| failed(&error))
}

fn find(text: &str) -> io::Result<PathBuf> {
    let table = DeTable::parse(text).map_err(|_| io::Error::other("is no TOML: `ha-agent check-config` says where"))?;
    let table = table.get_ref();
    let text = |table: &DeTable<'_>, key| table.get(key).and_then(|value| value.get_ref().as_str().map(PathBuf::from));
    let admin = table.get("admin").and_then(|admin| match admin.get_ref() {
        DeValue::Table(admin) => text(admin, "socket"),
        _ => None,
    });
    Ok(text(table, "runtime_dir").unwrap_or_else(|| RUNTIME_DIR.into()).join(admin.unwrap_or_else(|| SOCKET.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_keys_that_count() {
        let cases = [
            ("", "/run/ha-agent/admin.sock"),
            ("runtime_dir = \"/srv/a\"\n[intake]\nsocket = \"no\"", "/srv/a/admin.sock"),
            ("[admin]\nsocket = \"x.sock\" # here", "/run/ha-agent/x.sock"),
            ("admin.socket = '/y.sock'\nruntime_dir = \"/srv\"", "/y.sock"),
            ("admin = { socket = \"z\" }\nunknown = [1, 2]", "/run/ha-agent/z"),
        ];
        for (text, path) in cases {
            assert_eq!(find(text).expect(text), Path::new(path), "{text}");
        }
        assert!(find("runtime_dir = ").is_err());
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let said = admin_socket(Some(Path::new("/nonexistent/ha-agent.toml"))).expect_err("not there");
        assert!(said.starts_with("/nonexistent/ha-agent.toml: "), "{said}");
    }
}
