//! The classifier and the plain reference agree. `cargo xtask fuzz differential` runs more of it.

use std::path::PathBuf;

use ha_agent_tests::differential;

/// Frames in every run of all tests.
const FRAMES: u64 = 200_000;

#[test]
#[ignore = "needs root"]
fn privileged_the_classifier_agrees_with_the_reference() {
    // Another seed for each day, so that the runs of CI add up; the error names it.
    let seed = u64::try_from(ha_agent::clock::wall_micros()).unwrap() / 86_400_000_000;
    let object = std::env::var_os("HA_AGENT_TEST_BPF_OBJECT").map(PathBuf::from);
    let figures = differential::run(FRAMES, seed, object.as_ref()).unwrap();
    // A generator that makes no frame of some kind would agree with anything.
    for kind in
        ["valid", "ttl", "version", "type", "length", "checksum", "authentication", "other", "tagged", "fragment"]
    {
        assert!(figures.kinds.get(kind).is_some_and(|count| *count > 100), "too few of {kind}: {:?}", figures.kinds);
    }
    assert!(figures.records > FRAMES / 20, "{figures:?}");
}
