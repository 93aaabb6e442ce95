//! What became of one state that was sent: the language between the protocols and the schedule.

use std::time::Duration;

/// The receiver's answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took the state.
    Taken,
    /// It will not take this state, however often it is sent.
    Refused(String),
    /// To be tried again.
    Failed(Failure),
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// In words, for people.
    pub detail: String,
    /// Whether the receiver may have read the state.
    pub written: bool,
}

/// Why an attempt failed; the label of the failure counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// No socket at the path.
    Absent,
    /// A socket that nobody listens on.
    NotListening,
    /// The listen queue is full.
    Busy,
    /// The agent may not connect.
    Denied,
    /// No answer in time.
    Timeout,
    /// Closed without an answer.
    Closed,
    /// An answer that is none.
    Nonsense,
    /// The receiver says that it failed (5xx), or asks to come back (408, 429).
    ServerError,
    /// Something else of the operating system's.
    Io,
}

impl FailureKind {
    /// The fixed word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotListening => "not_listening",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Nonsense => "nonsense",
            Self::ServerError => "server_error",
            Self::Io => "io",
        }
    }

    /// Whether the receiver as a whole is away, or only this one state failed.
    ///
    /// An L3 agent of release 27 or later closes without an answer when its handler fails on one
    /// request; a dying one refuses the next connection, which tells them apart.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Busy => Scope::Busy,
            Self::Closed | Self::Nonsense | Self::ServerError => Scope::State,
            Self::Absent | Self::NotListening | Self::Denied | Self::Timeout | Self::Io => Scope::Receiver,
        }
    }
}

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One state; others go on.
    State,
    /// Everything, for a moment.
    Busy,
    /// Everything, until the receiver is back.
    Receiver,
}

impl Failure {
    /// From an error of connecting or of writing and reading.
    pub(super) fn from_io(error: &std::io::Error, doing: &str, written: bool) -> Self {
        use std::io::ErrorKind as Kind;
        let kind = match error.kind() {
            Kind::NotFound => FailureKind::Absent,
            Kind::ConnectionRefused => FailureKind::NotListening,
            Kind::WouldBlock => FailureKind::Busy,
            Kind::PermissionDenied => FailureKind::Denied,
            Kind::TimedOut => FailureKind::Timeout,
            Kind::ConnectionReset
            | Kind::BrokenPipe
            | Kind::UnexpectedEof
            | Kind::ConnectionAborted
            | Kind::NotConnected => FailureKind::Closed,
            _ => FailureKind::Io,
        };
        Self { kind, detail: format!("{doing}: {error}"), written }
    }

    pub(super) fn timeout(limit: Duration, written: bool) -> Self {
        Self { kind: FailureKind::Timeout, detail: format!("no answer within {limit:?}"), written }
    }

    /// From a status that is no success: refused for good, or failed.
    pub(super) fn from_status(status: u16) -> Answer {
        let failed = |kind, detail| Answer::Failed(Self { kind, detail, written: true });
        match status {
            200..=299 => Answer::Taken,
            408 | 429 | 500..=599 => failed(FailureKind::ServerError, format!("answered {status}")),
            400..=499 => Answer::Refused(format!("answered {status}")),
            _ => failed(FailureKind::Nonsense, format!("answered {status}")),
        }
    }
}
