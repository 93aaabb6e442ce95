//! Where files may be made: below Neutron's `state_path`, as root's own configuration names it, and nowhere else.
//!
//! Neutron's rootwrap filter lets the user `neutron` run this program as root with any arguments, so no path in them
//! is believed: each is opened from the folder `state_path`, and the kernel follows no link and no `..` below it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fstat, open, openat, openat2};
use rustix::io::Errno;

/// Neutron's folder, held open.
#[derive(Debug)]
pub(crate) struct StatePath {
    path: PathBuf,
    folder: OwnedFd,
}

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Outside, or with `..` in it.
    #[error(
        "{} is not below {}: set neutron.state_path in the agent's configuration to the L3 agent's state_path",
        path.display(), below.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    Outside {
        /// The path.
        path: PathBuf,
        /// Where it may be.
        below: Vec<PathBuf>,
    },
    /// A link on the way.
    #[error("there is a symbolic link on the way to {}: name the place itself", .0.display())]
    Link(PathBuf),
    /// Somebody else than root can change it.
    #[error("{} is not root's alone: chown root and chmod go-w it", .0.display())]
    NotRoots(PathBuf),
    /// The kernel's answer.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: Errno,
    },
}

impl PlaceError {
    fn io(path: &Path, source: Errno) -> Self {
        match source {
            Errno::LOOP | Errno::XDEV => Self::Link(path.to_owned()),
            source => Self::Io { path: path.to_owned(), source },
        }
    }
}

impl StatePath {
    /// The first of the folders that root's configuration names and that `file` is below.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub(crate) fn around(file: &Path, configured: &[PathBuf]) -> Result<Self, PlaceError> {
        let found = configured.iter().find(|path| within(path, file).is_some());
        let path =
            found.ok_or_else(|| PlaceError::Outside { path: file.to_owned(), below: configured.to_vec() })?.clone();
        // What leads to it is root's to choose, links too.
        let folder = open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let folder = folder.map_err(|error| PlaceError::io(&path, error))?;
        Ok(Self { path, folder })
    }

    /// Whose rights are enough to write `file`: the owner of the folder itself, or, where that is root, of the
    /// folder in which the file is.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub(crate) fn owner(&self, file: &Path) -> Result<(Uid, Gid), PlaceError> {
        let failed = |error| PlaceError::io(file, error);
        let whose = |stat: Stat| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let owner = whose(fstat(&self.folder).map_err(failed)?);
        if !owner.0.is_root() {
            return Ok(owner);
        }
        let (folder, _) = self.open(file)?;
        fstat(&folder).map(whose).map_err(failed)
    }

    /// The folder of `file`, and its name there.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub(crate) fn open(&self, file: &Path) -> Result<(OwnedFd, OsString), PlaceError> {
        let outside = || PlaceError::Outside { path: file.to_owned(), below: vec![self.path.clone()] };
        let rest = within(&self.path, file).ok_or_else(outside)?;
        let name = rest.file_name().ok_or_else(outside)?.to_owned();
        let folder = match rest.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let folder = openat2(&self.folder, folder, flags, Mode::empty(), how);
        Ok((folder.map_err(|error| PlaceError::io(file, error))?, name))
    }
}

/// What is left of `file` below `folder`; none: it is elsewhere, or says `..`.
fn within<'a>(folder: &Path, file: &'a Path) -> Option<&'a Path> {
    let rest = file.strip_prefix(folder).ok()?;
    let plain = |component| matches!(component, Component::Normal(_));
    (rest.components().next().is_some() && rest.components().all(plain)).then_some(rest)
}

/// A file that root wrote and nobody else could have: each step on the way is root's, no link, and not writable
/// by others. For a path that whoever started us may have chosen.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn open_roots_own(path: &Path) -> Result<OwnedFd, PlaceError> {
    const STICKY: u32 = 0o1000;
    let failed = |error| PlaceError::io(path, error);
    let mut at = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let relative = path.strip_prefix("/").map_err(|_| PlaceError::NotRoots(path.to_owned()))?;
    let mut components = relative.components().peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        let Component::Normal(name) = component else { return Err(PlaceError::NotRoots(path.to_owned())) };
        // Not even opened unless it is what is looked for: opening a device or a FIFO has effects.
        let next = openat(&at, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let next = next.map_err(failed)?;
        let stat = fstat(&next).map_err(failed)?;
        use rustix::fs::FileType;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Symlink {
            return Err(PlaceError::Link(path.to_owned()));
        }
        let sound = if last { kind == FileType::RegularFile } else { kind == FileType::Directory };
        // Who else can write into a directory with this bit cannot put another file in the place of root's.
        let closed = stat.st_mode & 0o022 == 0 || (!last && stat.st_mode & STICKY != 0);
        if stat.st_uid != 0 || !closed || !sound {
            return Err(PlaceError::NotRoots(path.to_owned()));
        }
        at = next;
    }
    // The same file, to be read.
    use std::os::fd::AsRawFd;
    let again = format!("/proc/self/fd/{}", at.as_raw_fd());
    openat(CWD, &again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
}

#[cfg(test)]
mod tests;
