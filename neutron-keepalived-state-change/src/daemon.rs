//! Going to the background as Neutron's own `Daemon` class does it, and better in one point: the
//! command ends only when the pid file is written, so that the L3 agent never reads an old one.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{chdir, setsid, umask};

/// Files are made with the mode that is asked for, without what group and world could write.
pub(crate) fn set_umask() {
    umask(Mode::WGRP | Mode::WOTH);
}

/// The process that was started, which waits.
pub(crate) struct Parent {
    pipe: OwnedFd,
}

impl Parent {
    /// Lets it end well. Without this it ends as failed, as soon as we do.
    pub(crate) fn started(self) {
        let _ = rustix::io::write(&self.pipe, &[1]);
    }
}

/// Forks twice, leaves session, terminal and working directory. Returns in the daemon.
///
/// # Errors
/// The kernel's, in the process that was started.
pub(crate) fn detach() -> io::Result<Parent> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    if fork()? {
        drop(write);
        let mut byte = [0];
        let started = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut byte)) == Ok(1);
        std::process::exit(i32::from(!started));
    }
    drop(read);
    setsid()?;
    // Who leads no session never gets a terminal.
    if fork()? {
        std::process::exit(0);
    }
    chdir("/")?;
    Ok(Parent { pipe: write })
}

/// True in the parent.
fn fork() -> io::Result<bool> {
    // SAFETY: there is one thread, so the child finds no lock taken by another and may do what any
    // process may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child != 0),
    }
}

/// Standard streams become `/dev/null`: a release that waits for the command waits for their end, and
/// one that does not never reads them.
pub(crate) fn let_go_of_stdio() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
