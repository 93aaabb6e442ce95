//! Standard output. Written past std's buffer, so that a line that was cut short goes on where it
//! stopped.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::{Sink, write_rest};
use crate::telemetry::recent::Record;

/// How long a full pipe is waited for before the line is tried again.
const WAIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

pub(super) struct Stdout {
    out: OwnedFd,
}

impl Stdout {
    /// Standard output of this process, by a descriptor of its own.
    pub(super) fn new() -> io::Result<Self> {
        let out = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 0)?;
        Ok(Self { out })
    }

    #[cfg(test)]
    pub(super) fn of(out: OwnedFd) -> Self {
        Self { out }
    }
}

impl Sink for Stdout {
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()> {
        let out = &self.out;
        write_rest(&record.line, done, |bytes| {
            match rustix::io::write(out, bytes) {
                // Whoever started the agent may have left it non-blocking; a full pipe is no error.
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::new(out, PollFlags::OUT)], Some(&WAIT))?;
                    Err(io::ErrorKind::Interrupted.into())
                }
                other => Ok(other?),
            }
        })
    }
}
