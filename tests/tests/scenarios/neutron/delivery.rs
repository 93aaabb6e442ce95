//! Into the real servers: their delay, the pairs they swallow, the words that they cannot bear.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::figures::tell;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::neutron::{Crowd, Kind, Release, Server};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::report;
use ha_agent_tests::wait;
use uuid::Uuid;

/// `ha_vrrp_advert_int` by default: the L3 agent sits on `primary` for so long.
const ADVERT_INT: Duration = Duration::from_secs(2);

/// A flap that is quicker than the L3 agent's delay, through `AgentMixin` and `BatchNotifier`.
fn a_flap_ends_right(name: &str, release: Release) -> Result<()> {
    let crowd = Crowd::start(name, 1, release, Kind::Mixin)?;
    let place = crowd.bed.places().first().context("a router")?;
    crowd.server.updated().expect(SLACK * 4, place.id, &["standby"])?;
    place.become_primary()?;
    crowd.told(crowd.patience(), &["backup", "primary"])?;
    place.resign()?;
    crowd.told(crowd.patience(), &["backup", "primary", "backup"])?;
    crowd.server.updated().expect(SLACK * 4, place.id, &["standby", "active", "standby"])?;
    let apart = crowd.server.closest(place.id).context("two states")?;
    ensure!(apart >= ADVERT_INT, "contrary states {apart:?} apart");

    // The same, told by someone who does not wait.
    let router = Uuid::new_v4();
    for state in ["primary", "backup"] {
        let answer = report::send(&crowd.server.socket(), request(router, state).as_bytes())?;
        assert_eq!(report::status(&answer)?, 200);
    }
    crowd.server.expect(SLACK, router, &["primary", "backup"])?;
    // Past the delay, and past the batch after it: told by another router's state.
    thread::sleep(ADVERT_INT);
    let later = Uuid::new_v4();
    report::send(&crowd.server.socket(), request(later, "backup").as_bytes())?;
    crowd.server.updated().expect(SLACK * 4, later, &["standby"])?;
    let swallowed = crowd.server.updated().states(router);
    assert!(swallowed.is_empty(), "Neutron {release} processes such a pair now: {swallowed:?}");
    tell(format_args!(
        "Neutron {release}: primary and backup at once: neither reaches neutron-server; by the agent: both"
    ));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_flap_is_not_swallowed_by_26() -> Result<()> {
    a_flap_ends_right("flap26", Release::V26)
}

#[test]
#[ignore = "needs root"]
fn a_flap_is_not_swallowed_by_29() -> Result<()> {
    a_flap_ends_right("flap29", Release::V29)
}

#[test]
#[ignore = "needs root"]
fn an_old_word_never_poisons_a_batch() -> Result<()> {
    let crowd = Crowd::start("poison", 1, Release::V29, Kind::Mixin)?;
    let place = crowd.bed.places().first().context("a router")?;
    place.become_primary()?;
    assert_eq!(report::claim(&crowd.agent.socket(), place.id, "master")?, 200);
    crowd.told(crowd.patience(), &["backup", "primary"])?;
    crowd.server.updated().expect(SLACK * 4, place.id, &["standby", "active"])?;

    // Straight to it: the first goes alone, the next two in one batch.
    let lab = Lab::new("poisoned")?;
    let server = Server::start(&lab, Release::V29, Kind::Mixin, &lab.node_folder("neutron")?)?;
    let [first, good, bad] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    // From its socket's listening until its constructor is over, Neutron 29 raises and answers nothing.
    let taken = |router, state| {
        let answer = report::send(&server.socket(), request(router, state).as_bytes()).ok()?;
        (report::status(&answer).ok()? == 200).then_some(())
    };
    wait::until(SLACK, "it answers", || taken(first, "backup"))?;
    server.updated().expect(SLACK * 4, first, &["standby"])?;
    for (router, state) in [(good, "backup"), (bad, "master")] {
        taken(router, state).with_context(|| format!("{state} is taken"))?;
    }
    wait::until(SLACK * 4, "a KeyError", || server.log().contains("KeyError: 'master'").then_some(()))?;
    let lost = server.updated().states(good);
    assert!(lost.is_empty(), "Neutron {} survives the word now: {lost:?}", Release::V29);
    tell(format_args!("Neutron {}: \"master\" loses its batch; by the agent it is told as \"primary\"", Release::V29));
    Ok(())
}

fn request(router: Uuid, state: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Neutron-Router-Id: {router}\r\nX-Neutron-State: {state}\r\n\
         Connection: close\r\n\r\n"
    )
}
