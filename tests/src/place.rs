//! Work inside a network namespace: by a thread of its own, which never comes back.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves this thread into a namespace, for good.
///
/// # Errors
/// When there is no such namespace.
pub fn enter(netns: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(netns);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering {}", path.display()))
}

/// Does something in a namespace, such as opening a socket that stays there.
///
/// # Errors
/// When there is no such namespace, or what it does fails.
pub fn within<T: Send>(netns: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let done = scope.spawn(|| enter(netns).and_then(|()| act())).join();
        done.map_err(|_| anyhow!("the thread in {netns} panicked"))?
    })
}
