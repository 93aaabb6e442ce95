//! `ha-agent notify`: a state from keepalived's notify script to the agent's socket.
//!
//! Blocking and small, for it is forked by keepalived at every transition. `words` says what a
//! command line claims, `http` makes one attempt; here is the patience.

mod http;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::core::model::State;

use http::{Answer, Attempt};

/// Default of [`Args::timeout`].
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of [`Args::retries`]: as many as fit into the timeout.
pub const DEFAULT_RETRIES: u32 = 1000;

/// Pause before the first repetition, doubled up to the second one.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The command's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The router that changed: its id, its instance's name, or `NETNS/INSTANCE`.
    pub router: String,
    /// Either the state alone, or what keepalived appends to a generic notify script: `INSTANCE`
    /// or `GROUP`, the name, the state, and the priority. keepalived's words and Neutron's, in
    /// either case.
    pub words: Vec<String>,
    /// File whose first line is the bearer token.
    pub token_file: Option<PathBuf>,
    /// For everything together.
    pub timeout: Duration,
    /// Attempts after the first, within the timeout.
    pub retries: u32,
}

/// Why a state did not reach the agent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Usage (exit code 2).
    #[error(
        "expected STATE, or keepalived's \"INSTANCE|GROUP name STATE priority\", where STATE is \
         MASTER, BACKUP, FAULT, STOP, primary or unknown"
    )]
    Words,
    /// Usage, too.
    #[error(
        "a router or instance has a name of 1 to 255 bytes without control characters: --router takes an id, an \
         instance's name, or NETNS/INSTANCE"
    )]
    Name,
    /// The token cannot be read or used.
    #[error("cannot take the token from {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nobody took it in time.
    #[error("no agent took the state over {} in {waited:?}: {last}; is ha-agent running?", socket.display())]
    Unreachable {
        /// The agent's socket.
        socket: PathBuf,
        /// How long it was tried.
        waited: Duration,
        /// The last failure, in words.
        last: String,
    },
    /// It cannot work however often it is tried.
    #[error("cannot use {}: {source}", socket.display())]
    Socket {
        /// The agent's socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The agent said no.
    #[error("the agent refused the state ({status}): {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reason, printable.
        text: String,
    },
}

impl NotifyError {
    /// Whether this user may not report (exit code 77).
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 401 | 403),
            Self::Socket { source, .. } | Self::Token { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}

/// What is told.
struct Report<'a> {
    router: &'a str,
    state: State,
    /// Of which instance keepalived speaks.
    instance: Option<&'a str>,
}

/// Tells the agent behind `socket` what the words say; tries again while it is absent, busy or
/// starting. Words that tell of no change of state (`MASTER_RX_LOWER_PRI` and the like) succeed
/// without a request.
pub fn run(socket: &Path, args: Args) -> Result<(), NotifyError> {
    let Some(state) = words::claim(&args.words).ok_or(NotifyError::Words)? else {
        return Ok(());
    };
    let report = Report { router: &args.router, state, instance: words::instance(&args.words) };
    if ![Some(report.router), report.instance].into_iter().flatten().all(is_name) {
        return Err(NotifyError::Name);
    }
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let request = http::request(&report, token.as_deref());

    let begin = Instant::now();
    let deadline = begin + args.timeout;
    let mut pause = BACKOFF.0;
    let mut left = args.retries;
    loop {
        let (wait, last) = match http::attempt(socket, &request, deadline) {
            Attempt::Answered(Answer { status: 200, .. }) => return Ok(()),
            Attempt::Answered(answer) if matches!(answer.status, 429 | 503) => {
                let wait = answer.retry_after.unwrap_or(pause);
                (wait, format!("{} {}", answer.status, answer.text))
            }
            Attempt::Answered(Answer { status, text, .. }) => {
                return Err(NotifyError::Refused { status, text });
            }
            Attempt::Failed(error) if http::may_pass(&error) => (pause, error.to_string()),
            Attempt::Failed(source) => {
                return Err(NotifyError::Socket { socket: socket.to_owned(), source });
            }
        };
        if left == 0 || wait >= deadline.saturating_duration_since(Instant::now()) {
            return Err(NotifyError::Unreachable { socket: socket.to_owned(), waited: begin.elapsed(), last });
        }
        left -= 1;
        std::thread::sleep(wait);
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Whether it can stand in a header, as it is.
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
}

fn read_token(path: &Path) -> Result<String, NotifyError> {
    let error = |source| NotifyError::Token { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(error)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(error(io::Error::other("its first line must be the token, in printable ASCII without spaces")));
    }
    Ok(token.to_owned())
}
