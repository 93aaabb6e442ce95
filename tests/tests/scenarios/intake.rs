//! Requests that are wrong get a clear answer, an event, and change nothing.

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use ha_agent_tests::report;
use serde_json::json;
use uuid::Uuid;

#[test]
#[ignore = "needs root"]
fn malformed_oversized_and_foreign_requests() -> Result<()> {
    let mut pair = Scene::default().start("requests")?;
    let id = pair.router.id;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let long = "x".repeat(20_000);
    let cases: &[(String, &[u16])] = &[
        (format!("{head}X-Neutron-State: primary\r\n\r\n"), &[400]),
        (format!("{head}X-Neutron-Router-Id: {id}\r\n\r\n"), &[400]),
        (format!("{head}X-Neutron-Router-Id: {id}\r\nX-Neutron-State: banana\r\n\r\n"), &[400]),
        (format!("{head}X-Neutron-Router-Id: ../../etc\r\nX-Neutron-State: primary\r\n\r\n"), &[400]),
        (
            format!("{head}X-Neutron-Router-Id: {id}\r\nX-Neutron-State: primary\r\nX-Neutron-State: backup\r\n\r\n"),
            &[400],
        ),
        (format!("{head}X-Neutron-Router-Id: {id}\r\nX-Long: {long}\r\n\r\n"), &[413, 431]),
        (format!("{head}X-Neutron-Router-Id: {}\r\nX-Neutron-State: primary\r\n\r\n", Uuid::new_v4()), &[404]),
        ("\x16\x03\x01 hello\r\n\r\n".to_owned(), &[400]),
    ];
    for (request, expected) in cases {
        let answer = report::send(&pair.b.agent.socket(), request.as_bytes())?;
        let status = report::status(&answer)?;
        assert!(expected.contains(&status), "{request:.80?} was answered {answer:?}");
        assert!(!answer.contains("banana") && !answer.contains("etc"), "no echo: {answer:?}");
    }
    for status in [400, 404] {
        pair.b.agent.events.expect(SLACK, &json!({"event": "report.refused", "status": status}))?;
    }
    // Half a request: answered or closed after the header time-out, and in the way of nobody.
    let slow = std::thread::spawn({
        let socket = pair.b.agent.socket();
        move || report::send(&socket, b"POST / HTTP/1.1\r\n")
    });
    assert_eq!(pair.b.claim("backup")?, 200);
    let answer = slow.join().expect("the slow one ends")?;
    assert!(answer.is_empty() || report::status(&answer)? == 408, "{answer:?}");
    pair.heard(&["primary"], &["backup"])
}
