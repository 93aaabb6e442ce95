//! Protocol `json`: one `POST /v1/ha-states` per batch. 2xx takes every state but those that the
//! answer's body names under `refused`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Failure, FailureKind};
use super::door::Door;
use crate::core::model::{Basis, RouterId, State};
use crate::outbox::Entry;

#[cfg(test)]
mod tests;

/// Enough to refuse 5,000 routers with a sentence each.
const REPLY_MAX: usize = 1 << 20;

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

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    refused: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    router_id: RouterId,
    #[serde(default)]
    reason: String,
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
/// something else.
pub fn refused(body: &[u8]) -> HashMap<RouterId, String> {
    let reply: Reply = serde_json::from_slice(body).unwrap_or(Reply { refused: Vec::new() });
    let refused = reply.refused.into_iter();
    refused.map(|refusal| (refusal.router_id, refusal.reason)).collect()
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
        Ok(Ok((status @ 200..=299, body))) => {
            let _ = status;
            let mut refused = refused(&body);
            return entries
                .iter()
                .map(|entry| match refused.remove(&entry.router) {
                    Some(reason) => Answer::Refused(reason),
                    None => Answer::Taken,
                })
                .collect();
        }
        Ok(Ok((status, _))) => Failure::from_status(status),
        Ok(Err(failure)) => Answer::Failed(failure),
        Err(_) => Answer::Failed(Failure::timeout(limit, written)),
    };
    vec![failed; entries.len()]
}

async fn exchange((door, socket): (&Door, &Path), body: Vec<u8>, written: &mut bool) -> Result<(u16, Bytes), Failure> {
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
        // The states are taken, whatever becomes of the body.
        let body = Limited::new(response.into_body(), REPLY_MAX).collect().await;
        Ok((status, body.map_or(Bytes::new(), |body| body.to_bytes())))
    };
    tokio::pin!(answer);
    // Both in this task: dropping it ends the connection.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

fn nonsense(detail: String) -> Failure {
    Failure { kind: FailureKind::Nonsense, detail, written: true }
}

fn from_hyper(error: &hyper::Error) -> Failure {
    if error.is_parse() {
        return nonsense(format!("the answer is not HTTP: {error}"));
    }
    Failure { kind: FailureKind::Closed, detail: format!("no answer: {error}"), written: true }
}
