//! The keepalived that is asked: started under one configuration, heard line by line, and made to write its
//! statistics.

use std::io::{ErrorKind, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use super::statistics::Statistics;
use crate::lab::Site;
use crate::process::Process;
use crate::wait;

/// How long it may take to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The file that it writes when it is sent SIGUSR2.
const STATISTICS: &str = "keepalived.stats";

/// Which keepalived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// The machine's own.
    Own,
    /// That of a root folder.
    In(PathBuf),
}

/// What an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It listens.
    Backup,
    /// It speaks.
    Master,
}

/// A running keepalived.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    pipe: ChildStdout,
    /// What was read and is no whole line yet.
    rest: Vec<u8>,
    child: Option<Pid>,
    watch: OwnedFd,
    folder: PathBuf,
    /// The instance's state, as it said last.
    state: Option<State>,
}

impl Release {
    /// What it calls itself, such as 2.2.7.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn version(&self) -> Result<String> {
        let mut command = match self {
            Self::Own => Command::new("keepalived"),
            Self::In(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg("/usr/sbin/keepalived");
                command
            }
        };
        let answer = command.arg("--version").output().context("asking keepalived for its version")?;
        let text = String::from_utf8_lossy(&answer.stderr);
        let version = text.split_once("Keepalived v").and_then(|(_, rest)| rest.split_whitespace().next());
        version.map(str::to_owned).with_context(|| format!("no version in what keepalived says: {text}"))
    }

    /// The command that becomes keepalived in the site's namespace; its files are in a folder.
    fn command(&self, site: &Site, folder: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &site.netns, "sh", "-euc"]).env("TMPDIR", folder);
        match self {
            // All that it says comes through one pipe.
            Self::Own => command.args(["exec 2>&1; exec \"$@\"", "sh", "keepalived"]),
            // `ip netns exec` has made a mount namespace of its own, from which nothing comes out.
            Self::In(root) => command.args([ENTER, "sh"]).arg(root).arg(folder).args(["/usr/sbin/keepalived"]),
        };
        command
    }
}

/// The root folder and the folder of the files come before the command.
const ENTER: &str = r#"
exec 2>&1
root=$1 folder=$2; shift 2
for there in /proc /dev /sys "$folder"; do
    mkdir -p "$root$there"
    mount --bind "$there" "$root$there"
done
exec chroot "$root" "$@"
"#;

impl Keepalived {
    /// Starts one with a configuration, and waits until the instance listens.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn start(release: &Release, site: &Site, conf: &Path) -> Result<Self> {
        let folder = conf.parent().context("a folder")?.to_owned();
        let child_file = folder.join("vrrp.pid");
        for file in [&child_file, &folder.join("parent.pid")] {
            let _ = std::fs::remove_file(file);
        }
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("inotify")?;
        inotify::add_watch(&watch, &folder, WatchFlags::CLOSE_WRITE).context("watching a folder")?;
        let mut command = release.command(site, &folder);
        command
            .args(["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--log-detail", "--use-file"])
            .arg(conf)
            .arg("--pid")
            .arg(folder.join("parent.pid"))
            .arg("--vrrp_pid")
            .arg(&child_file);
        let log = folder.join("other.log");
        let (process, pipe) = Process::start_heard(&mut command, &log, site.lab().guardian())?;
        fcntl_setfl(&pipe, OFlags::NONBLOCK).context("a pipe that does not block")?;
        let mut keepalived = Self { process, pipe, rest: Vec::new(), child: None, watch, folder, state: None };
        let mut said = Vec::new();
        keepalived.until(&mut said, |line| line.contains("Entering BACKUP STATE"))?;
        keepalived.child = Some(wait::until(PATIENCE, "keepalived's child tells its pid", || {
            let text = std::fs::read_to_string(&child_file).ok()?;
            text.trim().parse().ok().and_then(Pid::from_raw)
        })?);
        Ok(keepalived)
    }

    /// SIGKILL to both of its processes.
    ///
    /// # Errors
    /// When they do not end.
    pub fn kill(&mut self) -> Result<()> {
        // The child first, so that it cannot resign, and by a parent that cannot start another.
        self.process.signal(Signal::STOP)?;
        kill_process(self.child.context("keepalived's child")?, Signal::KILL).context("killing keepalived's child")?;
        self.process.kill()
    }

    /// The instance's state.
    pub fn state(&self) -> Option<State> {
        self.state
    }

    /// Reads lines, which are added to `said`, up to one that is looked for.
    ///
    /// # Errors
    /// When it does not come.
    pub fn until(&mut self, said: &mut Vec<String>, mut found: impl FnMut(&str) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            while let Some(line) = self.line() {
                let is_found = found(&line);
                said.push(line);
                if is_found {
                    return Ok(());
                }
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            if left.is_zero() {
                bail!("keepalived does not say what is waited for, but: {said:#?}");
            }
            self.more(left).with_context(|| format!("it said last: {said:#?}"))?;
        }
    }

    /// The next whole line that is there, without its time.
    fn line(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line[..end]).into_owned();
        // "Mon Jan  1 00:00:00 2024: …"
        let text = text.get(26..).filter(|_| text.get(24..26) == Some(": ")).unwrap_or(&text).to_owned();
        for (words, state) in [
            ("Entering MASTER STATE", Some(State::Master)),
            ("Entering BACKUP STATE", Some(State::Backup)),
            ("Entering FAULT STATE", None),
        ] {
            if text.contains(words) {
                self.state = state;
            }
        }
        Some(text)
    }

    fn more(&mut self, within: Duration) -> Result<()> {
        let mut buffer = [0; 16384];
        match self.pipe.read(&mut buffer) {
            Ok(0) => bail!("keepalived ended"),
            Ok(count) => self.rest.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                let within = Timespec::try_from(within).context("a time")?;
                poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&within)).context("waiting for keepalived")?;
            }
            Err(error) => return Err(error).context("hearing keepalived"),
        }
        Ok(())
    }

    /// Lets it write its statistics, and reads them.
    ///
    /// # Errors
    /// When it does not.
    pub fn statistics(&mut self) -> Result<Statistics> {
        // The child itself is asked: its parent would only pass the signal on.
        kill_process(self.child.context("keepalived's child")?, Signal::USR2).context("asking for statistics")?;
        self.written()?;
        let path = self.folder.join(STATISTICS);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Statistics::parse(&text)
    }

    /// Waits until the statistics are written. The file has its name before it has its content.
    fn written(&self) -> Result<()> {
        let began = Instant::now();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.watch, &mut buffer);
        loop {
            match events.next() {
                Ok(event) if event.file_name().is_some_and(|name| name.to_bytes() == STATISTICS.as_bytes()) => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                    let left = PATIENCE.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        bail!("keepalived does not write its statistics");
                    }
                    let left = Timespec::try_from(left).context("a time")?;
                    poll(&mut [PollFd::new(&self.watch, PollFlags::IN)], Some(&left)).context("waiting for a file")?;
                }
                Err(error) => return Err(error).context("waiting for a file"),
            }
        }
    }
}
