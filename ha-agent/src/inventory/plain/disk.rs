//! Files of a configuration from the disk, with note of everything that was looked at.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::inventory::keepalived_conf::{FileError, Files};

/// A larger file is no keepalived.conf.
const MAX_BYTES: u64 = 1024 * 1024;
/// What to do where root may not read.
pub(super) const UNREADABLE: &str = "where keepalived may read it, ha-agent lacks CAP_DAC_READ_SEARCH (see \
     CapabilityBoundingSet in its unit), or the file system does not let root read";
/// Files that one include may match.
const MAX_MATCHES: usize = 4096;

/// Reads files as keepalived does: links are followed, what is executable is passed over.
#[derive(Debug, Default)]
pub struct Disk {
    /// Paths and patterns that the configuration depends on.
    pub looked: Vec<PathBuf>,
}

impl Files for Disk {
    fn find(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, FileError> {
        self.looked.push(pattern.to_owned());
        let paths = matches(pattern).map_err(FileError::Unknown)?;
        if paths.is_empty() && !is_wild(pattern.as_os_str()) {
            return Err(FileError::Skipped("it is not there".to_owned()));
        }
        if paths.len() > MAX_MATCHES {
            return Err(FileError::Unknown(format!("it matches more than {MAX_MATCHES} files")));
        }
        Ok(paths)
    }

    fn text(&mut self, path: &Path) -> Result<String, FileError> {
        self.looked.push(path.to_owned());
        let said = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => FileError::Skipped("it is not there".to_owned()),
            ErrorKind::PermissionDenied => FileError::Unknown(format!("{error}; {UNREADABLE}")),
            _ => FileError::Unknown(error.to_string()),
        };
        // Not to wait where it is a FIFO.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(said)?;
        let about = file.metadata().map_err(said)?;
        if !about.is_file() {
            return Err(FileError::Skipped("it is no regular file".to_owned()));
        }
        if about.permissions().mode() & 0o111 != 0 {
            let what = "it is executable, and keepalived passes over such files (chmod a-x)";
            return Err(FileError::Skipped(what.to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(said)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
            return Err(FileError::Unknown(format!("it is larger than {} KiB", MAX_BYTES / 1024)));
        }
        // Bytes that are not UTF-8 may stand in comments; in a value they are an error by themselves.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether a path holds what glob(7) does not take literally.
pub(super) fn is_wild(path: &OsStr) -> bool {
    path.as_bytes().iter().any(|byte| b"*?[{\\".contains(byte))
}

/// What a pattern stands for, sorted, as keepalived asks for it: glob(3) with braces. Not folders.
pub(super) fn matches(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    if !is_wild(pattern.as_os_str()) {
        let there = fs::symlink_metadata(pattern).is_ok();
        return Ok(if there { vec![pattern.to_owned()] } else { Vec::new() });
    }
    let all = glob(pattern)?;
    Ok(all.into_iter().filter(|path| !path.as_os_str().as_bytes().ends_with(b"/")).collect())
}

/// The folders that a pattern stands for.
pub(super) fn folders(pattern: &Path) -> Vec<PathBuf> {
    if !is_wild(pattern.as_os_str()) {
        return vec![pattern.to_owned()];
    }
    let all = glob(pattern).unwrap_or_default();
    all.into_iter().filter(|path| path.as_os_str().as_bytes().ends_with(b"/")).collect()
}

/// glob(3); folders end with a slash.
fn glob(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let pattern = CString::new(pattern.as_os_str().as_bytes()).map_err(|_| "it holds a zero byte".to_owned())?;
    // SAFETY: all zero is a value of this C struct, which glob(3) overwrites.
    let mut found: libc::glob_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pattern ends with a zero, there is no error function, and `found` is valid for writes.
    let result = unsafe { libc::glob(pattern.as_ptr(), libc::GLOB_MARK | libc::GLOB_BRACE, None, &raw mut found) };
    let mut paths = Vec::new();
    if result == 0 {
        // SAFETY: glob(3) succeeded, so that `gl_pathv` holds `gl_pathc` pointers.
        let pointers = unsafe { std::slice::from_raw_parts(found.gl_pathv, found.gl_pathc) };
        for path in pointers.iter().copied() {
            // SAFETY: each of them points to a string that ends with a zero and lives until globfree(3).
            let path = unsafe { CStr::from_ptr(path) };
            paths.push(PathBuf::from(OsStr::from_bytes(path.to_bytes())));
        }
    }
    // SAFETY: initialised above, and used no more.
    unsafe { libc::globfree(&raw mut found) };
    match result {
        0 | libc::GLOB_NOMATCH => Ok(paths),
        libc::GLOB_NOSPACE => Err("it matches too much".to_owned()),
        _ => Err("its folders cannot be read".to_owned()),
    }
}
