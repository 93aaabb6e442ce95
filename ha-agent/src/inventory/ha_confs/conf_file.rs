//! One router's keepalived.conf, read with the distrust that root owes to files of others.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::advert_rules::Release;
use crate::config::{Netns, Router};
use crate::core::model::RouterId;
use crate::inventory::keepalived_conf::{self, Gateway, Instance, read_text};

/// The file's name in a router's folder.
pub(super) const NAME: &str = "keepalived.conf";
/// A file that is larger is no router's: Neutron writes some hundred bytes per address.
pub(super) const MAX_BYTES: u64 = 256 * 1024;

/// A file's bytes, to be read where nothing is at stake.
#[derive(Debug)]
pub struct Unread {
    path: PathBuf,
    text: io::Result<Option<Vec<u8>>>,
}

/// Fetches a router's file; understands nothing of it.
pub fn fetch(folder: &Path) -> Unread {
    Unread { path: folder.join(NAME), text: bytes(folder) }
}

/// Reads the instance that Neutron wrote, the first one, as this release does; none where folder or file is not there, or
/// the folder is no folder.
///
/// # Errors
/// What is wrong with the file, in words, beginning with its path.
pub(super) fn read(Unread { path, text }: Unread, release: Release) -> Result<Option<Instance>, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let text = match text {
        // Bytes that are not UTF-8 may stand in comments; in a value they are an error by themselves.
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(None) => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let reading = read_text(&text, &path.display().to_string(), release);
    if let Some(error) = reading.failure() {
        return Err(error.to_string());
    }
    for trouble in &reading.troubles {
        tracing::warn!("{}", trouble.error);
    }
    match reading.instances.into_iter().next() {
        Some(instance) => Ok(Some(instance)),
        None => Err(failed(&"expected a vrrp_instance, found none")),
    }
}

/// The gateway devices that the file names now; none where there is no file.
///
/// # Errors
/// What is wrong with the file, in words, beginning with its path.
pub fn gateways(Unread { path, text }: Unread) -> Result<Vec<Gateway>, String> {
    let shown = path.display().to_string();
    match text {
        Ok(Some(bytes)) => {
            let text = String::from_utf8_lossy(&bytes);
            keepalived_conf::gateways(&text, &shown).map_err(|error| error.to_string())
        }
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn bytes(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    let there = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match openat(CWD, folder, there, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Not to wait where it is a FIFO.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&folder, NAME, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(io::Error::other("expected a file, found a symbolic link, which is not followed"));
        }
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::other(format!("is larger than {} KiB and not read", MAX_BYTES / 1024)));
    }
    Ok(Some(bytes))
}

/// The router that the instance is for.
pub(super) fn router(id: RouterId, instance: &Instance, netns: PathBuf) -> Router {
    Router {
        id,
        netns: Netns::Path(netns),
        vip: instance.vip,
        prefix: instance.prefix,
        vip_interface: instance.vip_interface.clone(),
        further: instance.further(),
        interface: instance.interface.clone(),
        vrid: instance.vrid,
        advert_interval: instance.advert_interval,
        fifo_instance: None,
        password: instance.rules.password(),
        rules: instance.rules.clone(),
    }
}
