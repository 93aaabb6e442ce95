//! `<ha_confs>/<router>/state`: the word that the L3 agent reads when it starts.
//!
//! Neutron's monitor opened the file and wrote; a reader could find it empty. Here it is replaced as a
//! whole. The folder belongs to the L3 agent's user, so nothing in it is trusted: no link is
//! followed, and nothing that is there is opened.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, openat};
use rustix::fs::{renameat, statat, unlinkat};
use rustix::io::Errno;

use super::folder;
use super::plan::StateFile;
use crate::config::Accounts;

/// The file.
const NAME: &str = "state";
/// What it is written as. What a crash leaves of it is removed by the next write.
const DRAFT: &str = ".state.ha-agent";
/// The mode of a file that was not there.
const NEW: u32 = 0o644;

/// Why it cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub(super) struct StateFileError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Replaces the file. Blocks for as long as the file system does.
///
/// Owner and mode stay as they are. A new file, and one that anybody could write (Neutron's monitor
/// up to release 28 left it 0666), becomes the registered user's and group's, else the folder's, and
/// is not writable by others: the L3 agent opens it for writing.
///
/// # Errors
/// What failed, with the path; the file is then as it was.
pub(super) fn write(file: &StateFile) -> Result<(), StateFileError> {
    let failed = |what: &'static str, path: PathBuf| {
        move |errno: Errno| StateFileError { what, path: path.clone(), source: errno.into() }
    };
    let folder = folder::open(&file.folder).map_err(failed("open", file.folder.clone()))?;
    let of_folder = fstat(&folder).map_err(failed("inspect", file.folder.clone()))?;
    let before = match statat(&folder, NAME, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(stat),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(failed("inspect", file.folder.join(NAME))(errno)),
    };
    let owner = owner(file, &of_folder, before.as_ref());

    let draft = file.folder.join(DRAFT);
    match unlinkat(&folder, DRAFT, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("remove", draft)(errno)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = openat(&folder, DRAFT, flags, Mode::RUSR | Mode::WUSR).map_err(failed("create", draft.clone()))?;
    let done = fill(&written, file.word, &owner)
        .map_err(failed("write", draft))
        .and_then(|()| renameat(&folder, DRAFT, &folder, NAME).map_err(failed("replace", file.folder.join(NAME))));
    if done.is_err() {
        let _ = unlinkat(&folder, DRAFT, AtFlags::empty());
    }
    done
}

struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
}

fn owner(file: &StateFile, folder: &Stat, before: Option<&Stat>) -> Owner {
    let kept = before.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    match kept {
        Some(stat) if stat.st_mode & 0o002 == 0 => {
            Owner { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o777 }
        }
        kept => {
            let accounts = Accounts::local();
            Owner {
                uid: file.owner.user.as_deref().and_then(|user| accounts.uid(user)).unwrap_or(folder.st_uid),
                gid: file.owner.group.as_deref().and_then(|group| accounts.gid(group)).unwrap_or(folder.st_gid),
                mode: kept.map_or(NEW, |stat| stat.st_mode & 0o775),
            }
        }
    }
}

fn fill(draft: &OwnedFd, word: &str, owner: &Owner) -> Result<(), Errno> {
    let mut rest = word.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(draft, rest))?;
        rest = &rest[written..];
    }
    // In this order: who is no longer the owner needs another capability.
    fchmod(draft, Mode::from_raw_mode(owner.mode))?;
    fchown(draft, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

#[cfg(test)]
mod tests;
