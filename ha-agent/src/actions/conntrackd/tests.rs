use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, mkfifoat};

use super::*;

/// A router's folder and the path of its configuration.
fn router() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("router");
    fs::create_dir(&folder).expect("made");
    let path = folder.join(CONFIGURATION);
    (base, folder, path)
}

#[test]
fn what_was_looked_at_is_what_is_read_whatever_the_name_leads_to_then() {
    let (base, folder, path) = router();
    fs::write(&path, "General {").expect("written");
    let file = configuration(&folder).expect("a file");
    let other = base.path().join("other");
    fs::write(&other, "somebody else's").expect("written");
    fs::remove_file(&path).expect("removed");
    symlink(&other, &path).expect("a link");
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text).expect("read");
    assert_eq!(text, "General {");
}

#[test]
fn what_is_no_file_or_none_of_the_l3_agents_is_not_handed_over() {
    let (base, folder, path) = router();
    assert!(matches!(configuration(&folder), Err(CallError::Io(..))));
    let other = base.path().join("other");
    fs::write(&other, "somebody else's").expect("written");
    symlink(&other, &path).expect("a link");
    assert!(matches!(configuration(&folder), Err(CallError::NotAFile(_))));
    fs::remove_file(&path).expect("removed");
    mkfifoat(CWD, &path, Mode::RWXU).expect("a FIFO");
    assert!(matches!(configuration(&folder), Err(CallError::NotAFile(_))));
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    assert!(matches!(configuration(&folder), Err(CallError::NotAFile(_))));
    fs::remove_dir(&path).expect("removed");
    let file = fs::File::create(&path).expect("made");
    file.set_len(MAX_BYTES).expect("grown");
    configuration(&folder).expect("large enough for anything");
    file.set_len(MAX_BYTES + 1).expect("grown");
    assert!(matches!(configuration(&folder), Err(CallError::TooLarge(_))));
}

#[test]
fn a_program_that_others_could_change_is_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let search = folder.path().display().to_string();
    assert!(matches!(found_in(&search), Err(CallError::Missing(_))));
    let program = folder.path().join(NAME);
    fs::write(&program, "#!/bin/sh\n").expect("written");
    // Of another owner than root, where the test is not root's.
    fs::set_permissions(&program, PermissionsExt::from_mode(0o775)).expect("changed");
    assert!(matches!(found_in(&search), Err(CallError::Program(_))));
    assert!(matches!(found_in(&format!("/that-is-not-there:{search}")), Err(CallError::Program(_))));
    // Relative to wherever the agent was started.
    assert!(matches!(found_in(".:bin:"), Err(CallError::Missing(_))));
}
