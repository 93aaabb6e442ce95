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
    /// When the receiver asks to be tried again (`Retry-After`, RFC 9110 section 10.2.3), from the answer on.
    pub retry_after: Option<Duration>,
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
    /// The receiver says that the request is wrong (other 4xx): it may be another one's request that is right.
    ClientError,
    /// The batch is larger than the receiver takes (413).
    TooLarge,
    /// This host lacks descriptors or memory: the receiver has no part in it.
    Local,
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
            Self::ClientError => "client_error",
            Self::TooLarge => "too_large",
            Self::Local => "local",
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
            Self::Closed | Self::Nonsense | Self::ServerError | Self::ClientError => Scope::State,
            Self::TooLarge => Scope::Batch,
            Self::Absent | Self::NotListening | Self::Denied | Self::Timeout | Self::Local | Self::Io => {
                Scope::Receiver
            }
        }
    }

    /// Whether others that were answered meanwhile prove that the receiver is there.
    pub(super) fn is_disproved_by_answers(self) -> bool {
        matches!(self, Self::Timeout | Self::Local | Self::Io)
    }
}

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One state; others go on.
    State,
    /// A batch of so many states; smaller ones go on.
    Batch,
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
            _ if lacks_resources(error) => FailureKind::Local,
            _ => FailureKind::Io,
        };
        Self::new(kind, format!("{doing}: {error}"), written)
    }

    /// Without a wish of the receiver's.
    pub(super) fn new(kind: FailureKind, detail: String, written: bool) -> Self {
        Self { kind, detail, written, retry_after: None }
    }

    pub(super) fn timeout(limit: Duration, written: bool) -> Self {
        let detail = if written {
            format!("no answer within {limit:?}")
        } else {
            format!("connect: nothing within {limit:?}; is there a mount below the path that hangs?")
        };
        Self::new(FailureKind::Timeout, detail, written)
    }

    /// From a status that is no success, and what the receiver wishes with it.
    pub(super) fn from_status(status: u16, retry_after: Option<Duration>) -> Self {
        let kind = match status {
            413 => FailureKind::TooLarge,
            408 | 429 | 500..=599 => FailureKind::ServerError,
            400..=499 => FailureKind::ClientError,
            _ => FailureKind::Nonsense,
        };
        Self { retry_after, ..Self::new(kind, format!("answered {status}"), true) }
    }
}

/// Descriptors, memory or buffers.
fn lacks_resources(error: &std::io::Error) -> bool {
    let lacking = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|code| lacking.contains(&code))
}
