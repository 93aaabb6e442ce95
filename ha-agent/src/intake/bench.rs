//! A load on the state-change socket, for measurements and tests: not part of the agent's work.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::core::model::{RouterId, State};

/// What a load run saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Answers 200.
    pub taken: u64,
    /// Other answers.
    pub refused: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// From the first connect to the last answer.
    pub elapsed: Duration,
}

impl Load {
    /// Answers 200 a second.
    pub fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let taken = self.taken as f64;
        taken / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Sends reports from `clients` at once for `duration`, each over one kept connection or over a
/// new one for every request.
pub async fn load(socket: &Path, router: RouterId, clients: usize, duration: Duration, keep: bool) -> Load {
    let request = request(router, State::Backup, keep);
    let begin = Instant::now();
    let until = begin + duration;
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (socket, request) = (socket.to_owned(), request.clone());
        tasks.spawn(async move {
            let mut load = Load::default();
            let mut stream = None;
            while Instant::now() < until {
                match exchange(&socket, &mut stream, request.as_bytes(), keep).await {
                    Ok(200) => load.taken += 1,
                    Ok(_) => load.refused += 1,
                    Err(_) => {
                        load.lost += 1;
                        stream = None;
                    }
                }
            }
            load
        });
    }
    let mut sum = Load::default();
    while let Some(load) = tasks.join_next().await {
        let load = load.unwrap_or_default();
        sum.taken += load.taken;
        sum.refused += load.refused;
        sum.lost += load.lost;
    }
    sum.elapsed = begin.elapsed();
    sum
}

/// A request as bytes.
pub fn request(router: RouterId, state: State, keep: bool) -> String {
    let connection = if keep { "keep-alive" } else { "close" };
    format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Neutron-Router-Id: {router}\r\n\
         X-Neutron-State: {state}\r\nConnection: {connection}\r\n\r\n"
    )
}

async fn exchange(socket: &Path, slot: &mut Option<UnixStream>, request: &[u8], keep: bool) -> io::Result<u16> {
    let mut stream = match slot.take() {
        Some(stream) => stream,
        None => UnixStream::connect(socket).await?,
    };
    stream.write_all(request).await?;
    let mut answer = [0; 1024];
    let mut length = 0;
    let status = loop {
        let n = stream.read(&mut answer[length..]).await?;
        length += n;
        match status_if_whole(&answer[..length]) {
            Some(status) => break status,
            None if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => {}
        }
    };
    if keep {
        *slot = Some(stream);
    }
    Ok(status)
}

/// The status of an answer whose head and body are complete.
fn status_if_whole(answer: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length: usize = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        })
        .unwrap_or(0);
    (body.len() >= length).then_some(())?;
    head.split(' ').nth(1)?.parse().ok()
}
