use super::*;
use crate::Rules;

#[test]
fn a_full_bucket_gives_the_burst_and_no_more() {
    let mut watch = Watch::new(1, Rules::default(), 1000);
    refill(&mut watch, 1000);
    let given = (0..1000).filter(|_| take(&mut watch.foreign_tokens)).count();
    assert_eq!(given, BUDGET_BURST as usize);
    assert_eq!(watch.local_tokens, BUDGET_BURST, "buckets are apart");
    assert_eq!(watch.refused_tokens, BUDGET_BURST);
}

#[test]
fn tokens_grow_with_time_and_fractions_are_kept() {
    let mut watch = Watch::new(1, Rules::default(), 0);
    watch.foreign_tokens = 0;
    refill(&mut watch, BUDGET_REFILL_NS - 1);
    assert_eq!(watch.foreign_tokens, 0);
    // Asked often, it still gains one token a period.
    let mut now = 0;
    while now < 10 * BUDGET_REFILL_NS {
        now += 1_000_000;
        refill(&mut watch, now);
    }
    assert_eq!(watch.foreign_tokens, 10);
    refill(&mut watch, now + 3600 * 1_000_000_000);
    assert_eq!(watch.foreign_tokens, BUDGET_BURST);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
    let mut watch = Watch::new(1, Rules::default(), 10 * BUDGET_REFILL_NS);
    watch.local_tokens = 0;
    refill(&mut watch, 10 * BUDGET_REFILL_NS);
    refill(&mut watch, 0);
    assert_eq!(watch.local_tokens, 0);
}
