//! The directories and sockets that the agent owns: made safe before use, taken by one agent only.
//!
//! Here: directory preparation, the lock, binding a unix socket, who else could change what the agent
//! trusts. Not here: what is written into the directories (`outbox`) or spoken over the sockets (`intake`, `admin`).

pub mod guard;
mod lock;
mod socket;
#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

pub use lock::Lock;
pub use socket::{BoundSocket, SocketFile, bind_unix};

/// Why a directory, the lock or a socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// A link could point anywhere by the time it is used.
    #[error("{} is a symbolic link: name the place itself, or remove the link", .0.display())]
    Symlink(PathBuf),
    /// Something else has that name.
    #[error("{} is not a directory: remove it or name another one", .0.display())]
    NotADirectory(PathBuf),
    /// Its owner could change what is in it.
    #[error("{0} belongs to uid {owner}, not to root or uid {us} (the agent): chown {us} {quoted}, or remove it", path.display(), quoted = quoted(path))]
    Owner {
        /// The directory or FIFO.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The agent's effective uid.
        us: u32,
    },
    /// Others could change what is in it.
    #[error("{0} has mode {mode:04o}, writable by others than {wanted:04o} allows: chmod {wanted:04o} {quoted}", path.display(), quoted = quoted(path))]
    Writable {
        /// The directory or FIFO.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What it may have.
        wanted: u32,
    },
    /// Everyone could read a secret.
    #[error("{0} has mode {mode:04o}, a secret that everyone can read: chmod 0640 {quoted}", path.display(), quoted = quoted(path))]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not something that can be executed.
    #[error("{} is not an executable file: chmod +x {}, or name another one", .0.display(), quoted(.0))]
    NotExecutable(PathBuf),
    /// A socket that was bound has lost its name.
    #[error("{} was removed: nobody can reach the agent there until it is restarted", .0.display())]
    Gone(PathBuf),
    /// Another agent holds the directory.
    #[error(
        "another agent holds {}{}: stop it first, or give this one another runtime_dir",
        dir.display(),
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    AlreadyRunning {
        /// The runtime directory.
        dir: PathBuf,
        /// The holder, where /proc/locks shows it.
        pid: Option<i32>,
    },
    /// Someone answers on the socket.
    #[error("a live server listens on {}: stop it, or configure another path", .0.display())]
    Live(PathBuf),
    /// Something that is not a socket has the socket's name.
    #[error("{} exists and is not a socket: remove it or configure another path", .0.display())]
    NotASocket(PathBuf),
    /// `sun_path` holds 107 bytes and a NUL.
    #[error("{} is {length} bytes long, a unix socket's path may have 107: configure a shorter one", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length, bytes.
        length: usize,
    },
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The attempt, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,=@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl PathsError {
    /// Whether another agent or server is the cause (exit code 75 rather than 1).
    pub fn is_already_running(&self) -> bool {
        matches!(self, Self::AlreadyRunning { .. } | Self::Live(_))
    }

    /// Whether the calling user may not even look; that tells nothing about others.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: path.to_owned(), source: source.into() }
    }
}

/// Makes sure that `dir` is a directory that only root, this user and whom `mode` names can write.
///
/// A new one (its parents too, those with 0755) has exactly `mode`, whatever the umask. One that
/// exists keeps its mode and is refused if it is a link, belongs to someone else, or is writable
/// by group or world beyond `mode`.
pub fn prepare(dir: &Path, mode: u32) -> Result<(), PathsError> {
    open_prepared(dir, mode).map(drop)
}

/// As [`prepare`] with 0750, for the directory that is locked; with a group, that can then reach what
/// is inside. Nobody but root and root's group may list it: who can open a directory can lock it, and
/// would keep the agent from its next start.
pub fn prepare_locked(dir: &Path, group: Option<u32>) -> Result<(), PathsError> {
    let fd = open_prepared(dir, 0o750)?;
    if let Some(gid) = group {
        fs::fchown(&fd, None, Some(Gid::from_raw(gid))).map_err(|e| PathsError::io("change the group of", dir, e))?;
    }
    let stat = fs::fstat(&fd).map_err(|e| PathsError::io("inspect", dir, e))?;
    let taken = if stat.st_gid == 0 { 0o004 } else { 0o044 };
    let mode = stat.st_mode & 0o7777;
    if mode & taken != 0 {
        fs::fchmod(&fd, Mode::from_raw_mode(mode & !taken)).map_err(|e| PathsError::io("set the mode of", dir, e))?;
    }
    Ok(())
}

fn open_prepared(dir: &Path, mode: u32) -> Result<OwnedFd, PathsError> {
    // A trailing slash would make O_NOFOLLOW follow.
    let dir: PathBuf = dir.components().collect();
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(|e| PathsError::io("create", parent, e))?;
    }
    let created = match fs::mkdir(&dir, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(e) => return Err(PathsError::io("create", &dir, e)),
    };
    let fd = open_directory(&dir)?;
    if created {
        // The umask may have taken bits away, never added any.
        fs::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|e| PathsError::io("set the mode of", &dir, e))?;
    }
    let stat = fs::fstat(&fd).map_err(|e| PathsError::io("inspect", &dir, e))?;
    check_owner_and_mode(&dir, &stat, mode)?;
    Ok(fd)
}

fn open_directory(dir: &Path) -> Result<OwnedFd, PathsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(dir, flags, Mode::empty()).map_err(|e| match e {
        // Both errors are given for a link, depending on the kernel.
        Errno::NOTDIR | Errno::LOOP => match fs::lstat(dir) {
            Ok(stat) if is(&stat, fs::FileType::Symlink) => PathsError::Symlink(dir.to_owned()),
            _ => PathsError::NotADirectory(dir.to_owned()),
        },
        e => PathsError::io("open", dir, e),
    })
}

/// Shared with the FIFO reader: who could have put something else there, or could write into it.
pub(crate) fn check_owner_and_mode(path: &Path, stat: &Stat, wanted: u32) -> Result<(), PathsError> {
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid != us && stat.st_uid != 0 {
        return Err(PathsError::Owner { path: path.to_owned(), owner: stat.st_uid, us });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o022 & !wanted != 0 {
        return Err(PathsError::Writable { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

pub(crate) fn is(stat: &Stat, kind: fs::FileType) -> bool {
    fs::FileType::from_raw_mode(stat.st_mode) == kind
}
