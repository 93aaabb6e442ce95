//! From a namespace's file to the id that notifications carry. The file is open only meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::Missing;
use super::requests::{RequestError, Requests};
use crate::config::Netns;

/// linux/magic.h: the file system of namespace files.
const NSFS_MAGIC: u64 = 0x6e73_6673;
const OWN: &str = "/proc/self/ns/net";

/// A namespace as the agent's socket knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Its nsid; none: the agent's own.
    pub(super) nsid: Option<i32>,
    /// Its inode on nsfs: unlike an nsid it is not given to another one while this one lives.
    pub(super) inode: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// No such file.
    #[error("the namespace's file does not exist; it is waited for")]
    Absent,
    /// There is a file, but (yet) no namespace mounted over it.
    #[error("the file is not a network namespace (yet); it is looked at again")]
    NotYet,
    #[error("cannot open the namespace's file: {0}")]
    Open(io::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl ResolveError {
    /// What it says of the namespace.
    pub(super) fn missing(&self) -> Missing {
        match self {
            Self::Absent => Missing::Absent,
            Self::NotYet => Missing::NotANamespace,
            Self::Open(error) if error.kind() == io::ErrorKind::PermissionDenied => Missing::Closed(format!(
                "its file cannot be opened ({error}): one that leads to /proc/PID/ns/net is closed to the agent, whose threads \
                 may not look into other processes; give the namespace a name of its own with `ip netns attach NAME PID`"
            )),
            Self::Open(_) | Self::Request(_) => Missing::Closed(self.to_string()),
        }
    }
}

pub(super) async fn resolve(requests: &Requests, netns: &Netns) -> Result<Bound, ResolveError> {
    let (own, own_inode) = requests.open(Path::new(OWN)).await?;
    drop(own);
    let Netns::Path(path) = netns else {
        return Ok(Bound { nsid: None, inode: own_inode });
    };
    let (file, inode) = requests.open(path).await?;
    if inode == own_inode {
        return Ok(Bound { nsid: None, inode });
    }
    match requests.nsid(file.as_fd()).await {
        Ok(nsid) => Ok(Bound { nsid: Some(nsid), inode }),
        // A namespace file of another kind.
        Err(RequestError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            Err(ResolveError::NotYet)
        }
        Err(e) => Err(e.into()),
    }
}

/// The id that the agent's own namespace was given in itself, if anyone gave it one: then its
/// notifications carry it.
pub(super) async fn own_nsid(requests: &Requests) -> Result<Option<i32>, ResolveError> {
    let (own, _) = requests.open(Path::new(OWN)).await?;
    Ok(requests.known_nsid(own.as_fd()).await?)
}

/// Opens a namespace's file: on the thread that may.
pub(super) fn open(path: &Path) -> Result<(OwnedFd, u64), ResolveError> {
    // NONBLOCK: whatever else may be found there must not hold the caller.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => ResolveError::Absent,
        other => ResolveError::Open(other.into()),
    })?;
    let system = rustix::fs::fstatfs(&file).map_err(|e| ResolveError::Open(e.into()))?;
    if u64::try_from(system.f_type) != Ok(NSFS_MAGIC) {
        return Err(ResolveError::NotYet);
    }
    let inode = rustix::fs::fstat(&file).map_err(|e| ResolveError::Open(e.into()))?.st_ino;
    Ok((file, inode))
}

#[cfg(test)]
mod tests;
