//! A thread of its own for one async task.

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Role, enter};

/// Runs `work` on a new thread in this role. It should hand nothing to `spawn_blocking`: a thread that
/// this one makes keeps its bounding set, though it becomes a [`Role::Worker`] else. The thread ends with `work`; the handle then too. Must be called within a tokio
/// runtime.
///
/// # Errors
/// When the thread cannot be started.
pub fn host(role: Role, work: impl Future<Output = ()> + Send + 'static) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_name(Role::Worker.thread_name())
        .on_thread_start(|| enter(Role::Worker))
        .build()?;
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name(role.thread_name().to_owned()).spawn(move || {
        enter(role);
        runtime.block_on(work);
        let _ = end.send(());
    })?;
    Ok(tokio::spawn(async move {
        if ended.await.is_err() {
            tracing::error!(thread = role.thread_name(), "a thread ended badly");
        }
    }))
}
