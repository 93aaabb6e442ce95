//! Users of the node beside root: one who reports as he should, and one who does not.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use uuid::Uuid;

use crate::agent::Agent;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait;

/// The group that may reach the socket.
pub const GROUP: u32 = 47_000;
/// Who reports as he should.
pub const HONEST: u32 = 47_001;
/// Who may report, and abuses it.
pub const ABUSER: u32 = 47_002;
/// Who may reach the socket, but not report.
pub const STRANGER: u32 = 47_003;

/// Lines for `[intake]` that let the first two report.
pub fn intake() -> String {
    format!("socket_group = {GROUP}\nallow_users = [{HONEST}, {ABUSER}]\n")
}

/// Lets other users through the lab's folders to the agent's socket.
///
/// # Errors
/// When a mode cannot be set.
pub fn open_way(lab: &Lab, agent: &Agent) -> Result<()> {
    for folder in [lab.folder(), agent.folder()] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
            .with_context(|| format!("opening {}", folder.display()))?;
    }
    Ok(())
}

/// Runs `work` as another user, in a thread of its own: identity belongs to threads.
///
/// # Errors
/// When the thread cannot become that user, or the work fails.
pub fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let user = scope.spawn(move || {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(GROUP));
            set_thread_groups(&[])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid).context("becoming another user")?;
            work()
        });
        user.join().map_err(|_| anyhow::anyhow!("the user's thread ended badly"))?
    })
}

/// A user at work against the socket: see `src/bin/abuser.rs` for the kinds.
#[derive(Debug)]
pub struct Abuser {
    process: Process,
}

impl Abuser {
    /// Begins, and returns once it has.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lab: &Lab, agent: &Agent, kind: &str, uid: u32, router: Uuid, length: Duration) -> Result<Self> {
        let log = lab.folder().join(format!("abuser-{kind}-{uid}.log"));
        let mut command = Command::new(program()?);
        command.arg(kind).arg(agent.socket()).arg(uid.to_string()).arg(GROUP.to_string());
        command.arg(router.to_string()).arg(length.as_secs().to_string());
        let process = Process::start(&mut command, &log, lab.guardian())?;
        wait::until(Duration::from_secs(5), "the abuse begins", || process.output().contains("begun").then_some(()))?;
        Ok(Self { process })
    }

    /// Whether it is still at work.
    pub fn is_at_work(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end; how often it did what it does.
    ///
    /// # Errors
    /// When it does not end or did not say.
    pub fn end(mut self) -> Result<u64> {
        let status = self.process.wait(Duration::from_secs(60))?;
        let said = self.process.output();
        ensure!(status.success(), "the abuser ended with {status}: {said}");
        let done = said.lines().rev().find_map(|line| line.strip_prefix("done ")?.parse().ok());
        done.with_context(|| format!("how often: {said}"))
    }
}

fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("a folder")?;
    Ok(folder.join("abuser"))
}

/// What notifications took, in order of length.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Sorts them.
    pub fn new(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self(taken)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that so many per mille are not longer than.
    pub fn per_mille(&self, part: usize) -> Duration {
        let index = (self.0.len() * part).div_ceil(1000).saturating_sub(1);
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} notifications: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            self.count(),
            ms(self.per_mille(500)),
            ms(self.per_mille(990)),
            ms(self.longest())
        )
    }
}

/// Reports a state as one who comes, is answered and goes: from before the connection to the end of
/// the answer. `going_on` is asked before each; the pause is what a user at his ease leaves between.
///
/// # Errors
/// When one is not answered with 200.
pub fn notify(
    socket: &Path,
    router: Uuid,
    state: &str,
    pause: Duration,
    mut going_on: impl FnMut(usize) -> bool,
) -> Result<Latencies> {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nX-Neutron-Router-Id: {router}\r\nX-Neutron-State: {state}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut taken = Vec::new();
    while going_on(taken.len()) {
        let begun = Instant::now();
        let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        taken.push(begun.elapsed());
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("notification {} was answered {answer:?}", taken.len());
        }
        std::thread::sleep(pause);
    }
    Ok(Latencies::new(taken))
}
