//! Gathers facts about the machine; judges none.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aya::programs::ProgramType;
use aya::sys::is_program_supported;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::fs::{Access, access, statfs};
use rustix::process::{Resource, getrlimit};

use crate::config::{Accounts, Keepalived};
use crate::delivery;
use crate::inventory::keepalived_conf;
use crate::inventory::plain::Disk;
use crate::trust::{CANNOT_LOOK, is_hidden};

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of `linux/magic.h`.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// A directory that the agent will use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// There, and writable.
    Writable { in_memory: bool },
    /// Not there, but what is above it is writable.
    Creatable,
    /// Neither.
    Unusable(String),
    /// The calling user, who is not root, may not look at it or write there.
    Hidden,
}

/// The L3 agent's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SocketFact {
    /// Nothing there.
    Absent,
    /// Something there that is no socket.
    NotASocket,
    /// A socket.
    There { uid: u32, listening: bool },
    /// A link on the way that delivery does not follow.
    Link(String),
    /// Cannot be looked at.
    Hidden(String),
}

/// `CapEff` of this process.
pub(super) fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

pub(super) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a trivial classifier can be loaded.
pub(super) fn bpf() -> Result<bool, String> {
    is_program_supported(ProgramType::SchedClassifier).map_err(|error| chain(&error))
}

pub(super) fn listens_to_all_namespaces() -> Result<(), String> {
    Socket::new(NETLINK_ROUTE)
        .and_then(|socket| socket.set_listen_all_namespaces(true))
        .map_err(|error| error.to_string())
}

/// Soft and hard limit; none: without limit.
pub(super) fn descriptors() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

pub(super) fn directory(path: &Path) -> Directory {
    match looked_at(path) {
        // What root may do there is not known.
        Directory::Unusable(_) if !rustix::process::geteuid().is_root() && !is_no_directory(path) => Directory::Hidden,
        found => found,
    }
}

fn is_no_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_dir())
}

fn looked_at(path: &Path) -> Directory {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Directory::Unusable("it is not a directory".to_owned()),
        Ok(_) => match access(path, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Directory::Writable {
                in_memory: statfs(path)
                    .is_ok_and(|found| IN_MEMORY.iter().any(|magic| i128::from(*magic) == i128::from(found.f_type))),
            },
            Err(error) => Directory::Unusable(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|above| above.exists());
            match above.map(|above| access(above, Access::WRITE_OK | Access::EXEC_OK)) {
                Some(Ok(())) => Directory::Creatable,
                Some(Err(error)) => Directory::Unusable(format!("it cannot be created: {error}")),
                None => Directory::Unusable("it cannot be created".to_owned()),
            }
        }
        Err(error) => Directory::Unusable(error.to_string()),
    }
}

pub(super) fn socket(path: &Path) -> SocketFact {
    if let Some(why) = delivery::refused_way(path) {
        return SocketFact::Link(why);
    }
    match fs::metadata(path) {
        Ok(found) if found.file_type().is_socket() => SocketFact::There {
            uid: found.uid(),
            listening: listening(&fs::read_to_string("/proc/net/unix").unwrap_or_default(), path),
        },
        Ok(_) => SocketFact::NotASocket,
        Err(error) if error.kind() == io::ErrorKind::NotFound => SocketFact::Absent,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => SocketFact::Hidden(CANNOT_LOOK.to_owned()),
        Err(error) => SocketFact::Hidden(format!("cannot be looked at: {error}")),
    }
}

/// Whether the kernel's list has a listening socket of this path. The L3 agent is not connected to:
/// it would take an empty connection for a broken request.
pub(super) fn listening(list: &str, path: &Path) -> bool {
    // Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 is `SO_ACCEPTCON`.
    list.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(3);
        let accepts = fields
            .next()
            .and_then(|flags| u32::from_str_radix(flags, 16).ok())
            .is_some_and(|flags| flags & 0x1_0000 != 0);
        accepts && fields.nth(3).is_some_and(|bound| Path::new(bound) == path)
    })
}

/// Whether an agent answers; nothing is sent. None: this user may not ask.
pub(super) fn answers(path: &Path) -> Option<bool> {
    match UnixStream::connect(path) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(_) => Some(false),
    }
}

/// Routers in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many.
    These(usize),
    /// It is not there.
    Absent,
    /// This user may not look.
    Hidden,
}

/// How many routers a directory has.
pub(super) fn count(path: &Path) -> Found {
    match fs::read_dir(path) {
        Ok(entries) => {
            Found::These(entries.flatten().filter(|entry| entry.path().join("keepalived.conf").exists()).count())
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Hidden,
        Err(_) => Found::Absent,
    }
}

/// Whether there is anything of Neutron's: its folder, or its user.
pub(super) fn neutron(state_path: &Path) -> bool {
    Accounts::local().uid("neutron").is_some() || fs::symlink_metadata(state_path).is_ok() || is_hidden(state_path)
}

/// What a plain keepalived's files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plain {
    /// Instances that are understood.
    pub(super) instances: usize,
    /// What is not, with file and line.
    pub(super) troubles: Vec<String>,
}

/// Reads a plain keepalived's files; one that is not there says nothing.
pub(super) fn plain(settings: &Keepalived) -> Plain {
    let mut plain = Plain::default();
    for path in settings.configs.iter().filter(|path| is_hidden(path)) {
        plain.troubles.push(format!("{}: {CANNOT_LOOK}", path.display()));
    }
    for path in settings.configs.iter().filter(|path| path.exists()) {
        let reading =
            keepalived_conf::read(path, &settings.config_id, settings.installed.release, &mut Disk::default());
        plain.instances += reading.instances.len();
        plain.troubles.extend(reading.troubles.iter().map(|trouble| trouble.error.to_string()));
    }
    plain
}

/// Where keepalived is, and what it says of its version.
pub(super) fn keepalived() -> Option<(PathBuf, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("keepalived"))
        .find(|file| access(file, Access::EXEC_OK).is_ok())?;
    let said = Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map(|output| {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
        })
        .unwrap_or_default();
    Some((program, said))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
