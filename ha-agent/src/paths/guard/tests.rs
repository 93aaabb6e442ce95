use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn opening(path: &Path, kind: Kind) -> Option<PathsError> {
    let mut found = openings(&[Place { path: path.to_owned(), kind }]);
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

/// A folder that only we can write, with a file in it.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    mode(&file, 0o640);
    (folder, file)
}

#[test]
fn what_is_closed_or_not_there_yet_is_in_order() {
    let (folder, file) = folder();
    let dir = folder.path().join("dir");
    std::fs::create_dir(&dir).unwrap();
    mode(&dir, 0o750);
    let missing = folder.path().join("no/such");
    for (path, kind) in [
        (&dir, Kind::Directory(0o750)),
        (&file, Kind::File),
        (&file, Kind::Secret),
        (&missing, Kind::Socket),
        (&missing, Kind::Directory(0o700)),
        (&missing, Kind::Secret),
        (&missing, Kind::Fifo),
    ] {
        assert!(opening(path, kind).is_none(), "{path:?} {kind:?}: {:?}", opening(path, kind));
    }
    assert!(matches!(opening(&missing, Kind::Bound(0o660)), Some(PathsError::Gone(_))));
}

#[test]
fn modes_that_let_others_in_are_found_with_what_to_do() {
    let (folder, file) = folder();
    for (bits, kind, word) in [
        (0o660, Kind::File, "chmod 0644"),
        (0o646, Kind::File, "chmod 0644"),
        (0o644, Kind::Secret, "chmod 0640"),
        (0o641, Kind::Secret, "chmod 0640"),
    ] {
        mode(&file, bits);
        let error = opening(&file, kind).unwrap_or_else(|| panic!("{bits:o} {kind:?}")).to_string();
        assert!(error.contains(word) && error.contains(file.to_str().unwrap()), "{error}");
    }
    mode(&file, 0o600);
    // The way to it.
    for (bits, closed) in [(0o777, false), (0o775, rustix::process::getegid().is_root()), (0o1777, true)] {
        mode(folder.path(), bits);
        for kind in [Kind::File, Kind::Socket] {
            let found = opening(&file, kind);
            assert_eq!(found.is_none(), closed, "{bits:o} {kind:?}: {found:?}");
            assert!(found.is_none_or(|error| error.to_string().contains("chmod")));
        }
    }
}

#[test]
fn links_are_followed_only_where_nobody_else_can_turn_them() {
    let (folder, file) = folder();
    let other = tempfile::tempdir().unwrap();
    let target = other.path().join("target");
    std::fs::write(&target, "").unwrap();
    mode(&target, 0o600);
    let link = folder.path().join("link");
    symlink(&target, &link).unwrap();
    assert!(opening(&link, Kind::Secret).is_none(), "as secrets are mounted in a container");
    mode(other.path(), 0o777);
    assert!(matches!(opening(&link, Kind::Secret), Some(PathsError::Writable { .. })), "where it leads counts");
    for kind in [Kind::Directory(0o750), Kind::Fifo, Kind::Bound(0o660)] {
        assert!(matches!(opening(&link, kind), Some(PathsError::Symlink(_))), "{kind:?}");
    }
    assert!(matches!(opening(&file, Kind::Directory(0o750)), Some(PathsError::NotADirectory(_))));
    assert!(matches!(opening(&file, Kind::Bound(0o660)), Some(PathsError::NotASocket(_))));
}

#[test]
fn a_bound_socket_keeps_its_mode() {
    let (folder, _) = folder();
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    mode(&path, 0o660);
    assert!(opening(&path, Kind::Bound(0o660)).is_none());
    mode(&path, 0o666);
    assert!(matches!(opening(&path, Kind::Bound(0o660)), Some(PathsError::Writable { .. })));
}

#[test]
#[ignore = "needs root"]
fn privileged_what_belongs_to_others_is_found() {
    let (folder, file) = folder();
    let give = |path: &Path| std::os::unix::fs::lchown(path, Some(4242), None).unwrap();
    let link = folder.path().join("link");
    symlink(&file, &link).unwrap();
    give(&link);
    assert!(matches!(opening(&link, Kind::File), Some(PathsError::Owner { owner: 4242, .. })), "the link's owner");
    give(&file);
    let error = opening(&file, Kind::Secret).unwrap();
    assert!(error.to_string().contains("chown"), "{error}");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    give(folder.path());
    for kind in [Kind::File, Kind::Secret, Kind::Socket, Kind::Fifo, Kind::Program] {
        assert!(matches!(opening(&file, kind), Some(PathsError::Owner { .. })), "the folder's owner, {kind:?}");
    }
}

#[test]
fn every_link_on_the_way_counts_also_those_that_links_lead_to() {
    let (open, real) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (folder, _) = folder();
    let target = real.path().join("target");
    std::fs::write(&target, "").unwrap();
    mode(&target, 0o600);
    // ours/link -> open/between -> real/target: both ends are closed.
    let (link, between) = (folder.path().join("link"), open.path().join("between"));
    symlink(&between, &link).unwrap();
    symlink(&target, &between).unwrap();
    assert!(opening(&link, Kind::File).is_none());
    mode(open.path(), 0o777);
    assert!(matches!(opening(&link, Kind::File), Some(PathsError::Writable { path, .. }) if path == open.path()));
    // As a directory on the way.
    let (link, between) = (folder.path().join("dir"), open.path().join("dir"));
    symlink(&between, &link).unwrap();
    symlink(real.path(), &between).unwrap();
    let place = link.join("target");
    assert!(matches!(opening(&place, Kind::File), Some(PathsError::Writable { path, .. }) if path == open.path()));
    mode(open.path(), 0o755);
    assert!(opening(&place, Kind::File).is_none());
    assert!(opening(&folder.path().join("dir/../").join(real.path().file_name().unwrap()), Kind::Socket).is_none());
    let round = folder.path().join("round");
    symlink(&round, &round).unwrap();
    assert!(matches!(opening(&round, Kind::File), Some(PathsError::Io { .. })), "it ends");
}

#[test]
fn a_program_must_be_there_executable_and_nobody_else_s_to_change() {
    let (folder, file) = folder();
    mode(&file, 0o755);
    let real = std::fs::canonicalize(&file).unwrap();
    assert_eq!(program(&file).unwrap(), real);
    let link = folder.path().join("link");
    symlink("file", &link).unwrap();
    assert_eq!(program(&link).unwrap(), real, "what is executed is not looked for again");
    for bad in [0o775, 0o757, 0o777] {
        mode(&file, bad);
        assert!(matches!(opening(&link, Kind::Program), Some(PathsError::Writable { mode, .. }) if mode == bad));
    }
    mode(&file, 0o644);
    assert!(matches!(opening(&file, Kind::Program), Some(PathsError::NotExecutable(_))));
    assert!(matches!(opening(folder.path(), Kind::Program), Some(PathsError::NotExecutable(_))));
    mode(&file, 0o755);
    mode(folder.path(), 0o777);
    assert!(matches!(opening(&file, Kind::Program), Some(PathsError::Writable { path, .. }) if path == folder.path()));
    mode(folder.path(), 0o1777);
    assert!(opening(&file, Kind::Program).is_none(), "in a sticky folder it stays");
    let missing = opening(&folder.path().join("no"), Kind::Program).unwrap().to_string();
    assert!(missing.contains("No such file"), "{missing}");
    assert!(program(Path::new("/bin/sh")).unwrap().is_absolute());
}
