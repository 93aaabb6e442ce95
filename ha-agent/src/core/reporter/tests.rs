use super::*;

fn process() -> Process {
    Process {
        started: "2026-01-02T03:04:05.670Z".into(),
        start_ticks: 184_467,
        command: "curl".into(),
        cgroup: Some("/system.slice/keepalived.service".into()),
        executable: None,
    }
}

fn socket(process: Naming) -> Reporter {
    Reporter::Socket { uid: 42, pid: 4711, gid: Some(43), process }
}

#[test]
fn a_reporter_is_flat_and_is_read_back_as_it_was() {
    let table = [
        (
            socket(Naming::Named(Arc::new(process()))),
            r#"{"via":"socket","uid":42,"pid":4711,"gid":43,"started":"2026-01-02T03:04:05.670Z","start_ticks":184467,"command":"curl","unit":"keepalived.service","cgroup":"/system.slice/keepalived.service"}"#,
        ),
        (
            socket(Naming::Named(Arc::new(Process {
                cgroup: Some("/".into()),
                executable: Some("/usr/bin/curl".into()),
                ..process()
            }))),
            r#"{"via":"socket","uid":42,"pid":4711,"gid":43,"started":"2026-01-02T03:04:05.670Z","start_ticks":184467,"command":"curl","cgroup":"/","executable":"/usr/bin/curl"}"#,
        ),
        (
            socket(Naming::Unnamed { unnamed: Unnamed::OtherPidNamespace }),
            r#"{"via":"socket","uid":42,"pid":4711,"gid":43,"unnamed":"other_pid_namespace"}"#,
        ),
        (socket(Naming::Untold {}), r#"{"via":"socket","uid":42,"pid":4711,"gid":43}"#),
        (Reporter::Fifo, r#"{"via":"fifo"}"#),
    ];
    for (reporter, text) in table {
        assert_eq!(serde_json::to_string(&reporter).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<Reporter>(text).expect(text), reporter);
    }
}

#[test]
fn lines_of_earlier_releases_are_read() {
    let old: Reporter = serde_json::from_str(r#"{"via":"socket","uid":42,"pid":4711}"#).expect("read");
    assert_eq!(old, Reporter::Socket { uid: 42, pid: 4711, gid: None, process: Naming::Untold {} });
    // A word of a later release does not make a line unreadable.
    let later: Reporter =
        serde_json::from_str(r#"{"via":"socket","uid":42,"pid":4711,"unnamed":"later"}"#).expect("read");
    assert_eq!(later, old);
}

#[test]
fn a_unit_is_the_first_part_that_is_no_slice() {
    for (cgroup, expected) in [
        ("/system.slice/keepalived.service", Some("keepalived.service")),
        ("/system.slice/keepalived.service (deleted)", Some("keepalived.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        ("/system.slice/docker-0a1b.scope", Some("docker-0a1b.scope")),
        ("/system.slice/docker-0a1b.scope/init.scope", Some("docker-0a1b.scope")),
        ("/machine.slice/libpod-0a1b.scope/container", Some("libpod-0a1b.scope")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service", Some("user@1000.service")),
        ("/user.slice/user-0.slice/session-3.scope", Some("session-3.scope")),
        ("/init.scope", Some("init.scope")),
        ("/system.slice/_cpu.service", Some("cpu.service")),
        ("/../../system.slice/keepalived.service", Some("keepalived.service")),
        ("/system.slice", None),
        ("/docker/0a1b", None),
        ("/system.slice/.service", None),
        ("/lxc/foo/system.slice/foo.service", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(unit(cgroup), expected, "{cgroup}");
    }
}

#[test]
fn it_takes_little_room_in_every_router() {
    assert!(size_of::<Reporter>() <= 32, "{}", size_of::<Reporter>());
}
