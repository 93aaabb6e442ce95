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

#[test]
fn a_refusal_that_is_wrong_takes_nothing_from_the_others() {
    let [a, b] = [7, 8].map(|n| RouterId(Uuid::from_u128(n)));
    let body = format!(
        r#"{{"x":[1],"refused":[{{"router_id":"{a}"}},{{"router_id":"no id"}},3,{{"router_id":"{b}","reason":{{"code":5}}}}]}}"#
    );
    let read = refused(body.as_bytes());
    assert_eq!((read.len(), read[&a].as_str(), read[&b].as_str()), (2, "", r#"{"code":5}"#));
    // Cut off within the last entry, and within a long reason.
    assert_eq!(refused(&body.as_bytes()[..body.len() - 10]).len(), 1);
    let long = format!(r#"{{"refused":[{{"router_id":"{a}","reason":"{}"}}]}}"#, "é".repeat(1000));
    assert_eq!(refused(long.as_bytes())[&a].chars().count(), REASON_MAX);
}

#[test]
fn the_wish_to_be_tried_later_is_read_in_seconds_and_as_a_date() {
    assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("99999999"), Some(RETRY_AFTER_MAX));
    let later = jiff::Timestamp::now() + Duration::from_secs(90);
    let date = later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let wish = retry_after(&date).unwrap();
    assert!((Duration::from_secs(85)..=Duration::from_secs(90)).contains(&wish), "{wish:?}");
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), None, "it is over");
    assert_eq!(retry_after("soon"), None);
}

proptest! {
    #[test]
    fn any_body_and_any_time_are_read(body in proptest::collection::vec(any::<u8>(), 0..64), us in any::<i64>()) {
        let _ = refused(&body);
        let _ = rfc3339(us);
    }
}
