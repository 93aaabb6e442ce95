//! Speaks to the agent's own state-change socket, as anyone on the node could.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Claims a state and gives the HTTP status of the answer.
///
/// # Errors
/// When nobody listens or the answer is no HTTP.
pub fn claim(socket: &Path, router: Uuid, state: &str) -> Result<u16> {
    let answer = send(
        socket,
        format!(
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Neutron-Router-Id: {router}\r\n\
             X-Neutron-State: {state}\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    )?;
    status(&answer)
}

/// Sends bytes and reads to the end.
///
/// # Errors
/// When nobody listens, or the other side neither answers nor closes.
pub fn send(socket: &Path, request: &[u8]) -> Result<String> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of an answer.
///
/// # Errors
/// When it has none.
pub fn status(answer: &str) -> Result<u16> {
    answer
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| answer.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("an HTTP answer: {answer:?}"))
}
