use super::*;

const SECOND: u64 = 1_000_000_000;

fn advert(priority: u8) -> Speaker {
    Speaker { priority, interval_cs: 200, version: 2, vip_count: 1, vips_hash: 7, ..Speaker::default() }
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
    assert_eq!(last.last_priority, 60);
}

#[test]
fn every_field_that_matters_makes_a_change() {
    let base = advert(50);
    for other in [
        Speaker { interval_cs: 100, ..base },
        Speaker { version: 3, ..base },
        Speaker { vips_hash: 8, ..base },
        Speaker { vip_count: 2, ..base },
        Speaker { auth_type: 1, ..base },
        Speaker { auth_data: [1; 8], ..base },
        Speaker { flags: crate::SPEAKER_VMAC, ..base },
        Speaker { src: [1; 16], ..base },
        Speaker { priority: 0, ..base },
    ] {
        let (kinds, _) = feed(&[(1.0, base), (2.0, other)]);
        assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED], "{other:?}");
    }
}

#[test]
fn a_gap_over_one_and_a_half_intervals_begins_a_run() {
    let (kinds, last) = feed(&[(1.0, advert(50)), (4.0, advert(50)), (7.001, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, 0, RECORD_RESUMED]);
    assert_eq!((last.adverts, last.run_adverts), (3, 1));
    assert_eq!(last.run_since_ns, last.last_seen_ns);
    // The interval of the advert before the gap counts, not of the one after it.
    let slow = Speaker { interval_cs: 1000, ..advert(50) };
    let (kinds, _) = feed(&[(1.0, slow), (11.0, advert(50)), (15.0, slow)]);
    assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, RECORD_RESUMED]);
}

#[test]
fn leaving_ends_the_run_and_coming_back_begins_one() {
    let (kinds, gone) = feed(&[(1.0, advert(50)), (2.0, advert(0)), (2.1, advert(0))]);
    assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, 0]);
    assert_eq!((gone.priority, gone.last_priority), (0, 50));
    assert_eq!(gone.run_since_ns, SECOND);
    let (kinds, back) = feed(&[(1.0, advert(50)), (2.0, advert(0)), (2.5, advert(50))]);
    assert_eq!(kinds, [RECORD_FIRST, RECORD_CHANGED, RECORD_RESUMED]);
    assert_eq!(back.run_adverts, 1);
}

#[test]
fn a_stranger_that_leaves_has_no_priority_before() {
    let (kinds, last) = feed(&[(1.0, advert(0))]);
    assert_eq!(kinds, [RECORD_FIRST]);
    assert_eq!(last.last_priority, 0);
}

#[test]
fn interval_zero_is_taken_as_the_least_one() {
    let zero = Speaker { interval_cs: 0, ..advert(50) };
    let (kinds, _) = feed(&[(1.0, zero), (1.014, zero), (1.04, zero)]);
    assert_eq!(kinds, [RECORD_FIRST, 0, RECORD_RESUMED]);
}
