//! A long-running process in a group of its own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::guardian::{Guardian, Trace};
use crate::wait;

/// Killed with its whole group when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where its standard output and error go.
    log: PathBuf,
    guardian: Arc<Guardian>,
    over: Option<ExitStatus>,
}

impl Process {
    /// Starts a command with its output appended to `log`.
    ///
    /// # Errors
    /// When the program or the log cannot be opened.
    pub fn start(command: &mut Command, log: &Path, guardian: &Arc<Guardian>) -> Result<Self> {
        let out = open(log)?;
        Self::spawn(command.stdout(out.try_clone()?).stderr(out), log, guardian)
    }

    /// As [`Process::start`], with only its standard error in `log`: its standard output is the caller's.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_heard(command: &mut Command, log: &Path, guardian: &Arc<Guardian>) -> Result<(Self, ChildStdout)> {
        let mut process = Self::spawn(command.stdout(Stdio::piped()).stderr(open(log)?), log, guardian)?;
        let said = process.child.stdout.take().context("the pipe from a process")?;
        Ok((process, said))
    }

    fn spawn(command: &mut Command, log: &Path, guardian: &Arc<Guardian>) -> Result<Self> {
        let child = guardian.make(|notes| {
            let child = command.process_group(0).stdin(Stdio::null()).spawn();
            let child = child.with_context(|| format!("starting {command:?}"))?;
            notes.note(Trace::Group(child.id()));
            Ok(child)
        })?;
        Ok(Self { child, log: log.to_owned(), guardian: Arc::clone(guardian), over: None })
    }

    /// Its process id, which is its group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Sends a signal to the process alone.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("sending {signal:?}"))
    }

    /// Sends a signal to every process of its group.
    ///
    /// # Errors
    /// When all are gone.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid()?, signal).with_context(|| format!("sending {signal:?}"))
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.over.is_none() {
            self.over = self.child.try_wait().ok().flatten();
            if self.over.is_some() {
                self.guardian.forget(self.child.id());
            }
        }
        self.over
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("process {} ends", self.id());
        wait::until(within, &what, || self.ended())
    }

    /// SIGKILL to the whole group, and its end awaited.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended().is_none() {
            self.signal_group(Signal::KILL)?;
            self.wait(Duration::from_secs(5))?;
        }
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")
    }
}

fn open(log: &Path) -> Result<File> {
    File::options().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Whether anybody of a process group lives. A zombie does not: in a container nobody may reap it.
pub fn group_lives(group: u32) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok()).any(|stat| {
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        let (state, of) = (fields.next(), fields.nth(1));
        !matches!(state, Some("Z" | "X")) && of.and_then(|of| of.parse().ok()) == Some(group)
    })
}
