//! One request, one answer, over a blocking unix socket.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::Report;
use crate::telemetry::line::is_deceiving;

/// Beyond this an answer is not the agent's.
const MAX_ANSWER: u64 = 8 * 1024;
/// So much of the agent's words goes into an error: a list of routers is in it.
const MAX_TEXT: usize = 4096;

pub(super) enum Attempt {
    Answered(Answer),
    Failed(io::Error),
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

pub(super) fn request(report: &Report<'_>, token: Option<&str>) -> String {
    let Report { router, state, instance } = report;
    let router = match router.parse::<crate::core::model::RouterId>() {
        Ok(id) => format!("X-Neutron-Router-Id: {id}"),
        Err(_) => format!("X-Ha-Agent-Router: {router}"),
    };
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\n{router}\r\nX-Neutron-State: {state}\r\nConnection: close\r\n");
    if let Some(instance) = instance {
        let _ = write!(request, "X-Ha-Agent-Instance: {instance}\r\n");
    }
    if let Some(token) = token {
        let _ = write!(request, "Authorization: Bearer {token}\r\n");
    }
    request.push_str("\r\n");
    request
}

/// Whether the same attempt may succeed a little later: the agent is starting, stopping or full.
pub(super) fn may_pass(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::NotFound
            | ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
    )
}

pub(super) fn attempt(socket: &Path, request: &str, deadline: Instant) -> Attempt {
    match exchange(socket, request, deadline) {
        Ok(bytes) => match parse(&bytes) {
            Some(answer) => Attempt::Answered(answer),
            None if bytes.is_empty() => Attempt::Failed(ErrorKind::UnexpectedEof.into()),
            None => Attempt::Failed(io::Error::new(ErrorKind::InvalidData, "what answers there does not speak HTTP")),
        },
        Err(error) => Attempt::Failed(error),
    }
}

fn exchange(socket: &Path, request: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut stream = open(socket, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    // One write: some receivers of this protocol read only once.
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // The answer may be there already when the agent closes on unread input.
            Err(e) if e.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => {
                return Ok(bytes);
            }
            Err(e) => return Err(e),
        }
        if bytes.len() as u64 > MAX_ANSWER {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer has no end"));
        }
    }
}

/// Connects; with a full backlog the kernel waits as long as the send timeout says.
fn open(socket: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&fd, Timeout::Send, Some(left(deadline)?))?;
    connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd.into())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_millis(1) {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    let status = words.next()?.parse().ok()?;
    let retry_after = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok().map(Duration::from_secs))?
    });
    let printable = |c: char| if is_deceiving(c) && c != '\n' { ' ' } else { c };
    Some(Answer { status, retry_after, text: body.trim().chars().take(MAX_TEXT).map(printable).collect() })
}
