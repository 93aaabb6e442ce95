use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use super::*;
use crate::actions::Registered;

/// `ha_confs/<router>` in a folder of this test's own.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(site.folder()).expect("made");
        site
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("ha_confs/router")
    }

    fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    fn file(&self, word: &'static str) -> StateFile {
        StateFile { folder: self.folder(), word, owner: Registered::default() }
    }

    /// Owner, group and mode of the file.
    fn has(&self) -> (u32, u32, u32) {
        let stat = fs::symlink_metadata(self.state()).expect("it is there");
        assert!(stat.is_file());
        (stat.uid(), stat.gid(), stat.mode() & 0o7777)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).expect("a folder").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

#[test]
fn the_word_alone_replaces_the_file_as_a_whole() {
    let site = Site::new();
    write(&site.file("backup")).expect("written");
    let before = fs::metadata(site.state()).expect("there").ino();
    let reader = fs::File::open(site.state()).expect("open");
    write(&site.file("primary")).expect("written");
    assert_eq!(fs::read(site.state()).expect("read"), b"primary");
    assert_ne!(fs::metadata(site.state()).expect("there").ino(), before);
    assert_eq!(io::read_to_string(reader).expect("read"), "backup", "who reads it reads one word or the other");
    assert_eq!(site.names(), ["state"], "and nothing else is left");
}

#[test]
fn what_a_crash_left_does_not_stand_in_the_way() {
    let site = Site::new();
    fs::write(site.folder().join(DRAFT), "pri").expect("written");
    write(&site.file("backup")).expect("written");
    assert_eq!(fs::read(site.state()).expect("read"), b"backup");
    assert_eq!(site.names(), ["state"]);
}

#[test]
fn a_folder_that_is_gone_is_an_error_with_its_path() {
    let site = Site::new();
    fs::remove_dir(site.folder()).expect("removed");
    let error = write(&site.file("backup")).expect_err("no folder").to_string();
    assert!(error.contains("ha_confs/router") && error.starts_with("cannot open"), "{error}");
}

#[test]
#[ignore = "needs root"]
fn privileged_owner_and_mode_are_such_that_the_l3_agent_can_write() {
    let site = Site::new();
    chown(site.folder(), Some(4021), Some(4022)).expect("given");
    // A new file: the folder's owner, or who was registered.
    write(&site.file("backup")).expect("written");
    assert_eq!(site.has(), (4021, 4022, 0o644));
    fs::remove_file(site.state()).expect("removed");
    let registered =
        Registered { user: Some("4031".to_owned()), group: Some("4032".to_owned()), ..Registered::default() };
    let by_registration = StateFile { owner: registered, ..site.file("backup") };
    write(&by_registration).expect("written");
    assert_eq!(site.has(), (4031, 4032, 0o644));
    // One that is there keeps what it has …
    chown(site.state(), Some(4041), Some(4042)).expect("given");
    mode(&site.state(), 0o660);
    write(&by_registration).expect("written");
    assert_eq!(site.has(), (4041, 4042, 0o660));
    // … unless anybody could write it, as the monitor of release 28 leaves it: root's, 0666.
    chown(site.state(), Some(0), Some(0)).expect("given");
    mode(&site.state(), 0o666);
    write(&site.file("primary")).expect("written");
    assert_eq!(site.has(), (4021, 4022, 0o664));
    // Neither does a bit that runs as its owner survive.
    mode(&site.state(), 0o6755);
    write(&site.file("backup")).expect("written");
    assert_eq!(site.has(), (4021, 4022, 0o755));
}

#[test]
#[ignore = "needs root"]
fn privileged_links_are_replaced_or_refused_but_never_followed() {
    let site = Site::new();
    let outside = site.0.path().join("outside");
    let elsewhere = site.0.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    fs::write(&outside, "precious").expect("written");
    mode(&outside, 0o600);
    let untouched = || {
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
        assert_eq!(fs::metadata(&outside).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&elsewhere).expect("there").count(), 0);
    };
    // The file, and what it is written as.
    for name in ["state", DRAFT] {
        symlink(&outside, site.folder().join(name)).expect("linked");
        write(&site.file("primary")).expect("written");
        assert_eq!(fs::read(site.state()).expect("read"), b"primary");
        assert!(!fs::symlink_metadata(site.state()).expect("there").is_symlink());
        untouched();
    }
    // A hard link to someone else's file only loses its name.
    fs::remove_file(site.state()).expect("removed");
    fs::hard_link(&outside, site.state()).expect("linked");
    write(&site.file("backup")).expect("written");
    untouched();
    // The router's folder, and ha_confs itself.
    for folder in [site.folder(), site.0.path().join("ha_confs")] {
        fs::remove_dir_all(&folder).expect("removed");
        symlink(&elsewhere, &folder).expect("linked");
        fs::create_dir_all(elsewhere.join("router")).expect("made");
        write(&site.file("backup")).expect_err("a link is not followed");
        assert_eq!(fs::read_dir(elsewhere.join("router")).expect("there").count(), 0);
        fs::remove_dir(elsewhere.join("router")).expect("removed");
        untouched();
        fs::remove_file(&folder).expect("removed");
        fs::create_dir_all(site.folder()).expect("made");
    }
    // A folder or a FIFO that has the name is not opened.
    fs::create_dir(site.state()).expect("made");
    write(&site.file("backup")).expect_err("a folder is not replaced");
    assert_eq!(site.names(), ["state"], "nothing is left of the attempt");
}
