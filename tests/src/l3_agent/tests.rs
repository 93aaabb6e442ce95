use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::{L3Agent, Mode};

const SOON: Duration = Duration::from_secs(5);

/// Sends bytes and reads to the end.
fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("someone listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn notification(router: Uuid, state: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-neutron-router-id: {router}\r\nx-neutron-state: {state}\r\n\r\n")
}

#[test]
fn answers_as_neutron_27_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    let router = Uuid::new_v4();
    let answer = ask(agent.path(), &notification(router, "primary"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer:?}");
    assert!(!answer.contains('\r'), "bare line feeds: {answer:?}");
    assert!(!answer.contains("\n\n"), "no blank line: {answer:?}");
    assert!(answer.ends_with("Content-Location': http://127.0.0.1/"), "{answer:?}");
    agent.expect(SOON, router, &["primary"]).expect("heard");
}

#[test]
fn keeps_the_order_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    let router = Uuid::new_v4();
    ask(agent.path(), &notification(router, "backup"));
    agent.stop();
    assert!(agent.path().exists(), "the socket's file stays");
    assert!(UnixStream::connect(agent.path()).is_err(), "nobody answers");
    agent.listen().expect("listening again");
    ask(agent.path(), &notification(router, "primary"));
    agent.expect(SOON, router, &["backup", "primary"]).expect("heard");
}

#[test]
fn a_head_in_two_parts_is_lost_on_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    assert_eq!(ask(agent.path(), "GET / HTTP/1.1\r\n"), "");
    assert!(agent.heard().is_empty());
}

#[test]
fn misbehaves_on_demand() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    let request = notification(Uuid::new_v4(), "primary");
    agent.set_mode(Mode::Refusing);
    assert!(ask(agent.path(), &request).starts_with("HTTP/1.1 500 "));
    agent.set_mode(Mode::Nonsense);
    assert!(!ask(agent.path(), &request).starts_with("HTTP/"));
    assert!(agent.heard().is_empty());
    assert_eq!(agent.connections(), 2);
}

#[test]
fn stops_while_a_client_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    agent.set_mode(Mode::Hanging);
    let mut stream = UnixStream::connect(agent.path()).expect("connected");
    stream.write_all(notification(Uuid::new_v4(), "primary").as_bytes()).expect("written");
    agent.stop();
    assert!(agent.heard().is_empty());
}

#[test]
fn takes_a_json_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = L3Agent::start(&folder.path().join("socket")).expect("listening");
    let router = Uuid::new_v4();
    let body = format!(
        r#"{{"schema":1,"host":"h","batch":1,"states":[{{"router_id":"{router}","state":"backup","sequence":7}}]}}"#
    );
    let answer =
        ask(agent.path(), &format!("POST /v1/ha-states HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer:?}");
    assert_eq!(agent.heard()[0].sequence, Some(7));
    agent.expect(SOON, router, &["backup"]).expect("heard");
}
