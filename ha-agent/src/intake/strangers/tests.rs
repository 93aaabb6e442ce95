use super::*;

const TEN: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

#[test]
fn one_spends_no_other_s_allowance() {
    let strangers = Strangers::new(TEN);
    let of_the_first = (0..1000).filter(|_| strangers.allow(1)).count();
    assert!((10..20).contains(&of_the_first), "{of_the_first}");
    assert!(strangers.allow(2));
}

#[test]
fn the_table_has_an_end_and_a_place_is_free_again_after_a_quiet_second() {
    let strangers = Strangers::new(TEN);
    let allowed = (0..500).filter(|uid| strangers.allow(*uid)).count();
    // Each of those apart once, and what the rest shares.
    assert!((APART + 10..APART + 30).contains(&allowed), "{allowed}");
    assert!(strangers.rate.len() <= APART + 1, "{}", strangers.rate.len());
    let now = Instant::now();
    assert!(strangers.has_place(0, now), "it has one already");
    assert!(!strangers.has_place(20_000, now));
    assert!(strangers.has_place(20_000, now + QUIET));
    assert_eq!(strangers.last_seen.lock().expect("no panic").len(), 1, "the others were quiet for longer");
}
