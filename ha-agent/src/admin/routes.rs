//! The table of paths, and the answer to each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exposition::{CLASSIC, OPENMETRICS, classic};
use super::server::Seat;
use super::{Board, CheckError, RouterStatusAndEvidence, follow, register};
use crate::core::evidence::Evidence;
use crate::core::model::{RouterId, State};
use crate::inventory::registration;
use crate::peer::Caller;
use crate::status::{AnomalyDetail, RouterStatus};
use crate::telemetry::line::json;
use crate::telemetry::{Recent, Record};

pub(super) type Body = BoxBody<Bytes, Infallible>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Largest body of a check, and how long any may take.
const BODY: usize = 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// Over the admin socket; none where the kernel does not tell who.
    Socket(Option<Caller>),
    /// Over TCP: anyone who reaches the address.
    Tcp,
}

impl Peer {
    /// Root or the agent's own user: what they could do anyway, they may ask for.
    fn is_trusted(&self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        matches!(self, Self::Socket(Some(caller)) if [own, 0].contains(&caller.peer.uid))
    }
}

pub(super) struct Api {
    pub(super) board: Arc<dyn Board>,
    pub(super) recent: Recent,
    pub(super) registry: Arc<Registry>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Places for those that follow the events.
    pub(super) followers: Arc<Semaphore>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Live,
    Ready,
    Metrics,
    Routers,
    Router(RouterId),
    Check(RouterId),
    Events,
}

impl Route {
    /// None for an unknown path, and over TCP for every path that only the socket has.
    fn find(path: &str, peer: &Peer) -> Option<Self> {
        let route = match path {
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/v1/routers" => Self::Routers,
            "/v1/events" => Self::Events,
            _ => {
                let rest = path.strip_prefix("/v1/routers/")?;
                match rest.strip_suffix("/check") {
                    Some(id) => Self::Check(id.parse().ok()?),
                    None => Self::Router(rest.parse().ok()?),
                }
            }
        };
        let open = matches!(route, Self::Live | Self::Ready | Self::Metrics);
        (open || matches!(peer, Peer::Socket(_))).then_some(route)
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Check(_) => "POST",
            Self::Router(_) => "GET, HEAD, PUT",
            _ => "GET, HEAD",
        }
    }
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    status: &'a RouterStatus,
    evidence: &'a Evidence,
    details: &'a [AnomalyDetail],
}

/// The neutron-server's words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    state: ServerState,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServerState {
    Active,
    Standby,
    Unknown,
}

impl Api {
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        cut: CancellationToken,
        seat: &Seat,
    ) -> Response<Body> {
        let Some(route) = Route::find(request.uri().path(), peer) else {
            return refuse(StatusCode::NOT_FOUND, "no such path here");
        };
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        let fits = match route {
            Route::Check(_) => request.method() == Method::POST,
            Route::Router(_) => read || request.method() == Method::PUT,
            _ => read,
        };
        if !fits {
            let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "this path takes no such method");
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(route.allowed()));
            return response;
        }
        match route {
            Route::Live => answer(StatusCode::OK, TEXT, "ok\n"),
            Route::Ready if self.board.ready() => answer(StatusCode::OK, TEXT, "ready\n"),
            Route::Ready => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "starting\n"),
            Route::Metrics => {
                let accept = request.headers().get(ACCEPT);
                self.metrics(accept.and_then(|value| value.to_str().ok()).unwrap_or(""))
            }
            Route::Routers => answer(StatusCode::OK, JSON, json(&self.board.node())),
            Route::Router(id) if request.method() == Method::PUT => self.register(id, request, peer, seat).await,
            Route::Router(id) => match self.board.router(id) {
                Some(found) => answer(StatusCode::OK, JSON, detail(&found, &self.recent.of(id))),
                None => refuse(StatusCode::NOT_FOUND, &CheckError::UnknownRouter.to_string()),
            },
            Route::Check(id) => self.check(id, request, peer).await,
            Route::Events => match follow::Query::parse(request.uri().query().unwrap_or("")) {
                Ok(query) => follow::stream(self, query, cut),
                Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
            },
        }
    }

    fn metrics(&self, accept: &str) -> Response<Body> {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) if accept.contains("application/openmetrics-text") => answer(StatusCode::OK, OPENMETRICS, text),
            Ok(()) => answer(StatusCode::OK, CLASSIC, classic(&text)),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
        }
    }

    async fn check(&self, id: RouterId, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        if !peer.is_trusted() {
            return refuse(StatusCode::FORBIDDEN, "only root and the agent's own user may ask for a check");
        }
        let body = match read_body(request, BODY).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let state = match serde_json::from_slice(&body) {
            Ok(Check { state }) => match state {
                ServerState::Active => State::Primary,
                ServerState::Standby => State::Backup,
                ServerState::Unknown => State::Unknown,
            },
            Err(_) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    r#"expected {"state":"active"}, {"state":"standby"} or {"state":"unknown"}"#,
                );
            }
        };
        match self.board.check(id, state) {
            Ok(()) => answer(StatusCode::ACCEPTED, JSON, r#"{"queued":true}"#),
            Err(error @ CheckError::UnknownRouter) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
            Err(error @ CheckError::Busy) => again_in("1", refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())),
        }
    }

    async fn register(&self, id: RouterId, request: Request<Incoming>, peer: &Peer, seat: &Seat) -> Response<Body> {
        if !peer.is_trusted() {
            return refuse(StatusCode::FORBIDDEN, "only root and the agent's own user may register a router");
        }
        match read_body(request, registration::MAX_BYTES).await {
            Ok(body) => register::register(self, id, &body, peer, seat),
            Err(refusal) => refusal,
        }
    }
}

/// A body of at most `most` bytes, or the refusal.
async fn read_body(request: Request<Incoming>, most: usize) -> Result<Bytes, Response<Body>> {
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => {
            let message = format!("the body has more than {most} bytes, or was cut short");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &message))
        }
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// A refusal for now: tells in how many seconds to ask again.
pub(super) fn again_in(seconds: &'static str, mut refusal: Response<Body>) -> Response<Body> {
    refusal.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static(seconds));
    refusal
}

/// `status::RouterDetail`, with the events as they were written.
fn detail(found: &RouterStatusAndEvidence, recent: &[Arc<Record>]) -> String {
    let mut text = json(&Detail { status: &found.status, evidence: &found.evidence, details: &found.details });
    text.pop();
    text.push_str(",\"recent\":[");
    for (index, record) in recent.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&record.line);
    }
    text.push_str("]}");
    text
}

pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    with_body(status, content_type, Full::new(body.into()).boxed())
}

pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

pub(super) fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    answer(status, JSON, json(&serde_json::json!({ "error": message })))
}
