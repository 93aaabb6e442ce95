//! The process that stands in for Neutron's monitor: registered for as long as it lives.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::drop_in::{self, DropIn, Form, Place};
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Node, Reporter, SLACK, Scene};
use ha_agent_tests::wait;
use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use crate::ADVERT;

/// Memory of one process alone, KiB of PSS.
const BUDGET: u64 = 700;
/// Processes that register at once.
const CROWD: usize = 400;
/// By when all of them are registered: most of it is the time to start so many processes.
const CROWD_WITHIN: Duration = Duration::from_secs(15);

/// A node that knows no router by hand, and expects no reporter.
fn node(lab: &Lab, netns: &str, router: &Router, top: &str) -> Result<Node> {
    let agent = Settings { without_routers: true, top: top.to_owned(), ..Settings::default() };
    Scene { reporter: Reporter::Nobody, agent, ..Scene::default() }.node_at(lab.site_in(netns, "a", router)?)
}

/// An agent alone, and the place of a router that nobody built.
fn agent(lab: &Lab) -> Result<(Agent, Place)> {
    let settings = Settings { without_routers: true, without_fifo: true, ..Settings::default() };
    let agent = Agent::configure(lab, "a", &[], &settings)?;
    let place = place(&agent);
    Ok((agent, place))
}

fn place(agent: &Agent) -> Place {
    let router = Uuid::new_v4();
    Place {
        router,
        netns: format!("qrouter-{router}"),
        interface: "ha-1b2c3d4e-5f".to_owned(),
        vip: "169.254.0.7/24".to_owned(),
        state_path: agent.neutron(),
    }
}

/// A figure, for who reads the log.
fn tell(figure: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{figure}");
}

fn registered(node: &mut Node) -> Result<()> {
    node.event(SLACK, "router.registered", json!({"uid": 0})).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_registered_router_is_watched_where_it_says_until_nobody_knows_it() -> Result<()> {
    let lab = Lab::new("drop-in")?;
    let router = Router::new(31);
    // A name that nothing but the registration tells.
    let netns = format!("{}-elsewhere", router.id);
    let mut node = node(&lab, &netns, &router, "")?;
    node.agent.start()?;
    let place = Place::of(&node.site, &node.agent);
    let mut shim = DropIn::start(&lab, &place, &node.agent.configuration(), Form::Foreground)?;
    registered(&mut node)?;
    wait::until(SLACK, "it is named as waited for", || {
        let degraded = node.agent.ask(&["status"]).ok()?["degraded"].clone();
        let reason = degraded[0]["reason"].as_str()?.to_owned();
        (degraded[0]["channel"] == "inventory" && reason.contains(&router.id.to_string())).then_some(())
    })?;

    place.write_keepalived_conf(router.vrid)?;
    let watched = node.event(SLACK, "router.watched", json!({"source": "ha_confs+registration", "vrid": 31}))?;
    assert_eq!(watched["netns"], netns.as_str());
    node.start_keepalived()?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.confirmed(SLACK, "primary")?;
    state_file(&place, "primary")?;
    let status = node.agent.status(&node.site)?;
    assert_eq!((&status["registered"], &status["degraded"]), (&json!(true), &json!([])));
    assert_eq!(node.agent.ask(&["status"])?["degraded"], json!([]));
    let before = sequence(&node)?;

    // Deleted, as the L3 agent does it, but for the order: with one of the two it is still there.
    std::fs::remove_dir_all(place.conf_dir())?;
    wait::until(SLACK, "only the registration knows it", || {
        (node.agent.status(&node.site).ok()?["source"] == "registration").then_some(())
    })?;
    node.agent.events.deny(&json!({"event": "router.forgotten"}))?;
    shim.stop()?;
    node.event(SLACK, "router.unregistered", json!({"uid": 0}))?;
    node.event(SLACK, "router.forgotten", json!({}))?;
    assert!(node.agent.status(&node.site).is_err(), "it is no longer listed");

    // Its outbox entry went too: counting begins anew, at the wall clock's milliseconds.
    place.write_keepalived_conf(router.vrid)?;
    node.agent.events.mark()?;
    let _shim = DropIn::start(&lab, &place, &node.agent.configuration(), Form::Foreground)?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    let after = sequence(&node)?;
    assert!(after > before + 100, "not counted on: {before}, then {after}");
    Ok(())
}

/// What the L3 agent reads when it starts.
fn state_file(place: &Place, word: &str) -> Result<()> {
    let path = place.conf_dir().join("state");
    let what = format!("{} says {word}", path.display());
    wait::until(SLACK, &what, || (std::fs::read_to_string(&path).ok()? == word).then_some(()))
}

fn sequence(node: &Node) -> Result<u64> {
    let status = node.agent.status(&node.site)?;
    status["sequence"].as_u64().with_context(|| format!("a sequence in {status}"))
}

#[test]
#[ignore = "needs root"]
fn a_killed_process_leaves_no_registration_and_ha_confs_still_knows_the_router() -> Result<()> {
    let lab = Lab::new("killed")?;
    let router = Router::new(32);
    let mut node = node(&lab, &format!("snat-{}", router.id), &router, "")?;
    node.agent.start()?;
    let place = Place::of(&node.site, &node.agent);
    place.write_keepalived_conf(router.vrid)?;
    node.event(SLACK, "router.watched", json!({"source": "ha_confs"}))?;
    node.confirmed(ADVERT * 2 + SLACK, "backup")?;
    // Its own monitor may be there still: the file is that one's.
    assert!(!place.conf_dir().join("state").exists());
    let mut shim = DropIn::start(&lab, &place, &node.agent.configuration(), Form::Daemon)?;
    registered(&mut node)?;
    state_file(&place, "backup")?;
    let source = |node: &Node, word: &str| {
        wait::until(SLACK, word, || (node.agent.status(&node.site).ok()?["source"] == word).then_some(()))
    };
    source(&node, "ha_confs+registration")?;

    shim.signal(Signal::KILL)?;
    wait::until(SLACK, "it is gone", || (!shim.runs()).then_some(()))?;
    node.event(SLACK, "router.unregistered", json!({}))?;
    source(&node, "ha_confs")?;
    assert_eq!(node.agent.status(&node.site)?["registered"], false);
    node.agent.events.deny(&json!({"event": "router.forgotten"}))?;
    assert!(!shim.is_active(), "the L3 agent sees that it is gone");
    // So it starts another one, which takes over what the first one left.
    let second = DropIn::start(&lab, &place, &node.agent.configuration(), Form::Daemon)?;
    assert!(second.is_active());
    source(&node, "ha_confs+registration")
}

#[test]
#[ignore = "needs root"]
fn who_registers_something_else_is_named_and_keepalived_conf_is_believed() -> Result<()> {
    let lab = Lab::new("differs")?;
    let router = Router::new(34);
    let mut node = node(&lab, &format!("qrouter-{}", router.id), &router, "")?;
    node.agent.start()?;
    let place = Place::of(&node.site, &node.agent);
    place.write_keepalived_conf(router.vrid)?;
    let other = Place { interface: "ha-other".to_owned(), ..place.clone() };
    let config = node.agent.configuration();
    let mut shim = DropIn::start(&lab, &other, &config, Form::Foreground)?;
    let degraded = node.event(SLACK, "channel.degraded", json!({"channel": "inventory"}))?;
    let reason = degraded["reason"].as_str().context("a reason")?;
    assert!(reason.contains("ha-other") && reason.contains(&place.interface), "{reason}");
    let status = node.agent.status(&node.site)?;
    assert_eq!(status["interface"], place.interface.as_str());
    assert_eq!(status["degraded"], json!([{"channel": "inventory", "reason": reason}]));
    shim.stop()?;
    node.event(SLACK, "channel.restored", json!({"channel": "inventory"}))?;

    // Given by hand, whatever the others say; that its monitor is gone still counts.
    let _shim = DropIn::start(&lab, &other, &config, Form::Foreground)?;
    node.agent.events.mark()?;
    node.agent.write_configuration(&[&node.site], &Settings { without_fifo: true, ..Settings::default() })?;
    node.agent.signal(Signal::HUP)?;
    wait::until(SLACK, "it is known by hand", || {
        let status = node.agent.status(&node.site).ok()?;
        (status["source"] == "config" && status["registered"] == true && status["degraded"] == json!([])).then_some(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_killed_agent_finds_its_registrations_again() -> Result<()> {
    let lab = Lab::new("again")?;
    let (mut agent, place) = agent(&lab)?;
    // Absent at first: said once, however often it is tried.
    let mut shim = DropIn::start(&lab, &place, &agent.configuration(), Form::Daemon)?;
    wait::until(SLACK, "it says so", || (!shim.said().is_empty()).then_some(()))?;
    let pid = shim.pid();
    let event = json!({"event": "router.registered", "router_id": place.router.to_string()});
    for lines in [2, 4, 6] {
        agent.start()?;
        agent.events.expect(SLACK, &event)?;
        wait::until(SLACK, "it knows that it is registered", || (shim.said().len() == lines).then_some(()))?;
        agent.kill()?;
    }
    agent.start()?;
    agent.events.expect(SLACK, &event)?;
    let said = shim.said();
    assert!(said[0].starts_with("not registered: ") && said[0].contains("admin.sock"), "{said:?}");
    assert_eq!(said[1], "registered with ha-agent");
    for (away, back) in [(2, 3), (4, 5)] {
        assert!(said[away].starts_with("not registered: "), "{said:?}");
        assert_eq!(said[back], "registered with ha-agent again");
    }
    assert!(shim.runs() && shim.pid() == pid && shim.is_active());

    // SIGHUP: the log file was moved away.
    std::fs::rename(&shim.log_file, shim.log_file.with_extension("1"))?;
    shim.signal(Signal::HUP)?;
    wait::until(SLACK, "the log file is there again", || shim.log_file.exists().then_some(()))?;

    agent.events.mark()?;
    let took = shim.stop()?;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!shim.pid_file.exists(), "its pid file is gone with it");
    agent.events.expect(SLACK, &json!({"event": "router.unregistered"}))?;
    Ok(())
}

/// The session of a process, from its folder in /proc; 0 where that lies outside our pid namespace, as in
/// a container, for which `getsid` has no word.
fn session_of(proc: &Path) -> Result<i32> {
    let stat = std::fs::read_to_string(proc.join("stat"))?;
    let session = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(3));
    Ok(session.context("the session's field")?.parse()?)
}

#[test]
#[ignore = "needs root"]
fn it_starts_lives_and_ends_as_each_release_expects() -> Result<()> {
    let lab = Lab::new("forms")?;
    // Nobody listens: it is in backoff all the time.
    let (agent, _) = agent(&lab)?;
    for form in [Form::Daemon, Form::Foreground] {
        let place = place(&agent);
        let mut shim = DropIn::start(&lab, &place, &agent.configuration(), form)?;
        assert!(shim.is_active(), "{form:?}: the pid runs, and its command line names the monitor");
        let proc = PathBuf::from(format!("/proc/{}", shim.pid().as_raw_nonzero()));
        for stream in 0..3 {
            let target = std::fs::read_link(proc.join(format!("fd/{stream}")))?;
            assert_eq!(target.to_str(), Some("/dev/null"), "{form:?}");
        }
        let session = session_of(&proc)?;
        let status = std::fs::read_to_string(proc.join("status"))?;
        let has = |line: &str| status.lines().any(|found| found == line);
        assert!(has("Threads:\t1") && has("CapEff:\t0000000000000000") && has("NoNewPrivs:\t1"), "{status}");
        if form == Form::Daemon {
            // Another session than ours, and not its leader.
            let own = session_of(Path::new("/proc/self"))?;
            assert!(session != own && session != shim.pid().as_raw_nonzero().get(), "{session} beside {own}");
            assert_eq!(std::fs::read_link(proc.join("cwd"))?.to_str(), Some("/"));
            // A second one for the same pid file is refused as long as the first one lives.
            let again = std::process::Command::new(drop_in::program()?)
                .args(["--config".as_ref(), agent.configuration().as_os_str()])
                .args([format!("--pid_file={}", shim.pid_file.display()), format!("--router_id={}", place.router)])
                .args(["--namespace=x", "--conf_dir=/x", "--monitor_interface=x", "--monitor_cidr=x"])
                .output()?;
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            assert!(again.status.code() == Some(1) && said.contains("is locked"), "{again:?}");
        }
        let took = shim.stop()?;
        assert!(took < Duration::from_secs(1), "{form:?}: in backoff, after {took:?}");
        assert!(!shim.pid_file.exists() && !shim.is_active(), "{form:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_the_agent_refuses_is_said_once_with_the_key_to_set() -> Result<()> {
    let lab = Lab::new("refused")?;
    let (mut agent, mut place) = agent(&lab)?;
    agent.start()?;
    place.state_path = agent.neutron().join("elsewhere");
    let shim = DropIn::start(&lab, &place, &agent.configuration(), Form::Foreground)?;
    wait::until(SLACK, "it says so", || (!shim.said().is_empty()).then_some(()))?;
    let said = shim.said();
    assert!(said[0].contains("refuses") && said[0].contains("neutron.ha_confs_path"), "{said:?}");
    agent.events.deny(&json!({"event": "router.registered"}))?;
    // Once the configuration fits, nothing has to be done but to wait; another one need not.
    place.state_path = agent.neutron();
    let _second = DropIn::start(&lab, &place, &agent.configuration(), Form::Foreground)?;
    agent.events.expect(SLACK, &json!({"event": "router.registered"}))?;
    assert_eq!(shim.said().len(), 1);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn in_observe_the_l3_agent_hears_what_the_monitor_would_have_said() -> Result<()> {
    let lab = Lab::new("observe")?;
    let router = Router::new(33);
    let mut node = node(&lab, &format!("qrouter-{}", router.id), &router, "mode = \"observe\"")?;
    node.agent.start()?;
    let place = Place::of(&node.site, &node.agent);
    place.write_keepalived_conf(router.vrid)?;
    let _shim = DropIn::start(&lab, &place, &node.agent.configuration(), Form::Foreground)?;
    // No keepalived, so nothing is on the wire: only the monitor would have believed this.
    node.l3.expect(SLACK, router.id, &["backup"])?;
    node.site.add_vip()?;
    node.l3.expect(SLACK, router.id, &["backup", "primary"])?;
    state_file(&place, "primary")?;
    node.site.delete_vip()?;
    node.l3.expect(SLACK, router.id, &["backup", "primary", "backup"])?;
    state_file(&place, "backup")
}

#[test]
#[ignore = "needs root"]
fn one_process_is_small() -> Result<()> {
    let lab = Lab::new("small")?;
    let (mut agent, first) = agent(&lab)?;
    agent.start()?;
    // A copy of its own, or others that run now would take a part of its pages.
    let program = lab.folder().join("neutron-keepalived-state-change");
    std::fs::copy(drop_in::program()?, &program)?;
    let start = |place: &Place| DropIn::start_program(&program, &lab, place, &agent.configuration(), Form::Daemon);
    let mut all = vec![start(&first)?];
    wait::until(SLACK, "it is registered", || (!all[0].said().is_empty()).then_some(()))?;
    let (one, own) = (all[0].memory("Pss")?, all[0].memory("Pss_Anon")?);
    for _ in 1..100 {
        all.push(start(&place(&agent))?);
    }
    wait::until(CROWD_WITHIN, "all are registered", || all.iter().all(|shim| !shim.said().is_empty()).then_some(()))?;
    let sum = all.iter().map(|shim| shim.memory("Pss")).sum::<Result<u64>>()?;
    tell(&format!("resident, PSS: 1 process {one} KiB ({own} KiB of it its own); 100 processes {sum} KiB"));
    assert!(one <= BUDGET, "{one} KiB");
    assert!(sum <= BUDGET * 100 / 3, "the program's pages are shared: {sum} KiB");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn four_hundred_register_at_once_and_again() -> Result<()> {
    let lab = Lab::new("crowd")?;
    let (mut agent, _) = agent(&lab)?;
    agent.start()?;
    let config = agent.configuration();
    let started = Instant::now();
    let all: Vec<DropIn> =
        (0..CROWD).map(|_| DropIn::start(&lab, &place(&agent), &config, Form::Daemon)).collect::<Result<_>>()?;
    let spawned = started.elapsed();
    let registered = |agent: &mut Agent| {
        let event = json!({"event": "router.registered"});
        wait::until(CROWD_WITHIN, "all are registered", || {
            agent.events.read().ok()?;
            let count = agent.events.since_mark().iter().filter(|found| found["event"] == event["event"]).count();
            (count >= CROWD).then_some(())
        })
    };
    registered(&mut agent)?;
    let first = started.elapsed();
    // Who asks for the status still gets in.
    let more = format!("and {} more", CROWD - 3);
    wait::until(SLACK, "the status counts all", || {
        agent.ask(&["status"]).ok()?["degraded"].to_string().contains(&more).then_some(())
    })?;

    agent.kill()?;
    agent.start()?;
    let restarted = Instant::now();
    registered(&mut agent)?;
    tell(&format!(
        "{CROWD} processes: started one after the other in {spawned:.1?}, all registered after {first:.1?}; after a \
         restart of the agent all at once in {:.1?}",
        restarted.elapsed()
    ));
    agent.events.deny(&json!({"event": "channel.degraded", "channel": "events"}))?;
    assert_eq!(agent.stop()?, Some(0), "open registrations do not hold it up");
    drop(all);
    Ok(())
}
