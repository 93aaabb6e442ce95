//! A file that lines are appended to; opened anew on SIGHUP and when it was moved away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Sink, write_rest};
use crate::telemetry::recent::Record;

/// How often it is looked whether the file still has its name.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct File {
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: fs::File,
    looked: Instant,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Whether the open file is still the one that the path names.
    fn is_current(&self, file: &fs::File) -> bool {
        match (file.metadata(), fs::symlink_metadata(&self.path)) {
            (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
            _ => false,
        }
    }

    /// The folder may be another user's, who could put a link to any file there, or a FIFO to wait in.
    fn open(&self) -> io::Result<Open> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => return Err(no_file()),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(no_file());
        }
        Ok(Open { file, looked: Instant::now() })
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is a link, which is not followed, or no regular file: remove it")
}

impl Sink for File {
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()> {
        // A line that was begun is ended in the same file.
        if *done == 0
            && let Some(open) = &self.open
            && open.looked.elapsed() >= LOOK
        {
            if self.is_current(&open.file) {
                if let Some(open) = &mut self.open {
                    open.looked = Instant::now();
                }
            } else {
                self.open = None;
            }
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.open()?;
                self.open.insert(opened)
            }
        };
        write_rest(&record.line, done, |bytes| open.file.write(bytes))
    }

    fn reopen(&mut self) {
        self.open = None;
    }
}
