use super::*;

fn after(arguments: &[&str]) -> Vec<OsString> {
    plain(arguments.iter().map(OsString::from).collect())
}

#[test]
fn the_project_s_own_crates_are_named_without_their_folder() {
    for name in CRATES {
        let told = after(&["--crate-name", name, "-C", "metadata=0123", "-C", "extra-filename=-0123"]);
        assert_eq!(told[3], *format!("metadata={name}"));
        assert_eq!(told[5], "extra-filename=-0123", "Cargo looks for the file by this name");
    }
}

#[test]
fn other_calls_stay_as_they_are() {
    for arguments in [
        &["--crate-name", "aya_ebpf", "-C", "metadata=0123"][..],
        &["--crate-name", "ha_agent_log", "-C", "metadata=0123"],
        &["-vV"],
        &["--crate-name"],
        &[],
    ] {
        assert_eq!(after(arguments), arguments);
    }
}
