//! User and group names → numbers, from `/etc/passwd` and `/etc/group`.
//!
//! A directory service's names are not looked up: its accounts are given by number. Looking them up
//! would need libc's resolver, which loads foreign code and may block on the network.

use std::path::Path;

/// The local accounts.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the local files; what cannot be read is empty.
    pub fn local() -> Self {
        let read = |path: &str| {
            std::fs::read(Path::new(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// From the text of the two files.
    pub fn from_text(passwd: &str, group: &str) -> Self {
        Self { passwd: passwd.to_owned(), group: group.to_owned() }
    }

    /// The uid of a user name, or of a number in text.
    pub fn uid(&self, name: &str) -> Option<u32> {
        number(&self.passwd, name)
    }

    /// The gid of a group name, or of a number in text.
    pub fn gid(&self, name: &str) -> Option<u32> {
        number(&self.group, name)
    }
}

/// Both files have the name first and the number third.
fn number(text: &str, name: &str) -> Option<u32> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        // 2^32 - 1 is "no change" to chown(2), and nobody's uid.
        return name.parse().ok().filter(|number| *number != u32::MAX);
    }
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(2)?.parse().ok())
}
