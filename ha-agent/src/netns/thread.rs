//! The one thread that enters namespaces.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::Netns;
use crate::privilege::{self, Role};

/// Commands that wait at once; a caller beyond that waits for room.
const QUEUE: usize = 64;

/// Opened fresh each time: a thread that has exited leaves no namespace behind.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is no file of that name: the namespace is not there (yet, or any more).
    #[error("network namespace {path} does not exist; it is waited for")]
    Missing {
        /// The namespace's file.
        path: PathBuf,
    },
    /// The file is something else, or a namespace that has been unmounted.
    #[error("{path} is not a network namespace; check the router's `netns`")]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// `setns(2)` needs a capability.
    #[error("not allowed to enter network namespace {path}; the agent needs CAP_SYS_ADMIN")]
    NotPermitted {
        /// The namespace's file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot enter network namespace {path}: {error}")]
    Io {
        /// The namespace's file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the namespace thread: {0}")]
    Spawn(io::Error),
    /// The thread has ended: the agent is stopping, or a command panicked.
    #[error("the namespace thread has ended")]
    Gone,
}

type Command = Box<dyn FnOnce(&Entrance) + Send>;

/// A handle to the thread. Clones share it; the thread ends with [`NetnsThread::stop`], with its
/// token, or with the last handle.
#[derive(Clone, Debug)]
pub struct NetnsThread {
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl NetnsThread {
    /// Starts the thread. When `stop` is cancelled it runs what is queued and ends; the owner cancels
    /// it last, since detaching needs the thread.
    ///
    /// # Errors
    /// [`NetnsError::Spawn`].
    pub fn spawn(stop: CancellationToken) -> Result<Self, NetnsError> {
        Self::spawn_as(Role::Netns, stop)
    }

    /// As [`NetnsThread::spawn`], in another role: for what starts programs in namespaces.
    ///
    /// # Errors
    /// [`NetnsError::Spawn`].
    pub fn spawn_as(role: Role, stop: CancellationToken) -> Result<Self, NetnsError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let stop = stop.child_token();
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(NetnsError::Spawn)?;
        let until = stop.clone();
        let thread = thread::Builder::new()
            .name(role.thread_name().to_owned())
            .spawn(move || {
                privilege::enter(role);
                match Entrance::open() {
                    Ok(entrance) => runtime.block_on(serve(&entrance, queue, until)),
                    Err(error) => {
                        tracing::error!(%error, "cannot open the agent's own network namespace");
                    }
                }
            })
            .map_err(NetnsError::Spawn)?;
        Ok(Self { commands, stop, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Runs `f` on the thread, in `netns`, and returns what it gives.
    ///
    /// The namespace's file is opened for this one call and closed before `f` runs: nothing of the
    /// agent keeps the namespace alive except what `f` opens and returns.
    ///
    /// # Errors
    /// Any [`NetnsError`] but `Spawn`; then `f` has not run.
    pub async fn run_in<T: Send + 'static>(
        &self,
        netns: Netns,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |entrance| {
            // A caller that has gone away wants nothing done.
            if !answer.is_closed() {
                // It may go away meanwhile; then the result is dropped here.
                drop(answer.send(entrance.run(&netns, f)));
            }
        });
        self.commands.send(command).await.map_err(|_| NetnsError::Gone)?;
        answered.await.map_err(|_| NetnsError::Gone)?
    }

    /// Runs what is queued, ends the thread and waits for it.
    pub async fn stop(self) {
        self.stop.cancel();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::warn!("the namespace thread panicked");
            }
        }
    }
}

async fn serve(entrance: &Entrance, mut queue: mpsc::Receiver<Command>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            command = queue.recv() => match command {
                Some(command) => command(entrance),
                None => return,
            },
            () = stop.cancelled() => {
                queue.close();
                while let Some(command) = queue.recv().await {
                    command(entrance);
                }
                return;
            }
        }
    }
}

/// The thread's way out and back.
struct Entrance {
    own: File,
}

impl Entrance {
    fn open() -> io::Result<Self> {
        File::open(OWN).map(|own| Self { own })
    }

    fn run<T>(&self, netns: &Netns, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
        let Netns::Path(path) = netns else {
            return Ok(f());
        };
        enter(path)?;
        let _home = Home { own: &self.own };
        Ok(f())
    }
}

/// Goes back to the agent's own namespace, also when a command panics.
struct Home<'a> {
    own: &'a File,
}

impl Drop for Home<'_> {
    fn drop(&mut self) {
        // The descriptor is the agent's own namespace and the capability was there a moment ago. A
        // thread in the wrong namespace must not go on.
        move_into_link_name_space(self.own.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the thread can go back to its own namespace");
    }
}

fn enter(path: &Path) -> Result<(), NetnsError> {
    let path = path.to_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound => NetnsError::Missing { path },
                io::ErrorKind::PermissionDenied => NetnsError::NotPermitted { path },
                _ => NetnsError::Io { path, error },
            });
        }
    };
    match move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL) => Err(NetnsError::NotANamespace { path }),
        Err(Errno::PERM) => Err(NetnsError::NotPermitted { path }),
        Err(error) => Err(NetnsError::Io { path, error: error.into() }),
    }
}

#[cfg(test)]
mod tests;
