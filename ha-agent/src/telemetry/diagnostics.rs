//! Diagnostics on standard error: a bounded queue, and a thread of its own that writes.
//!
//! Whoever logs never waits and never fails, whatever becomes of standard error: a log on a full disk, a reader
//! that has gone or stands still. Lines that find the queue full, or that cannot be written, are lost and counted;
//! once a line can be written again, the one before it says how many were lost. `status` names the trouble as
//! long as it lasts, and a metric counts.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::clock;
use crate::privilege::{self, Role};
use crate::status::Degraded;

/// Lines that may wait.
const LINES: usize = 1024;
/// How long a full pipe is waited for before the line is tried again.
const WAIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long the end waits for what has not been written.
const FLUSH: Duration = Duration::from_secs(1);
/// A line that has waited so long waits for a reader that stands still, in nanoseconds.
const LATE_NS: u64 = 1_000_000_000;
const STACK: usize = 128 * 1024;

/// The queue to standard error; cheap to clone.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lost: Counter,
    trouble: Mutex<Option<String>>,
    /// Since when a line is being written, on the monotonic clock in nanoseconds; 0: none is.
    writing_since: AtomicU64,
    /// What the thread reads, until it is started.
    waiting: Mutex<Option<(Receiver<Message>, OwnedFd)>>,
}

enum Message {
    Line(Box<str>),
    /// Everything before has been written or lost; the answer says so.
    End(SyncSender<()>),
}

impl Diagnostics {
    /// Lines wait from now on. [`Diagnostics::start`] lets them be written.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self::to(fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0)?))
    }

    fn to(out: OwnedFd) -> Self {
        let (queue, waiting) = sync_channel(LINES);
        let waiting = Mutex::new(Some((waiting, out)));
        Self {
            queue,
            shared: Arc::new(Shared {
                lost: Counter::default(),
                trouble: Mutex::default(),
                writing_since: 0.into(),
                waiting,
            }),
        }
    }

    /// Makes these the process's diagnostics, those that `filter` lets through; `colours`: for a terminal.
    ///
    /// # Errors
    /// In words: a filter that is none, or diagnostics that are set up already.
    pub fn install(&self, filter: &str, colours: bool) -> Result<(), String> {
        let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        let queue = self.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || Line(queue.clone()))
            .with_ansi(colours)
            // It would write to standard error by itself, and panic where that fails.
            .log_internal_errors(false)
            .try_init()
            .map_err(|error| error.to_string())
    }

    /// Starts the thread that writes, once: what waited is written first.
    pub fn start(&self) {
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((queue, out)) = waiting else { return };
        let role = Role::EventsSink;
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(role.thread_name().to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            privilege::enter(role);
            Writer { out, shared, cut: false, lost: 0 }.run(&queue);
        });
        if let Err(error) = started {
            self.shared.set(Some(format!("the thread that writes them cannot be started: {error}")));
        }
    }

    /// Lets what waits be written, for one second at most.
    pub fn flush(&self) {
        self.start();
        let (end, ended) = sync_channel(1);
        // A full queue is one that nobody empties.
        if self.queue.try_send(Message::End(end)).is_ok() {
            let _late = ended.recv_timeout(FLUSH);
        }
    }

    /// Registers the counter of lost lines.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "diagnostics_lost",
            "Lines of diagnostics that were lost: standard error took none, or not quickly enough",
            self.shared.lost.clone(),
        );
    }

    /// What keeps lines from being written now.
    pub fn degraded(&self) -> Option<Degraded> {
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let trouble = trouble.or_else(|| self.shared.stands_still())?;
        let lost = self.shared.lost.get();
        let reason = format!("standard error: {trouble}; {lost} lines of diagnostics were lost so far, nothing else");
        Some(Degraded { channel: "diagnostics".to_owned(), reason })
    }

    fn take(&self, line: Box<str>) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.shared.lost.inc();
            self.shared.set_if_none(|| "its reader takes nothing, or not quickly enough".to_owned());
        }
    }
}

impl Shared {
    fn set(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// In words, when a line has not got away for longer than a reader may take.
    fn stands_still(&self) -> Option<String> {
        let since = self.writing_since.load(Ordering::Relaxed);
        let late = since != 0 && clock::now().0.saturating_sub(since) > LATE_NS;
        late.then(|| "its reader takes nothing".to_owned())
    }

    fn set_if_none(&self, trouble: impl FnOnce() -> String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(trouble);
    }
}

/// Takes one event as `tracing` has formatted it.
struct Line(Diagnostics);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.take(String::from_utf8_lossy(bytes).into());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread.
struct Writer {
    out: OwnedFd,
    shared: Arc<Shared>,
    /// The last line was cut off in its middle.
    cut: bool,
    /// Lost lines that were told.
    lost: u64,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        while let Ok(message) = queue.recv() {
            match message {
                Message::Line(line) => self.line(&line),
                Message::End(ended) => {
                    let _nobody_waits = ended.try_send(());
                }
            }
        }
    }

    fn line(&mut self, line: &str) {
        let mut text = String::new();
        if self.cut {
            text.push('\n');
        }
        let lost = self.shared.lost.get();
        if lost > self.lost {
            let _infallible = writeln!(text, "{} lines of diagnostics were lost here", lost - self.lost);
        }
        text.push_str(line);
        self.shared.writing_since.store(clock::now().0, Ordering::Relaxed);
        let written = self.write(text.as_bytes());
        self.shared.writing_since.store(0, Ordering::Relaxed);
        match written {
            Ok(()) => {
                self.cut = false;
                self.lost = lost;
                self.shared.set(None);
            }
            Err((done, error)) => {
                self.cut |= done > 0;
                self.shared.lost.inc();
                self.shared.set(Some(error.to_string()));
            }
        }
    }

    /// Writes all of it; an error says how much was written before. A full pipe is waited for: lines go on
    /// queueing meanwhile.
    fn write(&self, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.out, rest) {
                Ok(0) => return Err((done, Errno::IO)),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                // Whoever started the agent may have left it non-blocking.
                Err(Errno::AGAIN) => {
                    let _again = poll(&mut [PollFd::new(&self.out, PollFlags::OUT)], Some(&WAIT));
                }
                Err(error) => return Err((done, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
