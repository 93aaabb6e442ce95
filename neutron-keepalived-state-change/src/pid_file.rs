//! The pid file, by which the L3 agent finds us: opened, locked and written as Neutron's own
//! `Pidfile` class does it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, ftruncate, open, stat};
use rustix::io::Errno;

/// Ours, locked for as long as we live.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: OwnedFd,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// The lock is taken.
    #[error("{} is locked: another process stands for this router already", .0.display())]
    Running(PathBuf),
    /// It is a link, a folder or the like, or has another name.
    #[error("{} is no regular file or has another name as well: remove it", .0.display())]
    NoFile(PathBuf),
    /// The kernel's answer.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl PidFile {
    /// Opens and locks it; its content stays for now.
    ///
    /// # Errors
    /// [`PidFileError`].
    pub(crate) fn take(path: &Path) -> Result<Self, PidFileError> {
        let failed = |error: Errno| PidFileError::Io { path: path.to_owned(), source: error.into() };
        // Root writes into a folder of the L3 agent's user: no link is followed.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let (file, new) = loop {
            match open(path, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Ok(file) => break (file, true),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            match open(path, flags, mode) {
                Ok(file) => break (file, false),
                // The L3 agent has just removed it.
                Err(Errno::NOENT) => {}
                Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(PidFileError::NoFile(path.to_owned())),
                Err(error) => return Err(failed(error)),
            }
        };
        let stat = fstat(&file).map_err(failed)?;
        // With another name as well it may be anybody's, and its content goes.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
            return Err(PidFileError::NoFile(path.to_owned()));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(PidFileError::Running(path.to_owned())),
            Err(error) => return Err(failed(error)),
        }
        // The L3 agent reads it as its own user, whatever the umask. What was there before keeps its mode.
        if new {
            fchmod(&file, mode).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Makes our pid its content.
    ///
    /// # Errors
    /// [`PidFileError::Io`].
    pub(crate) fn write(&mut self) -> Result<(), PidFileError> {
        let pid = rustix::process::getpid().as_raw_nonzero().to_string();
        let written = ftruncate(&self.file, 0).and_then(|()| rustix::io::pwrite(&self.file, pid.as_bytes(), 0));
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(PidFileError::Io { path: self.path.clone(), source: error.into() }),
        }
    }

    /// Removes it, unless another has taken its name.
    pub(crate) fn remove(self) {
        let ours = || {
            let (here, there) = (fstat(&self.file).ok()?, stat(&self.path).ok()?);
            Some((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
        };
        if ours() == Some(true) {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
