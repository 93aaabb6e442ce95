use super::*;

fn monitor() -> Monitor {
    Monitor {
        router_id: "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d".to_owned(),
        namespace: "snat-2f0c1c52".to_owned(),
        conf_dir: "/var/lib/\"neutron\\\n".to_owned(),
        interface: "ha-1b2c3d4e-5f".to_owned(),
        cidr: "169.254.0.1/24".to_owned(),
        conntrackd: true,
        user: Some("42435".to_owned()),
        group: None,
    }
}

#[test]
fn one_whole_request() {
    let text = registration(&monitor(), 4711, true);
    let body = r#"{"namespace":"snat-2f0c1c52","interface":"ha-1b2c3d4e-5f","cidr":"169.254.0.1/24","conf_dir":"/var/lib/\"neutron\\\u000a","user":"42435","enable_conntrackd":true,"pid":4711,"daemon":true}"#;
    let head = format!(
        "PUT /v1/routers/2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d HTTP/1.1\r\nHost: ha-agent\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    assert_eq!(text, head + body);
}

#[test]
fn answers() {
    let taken = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for cut in 0..taken.len() {
        assert_eq!(answer(&taken[..cut], false), Answer::Partial, "{cut}");
        assert_eq!(answer(&taken[..cut], true), Answer::Strange, "{cut}");
    }
    assert_eq!(answer(taken, false), Answer::Registered);

    let refused = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\n{\"error\":\"conf_dir: \\\"x\\\"\"}";
    assert_eq!(answer(refused, false), Answer::Partial);
    assert_eq!(answer(refused, true), Answer::Refused("conf_dir: \"x\"".to_owned()));
    assert_eq!(answer(b"HTTP/1.1 404 Not Found\r\n\r\n", true), Answer::Refused("status 404".to_owned()));
    let busy = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n{\"error\":\"full\"}";
    assert_eq!(answer(busy, true), Answer::Busy("full".to_owned()));

    assert_eq!(answer(b"SSH-2.0-x\r\n\r\n", true), Answer::Strange);
    assert_eq!(answer(b"HTTP/1.1 2\xff0\r\n\r\n", true), Answer::Strange);
    assert_eq!(answer(&[b'x'; MAX_ANSWER], false), Answer::Strange);
}
