use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use super::*;
use crate::core::model::State;

const ROUTER: &str = "8f3c1d2e-4b5a-4c6d-9e7f-0123456789ab";

fn args(words: &[&str]) -> Args {
    Args {
        router: ROUTER.to_owned(),
        words: words.iter().map(|w| (*w).to_owned()).collect(),
        token_file: None,
        timeout: Duration::from_secs(5),
        retries: DEFAULT_RETRIES,
    }
}

/// A server that gives these answers, one a connection, and returns what it was asked.
fn server(socket: &Path, answers: &'static [&'static str]) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        answers
            .iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut bytes = [0; 4096];
                // The request must come in one segment.
                let n = stream.read(&mut bytes).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8_lossy(&bytes[..n]).into_owned()
            })
            .collect()
    })
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ntaken\n";
const STOPPING: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\nstopping\n";

#[test]
fn both_forms_in_either_case() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let table = [
        ("MASTER", Some(Some(State::Primary))),
        ("master", Some(Some(State::Primary))),
        ("primary", Some(Some(State::Primary))),
        ("PRIMARY", Some(Some(State::Primary))),
        ("Backup", Some(Some(State::Backup))),
        ("stop", Some(Some(State::Backup))),
        ("fault", Some(Some(State::Fault))),
        ("unknown", Some(Some(State::Unknown))),
        ("INSTANCE VR_1 MASTER 50", Some(Some(State::Primary))),
        ("GROUP VG_1 FAULT 0", Some(Some(State::Fault))),
        ("instance VR_1 deleted 50", Some(Some(State::Backup))),
        ("INSTANCE VR_1 MASTER_RX_LOWER_PRI 50", Some(None)),
        ("", None),
        ("active", None),
        ("INSTANCE VR_1 MASTER", None),
        ("INSTANCE VR_1 MASTER 256", None),
        ("VRRP VR_1 MASTER 50", None),
        ("MASTER BACKUP", None),
    ];
    for (line, expected) in table {
        assert_eq!(words::claim(&words(line)), expected, "{line:?}");
    }
    assert_eq!(words::claim(&[]), None);
}

#[test]
fn a_state_is_told_in_one_segment_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let server = server(&socket, &[TAKEN]);
    let mut args = args(&["INSTANCE", "VR_1", "MASTER", "50"]);
    args.token_file = Some(token);
    run(&socket, args).unwrap();
    let asked = server.join().unwrap().remove(0);
    for header in [
        format!("X-Neutron-Router-Id: {ROUTER}\r\n"),
        "X-Neutron-State: primary\r\n".to_owned(),
        "X-Ha-Agent-Instance: VR_1\r\n".to_owned(),
        "Authorization: Bearer secret\r\n".to_owned(),
        "Connection: close\r\n".to_owned(),
    ] {
        assert!(asked.contains(&header), "{asked}");
    }
    assert!(asked.ends_with("\r\n\r\n"), "{asked}");
}

#[test]
fn it_tries_again_while_the_agent_is_absent_or_busy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    // Stale at first, then gone, then stopping, then there.
    drop(UnixListener::bind(&socket).unwrap());
    let path = socket.clone();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::remove_file(&path).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        server(&path, &[STOPPING, "", TAKEN]).join().unwrap()
    });
    run(&socket, args(&["BACKUP"])).unwrap();
    assert_eq!(later.join().unwrap().len(), 3);
}

#[test]
fn it_gives_up_in_time_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let mut short = args(&["BACKUP"]);
    short.timeout = Duration::from_millis(300);
    let begin = Instant::now();
    let error = run(&socket, short.clone()).unwrap_err();
    assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(3));

    // A full backlog, and then a server that never answers.
    let listener = crate::paths::bind_unix(&socket, 0o600, None, 0).unwrap();
    let held = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let error = run(&socket, short.clone()).unwrap_err();
    assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
    drop((listener.accept(), held));
    let error = run(&socket, short.clone()).unwrap_err();
    assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");

    short.retries = 0;
    short.timeout = Duration::from_secs(5);
    let begin = Instant::now();
    run(&folder.path().join("none"), short).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(1), "no retries were asked for");
}

#[test]
fn a_no_is_final_and_printable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let server = server(&socket, &["HTTP/1.1 404 Not Found\r\n\r\nnot\u{1b}[31m known\n"]);
    let error = run(&socket, args(&["BACKUP"])).unwrap_err();
    assert_eq!(error.to_string(), "the agent refused the state (404): not [31m known");
    server.join().unwrap();
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    assert!(matches!(run(&socket, args(&["active"])), Err(NotifyError::Words)));
    run(&socket, args(&["MASTER_PRIORITY"])).expect("no change of state, no request");

    let mut token = args(&["BACKUP"]);
    token.token_file = Some(folder.path().join("none"));
    assert!(matches!(run(&socket, token.clone()), Err(NotifyError::Token { .. })));
    let bad = folder.path().join("bad");
    std::fs::write(&bad, "two words\n").unwrap();
    token.token_file = Some(bad);
    assert!(matches!(run(&socket, token), Err(NotifyError::Token { .. })));

    let server = server(&socket, &["SSH-2.0-x\r\n"]);
    assert!(matches!(run(&socket, args(&["BACKUP"])), Err(NotifyError::Socket { .. })));
    server.join().unwrap();
}

#[test]
fn it_waits_for_no_end_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let server =
        server(&socket, &["HTTP/1.1 503 Service Unavailable\r\nRetry-After: 18446744073709551615\r\n\r\nnever\n"]);
    let error = run(&socket, args(&["BACKUP"])).unwrap_err();
    assert!(matches!(&error, NotifyError::Unreachable { last, .. } if last == "503 never"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_router_is_named_by_its_instance_and_a_name_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let server = server(&socket, &[TAKEN, "HTTP/1.1 409 Conflict\r\n\r\nseveral:\n  one\x1b[31m\n  two\n"]);
    let named = |router: &str, words: &[&str]| run(&socket, Args { router: router.to_owned(), ..args(words) });
    named("blue/VI_1", &["GROUP", "VG_1", "MASTER", "50"]).unwrap();
    let error = named("VI_1", &["BACKUP"]).unwrap_err().to_string();
    assert!(error.contains("(409): several:\n  one [31m\n  two"), "{error}");
    let asked = server.join().unwrap().remove(0);
    assert!(asked.contains("X-Ha-Agent-Router: blue/VI_1\r\n") && !asked.contains("X-Neutron-Router-Id"), "{asked}");
    assert!(!asked.contains("X-Ha-Agent-Instance"), "a group is no instance: {asked}");
    let long = "x".repeat(256);
    for name in ["", " VI_1", "a\nb", "a\rX-Neutron-State: fault", &long] {
        assert!(matches!(named(name, &["BACKUP"]), Err(NotifyError::Name)), "{name:?}");
        assert!(matches!(named("VI_1", &["INSTANCE", name, "BACKUP", "50"]), Err(NotifyError::Name)), "{name:?}");
    }
}
