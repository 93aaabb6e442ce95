//! The log file: a line for each change, in the form of the monitor of release 29.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat, renameat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::places::StatePath;

/// Where lines go; nowhere when the file cannot be opened.
#[derive(Debug)]
pub(crate) struct Log {
    path: Option<PathBuf>,
    state_path: Rc<StatePath>,
    router: String,
    file: Option<File>,
}

impl Log {
    /// Opens the file; one that cannot be opened is tried again on SIGHUP.
    pub(crate) fn open(path: Option<&Path>, state_path: Rc<StatePath>, router: &str) -> Self {
        let mut log = Self { path: path.map(Path::to_owned), state_path, router: router.to_owned(), file: None };
        log.reopen();
        log
    }

    /// After the file was moved away. What was open stays where there is nothing new to open.
    pub(crate) fn reopen(&mut self) {
        let opened = self.path.as_deref().and_then(|path| open_file(&self.state_path, path));
        self.file = opened.or(self.file.take());
    }

    pub(crate) fn info(&mut self, what: &str) {
        self.line("INFO", what);
    }

    pub(crate) fn error(&mut self, what: &str) {
        self.line("ERROR", what);
    }

    fn line(&mut self, level: &str, what: &str) {
        let Some(file) = &mut self.file else { return };
        let pid = rustix::process::getpid().as_raw_nonzero();
        let plain: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // One write: release 29 may have all routers write to one file.
        let line = format!("{} {level} {pid} {}: {plain}\n", now(), self.router);
        let _ = file.write_all(line.as_bytes());
    }
}

/// A file of one name below `state_path`; no link is followed.
fn open_file(state_path: &StatePath, path: &Path) -> Option<File> {
    let (folder, name) = state_path.open(path).ok()?;
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = match openat(&folder, &name, flags, mode) {
        // Root's, of Neutron's own monitor: what it said stays beside ours.
        Err(Errno::ACCESS) => {
            let mut old = name.clone();
            old.push(".old");
            renameat(&folder, &name, &folder, old).ok()?;
            openat(&folder, &name, flags, mode).ok()?
        }
        opened => opened.ok()?,
    };
    let stat = fstat(&file).ok()?;
    let one = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
    one.then(|| file.into())
}

/// UTC, RFC 3339 with milliseconds.
fn now() -> String {
    let now = clock_gettime(ClockId::Realtime);
    format_time(now.tv_sec, now.tv_nsec)
}

/// Days to a date as in the proleptic Gregorian calendar, years counted from March.
fn format_time(seconds: i64, nanoseconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    format!(
        "{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        year + era * 400 + i64::from(month <= 2),
        of_year - (153 * march + 2) / 5 + 1,
        second / 3_600,
        second / 60 % 60,
        second % 60,
        nanoseconds / 1_000_000
    )
}

#[cfg(test)]
mod tests;
