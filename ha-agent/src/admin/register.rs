//! `PUT /v1/routers/{id}`: a registration that lives as long as its connection.
//!
//! The body's shape is [`crate::inventory::registration`]'s. The answer's head comes at once; its
//! body stays open, with one line in it, until one of the two sides closes. A connection that
//! registered gives its place among the listener's connections back: there may be thousands, and
//! who asks for the status finds room.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode};

use super::RegisterError;
use super::routes::{Api, Body, Peer, again_in, refuse, with_body};
use super::server::Seat;
use crate::core::model::RouterId;
use crate::inventory::Held;

const NDJSON: &str = "application/x-ndjson";
/// Seconds in `Retry-After`: places become free only when routers go.
const RETRY: &str = "10";

pub(super) fn register(api: &Api, id: RouterId, body: &[u8], peer: &Peer, seat: &Seat) -> Response<Body> {
    let Peer::Socket(Some(caller)) = peer else {
        return refuse(StatusCode::FORBIDDEN, "who registers must be known to the kernel");
    };
    match api.board.register(id, body, caller) {
        Ok(held) => {
            seat.leave();
            hold(api, held)
        }
        Err(error @ RegisterError::Invalid(_)) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error @ RegisterError::Full(_)) => {
            again_in(RETRY, refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))
        }
    }
}

/// The answer that holds the registration: it ends with the connection, or with the agent.
fn hold(api: &Api, held: Held) -> Response<Body> {
    let stop = api.stop.clone();
    let line = Bytes::from_static(b"{\"registered\":true}\n");
    let body = stream::unfold((Some(line), held), move |(line, held)| {
        let stop = stop.clone();
        async move {
            match line {
                Some(line) => Some((Ok(Frame::data(line)), (None, held))),
                None => {
                    stop.cancelled().await;
                    None
                }
            }
        }
    });
    let mut response = with_body(StatusCode::OK, NDJSON, BodyExt::boxed(StreamBody::new(Box::pin(body))));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
