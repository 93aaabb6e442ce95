use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

fn said(path: &Path) -> String {
    find(path).map(drop).expect_err("is not found").to_string()
}

#[test]
fn a_socket_is_found_and_no_link_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    // What a user could have made: it belongs to neither root alone nor is it closed.
    let top = folder.path().canonicalize().expect("a folder");
    std::fs::create_dir_all(top.join("real")).expect("a folder");
    std::fs::set_permissions(&top, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("ours");
    let socket = top.join("real/s");
    let _listener = UnixListener::bind(&socket).expect("free");
    let found = find(&socket).expect("there");
    let metadata = std::fs::metadata(&socket).expect("there");
    assert_eq!((found.stat.st_ino, found.owner), (metadata.ino(), metadata.uid()));
    symlink(&socket, top.join("last")).expect("a link");
    symlink("real", top.join("step")).expect("a link");
    for path in ["last", "step/s"] {
        assert!(said(&top.join(path)).contains("symbolic link"), "{path}");
    }
    assert_eq!(find(&top.join("none")).expect_err("nothing").kind(), io::ErrorKind::NotFound);
    assert!(find(&socket.join("below")).is_err());
}

#[test]
fn a_link_of_root_s_in_a_closed_folder_of_root_s_is_followed() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can make one; the end-to-end tests run as root.
        return;
    }
    let folder = tempfile::tempdir_in("/run").expect("a folder");
    let _listener = UnixListener::bind(folder.path().join("s")).expect("free");
    symlink("s", folder.path().join("link")).expect("a link");
    find(&folder.path().join("link")).expect("followed");
    symlink("loop", folder.path().join("loop")).expect("a link");
    assert!(said(&folder.path().join("loop")).contains("symbolic link"));
}

#[test]
fn our_own_socket_is_no_receiver_under_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    let _listener = UnixListener::bind(&own).expect("free");
    std::fs::hard_link(&own, &other).expect("another name");
    let foreign = folder.path().join("foreign");
    let _foreign = UnixListener::bind(&foreign).expect("free");
    let ours = [own.clone(), folder.path().join("none")];
    for path in [&own, &other] {
        let said = check_foreign(&find(path).expect("there"), &ours).expect_err("ours").to_string();
        assert!(said.contains(&own.display().to_string()), "{said}");
    }
    check_foreign(&find(&foreign).expect("there"), &ours).expect("another's");
}

#[test]
fn who_listens_may_be_the_folder_s_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).expect("free");
    let connected = OwnedFd::from(UnixStream::connect(&path).expect("listens"));
    check_listener(&connected, &find(&path).expect("there")).expect("our own user");
}
