//! A look at a peer's process, so that it has a name when it has gone.
//!
//! Between `connect(2)` and the look a process may end and its number pass to another one. The folder `/proc/PID`
//! stands for one process only: what is read through its descriptor is that one's, or an error. Whether it is the peer's
//! is asked once, when it is open:
//!
//! - with `SO_PEERPIDFD` (Linux 6.5) the kernel says whether the peer's process still is there, so that no other can
//!   have its number;
//! - without it, the process must have the user id that the peer had. Another one of the same user, which got the number
//!   within that moment, would be taken for it.
//!
//! Nothing is read that the process could keep waiting: not its command line, which is in its own memory, under a lock that
//! it can hold for long (`fork(2)` of a large process). There may be secrets in it as well.

mod again;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::{Errno, pread};
use rustix::time::{ClockId, clock_gettime};

use again::Again;

use super::{Peer, proc};
use crate::clock;
use crate::core::reporter::{Naming, Process, Unnamed};

/// Bytes read of a file: more than any has, but for a great many hierarchies.
const TEXT: usize = 4096;
/// Bytes read of an executable's path: `PATH_MAX`.
const PATH: usize = 4096;
/// Ticks a second in `/proc`: `USER_HZ`.
const TICKS: u64 = 100;

/// Looks at the peers of one listener's connections, in the order in which they were accepted.
#[derive(Debug)]
pub struct Looker {
    /// Whether `SO_PEERPIDFD` is asked for.
    by_pidfd: bool,
    again: Again,
}

impl Default for Looker {
    fn default() -> Self {
        Self { by_pidfd: true, again: Again::default() }
    }
}

impl Looker {
    /// The process at the other end, or why it has no name. Takes up to five descriptors meanwhile.
    pub fn look(&mut self, stream: BorrowedFd<'_>, peer: Peer) -> Naming {
        let now = clock::now();
        if let Some(process) = self.again.look(peer, now) {
            return Naming::Named(process);
        }
        match self.process(stream, peer) {
            Ok((process, folder)) => Naming::Named(self.again.keep(peer, folder, process, now)),
            Err(unnamed) => Naming::Unnamed { unnamed },
        }
    }

    /// Closes what is open; false: nothing was.
    pub fn let_go(&mut self) -> bool {
        self.again.let_go()
    }

    fn process(&self, stream: BorrowedFd<'_>, peer: Peer) -> Result<(Process, OwnedFd), Unnamed> {
        if peer.pid <= 0 {
            return Err(Unnamed::OtherPidNamespace);
        }
        let pidfd = if self.by_pidfd { pidfd(stream) } else { Err(Errno::NOPROTOOPT) };
        let pidfd = match pidfd {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::NOPROTOOPT) => None,
            // Kernels before 6.16 have none for a process that has gone.
            Err(Errno::INVAL | Errno::SRCH) => return Err(Unnamed::Ended),
            Err(_) => return Err(Unnamed::NotReadable),
        };
        let is_gone = || pidfd.as_ref().is_some_and(is_gone);
        let folder = format!("/proc/{}", peer.pid);
        let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        if is_gone() {
            return Err(Unnamed::Ended);
        }
        let read = folder.and_then(|folder| {
            let same = pidfd.is_some() || proc::effective_uid(&read_file(&folder, "status")?) == Some(peer.uid);
            if same { Ok((process(&folder)?, folder)) } else { Err(Errno::SRCH) }
        });
        read.map_err(|error| match error {
            Errno::SRCH => Unnamed::Ended,
            // What is hidden is not there, no more than what has gone.
            Errno::NOENT if pidfd.is_none() || is_gone() => Unnamed::Ended,
            _ => Unnamed::NotReadable,
        })
    }
}

/// All that is told of the process whose folder this is.
fn process(folder: &OwnedFd) -> Result<Process, Errno> {
    let (command, start_ticks) = proc::stat(&read_file(folder, "stat")?).ok_or(Errno::INVAL)?;
    Ok(Process {
        started: started(start_ticks),
        start_ticks,
        command,
        cgroup: read_file(folder, "cgroup").ok().and_then(|text| proc::cgroup(&text)),
        executable: executable(folder),
    })
}

/// The peer's process as a descriptor; `NOPROTOOPT`: this kernel has none.
fn pidfd(stream: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut descriptor: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the option writes at most `length` bytes into `descriptor`, an integer of as many.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether the process has ended and its parent has taken note: from then on its number may be another one's.
fn is_gone(pidfd: &OwnedFd) -> bool {
    let ended = {
        let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(poll(&mut waited, Some(&now)), Ok(0))
    };
    // One that has ended keeps its number until its parent asks.
    ended && {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let info = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let pid = info.and_then(|file| read(&file)).ok().and_then(|text| proc::fdinfo_pid(&text));
        pid.is_none_or(|pid| pid <= 0)
    }
}

/// A file in the process's folder.
fn read_file(folder: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    read(&open(folder, name)?)
}

fn open(folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// What one read from the beginning gives: these files are made whole for it.
fn read(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut text = [0; TEXT];
    let length = pread(file, &mut text, 0)?;
    Ok(text[..length].to_vec())
}

/// What it executes: whoever may not trace it is not told.
fn executable(folder: &OwnedFd) -> Option<Box<str>> {
    let mut path = [std::mem::MaybeUninit::uninit(); PATH];
    let (path, _) = readlinkat_raw(folder, "exe", &mut path).ok()?;
    Some(proc::executable(path))
}

/// Ticks after boot by the wall clock.
fn started(ticks: u64) -> Box<str> {
    let boot = clock_gettime(ClockId::Boottime);
    let since_boot = boot.tv_sec * 1_000_000 + boot.tv_nsec / 1000;
    let micros = i64::try_from(ticks.saturating_mul(1_000_000 / TICKS)).unwrap_or(i64::MAX);
    clock::rfc3339_millis(clock::wall_micros().saturating_sub(since_boot).saturating_add(micros))
        .unwrap_or_default()
        .into()
}
