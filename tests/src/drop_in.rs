//! `neutron-keepalived-state-change` as the L3 agent runs it: its command line, its pid file, its end.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getpgid, kill_process};
use uuid::Uuid;

use crate::agent::Agent;
use crate::guardian::Trace;
use crate::lab::{Lab, Site};
use crate::process::Process;
use crate::wait;

/// `SIGTERM_TIMEOUT` of Neutron's `ha_router`: then it sends SIGKILL.
pub const SIGTERM_TIMEOUT: Duration = Duration::from_secs(10);

/// How a release starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 28 and before: `env PROCESS_TAG=… … --flag=value`, and waits for the command to end.
    Daemon,
    /// 29: `… --flag value`, and does not wait.
    Foreground,
}

/// What is told of a router.
#[derive(Clone, Debug)]
pub struct Place {
    /// The router.
    pub router: Uuid,
    /// Its namespace's name.
    pub netns: String,
    /// HA interface.
    pub interface: String,
    /// Primary VIP in CIDR form.
    pub vip: String,
    /// Neutron's `state_path`.
    pub state_path: PathBuf,
}

/// A process that stands in for a monitor; SIGKILL when dropped.
#[derive(Debug)]
pub struct DropIn {
    /// Where the L3 agent reads its pid.
    pub pid_file: PathBuf,
    /// Where it says what changed.
    pub log_file: PathBuf,
    router: Uuid,
    pid: Pid,
    /// In the foreground it is our child.
    process: Option<Process>,
}

impl Place {
    /// The place of a site, for the node whose agent it is.
    pub fn of(site: &Site, agent: &Agent) -> Self {
        Self {
            router: site.router.id,
            netns: site.netns.clone(),
            interface: site.interface.clone(),
            vip: site.router.vip(),
            state_path: agent.neutron(),
        }
    }

    /// The router's folder.
    pub fn conf_dir(&self) -> PathBuf {
        self.state_path.join("ha_confs").join(self.router.to_string())
    }

    /// `keepalived.conf` as the L3 agent writes it, as far as it is read; its folder as well.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_keepalived_conf(&self, vrid: u8) -> Result<()> {
        let Self { interface, vip, .. } = self;
        let text = format!(
            "vrrp_instance VR_{vrid} {{\n    state BACKUP\n    interface {interface}\n    virtual_router_id {vrid}\n    \
             priority 50\n    nopreempt\n    advert_int 1\n    virtual_ipaddress {{\n        {vip} dev {interface}\n    \
             }}\n}}\n"
        );
        std::fs::create_dir_all(self.conf_dir())?;
        let path = self.conf_dir().join("keepalived.conf");
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn pid_file(&self) -> PathBuf {
        let name = format!("{}.monitor.pid.neutron-keepalived-state-change-monitor", self.router);
        self.state_path.join("external/pids").join(name)
    }

    fn log_file(&self) -> PathBuf {
        self.conf_dir().join("neutron-keepalived-state-change.log")
    }

    /// `HaRouter._get_state_change_monitor_callback` of the release.
    fn command(&self, program: &Path, config: &Path, form: Form) -> Command {
        let text = |path: PathBuf| path.display().to_string();
        let flags = [
            ("--router_id", self.router.to_string()),
            ("--namespace", self.netns.clone()),
            ("--conf_dir", text(self.conf_dir())),
            ("--log-file", text(self.log_file())),
            ("--monitor_interface", self.interface.clone()),
            ("--monitor_cidr", self.vip.clone()),
            ("--pid_file", text(self.pid_file())),
            ("--state_path", text(self.state_path.clone())),
            ("--user", "0".to_owned()),
            ("--group", "0".to_owned()),
            ("--config", text(config.to_owned())),
        ];
        match form {
            Form::Daemon => {
                let mut command = Command::new("env");
                command.arg(format!("PROCESS_TAG=ip_monitor-{}.monitor", self.router)).arg(program);
                command.args(flags.map(|(flag, value)| format!("{flag}={value}")));
                command
            }
            Form::Foreground => {
                let mut command = Command::new(program);
                command.args(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
                command
            }
        }
    }
}

impl DropIn {
    /// Starts one as `ProcessManager.enable` does, which removes the pid file first, and waits until
    /// that is there.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &Lab, place: &Place, config: &Path, form: Form) -> Result<Self> {
        Self::start_program(&program()?, lab, place, config, form)
    }

    /// As [`DropIn::start`], of a copy elsewhere.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_program(program: &Path, lab: &Lab, place: &Place, config: &Path, form: Form) -> Result<Self> {
        let (pid_file, log_file) = (place.pid_file(), place.log_file());
        for file in [&pid_file, &log_file] {
            std::fs::create_dir_all(file.parent().context("a folder")?)?;
        }
        let _ = std::fs::remove_file(&pid_file);
        let mut command = place.command(program, config, form);
        let mut started =
            Self { pid_file, log_file, router: place.router, pid: rustix::process::getpid(), process: None };
        match form {
            Form::Daemon => lab.guardian().make(|notes| {
                let ended = command.process_group(0).stdin(Stdio::null()).output()?;
                if !ended.status.success() || !ended.stdout.is_empty() {
                    bail!("{command:?}: {ended:?}");
                }
                started.pid = started.written_pid().context("the pid file when the command has ended")?;
                notes.note(Trace::Group(getpgid(Some(started.pid))?.as_raw_nonzero().get().unsigned_abs()));
                Ok(())
            })?,
            Form::Foreground => {
                let log = started.pid_file.with_extension("stdout");
                let process = Process::start(&mut command, &log, lab.guardian())?;
                let pid = wait::until(SIGTERM_TIMEOUT, "its pid file", || started.written_pid())?;
                if i32::try_from(process.id()) != Ok(pid.as_raw_nonzero().get()) {
                    bail!("it is {}, and wrote {pid:?}", process.id());
                }
                (started.pid, started.process) = (pid, Some(process));
            }
        }
        Ok(started)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What the pid file says.
    pub fn written_pid(&self) -> Option<Pid> {
        std::fs::read_to_string(&self.pid_file).ok()?.parse().ok().and_then(Pid::from_raw)
    }

    /// `ProcessManager.active`: the pid in the file runs, and its command line names the monitor.
    pub fn is_active(&self) -> bool {
        let Some(pid) = self.written_pid() else { return false };
        cmdline(pid).contains(&format!("{}.monitor", self.router))
    }

    /// Whether it runs; one that only its parent has not waited for does not.
    pub fn runs(&mut self) -> bool {
        match &mut self.process {
            Some(process) => process.ended().is_none(),
            None => !cmdline(self.pid).is_empty(),
        }
    }

    /// What it said, without time and pid.
    pub fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log_file).unwrap_or_default();
        let own = format!("{}: ", self.router);
        text.lines().filter_map(|line| Some(line.split_once(&own)?.1.to_owned())).collect()
    }

    /// `key` of its `smaps_rollup`, KiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self, key: &str) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid.as_raw_nonzero());
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB")).context("a figure in kB")?;
        value.parse().with_context(|| format!("{key} in {path}"))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal).with_context(|| format!("sending {signal:?} to {:?}", self.pid))
    }

    /// As `destroy_state_change_monitor`: SIGTERM, and its end awaited for as long as the L3 agent does.
    ///
    /// # Errors
    /// When it would have to be killed.
    pub fn stop(&mut self) -> Result<Duration> {
        let asked = std::time::Instant::now();
        self.signal(Signal::TERM)?;
        wait::until(SIGTERM_TIMEOUT, "it ends after SIGTERM", || (!self.runs()).then_some(()))?;
        Ok(asked.elapsed())
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        if self.process.is_none() && self.is_active() {
            let _ = self.signal(Signal::KILL);
        }
    }
}

/// Empty when the process is gone, or is a zombie.
fn cmdline(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The program, built in release: what is measured is what is installed.
///
/// # Errors
/// When it is not built.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    let target = own.ancestors().find(|folder| folder.join("release").is_dir()).context("a target folder")?;
    let path = target.join("release/neutron-keepalived-state-change");
    if !path.is_file() {
        bail!("{} is not there: cargo build --release -p neutron-keepalived-state-change", path.display());
    }
    Ok(path)
}
