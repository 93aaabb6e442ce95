use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

/// A folder in /run, whose parents are root's; with a program.
fn program() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("ha-agent-hook-").tempdir_in("/run").expect("a folder");
    let program = folder.path().join("hook");
    fs::write(&program, "#!/bin/sh\n").expect("written");
    mode(&program, 0o755);
    (folder, program)
}

#[test]
fn the_systems_own_programs_are_right_also_through_links() {
    assert!(examine_program(Path::new("/bin/sh")).expect("right").is_absolute());
    assert!(matches!(examine_program(Path::new("/no/such")), Err(ProgramError::Io { .. })));
    assert!(matches!(examine_program(Path::new("/etc/passwd")), Err(ProgramError::NotExecutable(_))));
    assert!(matches!(examine_program(Path::new("/usr/bin")), Err(ProgramError::NotExecutable(_))));
}

#[test]
#[ignore = "needs root"]
fn privileged_what_others_could_exchange_is_refused() {
    let (folder, program) = program();
    examine_program(&program).expect("right");
    for bad in [0o775, 0o757, 0o777] {
        mode(&program, bad);
        assert!(matches!(examine_program(&program), Err(ProgramError::Writable { mode, .. }) if mode == bad));
    }
    mode(&program, 0o644);
    assert!(matches!(examine_program(&program), Err(ProgramError::NotExecutable(_))));
    mode(&program, 0o755);
    chown(&program, Some(4021), None).expect("given");
    assert!(matches!(examine_program(&program), Err(ProgramError::Owner { owner: 4021, .. })));
    chown(&program, Some(0), None).expect("given");
    examine_program(&program).expect("right again");

    // The folder above it, whose writer could put another file there.
    mode(folder.path(), 0o777);
    assert!(matches!(examine_program(&program), Err(ProgramError::Writable { path, .. }) if path == folder.path()));
    mode(folder.path(), 0o1777);
    examine_program(&program).expect("in a sticky folder root's files stay");
    chown(folder.path(), Some(4021), None).expect("given");
    mode(folder.path(), 0o755);
    assert!(matches!(examine_program(&program), Err(ProgramError::Owner { owner: 4021, .. })));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_link_of_someone_else_is_refused() {
    let (folder, program) = program();
    let link = folder.path().join("link");
    symlink(&program, &link).expect("linked");
    assert_eq!(examine_program(&link).expect("right"), program);
    std::os::unix::fs::lchown(&link, Some(4021), None).expect("given");
    assert!(matches!(examine_program(&link), Err(ProgramError::Owner { owner: 4021, .. })));
}
