//! The classifier in the kernel and the judgement that it shares with the agent agree. `cargo xtask fuzz differential` runs more of it.

use std::path::PathBuf;

use ha_agent_common::Reason;
use ha_agent_tests::differential;

/// What a test run cannot show: who sent a frame, and what the kernel says of its source. What leaves has its own
/// name.
const ELSEWHERE: [Reason; 5] =
    [Reason::OwnSource, Reason::Forwarded, Reason::NotVrrpSocket, Reason::LocalSource, Reason::LocalTtl];

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
    let mut kinds: Vec<String> = Reason::ALL
        .iter()
        .filter(|reason| !ELSEWHERE.contains(reason))
        .flat_map(|reason| {
            let count = |class: &str| figures.kinds.get(&format!("{class} {reason:?}")).copied().unwrap_or(0);
            let rare = count("Rejected") + count("Unheard") < 20;
            rare.then(|| format!("{reason:?}"))
        })
        .collect();
    kinds.extend(
        ["Peer", "Ours", "other", "tagged", "piece", "unknown", "headless"]
            .map(str::to_owned)
            .into_iter()
            .filter(|kind| figures.kinds.get(kind).is_none_or(|count| *count < 20)),
    );
    assert!(kinds.is_empty(), "too few of {kinds:?}: {:?}", figures.kinds);
    assert!(figures.records > FRAMES / 20, "{figures:?}");
}
