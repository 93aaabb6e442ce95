use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_file_is_below_the_folder_or_is_not_opened() {
    let top = folder();
    let state = top.path().join("neutron");
    fs::create_dir_all(state.join("external/pids")).expect("folders");
    let good = state.join("external/pids/x");
    let configured = [top.path().join("other"), state.clone()];
    let found = StatePath::around(&good, &configured).expect("below the second one");
    assert_eq!(found.open(&good).expect("there").1, "x");
    assert_eq!(found.open(&state.join("y")).expect("there").1, "y");
    for path in ["/etc/passwd", "neutron/x", "", "/"] {
        let said = StatePath::around(Path::new(path), &configured).expect_err(path).to_string();
        assert!(said.contains("is not below") && said.contains("neutron.state_path"), "{said}");
    }
    for path in [state.clone(), state.join("../neutron/x"), state.join("external/../../x"), state.join("..")] {
        assert!(matches!(found.open(&path), Err(PlaceError::Outside { .. })), "{}", path.display());
    }
}

#[test]
fn no_link_is_followed_at_any_step() {
    let (top, elsewhere) = (folder(), folder());
    let state = top.path().join("neutron");
    fs::create_dir_all(state.join("external/pids")).expect("folders");
    symlink(elsewhere.path(), state.join("first")).expect("a link");
    symlink(elsewhere.path(), state.join("external/second")).expect("a link");
    symlink(state.join("external"), state.join("inside")).expect("a link");
    symlink("external", state.join("relative")).expect("a link");
    symlink("/proc/self/fd", state.join("magic")).expect("a link");
    let found = StatePath::around(&state.join("x"), std::slice::from_ref(&state)).expect("there");
    for path in ["first/x", "external/second/x", "inside/pids/x", "relative/pids/x", "magic/1/x", "magic/x"] {
        assert!(matches!(found.open(&state.join(path)), Err(PlaceError::Link(_))), "{path}");
    }
}

#[test]
fn a_configuration_is_root_s_alone() {
    let top = folder();
    let (file, link) = (top.path().join("a.toml"), top.path().join("b.toml"));
    fs::write(&file, "").expect("writable");
    symlink(&file, &link).expect("a link");
    // Everybody who is not root finds nothing of his own accepted.
    let good = open_roots_own(&file);
    assert_eq!(good.is_ok(), rustix::process::geteuid().is_root(), "{good:?}");
    assert!(open_roots_own(&link).is_err() && open_roots_own(top.path()).is_err());
    assert!(open_roots_own(Path::new("a.toml")).is_err() && open_roots_own(Path::new("/dev/null")).is_err());
    for (path, mode) in [(&file, 0o666), (&file, 0o664), (&top.path().to_owned(), 0o777)] {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        assert!(matches!(open_roots_own(&file), Err(PlaceError::NotRoots(_))), "{} {mode:o}", path.display());
        fs::set_permissions(path, before).expect("ours");
    }
}
