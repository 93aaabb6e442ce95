use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::core::model::{Basis, RouterId};

#[test]
fn words_are_those_of_the_release() {
    let words =
        |release| [State::Primary, State::Backup, State::Fault, State::Unknown].map(|state| word(state, release));
    assert_eq!(words(16), ["master", "backup", "fault", "fault"]);
    assert_eq!(words(17), ["primary", "backup", "fault", "unknown"]);
    assert_eq!(words(29), ["primary", "backup", "fault", "unknown"]);
}

#[test]
fn a_request_is_complete_and_small() {
    let entry = Entry {
        router: RouterId(Uuid::from_u128(7)),
        state: State::Primary,
        previous: None,
        basis: Basis::default(),
        confirmed_at_us: 0,
        sequence: 1,
        delivered: 0,
        delivered_state: None,
    };
    let request = String::from_utf8(request(&entry, 29)).unwrap();
    assert_eq!(
        request,
        "POST / HTTP/1.1\r\nHost: localhost\r\n\
         X-Neutron-Router-Id: 00000000-0000-0000-0000-000000000007\r\n\
         X-Neutron-State: primary\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn status_lines() {
    for (reply, expected) in [
        ("HTTP/1.1 200 OK\nContent-Type: text/plain", Some(200)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some(200)),
        ("HTTP/1.0 500 Internal Server Error\r\n", Some(500)),
        ("HTTP/1.1 404\r\n", Some(404)),
        ("HTTP/1.1 200 OK", None),
        ("HTTP/1.1 2000 OK\n", None),
        ("HTTP/1.1 20x OK\n", None),
        ("HTTP/1.1 099 OK\n", None),
        ("HTTP/1.1 600 OK\n", None),
        ("HTTP/2 200\n", None),
        ("\nHTTP/1.1 200 OK\n", None),
        ("", None),
    ] {
        assert_eq!(status(reply.as_bytes()), expected, "{reply:?}");
    }
}

proptest! {
    #[test]
    fn any_reply_is_read(reply in proptest::collection::vec(any::<u8>(), 0..64), prefix in any::<bool>()) {
        let mut bytes = if prefix { b"HTTP/1.1 ".to_vec() } else { Vec::new() };
        bytes.extend(reply);
        if let Some(status) = status(&bytes) {
            prop_assert!((100..600).contains(&status));
        }
    }
}
