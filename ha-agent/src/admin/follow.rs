//! `GET /v1/events`: the last events, then, if asked for, each new one, a line of JSON each.
//!
//! Bounded on its way: the broadcast ring holds 1,024 lines and the connection's queue [`CHUNKS`]
//! chunks. A reader that lags behind the ring is cut; one that stands still, by the server.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::routes::{Api, Body, refuse, with_body};
use crate::core::model::RouterId;
use crate::telemetry::Record;

const CHUNKS: usize = 16;
const CHUNK: usize = 32 * 1024;
const NDJSON: &str = "application/x-ndjson";

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) follow: bool,
    pub(super) router: Option<RouterId>,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("follow", "1")) => query.follow = true,
                Some(("follow", "0")) => query.follow = false,
                Some(("router", id)) => {
                    query.router = Some(id.parse().map_err(|_| "router takes a UUID".to_owned())?);
                }
                _ => return Err("known parameters are follow=0|1 and router=UUID".to_owned()),
            }
        }
        Ok(query)
    }
}

/// Half of a listener's connections: those that follow never keep out those that ask.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(super::server::CONNECTIONS / 2))
}

pub(super) fn stream(api: &Api, query: Query, cut: CancellationToken) -> Response<Body> {
    let place = if query.follow { Arc::clone(&api.followers).try_acquire_owned().map(Some) } else { Ok(None) };
    let Ok(place) = place else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many follow the events already; end some of them, or read without following",
        );
    };
    let (last, live) = api.recent.follow();
    let (chunks, receiver) = mpsc::channel(CHUNKS);
    let live = query.follow.then_some(live);
    api.tasks.spawn(async move {
        let _place = place;
        if forward(last, live, query.router, &chunks, &cut).await.is_err() {
            // The client went away, or lags: in both cases the connection ends.
            cut.cancel();
        }
    });
    let body = stream::unfold(receiver, |mut receiver| async {
        let chunk: Bytes = receiver.recv().await?;
        Some((Ok(Frame::data(chunk)), receiver))
    });
    with_body(StatusCode::OK, NDJSON, BodyExt::boxed(StreamBody::new(Box::pin(body))))
}

struct Cut;

async fn forward(
    last: Vec<Arc<Record>>,
    live: Option<broadcast::Receiver<Arc<Record>>>,
    router: Option<RouterId>,
    chunks: &mpsc::Sender<Bytes>,
    cut: &CancellationToken,
) -> Result<(), Cut> {
    let mut chunk = Vec::new();
    for record in last.iter().filter(|record| record.concerns(router)) {
        add(&mut chunk, record);
        if chunk.len() >= CHUNK {
            send(&mut chunk, chunks).await?;
        }
    }
    send(&mut chunk, chunks).await?;
    drop(last);
    let Some(mut live) = live else {
        return Ok(());
    };
    loop {
        let received = tokio::select! {
            () = cut.cancelled() => return Ok(()),
            () = chunks.closed() => return Err(Cut),
            received = live.recv() => received,
        };
        match received {
            Ok(record) if record.concerns(router) => add(&mut chunk, &record),
            Ok(_) => {}
            Err(RecvError::Closed) => return Ok(()),
            Err(RecvError::Lagged(_)) => return Err(Cut),
        }
        // Whatever has piled up goes in one chunk.
        while chunk.len() < CHUNK
            && let Ok(record) = live.try_recv()
        {
            if record.concerns(router) {
                add(&mut chunk, &record);
            }
        }
        send(&mut chunk, chunks).await?;
    }
}

fn add(chunk: &mut Vec<u8>, record: &Record) {
    chunk.extend_from_slice(record.line.as_bytes());
    chunk.push(b'\n');
}

async fn send(chunk: &mut Vec<u8>, chunks: &mpsc::Sender<Bytes>) -> Result<(), Cut> {
    if chunk.is_empty() {
        return Ok(());
    }
    chunks.send(Bytes::from(std::mem::take(chunk))).await.map_err(|_| Cut)
}
