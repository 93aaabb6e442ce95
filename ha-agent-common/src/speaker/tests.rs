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
    for other in [
        Speaker { content: 51, ..base },
        Speaker { sender: 3, ..base },
        Speaker { src: [1; 16], ..base },
        Speaker { priority: 0, content: 0, ..base },
    ] {
        let (kinds, _) = feed(&[(1.0, base), (2.0, other)]);
        assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED], "{other:?}");
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
    let (kinds, last) = feed(&[(1.0, advert(50)), (1.5, advert(0)), (1.6, advert(0)), (2.0, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, RECORD_CHANGED, RECORD_RESUMED], "each resignation is told");
    assert_eq!((last.run_adverts, last.adverts), (1, 4));
}

#[test]
fn a_clock_that_goes_back_is_no_gap() {
    let (kinds, last) = feed(&[(5.0, advert(50)), (4.0, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, 0]);
    assert_eq!(last.run_since_ns, 5 * SECOND);
}

#[test]
fn a_resignation_ends_the_runs_of_its_source_and_mac() {
    let of = |last: u8, mac: u8, last_seen_ns| Speaker { src: [last; 16], mac: [mac; 6], last_seen_ns, ..advert(50) };
    let mut watch = Watch::default();
    assert!(!has_resigned(&watch, &of(0, 0, 0)), "nobody has");
    resign(&mut watch, &of(1, 2, 0), 10 * SECOND);
    assert!(has_resigned(&watch, &of(1, 2, 10 * SECOND - 1)));
    assert!(!has_resigned(&watch, &of(1, 2, 10 * SECOND)), "said since");
    assert!(!has_resigned(&watch, &of(1, 3, 9 * SECOND)), "another MAC");
    assert!(!has_resigned(&watch, &of(2, 2, 9 * SECOND)), "another source");
}
