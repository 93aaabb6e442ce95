//! What the wire may cost: a flood of adverts with a failover in it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use ha_agent_common::build::Advert;
use ha_agent_tests::command::run_in;
use ha_agent_tests::figures::tell;
use ha_agent_tests::frames::{self, Injector};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::timeline::latency;

/// The share of one core that the agent may take while the wire is flooded.
const SHARE: f64 = 0.10;
/// What the flood may add to the verdict.
const LATER: Duration = Duration::from_millis(50);
const FLOOD: Duration = Duration::from_secs(10);

/// Frames from random sources: for other VRIDs, for ours and forged, for ours and of other addresses,
/// for ours and sound but worse; of all sizes. None of them reaches keepalived (nft drops their
/// sources behind the classifier), so what is measured is the agent alone.
fn storm(pair: &Pair) -> Vec<Vec<u8>> {
    // The same frames each time, so that a failure can be repeated.
    let mut rng = Rng::with_seed(0x5eed);
    (0..4096)
        .map(|number| {
            let source = Ipv4Addr::new(10, 66, rng.u8(..), rng.u8(..));
            let mut advert = Advert { priority: rng.u8(1..=43), ..frames::advert(&pair.router, source) };
            let count = rng.u8(0..250);
            match number % 4 {
                0 => advert.vrid = rng.u8(pair.router.vrid + 1..),
                1 => advert.ttl = rng.u8(0..128),
                2 => advert.addresses = (0..count).map(|_| Ipv4Addr::new(10, 0, 0, rng.u8(..)).into()).collect(),
                _ => {}
            }
            advert.frame()
        })
        .collect()
}

fn seconds_of_processor(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A master resigns; how long the other node's agent took from the first sign to the verdict.
fn failover(pair: &mut Pair) -> Result<Duration> {
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    pair.a.confirmed(SLACK, "backup")?;
    latency(&primary)
}

#[test]
#[ignore = "needs root"]
fn a_flood_neither_delays_the_verdict_nor_costs_much() -> Result<()> {
    let _alone = crate::alone();
    let mut calm = Scene::default().start("calm")?;
    let undisturbed = failover(&mut calm)?;
    drop(calm);

    let mut pair = Scene::default().start("storm")?;
    let wire = Injector::on_fabric(&pair.lab)?;
    for node in [&pair.a, &pair.b] {
        let rules = "add table inet storm; add chain inet storm in { type filter hook input priority 0; }; \
                     add rule inet storm in ip saddr 10.66.0.0/16 drop";
        run_in(&node.site.netns, &["nft", rules])?;
    }
    let frames = storm(&pair);
    let agents = [pair.a.agent.id()?, pair.b.agent.id()?];
    let before: Vec<f64> = agents.iter().map(|id| seconds_of_processor(*id)).collect::<Result<_>>()?;
    let storming = std::thread::spawn(move || wire.flood(&frames, FLOOD));
    // In the midst of it.
    std::thread::sleep(FLOOD / 4);
    let disturbed = failover(&mut pair)?;
    ensure!(!storming.is_finished(), "the failover fell into the flood");
    let sent = storming.join().map_err(|_| anyhow::anyhow!("the flood ended badly"))?;
    let mut shares = Vec::new();
    for (id, before) in agents.iter().zip(before) {
        shares.push((seconds_of_processor(*id)? - before) / FLOOD.as_secs_f64());
    }
    let seen = pair.b.agent.metric("ha_agent_wire_vrrp_frames_total")?;
    tell(format_args!(
        "{} frames a second, {seen} of {sent} seen; verdict {undisturbed:?} without, {disturbed:?} with; agents {:.1} % and {:.1} % of a core",
        sent / FLOOD.as_secs(),
        shares[0] * 100.0,
        shares[1] * 100.0
    ));
    ensure!(seen > 100_000, "{seen} frames are no flood");
    // The flood withholds records, so that those who no record told of are searched for.
    ensure!(!pair.b.agent.log().contains("not searched"), "{}", pair.b.agent.log());
    ensure!(disturbed < undisturbed + LATER, "verdict after {disturbed:?}, without the flood {undisturbed:?}");
    ensure!(shares.iter().all(|share| *share < SHARE), "{shares:?} of a core");
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
