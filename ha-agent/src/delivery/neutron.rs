//! Protocol `neutron`: one request on one connection per state, to the L3 agent's
//! `keepalived-state-change` socket.
//!
//! The server of releases 27 and later reads once (4096 bytes), queues 5 connections, answers one
//! request per connection, and its reply lacks the blank line that ends a head. So the request is
//! one write, the status line is the answer, and the end of the stream ends it.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::{Answer, Failure, FailureKind};
use super::door::Door;
use crate::core::model::State;
use crate::outbox::Entry;

#[cfg(test)]
mod tests;

/// A reply is about 120 bytes; a proxy's error page stays below this.
const REPLY_MAX: usize = 16 * 1024;

/// How long the end of the stream is waited for behind the first line of the answer.
const LINGER: Duration = Duration::from_millis(100);

/// The word that the receiver's release knows (Neutron's `TRANSLATION_MAP`).
///
/// An unknown word costs the L3 agent its whole batch of notifications. Releases up to 16 have no
/// word for unknown; `fault` stands for it there: both mean that this node must not be counted on
/// as active, and saying nothing would leave a stale `active` standing.
pub fn word(state: State, release: u32) -> &'static str {
    match (state, release) {
        (State::Primary, ..=16) => "master",
        (State::Unknown, ..=16) => "fault",
        (state, _) => state.as_str(),
    }
}

/// The bytes of one request.
pub fn request(entry: &Entry, release: u32) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Neutron-Router-Id: {}\r\nX-Neutron-State: {}\r\n\
         Connection: close\r\nContent-Length: 0\r\n\r\n",
        entry.router,
        word(entry.state, release)
    )
    .into_bytes()
}

/// The status of a reply's first line; none if it is no HTTP/1 status line or is not complete.
pub fn status(reply: &[u8]) -> Option<u16> {
    let end = reply.iter().position(|byte| *byte == b'\n')?;
    let line = reply.get(..end)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', code @ ..] = rest else {
        return None;
    };
    let code = match code {
        [a, b, c] | [a, b, c, b' ', ..] => [*a, *b, *c],
        _ => return None,
    };
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (100..600).contains(&status).then_some(status)
}

/// Sends one state and waits for the answer, at most `limit` in all.
pub(super) async fn send(to: (&Door, &Path), entry: &Entry, release: u32, limit: Duration) -> Answer {
    let mut reply = Vec::new();
    let mut written = false;
    let exchange = exchange(to, entry, release, &mut reply, &mut written);
    let ended = tokio::time::timeout(limit, exchange).await;
    // The status line is the answer, also when the stream does not end or ends badly.
    if let Some(status) = status(&reply) {
        return match status {
            200..=299 => Answer::Taken,
            // What this server calls wrong is wrong the next time, too.
            400..=407 | 409..=428 | 430..=499 => Answer::Refused(format!("answered {status}")),
            _ => Answer::Failed(Failure::from_status(status, None)),
        };
    }
    Answer::Failed(match ended {
        Err(_) => Failure::timeout(limit, written),
        Ok(Err(failure)) => failure,
        Ok(Ok(())) if reply.is_empty() => {
            Failure::new(FailureKind::Closed, "closed without an answer".to_owned(), true)
        }
        Ok(Ok(())) => Failure::new(FailureKind::Nonsense, "the answer is not HTTP".to_owned(), true),
    })
}

async fn exchange(
    (door, socket): (&Door, &Path),
    entry: &Entry,
    release: u32,
    reply: &mut Vec<u8>,
    written: &mut bool,
) -> Result<(), Failure> {
    let mut stream = door.connect(socket).await.map_err(|error| Failure::from_io(&error, "connect", false))?;
    *written = true;
    stream.write_all(&request(entry, release)).await.map_err(|error| Failure::from_io(&error, "write", true))?;
    let mut limited = stream.take(REPLY_MAX as u64);
    let failed = |error| Failure::from_io(&error, "read", true);
    while status(reply).is_none() {
        if limited.read_buf(reply).await.map_err(failed)? == 0 {
            return Ok(());
        }
    }
    // The answer is there. A server that has more to say is let finish, one that never closes is not waited for.
    let rest = async { while limited.read_buf(reply).await.is_ok_and(|count| count > 0) {} };
    let _ended = tokio::time::timeout(LINGER, rest).await;
    Ok(())
}
