use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{CapabilitySet, capabilities};

use super::calls::Filter;
use super::files::Rules;
use super::table::{Place, Use};
use super::*;

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");

/// Runs on a thread that is thrown away afterwards.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

fn filtered<T: Send>(role: Role, work: impl FnOnce() -> T + Send) -> T {
    let needs = role.needs();
    let filter = Filter::prepare(needs.forbidden, needs.sockets).expect("a filter");
    apart(move || {
        filter.enforce().expect("seccomp is there");
        work()
    })
}

/// A system call with arguments that would do nothing even if it were let through.
fn refused(call: i64, arguments: [u64; 3]) -> Option<i32> {
    // SAFETY: null pointers and invalid numbers: the kernel refuses them without reading memory.
    let answer = unsafe { libc::syscall(call, arguments[0], arguments[1], arguments[2]) };
    (answer == -1).then(|| std::io::Error::last_os_error().raw_os_error()).flatten()
}

#[test]
fn every_role_has_a_name_of_its_own_that_proc_shows_whole() {
    let names: BTreeSet<&str> = Role::ALL.iter().map(|role| role.thread_name()).collect();
    assert_eq!(names.len(), Role::ALL.len());
    assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
}

#[test]
fn the_table_is_written_down_as_it_is() {
    for role in Role::ALL {
        let begins = format!("| `{}` |", role.thread_name());
        let row = ARCHITECTURE.lines().find(|line| line.starts_with(&begins));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row {begins}"));
        let written: BTreeSet<&str> = row
            .split('|')
            .nth(2)
            .into_iter()
            .flat_map(|cell| cell.split([',', ' ']))
            .filter(|word| !word.is_empty())
            .collect();
        let mut meant: BTreeSet<String> =
            role.needs().capabilities(false).iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        if role.needs().keeps_everything() {
            meant = BTreeSet::from(["all".to_owned()]);
        }
        if meant.is_empty() {
            meant.insert("none".to_owned());
        }
        assert_eq!(written, meant.iter().map(String::as_str).collect(), "{row}");
    }
}

#[test]
fn a_parser_starts_nothing_enters_nothing_and_lives_on() {
    filtered(Role::Worker, || {
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_perf_event_open,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_fchmodat,
            libc::SYS_io_uring_setup,
        ] {
            assert_eq!(refused(call, [u64::MAX; 3]), Some(libc::EPERM), "call {call}");
        }
        // Signal 0 to another process: init, which is there.
        assert_eq!(refused(libc::SYS_kill, [1, 0, 0]), Some(libc::EPERM));
        assert_eq!(refused(libc::SYS_tgkill, [1, 1, 0]), Some(libc::EPERM));
        let own = u64::from(std::process::id());
        assert_eq!(refused(libc::SYS_tgkill, [own, own, 0]), None, "as abort(3) does");
        // A process by clone: a filter sees the flags, SIGCHLD alone.
        assert_eq!(refused(libc::SYS_clone, [u64::from(libc::SIGCHLD.unsigned_abs()), 0, 0]), Some(libc::EPERM));
        assert_eq!(refused(libc::SYS_clone3, [0, 0, 0]), Some(libc::ENOSYS));
        assert_eq!(apart(|| 7), 7, "threads are made all the same");
    });
}

#[test]
fn no_attribute_of_a_file_is_set_in_a_newer_way() {
    let file = tempfile::tempfile().expect("a file");
    let descriptor = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).expect("open");
    filtered(Role::Worker, || {
        // fchmodat2, setxattrat, removexattrat, open_tree_attr, file_setattr: unknown to older kernels, and to libc.
        for call in [452, 463, 466, 467, 469] {
            assert_eq!(refused(call, [u64::MAX; 3]), Some(libc::EPERM), "call {call}");
        }
        for request in [libc::FS_IOC_SETFLAGS, libc::FS_IOC32_SETFLAGS, 0x401c_5820] {
            assert_eq!(refused(libc::SYS_ioctl, [descriptor, request, 0]), Some(libc::EPERM), "{request:x}");
        }
        // FIONREAD, which is asked for, with nowhere to put the answer.
        assert_eq!(refused(libc::SYS_ioctl, [descriptor, libc::FIONREAD, 0]), Some(libc::EFAULT));
    });
    // Only the first thread changes modes and owners, and nobody makes mounts.
    assert_eq!(filtered(Role::Main, || refused(467, [u64::MAX; 3])), Some(libc::EPERM));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_calls_of_x32_are_no_way_around() {
    const X32: i64 = 0x4000_0000;
    filtered(Role::Worker, || {
        // mount under its usual number, execve under x32's own.
        assert_eq!(refused(X32 | libc::SYS_mount, [u64::MAX; 3]), Some(libc::EPERM));
        assert_eq!(refused(X32 | 520, [u64::MAX; 3]), Some(libc::EPERM));
    });
}

#[test]
fn bpf_is_for_elements_only_where_maps_are_read() {
    let (lookup, next_key, load, batch, no_map) = (1, 4, 5, 24, [u64::MAX; 8]);
    let ask = |command: u64| refused(libc::SYS_bpf, [command, no_map.as_ptr().addr() as u64, 32]);
    // Without the filter the kernel answers that there is no such map (older ones: not without CAP_BPF).
    let unfiltered = apart(|| ask(lookup));
    assert_eq!(filtered(Role::Worker, || ask(lookup)), unfiltered);
    let unfiltered_batch = apart(|| ask(batch));
    assert_eq!(filtered(Role::Worker, || ask(batch)), unfiltered_batch);
    for command in [next_key, load] {
        assert_eq!(filtered(Role::Worker, || ask(command)), Some(libc::EPERM), "{command}");
    }
    assert_eq!(filtered(Role::Outbox, || ask(lookup)), Some(libc::EPERM));
    if unfiltered != Some(libc::EPERM) {
        assert_ne!(filtered(Role::Netns, || ask(lookup)), Some(libc::EPERM));
    }
}

#[test]
fn sockets_are_made_by_family() {
    let make = |family| socket(family, SocketType::DGRAM, None).map(drop);
    filtered(Role::Worker, || {
        for family in [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6, AddressFamily::NETLINK] {
            assert_eq!(make(family), Err(Errno::PERM), "{family:?}");
        }
    });
    assert_eq!(filtered(Role::Netlink, || make(AddressFamily::NETLINK)), Ok(()));
    assert_eq!(filtered(Role::Outbox, || make(AddressFamily::UNIX)), Err(Errno::PERM));
    filtered(Role::Delivery, || {
        assert_eq!(make(AddressFamily::UNIX), Ok(()));
        assert_eq!(make(AddressFamily::INET), Err(Errno::PERM));
        assert_eq!(make(AddressFamily::PACKET), Err(Errno::PERM));
    });
}

#[test]
fn only_who_reaches_out_connects() {
    // No socket of this number: what is let through says so.
    let ask = || refused(libc::SYS_connect, [u64::MAX, 0, 0]);
    // The service manager's socket, the L3 agent's.
    let may = [Role::Main, Role::Delivery];
    // Nothing is taken from what starts programs.
    for role in Role::ALL.into_iter().filter(|role| !role.needs().keeps_everything()) {
        let expected = if may.contains(&role) { libc::EBADF } else { libc::EPERM };
        assert_eq!(filtered(role, ask), Some(expected), "{role:?}");
    }
}

#[test]
fn files_outside_the_places_cannot_be_opened() {
    if facts::gather().landlock.is_err() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["kept", "read", "other"] {
        fs::create_dir(at(name)).expect("made");
        fs::write(at(name).join("file"), "as it was").expect("written");
    }
    let place = |path: PathBuf, use_| Place { path, use_ };
    let rules = Rules::prepare(&[place(at("kept"), Use::Keep), place(at("read"), Use::Read)]).expect("rules");
    apart(|| {
        rustix::thread::set_no_new_privs(true).expect("allowed");
        rules.enforce().expect("Landlock is there");
        let kept = at("kept");
        fs::rename(kept.join("file"), kept.join("renamed")).expect("renamed");
        fs::write(kept.join("new"), "new").expect("written");
        fs::remove_file(kept.join("renamed")).expect("removed");
        assert_eq!(fs::read_to_string(at("read").join("file")).expect("read"), "as it was");
        for denied in [
            fs::write(at("read").join("file"), "").err(),
            fs::write(at("other").join("new"), "").err(),
            fs::read(at("other").join("file")).err(),
            fs::remove_file(at("other").join("file")).err(),
            fs::read("/etc/passwd").err(),
        ] {
            assert_eq!(denied.expect("denied").kind(), std::io::ErrorKind::PermissionDenied);
        }
    });
    assert_eq!(fs::read_to_string(at("other").join("file")).expect("read"), "as it was");
}

#[test]
fn a_place_that_is_not_there_stands_for_what_is_above_it_but_never_for_everything() {
    if facts::gather().landlock.is_err() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let later = folder.path().join("later");
    let nowhere = PathBuf::from("/that-is-not-there/below");
    let rules = [Place { path: later.clone(), use_: Use::Keep }, Place { path: nowhere, use_: Use::Keep }];
    let rules = Rules::prepare(&rules).expect("rules");
    fs::create_dir(&later).expect("made");
    apart(|| {
        rustix::thread::set_no_new_privs(true).expect("allowed");
        rules.enforce().expect("Landlock is there");
        fs::write(later.join("file"), "").expect("written");
        let other = std::env::temp_dir().join("ha-agent-not-to-be-written");
        assert_eq!(fs::write(other, "").expect_err("denied").kind(), std::io::ErrorKind::PermissionDenied);
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_given_up_does_not_come_back() {
    apart(|| {
        capabilities::keep(CapabilitySet::NET_ADMIN).expect("root may");
        let left = capabilities(None).expect("readable");
        assert_eq!((left.permitted, left.effective), (CapabilitySet::NET_ADMIN, CapabilitySet::NET_ADMIN));
        assert_eq!(left.inheritable, CapabilitySet::empty());
        let again = rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets { permitted: CapabilitySet::all(), ..left },
        );
        assert_eq!(again, Err(Errno::PERM));
        // Root's programs start with nothing either; a thread cannot exec apart, so a child does.
        let status = std::process::Command::new("grep").args(["Cap", "/proc/self/status"]).output().expect("grep");
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
        assert!(text.contains("CapBnd:\t0000000000001000"), "{text}");
        // A second role can only take away.
        capabilities::keep(CapabilitySet::SYS_ADMIN).expect("always");
        assert_eq!(capabilities(None).expect("readable").permitted, CapabilitySet::empty());
    });
}

#[test]
fn what_is_missing_is_named() {
    let all = facts::Facts { landlock: Ok(5), seccomp: Ok(()), map_reads_need_bpf: false };
    assert_eq!(all.lacking(), Vec::<String>::new());
    let old = facts::Facts { landlock: Ok(2), ..all.clone() };
    assert!(old.lacking()[0].contains("ABI 2"), "{:?}", old.lacking());
    let none = facts::Facts {
        landlock: Err("Function not implemented".to_owned()),
        seccomp: Err("Invalid argument".to_owned()),
        map_reads_need_bpf: true,
    };
    assert_eq!(none.lacking().len(), 3);
}
