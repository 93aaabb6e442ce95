//! One connection of the intake from its first byte to its last, over a socket pair, on a clock that
//! jumps over every wait.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::fixture::{config, directory};
use super::gate::Gate;
use super::limits::Limits;
use super::metrics::Metrics;
use super::server::{Shared, serve};
use super::{Report, fixture};
use crate::core::model::RouterId;
use crate::core::reporter::Naming;
use crate::peer::{Caller, Peer};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// What came of the bytes that a peer sent.
#[derive(Debug)]
pub struct Exchange {
    /// Every byte of the answer, up to the end of the connection.
    pub answer: Vec<u8>,
    /// The reports that were handed on.
    pub reports: Vec<Report>,
    /// The events that were told.
    pub events: Vec<Event>,
}

/// A server with one router and one user, who is the caller.
#[derive(Debug)]
pub struct Trial {
    runtime: Runtime,
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Report>,
    events: mpsc::Receiver<Event>,
}

impl Trial {
    /// `token` is wanted of every request, if it is one.
    ///
    /// # Panics
    /// Without the means for a runtime: this is for tests.
    pub fn new(token: Option<&str>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let mut config = config(std::path::Path::new("/nonexistent"));
        config.token = token.map(str::to_owned);
        let (sender, reports) = mpsc::channel(1024);
        let (emitter, events, _) = Events::channel(1024);
        let shared = Arc::new(Shared {
            limits: Arc::new(Limits::new(&config, None)).into(),
            directory: directory(),
            reports: sender,
            gate: Gate::new(emitter.clone()),
            events: emitter,
            metrics: Metrics::register(&mut Registry::default()),
            stopping: CancellationToken::new(),
        });
        Self { runtime, shared, reports, events }
    }

    /// The one router that is known.
    pub fn router() -> RouterId {
        fixture::router()
    }

    /// Sends the pieces one after the other; then closes its side, or waits until the server does.
    ///
    /// # Panics
    /// Without a socket pair.
    pub fn exchange(&mut self, pieces: &[&[u8]], close: bool) -> Exchange {
        let uid = rustix::process::geteuid().as_raw();
        let peer = Peer { uid, gid: 0, pid: 1 };
        let limits = self.shared.limits.load_full();
        let share = limits.share(peer).expect("the own user may report").clone();
        let caller = Caller { peer, process: Naming::Untold {} };
        let shared = self.shared.clone();
        let answer = self.runtime.block_on(async {
            let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
            let server = tokio::spawn(serve(shared, share, theirs, caller, limits.header_timeout));
            for piece in pieces {
                // The server may have had enough.
                if ours.write_all(piece).await.is_err() {
                    break;
                }
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            }
            if close {
                let _ = ours.shutdown().await;
            }
            let mut answer = Vec::new();
            let _ = ours.read_to_end(&mut answer).await;
            drop(ours);
            server.await.expect("the connection's task ends in order");
            answer
        });
        Exchange {
            answer,
            reports: std::iter::from_fn(|| self.reports.try_recv().ok()).collect(),
            events: std::iter::from_fn(|| self.events.try_recv().ok()).collect(),
        }
    }
}
