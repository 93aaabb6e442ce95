//! The ground itself: keepalived does here what it does elsewhere, and nothing stays behind.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::Result;
use ha_agent_tests::keepalived::{Keepalived, Settings, make_fifo};
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::wait;

const SLACK: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root"]
fn a_pair_elects_and_fails_over_and_nothing_stays() -> Result<()> {
    let lab = Lab::new("elect")?;
    let traces = lab.traces();
    {
        let router = Router::new(21);
        let (a, b) = (lab.site("a", &router)?, lab.site("b", &router)?);
        let settings = Settings::default();
        let mut first = Keepalived::start(&a, &settings)?;
        wait::until(settings.master_down() + SLACK, "the VIP on a", || a.holds_vip().then_some(()))?;
        let second = Keepalived::start(&b, &settings)?;

        // SIGKILL to both processes: the VIP stays, the other one takes over at its time.
        wait::until(SLACK, "b is up", || second.log().contains("Entering BACKUP").then_some(()))?;
        let killed = Instant::now();
        first.kill()?;
        wait::until(settings.master_down() + SLACK, "the VIP on b", || b.holds_vip().then_some(()))?;
        let took = killed.elapsed();
        assert!(took > Duration::from_secs(2), "a hard failure is not seen at once: {took:?}");
        assert!(a.holds_vip(), "the VIP of a killed keepalived stays");
        assert!(!traces.leftovers().is_empty(), "the check sees what is there");
    }
    drop(lab);
    assert_eq!(traces.leftovers(), Vec::<String>::new());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_graceful_stop_is_quick_and_the_fifo_tells() -> Result<()> {
    let lab = Lab::new("graceful")?;
    let router = Router::new(22);
    let (a, b) = (lab.site("a", &router)?, lab.site("b", &router)?);
    let fifo = lab.folder().join("fifo");
    make_fifo(&fifo)?;
    let settings = Settings { fifo: Some(fifo.clone()), ..Settings::default() };
    let mut first = Keepalived::start(&a, &settings)?;
    // Opens once keepalived has it open too; ends when keepalived is gone.
    let mut told = File::open(&fifo)?;
    wait::until(settings.master_down() + SLACK, "the VIP on a", || a.holds_vip().then_some(()))?;
    let second = Keepalived::start(&b, &Settings::default())?;
    wait::until(SLACK, "b is up", || second.log().contains("Entering BACKUP").then_some(()))?;
    let stopped = Instant::now();
    first.stop()?;
    wait::until(SLACK, "the VIP on b", || b.holds_vip().then_some(()))?;
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(3), "the skew and little more: {took:?}");
    assert!(!a.holds_vip());
    let mut lines = String::new();
    told.read_to_string(&mut lines)?;
    let states: Vec<&str> =
        lines.lines().filter_map(|line| line.strip_prefix("INSTANCE \"VR_22\" ")?.split(' ').next()).collect();
    assert_eq!(states, ["BACKUP", "MASTER", "STOP"]);
    Ok(())
}
