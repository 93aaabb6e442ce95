use proptest::prelude::*;
use uuid::Uuid;

use super::*;

#[test]
fn the_body_is_the_promised_one() {
    let mut entry = Entry {
        router: RouterId(Uuid::from_u128(7)),
        state: State::Primary,
        previous: Some(State::Backup),
        basis: "report+vip+wire".parse().unwrap(),
        confirmed_at_us: 1_767_323_045_678_901,
        sequence: 42,
        delivered: 41,
        delivered_state: Some(State::Backup),
    };
    let first = entry;
    entry.previous = None;
    let body = String::from_utf8(body("net-1", 3, &[first, entry])).unwrap();
    let row = |previous: &str| {
        format!(
            r#"{{"router_id":"00000000-0000-0000-0000-000000000007","state":"primary","previous":{previous},"confirmed_at":"2026-01-02T03:04:05.678901Z","sequence":42,"basis":"report+vip+wire"}}"#
        )
    };
    assert_eq!(
        body,
        format!(r#"{{"schema":1,"host":"net-1","batch":3,"states":[{},{}]}}"#, row("\"backup\""), row("null"))
    );
}

#[test]
fn refusals_are_read_and_nothing_else() {
    let id = RouterId(Uuid::from_u128(7));
    let body = format!(r#"{{"refused":[{{"router_id":"{id}","reason":"not mine"}}],"more":1}}"#);
    assert_eq!(refused(body.as_bytes())[&id], "not mine");
    for body in ["", "{}", "ok", "[]", r#"{"refused":3}"#, r#"{"refused":[{"router_id":"x"}]}"#] {
        assert!(refused(body.as_bytes()).is_empty(), "{body}");
    }
}

proptest! {
    #[test]
    fn any_body_and_any_time_are_read(body in proptest::collection::vec(any::<u8>(), 0..64), us in any::<i64>()) {
        let _ = refused(&body);
        let _ = rfc3339(us);
    }
}
