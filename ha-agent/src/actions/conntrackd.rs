//! conntrackd told to take over or to step back: `conntrackd -C <folder>/conntrackd.conf <option>`, in
//! the router's namespace, as Neutron's monitor did from release 26 on.

use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};

use super::child::Program;
use super::folder;

/// The configuration that the L3 agent writes.
const CONFIGURATION: &str = "conntrackd.conf";
/// Where it is found when the agent itself has no `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Why conntrackd is not called.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigurationError {
    /// It is a link, which is not followed, a folder or the like.
    #[error("{0} is not a regular file: conntrackd is not called as root on it")]
    NotAFile(String),
    /// It is not there, or cannot be looked at.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
}

/// The call for one option.
///
/// # Errors
/// [`ConfigurationError`].
pub(super) fn program(folder: &Path, option: &str) -> Result<Program, ConfigurationError> {
    let path = folder.join(CONFIGURATION);
    let shown = || path.display().to_string();
    let stat = folder::open(folder)
        .and_then(|folder| statat(&folder, CONFIGURATION, AtFlags::SYMLINK_NOFOLLOW))
        .map_err(|errno| ConfigurationError::Io(shown(), errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ConfigurationError::NotAFile(shown()));
    }
    let search = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
    Ok(Program {
        path: "conntrackd".into(),
        arguments: vec!["-C".into(), path.into(), option.into()],
        environment: vec![("PATH", search)],
    })
}
