use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn below(folder: &Path) -> Rc<StatePath> {
    Rc::new(StatePath::around(&folder.join("log"), &[folder.to_owned()]).expect("a folder"))
}

const ROUTER: &str = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";

#[test]
fn moments() {
    assert_eq!(format_time(0, 0), "1970-01-01T00:00:00.000Z");
    assert_eq!(format_time(951_782_399, 999_999_999), "2000-02-28T23:59:59.999Z");
    assert_eq!(format_time(951_782_400, 0), "2000-02-29T00:00:00.000Z");
    assert_eq!(format_time(1_735_689_599, 1_000_000), "2024-12-31T23:59:59.001Z");
    assert_eq!(format_time(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
}

#[test]
fn lines_are_appended_and_follow_a_moved_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "before\n").expect("writable");
    let mut log = Log::open(Some(&path), below(folder.path()), ROUTER);
    log.info("first\nof one line\u{1b}");
    let moved = folder.path().join("log.1");
    fs::rename(&path, &moved).expect("same folder");
    log.error("second");
    log.reopen();
    log.info("third");
    let before = fs::read_to_string(moved).expect("there");
    let pid = std::process::id();
    let lines: Vec<&str> = before.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].ends_with(&format!(" INFO {pid} {ROUTER}: first of one line ")), "{before}");
    assert!(lines[2].ends_with(&format!(" ERROR {pid} {ROUTER}: second")), "{before}");
    let after = fs::read_to_string(&path).expect("made again");
    assert!(after.ends_with("third\n") && after.lines().count() == 1, "{after}");
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777 & !0o644, 0, "{mode:o}");
}

#[test]
fn no_link_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, link) = (folder.path().join("target"), folder.path().join("log"));
    fs::write(&target, "").expect("writable");
    symlink(&target, &link).expect("a link");
    Log::open(Some(&link), below(folder.path()), ROUTER).info("nowhere");
    assert_eq!(fs::read_to_string(target).expect("there"), "");
}

#[test]
fn nothing_is_written_elsewhere_nor_to_a_file_of_two_names() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let elsewhere = other.path().join("log");
    fs::write(&elsewhere, "").expect("writable");
    Log::open(Some(&elsewhere), below(folder.path()), ROUTER).info("nowhere");
    let second = folder.path().join("log");
    fs::hard_link(&elsewhere, &second).expect("another name");
    Log::open(Some(&second), below(folder.path()), ROUTER).info("nowhere");
    assert_eq!(fs::read_to_string(elsewhere).expect("there"), "");
}
