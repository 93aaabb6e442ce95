//! Threads of their own for async tasks.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Role, enter};

/// A runtime on a thread in a role. Its blocking threads have the same one: they are made by that thread, so
/// that they begin with what it has, and take the role once more.
#[derive(Debug)]
pub struct Host {
    runtime: Handle,
    thread: JoinHandle<()>,
    _until: DropGuard,
}

impl Host {
    /// Starts the thread, which ends with [`Host::stop`] or when this is dropped. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(role: Role) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let until = stop.clone().drop_guard();
        let (runtime, thread) = run(role, async move { stop.cancelled().await })?;
        Ok(Self { runtime, thread, _until: until })
    }

    /// What `start` spawns runs on the thread.
    pub fn within<T>(&self, start: impl FnOnce() -> T) -> T {
        let _within = self.runtime.enter();
        start()
    }

    /// Ends the thread; what still runs on it is dropped.
    pub async fn stop(self) {
        let Self { thread, _until, .. } = self;
        drop(_until);
        let _ = thread.await;
    }
}

/// Runs `work` on a new thread in this role. The thread ends with `work`; the handle then too. Must be
/// called within a tokio runtime.
///
/// # Errors
/// When the thread cannot be started.
pub fn host(role: Role, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    run(role, work).map(|(_, thread)| thread)
}

fn run(role: Role, work: impl Future<Output = ()> + Send + 'static) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_name(role.thread_name())
        .on_thread_start(move || enter(role))
        .build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name(role.thread_name().to_owned()).spawn(move || {
        enter(role);
        runtime.block_on(work);
        // A program or a disk that hangs must not keep whoever waits for the end.
        runtime.shutdown_background();
        let _ = end.send(());
    })?;
    let thread = tokio::spawn(async move {
        if ended.await.is_err() {
            tracing::error!(thread = role.thread_name(), "a thread ended badly");
        }
    });
    Ok((handle, thread))
}
