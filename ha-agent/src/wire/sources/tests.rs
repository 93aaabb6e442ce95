use super::*;

const SECOND: u64 = 1_000_000_000;
const T: Mono = Mono(1_000 * SECOND);

fn source(last: u8) -> Source {
    let mut address = [0; 16];
    address[3] = last;
    (Whose::Theirs, address)
}

fn later(seconds: f64) -> Mono {
    Mono(T.0 + Duration::from_secs_f64(seconds).as_nanos() as u64)
}

const ASK: Known = Known { taken: None, ask: true };
const WAIT: Known = Known { taken: None, ask: false };

#[test]
fn a_source_is_asked_about_once_until_it_is_answered() {
    let mut sources = Sources::default();
    assert_eq!(sources.look(source(1), T), ASK);
    assert_eq!(sources.look(source(1), T), WAIT);
    assert_eq!(sources.look(source(1), later(0.999)), WAIT);
    assert_eq!(sources.look(source(1), later(1.0)), ASK, "the question may have found no room");
    assert_eq!(sources.look(source(1), later(1.5)), WAIT);
    assert!(sources.answered(source(1), Some(true)));
    assert_eq!(sources.look(source(1), later(1.6)), Known { taken: Some(true), ask: false });
}

#[test]
fn an_answer_holds_for_a_minute_and_stays_until_the_next() {
    let mut sources = Sources::default();
    sources.look(source(1), T);
    sources.answered(source(1), Some(false));
    assert_eq!(sources.look(source(1), later(59.9)), Known { taken: Some(false), ask: false });
    assert_eq!(sources.look(source(1), later(60.0)), Known { taken: Some(false), ask: true });
    assert_eq!(sources.look(source(1), later(60.1)), Known { taken: Some(false), ask: false });
    assert!(!sources.answered(source(1), None), "the kernel cannot tell: what it said stands");
    assert!(!sources.answered(source(1), Some(false)), "as before");
    assert!(sources.answered(source(1), Some(true)));
}

#[test]
fn sides_are_apart_and_who_was_never_looked_at_is_not_answered() {
    let mut sources = Sources::default();
    let (_, address) = source(1);
    sources.look(source(1), T);
    sources.answered(source(1), Some(true));
    assert_eq!(sources.look((Whose::Ours, address), T), ASK);
    assert!(!sources.answered(source(2), Some(true)));
}

#[test]
fn doubt_asks_about_all_again_and_forgets_nothing() {
    let mut sources = Sources::default();
    for last in [1, 2] {
        sources.look(source(last), T);
        sources.answered(source(last), Some(true));
    }
    sources.doubt();
    for last in [1, 2] {
        assert_eq!(sources.look(source(last), T), Known { taken: Some(true), ask: true });
        assert_eq!(sources.look(source(last), T), Known { taken: Some(true), ask: false });
    }
}

#[test]
fn of_too_many_the_one_that_was_silent_for_longest_goes() {
    let mut sources = Sources::default();
    for last in 0..128 {
        sources.look(source(last), later(f64::from(last)));
        sources.answered(source(last), Some(true));
    }
    // The first one speaks again; so the second one goes.
    sources.look(source(0), later(500.0));
    assert_eq!(sources.look(source(200), later(501.0)), ASK);
    assert_eq!(sources.answers.len(), PLACES);
    assert_eq!(sources.look(source(0), later(501.0)).taken, Some(true));
    assert_eq!(sources.look(source(2), later(501.0)).taken, Some(true));
    assert_eq!(sources.look(source(1), later(502.0)), ASK);
}
