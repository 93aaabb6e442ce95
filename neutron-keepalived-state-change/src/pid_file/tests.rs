use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// Below the folder in which it lies; of a folder itself, below its parent.
fn take(path: &Path) -> Result<PidFile, PidFileError> {
    let state_path = tempfile::env::temp_dir();
    PidFile::take(&StatePath::around(path, &[state_path])?, path)
}

#[test]
fn written_over_what_was_there_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    fs::write(&path, "123456789012345").expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    let mut pid_file = take(&path).expect("free");
    pid_file.write().expect("writable");
    assert_eq!(fs::read_to_string(&path).expect("there"), std::process::id().to_string());
    // What was there may be anybody's.
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    pid_file.remove();
    assert!(!path.exists());
}

#[test]
fn a_new_one_is_there_for_all_to_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    let _pid_file = take(&path).expect("free");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o644);
}

#[test]
fn another_name_of_a_file_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (folder.path().join("pid"), folder.path().join("other"));
    fs::write(&other, "somebody else's").expect("writable");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::hard_link(&other, &path).expect("another name");
    assert!(matches!(take(&path), Err(PidFileError::NoFile(_))));
    assert_eq!(fs::read_to_string(&other).expect("there"), "somebody else's");
    assert_eq!(fs::metadata(&other).expect("there").permissions().mode() & 0o7777, 0o600);
}

#[test]
fn another_holds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    let first = take(&path).expect("free");
    assert!(matches!(take(&path), Err(PidFileError::Running(_))));
    drop(first);
    take(&path).expect("free again");
}

#[test]
fn a_file_of_another_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    let old = take(&path).expect("free");
    // As the L3 agent does before it starts another one.
    fs::remove_file(&path).expect("there");
    let mut new = take(&path).expect("another file");
    new.write().expect("writable");
    old.remove();
    assert!(path.exists());
}

#[test]
fn what_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    assert!(matches!(take(folder.path()), Err(PidFileError::NoFile(_))));
    let target = folder.path().join("target");
    symlink(&target, &path).expect("a link");
    assert!(matches!(take(&path), Err(PidFileError::NoFile(_))));
    assert!(!target.exists());
    assert!(matches!(take(&folder.path().join("no/pid")), Err(PidFileError::Place(PlaceError::Io { .. }))));
}

#[test]
fn what_is_no_pid_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pid");
    for text in ["root:x:0:0:root:/root:/bin/sh\n", "4711\n4712\n", "-1", " 7", "1234567890123456789012345", "\n\n"] {
        fs::write(&path, text).expect("writable");
        assert!(matches!(take(&path), Err(PidFileError::NoPid(_))), "{text:?}");
        assert_eq!(fs::read_to_string(&path).expect("there"), text);
    }
    for text in ["", "4711", "4711\n"] {
        fs::write(&path, text).expect("writable");
        take(&path).expect(text);
    }
}
