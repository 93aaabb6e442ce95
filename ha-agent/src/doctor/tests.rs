use std::path::PathBuf;

use super::facts::{Directory, Found, SocketFact};
use super::*;
use crate::inventory::keepalived_release::Installed;

const ALL: u64 = u64::MAX;
const SYS_ADMIN: u64 = 1 << 21;

#[test]
fn kernels_are_judged_by_what_they_can() {
    for (release, expected) in [
        ("5.4.0-150-generic", Outcome::Fail),
        ("6.1.0-18-cloud-amd64", Outcome::Warn),
        ("6.6.0", Outcome::Ok),
        ("6.18.44", Outcome::Ok),
        ("strange", Outcome::Warn),
    ] {
        assert_eq!(judge::kernel(release)[0].result, expected, "{release}");
    }
}

#[test]
fn missing_capabilities_are_named_with_what_stops() {
    assert_eq!(judge::capabilities(Some(ALL)).result, Outcome::Ok);
    let none = judge::capabilities(Some(0));
    assert_eq!(none.result, Outcome::Fail);
    assert_eq!(
        none.found,
        "missing: CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_NET_BROADCAST, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH"
    );
    let found = judge::capabilities(Some(SYS_ADMIN)).found;
    assert_eq!(found, "missing: CAP_NET_ADMIN, CAP_NET_BROADCAST, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH");
    assert_eq!(judge::capabilities(None).result, Outcome::Warn);
}

#[test]
fn descriptors_are_counted_per_router() {
    let judged = |soft, hard| judge::descriptors(soft, hard, 1000).result;
    assert_eq!(judged(Some(3256), Some(3256)), Outcome::Ok);
    assert_eq!(judged(Some(3255), Some(3256)), Outcome::Warn);
    assert_eq!(judged(Some(3255), None), Outcome::Warn);
    assert_eq!(judged(Some(1024), Some(3255)), Outcome::Fail);
    assert_eq!(judged(None, None), Outcome::Ok);
}

#[test]
fn directories_are_looked_at_and_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(facts::directory(dir.path()), Directory::Writable { .. }));
    let below = dir.path().join("a/b");
    assert_eq!(facts::directory(&below), Directory::Creatable);
    assert!(!below.exists());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let fact = facts::directory(&file);
    let finding = judge::directory("state directory", &file, &fact, "nothing is kept");
    assert_eq!(finding.result, Outcome::Fail);
    assert_eq!(finding.means.as_deref(), Some("nothing is kept"));
    let memory = Directory::Writable { in_memory: true };
    let judged = |name| judge::directory(name, dir.path(), &memory, "").result;
    assert_eq!(judged("state directory"), Outcome::Warn);
    assert_eq!(judged("runtime directory"), Outcome::Ok);
}

#[test]
fn the_l3_agents_socket_is_told_from_what_is_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    assert_eq!(facts::socket(&path), SocketFact::Absent);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(facts::socket(&path), SocketFact::There { listening: true, .. }));
    drop(listener);
    // A child that another test starts in this process has it, too, until it executes its program.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let stale = loop {
        match facts::socket(&path) {
            SocketFact::There { listening: true, .. } if std::time::Instant::now() < end => std::thread::yield_now(),
            other => break other,
        }
    };
    assert!(matches!(stale, SocketFact::There { listening: false, .. }));
    assert_eq!(judge::l3_agent(&path, stale, true).result, Outcome::Warn);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let fact = facts::socket(&path);
    assert_eq!(judge::l3_agent(&path, fact, true).result, Outcome::Fail);
    // One that anybody could have put there: the folder is not closed.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let finding = judge::l3_agent(&link, facts::socket(&link), true);
    assert!(finding.result == Outcome::Fail && finding.found.contains("symbolic link"), "{finding:?}");
}

#[test]
fn what_is_not_well_always_says_what_it_means_and_what_to_do() {
    let path = PathBuf::from("/x");
    let refused = || Err("refused".to_owned());
    let findings = [
        judge::capabilities(Some(0)),
        judge::bpf(&Ok(false)),
        judge::bpf(&Err("refused".to_owned())),
        judge::classifier(refused()),
        judge::all_namespaces(&Err("refused".to_owned())),
        judge::descriptors(Some(1), Some(1), 1),
        judge::l3_agent(&path, SocketFact::Absent, true),
        judge::l3_agent(&path, SocketFact::Hidden("refused".to_owned()), false),
        judge::routers(0, 0, &path, Found::Absent),
        judge::routers(1, 0, &path, Found::Hidden),
        judge::running(&path, None),
        judge::directory("x", &path, &Directory::Hidden, ""),
        judge::plain_configuration(&["k.conf:3: wrong".to_owned()]).expect("something is wrong"),
        judge::keepalived(None),
        judge::release(&Installed::default()),
    ];
    let findings = findings.into_iter().chain(trusts());
    for finding in findings {
        assert_ne!(finding.result, Outcome::Ok, "{finding:?}");
        for text in [&finding.means, &finding.remedy] {
            assert!(text.as_ref().is_some_and(|text| !text.is_empty()), "{finding:?}");
        }
    }
}

/// What is found where nobody may report and a place is open, and where one is hidden.
fn trusts() -> impl Iterator<Item = Finding> {
    let closed = Trust::of(&Config::default(), None);
    let open = Trust { openings: vec!["chmod 0755 /x".to_owned()], ..closed.clone() };
    let hidden = Trust { hidden: vec!["cannot inspect /x".to_owned()], openings: Vec::new(), ..closed };
    let [nobody, _, _, open] = judge::trust(&open, true);
    let [.., hidden] = judge::trust(&hidden, true);
    assert_eq!((open.result, hidden.result), (Outcome::Fail, Outcome::Warn));
    [nobody, open, hidden].into_iter()
}

#[test]
fn instances_of_a_plain_keepalived_count_and_what_is_broken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keepalived.conf");
    let instance = |name: &str, vrid: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n virtual_ipaddress {{\n \
             192.0.2.1\n }}\n}}\n"
        )
    };
    std::fs::write(&path, instance("A", "1") + &instance("B", "none")).unwrap();
    let mut settings = Config::default().keepalived;
    settings.configs = vec![path.clone(), dir.path().join("absent.conf")];
    let plain = facts::plain(&settings);
    assert_eq!(plain.instances, 1);
    let finding = judge::plain_configuration(&plain.troubles).expect("one is broken");
    assert!(finding.found.contains(&format!("{}:10: expected virtual_router_id", path.display())), "{finding:?}");
    let routers = judge::routers(0, plain.instances, &path, Found::Absent);
    assert_eq!(routers.result, Outcome::Ok, "{routers:?}");
}

#[test]
fn a_wrong_configuration_fails_and_the_examination_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "mode = 3\n").unwrap();
    let findings = examine(Some(&path), 10, Some(|| Ok("loaded".to_owned())));
    assert_eq!(findings[0].name, "configuration");
    assert_eq!(findings[0].result, Outcome::Fail);
    let names: Vec<&str> = findings.iter().map(|finding| finding.name).collect();
    assert_eq!(
        names,
        [
            "configuration",
            "privileges",
            "confinement",
            "kernel",
            "BPF",
            "classifier",
            "netlink",
            "descriptors",
            "runtime directory",
            "state directory",
            "L3 agent",
            "routers",
            "keepalived",
            "release of keepalived",
            "reporters",
            "FIFOs",
            "hooks",
            "places",
            "agent"
        ]
    );
}

#[test]
fn where_nothing_of_neutron_is_nobody_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("none");
    assert_eq!(judge::l3_agent(&absent, facts::socket(&absent), false).result, Outcome::Ok);
    assert_eq!(judge::l3_agent(&absent, facts::socket(&absent), true).result, Outcome::Warn);
    let nobody = Trust::of(&Config::default(), None);
    assert_eq!(judge::trust(&nobody, false)[0].result, Outcome::Ok);
    assert_eq!(judge::trust(&nobody, true)[0].result, Outcome::Warn);
    assert!(facts::neutron(dir.path()), "its folder is there");
}

/// As a user who may look at nothing in a folder of root's.
#[test]
#[ignore = "needs root"]
fn privileged_what_a_user_may_not_look_at_is_called_so() {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    let path = closed.join("c.toml");
    std::fs::create_dir(&closed).unwrap();
    let (fifo, socket, hook) = (closed.join("fifo"), closed.join("admin.sock"), closed.join("hook"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut settings = Config::default();
    settings.intake.notify_fifos = vec![fifo];
    settings.actions.on_fault = Some(config::Hook { program: hook, arguments: vec![] });
    settings.keepalived.configs = vec![closed.join("keepalived.conf")];
    let words = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        let trust = Trust::of(&settings, Some(&path));
        let plain = facts::plain(&settings.keepalived);
        assert!(facts::neutron(&closed.join("neutron")), "it may be there");
        [
            judge::l3_agent(&socket, facts::socket(&socket), true).found,
            judge::routers(0, plain.instances, &closed, facts::count(&closed)).found,
            judge::running(&socket, facts::answers(&socket)).found,
            judge::directory("state directory", &closed, &facts::directory(&closed), "").found,
            trust.fifo_lines().join(""),
            trust.hook_lines().join(""),
            plain.troubles.join(""),
        ]
    });
    for words in words.join().expect("no panic") {
        assert!(words.contains("cannot look: permission"), "{words}");
    }
}
