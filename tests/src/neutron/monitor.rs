//! A release's own state-change monitor, or what stands in for it, started as the L3 agent starts it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getpgid, kill_process_group, test_kill_process};

use super::{Written, path_with};
use crate::command::{ip_in, run_in};
use crate::guardian::Trace;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait;

/// Longest wait for its pid file: the one in Python imports for seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time for a script to tell what it heard, before it is stirred again.
const STIR: Duration = Duration::from_secs(2);
/// An address that is nobody's business.
const NOBODYS: &str = "192.0.2.99/32";

/// A running monitor. It may have put itself in the background: its pid file says who it is.
#[derive(Debug)]
pub struct Monitor {
    process: Process,
    pid: Pid,
    group: Pid,
    cmdline: String,
    namespace: String,
}

impl Monitor {
    /// Starts the monitor's command line with the program that is in the folder `programs`, and waits
    /// for its pid file. `state_path`, where given, is the one that it reports to.
    ///
    /// # Errors
    /// When it cannot be started or writes no pid file: with all it said.
    pub fn start(lab: &Lab, written: &Written, programs: &Path, state_path: Option<&Path>) -> Result<Self> {
        let words = state_path.map_or_else(|| written.command.clone(), |path| redirected(&written.command, path));
        Self::run(lab, written, programs, &words, &[])
    }

    /// As [`Monitor::start`], with arguments after Neutron's.
    ///
    /// # Errors
    /// As [`Monitor::start`].
    pub fn start_with(lab: &Lab, written: &Written, programs: &Path, more: &[&OsStr]) -> Result<Self> {
        Self::run(lab, written, programs, &written.command, more)
    }

    fn run(lab: &Lab, written: &Written, programs: &Path, words: &[String], more: &[&OsStr]) -> Result<Self> {
        let (program, arguments) = words.split_first().context("a program")?;
        let _ = std::fs::remove_file(&written.pid_file);
        let mut command = Command::new(programs.join(program));
        command.args(arguments).args(more).env("PATH", path_with(programs)?).env("PYTHONDONTWRITEBYTECODE", "1");
        let log = written.conf.with_file_name("monitor.log");
        let mut process = Process::start(&mut command, &log, lab.guardian())?;
        let pid = wait::until(PATIENCE, "the monitor's pid file", || {
            let _ = process.ended();
            let text = std::fs::read_to_string(&written.pid_file).ok()?;
            text.trim().parse().ok().and_then(Pid::from_raw)
        })
        .with_context(|| format!("{words:?} said:\n{}", process.output()))?;
        let group =
            getpgid(Some(pid)).with_context(|| format!("the monitor is gone; it said:\n{}", process.output()))?;
        lab.guardian().make(|notes| {
            notes.note(Trace::Group(group.as_raw_nonzero().get().unsigned_abs()));
            Ok(())
        })?;
        let cmdline = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).context("its command line")?;
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        Ok(Self { process, pid, group, cmdline, namespace: written.namespace.clone() })
    }

    /// The pid in its pid file.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its process group.
    pub fn group(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether that process is alive.
    pub fn lives(&self) -> bool {
        test_kill_process(self.pid).is_ok()
    }

    /// Whether it, or anyone else, has subscribed to what the kernel tells in the router's namespace.
    pub fn subscribed(&self) -> bool {
        // sk, protocol, port id, groups, …
        let table = run_in(&self.namespace, &["cat", "/proc/net/netlink"]).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&"0") && words.get(3).is_some_and(|groups| *groups != "00000000")
        })
    }

    /// Of the script of 29: whether the part of it that reads events is there.
    pub fn reads(&self) -> bool {
        let own = self.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        // A zombie has no command line.
        children.split_whitespace().any(|child| {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("neutron-keepalived-state-change")
        })
    }

    /// Stirs an address that is nobody's business until `told`. The script of 29 tells its first state
    /// with the first event that reaches it, and its `ip monitor` throws away every event between its
    /// subscription and the end of its own look at the links: that it told is the only sign that it hears.
    ///
    /// # Errors
    /// When it does not tell in time, or the address cannot be set.
    pub fn rouse(&self, within: Duration, mut told: impl FnMut() -> bool) -> Result<()> {
        let started = Instant::now();
        let there = || (self.reads() && self.subscribed()).then_some(());
        wait::until(within, "the script has subscribed", there)?;
        while started.elapsed() < within {
            for verb in ["add", "del"] {
                ip_in(&self.namespace, &["addr", verb, NOBODYS, "dev", "lo"])?;
            }
            if wait::until(STIR, "it tells", || told().then_some(())).is_ok() {
                return Ok(());
            }
        }
        bail!("the monitor hears nothing within {within:?}; it said:\n{}", self.output())
    }

    /// How many threads it has.
    ///
    /// # Errors
    /// When it is gone.
    pub fn threads(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/task", self.id()))?.count())
    }

    /// What the liveness check reads.
    pub fn cmdline(&self) -> &str {
        &self.cmdline
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.process.kill();
    }
}

/// The command line with another state path, in either form of its flag.
fn redirected(words: &[String], state_path: &Path) -> Vec<String> {
    let path = state_path.display();
    let mut after_flag = false;
    let replace = |word: &String| {
        let value = std::mem::replace(&mut after_flag, word == "--state_path");
        match word.as_str() {
            _ if value => path.to_string(),
            word if word.starts_with("--state_path=") => format!("--state_path={path}"),
            word => word.to_owned(),
        }
    };
    words.iter().map(replace).collect()
}
