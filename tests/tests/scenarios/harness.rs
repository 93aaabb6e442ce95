//! The ground itself: keepalived does here what it does elsewhere, and nothing stays behind.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ha_agent_tests::keepalived::{Keepalived, Settings, make_fifo};
use ha_agent_tests::lab::{Lab, RELEASE, Router};
use ha_agent_tests::pair::Scene;
use ha_agent_tests::wait;
use rustix::process::{Pid, Signal, kill_process};

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

#[test]
#[ignore = "needs root"]
fn what_an_agent_holds_is_seen_and_is_gone_with_it() -> Result<()> {
    let mut pair = Scene::default().start("holds")?;
    pair.lab.remember(pair.a.agent.id()?);
    let traces = pair.lab.traces();
    let held = traces.leftovers();
    for kind in ["namespace ", "process ", "socket ", "BPF program ", "BPF map ", "BPF link ", "folder "] {
        assert!(held.iter().any(|what| what.starts_with(kind)), "{kind}is seen: {held:?}");
    }
    drop(pair);
    assert_eq!(traces.leftovers(), Vec::<String>::new());
    Ok(())
}

/// Starts the demonstration, interrupts it as soon as it has built something, and gives how it ended.
fn interrupt_the_demonstration(signal: Signal) -> Result<Option<i32>> {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_ha-agent-demo")).stdout(Stdio::null()).spawn()?;
    let pid = Pid::from_raw(i32::try_from(demo.id())?).context("a process id")?;
    let mine = format!("halab-{}-", demo.id());
    let namespaces = || {
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with(&mine)).count()
    };
    wait::until(RELEASE, "its namespaces", || (namespaces() >= 5).then_some(()))?;
    kill_process(pid, signal)?;
    let status = demo.wait()?;
    wait::until(RELEASE, "its namespaces are gone", || (namespaces() == 0).then_some(()))?;
    Ok(status.code())
}

#[test]
#[ignore = "needs root"]
fn the_demonstration_cleans_up_on_ctrl_c() -> Result<()> {
    assert_eq!(interrupt_the_demonstration(Signal::INT)?, Some(130));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_demonstration_leaves_nothing_even_when_it_is_killed() -> Result<()> {
    assert_eq!(interrupt_the_demonstration(Signal::KILL)?, None);
    Ok(())
}
