//! Many registrations over the real socket: two of one router, and more than there may be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::drop_in::{DropIn, Form, Place};
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Node, Reporter, SLACK, Scene};
use ha_agent_tests::report::{send, status};
use ha_agent_tests::wait;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use uuid::Uuid;

/// Registrations at once.
const MOST: usize = 4096;
/// By when all of them are taken, one after the other, by an unoptimised agent.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs root"]
fn of_two_of_one_router_both_count_and_the_newest_is_believed() -> Result<()> {
    let lab = Lab::new("overlap")?;
    let router = Router::new(36);
    let agent = Settings { without_routers: true, ..Settings::default() };
    let scene = Scene { reporter: Reporter::Nobody, agent, ..Scene::default() };
    let mut node = scene.node_at(lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?)?;
    node.agent.start()?;
    let real = Place::of(&node.site, &node.agent);
    real.write_keepalived_conf(router.vrid)?;
    // What only its registration says tells whom the agent believes.
    let other = Place { netns: format!("{}-other", router.id), ..real.clone() };
    let config = node.agent.configuration();
    let believed = |node: &Node, place: &Place| {
        let netns = place.netns.clone();
        wait::until(SLACK, &format!("{netns} is believed"), || {
            let status = node.agent.status(&node.site).ok()?;
            (status["netns"] == netns.as_str() && status["registered"] == true).then_some(())
        })
    };
    let mut first = DropIn::start(&lab, &other, &config, Form::Foreground)?;
    believed(&node, &other)?;
    // As the L3 agent starts one anew: the one before lives on for a moment, or for longer.
    let mut second = DropIn::start(&lab, &real, &config, Form::Daemon)?;
    believed(&node, &real)?;
    node.agent.events.mark()?;
    first.stop()?;
    node.event(SLACK, "router.unregistered", json!({"pid": first.pid().as_raw_nonzero().get()}))?;
    believed(&node, &real)?;
    node.never("router.forgotten", json!({}))?;
    assert!(second.is_active(), "the pid file is the second one's");

    // The other way round: the newest goes, and the one before it still counts.
    let mut third = DropIn::start(&lab, &other, &config, Form::Foreground)?;
    believed(&node, &other)?;
    third.stop()?;
    node.event(SLACK, "router.unregistered", json!({"pid": third.pid().as_raw_nonzero().get()}))?;
    believed(&node, &real)?;
    assert_eq!(node.agent.status(&node.site)?["source"], "ha_confs+registration");
    second.stop()?;
    wait::until(SLACK, "nobody is registered", || {
        (node.agent.status(&node.site).ok()?["registered"] == false).then_some(())
    })
}

/// The request that registers a router of nobody's.
fn request(agent: &Agent) -> String {
    let id = Uuid::new_v4();
    let folder = agent.neutron().join("ha_confs").join(id.to_string());
    let body = format!(
        "{{\"namespace\":\"qrouter-{id}\",\"interface\":\"ha-1\",\"cidr\":\"169.254.0.1/24\",\"conf_dir\":{folder:?}}}"
    );
    format!(
        "PUT /v1/routers/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Registers one, for as long as the connection lives; gives what it was answered.
fn register(socket: &Path, request: &str) -> Result<(UnixStream, u16)> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(SLACK))?;
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let status = status(&line)?;
    Ok((stream, status))
}

#[test]
#[ignore = "needs root"]
fn one_more_than_there_may_be_is_told_to_come_again() -> Result<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })?;
    let lab = Lab::new("most")?;
    let settings = Settings { without_routers: true, without_fifo: true, ..Settings::default() };
    let mut agent = Agent::configure(&lab, "a", &[], &settings)?;
    agent.start()?;
    let socket = agent.folder().join("run/admin.sock");
    let began = Instant::now();
    let mut held = Vec::new();
    while held.len() < MOST {
        let (stream, status) = register(&socket, &request(&agent))?;
        ensure!(status == 200, "{status} for number {}", held.len());
        held.push(stream);
        ensure!(began.elapsed() < WITHIN, "{} within {WITHIN:?}", held.len());
    }
    let refused = send(&socket, request(&agent).as_bytes())?;
    assert_eq!(status(&refused)?, 503, "{refused}");
    assert!(refused.to_lowercase().contains("\r\nretry-after: 10\r\n") && refused.contains("4096"), "{refused}");
    // A second one for a router that is there is one more, too; who only looks is served.
    let all = format!("and {} more", MOST - 3);
    wait::until(SLACK, "all are shown", || {
        agent.ask(&["status"]).ok()?["degraded"].to_string().contains(&all).then_some(())
    })?;

    // One goes: there is room for one.
    held.pop();
    let again = wait::until(SLACK, "there is room again", || {
        let (stream, status) = register(&socket, &request(&agent)).ok()?;
        (status == 200).then_some(stream)
    })?;
    assert_eq!(register(&socket, &request(&agent))?.1, 503);
    drop((held, again));
    wait::until(SLACK, "nobody is waited for", || (agent.ask(&["status"]).ok()?["degraded"] == json!([])).then_some(()))
}
