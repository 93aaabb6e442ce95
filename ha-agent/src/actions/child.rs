//! A program, run as a process group of its own: bounded in time and output, never left behind, not even by an agent
//! that is killed (`leash`).
//!
//! What it leaves in its group is killed when it ends; who wants to outlive it takes a session of
//! its own (`setsid`, `systemd-run`). It is reaped last, so that its group's number cannot have become
//! somebody else's when the group is killed.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::leash::Leash;
use crate::config::Netns;
use crate::netns::NetnsThread;
use crate::telemetry::line::is_deceiving;

/// Output that is kept, bytes; the rest is read and let go.
const KEPT: usize = 4096;
/// Output that is read, bytes; then the pipe is closed, and who writes on gets SIGPIPE.
const READ: usize = 1024 * 1024;
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);
/// For what is still in the pipe when the program has ended.
const DRAIN: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug)]
pub(super) struct Program {
    /// The file, or a name to be looked up in the environment's `PATH`.
    pub(super) path: PathBuf,
    /// Its arguments, without its own name.
    pub(super) arguments: Vec<OsString>,
    /// All of its environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Its standard input.
    pub(super) input: Stdio,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    By(ExitStatus),
    /// It was killed because its time was over.
    TimedOut,
    /// It was killed because the agent stops.
    Stopped,
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    group: Group,
    exited: OwnedFd,
    output: OwnedFd,
}

impl Program {
    /// Starts it in the calling thread's network namespace. Blocks until it is executed.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub(super) fn start(self, leash: &Leash) -> io::Result<Running> {
        let (output, written) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(self.input)
            .stdout(written.try_clone()?)
            .stderr(written)
            .process_group(0);
        let group = Group { child: command.spawn()?, leash: leash.clone(), reaped: false };
        leash.hold(group.pid());
        // Dropped on an error, the group is killed.
        let exited = pidfd_open(group.pid(), PidfdFlags::empty())?;
        Ok(Running { group, exited, output })
    }
}

impl Running {
    /// Waits for its end, at most about `limit`; gives how it ended and what it wrote, with whatever a
    /// terminal obeys escaped.
    ///
    /// A process that even SIGKILL does not end (it waits in the kernel) is waited for.
    ///
    /// # Errors
    /// When the runtime cannot wait for its descriptors; the group is then killed.
    pub(super) async fn end(
        self,
        limit: Duration,
        stop: &CancellationToken,
        hands: &NetnsThread,
    ) -> io::Result<(Ended, String)> {
        let Self { mut group, exited, output } = self;
        // SAFETY: the descriptor is owned, open, and moved into the `AsyncFd`, which closes it itself.
        let exited = unsafe { AsyncFd::register_with_interest(exited, Interest::READABLE) }?;
        let mut output = Output { pipe: Some(Receiver::from_owned_fd(output)?), kept: Vec::new(), seen: 0 };
        let mut cut = None;
        tokio::select! {
            ended = exited.readable() => drop(ended?),
            never = output.read() => match never {},
            () = tokio::time::sleep(limit) => cut = Some(Ended::TimedOut),
            () = stop.cancelled() => cut = Some(Ended::Stopped),
        }
        if cut.is_some() {
            group.signal(Signal::TERM, hands).await;
            let ended = tokio::select! {
                ended = exited.readable() => ended.map(|_| true)?,
                never = output.read() => match never {},
                () = tokio::time::sleep(GRACE) => false,
            };
            if !ended {
                group.signal(Signal::KILL, hands).await;
                tokio::select! {
                    ended = exited.readable() => drop(ended?),
                    never = output.read() => match never {},
                }
            }
        }
        group.signal(Signal::KILL, hands).await;
        let status = group.reap()?;
        output.drain(Instant::now() + DRAIN).await;
        Ok((cut.unwrap_or(Ended::By(status)), output.text()))
    }
}

/// The process group, killed at the latest when this is dropped.
#[derive(Debug)]
struct Group {
    child: Child,
    leash: Leash,
    reaped: bool,
}

impl Group {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Only before the leader is reaped: until then its number is nobody else's. By the thread that
    /// started it, as others may not send signals.
    async fn signal(&self, signal: Signal, hands: &NetnsThread) {
        let pid = self.pid();
        // It fails only where nobody is left.
        let _ = hands.run_in(Netns::Own, move || kill_process_group(pid, signal)).await;
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.leash.free(self.pid());
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            // Where that may be: an answer that nobody waits for any more is dropped by its thread.
            if kill_process_group(self.pid(), Signal::KILL).is_ok() {
                self.leash.free(self.pid());
                let _ = self.child.try_wait();
            }
        }
    }
}

struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    seen: usize,
}

impl Output {
    /// Reads until it is dropped; loses nothing then.
    async fn read(&mut self) -> std::convert::Infallible {
        while self.some().await {}
        std::future::pending().await
    }

    /// Reads what there is until the end, at most until then.
    async fn drain(&mut self, until: Instant) {
        let _ = tokio::time::timeout_at(until, async { while self.some().await {} }).await;
    }

    /// Reads a piece; false at the end.
    async fn some(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut piece = [0; 4096];
        match pipe.read(&mut piece).await {
            Ok(length) if length > 0 => {
                let room = KEPT - self.kept.len();
                self.kept.extend_from_slice(&piece[..length.min(room)]);
                self.seen += length;
                if self.seen >= READ {
                    self.pipe = None;
                }
            }
            _ => self.pipe = None,
        }
        self.pipe.is_some()
    }

    fn text(&self) -> String {
        let mut text = escaped(String::from_utf8_lossy(&self.kept).trim());
        if self.seen > self.kept.len() {
            let more = if self.seen >= READ { "at least " } else { "" };
            text.push_str(&format!(" … ({more}{} bytes more)", self.seen - self.kept.len()));
        }
        text
    }
}

/// One line, without anything that a terminal obeys.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceiving(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests;
