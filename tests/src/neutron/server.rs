//! The L3 agent's state-change server, Neutron's own.

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Release;
use crate::hearing::Hearing;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait;

/// Longest wait for it to listen: it imports for seconds on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is behind the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object that writes down what it is told.
    Recorder,
    /// Neutron's `AgentMixin` with its `BatchNotifier`; what it tells neutron-server is written down too.
    Mixin,
}

/// One server. What it heard outlives its stops and starts.
#[derive(Debug)]
pub struct Server {
    lab: Lab,
    release: Release,
    kind: Kind,
    state_path: PathBuf,
    process: Option<Process>,
    ears: Arc<Ears>,
}

#[derive(Debug, Default)]
struct Ears {
    enqueued: Hearing,
    updated: Hearing,
}

impl Server {
    /// Starts one on `state_path/keepalived-state-change` and waits until it listens.
    ///
    /// # Errors
    /// When the release is not installed, or it does not listen in time: with all it said.
    pub fn start(lab: &Lab, release: Release, kind: Kind, state_path: &Path) -> Result<Self> {
        std::fs::create_dir_all(state_path).with_context(|| format!("creating {}", state_path.display()))?;
        let (lab, state_path, ears) = (lab.clone(), state_path.to_owned(), Arc::default());
        let mut server = Self { lab, release, kind, state_path, process: None, ears };
        server.listen()?;
        Ok(server)
    }

    /// Starts it again: it removes its socket and binds it anew.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn listen(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = self.release.script("server.py")?;
        command.arg(&self.state_path);
        command.arg(if self.kind == Kind::Mixin { "mixin" } else { "recorder" });
        let log = self.state_path.join("server.log");
        let (process, said) = Process::start_heard(&mut command, &log, self.lab.guardian())?;
        let process = self.process.insert(process);
        let ears = Arc::clone(&self.ears);
        // Ends with the process.
        thread::spawn(move || listen_to(said, &ears));
        let socket = self.state_path.join("keepalived-state-change");
        let bound = wait::until(PATIENCE, "Neutron's server listens", || {
            if process.ended().is_some() {
                return Some(false);
            }
            // The file appears before the socket listens; the one before was closed with its process.
            listens(&socket).then_some(true)
        });
        if !bound.unwrap_or(false) {
            bail!("the server of Neutron {} does not listen; it said:\n{}", self.release, self.log());
        }
        Ok(())
    }

    /// SIGKILL: the socket's file stays, nobody answers.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&self) -> Result<u32> {
        self.process.as_ref().map(Process::id).context("Neutron's server does not run")
    }

    /// What it told neutron-server: `active`, `standby`, `unknown`.
    pub fn updated(&self) -> &Hearing {
        &self.ears.updated
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.state_path.join("keepalived-state-change")
    }

    /// Its diagnostics.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state_path.join("server.log")).unwrap_or_default()
    }
}

/// What its agent object was told: `enqueue_state_change`.
impl Deref for Server {
    type Target = Hearing;

    fn deref(&self) -> &Hearing {
        &self.ears.enqueued
    }
}

fn listen_to(said: ChildStdout, ears: &Ears) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        let Ok(told) = serde_json::from_str::<Value>(&line) else { continue };
        if let (Some(router), Some(state)) = (told["router_id"].as_str(), told["state"].as_str()) {
            ears.enqueued.keep(router, state, None);
        }
        for (router, state) in told["states"].as_object().into_iter().flatten() {
            ears.updated.keep(router, state.as_str().unwrap_or_default(), None);
        }
    }
}

/// Whether a socket with this path accepts connections, without making one.
fn listens(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` in the column of flags.
    const LISTENING: &str = "00010000";
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = path.to_string_lossy();
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(3) == Some(&LISTENING) && words.last() == Some(&path.as_ref())
    })
}
