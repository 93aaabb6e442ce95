//! A router's folder below `ha_confs`, which its owner could exchange for a link at any time.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// Opens the folder; neither it nor `ha_confs` above it may be a link. Above that is the operator's own
/// ground.
///
/// # Errors
/// What the kernel says, `ELOOP` or `ENOTDIR` for a link.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (above, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let above = openat(CWD, above, flags, Mode::empty())?;
    openat(&above, name, flags, Mode::empty())
}
