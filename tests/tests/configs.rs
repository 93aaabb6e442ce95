//! A real keepalived and the agent read the same generated configurations. `cargo xtask configs` asks about many more.

use std::time::Duration;

use ha_agent_tests::configs::keepalived::Asker;
use ha_agent_tests::configs::run::{Plan, run};
use ha_agent_tests::configs::said::{Answer, ours};
use ha_agent_tests::configs::texts::TEXTS;
use ha_agent_tests::oracle::keepalived::Release;

/// Configurations in every run of all tests, or so many as are read in this time.
const CASES: u64 = 2000;
const WITHIN: Duration = Duration::from_secs(50);

#[test]
#[ignore = "needs root"]
fn privileged_keepalived_and_the_agent_read_alike() {
    let plan = Plan { cases: CASES, seed: 9, release: Release::Own, within: Some(WITHIN), at_once: 4 };
    let figures = run(&plan).unwrap();
    let shown: Vec<String> = figures.disagreements.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}\n{}", shown.join("\n\n"), figures.summary());
    // Those that nobody runs would agree with anything.
    assert!(figures.cases >= 100, "{}", figures.summary());
    assert!(figures.instances * 3 >= figures.cases, "{}", figures.summary());
    assert!(figures.ends * 2 <= figures.cases && figures.ends > 0, "{}", figures.summary());
    assert!(figures.known.values().sum::<u64>() * 5 <= figures.cases, "{}", figures.summary());
}

#[test]
#[ignore = "needs root"]
fn privileged_keepalived_runs_every_configuration_that_others_are_made_of() {
    let asker = Asker::new("texts", &Release::Own).unwrap();
    let release = Release::Own.version().unwrap().parse().unwrap();
    for text in TEXTS {
        let theirs = asker.ask(text).unwrap();
        let Answer::Runs(instances) = &theirs else { panic!("{text}\n{theirs}") };
        assert!(!instances.is_empty(), "{text}");
        assert_eq!(theirs, ours(text, release).answer, "{text}");
    }
}
