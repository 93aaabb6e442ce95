//! conntrackd told to take over or to step back: `conntrackd -C <folder>/conntrackd.conf <option>`, in
//! the router's namespace, as Neutron's monitor did from release 26 on.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::child::Program;
use super::folder;
use crate::paths::{PathsError, guard};

/// The configuration that the L3 agent writes.
const CONFIGURATION: &str = "conntrackd.conf";
/// Some hundred times what the L3 agent writes. conntrackd reads it as root, whatever its length.
const MAX_BYTES: u64 = 256 * 1024;
/// The program.
const NAME: &str = "conntrackd";
/// Where it is found when the agent itself has no `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Why conntrackd is not called.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The configuration is a link, which is not followed, a folder or the like.
    #[error("{0} is not a regular file: conntrackd is not called as root on it")]
    NotAFile(String),
    /// It is no configuration of the L3 agent's.
    #[error("{0} is larger than {limit} KiB: conntrackd is not called as root on it", limit = MAX_BYTES / 1024)]
    TooLarge(String),
    /// It is not there, or cannot be looked at.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// No folder of `PATH` has the program.
    #[error("no program {NAME} in {0}")]
    Missing(String),
    /// Others could change the program.
    #[error(transparent)]
    Program(#[from] PathsError),
}

/// The call for one option. The program gets the file that was looked at, which is its standard input,
/// and not a name that may lead elsewhere by then.
///
/// # Errors
/// [`CallError`].
pub(super) fn program(folder: &Path, option: &str) -> Result<Program, CallError> {
    let search = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
    Ok(Program {
        path: found_in(&search)?,
        arguments: vec!["-C".into(), "/proc/self/fd/0".into(), option.into()],
        environment: vec![("PATH", search)],
        input: configuration(folder)?.into(),
    })
}

/// The program's real path.
fn found_in(search: &str) -> Result<PathBuf, CallError> {
    let places = std::env::split_paths(search).filter(|folder| folder.is_absolute());
    let found = places.map(|folder| folder.join(NAME)).find(|path| path.is_file());
    Ok(guard::program(&found.ok_or_else(|| CallError::Missing(search.to_owned()))?)?)
}

/// The configuration, open to be read.
fn configuration(folder: &Path) -> Result<OwnedFd, CallError> {
    let shown = || folder.join(CONFIGURATION).display().to_string();
    let failed = |errno: Errno| CallError::Io(shown(), errno.into());
    // A FIFO without a writer must not hold up the thread.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let folder = folder::open(folder).map_err(failed)?;
    let file = match openat(&folder, CONFIGURATION, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::LOOP | Errno::NXIO) => return Err(CallError::NotAFile(shown())),
        Err(errno) => return Err(failed(errno)),
    };
    let stat = fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(CallError::NotAFile(shown()));
    }
    if u64::try_from(stat.st_size).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(CallError::TooLarge(shown()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
