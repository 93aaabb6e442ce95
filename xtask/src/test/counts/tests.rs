use std::time::Duration;

use super::{Counts, Results};
use crate::test::runner::{Done, Outcome};

const OUTPUT: &str = "\
running 4 tests
test a ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 2 tests
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s
";

fn done(outcome: Outcome, passed: usize, failed: usize, ignored: usize) -> Done {
    Done { outcome, took: Duration::ZERO, results: Some(Results { passed, failed, ignored }), remark: None }
}

#[test]
fn every_result_line_counts() {
    let sum = Results::parse(OUTPUT);
    assert_eq!(sum, Results { passed: 4, failed: 1, ignored: 1 });
}

#[test]
fn words_of_a_test_are_not_results() {
    let sum = Results::parse("it said: test result: ok. 9 passed; 0 failed\n");
    assert_eq!(sum, Results::default());
}

#[test]
fn with_root_nothing_is_skipped() {
    let mut counts = Counts::default();
    counts.add(false, &done(Outcome::Passed, 10, 0, 5));
    counts.add(true, &done(Outcome::Passed, 2, 0, 0));
    counts.add(true, &done(Outcome::Passed, 3, 0, 0));
    assert_eq!(counts.line(), "15 passed, 0 failed, 0 skipped");
}

#[test]
fn without_root_the_ignored_are_skipped_once() {
    let mut counts = Counts::default();
    counts.add(false, &done(Outcome::Passed, 10, 0, 5));
    counts.add(true, &done(Outcome::Skipped, 0, 0, 2));
    counts.add(true, &done(Outcome::Skipped, 0, 0, 3));
    assert_eq!(counts.line(), "10 passed, 0 failed, 5 skipped");
}

#[test]
fn a_step_without_its_plain_run_still_counts_what_it_skips() {
    let mut counts = Counts::default();
    counts.add(true, &done(Outcome::Skipped, 0, 0, 3));
    assert_eq!(counts.line(), "0 passed, 0 failed, 3 skipped");
}

#[test]
fn a_failure_without_a_test_is_one_failure() {
    let mut counts = Counts::default();
    let mut failed = done(Outcome::Failed, 0, 0, 0);
    failed.results = None;
    counts.add(false, &failed);
    assert_eq!(counts.line(), "0 passed, 1 failed, 0 skipped");
}

#[test]
fn a_test_ignored_for_another_reason_stays_skipped() {
    let mut counts = Counts::default();
    counts.add(false, &done(Outcome::Passed, 1, 0, 3));
    counts.add(true, &done(Outcome::Passed, 2, 0, 0));
    assert_eq!(counts.skipped(), 1);
}
