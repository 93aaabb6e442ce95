use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::intake::testing::ROUTER;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    map
}

fn check(pairs: &[(&str, &str)]) -> Result<(RouterId, State), Refusal> {
    let claim = validate("/", &headers(pairs), Some(0), None)?;
    assert_eq!(claim.instance, None);
    match claim.whom {
        Whom::Id(id) => Ok((id, claim.state)),
        Whom::Name(name) => panic!("{name}"),
    }
}

const ID: (&str, &str) = ("X-Neutron-Router-Id", ROUTER);
const BACKUP: (&str, &str) = ("X-Neutron-State", "backup");

#[test]
fn every_word_in_its_exact_case() {
    let table = [
        ("primary", Ok(State::Primary)),
        ("master", Ok(State::Primary)),
        ("backup", Ok(State::Backup)),
        ("fault", Ok(State::Fault)),
        ("unknown", Ok(State::Unknown)),
        ("MASTER", Err(Refusal::BadState)),
        ("Primary", Err(Refusal::BadState)),
        ("active", Err(Refusal::BadState)),
        ("primary,backup", Err(Refusal::BadState)),
        ("primary backup", Err(Refusal::BadState)),
        ("", Err(Refusal::BadState)),
        ("prim\u{e4}ry", Err(Refusal::BadState)),
    ];
    for (word, expected) in table {
        let outcome = check(&[ID, ("x-neutron-state", word)]).map(|(_, state)| state);
        assert_eq!(outcome, expected, "{word:?}");
    }
}

#[test]
fn router_ids_are_hyphenated_uuids() {
    let upper = ROUTER.to_uppercase();
    let simple = ROUTER.replace('-', "");
    let urn = format!("urn:uuid:{ROUTER}");
    let braced = format!("{{{ROUTER}}}");
    let long = format!("{ROUTER}0");
    let twice = format!("{ROUTER}, {ROUTER}");
    let moved = "8f3c1d2e4-b5a-4c6d-9e7f-0123456789ab";
    assert!(check(&[("x-neutron-router-id", &upper), BACKUP]).is_ok());
    for bad in [&simple, &urn, &braced, &long, &twice, "", "x", moved, "../../etc"] {
        let outcome = check(&[("x-neutron-router-id", bad), BACKUP]);
        assert_eq!(outcome, Err(Refusal::BadRouterId), "{bad:?}");
    }
}

#[test]
fn each_header_exactly_once() {
    let table: [(&[(&str, &str)], Refusal); 7] = [
        (&[], Refusal::MissingRouterId),
        (&[ID], Refusal::MissingState),
        (&[BACKUP], Refusal::MissingRouterId),
        (&[ID, ID, BACKUP], Refusal::DuplicateRouterId),
        (&[ID, BACKUP, BACKUP], Refusal::DuplicateState),
        (&[ID, BACKUP, ("x-NEUTRON-state", "primary")], Refusal::DuplicateState),
        (&[ID, ("X-Neutron-States", "backup")], Refusal::MissingState),
    ];
    for (pairs, refusal) in table {
        assert_eq!(check(pairs), Err(refusal), "{pairs:?}");
    }
}

#[test]
fn path_and_body() {
    let good = headers(&[ID, BACKUP]);
    for path in ["", "*", "//", "/x", "/v1/routers", "/%2e"] {
        assert_eq!(validate(path, &good, None, None), Err(Refusal::UnknownPath));
    }
    assert!(validate("/", &good, None, None).is_ok());
    assert!(validate("/", &good, Some(MAX_BODY), None).is_ok());
    assert_eq!(validate("/", &good, Some(MAX_BODY + 1), None), Err(Refusal::BodyTooLarge));
}

#[test]
fn the_token_is_asked_for_before_anything_else_is_told() {
    let table: [(&[(&str, &str)], Refusal); 10] = [
        (&[], Refusal::MissingToken),
        (&[("authorization", "")], Refusal::MissingToken),
        (&[("authorization", "Basic c2VjcmV0")], Refusal::MissingToken),
        (&[("authorization", "Bearer")], Refusal::MissingToken),
        (&[("authorization", "Bearer ")], Refusal::BadToken),
        (&[("authorization", "Bearer secre")], Refusal::BadToken),
        (&[("authorization", "Bearer secrets")], Refusal::BadToken),
        (&[("authorization", "Bearer Secret")], Refusal::BadToken),
        (&[("authorization", "Bearer secret"), ("authorization", "Bearer secret")], Refusal::BadToken),
        (&[("authorization", "bearer secret")], Refusal::MissingRouterId),
    ];
    for (pairs, refusal) in table {
        let outcome = validate("/", &headers(pairs), None, Some(b"secret"));
        assert_eq!(outcome, Err(refusal), "{pairs:?}");
    }
    let full = headers(&[("authorization", "Bearer secret"), ID, BACKUP]);
    assert!(validate("/", &full, None, Some(b"secret")).is_ok());
}

#[test]
fn the_event_names_a_router_only_if_there_is_one() {
    assert_eq!(named_router(&headers(&[ID])), ROUTER.parse().ok());
    assert_eq!(named_router(&headers(&[ID, ID])), None);
    assert_eq!(named_router(&headers(&[("x-neutron-router-id", "x")])), None);
    assert_eq!(named_router(&HeaderMap::new()), None);
}

#[test]
fn the_table_of_refusals_is_sound() {
    let mut words: Vec<_> = Refusal::ALL.iter().map(|r| r.word()).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Refusal::ALL.len(), "a word is used twice");
    for (index, refusal) in Refusal::ALL.iter().enumerate() {
        assert_eq!(*refusal as usize, index);
        let raw = refusal.raw();
        assert!(raw.ends_with(&format!("\r\n\r\n{}", refusal.text())), "{raw}");
        assert_eq!(refusal.response().headers().contains_key("retry-after"), [429, 503].contains(&refusal.status()));
    }
}

proptest! {
    #[test]
    fn any_header_values_are_judged_without_a_panic(
        ids in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..3),
        states in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..3),
        tokens in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..3),
        token in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
    ) {
        let mut map = HeaderMap::new();
        for (name, values) in [(ROUTER_ID, &ids), (STATE, &states), ("authorization", &tokens)] {
            for value in values {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append(name, value);
                }
            }
        }
        let outcome = validate("/", &map, None, token.as_deref());
        if let Ok(Claim { whom: Whom::Id(router), state, .. }) = outcome {
            let sent = map.get(ROUTER_ID).unwrap().to_str().unwrap().to_lowercase();
            prop_assert_eq!(router.to_string(), sent);
            prop_assert_eq!(Some(state), State::from_word(map.get(STATE).unwrap().to_str().unwrap()));
        }
    }

    #[test]
    fn only_the_same_token_is_the_same(a in ".{0,12}", b in ".{0,12}") {
        prop_assert_eq!(same(a.as_bytes(), b.as_bytes()), a == b);
        prop_assert!(same(a.as_bytes(), a.as_bytes()));
    }
}

#[test]
fn a_router_may_be_named_by_its_instance() {
    let read = |pairs: &[(&str, &str)]| validate("/", &headers(pairs), None, None);
    let named = read(&[("X-Ha-Agent-Router", "blue/VI 1"), BACKUP]).expect("sound");
    assert_eq!(named.whom, Whom::Name("blue/VI 1".to_owned()));
    let told = read(&[ID, ("X-Ha-Agent-Instance", "VI_\u{e4}"), BACKUP]).expect("sound");
    assert_eq!((told.whom, told.instance.as_deref()), (Whom::Id(ROUTER.parse().unwrap()), Some("VI_\u{e4}")));
    let long = "x".repeat(256);
    for name in ["", &long] {
        assert_eq!(read(&[("X-Ha-Agent-Router", name), BACKUP]), Err(Refusal::BadInstanceName));
        assert_eq!(read(&[ID, ("X-Ha-Agent-Instance", name), BACKUP]), Err(Refusal::BadInstanceName));
    }
    let one = ("X-Ha-Agent-Router", "VI_1");
    assert_eq!(read(&[one, one, BACKUP]), Err(Refusal::BadInstanceName));
    assert_eq!(read(&[one, ID, BACKUP]), Err(Refusal::DuplicateRouterId));
}
