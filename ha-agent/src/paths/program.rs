//! Programs that the agent runs as root on the operator's word.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why a program is not run as root.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or cannot be looked at.
    #[error("{}: {source}", path.display())]
    Io {
        /// The program or a folder above it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not something that can be executed.
    #[error("{} is not an executable file: chmod +x it", .0.display())]
    NotExecutable(PathBuf),
    /// Its owner could make root run anything.
    #[error("{} belongs to uid {owner}: it is run as root, so chown it (and the folders above it) to root", path.display())]
    Owner {
        /// The program, a link to it or a folder above it.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others could make root run anything.
    #[error("{} has mode {mode:04o}: it is run as root, so chmod go-w it", path.display())]
    Writable {
        /// The program or a folder above it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The program's real path, if nobody but root can change what is executed there: neither the file
/// nor a folder or link on the way to it.
///
/// # Errors
/// [`ProgramError`].
pub fn examine_program(program: &Path) -> Result<PathBuf, ProgramError> {
    let real = program.canonicalize().map_err(|source| ProgramError::Io { path: program.to_owned(), source })?;
    for path in program.ancestors().chain(real.ancestors()) {
        trusted(path)?;
    }
    let file = metadata(&real)?;
    if !file.is_file() || file.mode() & 0o111 == 0 {
        return Err(ProgramError::NotExecutable(real));
    }
    Ok(real)
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, ProgramError> {
    path.symlink_metadata().map_err(|source| ProgramError::Io { path: path.to_owned(), source })
}

fn trusted(path: &Path) -> Result<(), ProgramError> {
    let found = metadata(path)?;
    if found.uid() != 0 {
        return Err(ProgramError::Owner { path: path.to_owned(), owner: found.uid() });
    }
    // A link has no mode of its own; in a sticky folder nobody replaces what is root's.
    let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if !found.is_symlink() && !sticky && found.mode() & 0o022 != 0 {
        return Err(ProgramError::Writable { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
