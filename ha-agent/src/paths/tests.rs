use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use super::*;

fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn new_directories_have_exactly_their_mode_and_are_accepted_again() {
    let tmp = tempfile::tempdir().unwrap();
    for mode in [0o700, 0o750, 0o775] {
        let dir = tmp.path().join(format!("a/b/{mode:o}"));
        prepare(&dir, mode).unwrap();
        assert_eq!(mode_of(&dir), mode);
        prepare(&dir, mode).unwrap();
    }
}

#[test]
fn unsafe_directories_are_refused_with_the_reason() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("d");
    prepare(&dir, 0o750).unwrap();

    set_mode(&dir, 0o770);
    let error = prepare(&dir, 0o750).unwrap_err();
    assert!(matches!(error, PathsError::Writable { mode: 0o770, .. }), "{error}");
    assert!(error.to_string().contains("0770"), "{error}");
    set_mode(&dir, 0o1777);
    assert!(matches!(prepare(&dir, 0o770), Err(PathsError::Writable { .. })));
    set_mode(&dir, 0o755);
    prepare(&dir, 0o750).expect("readable by others is not writable by others");

    let link = tmp.path().join("link");
    symlink(&dir, &link).unwrap();
    assert!(matches!(prepare(&link, 0o750), Err(PathsError::Symlink(_))));
    let slash = tmp.path().join("link/");
    assert!(matches!(prepare(&slash, 0o750), Err(PathsError::Symlink(_))));

    let file = tmp.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(prepare(&file, 0o750), Err(PathsError::NotADirectory(_))));
}

#[test]
fn who_may_only_pass_cannot_open_and_so_cannot_lock() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("d");
    prepare_locked(&dir, None).unwrap();
    let made = std::fs::metadata(&dir).unwrap();
    // Root's group is root's; any other one only passes.
    assert_eq!(made.mode() & 0o7777, if made.gid() == 0 { 0o750 } else { 0o710 });
    set_mode(&dir, 0o755);
    prepare_locked(&dir, None).unwrap();
    let mode = std::fs::metadata(&dir).unwrap().mode() & 0o7777;
    assert_eq!(mode, if made.gid() == 0 { 0o751 } else { 0o711 });
}

#[test]
#[ignore = "needs root"]
fn privileged_a_stranger_s_directory_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("d");
    prepare_locked(&dir, Some(4242)).unwrap();
    let made = std::fs::metadata(&dir).unwrap();
    assert_eq!((made.gid(), made.mode() & 0o7777), (4242, 0o710));
    std::os::unix::fs::chown(&dir, Some(4242), None).unwrap();
    assert!(matches!(prepare(&dir, 0o750), Err(PathsError::Owner { owner: 4242, .. })));
}

#[test]
fn the_lock_is_taken_once_and_names_its_holder() {
    let tmp = tempfile::tempdir().unwrap();
    let lock = Lock::take(tmp.path()).unwrap();
    // Nothing in the directory could be removed to take it away.
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
    let error = Lock::take(tmp.path()).unwrap_err();
    assert!(error.is_already_running());
    let PathsError::AlreadyRunning { pid, .. } = error else { panic!("{error}") };
    // Some file systems show other device numbers in /proc/locks; a wrong pid is never shown.
    assert!(pid.is_none_or(|pid| pid == std::process::id().cast_signed()));
    drop(lock);
    soon(|| Lock::take(tmp.path())).unwrap();
}

/// A child that another test starts in this process has every descriptor, too, until it executes its program.
fn soon<T>(mut attempt: impl FnMut() -> Result<T, PathsError>) -> Result<T, PathsError> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match attempt() {
            Err(error) if error.is_already_running() && std::time::Instant::now() < end => std::thread::yield_now(),
            other => return other,
        }
    }
}

#[test]
fn the_holder_is_found_by_device_and_inode() {
    let locks = "1: POSIX  ADVISORY  WRITE 11 00:2a:77 0 EOF\n\
                 2: FLOCK  ADVISORY  WRITE 12 00:2b:77 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE 13 00:2a:77 0 EOF\n\
                 3: -> FLOCK  ADVISORY  WRITE 14 00:2a:78 0 EOF\n\
                 4: FLOCK  ADVISORY  WRITE 0 00:2a:79 0 EOF\n";
    assert_eq!(lock::find_holder(locks, 0, 0x2a, 77), Some(13));
    assert_eq!(lock::find_holder(locks, 0, 0x2a, 78), None);
    assert_eq!(lock::find_holder(locks, 0, 0x2a, 79), None);
    assert_eq!(lock::find_holder("nonsense\n\n1:\n", 0, 0x2a, 77), None);
}

#[test]
fn the_socket_has_exactly_its_mode_and_goes_with_its_owner() {
    let tmp = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o660, 0o666] {
        let path = tmp.path().join("s");
        let bound = BoundSocket::bind(&path, mode, None, 16).unwrap();
        assert_eq!(mode_of(&path), mode);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_never() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves it behind: stale");
    let bound = soon(|| BoundSocket::bind(&path, 0o660, None, 16)).unwrap();

    let error = BoundSocket::bind(&path, 0o660, None, 16).unwrap_err();
    assert!(matches!(error, PathsError::Live(_)), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    UnixStream::connect(&path).expect("the live one is left alone");
    drop(bound);
}

#[test]
fn a_live_server_with_a_full_backlog_is_still_live() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("s");
    let _bound = BoundSocket::bind(&path, 0o660, None, 0).unwrap();
    let _fills_it = UnixStream::connect(&path).unwrap();
    assert!(matches!(BoundSocket::bind(&path, 0o660, None, 16), Err(PathsError::Live(_))));
}

#[test]
fn what_is_not_our_kind_of_socket_is_left_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let bind = |path: &Path| BoundSocket::bind(path, 0o660, None, 16).map(drop);

    let datagram = tmp.path().join("datagram");
    let _held = UnixDatagram::bind(&datagram).unwrap();
    assert!(matches!(bind(&datagram), Err(PathsError::Live(_))));

    let file = tmp.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(matches!(bind(&file), Err(PathsError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");

    let link = tmp.path().join("link");
    symlink(tmp.path().join("nowhere"), &link).unwrap();
    assert!(matches!(bind(&link), Err(PathsError::Symlink(_))));

    let long = tmp.path().join("x".repeat(120));
    assert!(matches!(bind(&long), Err(PathsError::TooLong { .. })));
    assert!(matches!(bind(&tmp.path().join("no/dir")), Err(PathsError::Io { .. })));
}

#[test]
fn a_name_that_someone_else_took_over_is_not_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("s");
    let (_listener, file) = BoundSocket::bind(&path, 0o660, None, 16).unwrap().into_parts();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(!file.remove());
    UnixStream::connect(&path).expect("the other server's name is still there");
}

#[test]
fn bind_unix_leaves_the_name_to_its_caller() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("s");
    drop(bind_unix(&path, 0o600, None, 1).unwrap());
    assert!(path.exists());
}
