//! Who else could change what the agent trusts: owner, mode and links of each place, and of every
//! directory on the way to it.
//!
//! A look, not a lock: it finds what an administrator left open. Whoever is root needs no such opening.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, Stat};
use rustix::io::Errno;

use super::{PathsError, check_owner_and_mode, is};

/// Others may put names into a directory with this bit, but not take away those of others.
const STICKY: u32 = 0o1000;
/// Written by group and by everyone.
const BY_OTHERS: u32 = 0o022;

/// What the agent trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the agent's own, with this mode.
    Directory(u32),
    /// A file that is read: a link to it is followed, if nobody else could turn it.
    File,
    /// The same, and not for everyone's eyes.
    Secret,
    /// A FIFO that is read.
    Fifo,
    /// A name that is bound, or was: only the way to it counts, for binding looks at the rest.
    Socket,
    /// A socket that is bound, with this mode.
    Bound(u32),
}

/// One of them, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Absolute.
    pub path: PathBuf,
    /// What is expected there.
    pub kind: Kind,
}

/// Everything that lets others in, each with what to do about it. What is not there yet is in order if
/// the way to it is.
pub fn openings(places: &[Place]) -> Vec<PathsError> {
    let mut found: Vec<PathsError> = Vec::new();
    for place in places {
        if let Err(error) = look(place) {
            // Many places share a way.
            if !found.iter().any(|known| known.to_string() == error.to_string()) {
                found.push(error);
            }
        }
    }
    found
}

fn look(place: &Place) -> Result<(), PathsError> {
    // A trailing slash would follow a link.
    let path: PathBuf = place.path.components().collect();
    if let Some(parent) = path.parent() {
        way(parent)?;
    }
    let Some(stat) = found(&path)? else {
        return match place.kind {
            Kind::Bound(_) => Err(PathsError::Gone(path)),
            _ => Ok(()),
        };
    };
    let link = is(&stat, FileType::Symlink);
    match place.kind {
        Kind::Socket => Ok(()),
        Kind::Directory(_) | Kind::Fifo | Kind::Bound(_) if link => Err(PathsError::Symlink(path)),
        Kind::Directory(_) if !is(&stat, FileType::Directory) => Err(PathsError::NotADirectory(path)),
        Kind::Directory(mode) => check_owner_and_mode(&path, &stat, mode),
        Kind::Fifo => check_owner_and_mode(&path, &stat, 0o600),
        Kind::Bound(_) if !is(&stat, FileType::Socket) => Err(PathsError::NotASocket(path)),
        Kind::Bound(mode) => check_owner_and_mode(&path, &stat, mode),
        Kind::File | Kind::Secret => {
            if link {
                check_owner(&path, &stat)?;
            }
            file(&path, place.kind)
        }
    }
}

/// A file, where its links lead.
fn file(path: &Path, kind: Kind) -> Result<(), PathsError> {
    let path = std::fs::canonicalize(path).map_err(|e| PathsError::io("follow", path, e))?;
    if let Some(parent) = path.parent() {
        way(parent)?;
    }
    let Some(stat) = found(&path)? else { return Ok(()) };
    check_owner_and_mode(&path, &stat, 0o644)?;
    let mode = stat.st_mode & 0o7777;
    if kind == Kind::Secret && mode & 0o007 != 0 {
        return Err(PathsError::Readable { path, mode });
    }
    Ok(())
}

/// Every directory from the root to `dir`, as written and as links make it.
fn way(dir: &Path) -> Result<(), PathsError> {
    steps(dir)?;
    match std::fs::canonicalize(dir) {
        Ok(real) if real != dir => steps(&real),
        _ => Ok(()),
    }
}

fn steps(dir: &Path) -> Result<(), PathsError> {
    let mut steps: Vec<&Path> = dir.ancestors().filter(|step| !step.as_os_str().is_empty()).collect();
    steps.reverse();
    for step in steps {
        let Some(stat) = found(step)? else { return Ok(()) };
        check_owner(step, &stat)?;
        if is(&stat, FileType::Symlink) {
            continue; // Where it leads is on the real way.
        }
        let mode = stat.st_mode & 0o7777;
        // Root's own group is root.
        let by_others = if stat.st_gid == 0 { mode & 0o002 } else { mode & BY_OTHERS };
        if by_others != 0 && mode & STICKY == 0 {
            return Err(PathsError::Writable { path: step.to_owned(), mode, wanted: mode & !BY_OTHERS });
        }
    }
    Ok(())
}

fn found(path: &Path) -> Result<Option<Stat>, PathsError> {
    match fs::lstat(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(PathsError::io("inspect", path, error)),
    }
}

fn check_owner(path: &Path, stat: &Stat) -> Result<(), PathsError> {
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid != us && stat.st_uid != 0 {
        return Err(PathsError::Owner { path: path.to_owned(), owner: stat.st_uid, us });
    }
    Ok(())
}
