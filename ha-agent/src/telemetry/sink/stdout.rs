//! Standard output. Written past std's buffer, so that a line that was cut short goes on where it
//! stopped.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Sink, write_rest};
use crate::telemetry::recent::Record;

pub(super) struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()> {
        let out = rustix::stdio::stdout();
        write_rest(&record.line, done, |bytes| {
            match rustix::io::write(out, bytes) {
                // Whoever started the agent may have left it non-blocking; a full pipe is no error.
                Err(Errno::AGAIN) => {
                    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                    poll(&mut [PollFd::from_borrowed_fd(out, PollFlags::OUT)], Some(&second))?;
                    Err(io::ErrorKind::Interrupted.into())
                }
                other => Ok(other?),
            }
        })
    }
}
