//! Which release of keepalived is installed: read from the program's bytes, which hold the text that
//! `keepalived --version` prints. The program is not run.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::advert_rules::Release;

#[cfg(test)]
mod tests;

/// Where distributions and a build from source put it; the first one that is there counts.
pub const PROGRAMS: [&str; 3] = ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived", "/sbin/keepalived"];

/// What stands before the numbers: `PACKAGE_NAME " v" PACKAGE_VERSION " (" GIT_DATE ")"`.
const BEFORE: &[u8] = b"Keepalived v";
/// What stands behind them.
const BEHIND: &[u8] = b" (";
/// Bytes of three numbers of three digits each.
const LONGEST: usize = 11;
/// No keepalived is as large; Debian's has 0.9 MiB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// A release, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The release.
    pub release: Release,
    /// How it is known.
    pub origin: Origin,
}

/// How a release is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `keepalived.release` says so.
    Configured,
    /// This program holds it.
    Program(PathBuf),
    /// It is not known: the default, and why.
    Assumed(String),
}

impl Default for Installed {
    fn default() -> Self {
        Self { release: Release::default(), origin: Origin::Assumed("no program was looked at".to_owned()) }
    }
}

impl std::fmt::Display for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { release, origin } = self;
        match origin {
            Origin::Configured => write!(f, "{release}, as keepalived.release says"),
            Origin::Program(path) => write!(f, "{release}, read from {}", path.display()),
            Origin::Assumed(why) => write!(f, "{release} is assumed: {why}"),
        }
    }
}

/// Looks at this program, or at the first of [`PROGRAMS`] that is there. Waits for the disk.
pub fn find(program: Option<&Path>) -> Installed {
    let found = match program {
        Some(program) => Some(program),
        None => PROGRAMS.iter().map(Path::new).find(|path| path.exists()),
    };
    let Some(path) = found else {
        return assumed(format!("{} are not there", PROGRAMS.join(", ")));
    };
    let read = open(path).and_then(|file| search(file, MAX_BYTES));
    match read {
        Ok(Some(release)) => Installed { release, origin: Origin::Program(path.to_owned()) },
        Ok(None) => assumed(format!("{} does not say which it is", path.display())),
        Err(error) => assumed(format!("cannot read {}: {error}", path.display())),
    }
}

fn assumed(why: String) -> Installed {
    Installed { origin: Origin::Assumed(why), ..Installed::default() }
}

fn open(path: &Path) -> io::Result<File> {
    // Not to wait where it is a FIFO.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// The first release that the bytes hold, at most `most` of them read.
fn search(mut from: impl Read, most: usize) -> io::Result<Option<Release>> {
    let whole = BEFORE.len() + LONGEST + BEHIND.len();
    let mut bytes = Vec::new();
    let mut seen = 0;
    while seen < most {
        let room = u64::try_from(CHUNK.min(most - seen)).unwrap_or(u64::MAX);
        let read = from.by_ref().take(room).read_to_end(&mut bytes)?;
        if let Some(release) = bytes
            .windows(BEFORE.len())
            .enumerate()
            .find_map(|(at, window)| (window == BEFORE).then(|| release(&bytes[at + BEFORE.len()..])).flatten())
        {
            return Ok(Some(release));
        }
        if read == 0 {
            break;
        }
        seen += read;
        // A text that goes on in the next bytes is looked at again with them.
        bytes.drain(..bytes.len().saturating_sub(whole - 1));
    }
    Ok(None)
}

/// The release that begins these bytes.
fn release(bytes: &[u8]) -> Option<Release> {
    let bytes = bytes.get(..LONGEST + BEHIND.len()).unwrap_or(bytes);
    let end = bytes.windows(BEHIND.len()).position(|window| window == BEHIND)?;
    std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
}
