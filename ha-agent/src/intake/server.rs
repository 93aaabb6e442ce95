//! One connection: HTTP/1 by hyper, one decision per request.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::limits::{Limits, Share};
use super::metrics::Metrics;
use super::refusal::{self, Refusal};
use super::request::{self, Whom};
use super::{Report, STOP_LIMIT};
use crate::clock;
use crate::core::model::{RouterId, State};
use crate::core::reporter::Naming;
use crate::inventory::Directory;
use crate::peer::{Caller, Peer};
use crate::telemetry::Events;
use crate::telemetry::event::Event;
use crate::telemetry::line::escape;

/// For a head; hyper's smallest.
const MAX_HEAD: usize = 8 * 1024;
/// curl sends 6, httplib2 5.
const MAX_HEADERS: usize = 16;
/// After the stop, requests on open connections are still answered (503) for so long.
const STOP_GRACE: Duration = Duration::from_millis(200);
/// How long the answer to a request over the rate is held back: whoever asks as fast as it can over all
/// its connections costs no more than a few hundred answers a second.
const HELD_BACK: Duration = Duration::from_millis(100);
/// How long a refused peer may take to read its answer.
const LINGER: Duration = Duration::from_millis(500);

/// So often what it still sends is taken off its hands, up to 4 KiB each time: one who floods would keep
/// us reading.
const LINGER_READS: usize = 8;

/// Instances of one name that a refusal lists.
const CHOICES: usize = 8;

/// A refusal, of which router, and what is said instead of its usual text.
struct Refused {
    refusal: Refusal,
    router: Option<RouterId>,
    said: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, router: None, said: None }
    }
}

/// What every connection uses.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: ArcSwap<Limits>,
    pub(super) directory: Arc<Directory>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) gate: Gate,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) stopping: CancellationToken,
}

impl Shared {
    /// Counts a refusal and tells about it.
    pub(super) fn refused(&self, refusal: Refusal, caller: &Caller, router: Option<RouterId>) {
        self.metrics.refused(refusal).inc();
        self.gate.refused(refusal, router, Some(caller.peer.uid), || caller.reporter());
    }

    /// The same before anything is read, of a peer that is only looked at when it is told about.
    pub(super) fn refused_at_the_door(&self, refusal: Refusal, peer: Peer, look: impl FnOnce() -> Naming) {
        self.metrics.refused(refusal).inc();
        self.gate.refused(refusal, None, Some(peer.uid), || Caller { peer, process: look() }.reporter());
    }

    /// Counts a refusal in a flood; the summary tells about it.
    pub(super) fn refused_of_many(&self, refusal: Refusal) {
        self.metrics.refused(refusal).inc();
        self.gate.hold_back(refusal);
    }

    /// Judges a request, its body apart.
    fn judge<B: Body>(&self, peer: Peer, request: &Request<B>) -> Result<(RouterId, State), Refused> {
        let limits = self.limits.load();
        // Asked again for each request: the user may have been struck off since it connected.
        limits.count_request(peer)?;
        if self.stopping.is_cancelled() {
            return Err(Refusal::Stopping.into());
        }
        let claim = request::validate(
            request.uri().path(),
            request.headers(),
            Some(request.body().size_hint().lower()),
            limits.token.as_deref(),
        )?;
        let router = match claim.whom {
            Whom::Id(router) => router,
            Whom::Name(name) => self.router_named(&name, &limits, peer.uid)?,
        };
        let of_it = |refusal| Refused { refusal, router: Some(router), said: None };
        // Before it is looked up: whoever may not report it does not learn whether it is here.
        if !limits.may_report(peer.uid, router) {
            return Err(of_it(Refusal::RouterNotGranted));
        }
        let place = self.directory.place(router).ok_or_else(|| of_it(Refusal::UnknownRouter))?;
        match (claim.instance, &place.instance) {
            (Some(told), Some(own)) if told != *own => Err(of_it(Refusal::OtherInstance)),
            _ => Ok((router, claim.state)),
        }
    }

    /// The one router of this name that the user may report.
    fn router_named(&self, name: &str, limits: &Limits, uid: u32) -> Result<RouterId, Refused> {
        let mut found = self.directory.named(name);
        found.retain(|router| limits.may_report(uid, *router));
        match found.as_slice() {
            [one] => Ok(*one),
            // One that is bound to some routers does not learn of others.
            [] if limits.is_bound(uid) => Err(Refusal::RouterNotGranted.into()),
            [] => Err(Refusal::NoSuchInstance.into()),
            several => {
                let choices = several.iter().take(CHOICES).filter_map(|router| {
                    let place = self.directory.place(*router)?;
                    Some(format!("  {router}: {}\n", escape(&place.to_string())))
                });
                let said = format!("{}{}", Refusal::SeveralInstances.text(), choices.collect::<String>());
                Err(Refused { refusal: Refusal::SeveralInstances, router: None, said: Some(said) })
            }
        }
    }

    /// Hands a report on. The event goes first: what the core makes of the report comes after it
    /// in the stream.
    fn take(&self, caller: &Caller, router: RouterId, state: State) -> Result<(), Refusal> {
        let reporter = caller.reporter();
        let place = self.reports.try_reserve().map_err(|e| match e {
            TrySendError::Full(()) => Refusal::QueueFull,
            TrySendError::Closed(()) => Refusal::Stopping,
        })?;
        self.metrics.taken(state).inc();
        self.events.emit(Event::ReportReceived { router_id: router, state, reporter: reporter.clone() });
        place.send(Report { router, state, reporter, at: clock::now() });
        Ok(())
    }

    /// The whole way from a request to its answer.
    async fn answer(
        &self,
        caller: &Caller,
        share: &Share,
        request: Request<Incoming>,
        body_timeout: Duration,
    ) -> Response<Full<Bytes>> {
        let named = |headers| request::named_router(headers);
        let outcome = match self.judge(caller.peer, &request) {
            Err(refused) => {
                let router = refused.router.or_else(|| named(request.headers()));
                Err(Refused { router, ..refused })
            }
            Ok((router, state)) => drain(request.into_body(), body_timeout)
                .await
                .and_then(|()| self.take(caller, router, state))
                .map_err(|refusal| Refused { refusal, router: Some(router), said: None }),
        };
        let mut response = match outcome {
            Ok(()) => refusal::taken(),
            Err(Refused { refusal, router, said }) => {
                self.refused(refusal, caller, router);
                if refusal == Refusal::TooManyRequests {
                    self.stopping.run_until_cancelled(sleep(HELD_BACK)).await;
                }
                let mut response = refusal.response();
                if let Some(said) = said {
                    *response.body_mut() = Full::new(said.into());
                }
                response
            }
        };
        if share.is_wanted() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Reads a body and throws it away.
async fn drain(body: Incoming, limit: Duration) -> Result<(), Refusal> {
    if body.is_end_stream() {
        return Ok(());
    }
    let mut body = pin!(Limited::new(body, usize::try_from(request::MAX_BODY).unwrap_or(usize::MAX)));
    let read = async {
        while let Some(frame) = body.frame().await {
            frame.map_err(|e| {
                if e.is::<http_body_util::LengthLimitError>() { Refusal::BodyTooLarge } else { Refusal::MalformedBody }
            })?;
        }
        Ok(())
    };
    timeout(limit, read).await.unwrap_or(Err(Refusal::TooSlow))
}

/// Serves a connection that has its slot, until the peer, a timeout or the stop ends it.
pub(super) async fn serve(
    shared: Arc<Shared>,
    share: Arc<Share>,
    stream: UnixStream,
    caller: Caller,
    header_timeout: Duration,
) {
    let requests = AtomicU64::new(0);
    let service = service_fn(|request| {
        requests.fetch_add(1, Ordering::Relaxed);
        let answer = shared.answer(&caller, &share, request, header_timeout);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // `printf … | nc -N` and the like close their side before they read.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);

    // hyper times the head; a peer that sends requests but never reads its answers is found here.
    // Head and body may take one timeout each.
    let window = header_timeout * 3;
    let mut seen = 0;
    let mut watchdog = pin!(sleep(window));
    let stopping = shared.stopping.cancelled();
    let outcome = tokio::select! {
        biased;
        outcome = &mut connection => outcome,
        () = async {
            loop {
                watchdog.as_mut().await;
                let now = requests.load(Ordering::Relaxed);
                if now == seen {
                    return;
                }
                seen = now;
                watchdog.as_mut().reset(Instant::now() + window);
            }
        } => return shared.refused(Refusal::TooSlow, &caller, None),
        () = stopping => {
            // What the peer sent before it could know is still answered (503, close).
            match timeout(STOP_GRACE, &mut connection).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    Pin::new(&mut connection).graceful_shutdown();
                    let rest = STOP_LIMIT.saturating_sub(STOP_GRACE);
                    match timeout(rest, &mut connection).await {
                        Ok(outcome) => outcome,
                        Err(_) => return,
                    }
                }
            }
        }
    };
    let Err(error) = outcome else { return };
    if error.is_timeout() {
        // hyper says nothing then. A connection that was used and is idle just ends.
        let parts = connection.into_parts();
        if requests.load(Ordering::Relaxed) == 0 || !parts.read_buf.is_empty() {
            shared.refused(Refusal::TooSlow, &caller, None);
            refuse(parts.io.into_inner(), Refusal::TooSlow).await;
        }
    } else if error.is_parse_too_large() {
        shared.refused(Refusal::HeadersTooLarge, &caller, None);
        let_read(connection.into_parts().io.into_inner()).await;
    } else if error.is_parse() {
        shared.refused(Refusal::MalformedRequest, &caller, None);
        let_read(connection.into_parts().io.into_inner()).await;
    } else {
        let peer = caller.peer;
        tracing::debug!(uid = peer.uid, gid = peer.gid, pid = peer.pid, %error, "intake: connection broke");
    }
}

/// Answers without HTTP and lets the peer read that.
pub(super) async fn refuse(mut stream: UnixStream, refusal: Refusal) {
    let answer = refusal.raw();
    // A peer that has gone has what it wants.
    if matches!(timeout(LINGER, stream.write_all(answer.as_bytes())).await, Ok(Ok(()))) {
        let_read(stream).await;
    }
}

/// Waits, not for long, until the peer has read its answer: closing with its request unread would
/// reset the connection while the peer still writes or reads.
async fn let_read(mut stream: UnixStream) {
    let polite = async {
        stream.shutdown().await?;
        let mut ignored = [0; 4096];
        for _ in 0..LINGER_READS {
            if stream.read(&mut ignored).await? == 0 {
                return Ok(());
            }
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    // A peer that has gone, or does not read, has what it wants.
    let _ = timeout(LINGER, polite).await;
}
