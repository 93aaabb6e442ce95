//! The state-change socket, a whole connection: hyper, the limits, the grammar, the answers.
//!
//! The answer is one of the documented ones, byte for byte but for its date, so nothing of the input is
//! in it. A report is handed on for each answer 200, and the first only when its head names the one
//! router and one state, each once. Events say fixed words.
#![no_main]

use std::cell::RefCell;

use arbitrary::Arbitrary;
use ha_agent::core::model::State;
use ha_agent::fuzzing::Trial;
use ha_agent::intake::Refusal;
use ha_agent::telemetry::event::Event;
use ha_agent_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

const TOKEN: &str = "s3cret";

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Whether a token is wanted.
    token: bool,
    /// Whether the peer closes its side after its bytes.
    close: bool,
    cuts: Vec<u16>,
    bytes: &'a [u8],
}

thread_local! {
    static TRIALS: RefCell<[Trial; 2]> = RefCell::new([Trial::new(None), Trial::new(Some(TOKEN))]);
}

fuzz_target!(|input: Input<'_>| {
    // Pieces beyond a few dozen only cost time.
    let cuts = &input.cuts[..input.cuts.len().min(32)];
    let bytes = &input.bytes[..input.bytes.len().min(32 * 1024)];
    let exchange =
        TRIALS.with_borrow_mut(|trials| trials[usize::from(input.token)].exchange(&pieces(bytes, cuts), input.close));
    let statuses = answers(&exchange.answer);
    let taken = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(taken, exchange.reports.len(), "reports and answers 200");
    for report in &exchange.reports {
        assert_eq!(report.router, Trial::router());
    }
    if let (Some(200), Some(report)) = (statuses.first(), exchange.reports.first()) {
        first_head(bytes, report.state, input.token);
    }
    for event in &exchange.events {
        match event {
            Event::ReportReceived { router_id, .. } => assert_eq!(*router_id, Trial::router()),
            Event::ReportRefused { reason, status, .. } => {
                assert!(Refusal::ALL.iter().any(|known| known.word() == reason && known.status() == *status));
            }
            other => panic!("no event of the intake's: {other:?}"),
        }
    }
});

/// The statuses of all answers; panics at a byte that none of them has.
fn answers(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer's head is whole");
        let head = std::str::from_utf8(&bytes[..end]).expect("an answer is ASCII");
        let mut lines = head.split("\r\n");
        let status = status_line(lines.next().unwrap_or_default());
        let mut length = 0;
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            match (name.to_ascii_lowercase().as_str(), value) {
                ("content-length", value) => length = value.parse().expect("a length"),
                ("date", value) => assert!(is_date(value), "{value}"),
                ("content-type", "text/plain")
                | ("connection", "close" | "keep-alive")
                | ("retry-after", "1")
                | ("www-authenticate", "Bearer") => {}
                other => panic!("no header of ours: {other:?}"),
            }
        }
        let body = &bytes[end + 4..];
        // The answer to HEAD tells a length and has no body.
        let body = if body.len() >= length && !body.starts_with(b"HTTP/1.") { &body[..length] } else { &[] };
        assert!(body.is_empty() || documented(status, body), "{status} {:?}", String::from_utf8_lossy(body));
        statuses.push(status);
        bytes = &bytes[end + 4 + body.len()..];
    }
    statuses
}

fn status_line(line: &str) -> u16 {
    let mut words = line.splitn(3, ' ');
    assert!(matches!(words.next(), Some("HTTP/1.0" | "HTTP/1.1")), "{line}");
    let status = words.next().and_then(|word| word.parse().ok()).expect("a status");
    let known = [
        "OK",
        "Bad Request",
        "Unauthorized",
        "Forbidden",
        "Not Found",
        "Request Timeout",
        "Payload Too Large",
        "Too Many Requests",
        "Request Header Fields Too Large",
        "Service Unavailable",
        "URI Too Long",
        "Continue",
    ];
    assert!(words.next().is_some_and(|words| known.contains(&words)), "{line}");
    // 100 and 414 are hyper's own, of HTTP.
    let ours = Refusal::ALL.iter().any(|refusal| refusal.status() == status);
    assert!(ours || matches!(status, 100 | 200 | 414), "{line}");
    status
}

fn documented(status: u16, body: &[u8]) -> bool {
    (status == 200 && body == b"taken\n")
        || Refusal::ALL.iter().any(|refusal| refusal.status() == status && refusal.text().as_bytes() == body)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, by its shape.
fn is_date(value: &str) -> bool {
    value.len() == 29
        && value.ends_with(" GMT")
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b" ,:".contains(&b))
}

/// Reads the first head as plainly as can be: each header once, with these values.
fn first_head(bytes: &[u8], state: State, token: bool) {
    let lines = bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head: Vec<&[u8]> = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    let values = |wanted: &str| -> Vec<String> {
        head.iter()
            .skip(1)
            .filter_map(|line| {
                let colon = line.iter().position(|b| *b == b':')?;
                line[..colon]
                    .eq_ignore_ascii_case(wanted.as_bytes())
                    .then(|| String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned())
            })
            .collect()
    };
    let routers = values("x-neutron-router-id");
    assert_eq!(routers.len(), 1, "{routers:?}");
    assert!(routers[0].eq_ignore_ascii_case(&Trial::router().to_string()), "{routers:?}");
    let states = values("x-neutron-state");
    assert_eq!(states.len(), 1, "{states:?}");
    let word = if states[0] == "master" { "primary" } else { &states[0] };
    assert_eq!(word, state.as_str());
    if token {
        let tokens = values("authorization");
        assert!(tokens.len() == 1 && tokens[0].ends_with(TOKEN), "{tokens:?}");
    }
    // Folded lines have no place in it.
    assert!(!head.iter().skip(1).any(|line| line.starts_with(b" ") || line.starts_with(b"\t")));
    let target = head.first().and_then(|line| line.split(|b| *b == b' ').nth(1)).unwrap_or_default();
    let path = target.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
    assert!(
        path == b"/" || target.windows(3).any(|three| three == b"://"),
        "path {:?}",
        String::from_utf8_lossy(target)
    );
}
