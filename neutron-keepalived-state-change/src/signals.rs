//! The one place where it sleeps: a connection, a deadline, signals.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// What woke it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reopen,
    /// There is something to read, or the connection ended.
    Readable,
    /// The deadline came.
    Deadline,
}

/// Signals, as something to wait for.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: UnixStream,
    reopen: UnixStream,
}

impl Signals {
    /// From now on they no longer have the kernel's meaning.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new() -> io::Result<Self> {
        let (stop, stop_sender) = UnixStream::pair()?;
        let (reopen, reopen_sender) = UnixStream::pair()?;
        pipe::register(SIGINT, stop_sender.try_clone()?)?;
        pipe::register(SIGTERM, stop_sender)?;
        pipe::register(SIGHUP, reopen_sender)?;
        reopen.set_nonblocking(true)?;
        Ok(Self { stop, reopen })
    }

    /// Sleeps until one of them.
    pub(crate) fn wait(&mut self, connection: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> Woken {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut watched = [
                PollFd::new(&self.stop, PollFlags::IN),
                PollFd::new(&self.reopen, PollFlags::IN),
                // A place that is not used watches what is watched anyway.
                match &connection {
                    Some(connection) => PollFd::new(connection, PollFlags::IN),
                    None => PollFd::new(&self.stop, PollFlags::empty()),
                },
            ];
            // Only EINTR is to be expected, after a signal whose byte is there the next time.
            if poll(&mut watched, left.as_ref()) == Ok(0) {
                return Woken::Deadline;
            }
            let [stop, reopen, connection] = watched.map(|fd| !fd.revents().is_empty());
            if stop {
                return Woken::Stop;
            }
            if reopen {
                while self.reopen.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
                return Woken::Reopen;
            }
            if connection {
                return Woken::Readable;
            }
        }
    }
}
