//! One agent per runtime directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FlockOperation};
use rustix::io::Errno;

use super::{PathsError, open_directory};

/// An exclusive `flock(2)` on the runtime directory itself, held until dropped.
///
/// Of the directory and not of a file in it: there is nothing that could be removed to take the
/// lock away, nothing stale after a crash (the kernel lets go of it with the last descriptor), and
/// nothing to clean up. An abstract socket would do as well but for two things: any user may squat
/// its name, and it is per network namespace.
#[derive(Debug)]
pub struct Lock {
    dir: OwnedFd,
}

impl Lock {
    /// Takes the lock, or says who has it. The directory must exist: [`super::prepare`] it first.
    pub fn take(runtime_dir: &Path) -> Result<Self, PathsError> {
        let dir = open_directory(&runtime_dir.components().collect::<std::path::PathBuf>())?;
        match fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir }),
            Err(Errno::WOULDBLOCK) => {
                Err(PathsError::AlreadyRunning { dir: runtime_dir.to_owned(), pid: holder(&dir) })
            }
            Err(e) => Err(PathsError::io("lock", runtime_dir, e)),
        }
    }
}

impl AsFd for Lock {
    /// The directory, for `*at` calls that must stay in what was locked.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Who holds the directory, from `/proc/locks`; none when it lives in another pid namespace, or
/// where the file system shows other device numbers there than in `stat`.
fn holder(dir: &OwnedFd) -> Option<i32> {
    let stat = fs::fstat(dir).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    find_holder(&locks, fs::major(stat.st_dev), fs::minor(stat.st_dev), stat.st_ino)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 1234 00:2a:5678 0 EOF`; those who wait have `->` after the
/// number.
pub(super) fn find_holder(locks: &str, major: u32, minor: u32, inode: u64) -> Option<i32> {
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == "FLOCK").then_some(())?;
        let pid = words.nth(2)?;
        (words.next()? == wanted).then_some(())?;
        pid.parse().ok().filter(|pid| *pid > 0)
    })
}
