use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{Timeline, fits};

#[test]
fn fields_that_are_not_named_do_not_matter() {
    let event = json!({"event": "x", "evidence": {"vip": "absent", "tx": {"state": "silent"}}});
    assert!(fits(&event, &json!({"event": "x"})));
    assert!(fits(&event, &json!({"evidence": {"tx": {"state": "silent"}}})));
    assert!(!fits(&event, &json!({"event": "y"})));
    assert!(!fits(&event, &json!({"event": "x", "router_id": 1})));
    assert!(!fits(&event, &json!({"evidence": {"vip": "present"}})));
}

#[test]
fn half_a_line_waits_for_its_end() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut timeline = Timeline::follow(file.path());
    file.write_all(b"{\"event\":\"a\"}\n{\"eve").expect("written");
    timeline.read().expect("read");
    assert_eq!(timeline.all().len(), 1);
    file.write_all(b"nt\":\"b\"}\n").expect("written");
    timeline.expect(Duration::from_secs(1), &json!({"event": "b"})).expect("the second one");
}

#[test]
fn what_is_before_the_mark_does_not_count() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut timeline = Timeline::follow(file.path());
    file.write_all(b"{\"event\":\"a\"}\n").expect("written");
    timeline.mark().expect("read");
    timeline.deny(&json!({"event": "a"})).expect("not after the mark");
    let error = timeline.expect(Duration::from_millis(20), &json!({"event": "a"})).expect_err("nothing after the mark");
    assert!(error.to_string().contains("\"event\":\"a\""), "the story is told: {error}");
}

#[test]
fn a_line_that_is_no_object_is_an_error() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"hello\n").expect("written");
    assert!(Timeline::follow(file.path()).read().is_err());
}
