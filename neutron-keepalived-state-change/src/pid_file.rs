//! The pid file, by which the L3 agent finds us: opened, locked and written as Neutron's own
//! `Pidfile` class does it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, ftruncate, openat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::places::{PlaceError, StatePath};

/// A pid file that we did not write has no more bytes: the largest number, and a line's end.
const MAX_BYTES: usize = 24;

/// Ours, locked for as long as we live.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
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
    /// There is something in it, and no pid.
    #[error("{} is there and is no pid file: it is left alone; remove it if it is nobody's", .0.display())]
    NoPid(PathBuf),
    /// It may not be there at all.
    #[error(transparent)]
    Place(#[from] PlaceError),
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
    pub(crate) fn take(state_path: &StatePath, path: &Path) -> Result<Self, PidFileError> {
        let failed = |error: Errno| PidFileError::Io { path: path.to_owned(), source: error.into() };
        let (folder, name) = state_path.open(path)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let (file, new) = loop {
            match openat(&folder, &name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
                Ok(file) => break (file, true),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            match openat(&folder, &name, flags, mode) {
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
        let mut bytes = [0; MAX_BYTES + 1];
        let read = rustix::io::pread(&file, &mut bytes, 0).map_err(failed)?;
        if !is_pid(&bytes[..read]) {
            return Err(PidFileError::NoPid(path.to_owned()));
        }
        // The L3 agent reads it as its own user, whatever the umask. What was there before keeps its mode.
        if new {
            fchmod(&file, mode).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), folder, name, file })
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
            let there = statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let here = fstat(&self.file).ok()?;
            Some((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
        };
        if ours() == Some(true) {
            let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Nothing yet, or digits in one line.
fn is_pid(bytes: &[u8]) -> bool {
    let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.len() <= MAX_BYTES && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests;
