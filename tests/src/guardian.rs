//! Cleans up after a lab, however it ends: by Drop, by a panic, by Ctrl-C, by SIGKILL.
//!
//! It is a shell that waits on a pipe held by us. It is told what is made, and when the pipe closes,
//! because we closed it or because we died, it removes all of that.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Something that has to go in the end.
#[derive(Clone, Copy, Debug)]
pub enum Trace<'a> {
    /// A process group, by its id.
    Group(u32),
    /// A process group whose leader we have reaped: its id may belong to someone else by now.
    Reaped(u32),
    /// A network namespace by name, and whatever runs in it.
    Netns(&'a str),
    /// A mount point.
    Mount(&'a str),
    /// A folder with all that is in it.
    Folder(&'a str),
}

/// The process that cleans up.
#[derive(Debug)]
pub struct Guardian {
    process: Mutex<Option<(ChildStdin, Child)>>,
}

/// Reads `kind value` lines until the pipe closes; then processes go first, folders last.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups= namespaces= mounts= folders=
while read -r kind value; do
    case $kind in
        group) groups="$groups $value" ;;
        reaped) kept=; for g in $groups; do [ "$g" = "$value" ] || kept="$kept $g"; done; groups=$kept ;;
        netns) namespaces="$namespaces $value" ;;
        mount) mounts="$mounts $value" ;;
        folder) folders="$folders $value" ;;
    esac
done
for g in $groups; do kill -KILL -- "-$g"; done
for n in $namespaces; do
    [ -e "/run/netns/$n" ] || continue
    for p in $(ip netns pids "$n"); do kill -KILL "$p"; done
    ip netns del "$n"
done
for m in $mounts; do umount -l "$m"; done
for f in $folders; do rm -rf "$f"; done
"#;

impl Guardian {
    /// Starts one.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start() -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            // Ctrl-C is for us, not for the one who cleans up after us.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting sh, which cleans up in the end")?;
        let pipe = child.stdin.take().context("the pipe to sh")?;
        Ok(Self { process: Mutex::new(Some((pipe, child))) })
    }

    /// Notes something that was made, or is about to be.
    pub fn note(&self, trace: Trace<'_>) {
        let line = match trace {
            Trace::Group(id) => format!("group {id}\n"),
            Trace::Reaped(id) => format!("reaped {id}\n"),
            Trace::Netns(name) => format!("netns {name}\n"),
            Trace::Mount(path) => format!("mount {path}\n"),
            Trace::Folder(path) => format!("folder {path}\n"),
        };
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((pipe, _)) = process.as_mut() {
            let _ = pipe.write_all(line.as_bytes());
        }
    }

    /// Removes all that was noted, and returns when that is done. Later calls do nothing.
    pub fn clean_up(&self) {
        let taken = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((pipe, mut child)) = taken {
            drop(pipe);
            let _ = child.wait();
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.clean_up();
    }
}
