//! Programs end with the agent, however that ends: also by SIGKILL, where nobody runs code of its own any more.
//!
//! A shell that waits on a pipe held by us. It is told which process groups run, and when the pipe closes it
//! kills those at once: by then nobody else holds their numbers for them. `PR_SET_PDEATHSIG` reaches only the
//! program itself and nothing that it started, and needs code between fork and exec. A service manager kills what
//! is left as well; in a container without one, or in the foreground, nobody else does.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

/// As other processes see it.
const NAME: &str = "ha-agent-leash";
/// No `--` before a group: dash, Debian's sh, takes it for a number and kills nothing.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=
while read -r word group; do
    case $word in
        hold) groups="$groups $group" ;;
        free) kept=; for g in $groups; do [ "$g" = "$group" ] || kept="$kept $g"; done; groups=$kept ;;
    esac
done
for g in $groups; do kill -KILL "-$g"; done
"#;

/// Process groups that must not outlive the agent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Leash {
    shell: Arc<Mutex<Option<Shell>>>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    /// Taken when it is dropped.
    pipe: Option<ChildStdin>,
}

impl Leash {
    /// Starts the shell where it does not run: before the first program, or after somebody killed it. By a thread
    /// that may start programs, in the agent's own namespace: a router's would live as long as the shell.
    pub(super) fn ready(&self) {
        let mut shell = self.shell();
        if shell.as_mut().is_some_and(|shell| matches!(shell.child.try_wait(), Ok(None))) {
            return;
        }
        match Shell::start() {
            Ok(started) => *shell = Some(started),
            Err(error) => tracing::warn!(%error, "programs that run now would outlive the agent if that were killed"),
        }
    }

    /// From now on the group ends with the agent; what happens between its start and this call is not covered.
    pub(super) fn hold(&self, group: Pid) {
        let held = self.shell().as_mut().map_or(Ok(()), |shell| shell.tell("hold", group));
        if let Err(error) = held {
            tracing::warn!(%error, "a program that runs now would outlive the agent if that were killed");
        }
    }

    /// The group has ended; to be called before its number can be somebody else's.
    pub(super) fn free(&self, group: Pid) {
        if let Some(shell) = &mut *self.shell() {
            let _ = shell.tell("free", group); // Who cannot be told kills nothing.
        }
    }

    /// Nothing that panics happens while it is held.
    fn shell(&self) -> MutexGuard<'_, Option<Shell>> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shell {
    fn start() -> std::io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, NAME])
            .env_clear()
            .current_dir("/")
            // What is sent to the agent's group is not for the one who cleans up after it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = child.stdin.take();
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { child, pipe })
    }

    /// In one piece, without waiting.
    fn tell(&mut self, word: &str, group: Pid) -> std::io::Result<()> {
        let line = format!("{word} {}\n", group.as_raw_nonzero());
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(line.as_bytes()))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
