//! Binding a unix socket: a stale one is replaced, a live one never.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{PathsError, is};

/// A listening socket and its name in the file system; dropping it removes the name.
#[derive(Debug)]
pub struct BoundSocket {
    // First: the name goes while the inode is still pinned by the socket, so its number cannot
    // have been given to someone else's.
    file: SocketFile,
    listener: UnixListener,
}

impl BoundSocket {
    /// Binds and listens; see [`bind_unix`].
    pub fn bind(path: &Path, mode: u32, gid: Option<u32>, backlog: i32) -> Result<Self, PathsError> {
        clear_stale(path)?;
        let socket = new_socket(path)?;
        // Nobody else may connect before group and mode are right, nor before listen(2).
        fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(|e| PathsError::io("set the mode of", path, e))?;
        net::bind(&socket, &address(path)?).map_err(|e| match e {
            Errno::ADDRINUSE => PathsError::Live(path.to_owned()),
            e => PathsError::io("bind", path, e),
        })?;
        let file = SocketFile::adopt(path)?;
        file.give(mode, gid)?;
        net::listen(&socket, backlog).map_err(|e| PathsError::io("listen on", path, e))?;
        Ok(Self { file, listener: socket.into() })
    }

    /// The listener (non-blocking) and the guard of its name. Drop the guard first.
    pub fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }

    /// The listener, non-blocking.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

/// Binds `path` with exactly `mode` and, if given, group `gid`, and listens; close-on-exec,
/// non-blocking. The caller removes the name at the end: [`BoundSocket`] does that by itself.
///
/// What has the name now is probed by connecting first: a socket that nobody listens on is
/// removed, a live one ([`PathsError::Live`]) and anything else is left alone. The name is bound
/// directly rather than renamed into place, so that tools show it and a server that appears
/// between the probe and the bind is never robbed.
pub fn bind_unix(path: &Path, mode: u32, gid: Option<u32>, backlog: i32) -> Result<UnixListener, PathsError> {
    let (listener, file) = BoundSocket::bind(path, mode, gid, backlog)?.into_parts();
    file.leave();
    Ok(listener)
}

/// The name of a socket that we bound. Removes it when dropped, but only if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// `O_PATH`: pins the inode, so that its number stays ours.
    handle: OwnedFd,
    ours: bool,
}

impl SocketFile {
    fn adopt(path: &Path) -> Result<Self, PathsError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = fs::open(path, flags, Mode::empty()).map_err(|e| PathsError::io("open", path, e))?;
        let stat = fs::fstat(&handle).map_err(|e| PathsError::io("inspect", path, e))?;
        if !is(&stat, FileType::Socket) {
            return Err(PathsError::NotASocket(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), device: stat.st_dev, inode: stat.st_ino, handle, ours: true })
    }

    fn give(&self, mode: u32, gid: Option<u32>) -> Result<(), PathsError> {
        if let Some(gid) = gid {
            fs::chownat(&self.handle, "", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
                .map_err(|e| PathsError::io("change the group of", &self.path, e))?;
        }
        // fchmod(2) refuses O_PATH descriptors; this name leads to the same inode.
        let by_handle = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        fs::chmod(by_handle, Mode::from_raw_mode(mode)).map_err(|e| PathsError::io("set the mode of", &self.path, e))
    }

    /// Removes the name now if it is still ours; whether it was.
    pub fn remove(mut self) -> bool {
        self.remove_if_ours()
    }

    fn leave(mut self) {
        self.ours = false;
    }

    fn remove_if_ours(&mut self) -> bool {
        let ours = std::mem::take(&mut self.ours)
            && fs::lstat(&self.path).is_ok_and(|stat| stat.st_dev == self.device && stat.st_ino == self.inode);
        ours && fs::unlink(&self.path).is_ok()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove_if_ours();
    }
}

/// Removes a socket that nobody listens on; an error for everything else that has the name.
fn clear_stale(path: &Path) -> Result<(), PathsError> {
    let before = match fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(PathsError::io("inspect", path, e)),
    };
    if is(&before, FileType::Symlink) {
        return Err(PathsError::Symlink(path.to_owned()));
    }
    if !is(&before, FileType::Socket) {
        return Err(PathsError::NotASocket(path.to_owned()));
    }
    match net::connect(&new_socket(path)?, &address(path)?) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        // A full backlog (EAGAIN) or another socket type (EPROTOTYPE) is just as alive.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
            return Err(PathsError::Live(path.to_owned()));
        }
        Err(e) => return Err(PathsError::io("probe", path, e)),
    }
    let same = fs::lstat(path).is_ok_and(|now| now.st_dev == before.st_dev && now.st_ino == before.st_ino);
    if !same {
        return Err(PathsError::Live(path.to_owned()));
    }
    fs::unlink(path).map_err(|e| PathsError::io("remove the stale socket", path, e))
}

fn new_socket(path: &Path) -> Result<OwnedFd, PathsError> {
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .map_err(|e| PathsError::io("make a socket for", path, e))
}

fn address(path: &Path) -> Result<SocketAddrUnix, PathsError> {
    SocketAddrUnix::new(path).map_err(|e| match e {
        Errno::NAMETOOLONG => PathsError::TooLong { path: path.to_owned(), length: path.as_os_str().as_bytes().len() },
        e => PathsError::io("use as a socket address", path, e),
    })
}
