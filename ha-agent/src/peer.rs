//! Who is at the other end of a Unix socket.
//!
//! `SO_PEERCRED` tells user, group and process id of when it connected: who may do what is decided by
//! these alone. What the process is (`look`, by `/proc`, whose text `proc` reads) is for people who want to know
//! who lied.

mod look;
mod proc;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::core::reporter::{Naming, Reporter};

pub use look::Looker;

/// The peer's credentials when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id; 0 when it lives in a pid namespace that is not below ours. The process may have gone, and another
    /// one may have its number.
    pub pid: i32,
}

impl Peer {
    /// Past the libraries: tokio would first make the connection known to its poller, which most of a
    /// flood never needs, and rustix has no word for pid 0.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn of(stream: BorrowedFd<'_>) -> io::Result<Self> {
        let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
        let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
        // SAFETY: the option writes at most `length` bytes into `credentials`, which has as many and is
        // made of integers.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut credentials).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { uid: credentials.uid, gid: credentials.gid, pid: credentials.pid })
    }
}

/// A peer and its process.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What is decided by.
    pub peer: Peer,
    /// What is told.
    pub process: Naming,
}

impl Caller {
    /// Who is at the other end, and what its process is.
    ///
    /// # Errors
    /// When the kernel does not tell who.
    pub fn look(stream: BorrowedFd<'_>) -> io::Result<Self> {
        let peer = Peer::of(stream)?;
        Ok(Self { peer, process: Looker::default().look(stream, peer) })
    }

    /// As a report tells it.
    pub fn reporter(&self) -> Reporter {
        let Peer { uid, gid, pid } = self.peer;
        Reporter::Socket { uid, pid, gid: Some(gid), process: self.process.clone() }
    }
}
