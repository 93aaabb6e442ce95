use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::timeout;

use super::line::{Cut, Lines};
use super::*;
use crate::core::model::{Reporter, State};
use crate::intake::testing::{self, router};
use crate::telemetry::event::Event;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_state_that_keepalived_writes() {
    let table = [
        ("MASTER", Some(State::Primary)),
        ("BACKUP", Some(State::Backup)),
        ("FAULT", Some(State::Fault)),
        ("STOP", Some(State::Backup)),
        ("DELETED", Some(State::Backup)),
        ("MASTER_RX_LOWER_PRI", None),
        ("MASTER_PRIORITY", None),
        ("BACKUP_PRIORITY", None),
    ];
    for (word, claim) in table {
        for (text, kind) in [("INSTANCE", Kind::Instance), ("GROUP", Kind::Group)] {
            let line = format!("{text} \"VR_11\" {word} 100");
            let expected = Line { kind, name: "VR_11", claim, priority: 100 };
            assert_eq!(parse_line(line.as_bytes()), Ok(expected));
        }
    }
}

#[test]
fn garbage_is_named() {
    let table: [(&[u8], LineError); 17] = [
        (b"", LineError::Kind),
        (b"INSTANCE", LineError::Kind),
        (b"INSTANCE VR MASTER 100", LineError::Kind),
        (b"instance \"a\" MASTER 100", LineError::Kind),
        (b" INSTANCE \"a\" MASTER 100", LineError::Kind),
        (b"INSTANCE  \"a\" MASTER 100", LineError::Kind),
        (b"INSTANCE \"a", LineError::Name),
        (b"INSTANCE \"\" MASTER 100", LineError::Name),
        (b"INSTANCE \"a\x07\" MASTER 100", LineError::Name),
        (b"INSTANCE \"\xff\" MASTER 100", LineError::Name),
        (b"INSTANCE \"a\" MASTER", LineError::State),
        (b"INSTANCE \"a\" master 100", LineError::State),
        (b"INSTANCE \"a\" PRIMARY 100", LineError::State),
        (b"INSTANCE \"a\" MASTER ", LineError::Priority),
        (b"INSTANCE \"a\" MASTER 256", LineError::Priority),
        (b"INSTANCE \"a\" MASTER +1", LineError::Priority),
        (b"INSTANCE \"a\" MASTER 100 ", LineError::Priority),
    ];
    for (line, error) in table {
        assert_eq!(parse_line(line), Err(error), "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn an_overlong_line_is_skipped_to_its_newline() {
    let mut lines = Lines::default();
    let long = vec![b'x'; MAX_LINE];
    assert_eq!(lines.push(&long), []);
    assert_eq!(lines.push(b"\n"), [Cut::Line(long.clone())]);
    assert_eq!(lines.push(&long), []);
    assert_eq!(lines.push(b"x"), []);
    assert_eq!(lines.push(&long), []);
    assert_eq!(lines.push(b"tail\nnext\nbegun"), [Cut::TooLong, Cut::Line(b"next".to_vec())]);
    assert!(lines.abandon());
    assert!(!lines.abandon());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse_line(&bytes);
    }

    #[test]
    fn what_is_nearly_a_line_is_read_without_a_panic(line in "(INSTANCE|GROUP|X)? ?\"?[a-z\" ]{0,6}\"? ?(MASTER|BACKUP|STOP|Z)? ?[0-9+-]{0,4} ?") {
        if let Ok(read) = parse_line(line.as_bytes()) {
            prop_assert!(!read.name.is_empty() && !read.name.contains('"'));
        }
    }

    #[test]
    fn every_sound_line_is_read_back(name in "[^\"\\p{Cc}]{1,40}", priority: u8) {
        let line = format!("INSTANCE \"{name}\" BACKUP {priority}");
        let read = parse_line(line.as_bytes()).unwrap();
        prop_assert_eq!((read.name, read.priority), (name.as_str(), priority));
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut(
        text in "[ab\n]{0,40}",
        cuts in proptest::collection::vec(1usize..8, 1..20),
    ) {
        let mut whole = Lines::default();
        let expected = whole.push(text.as_bytes());
        let (mut pieces, mut rest, mut found) = (Lines::default(), text.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            found.extend(pieces.push(piece));
            rest = after;
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(pieces.abandon(), whole.abandon());
    }
}

struct Rig {
    fifo: Fifo,
    path: PathBuf,
    reports: mpsc::Receiver<Report>,
    events: mpsc::Receiver<Event>,
    registry: Registry,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start(queue: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let (sender, reports) = mpsc::channel(queue);
        let (emitter, events) = testing::events();
        let mut registry = Registry::default();
        let fifo = start(&path, sender, emitter, &mut registry).unwrap();
        Self { fifo, path, reports, events, registry, _folder: folder }
    }

    async fn report(&mut self) -> State {
        let report = timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap();
        assert_eq!((report.router, report.reporter), (router(), Reporter::Fifo));
        report.state
    }

    async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn start(
    path: &Path,
    reports: mpsc::Sender<Report>,
    events: Events,
    registry: &mut Registry,
) -> Result<Fifo, FifoError> {
    let config = config::Intake { notify_fifos: vec![path.to_owned()], ..testing::config(Path::new("/nowhere")) };
    let told = (events, Troubles::default());
    Fifo::start(&config, testing::directory(), reports, told, registry, CancellationToken::new())
}

/// Opens as keepalived does: for reading too, and without waiting.
fn open_as_keepalived(path: &Path) -> std::fs::File {
    std::fs::File::options().read(true).write(true).open(path).unwrap()
}

#[tokio::test]
async fn lines_become_reports_in_order() {
    let mut rig = Rig::start(16);
    let kind = std::fs::symlink_metadata(&rig.path).unwrap();
    assert!(kind.file_type().is_fifo());
    assert_eq!(kind.mode() & 0o7777, 0o600);
    let mut writer = open_as_keepalived(&rig.path);
    writer
        .write_all(
            b"INSTANCE \"VR_1\" MASTER 50\nGROUP \"VG\" MASTER 0\nINSTANCE \"VR_1\" MASTER_PRIORITY 60\n\
              INSTANCE \"VR_1\" FAULT 50\nINSTANCE \"VR_1\" BACKUP 50\nINSTANCE \"VR_1\" STOP 50\n",
        )
        .unwrap();
    for state in [State::Primary, State::Fault, State::Backup, State::Backup] {
        assert_eq!(rig.report().await, state);
    }
    let metrics = rig.metrics();
    for line in ["{result=\"taken\"} 4", "{result=\"ignored\"} 2", "{result=\"refused\"} 0", "intake_fifo_writers 1"] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    rig.fifo.stop().await;
}

#[tokio::test]
async fn garbage_is_refused_and_what_follows_is_read() {
    let mut rig = Rig::start(16);
    let mut writer = open_as_keepalived(&rig.path);
    let long = "zzMARKERzz".repeat(100);
    let text = format!("zzMARKERzz\nINSTANCE \"zzMARKERzz\" MASTER 1\n{long}\nINSTANCE \"VR_1\" MASTER 1\n");
    writer.write_all(text.as_bytes()).unwrap();
    assert_eq!(rig.report().await, State::Primary);
    for expected in ["malformed_line", "unknown_instance", "line_too_long"] {
        let event = rig.event().await;
        assert!(!format!("{event:?}").contains("MARKER"), "{event:?}");
        let Event::ReportRefused { status: 0, reason, reporter: Some(Reporter::Fifo), .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!(reason, expected);
    }
    rig.fifo.stop().await;
}

#[tokio::test]
async fn lines_of_other_kinds_are_passed_over_and_counted() {
    let mut rig = Rig::start(16);
    let mut writer = open_as_keepalived(&rig.path);
    // As keepalived 2.2.7 writes them.
    let text = b"VS [192.0.2.1]:tcp:80 UP\nRS [192.0.2.7]:tcp:80 [192.0.2.1]:tcp:80 DOWN\nBFD \"b\" Up\nGROUP \"G\" MASTER 0\n\
                 INSTANCE \"VR_1\" MASTER 1\n";
    writer.write_all(text).unwrap();
    assert_eq!(rig.report().await, State::Primary);
    let metrics = rig.metrics();
    for line in ["{result=\"ignored\"} 4", "{result=\"refused\"} 0"] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    rig.fifo.stop().await;
}

#[tokio::test]
async fn lines_that_wait_at_the_start_are_read_once_the_instances_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut writer = open_as_keepalived(&path);
    writer.write_all(b"INSTANCE \"VI_9\" MASTER 1\n").unwrap();
    let config = config::Intake { notify_fifos: vec![path], ..testing::config(Path::new("/nowhere")) };
    let (sender, mut reports) = mpsc::channel(16);
    let (emitter, mut events) = testing::events();
    let (directory, told) = (Arc::new(Directory::default()), (emitter, Troubles::default()));
    let stop = CancellationToken::new();
    let fifo = Fifo::start(&config, directory.clone(), sender, told, &mut Registry::default(), stop).unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        directory.replace(&[testing::named("VI_9")]);
        directory.completed();
    };
    let (report, ()) = tokio::join!(timeout(PATIENCE, reports.recv()), later);
    assert_eq!(report.unwrap().unwrap().state, State::Primary);
    let told: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert!(matches!(told[..], [Event::ReportReceived { .. }]), "{told:?}");
    fifo.stop().await;
}

#[tokio::test]
async fn a_fifo_that_nobody_writes_into_is_named_with_both_causes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let config = config::Intake { notify_fifos: vec![path.clone()], ..testing::config(Path::new("/nowhere")) };
    let (sender, _reports) = mpsc::channel(16);
    let (emitter, mut events) = testing::events();
    let troubles = Troubles::default();
    let (told, stop) = ((emitter, troubles.clone()), CancellationToken::new());
    let (directory, mut registry, at_once) = (testing::directory(), Registry::default(), Duration::ZERO);
    let fifo = Fifo::start_tuned(&config, directory, sender, told, &mut registry, stop, at_once).unwrap();
    let degraded = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    let Event::ChannelDegraded { channel, reason, router_id: None } = degraded else { panic!("{degraded:?}") };
    for words in [path.to_str().unwrap(), "before the FIFO's folder was there", "before script_user"] {
        assert!(reason.contains(words), "{reason}");
    }
    let shown = troubles.degraded();
    assert_eq!((channel.as_str(), shown.len(), &shown[0].reason), ("report", 1, &reason), "`status` shows it");
    let _writer = open_as_keepalived(&path);
    let restored = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(matches!(restored, Event::ChannelRestored { .. }), "{restored:?}");
    assert_eq!(troubles.degraded(), []);
    fifo.stop().await;
}

#[tokio::test]
async fn a_second_agent_is_refused_also_after_the_first_one_opened_it_again() {
    let mut rig = Rig::start(16);
    let second = |path: &Path| {
        let (sender, _reports) = mpsc::channel(1);
        let (events, _received) = testing::events();
        start(path, sender, events, &mut Registry::default())
    };
    assert!(matches!(second(&rig.path), Err(FifoError::InUse(_))));
    open_as_keepalived(&rig.path).write_all(b"INSTANCE \"VR_1\" MASTER 1\n").unwrap();
    assert_eq!(rig.report().await, State::Primary);
    while rig.metrics().contains("intake_fifo_writers 1") {
        tokio::task::yield_now().await;
    }
    assert!(matches!(second(&rig.path), Err(FifoError::InUse(_))));
    rig.fifo.stop().await;
    second(&rig.path).expect("it is free").stop().await;
}

#[tokio::test]
async fn a_fifo_that_is_bound_to_routers_speaks_for_no_other() {
    let mut rig = Rig::start(16);
    let mut writer = open_as_keepalived(&rig.path);
    let path = rig.path.clone();
    let bound = |id: &str| {
        let mut config = testing::config(Path::new("/nowhere"));
        let routers = Granted::These([id.parse().unwrap()].into());
        config.grants = vec![Grant { to: Grantee::Fifo(path.clone()), routers }];
        config
    };
    rig.fifo.reload(&bound("00000000-0000-4000-8000-000000000000"));
    writer.write_all(b"INSTANCE \"VR_1\" MASTER 1\n").unwrap();
    let event = rig.event().await;
    let Event::ReportRefused { router_id, reason, .. } = event else { panic!("{event:?}") };
    assert_eq!((router_id, reason.as_str()), (Some(router()), "instance_not_granted"));
    rig.fifo.reload(&bound(testing::ROUTER));
    writer.write_all(b"INSTANCE \"VR_1\" FAULT 1\n").unwrap();
    assert_eq!(rig.report().await, State::Fault);
    rig.fifo.stop().await;
}

#[tokio::test]
async fn writers_come_and_go_and_nothing_is_lost() {
    let mut rig = Rig::start(16);
    for round in 0..20 {
        let mut writer = open_as_keepalived(&rig.path);
        writer.write_all(b"INSTANCE \"VR_1\" MASTER 1\nINSTANCE \"VR_1\" BAC").unwrap();
        writer.write_all(b"KUP 1\n").unwrap();
        drop(writer);
        assert_eq!(rig.report().await, State::Primary, "round {round}");
        assert_eq!(rig.report().await, State::Backup, "round {round}");
    }
    // A line that its writer did not end is no line.
    open_as_keepalived(&rig.path).write_all(b"INSTANCE \"VR_1\" FAU").unwrap();
    let refused = loop {
        if let Event::ReportRefused { reason, .. } = rig.event().await {
            break reason;
        }
    };
    assert_eq!(refused, "malformed_line");
    open_as_keepalived(&rig.path).write_all(b"INSTANCE \"VR_1\" FAULT 1\n").unwrap();
    assert_eq!(rig.report().await, State::Fault);
    rig.fifo.stop().await;
}

#[tokio::test]
async fn a_writer_that_says_nothing_does_not_keep_the_reader_busy() {
    let mut rig = Rig::start(16);
    drop(open_as_keepalived(&rig.path));
    // The runtime has this thread alone: a reader that spins would use its time up.
    let used = || {
        let clock = rustix::time::ClockId::ThreadCPUTime;
        let at = rustix::time::clock_gettime(clock);
        Duration::new(at.tv_sec.unsigned_abs(), at.tv_nsec.try_into().unwrap())
    };
    let before = used();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let spent = used().saturating_sub(before);
    assert!(spent < Duration::from_millis(100), "{spent:?}");
    open_as_keepalived(&rig.path).write_all(b"INSTANCE \"VR_1\" FAULT 1\n").unwrap();
    assert_eq!(rig.report().await, State::Fault);
    rig.fifo.stop().await;
}

#[tokio::test]
async fn a_full_queue_keeps_lines_waiting() {
    let mut rig = Rig::start(1);
    let mut writer = open_as_keepalived(&rig.path);
    writer.write_all("INSTANCE \"VR_1\" MASTER 1\nINSTANCE \"VR_1\" BACKUP 1\n".repeat(100).as_bytes()).unwrap();
    for _ in 0..100 {
        assert_eq!(rig.report().await, State::Primary);
        assert_eq!(rig.report().await, State::Backup);
    }
    rig.fifo.stop().await;
}

#[tokio::test]
async fn a_fifo_that_is_replaced_is_found_again() {
    let mut rig = Rig::start(16);
    let mut writer = open_as_keepalived(&rig.path);
    writer.write_all(b"INSTANCE \"VR_1\" MASTER 1\n").unwrap();
    assert_eq!(rig.report().await, State::Primary);
    std::fs::remove_file(&rig.path).unwrap();
    std::fs::write(&rig.path, "not a FIFO").unwrap();
    drop(writer);
    let degraded = loop {
        if let Event::ChannelDegraded { channel, .. } = rig.event().await {
            break channel;
        }
    };
    assert_eq!(degraded, "report");
    std::fs::remove_file(&rig.path).unwrap();
    assert!(matches!(rig.event().await, Event::ChannelRestored { .. }));
    open_as_keepalived(&rig.path).write_all(b"INSTANCE \"VR_1\" BACKUP 1\n").unwrap();
    assert_eq!(rig.report().await, State::Backup);
    rig.fifo.stop().await;
}

#[tokio::test]
async fn what_is_not_a_safe_fifo_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let (sender, _reports) = mpsc::channel(1);
        let (events, _received) = testing::events();
        start(path, sender, events, &mut Registry::default()).unwrap_err()
    };
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(refused(&file), FifoError::NotAFifo(_)));

    let rig = Rig::start(1);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&rig.path, &link).unwrap();
    assert!(matches!(refused(&link), FifoError::Path(PathsError::Symlink(_))));

    std::fs::set_permissions(&rig.path, std::fs::Permissions::from_mode(0o622)).unwrap();
    assert!(matches!(refused(&rig.path), FifoError::Path(PathsError::Writable { .. })));
    assert!(matches!(refused(&folder.path().join("no/dir")), FifoError::Path(PathsError::Io { .. })));
    rig.fifo.stop().await;
}

/// A namespace with one end of a veth and a keepalived in it; everything goes with it.
struct Keepalived {
    netns: String,
    process: std::process::Child,
}

impl Keepalived {
    fn start(folder: &Path, fifo: &Path) -> Self {
        let netns = format!("ha-agent-fifo-{}", std::process::id());
        let config = folder.join("keepalived.conf");
        std::fs::write(
            &config,
            format!(
                "global_defs {{\n notify_fifo {}\n}}\nvrrp_instance VR_1 {{\n state BACKUP\n \
                 interface v0\n virtual_router_id 1\n priority 50\n advert_int 1\n \
                 virtual_ipaddress {{\n 169.254.0.1/24 dev v0\n }}\n}}\n",
                fifo.display()
            ),
        )
        .unwrap();
        ip(&["netns", "add", &netns]);
        let process = std::process::Command::new("ip")
            .args(["netns", "exec", &netns, "sh", "-ec"])
            .arg(
                "ip link add v0 type veth peer name v1; ip addr add 10.0.0.1/24 dev v0
                 ip link set v0 up; ip link set v1 up; ip link set lo up
                 cd \"$0\"; exec keepalived -n -P -f keepalived.conf -p ./pid -r ./vrrp.pid",
            )
            .arg(folder)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self { netns, process }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its child ends with it only if it is asked.
        self.signal(rustix::process::Signal::TERM);
        let _ = self.process.wait();
        ip(&["netns", "del", &self.netns]);
    }
}

fn ip(arguments: &[&str]) {
    let status = std::process::Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_real_keepalived_is_read_through_reload_and_stop() {
    let mut rig = Rig::start(16);
    let folder = tempfile::tempdir().unwrap();
    let inode = std::fs::metadata(&rig.path).unwrap().ino();
    let keepalived = Keepalived::start(folder.path(), &rig.path);
    while rig.report().await != State::Primary {}
    assert!(rig.metrics().contains("intake_fifo_writers 1"));

    // The reload closes the FIFO and opens it again, and says nothing of its state.
    keepalived.signal(rustix::process::Signal::HUP);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.metrics().contains("intake_fifo_writers 1"), "{}", rig.metrics());

    keepalived.signal(rustix::process::Signal::TERM);
    assert_eq!(rig.report().await, State::Backup);
    drop(keepalived);
    assert_eq!(std::fs::metadata(&rig.path).unwrap().ino(), inode, "the FIFO stays ours");
    assert!(!rig.metrics().contains("result=\"refused\"} 1"), "{}", rig.metrics());
    rig.fifo.stop().await;
}
