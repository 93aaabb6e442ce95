//! What the driver must not wait for: looking into a namespace for who listens for adverts.
//!
//! One task with a [`Mailbox`]; the driver never waits for it, so it may wait for the driver.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::mailbox::Mailbox;
use crate::config::Netns;
use crate::core::model::{Listener, RouterId};
use crate::netns::{NetnsThread, listener};

/// What was found; none where nothing can be told.
#[derive(Debug)]
pub(super) struct Looked {
    /// The router.
    pub(super) router: RouterId,
    /// Who listens in its namespace.
    pub(super) listener: Option<Listener>,
}

/// By then a keepalived that runs has read an advert that just came.
const READ_BY: Duration = Duration::from_millis(50);

async fn look(netns: &NetnsThread, place: &Netns) -> Option<Listener> {
    match netns.run_in(place.clone(), listener::read).await {
        Ok(Ok(lists)) => Some(lists.listener()),
        Ok(Err(error)) => {
            debug!(netns = %place, %error, "the namespace's sockets cannot be read");
            None
        }
        Err(error) => {
            debug!(netns = %place, %error, "the namespace's sockets were not looked at");
            None
        }
    }
}

/// Looks into one namespace after the other, until `stop`.
pub(super) fn run(
    places: Mailbox<Netns>,
    netns: NetnsThread,
    looked: mpsc::Sender<Looked>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (router, place) = tokio::select! {
                () = stop.cancelled() => return,
                place = places.next() => place,
            };
            let mut listener = look(&netns, &place).await;
            if listener == Some(Listener::Stalled) {
                tokio::time::sleep(READ_BY).await;
                listener = look(&netns, &place).await;
            }
            if looked.send(Looked { router, listener }).await.is_err() {
                return;
            }
        }
    })
}
