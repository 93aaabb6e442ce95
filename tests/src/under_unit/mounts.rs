//! What of a unit becomes a mount namespace: `ProtectSystem=` and its kin.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_change, mount_remount,
    move_mount, open_tree,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::settings::Settings;

/// Left alone by `ProtectSystem=strict`.
const APIS: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Neutron's files where the unit expects them.
const NEUTRON: &str = "/var/lib/neutron";
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Gives this process a mount namespace (and others) as the unit says. What is in `keep` stays, and can be written
/// when it is a directory; but not `neutron` in it, unless Neutron's files can.
pub(crate) fn apply(settings: &Settings, keep: &[PathBuf], neutron: Option<&Path>) -> Result<()> {
    let mut spaces = UnshareFlags::NEWNS;
    if settings.yes("PrivateIPC")? {
        spaces |= UnshareFlags::NEWIPC;
    }
    if settings.yes("ProtectHostname")? {
        spaces |= UnshareFlags::NEWUTS;
    }
    // SAFETY: this process has one thread, and no descriptor table is parted.
    unsafe { unshare_unsafe(spaces) }.context("unsharing")?;
    // As PrivateMounts does it: what the host mounts or unmounts later is mounted or unmounted here.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;

    // Taken before they are hidden.
    let kept: Vec<_> = keep
        .iter()
        .map(|path| {
            let tree = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
            Ok((path, path.is_dir(), tree.with_context(|| format!("keeping {}", path.display()))?))
        })
        .collect::<Result<_>>()?;

    if settings.yes("PrivateTmp")? {
        hide(&["/tmp", "/var/tmp"])?;
    }
    if settings.yes("ProtectHome")? {
        hide(&["/home", "/root", "/run/user"])?;
    }
    if settings.yes("ProtectKernelModules")? {
        hide(&["/usr/lib/modules"])?;
    }
    for (path, is_directory, tree) in &kept {
        if !path.exists() {
            let folder = if *is_directory { Some(path.as_path()) } else { path.parent() };
            std::fs::create_dir_all(folder.context("a folder")?)?;
            if !is_directory {
                std::fs::write(path, "")?;
            }
        }
        move_mount(tree, "", CWD, path.as_path(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .with_context(|| format!("keeping {}", path.display()))?;
    }
    let writable = writable(settings)?;
    for path in &writable {
        mount_bind(path, path).with_context(|| format!("binding {}", path.display()))?;
    }
    let but: Vec<&Path> =
        kept.iter().map(|(path, ..)| path.as_path()).chain(writable.iter().map(PathBuf::as_path)).collect();
    match settings.get("ProtectSystem") {
        Some("strict") => everything_read_only(&but)?,
        other => bail!("ProtectSystem={other:?} is not translated"),
    }
    if let Some(path) = neutron.filter(|_| !words(settings).any(|word| word.trim_start_matches('-') == NEUTRON)) {
        mount_bind(path, path).with_context(|| format!("binding {}", path.display()))?;
        read_only(path)?;
    }
    if settings.yes("PrivateDevices")? {
        devices()?;
    }
    match settings.get("ProtectProc") {
        Some("invisible") => {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("proc", "/proc", "proc", flags, Some(c"hidepid=invisible"))?;
        }
        other => bail!("ProtectProc={other:?} is not translated"),
    }
    if settings.yes("ProtectKernelTunables")? {
        read_only_part("/proc/sys")?;
        for path in writable.iter().filter(|path| path.starts_with("/proc")) {
            // In the new /proc, and again as it was before.
            mount_bind(path, path)?;
            mount_remount(path, MountFlags::BIND | kept_flags(path), "")?;
        }
        read_only_part("/proc/irq")?;
        read_only("/sys")?;
    }
    if settings.yes("ProtectControlGroups")? {
        for point in mount_points()?.iter().filter(|point| point.starts_with("/sys/fs/cgroup")) {
            read_only(point)?;
        }
    }
    if settings.yes("ProtectKernelLogs")? && Path::new("/proc/kmsg").exists() {
        mount_bind("/dev/null", "/proc/kmsg")?;
    }
    Ok(())
}

fn words(settings: &Settings) -> impl Iterator<Item = &str> {
    settings.all("ReadWritePaths").iter().flat_map(|value| value.split_whitespace())
}

/// `ReadWritePaths=`, as far as it is there.
fn writable(settings: &Settings) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for word in words(settings) {
        let path = PathBuf::from(word.trim_start_matches('-'));
        if path.exists() {
            paths.push(path);
        } else if !word.starts_with('-') {
            bail!("ReadWritePaths: {word} is not there");
        }
    }
    Ok(paths)
}

fn hide(paths: &[&str]) -> Result<()> {
    for path in paths.iter().filter(|path| Path::new(path).is_dir()) {
        mount("tmpfs", *path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755"))
            .with_context(|| format!("hiding {path}"))?;
    }
    Ok(())
}

fn everything_read_only(but: &[&Path]) -> Result<()> {
    for point in mount_points()? {
        let api = APIS.iter().any(|api| point.starts_with(api));
        if !api && !but.iter().any(|kept| kept.is_dir() && point == *kept) {
            read_only(&point)?;
        }
    }
    Ok(())
}

fn devices() -> Result<()> {
    let nodes = DEVICES
        .iter()
        .map(|name| {
            let path = Path::new("/dev").join(name);
            let tree = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
            Ok((path, tree))
        })
        .collect::<Result<Vec<_>>>()?;
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"mode=0755"))?;
    for (path, tree) in nodes {
        std::fs::write(&path, "")?;
        move_mount(&tree, "", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    read_only("/dev")
}

fn read_only_part(path: &str) -> Result<()> {
    if Path::new(path).exists() {
        mount_bind(path, path).with_context(|| format!("binding {path}"))?;
        read_only(path)?;
    }
    Ok(())
}

/// A mount point that cannot be seen any more, because something lies over it, is no matter.
fn read_only(point: impl AsRef<Path>) -> Result<()> {
    let point = point.as_ref();
    let flags = MountFlags::BIND | MountFlags::RDONLY | kept_flags(point);
    match mount_remount(point, flags, "") {
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("making {} read-only", point.display())),
    }
}

/// What a mount forbids stays forbidden.
fn kept_flags(point: &Path) -> MountFlags {
    let options = rustix::fs::statvfs(point).map(|found| found.f_flag);
    let options = options.unwrap_or(rustix::fs::StatVfsMountFlags::empty());
    let mut flags = MountFlags::empty();
    for (option, flag) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if options.contains(option) {
            flags |= flag;
        }
    }
    flags
}

fn mount_points() -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    // Blanks in names are written as \040.
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| path.replace("\\040", " ").into()).collect())
}
