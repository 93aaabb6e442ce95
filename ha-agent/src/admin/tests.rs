use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::fixture::{FakeBoard, IDS, id};
use super::*;
use crate::status::RouterDetail;
use crate::telemetry::event::{Event, Line};
use crate::telemetry::{Events, Telemetry, metrics};

struct Running {
    admin: Admin,
    board: Arc<FakeBoard>,
    events: Events,
    telemetry: Telemetry,
    dir: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut registry: Registry = metrics::registry();
        let (events, recent, telemetry) = crate::telemetry::start(&[], "ha-x", &mut registry, CancellationToken::new());
        let board = Arc::new(FakeBoard::default());
        collector::register(&mut registry, board.clone());
        let config =
            config::Admin { socket: dir.path().join("admin.sock"), listen: Some("127.0.0.1:0".parse().unwrap()) };
        let admin =
            Admin::start(&config, board.clone(), recent, Arc::new(registry), CancellationToken::new()).expect("starts");
        Self { admin, board, events, telemetry, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// No connection is open any more.
    async fn empties(&self) {
        let empty = async {
            while !self.admin.connections.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), empty).await.expect("the connections are closed");
    }

    async fn stop(self) {
        let socket = self.socket();
        self.admin.stop().await;
        self.telemetry.stop().await;
        assert!(!socket.exists(), "the socket is removed");
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Status line and body.
async fn ask(socket: &Path, request: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.expect("connects");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await.expect("answers in time").unwrap();
    parts(&text)
}

fn parts(text: &str) -> (u16, String) {
    let status = text[9..12].parse().expect(text);
    let body = text.split_once("\r\n\r\n").expect(text).1;
    (status, body.to_owned())
}

fn watched(index: usize) -> Event {
    Event::RouterWatched {
        instance: None,
        router_id: id(index),
        source: "config".to_owned(),
        netns: "self".to_owned(),
        interface: "ha0".to_owned(),
        vip: "169.254.0.1/24".to_owned(),
        vrid: 1,
    }
}

#[tokio::test]
async fn every_path_answers_as_the_table_says() {
    let running = Running::start();
    let socket = running.socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let router = format!("/v1/routers/{}", IDS[0]);
    let check = format!("{router}/check");
    let unknown = "/v1/routers/00000000-0000-4000-8000-000000000000";
    let busy = format!("/v1/routers/{}/check", IDS[3]);
    let unknown_check = format!("{unknown}/check");
    let active = r#"{"state":"active"}"#;
    let large = "x".repeat(2000);
    let huge = "x".repeat(5000);
    let cases: [(&str, &str, &str, u16); 22] = [
        ("GET", "/livez", "", 200),
        ("GET", "/readyz", "", 503),
        ("GET", "/metrics", "", 200),
        ("GET", "/v1/routers", "", 200),
        ("GET", &router, "", 200),
        ("GET", unknown, "", 404),
        ("GET", "/v1/routers/x", "", 404),
        ("PUT", &router, "{}", 400),
        ("POST", &router, "{}", 405),
        ("PUT", unknown, &huge, 413),
        ("PUT", "/v1/routers", "", 405),
        ("GET", "/", "", 404),
        ("GET", "/v1/events?follow=2", "", 400),
        ("GET", "/v1/events?router=x", "", 400),
        ("GET", "/v1/events", "", 200),
        ("GET", &check, "", 405),
        ("POST", &check, "{}", 400),
        ("POST", &check, r#"{"state":"primary"}"#, 400),
        ("POST", &check, &large, 413),
        ("POST", &unknown_check, active, 404),
        ("POST", &busy, active, 503),
        ("POST", &check, active, 202),
    ];
    for (method, path, body, expected) in cases {
        let (status, text) = ask(&socket, &request(method, path, body)).await;
        assert_eq!(status, expected, "{method} {path}: {text}");
    }
    assert_eq!(*running.board.checks.lock().unwrap(), [(id(0), State::Primary)]);
    assert_eq!(ask(&socket, &request("GET", "/readyz", "")).await.0, 200);
    running.stop().await;
}

#[tokio::test]
async fn the_bodies_are_the_shared_status_types() {
    let running = Running::start();
    let socket = running.socket();
    running.events.emit(watched(0));
    let (_, text) = ask(&socket, &request("GET", "/v1/routers", "")).await;
    let node: NodeStatus = serde_json::from_str(&text).expect(&text);
    assert_eq!(node, fixture::node());
    let path = format!("/v1/routers/{}", IDS[0]);
    // The event is written by another task: it is there soon, not at once.
    let detail = timeout(Duration::from_secs(5), async {
        loop {
            let (_, text) = ask(&socket, &request("GET", &path, "")).await;
            let detail: RouterDetail = serde_json::from_str(&text).expect(&text);
            if !detail.recent.is_empty() {
                break detail;
            }
        }
    })
    .await
    .expect("the event is shown");
    assert_eq!(detail.status, fixture::node().routers[0]);
    assert_eq!(detail.evidence, fixture::evidence());
    assert_eq!(detail.recent.len(), 1);
    assert_eq!(detail.recent[0].event, watched(0));
    running.stop().await;
}

fn registration(index: usize, cidr: &str) -> String {
    let body =
        format!(r#"{{"namespace":"n","interface":"ha-1","cidr":"{cidr}","conf_dir":"/ha_confs/{}"}}"#, IDS[index]);
    request("PUT", &format!("/v1/routers/{}", IDS[index]), &body)
}

/// Registered: the head and the line of the answer are there.
async fn register(socket: &Path, index: usize) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).await.expect("connects");
    stream.write_all(registration(index, "169.254.0.1/24").as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    timeout(Duration::from_secs(5), reader.read_line(&mut line)).await.expect("in time").unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    while line != "{\"registered\":true}\n" {
        line.clear();
        assert_ne!(timeout(Duration::from_secs(5), reader.read_line(&mut line)).await.expect("in time").unwrap(), 0);
    }
    reader
}

#[tokio::test]
async fn a_registration_lives_as_long_as_its_connection() {
    let running = Running::start();
    let registrations = &running.board.registrations;
    let held = register(&running.socket(), 1).await;
    let changed = timeout(Duration::from_secs(5), registrations.changed()).await.expect("told");
    let [(router, Some(newest))] = changed.as_slice() else { panic!("{changed:?}") };
    assert_eq!((*router, newest.interface.as_str()), (id(1), "ha-1"));
    drop(held);
    let changed = timeout(Duration::from_secs(5), registrations.changed()).await.expect("told");
    assert_eq!(changed, [(id(1), None)]);
    // One that is open ends with the agent, and does not hold it up.
    let mut held = register(&running.socket(), 0).await;
    running.stop().await;
    let mut rest = String::new();
    timeout(Duration::from_secs(5), held.read_to_string(&mut rest)).await.expect("ends").expect("in order");
}

#[tokio::test]
async fn who_registers_takes_nobodys_place() {
    let running = Running::start();
    let mut held = Vec::new();
    for _ in 0..server::CONNECTIONS + 8 {
        held.push(register(&running.socket(), 0).await);
    }
    assert_eq!(ask(&running.socket(), &request("GET", "/livez", "")).await.0, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_refused_registration_says_which_field_and_repeats_nothing() {
    let running = Running::start();
    let request = registration(0, "169.254.0.SECRET");
    let (status, text) = ask(&running.socket(), &request).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("cidr: expected ") && !text.contains("SECRET"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn over_tcp_only_metrics_and_health_exist() {
    let running = Running::start();
    let address = running.admin.listen().expect("an address");
    for (path, expected) in
        [("/livez", 200), ("/readyz", 503), ("/metrics", 200), ("/v1/routers", 404), ("/v1/events", 404)]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request("GET", path, "").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(parts(&text).0, expected, "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn metrics_show_each_state_and_present_anomalies() {
    let running = Running::start();
    let (_, text) = ask(&running.socket(), &request("GET", "/metrics", "")).await;
    for line in [
        format!("ha_agent_router_state{{router_id=\"{}\",state=\"primary\"}} 1", IDS[0]),
        format!("ha_agent_router_state{{router_id=\"{}\",state=\"backup\"}} 0", IDS[0]),
        format!("ha_agent_router_state{{router_id=\"{}\",state=\"unknown\"}} 1", IDS[3]),
        format!("ha_agent_router_anomaly{{router_id=\"{}\",kind=\"split_brain\"}} 1", IDS[1]),
        "ha_agent_anomalies{kind=\"flapping\"} 1".to_owned(),
        "ha_agent_anomalies{kind=\"no_primary\"} 0".to_owned(),
        "ha_agent_routers 4".to_owned(),
        "ha_agent_routers_registered 1".to_owned(),
        format!("ha_agent_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("ha_agent_process_resident_memory_bytes "), "{text}");
    assert!(text.contains("ha_agent_process_cpu_seconds_total "), "{text}");
    assert!(text.contains("# TYPE ha_agent_events_lost_total counter\n"), "{text}");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    let asked = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 Accept: application/openmetrics-text;version=1.0.0;q=0.9,*/*;q=0.1\r\n\r\n";
    let (_, text) = ask(&running.socket(), asked).await;
    assert!(text.contains("# TYPE ha_agent_events_lost counter\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    running.stop().await;
}

#[test]
fn every_anomaly_kind_has_its_metric() {
    let all = serde_json::from_str::<crate::core::model::AnomalyKind>("\"?\"").expect_err("no such kind").to_string();
    let mut known: Vec<&str> = all.split('`').skip(3).step_by(2).collect();
    let mut shown: Vec<&str> = collector::KINDS.iter().map(|kind| kind.as_str()).collect();
    known.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, known);
}

async fn next_event(reader: &mut BufReader<UnixStream>) -> Line {
    loop {
        let mut line = String::new();
        let read = timeout(Duration::from_secs(5), reader.read_line(&mut line));
        assert_ne!(read.await.expect("in time").unwrap(), 0, "ended");
        // Chunk sizes, blank lines and the head stand between the events.
        if line.starts_with('{') {
            return serde_json::from_str(&line).expect(&line);
        }
    }
}

#[tokio::test]
async fn followers_get_the_past_then_each_new_event_of_their_router() {
    let running = Running::start();
    let socket = running.socket();
    running.events.emit(watched(0));
    running.events.emit(watched(1));
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    let path = format!("/v1/events?follow=1&router={}", IDS[1]);
    stream.write_all(request("GET", &path, "").as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    assert_eq!(next_event(&mut reader).await.event, watched(1));
    let forgotten = |index| Event::RouterForgotten { router_id: id(index), reason: "test".to_owned() };
    running.events.emit(forgotten(0));
    running.events.emit(forgotten(1));
    assert_eq!(next_event(&mut reader).await.event, forgotten(1));
    // An open follower does not hold the stop up, and sees the end.
    running.stop().await;
    let mut rest = String::new();
    timeout(Duration::from_secs(5), reader.read_to_string(&mut rest)).await.expect("ends").expect("in order");
}

#[tokio::test]
async fn followers_never_keep_out_those_that_ask() {
    let running = Running::start();
    let mut followers = Vec::new();
    for expected in [200; 32].into_iter().chain([503; 4]) {
        let mut stream = UnixStream::connect(running.socket()).await.unwrap();
        stream.write_all(request("GET", "/v1/events?follow=1", "").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        running.events.emit(watched(0));
        timeout(Duration::from_secs(5), stream.read_exact(&mut head)).await.expect("an answer").unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {expected}"));
        followers.push(stream);
    }
    let (head, _) = ask(&running.socket(), &request("GET", "/livez", "")).await;
    assert_eq!(head, 200);
    drop(followers);
    running.stop().await;
}

#[tokio::test]
async fn a_follower_that_does_not_read_is_cut() {
    let running = Running::start();
    let mut stream = UnixStream::connect(running.socket()).await.unwrap();
    stream.write_all(request("GET", "/v1/events?follow=1", "").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    running.events.emit(watched(0));
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    // 3,000 lines of 3 KB exceed every buffer on the way; the ring of 1,024 is overrun.
    for number in 0..3000 {
        running.events.emit(Event::AgentStopped { reason: format!("{number:03000}") });
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    running.empties().await;
    running.stop().await;
}

/// Asks until nothing goes any more: by then its answers have filled every buffer.
async fn ask_deaf<S: AsyncWrite + Send + Unpin + 'static>(mut stream: S, asked: String) -> Box<dyn Send> {
    while let Ok(Ok(_)) = timeout(Duration::from_millis(500), stream.write(asked.as_bytes())).await {}
    Box::new(stream)
}

#[tokio::test]
async fn who_asks_and_never_reads_keeps_no_place() {
    let running = Running::start();
    let address = running.admin.listen().expect("an address");
    let asked = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(16);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4 {
        asking.spawn(ask_deaf(UnixStream::connect(running.socket()).await.unwrap(), asked.clone()));
        asking.spawn(ask_deaf(TcpStream::connect(address).await.unwrap(), asked.clone()));
    }
    let deaf = asking.join_all().await;
    assert_eq!(deaf.len(), 8);
    running.empties().await;
    assert_eq!(ask(&running.socket(), &request("GET", "/livez", "")).await.0, 200);
    running.stop().await;
}

#[tokio::test]
#[ignore = "needs promtool (Debian package prometheus)"]
async fn privileged_promtool_accepts_the_metrics() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let running = Running::start();
    running.events.emit(watched(0));
    let (_, text) = ask(&running.socket(), &request("GET", "/metrics", "")).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    running.stop().await;
}
