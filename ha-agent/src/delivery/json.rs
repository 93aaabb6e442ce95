//! Protocol `json`: one `POST /v1/ha-states` per batch. 2xx takes every state but those that the
//! answer's body names under `refused`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeSeed as _;

use super::answer::{Answer, Failure, FailureKind};
use super::door::Door;
use crate::core::model::{Basis, RouterId, State};
use crate::outbox::Entry;

mod refusals;
#[cfg(test)]
mod tests;

/// Enough to refuse 5,000 routers with some sentences each. Of a longer answer the beginning is read.
const REPLY_MAX: usize = 4 << 20;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 200;
/// Longest wish of a receiver's that is heeded.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

#[derive(Serialize)]
struct Batch<'a> {
    schema: u32,
    host: &'a str,
    batch: u64,
    states: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    router_id: RouterId,
    state: State,
    previous: Option<State>,
    confirmed_at: String,
    sequence: u64,
    basis: Basis,
}

/// The body of one batch; `previous` is null for a first state.
pub fn body(host: &str, batch: u64, entries: &[Entry]) -> Vec<u8> {
    let states = entries
        .iter()
        .map(|entry| Row {
            router_id: entry.router,
            state: entry.state,
            previous: entry.previous,
            confirmed_at: rfc3339(entry.confirmed_at_us),
            sequence: entry.sequence,
            basis: entry.basis,
        })
        .collect();
    let batch = Batch { schema: 1, host, batch, states };
    serde_json::to_vec(&batch).unwrap_or_default()
}

fn rfc3339(us: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(us).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{at:.6}")
}

/// The routers that a 2xx answer refuses, with the reason; empty for a body that is empty or says
/// something else. Each entry counts by itself: one that names no router takes nothing from the others, and of a
/// body that is cut off those before the cut count.
pub fn refused(body: &[u8]) -> HashMap<RouterId, String> {
    let mut refused = HashMap::new();
    // What was read before an error is in the map.
    let _cut_off = refusals::Reply(&mut refused).deserialize(&mut serde_json::Deserializer::from_slice(body));
    refused
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().map(Duration::from_secs).ok();
    let wish = seconds.or_else(|| {
        let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
        Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
    });
    wish.map(|wish| wish.min(RETRY_AFTER_MAX))
}

/// Sends a batch and waits for the answer, at most `limit` in all; one answer per entry.
pub(super) async fn send(
    to: (&Door, &Path),
    host: &str,
    batch: u64,
    entries: &[Entry],
    limit: Duration,
) -> Vec<Answer> {
    let mut written = false;
    let exchange = exchange(to, body(host, batch, entries), &mut written);
    let failed = match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(Reply { status: 200..=299, body, .. })) => {
            let mut refused = refused(&body);
            return entries
                .iter()
                .map(|entry| match refused.remove(&entry.router) {
                    Some(reason) => Answer::Refused(reason),
                    None => Answer::Taken,
                })
                .collect();
        }
        Ok(Ok(Reply { status, retry_after, .. })) => Failure::from_status(status, retry_after),
        Ok(Err(failure)) => failure,
        Err(_) => Failure::timeout(limit, written),
    };
    vec![Answer::Failed(failed); entries.len()]
}

struct Reply {
    status: u16,
    retry_after: Option<Duration>,
    /// As much of it as is read.
    body: Vec<u8>,
}

async fn exchange((door, socket): (&Door, &Path), body: Vec<u8>, written: &mut bool) -> Result<Reply, Failure> {
    let stream = door.connect(socket).await.map_err(|error| Failure::from_io(&error, "connect", false))?;
    *written = true;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| from_hyper(&error))?;
    let request = Request::post("/v1/ha-states")
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| nonsense(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| from_hyper(&error))?;
        let status = response.status().as_u16();
        let wish = response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        // The states are taken, whatever becomes of the body.
        let mut rest = response.into_body();
        let mut body = Vec::new();
        while let Some(Ok(frame)) = rest.frame().await {
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() >= REPLY_MAX {
                break;
            }
        }
        Ok(Reply { status, retry_after: wish, body })
    };
    tokio::pin!(answer);
    // Both in this task: dropping it ends the connection.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

fn nonsense(detail: String) -> Failure {
    Failure::new(FailureKind::Nonsense, detail, true)
}

fn from_hyper(error: &hyper::Error) -> Failure {
    if error.is_parse() {
        return nonsense(format!("the answer is not HTTP: {error}"));
    }
    Failure::new(FailureKind::Closed, format!("no answer: {error}"), true)
}
