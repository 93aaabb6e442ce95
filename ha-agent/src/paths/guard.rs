//! Who else could change what the agent trusts: owner, mode and links of each place, and of every
//! directory on the way to it.
//!
//! A look, not a lock: it finds what an administrator left open. Whoever is root needs no such opening.

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, FileType, Stat};
use rustix::io::Errno;

use super::{PathsError, check_owner_and_mode, is};

/// Others may put names into a directory with this bit, but not take away those of others.
const STICKY: u32 = 0o1000;
/// Written by group and by everyone.
const BY_OTHERS: u32 = 0o022;
/// Executed by anybody.
const EXECUTED: u32 = 0o111;
/// As many as the kernel follows.
const LINKS: usize = 40;

/// What the agent trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the agent's own, with this mode.
    Directory(u32),
    /// A file that is read: a link to it is followed, if nobody else could turn it.
    File,
    /// The same, and not for everyone's eyes.
    Secret,
    /// A program that is run as root; it must be there. Links to it as to a file.
    Program,
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

/// The real path of a program, if nobody else could change what is executed there.
///
/// # Errors
/// What lets others in, or why it cannot be executed.
pub fn program(path: &Path) -> Result<PathBuf, PathsError> {
    let (real, stat) = walk(path, true)?;
    let Some(stat) = stat else { return Err(PathsError::io("find", path, Errno::NOENT)) };
    if !is(&stat, FileType::RegularFile) || stat.st_mode & EXECUTED == 0 {
        return Err(PathsError::NotExecutable(real));
    }
    check_owner_and_mode(&real, &stat, 0o755)?;
    Ok(real)
}

fn look(place: &Place) -> Result<(), PathsError> {
    if place.kind == Kind::Program {
        return program(&place.path).map(drop);
    }
    let (path, stat) = walk(&place.path, matches!(place.kind, Kind::File | Kind::Secret))?;
    let Some(stat) = stat else {
        return match place.kind {
            Kind::Bound(_) => Err(PathsError::Gone(path)),
            _ => Ok(()),
        };
    };
    match place.kind {
        Kind::Socket | Kind::Program => Ok(()),
        Kind::Directory(_) | Kind::Fifo | Kind::Bound(_) if is(&stat, FileType::Symlink) => {
            Err(PathsError::Symlink(path))
        }
        Kind::Directory(_) if !is(&stat, FileType::Directory) => Err(PathsError::NotADirectory(path)),
        Kind::Directory(mode) => check_owner_and_mode(&path, &stat, mode),
        Kind::Fifo => check_owner_and_mode(&path, &stat, 0o600),
        Kind::Bound(_) if !is(&stat, FileType::Socket) => Err(PathsError::NotASocket(path)),
        Kind::Bound(mode) => check_owner_and_mode(&path, &stat, mode),
        Kind::File => check_owner_and_mode(&path, &stat, 0o644),
        Kind::Secret => {
            check_owner_and_mode(&path, &stat, 0o644)?;
            let mode = stat.st_mode & 0o7777;
            if mode & 0o007 != 0 { Err(PathsError::Readable { path, mode }) } else { Ok(()) }
        }
    }
}

/// Goes the way name by name, as the kernel would: every directory and every link on it, and on the way to where
/// each link leads. Gives the real path, and what is there; a link there is followed if `follow` says so.
fn walk(path: &Path, follow: bool) -> Result<(PathBuf, Option<Stat>), PathsError> {
    let mut at = PathBuf::new();
    let mut rest: Vec<OsString> = Vec::new();
    let mut links = 0;
    // The next name is the last one. A trailing slash, which would follow a link, is none.
    let push = |rest: &mut Vec<OsString>, path: &Path| {
        rest.extend(path.components().rev().map(|component| component.as_os_str().to_owned()));
    };
    push(&mut rest, path);
    while let Some(name) = rest.pop() {
        if name == Component::ParentDir.as_os_str() {
            at.pop();
            continue;
        }
        // An absolute one begins again.
        let next = at.join(&name);
        let Some(stat) = found(&next)? else {
            rest.reverse();
            return Ok((rest.into_iter().fold(next, |path, name| path.join(name)), None));
        };
        if is(&stat, FileType::Symlink) && (follow || !rest.is_empty()) {
            check_owner(&next, &stat)?;
            links += 1;
            if links > LINKS {
                return Err(PathsError::io("follow", path, Errno::LOOP));
            }
            let target = fs::readlink(&next, Vec::new()).map_err(|e| PathsError::io("follow", &next, e))?;
            push(&mut rest, Path::new(OsStr::from_bytes(target.to_bytes())));
            continue;
        }
        at = next;
        if rest.is_empty() {
            return Ok((at, Some(stat)));
        }
        check_directory(&at, &stat)?;
    }
    // It ends with `..`.
    let stat = found(&at)?;
    Ok((at, stat))
}

/// A directory on the way: nobody else can put another name there, or take one away.
fn check_directory(dir: &Path, stat: &Stat) -> Result<(), PathsError> {
    check_owner(dir, stat)?;
    let mode = stat.st_mode & 0o7777;
    // Root's own group is root.
    let by_others = if stat.st_gid == 0 { mode & 0o002 } else { mode & BY_OTHERS };
    if by_others != 0 && mode & STICKY == 0 {
        return Err(PathsError::Writable { path: dir.to_owned(), mode, wanted: mode & !BY_OTHERS });
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
