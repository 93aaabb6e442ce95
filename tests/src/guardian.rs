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
    /// A network namespace by name, and whatever runs in it.
    Netns(&'a str),
    /// All network namespaces whose names begin so, in which nothing runs: thousands at once.
    Family(&'a str),
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

/// Where traces are noted, before or after they are made.
#[derive(Debug)]
pub struct Notes<'a> {
    pipe: &'a mut ChildStdin,
}

impl Notes<'_> {
    /// Notes something that has to go in the end.
    pub fn note(&mut self, trace: Trace<'_>) {
        self.write(&match trace {
            Trace::Group(id) => format!("group {id}"),
            Trace::Netns(name) => format!("netns {name}"),
            Trace::Family(prefix) => format!("family {prefix}"),
            Trace::Mount(path) => format!("mount {path}"),
            Trace::Folder(path) => format!("folder {path}"),
        });
    }

    fn write(&mut self, line: &str) {
        // The other end lives as long as this one.
        let _ = writeln!(self.pipe, "{line}");
    }
}

/// Reads `kind value` lines until the pipe closes; then processes go first, folders last. No `--`
/// before a group: dash, Debian's sh, takes it for a number and kills nothing.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups= namespaces= families= mounts= folders=
while read -r kind value; do
    case $kind in
        group) groups="$groups $value" ;;
        reaped) kept=; for g in $groups; do [ "$g" = "$value" ] || kept="$kept $g"; done; groups=$kept ;;
        netns) namespaces="$namespaces $value" ;;
        family) families="$families $value" ;;
        mount) mounts="$mounts $value" ;;
        folder) folders="$folders $value" ;;
    esac
done
for g in $groups; do kill -KILL "-$g"; done
for n in $namespaces; do
    [ -e "/run/netns/$n" ] || continue
    for p in $(ip netns pids "$n"); do kill -KILL "$p"; done
    ip netns del "$n"
done
for f in $families; do
    for n in /run/netns/"$f"*; do [ -e "$n" ] && echo "netns del ${n##*/}"; done | ip -force -batch -
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

    /// Makes something while nothing can be cleaned up, so that it is either noted or not made.
    ///
    /// # Errors
    /// When everything has been cleaned up already, or `make` fails.
    pub fn make<T>(&self, make: impl FnOnce(&mut Notes<'_>) -> Result<T>) -> Result<T> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (pipe, _) = process.as_mut().context("everything is cleaned up already")?;
        make(&mut Notes { pipe })
    }

    /// A process group whose leader was reaped is no longer ours to kill.
    pub fn forget(&self, group: u32) {
        let _ = self.make(|notes| {
            notes.write(&format!("reaped {group}"));
            Ok(())
        });
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

#[cfg(test)]
mod tests;
