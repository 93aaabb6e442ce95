//! Where lines go: a thread and a bounded queue per sink, so that none waits for another.
//!
//! A sink that fails keeps its line and tries again; when its queue of [`LINES`] is full, further
//! lines are lost at that sink, counted, and told through the others.

mod file;
mod journald;
mod stdout;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::oneshot;

use super::recent::Record;
use crate::config;
use crate::privilege::{self, Role};

/// Lines that may wait for one sink.
pub(super) const LINES: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const STACK: usize = 128 * 1024;

/// A place that takes lines.
trait Sink: Send {
    /// Writes the record, beginning at byte `done` of its line, and moves `done` on; an error leaves
    /// it where the next attempt has to begin.
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()>;
    /// Lets go of a file that may have been moved away.
    fn reopen(&mut self) {}
}

/// A running sink.
#[derive(Debug)]
pub(super) struct Outlet {
    /// As people know it: `stdout`, `journald`, `file:/path`.
    pub(super) name: String,
    lines: SyncSender<Arc<Record>>,
    health: Arc<Health>,
    thread: Thread,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    waiting: AtomicUsize,
    lost: AtomicU64,
    reopen: AtomicBool,
    stopping: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Health {
    fn set(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// What is wrong now, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Half empty again counts as recovered, so that a slow reader does not make it flap.
        failure.or_else(|| {
            (self.lost.load(Ordering::Relaxed) > 0 && self.waiting.load(Ordering::Relaxed) > LINES / 2)
                .then(|| "its reader is too slow".to_owned())
        })
    }

    /// Asks the sink to open its file anew before the next line.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }
}

impl Outlet {
    /// Starts the thread of a configured sink.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(sink: &config::Sink) -> io::Result<Self> {
        match sink {
            config::Sink::Stdout => Self::spawn("stdout", Role::EventsSink, Box::new(stdout::Stdout::new()?)),
            config::Sink::Journald => {
                Self::spawn("journald", Role::EventsSink, Box::new(journald::Journald::new(journald::SOCKET)))
            }
            config::Sink::File(path) => {
                let name = format!("file:{}", path.display());
                Self::spawn(&name, Role::EventsFile, Box::new(file::File::new(path)))
            }
        }
    }

    fn spawn(name: &str, role: Role, sink: Box<dyn Sink>) -> io::Result<Self> {
        let (lines, queue) = sync_channel(LINES);
        let health = Arc::new(Health::default());
        let (end, ended) = oneshot::channel();
        let for_thread = Arc::clone(&health);
        let thread = thread::Builder::new().name(role.thread_name().to_owned()).stack_size(STACK);
        let handle = thread.spawn(move || {
            privilege::enter(role);
            run(sink, &queue, &for_thread);
            let _ = end.send(());
        })?;
        Ok(Self { name: name.to_owned(), lines, health, thread: handle.thread().clone(), ended })
    }

    /// Queues the record; false when it is lost here.
    pub(super) fn take(&self, record: &Arc<Record>) -> bool {
        self.health.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = self.lines.try_send(Arc::clone(record)).is_ok();
        if !taken {
            self.health.waiting.fetch_sub(1, Ordering::Relaxed);
            self.health.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.health.lost.load(Ordering::Relaxed)
    }

    /// What is wrong now, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    pub(super) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Lets the sink write what waits; the receiver tells when it has ended.
    pub(super) fn finish(self) -> oneshot::Receiver<()> {
        self.health.stopping.store(true, Ordering::Relaxed);
        drop(self.lines);
        self.thread.unpark();
        self.ended
    }
}

fn run(mut sink: Box<dyn Sink>, queue: &Receiver<Arc<Record>>, health: &Health) {
    while let Ok(record) = queue.recv() {
        let mut done = 0;
        let mut pause = PAUSE;
        loop {
            if health.reopen.swap(false, Ordering::Relaxed) {
                sink.reopen();
            }
            match sink.write(&record, &mut done) {
                Ok(()) => {
                    health.set(None);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    health.set(Some(error.to_string()));
                    if health.stopping.load(Ordering::Relaxed) {
                        let lost = health.waiting.load(Ordering::Relaxed);
                        tracing::warn!(lost, %error, "an event sink ends with events unwritten");
                        return;
                    }
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        health.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes the rest of `line` and its newline with `write`; `done` counts both.
fn write_rest(line: &str, done: &mut usize, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    let mut whole = Vec::with_capacity(line.len() + 1);
    whole.extend_from_slice(line.as_bytes());
    whole.push(b'\n');
    while *done < whole.len() {
        match write(&whole[*done..])? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => *done += count,
        }
    }
    Ok(())
}
