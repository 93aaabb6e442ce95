//! A real keepalived says what frames are to it. `cargo xtask oracle` asks about many more.

use std::time::Duration;

use ha_agent::core::model::Reason;
use ha_agent_tests::oracle::agent::Agent;
use ha_agent_tests::oracle::ask::Asker;
use ha_agent_tests::oracle::configuration::{ALL, Configuration};
use ha_agent_tests::oracle::deviation::{Deviation, Form, Place};
use ha_agent_tests::oracle::frames::{self, Case};
use ha_agent_tests::oracle::judge::Nobody;
use ha_agent_tests::oracle::keepalived::{Release, State};
use ha_agent_tests::oracle::run::{Plan, run};
use ha_agent_tests::oracle::scene::Scene;
use ha_agent_tests::oracle::verdict::Verdict;
use ha_agent_tests::wait;

/// Cases in every run of all tests.
const CASES: u64 = 6400;

/// What keepalived 2.2.7 refuses adverts for. The kernel keeps those of another mode from it.
const REASONS: [Reason; 13] = [
    Reason::Ttl,
    Reason::Checksum,
    Reason::Length,
    Reason::Type,
    Reason::Version,
    Reason::Auth,
    Reason::Password,
    Reason::Icv,
    Reason::Sequence,
    Reason::Interval,
    Reason::Addresses,
    Reason::PeerSource,
    Reason::PeerTtl,
];

#[test]
#[ignore = "needs root"]
fn privileged_keepalived_and_the_agent_judge_alike() {
    let plan = Plan { cases: CASES, seed: 8, release: Release::Own, only: None };
    let mut agent = Agent::new(&plan.release.version().unwrap()).unwrap();
    let figures = run(&plan, &mut agent, |_, _| {}).unwrap();
    let shown: Vec<String> = figures.disagreements.iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    assert_eq!(figures.judged, CASES);
    assert_eq!(figures.tallies.len(), ALL.len());
    // Frames that are all of one kind would agree with anything.
    for (name, tally) in &figures.tallies {
        for (what, count) in [("taken", tally.taken), ("rejected", tally.all_rejected()), ("unheard", tally.unheard)] {
            assert!(count >= 10, "{name}: only {count} {what}: {tally:?}");
        }
        assert!(tally.to_master >= 10, "{name}: {tally:?}");
    }
    for reason in REASONS {
        let met = figures.tallies.iter().any(|(_, tally)| tally.rejected.contains_key(reason.as_str()));
        assert!(met, "nothing was refused for {}", reason.as_str());
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_keepalived_takes_the_sound_advert_of_every_configuration() {
    for configuration in ALL {
        let mut asker = asker(configuration);
        for state in [State::Backup, State::Master] {
            let answer = asker.ask(&Case::default(), state, &mut Nobody).unwrap();
            assert_eq!(answer.verdict, Verdict::Taken, "{}, {state:?}: {answer}", configuration.name);
        }
    }
}

/// What both learn for good: from a packet of the old form of checksum, if the kernel takes its source.
#[test]
#[ignore = "needs root"]
fn privileged_the_agent_keeps_to_the_old_form_of_checksum_when_keepalived_does() {
    let configuration = Configuration::named("v3-unicast").unwrap();
    let version = Release::Own.version().unwrap();
    let mut agent = Agent::new(&version).unwrap();
    let mut asker = Asker::new(Scene::new(configuration, &Release::Own).unwrap(), &version, &mut agent).unwrap();
    let case = |deviations: &[Deviation]| Case { deviations: deviations.to_vec() };
    let old = Deviation::Checksum(Form::PseudoGroup);
    let martian = case(&[Deviation::Source(Place::Loopback), old]);
    for (case, wanted) in [(&martian, Verdict::Unheard), (&Case::default(), Verdict::Taken)] {
        let answer = asker.go_on(case, &mut agent).unwrap();
        assert_eq!((answer.verdict, answer.judged), (wanted, Some(wanted)), "{case}: {answer}");
    }
    // The agent asks the kernel about the source only now.
    let answer = asker.go_on(&case(&[old]), &mut agent).unwrap();
    assert_eq!((answer.verdict, answer.judged), (Verdict::Taken, Some(Verdict::Taken)), "{answer}");
    wait::until(Duration::from_secs(5), "the agent keeps to the old form", || {
        let answer = asker.go_on(&Case::default(), &mut agent).unwrap();
        assert_eq!(answer.verdict, Verdict::Rejected(Reason::Checksum), "{answer}");
        (answer.judged == Some(answer.verdict)).then_some(())
    })
    .unwrap();
    let answer = asker.go_on(&case(&[old]), &mut agent).unwrap();
    assert_eq!((answer.verdict, answer.judged), (Verdict::Taken, Some(Verdict::Taken)), "{answer}");
}

/// What one case leaves behind would change the answer to another.
#[test]
#[ignore = "needs root"]
fn privileged_keepalived_says_the_same_of_a_case_whatever_came_before() {
    for name in ["v2-ah", "v3-unicast", "v3-ipv6", "v2-vmac"] {
        let configuration = Configuration::named(name).unwrap();
        let mut asker = asker(configuration);
        for state in [State::Backup, State::Master] {
            let cases: Vec<Case> = frames::mixed(configuration, fastrand::Rng::with_seed(8)).take(100).collect();
            let first: Vec<Verdict> =
                cases.iter().map(|case| asker.ask(case, state, &mut Nobody).unwrap().verdict).collect();
            for (case, first) in cases.iter().zip(first).rev() {
                let answer = asker.ask(case, state, &mut Nobody).unwrap();
                assert_eq!(answer.verdict, first, "{name}, {state:?}: {case}: {answer}");
            }
        }
    }
}

fn asker(configuration: &'static Configuration) -> Asker {
    let version = Release::Own.version().unwrap();
    Asker::new(Scene::new(configuration, &Release::Own).unwrap(), &version, &mut Nobody).unwrap()
}
