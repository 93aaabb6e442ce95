//! Who is at the other end, by `SO_PEERCRED`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::core::model::Reporter;

/// The peer's credentials when it connected. Decisions are made on uid and gid; the pid is decoration
/// (it may have been reused, and is 0 when the peer lives in a pid namespace that is not below
/// ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pid: i32,
}

impl Peer {
    /// Past the libraries: tokio would first make the connection known to its poller, which most of a
    /// flood never needs, and rustix has no word for pid 0.
    pub(super) fn of(stream: BorrowedFd<'_>) -> io::Result<Self> {
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

    pub(super) fn reporter(self) -> Reporter {
        Reporter::Socket { uid: self.uid, pid: self.pid }
    }
}
