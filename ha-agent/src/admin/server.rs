//! Listening, and one task per connection with limits on its head, its time and its number.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use super::routes::{Api, Peer};
use crate::peer::Caller;

/// Connections at once, per listener; more wait in the backlog.
pub(super) const CONNECTIONS: usize = 64;
const BACKLOG: i32 = 64;
/// Hundreds register at once when the agent was restarted; who finds no room here only comes again.
pub(super) const UNIX_BACKLOG: i32 = 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const HEADER_BYTES: usize = 8192;
const HEADERS: usize = 32;
/// A peer that reads nothing of its answer for so long is cut: hyper times the head only.
const UNREAD: Duration = Duration::from_secs(5);
/// Pause after a failed accept, such as one for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// What an open connection has at the end to finish its answer.
const FINISH: Duration = Duration::from_secs(1);

pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// What listens, and who connects there.
pub(super) enum Listener {
    /// The admin socket.
    Unix(UnixListener),
    /// `admin.listen`.
    Tcp(TcpListener),
}

/// A connection's place among its listener's; given back at its end, or when it registers.
pub(super) struct Seat(Mutex<Option<OwnedSemaphorePermit>>);

impl Seat {
    /// From now on the connection does not count.
    pub(super) fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Accepts until the stop; at most [`CONNECTIONS`] at once, the others wait in the backlog.
pub(super) async fn serve(listener: Listener, api: Arc<Api>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(place) = place(&places, &api).await {
        let served = tokio::select! {
            () = api.stop.cancelled() => return,
            served = accept(&listener, &api, place) => served,
        };
        match served {
            Ok(served) => {
                api.tasks.spawn(served);
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept(
    listener: &Listener,
    api: &Arc<Api>,
    place: OwnedSemaphorePermit,
) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let api = Arc::clone(api);
    let seat = Arc::new(Seat(Mutex::new(Some(place))));
    Ok(match listener {
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let caller = Caller::look(stream.as_fd()).ok();
            Box::pin(connection(stream, Peer::Socket(caller), api, seat))
        }
        Listener::Tcp(listener) => Box::pin(connection(listener.accept().await?.0, Peer::Tcp, api, seat)),
    })
}

async fn place(places: &Arc<Semaphore>, api: &Api) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        () = api.stop.cancelled() => None,
        place = Arc::clone(places).acquire_owned() => place.ok(),
    }
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection to the status API was not accepted");
    tokio::time::sleep(PAUSE).await;
}

async fn connection<S>(stream: S, peer: Peer, api: Arc<Api>, seat: Arc<Seat>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Cancelled by a stream whose reader lags: nothing less closes the connection.
    let cut = api.stop.child_token();
    let stop = api.stop.clone();
    let for_requests = cut.clone();
    let peer = Arc::new(peer);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        let cut = for_requests.clone();
        let seat = Arc::clone(&seat);
        let peer = Arc::clone(&peer);
        async move { Ok::<_, Infallible>(api.answer(request, &peer, cut, &seat).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD));
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection to the status API ended");
            }
            return;
        }
        () = cut.cancelled() => {}
    }
    if stop.is_cancelled() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FINISH, connection).await;
    }
}
