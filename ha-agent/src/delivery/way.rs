//! The way to the receiver's socket, whose folder belongs to somebody else: no link is followed that its owner, or
//! anybody but root, could have put there; and who listens must be that owner, or root.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, lstat, open, openat, readlinkat};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;

/// As many as the kernel follows.
const LINKS: usize = 40;

/// What lies at the path.
#[derive(Debug)]
pub(super) struct Found {
    /// It, not opened.
    pub(super) file: OwnedFd,
    /// What it is.
    pub(super) stat: Stat,
    /// Who owns the folder that it is in.
    pub(super) owner: u32,
}

/// Goes the way name by name.
///
/// # Errors
/// The kernel's; or there is a link that is not root's, in words.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    let mut folder = root()?;
    let mut above = fstat(&folder)?;
    let mut rest: Vec<OsString> = Vec::new();
    let mut links = 0;
    let push = |rest: &mut Vec<OsString>, path: &Path| {
        rest.extend(path.components().rev().map(|component| component.as_os_str().to_owned()));
    };
    push(&mut rest, path);
    while let Some(name) = rest.pop() {
        if name == Component::RootDir.as_os_str() {
            folder = root()?;
            above = fstat(&folder)?;
            continue;
        }
        let file = openat(&folder, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&file)?;
        if is(&stat, FileType::Symlink) {
            links += 1;
            let roots_own = stat.st_uid == 0 && above.st_uid == 0 && above.st_mode & 0o022 == 0;
            if !roots_own || links > LINKS {
                return Err(denied(format!(
                    "{} on the way there is a symbolic link that somebody else than root could have put there: it is \
                     not followed",
                    name.display()
                )));
            }
            push(&mut rest, &PathBuf::from(os(readlinkat(&file, "", Vec::new())?.into_bytes())));
        } else if rest.is_empty() {
            return Ok(Found { file, stat, owner: above.st_uid });
        } else {
            (folder, above) = (file, stat);
        }
    }
    Err(Errno::ISDIR.into())
}

/// Whether whoever listens on a connected socket may be told states.
///
/// # Errors
/// Why not, in words.
pub(super) fn check_listener(socket: &OwnedFd, found: &Found) -> io::Result<()> {
    let listener = socket_peercred(socket)?.uid.as_raw();
    let own = rustix::process::geteuid().as_raw();
    if listener == 0 || listener == own || listener == found.owner {
        return Ok(());
    }
    Err(denied(format!(
        "uid {listener} listens there, in a folder of uid {}: only that user, or root, may be told states",
        found.owner
    )))
}

/// Whether it is one of our own sockets, by whatever name.
///
/// # Errors
/// If it is, in words.
pub(super) fn check_foreign(found: &Found, own: &[PathBuf]) -> io::Result<()> {
    let same = |path: &&PathBuf| {
        lstat(path.as_path()).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (found.stat.st_dev, found.stat.st_ino))
    };
    match own.iter().find(same) {
        None => Ok(()),
        Some(path) => Err(denied(format!("that is this agent's own {}: name the receiver's socket", path.display()))),
    }
}

fn root() -> io::Result<OwnedFd> {
    Ok(open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn os(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

fn denied(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests;
