//! Routers found through Neutron's files: `<ha_confs>/<router>/keepalived.conf`, watched by inotify
//! as folders and files appear, change and go.
//!
//! - `folders`: which folders changed.
//! - `due`: when a changed file is looked at.
//! - `conf_file`: a file → an instance → a router.
//! - `task`: joins them, and remembers what it told.
//!
//! A folder whose name is no UUID is none of ours; symbolic links are not followed; a file that
//! cannot be read is named once (`channel.degraded`, channel `inventory`, with file and line), what
//! was known of its router stays, and it is looked at again when it changes.

mod conf_file;
mod due;
mod folders;
mod metrics;
mod task;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use conf_file::{Unread, fetch, gateways};
pub use metrics::Metrics;

use super::MOST_ROUTERS;
use crate::advert_rules::Release;
use crate::config::Router;
use crate::core::model::RouterId;
use crate::privilege::{Role, host};
use crate::telemetry::Events;
use task::Task;

/// How long a `ha_confs` that is not there may still be mounted. Then this node has none.
const GRACE: Duration = Duration::from_secs(300);
/// How often changes are looked for that inotify cannot tell.
const POLL: Duration = Duration::from_secs(10);
/// Where namespaces have their names.
const NETNS: &str = "/run/netns";

/// What is found. Only changes are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// A router is there, or is another than was told before.
    Found(Box<Router>),
    /// It is no longer in a configuration that can be read, or its file, which held nothing else, is gone.
    Gone(RouterId),
    /// The plain keepalived's file that it stood in is gone as a whole: what keepalived took from it may well
    /// run on.
    Lost(RouterId),
    /// What keeps routers from being found, as in `channel.degraded`; told for `status`.
    Trouble {
        /// Whose file it is; none: it concerns several, or all.
        router: Option<RouterId>,
        /// The plain keepalived's file that it is about; none: Neutron's.
        file: Option<PathBuf>,
        /// In words; none: it is over.
        reason: Option<String>,
    },
    /// All that there is has been told: what was known before a restart and was not told is gone, or its
    /// file is broken (`Trouble`). Once by each search: `ha_confs` when it could be read, or was not
    /// there for five minutes.
    Complete(Search),
}

/// Who looks for routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// [`HaConfs`], in Neutron's files.
    HaConfs,
    /// [`super::Plain`], in a plain keepalived's.
    Keepalived,
}

/// Why routers cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// No inotify instance is to be had.
    #[error("cannot open inotify: {source}; raise fs.inotify.max_user_instances")]
    Open {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The thread that opens files cannot be started.
    #[error("cannot start the inventory thread: {source}")]
    Thread {
        /// The system's answer.
        source: io::Error,
    },
    /// The folder cannot be waited for.
    #[error("cannot watch for {}: {source}; check neutron.ha_confs_path", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The discovery through Neutron's files.
#[derive(Clone, Copy, Debug)]
pub struct HaConfs;

impl HaConfs {
    /// Starts the task on a thread of its own, which ends when `stop` is cancelled or the receiver of `found` is dropped.
    /// `path` need not exist: it is waited for. Must be called within a tokio runtime. `release` is whose
    /// rules the files are read by; when it changes, all of them are read again.
    ///
    /// While `found` is full the task waits; changes then wait in the kernel, and when that drops
    /// some, everything is looked at again.
    ///
    /// # Errors
    /// [`InventoryError`].
    pub fn start(
        path: &Path,
        release: watch::Receiver<Release>,
        found: mpsc::Sender<Discovery>,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, InventoryError> {
        Self::start_at(path, (Path::new(NETNS), GRACE, MOST_ROUTERS), release, found, events, registry, stop)
    }

    /// As [`HaConfs::start`], with namespaces' names elsewhere, another grace, and other room.
    fn start_at(
        path: &Path,
        (netns, grace, most): (&Path, Duration, usize),
        release: watch::Receiver<Release>,
        found: mpsc::Sender<Discovery>,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<JoinHandle<()>, InventoryError> {
        let task = Task::open(path, (netns, grace, most), release, found, events, registry)?;
        host(Role::Inventory, async move {
            // Ended by `stop`, or because nobody listens any more.
            let _ = stop.run_until_cancelled(task.run()).await;
        })
        .map_err(|source| InventoryError::Thread { source })
    }
}
