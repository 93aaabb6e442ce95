//! What is kept of root: uid 0 towards the agent, and no capability.
//!
//! The L3 agent passes `--user` and `--group`, which anybody who may start us could choose. So files are opened with
//! the rights of the user whose folder `state_path` is, and what that user cannot write we cannot either. The
//! connection is made as root: the admin socket is root's, so that whoever may report cannot register.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Gives up every capability but the two by which another user's rights are taken. Not being root is no error:
/// there is nothing to give up then.
///
/// # Errors
/// The kernel's: root must not go on with more.
pub(crate) fn drop_most() -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    set_no_new_privs(true)?;
    keep(CapabilitySet::SETUID | CapabilitySet::SETGID)
}

fn keep(kept: CapabilitySet) -> io::Result<()> {
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// With whose rights files are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    /// None: we are not root, and have our own.
    owner: Option<Uid>,
}

impl Rights {
    /// Files are opened as this user from now on; every capability is gone.
    ///
    /// # Errors
    /// The kernel's: root must not go on with its own rights.
    pub(crate) fn take((uid, gid): (Uid, Gid)) -> io::Result<Self> {
        if !is_root() {
            return Ok(Self { owner: None });
        }
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        // The saved one lets the file system's be changed both ways without a capability.
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, uid)?;
        keep(CapabilitySet::empty())?;
        open_files_as(uid)?;
        Ok(Self { owner: Some(uid) })
    }

    /// As root, without a capability: for what is root's own.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn as_root<T>(self, act: impl FnOnce() -> T) -> io::Result<T> {
        let Some(owner) = self.owner else { return Ok(act()) };
        open_files_as(Uid::ROOT)?;
        let done = act();
        open_files_as(owner)?;
        Ok(done)
    }
}

fn open_files_as(uid: Uid) -> io::Result<()> {
    // SAFETY: it takes a number and touches no memory of ours.
    unsafe { libc::setfsuid(uid.as_raw()) };
    // It has no way to fail but to change nothing; asked with a uid that none has, it tells the present one.
    // SAFETY: as above.
    let now = unsafe { libc::setfsuid(u32::MAX) };
    if u32::try_from(now) == Ok(uid.as_raw()) { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}
