//! Processes that connect again and again, kept open so that the next look is cheap.
//!
//! Connections are accepted in the order in which they were made. So when a process was looked at over one connection, a
//! later one that shows its process id was made while it had that number, as long as it has it still: its `comm`, open
//! since then, can be read.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::{Errno, Process, executable, open, proc, read};
use crate::core::time::Mono;
use crate::peer::Peer;

/// Processes that are kept, with three descriptors each.
const KEPT: usize = 4;
/// Process ids that are remembered: one is kept when it comes for the second time.
const REMEMBERED: usize = 16;
/// Who did not come for so long is not kept any more.
const IDLE: Duration = Duration::from_millis(100);
/// So long where a process belongs and what it executes is taken to be as it was, unless it changed its name, as executing
/// another program does. Which process it is and its name are never taken to be as they were.
pub(super) const FRESH: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Again {
    kept: Vec<Kept>,
    remembered: [i32; REMEMBERED],
    next: usize,
}

#[derive(Debug)]
struct Kept {
    peer: Peer,
    process: Arc<Process>,
    folder: OwnedFd,
    comm: OwnedFd,
    cgroup: OwnedFd,
    /// When all of it was read.
    read: Mono,
    used: Mono,
}

impl Again {
    /// Keeps nobody any more; false: nobody was kept.
    pub(super) fn let_go(&mut self) -> bool {
        let any = !self.kept.is_empty();
        self.kept.clear();
        any
    }

    /// The process, if it is kept and still is there.
    pub(super) fn look(&mut self, peer: Peer, now: Mono) -> Option<Arc<Process>> {
        let at = self.kept.iter().position(|kept| kept.peer == peer)?;
        let process = self.kept[at].look(now);
        if process.is_none() {
            self.kept.swap_remove(at);
        }
        process
    }

    /// Takes over one that was just looked at, if it came before.
    pub(super) fn keep(&mut self, peer: Peer, folder: OwnedFd, process: Process, now: Mono) -> Arc<Process> {
        let process = Arc::new(process);
        if !self.remembered.contains(&peer.pid) {
            self.remembered[self.next] = peer.pid;
            self.next = (self.next + 1) % REMEMBERED;
            return process;
        }
        self.kept.retain(|kept| now.since(kept.used) < IDLE && kept.peer.pid != peer.pid);
        if self.kept.len() < KEPT {
            // Without descriptors it is looked at anew each time.
            self.kept.extend(Kept::open(peer, folder, process.clone(), now));
        }
        process
    }
}

impl Kept {
    fn open(peer: Peer, folder: OwnedFd, process: Arc<Process>, now: Mono) -> Result<Self, Errno> {
        let [comm, cgroup] = ["comm", "cgroup"].map(|name| open(&folder, name));
        Ok(Self { peer, process, folder, comm: comm?, cgroup: cgroup?, read: now, used: now })
    }

    fn look(&mut self, now: Mono) -> Option<Arc<Process>> {
        let command = proc::command(&read(&self.comm).ok()?);
        self.used = now;
        if command != self.process.command || now.since(self.read) >= FRESH {
            let process = Process {
                command,
                cgroup: proc::cgroup(&read(&self.cgroup).ok()?),
                executable: executable(&self.folder),
                started: self.process.started.clone(),
                start_ticks: self.process.start_ticks,
            };
            if process != *self.process {
                self.process = Arc::new(process);
            }
            self.read = now;
        }
        Some(self.process.clone())
    }
}
