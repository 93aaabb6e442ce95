//! The status API: HTTP/1 on the admin socket, and read-only over TCP where that is configured.
//!
//! | path | socket | TCP |
//! |---|---|---|
//! | `GET /v1/routers`, `/v1/routers/{id}` | ✓ | |
//! | `GET /v1/events?follow=1&router=ID` | ✓ | |
//! | `POST /v1/routers/{id}/check` | ✓ (own uid or root) | |
//! | `PUT /v1/routers/{id}` | ✓ (own uid or root) | |
//! | `GET /metrics`, `/livez`, `/readyz` | ✓ | ✓ |
//!
//! It shows what the [`Board`] says and decides nothing. Here live the server (`server`), the table
//! of paths (`routes`), the event stream (`follow`), registrations (`register`) and the metrics that are read from the board at
//! scrape time (`collector`). Who may connect is the socket's mode, 0660.

pub mod collector;
mod exposition;
#[cfg(test)]
pub(crate) mod fixture;
mod follow;
mod register;
mod routes;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::server::Listener;
use crate::config;
use crate::core::evidence::Evidence;
use crate::core::model::{RouterId, State};
use crate::inventory::{Full, Held, RegistrationError};
use crate::paths::{BoundSocket, PathsError, SocketFile};
use crate::peer::Caller;
use crate::status::{AnomalyDetail, NodeStatus, RouterStatus};
use crate::telemetry::Recent;

/// How long open connections have at the end.
const STOP: Duration = Duration::from_secs(2);

/// What the API shows; the agent's driver implements it. Called on the runtime's threads: answers
/// at once, from a snapshot.
pub trait Board: Send + Sync + 'static {
    /// The node with all its routers, by id.
    fn node(&self) -> NodeStatus;
    /// One router; none when it is not watched.
    fn router(&self, id: RouterId) -> Option<RouterStatusAndEvidence>;
    /// Whether the agent is past its start.
    fn ready(&self) -> bool;
    /// Queues the confirmed state again where it differs from `state`, what neutron-server believes.
    ///
    /// # Errors
    /// See [`CheckError`].
    fn check(&self, id: RouterId, state: State) -> Result<(), CheckError>;
    /// Registers a router by the request's body until the answer is dropped; `uid` and `pid` are
    /// the peer's.
    ///
    /// # Errors
    /// See [`RegisterError`].
    fn register(&self, id: RouterId, body: &[u8], caller: &Caller) -> Result<Held, RegisterError>;
}

/// A router's row and what is seen of it now.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterStatusAndEvidence {
    /// The row.
    pub status: RouterStatus,
    /// What is seen now.
    pub evidence: Evidence,
    /// What its anomalies are about.
    pub details: Vec<AnomalyDetail>,
}

/// Why a check was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No such router here.
    #[error("this router is not watched here")]
    UnknownRouter,
    /// The driver's queue is full.
    #[error("the agent is busy; try again in a second")]
    Busy,
}

/// Why a router was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Its body is not as it should be.
    #[error(transparent)]
    Invalid(#[from] RegistrationError),
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
}

/// The API could not be started.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The socket's path is in use or cannot be bound.
    #[error("admin.socket: {0}")]
    Socket(#[from] PathsError),
    /// The runtime does not take the socket.
    #[error("the admin socket cannot be watched: {0}")]
    Watch(#[source] std::io::Error),
    /// The TCP address cannot be bound.
    #[error("admin.listen {address} cannot be opened: {source}; give another address or port")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// The running API.
#[derive(Debug)]
pub struct Admin {
    stop: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
    connections: TaskTracker,
    /// Removes the socket's name, if it is still ours.
    file: SocketFile,
    listen: Option<std::net::SocketAddr>,
}

impl Admin {
    /// Opens the socket and, if configured, the TCP address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When one of them cannot be opened; nothing is left open then.
    pub fn start(
        config: &config::Admin,
        board: Arc<dyn Board>,
        recent: Recent,
        registry: Arc<Registry>,
        stop: CancellationToken,
    ) -> Result<Self, AdminError> {
        let stop = stop.child_token();
        let tcp = config
            .listen
            .map(|address| server::bind_tcp(address).map_err(|source| AdminError::Listen { address, source }))
            .transpose()?;
        let (unix, file) = BoundSocket::bind(&config.socket, 0o660, None, server::UNIX_BACKLOG)?.into_parts();
        let unix = UnixListener::from_std(unix).map_err(AdminError::Watch)?;
        let connections = TaskTracker::new();
        let api = Arc::new(routes::Api {
            board,
            recent,
            registry,
            stop: stop.clone(),
            tasks: connections.clone(),
            followers: follow::places(),
        });
        let listen = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        let mut listeners = vec![tokio::spawn(server::serve(Listener::Unix(unix), Arc::clone(&api)))];
        listeners.extend(tcp.map(|tcp| tokio::spawn(server::serve(Listener::Tcp(tcp), api))));
        Ok(Self { stop, listeners, connections, file, listen })
    }

    /// The TCP address in use, with the port that the kernel chose where 0 was asked for.
    pub fn listen(&self) -> Option<std::net::SocketAddr> {
        self.listen
    }

    /// Ends all connections, within two seconds, and removes the socket.
    pub async fn stop(self) {
        self.stop.cancel();
        for listener in self.listeners {
            let _ = listener.await;
        }
        self.connections.close();
        if tokio::time::timeout(STOP, self.connections.wait()).await.is_err() {
            tracing::warn!("connections to the admin socket were left open");
        }
        self.file.remove();
    }
}
