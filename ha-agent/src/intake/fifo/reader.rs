//! One FIFO: opened, read, opened again when its writers are gone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::fs::{self, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::line::{Cut, Kind, LineError, Lines, is_of_another_kind, parse_line};
use super::troubles::{CHANNEL, Troubles};
use super::{FifoError, Grants, Metrics};
use crate::clock;
use crate::core::model::{Reporter, RouterId};
use crate::intake::Report;
use crate::intake::gate::Gate;
use crate::intake::refusal::Refusal;
use crate::inventory::{Directory, Named};
use crate::paths::{PathsError, check_owner_and_mode, is};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// On a reload keepalived closes and opens the FIFO within this time.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// By then the instances at the start are known, or their files cannot be read.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// How often a FIFO without writer, or one that cannot be opened, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const MODE: u32 = 0o600;

pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) directory: Arc<Directory>,
    pub(super) granted: Arc<ArcSwap<Grants>>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) events: Events,
    pub(super) troubles: Troubles,
    /// How long it may have no writer until that is named.
    pub(super) lonely_after: Duration,
    pub(super) gate: Gate,
    pub(super) metrics: Metrics,
}

/// Creates the FIFO where it does not exist and opens it to read, without waiting for a writer.
/// For reading only, so that the end of the last writer is seen. It is this agent's until it is closed.
pub(super) fn open(path: &Path) -> Result<Receiver, FifoError> {
    let fd = open_fd(path)?;
    fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
        Errno::WOULDBLOCK => FifoError::InUse(path.to_owned()),
        e => PathsError::io("lock", path, e).into(),
    })?;
    Receiver::from_owned_fd(fd).map_err(|e| PathsError::io("watch", path, e).into())
}

fn open_fd(path: &Path) -> Result<OwnedFd, FifoError> {
    let mode = Mode::from_raw_mode(MODE);
    match fs::mknodat(CWD, path, FileType::Fifo, mode, 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(PathsError::io("create", path, e).into()),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Looked at before it is opened: opening a device can have effects.
    let kind = |stat: &fs::Stat| {
        if is(stat, FileType::Symlink) {
            Err(FifoError::Path(PathsError::Symlink(path.to_owned())))
        } else if is(stat, FileType::Fifo) {
            Ok(())
        } else {
            Err(FifoError::NotAFifo(path.to_owned()))
        }
    };
    kind(&fs::lstat(path).map_err(|e| PathsError::io("inspect", path, e))?)?;
    let fd = fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::LOOP => PathsError::Symlink(path.to_owned()),
        e => PathsError::io("open", path, e),
    })?;
    let stat = fs::fstat(&fd).map_err(|e| PathsError::io("inspect", path, e))?;
    kind(&stat)?;
    check_owner_and_mode(path, &stat, MODE)?;
    Ok(fd)
}

impl Reader {
    /// Reads until `stop`.
    pub(super) async fn run(self, pipe: Receiver, stop: CancellationToken) {
        let mut state = Reading {
            pipe: Some(pipe),
            lines: Lines::default(),
            writer: false,
            look_at: Instant::now() + LOOK_AGAIN,
            alone_since: Instant::now(),
        };
        stop.run_until_cancelled(async {
            // A name that is not known yet would be refused.
            let _ = timeout(KNOWN_WITHIN, self.directory.complete()).await;
            loop {
                self.step(&mut state).await;
            }
        })
        .await;
        self.lost_writer(&mut state);
    }

    async fn step(&self, state: &mut Reading) {
        let mut buffer = [0; 4096];
        let Some(pipe) = &state.pipe else {
            sleep_until(state.look_at).await;
            self.open_again(state);
            return;
        };
        // With a writer there, its end shows as readable; without, nothing shows its coming but
        // its first line, which a reload of keepalived does not write. So a look now and then.
        let (read, looked) = tokio::select! {
            ready = pipe.readable() => (ready.and_then(|()| pipe.try_read(&mut buffer)), false),
            () = sleep_until(state.look_at), if !state.writer => {
                state.look_at = Instant::now() + LOOK_AGAIN;
                self.note_loneliness(state);
                (rustix::io::read(pipe, &mut buffer).map_err(Into::into), true)
            }
        };
        match read {
            Ok(0) if looked => {}
            Ok(0) => {
                state.look_at = Instant::now() + DEBOUNCE;
                self.lost_writer(state);
                self.end_of_lines(state);
                // The old end stays readable for ever. The new one is opened before the old one is
                // closed, so that what another writer has put in by now stays.
                self.open_again(state);
            }
            Ok(n) => {
                self.has_writer(state);
                for cut in state.lines.push(&buffer[..n]) {
                    self.take(&cut).await;
                }
            }
            // Would block, and no end: somebody has it open for writing.
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if looked {
                    self.has_writer(state);
                }
            }
            Err(error) => {
                self.end_of_lines(state);
                self.open_failed(state, &error);
            }
        }
    }

    fn has_writer(&self, state: &mut Reading) {
        if !state.writer {
            state.writer = true;
            self.metrics.writers.inc();
            self.trouble(None);
            tracing::debug!(fifo = %self.path.display(), "notify FIFO: it has a writer");
        }
    }

    fn lost_writer(&self, state: &mut Reading) {
        if std::mem::take(&mut state.writer) {
            state.alone_since = Instant::now();
            self.metrics.writers.dec();
            tracing::debug!(fifo = %self.path.display(), "notify FIFO: its writer closed it");
        }
    }

    fn end_of_lines(&self, state: &mut Reading) {
        if state.lines.abandon() {
            self.refuse(Refusal::MalformedLine);
        }
    }

    fn open_again(&self, state: &mut Reading) {
        if let Some(pipe) = &state.pipe {
            // The new end cannot have the lock while the old one has it.
            let _ = fs::flock(pipe, FlockOperation::Unlock);
        }
        match open(&self.path) {
            Ok(pipe) => {
                if state.pipe.replace(pipe).is_none() {
                    state.alone_since = Instant::now();
                    self.trouble(None);
                }
            }
            Err(error) => self.open_failed(state, &error),
        }
    }

    fn open_failed(&self, state: &mut Reading, error: &dyn std::error::Error) {
        state.pipe = None;
        state.look_at = Instant::now() + LOOK_AGAIN;
        self.lost_writer(state);
        self.trouble(Some(format!("the notify FIFO cannot be read, its reports are missing: {error}")));
    }

    /// Nobody has it open for so long that it is no restart.
    fn note_loneliness(&self, state: &Reading) {
        if state.writer || state.alone_since.elapsed() < self.lonely_after {
            return;
        }
        let path = self.path.display();
        self.trouble(Some(format!(
            "no keepalived has the notify FIFO {path} open, its reports are missing. Where keepalived runs: it was started before \
             the FIFO's folder was there (restart keepalived), or closed it at a reload because vrrp_notify_fifo stands \
             before script_user while enable_script_security is set (put it behind script_user and restart keepalived), or \
             names another path"
        )));
    }

    /// What keeps its reports away, or that nothing does; told when that is news.
    fn trouble(&self, reason: Option<String>) {
        let before = self.troubles.set(&self.path, reason.clone());
        let channel = CHANNEL.to_owned();
        match reason {
            Some(reason) if before.as_ref() != Some(&reason) => {
                tracing::warn!("{reason}");
                self.events.emit(Event::ChannelDegraded { channel, reason, router_id: None });
            }
            None if before.is_some() => self.events.emit(Event::ChannelRestored { channel, router_id: None }),
            _ => {}
        }
    }

    async fn take(&self, cut: &Cut) {
        let line = match cut {
            Cut::TooLong => return self.refuse(Refusal::LineTooLong),
            Cut::Line(bytes) if is_of_another_kind(bytes) => {
                self.metrics.ignored.inc();
                return;
            }
            Cut::Line(bytes) => match parse_line(bytes) {
                Ok(line) => line,
                Err(error) => return self.malformed(error),
            },
        };
        // A group's instances have lines of their own.
        let (Kind::Instance, Some(state)) = (line.kind, line.claim) else {
            self.metrics.ignored.inc();
            return;
        };
        let router = match self.directory.by_fifo_instance(line.name) {
            Named::One(router) => router,
            Named::Several => return self.refuse(Refusal::AmbiguousInstance),
            Named::Nobody => return self.refuse(Refusal::UnknownInstance),
        };
        if self.granted.load().get(&self.path).is_some_and(|granted| !granted.covers(router)) {
            return self.refuse_about(Refusal::InstanceNotGranted, Some(router));
        }
        let at = clock::now();
        let Ok(place) = self.reports.reserve().await else {
            return;
        };
        self.metrics.taken.inc();
        self.events.emit(Event::ReportReceived { router_id: router, state, reporter: Reporter::Fifo });
        place.send(Report { router, state, reporter: Reporter::Fifo, at });
    }

    fn malformed(&self, error: LineError) {
        tracing::debug!(fifo = %self.path.display(), %error, "notify FIFO: not a notify line");
        self.refuse(Refusal::MalformedLine);
    }

    fn refuse(&self, refusal: Refusal) {
        self.refuse_about(refusal, None);
    }

    fn refuse_about(&self, refusal: Refusal, router: Option<RouterId>) {
        self.metrics.refused.inc();
        self.gate.refused(refusal, router, None, || Reporter::Fifo);
    }
}

struct Reading {
    /// None while it cannot be opened.
    pipe: Option<Receiver>,
    lines: Lines,
    /// Whether someone has it open for writing, as far as we have seen.
    writer: bool,
    /// When to look for a writer, or try to open it, again.
    look_at: Instant,
    /// Since when it has no writer, if it has none.
    alone_since: Instant,
}
