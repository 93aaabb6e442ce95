//! Who is at the other end, by `SO_PEERCRED`.

use std::io;

use tokio::net::UnixStream;

use crate::core::model::Reporter;

/// The peer's credentials when it connected. Decisions are made on the uid; the pid is decoration
/// (it may have been reused, and is 0 when the peer lives in a pid namespace that is not below
/// ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) pid: i32,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid().unwrap_or(0) })
    }

    pub(super) fn reporter(self) -> Reporter {
        Reporter::Socket { uid: self.uid, pid: self.pid }
    }
}
