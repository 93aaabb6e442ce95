use super::*;

const SECOND: u64 = 1_000_000_000;

fn advert(priority: u8) -> Speaker {
    Speaker { priority, interval_cs: 200, version: 2, vip_count: 1, content: u64::from(priority), ..Speaker::default() }
}

/// Feeds adverts at the given times (seconds) and returns what each made, and the last state.
fn feed(steps: &[(f64, Speaker)]) -> (Vec<u8>, Speaker) {
    let mut known = Speaker::default();
    let kinds = steps
        .iter()
        .map(|(at, frame)| {
            let mut new = *frame;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test times")]
            let kind = observe(&known, &mut new, (at * SECOND as f64) as u64);
            known = new;
            kind
        })
        .collect();
    (kinds, known)
}

#[test]
fn only_news_is_recorded() {
    let (kinds, last) =
        feed(&[(10.0, advert(50)), (12.0, advert(50)), (14.0, advert(50)), (16.0, advert(60)), (18.0, advert(60))]);
    assert_eq!(kinds, [RECORD_FIRST, 0, 0, RECORD_CHANGED, 0]);
    assert_eq!((last.adverts, last.run_adverts), (5, 5));
    assert_eq!((last.run_since_ns, last.last_seen_ns), (10 * SECOND, 18 * SECOND));
}

#[test]
fn another_content_sender_or_source_is_a_change() {
    let base = advert(50);
    for other in [Speaker { content: 51, ..base }, Speaker { sender: 3, ..base }, Speaker { src: [1; 16], ..base }] {
        let (kinds, _) = feed(&[(1.0, base), (2.0, other), (3.0, other)]);
        assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, 0], "{other:?}");
    }
}

#[test]
fn what_the_content_covers_is_not_compared_again() {
    let base = advert(50);
    let (kinds, last) = feed(&[(1.0, base), (2.0, Speaker { list: 9, ttl: 9, ..base })]);
    assert_eq!(kinds, [RECORD_FIRST, 0]);
    assert_eq!((last.list, last.ttl), (9, 9), "the newest is kept");
}

#[test]
fn a_gap_over_one_and_a_half_intervals_begins_a_run() {
    let (kinds, last) = feed(&[(1.0, advert(50)), (4.0, advert(50)), (7.001, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, 0, RECORD_RESUMED]);
    assert_eq!((last.adverts, last.run_adverts), (3, 1));
    assert_eq!(last.run_since_ns, last.last_seen_ns);
    // The interval of the advert before the gap counts, not of the one after it.
    let slow = Speaker { interval_cs: 1000, ..advert(50) };
    assert_eq!(feed(&[(1.0, slow), (15.9, advert(50))]).0, [RECORD_FIRST, 0]);
    assert_eq!(feed(&[(1.0, advert(50)), (5.0, slow)]).0, [RECORD_FIRST, RECORD_RESUMED]);
}

#[test]
fn an_interval_of_zero_counts_as_one_centisecond() {
    let fast = Speaker { interval_cs: 0, ..advert(50) };
    assert_eq!(feed(&[(1.0, fast), (1.015, fast), (1.0301, fast)]).0, [RECORD_FIRST, 0, RECORD_RESUMED]);
}

#[test]
fn priority_zero_ends_a_run_and_belongs_to_it() {
    let (kinds, last) = feed(&[(1.0, advert(50)), (3.0, advert(50)), (3.5, advert(0))]);
    assert_eq!(kinds, [RECORD_FIRST, 0, RECORD_CHANGED]);
    assert_eq!((last.run_since_ns, last.run_adverts), (SECOND, 3));
    // Each resignation is news: in between there may have been a mastership under another content.
    let (kinds, last) = feed(&[(1.0, advert(50)), (1.5, advert(0)), (1.6, advert(0)), (2.0, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, RECORD_CHANGED, RECORD_RESUMED]);
    assert_eq!((last.run_adverts, last.adverts), (1, 4));
}

#[test]
fn a_clock_that_goes_back_is_no_gap() {
    let (kinds, last) = feed(&[(5.0, advert(50)), (4.0, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, 0]);
    assert_eq!(last.run_since_ns, 5 * SECOND);
}

#[test]
fn a_resignation_ends_the_runs_of_its_source_and_mac_only() {
    let mut watch = Watch::new(1, crate::Rules::default(), 0);
    let master = Speaker { src: [1; 16], mac: [2; 6], last_seen_ns: SECOND, ..advert(50) };
    assert!(!has_resigned(&watch, &master), "nobody has");
    resign(&mut watch, &Speaker { priority: 0, ..master }, 2 * SECOND);
    assert!(has_resigned(&watch, &master));
    assert!(!has_resigned(&watch, &Speaker { last_seen_ns: 3 * SECOND, ..master }), "it has spoken since");
    assert!(!has_resigned(&watch, &Speaker { src: [3; 16], ..master }));
    assert!(!has_resigned(&watch, &Speaker { mac: [3; 6], ..master }));
}
