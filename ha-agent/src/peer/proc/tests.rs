use super::*;

const STAT: &str =
    "4711 (curl) S 1 4711 4711 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 184467 5050368 231 18446744073709551615 0 0";

#[test]
fn name_and_start_time_are_found_whatever_the_name() {
    let (name, ticks) = stat(STAT.as_bytes()).expect("sound");
    assert_eq!((&*name, ticks), ("curl", 184_467));
    for (raw, told) in [
        (&b") S 1 2 3 ("[..], ") S 1 2 3 ("),
        (b"a b", "a b"),
        (b"", ""),
        (b"\x1b[2J\n\x7f", "\\x1b[2J\\x0a\\x7f"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u{202e}b\u{e4}r".as_bytes(), "\\u{202e}b\u{e4}r"),
    ] {
        let text = [b"1 (", raw, &STAT.as_bytes()[10..]].concat();
        assert_eq!(stat(&text), Some((told.into(), 184_467)), "{raw:?}");
        assert_eq!(&*command(&[raw, b"\n"].concat()), told);
    }
    let long = [b"1 (", &b"x".repeat(300)[..], &STAT.as_bytes()[10..]].concat();
    assert_eq!(stat(&long).expect("sound").0.len(), COMMAND);
}

#[test]
fn what_is_no_stat_is_not_read() {
    for text in ["", "1", "1 (a", "1 a)", ")(", "1 (a)", "1 (a) S", "1 (a) S 1 2 3", &STAT.replace("184467", "x")] {
        assert_eq!(stat(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn the_control_group_is_systemd_s() {
    for (raw, told) in [
        ("0::/system.slice/keepalived.service\n", Some("/system.slice/keepalived.service")),
        ("0::/\n", Some("/")),
        ("2:cpu:/a\n1:name=systemd:/system.slice/foo.service\n0::/b\n", Some("/system.slice/foo.service")),
        ("2:cpu,cpuacct:/a\n0::/b:c\n", Some("/b:c")),
        ("2:cpu:/a\n1:memory:/b\n", Some("/a")),
        ("0::/evil\\n\n", Some("/evil\\n")),
        ("0::\n", None),
        ("nonsense\n", None),
        ("", None),
    ] {
        assert_eq!(cgroup(raw.as_bytes()).as_deref(), told, "{raw:?}");
    }
    assert_eq!(cgroup(format!("0::/{}\n", "x".repeat(2000)).as_bytes()).expect("a path").len(), CGROUP);
}

#[test]
fn the_end_of_an_executable_s_path_is_kept() {
    assert_eq!(&*executable(b"/usr/bin/curl (deleted)"), "/usr/bin/curl (deleted)");
    let long = executable(format!("/{}/curl", "x".repeat(2000)).as_bytes());
    assert_eq!(long.len(), EXECUTABLE);
    assert!(long.ends_with("/curl"));
}

#[test]
fn the_kernel_s_own_figures_are_read() {
    let info = b"pos:\t0\nflags:\t02000002\nmnt_id:\t4\nino:\t32851\nPid:\t-1\nNSpid:\t-1\n";
    assert_eq!(fdinfo_pid(info), Some(-1));
    assert_eq!(fdinfo_pid(b"Pid:\t382\nNSpid:\t382\t1\n"), Some(382));
    assert_eq!(fdinfo_pid(b"pos:\t0\nNSpid:\t382\n"), None);
    // The name stands before it, and the kernel escapes line feeds there.
    assert_eq!(effective_uid(b"Name:\tUid: \\n\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n"), Some(2));
    assert_eq!(effective_uid(b"Name:\tx\nUid:\n"), None);
}

proptest::proptest! {
    /// Whatever stands in `/proc`: nothing that a terminal obeys, and no more than so much.
    #[test]
    fn nothing_deceives_and_nothing_grows(raw in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000)) {
        let texts = [stat(&raw).map(|(name, _)| name), cgroup(&raw), Some(executable(&raw))];
        for text in texts.into_iter().flatten() {
            proptest::prop_assert!(!text.chars().any(is_deceiving));
            proptest::prop_assert!(text.len() <= CGROUP * 4);
        }
    }
}
