mod clients;
mod crowd;

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::testing::{ROUTER, Rig, router};
use super::*;
use crate::core::reporter::Naming;
use crate::telemetry::event::Event;

/// Long enough for a loaded machine; nothing here waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes and reads until the server closes.
async fn exchange(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes in time");
    String::from_utf8(bytes).expect("answers are UTF-8")
}

/// Reads one answer from a kept connection.
async fn read_answer(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time");
        bytes.push(byte.expect("an answer before the end"));
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
                return text.into_owned();
            }
        }
    }
}

fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1);
    word.and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"))
}

fn good(extra: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nX-Neutron-Router-Id: {ROUTER}\r\nX-Neutron-State: backup\r\n{extra}\r\n")
}

#[tokio::test]
async fn an_oversized_head_is_answered_to_the_end_not_reset() {
    let rig = Rig::start(|_| {});
    let oversized = good(&format!("X-Long: {}\r\n", "x".repeat(20_000)));
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
        stream.write_all(oversized.as_bytes()).await.expect("it fits into the socket's buffer");
        let mut answer = String::new();
        let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("the server closes in time");
        read.expect("an answer and an end, no reset");
        assert_eq!(status(&answer), 431);
    }
    rig.intake.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_answered_and_counted_and_nothing_of_them_is_echoed() {
    let mut rig = Rig::start(|_| {});
    let marker = "zzMARKERzz";
    let id = format!("X-Neutron-Router-Id: {ROUTER}\r\n");
    let unknown = "X-Neutron-Router-Id: 00000000-0000-4000-8000-000000000000\r\n";
    let state = "X-Neutron-State: backup\r\n";
    let head = |path: &str, headers: &[&str]| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", headers.concat())
    };
    let bad_state = format!("X-Neutron-State: {marker}\r\n");
    let bad_id = format!("X-Neutron-Router-Id: {marker}\r\n");
    let folded = format!("X-Neutron-State: back\r\n {marker}\r\n");
    let many = format!("X-{marker}: 1\r\n").repeat(40);
    let large = format!("X-Large: {}\r\n", marker.repeat(1000));
    let table: Vec<(String, u16, &str)> = vec![
        (head("/", &[state]), 400, "missing_router_id"),
        (head("/", &[&id]), 400, "missing_state"),
        (head("/", &[&id, &id, state]), 400, "duplicate_router_id"),
        (head("/", &[&id, state, state]), 400, "duplicate_state"),
        (head("/", &[&id, &bad_state]), 400, "bad_state"),
        (head("/", &[&bad_id, state]), 400, "bad_router_id"),
        (head("/", &[&id, &folded]), 400, "malformed_request"),
        (head(&format!("/{marker}"), &[&id, state]), 404, "unknown_path"),
        (head("/", &[unknown, state]), 404, "unknown_router"),
        (head("/", &[&id, state, &many]), 431, "headers_too_large"),
        (head("/", &[&id, state, &large]), 431, "headers_too_large"),
        (head("/", &[&id, state, "Content-Length: 8193\r\n"]), 413, "body_too_large"),
        (head("/", &[&id, state, "Content-Length: x\r\n"]), 400, "malformed_request"),
        (head("/", &[&id, state, "Content-Length: 1\r\nContent-Length: 2\r\n"]), 400, "malformed_request"),
        (
            format!(
                "{}2001\r\n{}\r\n0\r\n\r\n",
                head("/", &[&id, state, "Transfer-Encoding: chunked\r\n"]),
                "x".repeat(8193)
            ),
            413,
            "body_too_large",
        ),
        (format!("{}{marker}\r\n", head("/", &[&id, state, "Transfer-Encoding: chunked\r\n"])), 400, "malformed_body"),
        (format!("{marker}\r\n\r\n"), 400, "malformed_request"),
        (format!("GET / HTTP/3.7\r\nX: {marker}\r\n\r\n"), 400, "malformed_request"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}".to_owned(), 400, "malformed_request"),
    ];
    for (request, expected, reason) in table {
        let answer = exchange(&rig.config.socket, request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{request:?}\n{answer}");
        assert!(!answer.contains(marker), "{answer}");
        let event = timeout(PATIENCE, rig.events.recv()).await.unwrap().unwrap();
        assert!(!format!("{event:?}").contains(marker), "{event:?}");
        let Event::ReportRefused { status, reason: word, reporter, .. } = event else { panic!("{event:?}") };
        assert_eq!((status, word.as_str()), (expected, reason), "{request:?}");
        assert!(matches!(reporter, Some(Reporter::Socket { .. })));
    }
    assert!(rig.reports.try_recv().is_err(), "none of them is a report");
    let metrics = rig.metrics();
    assert!(metrics.contains("ha_agent_intake_refusals_total{reason=\"malformed_request\"} 6"), "{metrics}");
    rig.intake.stop().await;
}

#[tokio::test]
async fn unusual_but_sound_requests_are_taken() {
    let mut rig = Rig::start(|_| {});
    let head = |line: &str, extra: &str| {
        format!("{line}\r\nx-NEUTRON-router-ID: {ROUTER}\r\nX-NEUTRON-STATE: backup\r\n{extra}\r\n")
    };
    let close = "Connection: close\r\n";
    for request in [
        head("GET / HTTP/1.0", ""),
        head("PUT / HTTP/1.1", close),
        head("BREW / HTTP/1.1", close),
        head("GET http://127.0.0.1/ HTTP/1.1", close),
        head("POST / HTTP/1.1", &format!("Content-Length: 5\r\n{close}")) + "hello",
        head("POST / HTTP/1.1", &format!("Transfer-Encoding: chunked\r\n{close}")) + "5\r\nhello\r\n0\r\n\r\n",
    ] {
        let answer = exchange(&rig.config.socket, request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{request}\n{answer}");
        rig.reports.recv().await.unwrap();
    }
    rig.intake.stop().await;
}

#[tokio::test]
async fn length_and_chunks_together_smuggle_nothing() {
    let mut rig = Rig::start(|_| {});
    let inner = good("");
    let request = format!(
        "POST / HTTP/1.1\r\nX-Neutron-Router-Id: {ROUTER}\r\nX-Neutron-State: backup\r\n\
         Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        inner.len() + 5,
    );
    let answer = exchange(&rig.config.socket, request.as_bytes()).await;
    let reports = std::iter::from_fn(|| rig.reports.try_recv().ok()).count();
    let answers = answer.matches("HTTP/1.1 ").count();
    // However the framing is read, each report has its answer.
    assert_eq!(reports, answer.matches("HTTP/1.1 200").count(), "{answer}");
    assert!(answers >= 1, "{answer}");
    rig.intake.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::start(|_| {});
    let request = format!("{}{}{}", good(""), good("").replace("backup", "nonsense"), good("Connection: close\r\n"));
    let answer = exchange(&rig.config.socket, request.as_bytes()).await;
    let statuses: Vec<u16> = answer.split("HTTP/1.1 ").skip(1).map(|a| a[..3].parse().unwrap()).collect();
    assert_eq!(statuses, [200, 400, 200]);
    assert_eq!(std::iter::from_fn(|| rig.reports.try_recv().ok()).count(), 2);
    rig.intake.stop().await;
}

#[tokio::test]
async fn the_http2_preface_is_turned_away() {
    let mut rig = Rig::start(|_| {});
    let answer = exchange(&rig.config.socket, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    let event = timeout(PATIENCE, rig.events.recv()).await.unwrap().unwrap();
    assert!(matches!(event, Event::ReportRefused { status: 400, .. }), "{event:?}");
    rig.intake.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_503_and_passes() {
    let mut rig = Rig::start_with(2, |_| {});
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        stream.write_all(good("").as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert_eq!(answer.contains("retry-after: 1\r\n"), status(&answer) == 503, "{answer}");
        statuses.push(status(&answer));
    }
    assert_eq!(statuses, [200, 200, 503]);
    rig.reports.recv().await.unwrap();
    stream.write_all(good("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
    rig.intake.stop().await;
}

#[tokio::test]
async fn the_stop_answers_what_is_under_way_and_removes_the_socket_only() {
    let rig = Rig::start(|c| c.header_timeout = Duration::from_secs(60));
    let neighbour = rig.folder.path().join("neighbour");
    std::fs::write(&neighbour, "kept").unwrap();
    // First, so that it has been accepted when the other one is answered.
    let mut silent = UnixStream::connect(&rig.config.socket).await.unwrap();
    let mut open = UnixStream::connect(&rig.config.socket).await.unwrap();
    open.write_all(good("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut open).await), 200);

    let stop = rig.intake.stop.clone();
    let stopping = tokio::spawn(rig.intake.stop());
    stop.cancelled().await;
    open.write_all(good("").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut open).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(read_to_end(&mut silent).await, "");
    timeout(STOP_LIMIT * 2, stopping).await.expect("bounded").unwrap();
    let left: Vec<_> = std::fs::read_dir(rig.folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [neighbour]);
}

#[tokio::test]
async fn what_waits_in_the_backlog_at_the_stop_is_told() {
    // One thread: nothing is accepted while this test does not yield.
    let rig = Rig::start(|_| {});
    rig.intake.stop.cancel();
    let mut waiting = std::os::unix::net::UnixStream::connect(&rig.config.socket).unwrap();
    let reader = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut waiting, &mut answer).unwrap();
        answer
    });
    rig.intake.stop().await;
    let answer = reader.await.unwrap();
    assert_eq!(status(&answer), 503, "{answer}");
}

#[tokio::test]
async fn a_second_intake_leaves_the_first_one_alone() {
    let rig = Rig::start(|_| {});
    let (sender, _reports) = mpsc::channel(1);
    let (events, _received) = testing::events();
    let second = testing::start(&rig.config, sender, events, &mut Registry::default());
    assert!(matches!(second, Err(IntakeError::Socket(PathsError::Live(_)))));
    let answer = exchange(&rig.config.socket, good("Connection: close\r\n").as_bytes()).await;
    assert_eq!(status(&answer), 200);
    rig.intake.stop().await;
    assert!(!rig.config.socket.exists());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// A sound request with anything spliced in: as many reports as answers 200, and the next
    /// reporter is served.
    #[test]
    fn no_bytes_bring_the_server_down(
        splice in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        at in 0usize..120,
        cut in 0usize..200,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::start(|_| {});
            let mut bytes = good("Connection: close\r\n").into_bytes();
            bytes.splice(at..at, splice);
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(100)));
            let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let answer = read_to_end(&mut stream).await;
            let taken = std::iter::from_fn(|| rig.reports.try_recv().ok()).count();
            assert_eq!(answer.matches("HTTP/1.1 200").count(), taken, "{answer}");

            let next = exchange(&rig.config.socket, good("Connection: close\r\n").as_bytes()).await;
            assert_eq!(status(&next), 200);
            rig.intake.stop().await;
        });
    }
}

/// Runs the test of this name alone, in a process that may have so few descriptors.
fn in_a_process_with_descriptors(limit: u32, name: &str) -> std::process::Output {
    let script = format!("ulimit -n {limit}; exec \"$0\" --exact \"$1\" --nocapture");
    std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env("HA_AGENT_TEST_CHILD", "1")
        .output()
        .unwrap()
}

#[tokio::test]
async fn without_descriptors_reports_are_late_but_not_lost() {
    if std::env::var_os("HA_AGENT_TEST_CHILD").is_none() {
        let name = "intake::tests::without_descriptors_reports_are_late_but_not_lost";
        let output = in_a_process_with_descriptors(64, name);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
        return;
    }
    let mut rig = Rig::start(|_| {});
    let mut taken_up = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken_up.push(file);
    }
    taken_up.pop();
    let mut client = UnixStream::connect(&rig.config.socket).await.unwrap();
    client.write_all(good("Connection: close\r\n").as_bytes()).await.unwrap();
    let event = timeout(PATIENCE, rig.events.recv()).await.unwrap().unwrap();
    let Event::ChannelDegraded { channel, .. } = event else { panic!("{event:?}") };
    assert_eq!(channel, "report");
    // Half a second of want: one event, and a handful of attempts rather than a busy loop.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(rig.events.try_recv().is_err());
    let errors = rig.intake.shared.metrics.accept_errors.get();
    assert!((2..10).contains(&errors), "{errors}");
    drop(taken_up);
    assert_eq!(status(&read_to_end(&mut client).await), 200);
    let event = timeout(PATIENCE, rig.events.recv()).await.unwrap().unwrap();
    assert!(matches!(event, Event::ChannelRestored { .. }), "{event:?}");
    rig.intake.stop().await;
}

/// Python talks to the socket as another user: what it prints is the answer's status line.
fn as_user(uid: u32, socket: &Path, code: &str) -> std::process::Command {
    let prelude = "import socket,sys,time,os\n\
        def dial():\n s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); return s\n";
    let mut command = std::process::Command::new("setpriv");
    command
        .args([&format!("--reuid={uid}"), "--regid=4001", "--clear-groups"])
        .args(["/usr/bin/python3", "-c", &format!("{prelude}{code}")])
        .arg(socket)
        .stdout(std::process::Stdio::piped());
    command
}

fn open_folder(rig: &Rig) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(rig.folder.path(), mode).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_another_user_needs_to_be_allowed() {
    let mut rig = Rig::start(|c| {
        c.socket_mode = 0o666;
        c.allow_uids = vec![4001];
    });
    open_folder(&rig);
    let code = format!(
        "s=dial(); s.sendall({:?}.encode()); print(s.recv(4096).split(b'\\r')[0].decode(), end='')",
        good("Connection: close\r\n")
    );
    for (uid, expected) in [(4001, "HTTP/1.1 200 OK"), (4002, "HTTP/1.1 403 Forbidden")] {
        let output = as_user(uid, &rig.config.socket, &code).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "uid {uid}");
    }
    let report = rig.reports.recv().await.unwrap();
    // Both have gone, and have their names.
    let named = |reporter: &Reporter, of: u32| match reporter {
        Reporter::Socket { uid, gid: Some(4001), process: Naming::Named(process), .. } => {
            assert_eq!((*uid, &*process.command), (of, "python3"), "{process:?}");
        }
        other => panic!("{other:?}"),
    };
    named(&report.reporter, 4001);
    let refused = std::iter::from_fn(|| rig.events.try_recv().ok()).find_map(|event| match event {
        Event::ReportRefused { status: 403, reason, reporter, .. } => Some((reason, reporter?)),
        _ => None,
    });
    let (reason, reporter) = refused.expect("told");
    assert_eq!(reason, "peer_not_allowed");
    named(&reporter, 4002);
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_a_user_is_bound_to_its_routers() {
    let other = "00000000-0000-4000-8000-000000000000";
    let mut rig = Rig::start(|c| {
        c.socket_mode = 0o666;
        let routers = config::Granted::These([other.parse().unwrap()].into());
        c.grants = vec![config::Grant { to: config::Grantee::User(4001), routers }];
    });
    open_folder(&rig);
    let code = |id: &str| {
        let request = good("Connection: close\r\n").replace(ROUTER, id);
        format!("s=dial(); s.sendall({request:?}.encode()); print(s.recv(4096).split(b'\\r')[0].decode(), end='')")
    };
    // Its own router is not watched here, and another's is: it learns of its own alone.
    for (id, expected) in [(ROUTER, "HTTP/1.1 403 Forbidden"), (other, "HTTP/1.1 404 Not Found")] {
        let output = as_user(4001, &rig.config.socket, &code(id)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{id}");
    }
    assert_eq!(rig.refusals(), [(403, "router_not_granted".to_owned()), (404, "unknown_router".to_owned())]);
    rig.config.grants[0].routers = config::Granted::These([router()].into());
    rig.intake.reload(&rig.config);
    let output = as_user(4001, &rig.config.socket, &code(ROUTER)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "HTTP/1.1 200 OK");
    rig.intake.stop().await;
}
