//! What a transition sets off on the node, and what is told again without one.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ha_agent_tests::command::{ip_in, run_in};
use ha_agent_tests::guardian::Trace;
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Node, Reporter, SLACK, Scene};
use ha_agent_tests::process::{Process, group_lives};
use ha_agent_tests::report::{send, status};
use ha_agent_tests::wait;
use rustix::process::Signal;
use serde_json::json;

use crate::ADVERT;

/// Writes an executable script.
pub(crate) fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).context("making it executable")
}

/// A lab with a hook in its folder, and the scene that runs it.
fn hooked(name: &str, text: &str) -> Result<(Lab, Scene, PathBuf)> {
    let lab = Lab::new(name)?;
    let hook = lab.folder().join("hook");
    script(&hook, text)?;
    let mut scene = Scene::default();
    scene.agent.sections = format!("[actions]\non_primary = [{hook:?}, \"given\"]\nhook_timeout = \"6s\"");
    Ok((lab, scene, hook))
}

#[test]
#[ignore = "needs root"]
fn a_hook_runs_on_a_failover_and_delivery_does_not_wait_for_it() -> Result<()> {
    let (lab, scene, hook) = hooked("hook", "env >>$0.heard-$HA_AGENT_INTERFACE; echo $1; exec sleep 1000")?;
    let mut pair = scene.build_in(lab)?;
    pair.elect()?;
    // `a` runs it for its first state; heard before its hook can have ended.
    pair.watch()?;
    let stopped = Instant::now();
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.b.heard(SLACK, &["backup", "primary"])?;
    let heard_after = stopped.elapsed();

    let failed =
        pair.b.event(Duration::from_secs(10), "action.failed", json!({"action": "hook", "state": "primary"}))?;
    assert!(failed["reason"].as_str().is_some_and(|why| why.contains("did not end within 6s")), "{failed}");
    let took = failed["took_ms"].as_f64().context("took_ms")?;
    assert!((6000.0..9000.0).contains(&took), "{failed}");
    assert!(heard_after < Duration::from_secs(6), "delivered while the hook hung: {heard_after:?}");
    assert!(pair.b.agent.log().contains("it wrote: given"), "{}", pair.b.agent.log());

    let told = fs::read_to_string(format!("{}.heard-{}", hook.display(), pair.b.site.interface))?;
    for line in [
        format!("HA_AGENT_ROUTER_ID={}", pair.router.id),
        "HA_AGENT_STATE=primary".to_owned(),
        "HA_AGENT_PREVIOUS=backup".to_owned(),
        "HA_AGENT_BASIS=report+vip+wire".to_owned(),
        format!("HA_AGENT_NETNS={}", pair.b.site.netns_path().display()),
        format!("HA_AGENT_VIP={}", pair.router.vip()),
        format!("HA_AGENT_SEQUENCE={}", pair.b.agent.status(&pair.b.site)?["sequence"]),
    ] {
        assert!(told.lines().any(|told| told == line), "{line} in {told}");
    }
    assert!(!told.contains("CARGO"), "nothing of the agent's own environment: {told}");
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn hooks_are_read_again_and_examined_and_end_with_the_agent() -> Result<()> {
    let (lab, mut scene, hook) = hooked("hooks", ">$0.begun-$HA_AGENT_STATE; exec sleep 1000")?;
    let mut node = scene.node(&lab, "a", &Router::new(17))?;
    // One that others could exchange: the agent does not start with it, and does not take it over.
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o775))?;
    node.agent.spawn()?;
    assert_eq!(node.agent.ends()?, Some(1));
    assert!(node.agent.log().contains("has mode 0775"), "{}", node.agent.log());
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    node.agent.start()?;
    scene.agent.sections = scene.agent.sections.replace("on_primary", "on_backup");
    node.agent.write_configuration(&[&node.site], &scene.agent)?;
    node.agent.signal(Signal::HUP)?;
    wait::until(SLACK, "it is read", || node.agent.log().contains("configuration read again").then_some(()))?;

    node.start_keepalived()?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    node.agent.events.mark()?;
    node.keepalived()?.stop()?;
    node.confirmed(SLACK, "backup")?;
    let begun = |state: &str| PathBuf::from(format!("{}.begun-{state}", hook.display())).exists();
    wait::until(SLACK, "the new hook runs", || begun("backup").then_some(()))?;
    assert!(!begun("primary"), "the old one is no longer wanted");
    let stopped = Instant::now();
    assert_eq!(node.agent.stop()?, Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(6), "{:?}", stopped.elapsed());
    node.event(SLACK, "action.failed", json!({"action": "hook"}))?;
    let left = lab.traces().leftovers();
    assert!(!left.iter().any(|trace| trace.contains("sleep 1000") || trace.contains("/hook")), "{left:?}");
    Ok(())
}

/// Waits until a hook runs that wrote down its process id, which is its group's too; it goes with the lab, should the
/// agent leave it behind.
pub(crate) fn hook_runs(lab: &Lab, file: &Path) -> Result<u32> {
    let pid = wait::until(SLACK, "the hook runs", || fs::read_to_string(file).ok()?.trim().parse().ok())?;
    lab.guardian().make(|notes| {
        notes.note(Trace::Group(pid));
        Ok(())
    })?;
    Ok(pid)
}

/// Waits until of a hook's group nobody is left.
pub(crate) fn hook_is_gone(lab: &Lab, group: u32) -> Result<()> {
    wait::until(SLACK, "the hook is gone", || (!group_lives(group)).then_some(()))?;
    lab.guardian().forget(group);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn hooks_do_not_outlive_an_agent_that_is_killed() -> Result<()> {
    // It ignores what asks it to end, and so does what it starts.
    let text = "trap '' TERM HUP INT; sleep 1000 & echo $$ >$0.own; wait";
    let (lab, scene, hook) = hooked("orphans", text)?;
    let mut node = scene.node(&lab, "a", &Router::new(23))?;
    node.agent.start()?;
    node.start_keepalived()?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    let group = hook_runs(&lab, &hook.with_extension("own"))?;
    node.agent.kill()?;
    hook_is_gone(&lab, group)?;
    // One that finds nothing new runs none, and is not held up.
    node.agent.events.mark()?;
    node.agent.start()?;
    node.asserted(ADVERT * 3 + SLACK)?;
    node.never("transition.confirmed", json!({}))?;
    node.never("action.done", json!({"action": "hook"}))?;
    node.never("action.failed", json!({"action": "hook"}))
}

/// A router that the L3 agent's files name, with a gateway; keepalived is not started.
pub(crate) fn neutron(lab: &Lab, vrid: u8, scene: &mut Scene) -> Result<Node> {
    let router = Router::new(vrid);
    let site = lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?;
    ip_in(&site.netns, &["link", "add", "qg-1", "type", "veth", "peer", "name", "out"])?;
    scene.reporter = Reporter::Nobody;
    scene.agent.without_routers = true;
    scene.node_at(site)
}

/// The router's folder as the L3 agent writes it.
pub(crate) fn write_folder(node: &mut Node) -> Result<PathBuf> {
    let folder = node.agent.neutron().join("ha_confs").join(node.site.router.id.to_string());
    fs::create_dir_all(&folder)?;
    let conf = fs::read_to_string(node.keepalived()?.configuration())?;
    let gateway = "    virtual_routes {\n        0.0.0.0/0 via 203.0.113.1 dev qg-1 no_track protocol static\n    }\n";
    let end = conf.rfind('}').context("an instance")?;
    fs::write(folder.join("keepalived.conf"), format!("{}{gateway}}}\n", &conf[..end]))?;
    Ok(folder)
}

#[test]
#[ignore = "needs root"]
fn ipv6_follows_a_failover_without_the_l3_agent() -> Result<()> {
    let lab = Lab::new("ipv6")?;
    let mut scene = Scene::default();
    scene.agent.sections = "[actions]\nipv6 = true".to_owned();
    let mut node = neutron(&lab, 18, &mut scene)?;
    node.l3.stop();
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = write_folder(&mut node)?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    node.event(SLACK, "action.done", json!({"action": "ipv6", "state": "primary"}))?;
    let setting = |node: &Node, file: &str| -> Result<String> {
        let path = format!("/proc/sys/net/ipv6/conf/{file}");
        Ok(run_in(&node.site.netns, &["cat", &path])?.trim().to_owned())
    };
    let settings = |node: &Node| -> Result<[String; 3]> {
        Ok([setting(node, "all/forwarding")?, setting(node, "qg-1/forwarding")?, setting(node, "qg-1/accept_ra")?])
    };
    assert_eq!(settings(&node)?, ["1", "1", "2"]);
    // It was backup at first, too.
    node.agent.events.mark()?;
    node.keepalived()?.stop()?;
    node.confirmed(SLACK, "backup")?;
    node.event(SLACK, "action.done", json!({"action": "ipv6", "state": "backup"}))?;
    assert_eq!(settings(&node)?, ["1", "0", "0"]);
    assert!(!folder.join("state").exists(), "its real monitor may be there: its file is left alone");
    Ok(())
}

/// Registers a stand-in for the router's monitor, for as long as the connection lives.
pub(crate) fn register(node: &Node, folder: &Path, more: &str) -> Result<UnixStream> {
    let site = &node.site;
    let body = format!(
        "{{\"namespace\":{:?},\"interface\":{:?},\"cidr\":{:?},\"conf_dir\":{folder:?}{more}}}",
        site.netns,
        site.interface,
        site.router.vip()
    );
    let mut stream = UnixStream::connect(node.agent.folder().join("run/admin.sock"))?;
    stream.set_read_timeout(Some(SLACK))?;
    write!(
        stream,
        "PUT /v1/routers/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        site.router.id,
        body.len()
    )?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    assert_eq!(status(&line)?, 200);
    Ok(stream)
}

#[test]
#[ignore = "needs root"]
fn the_state_file_of_a_registered_router_says_what_is_confirmed() -> Result<()> {
    let lab = Lab::new("statefile")?;
    let mut scene = Scene::default();
    let mut node = neutron(&lab, 19, &mut scene)?;
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = write_folder(&mut node)?;
    chown(&folder, Some(4021), Some(4022))?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    let file = folder.join("state");
    assert!(!file.exists(), "nobody stands in for its monitor yet");

    // As the monitor did when it began, and at each change.
    let registered = register(&node, &folder, ",\"user\":\"4021\",\"group\":\"4022\"")?;
    node.event(SLACK, "action.done", json!({"action": "state_file", "state": "primary"}))?;
    assert_eq!(fs::read(&file)?, b"primary");
    let stat = fs::metadata(&file)?;
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (4021, 4022, 0o644));
    node.keepalived()?.stop()?;
    node.event(SLACK, "action.done", json!({"action": "state_file", "state": "backup"}))?;
    assert_eq!(fs::read(&file)?, b"backup");

    // A restart that finds nothing new writes it all the same: the L3 agent may have lost it.
    fs::remove_file(&file)?;
    drop(registered);
    assert_eq!(node.agent.stop()?, Some(0));
    node.agent.start()?;
    let registered = register(&node, &folder, "")?;
    node.event(ADVERT * 3 + SLACK, "action.done", json!({"action": "state_file", "state": "backup"}))?;
    assert_eq!(fs::read(&file)?, b"backup");
    drop(registered);
    node.event(SLACK, "router.unregistered", json!({}))?;
    fs::remove_file(&file)?;
    node.start_keepalived()?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    // The lane is empty, as this one shows: nothing was written for nobody.
    let _again = register(&node, &folder, "")?;
    node.event(SLACK, "action.done", json!({"action": "state_file", "state": "primary"}))?;
    node.never("action.failed", json!({}))
}

/// As Neutron 29.0.0 writes it.
fn conntrackd_conf(folder: &Path, interface: &str, address: &str) -> String {
    let folder = folder.display();
    format!(
        "General {{\n HashSize 32768\n HashLimit 131072\n Syslog on\n LockFile {folder}/conntrackd.lock\n \
         UNIX {{\n Path {folder}/conntrackd.ctl\n Backlog 20\n }}\n \
         SocketBufferSize 262142\n SocketBufferSizeMaxGrown 655355\n \
         Filter From Kernelspace {{\n Protocol Accept {{\n TCP\n UDP\n }}\n \
         Address Ignore {{\n IPv4_address 127.0.0.1\n IPv4_address {address}\n }}\n }}\n}}\n\
         Sync {{\n Mode FTFW {{\n }}\n Multicast Default {{\n IPv4_address 225.0.0.50\n \
         IPv4_interface {address}\n Group 3791\n Interface {interface}\n SndSocketBuffer 1249280\n \
         RcvSocketBuffer 1249280\n Checksum on\n }}\n}}\n"
    )
}

/// The real one, in the router's namespace, by a configuration in the router's folder.
pub(crate) fn start_conntrackd(lab: &Lab, node: &Node, folder: &Path) -> Result<Process> {
    let address = node.site.address.split('/').next().context("an address")?.to_owned();
    let configuration = folder.join("conntrackd.conf");
    fs::write(&configuration, conntrackd_conf(folder, &node.site.interface, &address))?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &node.site.netns, "conntrackd", "-C"]).arg(configuration);
    let daemon = Process::start(&mut command, &lab.folder().join("conntrackd.log"), lab.guardian())?;
    wait::until(SLACK, "conntrackd runs", || daemon.output().contains("console mode").then_some(()))?;
    Ok(daemon)
}

#[test]
#[ignore = "needs root"]
fn conntrackd_itself_is_told_to_take_over_and_to_step_back() -> Result<()> {
    let lab = Lab::new("ct")?;
    let mut scene = Scene::default();
    let mut node = neutron(&lab, 20, &mut scene)?;
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = write_folder(&mut node)?;
    let daemon = start_conntrackd(&lab, &node, &folder)?;
    let _registered = register(&node, &folder, ",\"enable_conntrackd\":true")?;

    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    node.event(SLACK, "action.done", json!({"action": "conntrackd", "state": "primary"}))?;
    let said = |wanted: &[&str]| {
        let log = daemon.output();
        // Its last words: it was told to step back at first, too.
        let places: Option<Vec<usize>> = wanted.iter().map(|line| log.rfind(line)).collect();
        assert!(places.is_some_and(|places| places.is_sorted()), "{wanted:?} in {log}");
    };
    let over = ["committing all external caches", "flushing caches", "resync with master", "sending bulk update"];
    said(&over);
    // A state that is overtaken before the L3 agent's hold is over would rightly never be sent.
    node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary"])?;
    node.agent.events.mark()?;
    node.keepalived()?.stop()?;
    node.confirmed(SLACK, "backup")?;
    node.event(SLACK, "action.done", json!({"action": "conntrackd", "state": "backup"}))?;
    said(&["sending bulk update", "flushing conntrack table in", "resync requested"]);

    // Nobody listens any more: Neutron ignores that, and so does the agent, but not in silence.
    drop(daemon);
    node.start_keepalived()?;
    let failed = node.event(node.settings.master_down() + SLACK, "action.failed", json!({"action": "conntrackd"}))?;
    let reason = failed["reason"].as_str().context("a reason")?;
    for option in ["-c", "-f", "-R", "-B"] {
        assert!(reason.contains(&format!("conntrackd {option}: it ended with status 1")), "{reason}");
    }
    let told = node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary", "backup", "primary"]);
    told.with_context(|| node.agent.events.story())
}

#[test]
#[ignore = "needs root"]
fn what_was_delivered_is_kept_while_its_file_is_only_broken_and_goes_with_it() -> Result<()> {
    let lab = Lab::new("left")?;
    let mut scene = Scene::default();
    let mut node = neutron(&lab, 22, &mut scene)?;
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = write_folder(&mut node)?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary"])?;
    let conf = folder.join("keepalived.conf");
    let text = fs::read_to_string(&conf)?;

    // Broken while the agent is away, mended while it runs: it is not the first state that it hears of.
    assert_eq!(node.agent.stop()?, Some(0));
    node.agent.events.mark()?;
    fs::write(&conf, "vrrp_instance broken {\n")?;
    node.agent.start()?;
    node.agent.events.expect(SLACK, &json!({"event": "channel.degraded", "channel": "inventory"}))?;
    fs::write(&conf, &text)?;
    node.asserted(ADVERT * 3 + SLACK)?;
    // What was delivered is known, so nothing is confirmed anew.
    node.never("transition.confirmed", json!({}))?;

    // Deleted while the agent is away: it is forgotten, and comes back as a stranger.
    assert_eq!(node.agent.stop()?, Some(0));
    fs::remove_dir_all(&folder)?;
    node.agent.start()?;
    wait::until(SLACK, "it is forgotten", || {
        node.agent.log().contains("is forgotten: nothing names it").then_some(())
    })?;
    assert_eq!(node.agent.stop()?, Some(0));
    fs::create_dir(&folder)?;
    fs::write(&conf, &text)?;
    node.agent.start()?;
    let first = node.confirmed(ADVERT * 3 + SLACK, "primary")?;
    assert!(first["previous"].is_null(), "nothing was known of it: {first}");
    Ok(())
}

/// The neutron-server's view of the router, told to the agent as the L3 agent would.
fn check(node: &Node, state: &str) -> Result<u16> {
    let body = format!("{{\"state\":\"{state}\"}}");
    let request = format!(
        "POST /v1/routers/{}/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        node.site.router.id,
        body.len()
    );
    status(&send(&node.agent.folder().join("run/admin.sock"), request.as_bytes())?)
}

#[test]
#[ignore = "needs root"]
fn a_check_tells_again_only_where_the_server_is_wrong() -> Result<()> {
    let mut pair = Scene::default().start("check")?;
    // It is right: nothing follows, which the next one proves.
    assert_eq!(check(&pair.a, "active")?, 202);
    assert_eq!(check(&pair.a, "standby")?, 202);
    pair.a.heard(SLACK, &["primary", "primary"])?;
    assert_eq!(check(&pair.b, "unknown")?, 202);
    pair.b.heard(SLACK, &["backup", "backup"])?;
    assert_eq!(check(&pair.b, "standby")?, 202);
    pair.a.keepalived()?.stop()?;
    pair.heard(&["primary", "primary", "backup"], &["backup", "backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn confirmed_states_are_asserted_again_without_a_sound_and_without_the_disk() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.delivery = "protocol = \"json\"\nreassert_interval = \"10s\"".to_owned();
    let mut pair = scene.start("reassert")?;
    let sequence = pair.a.agent.status(&pair.a.site)?["sequence"].clone();
    pair.a.heard(Duration::from_secs(15), &["primary", "primary"])?;
    pair.b.heard(SLACK, &["backup", "backup"])?;
    for node in [&pair.a, &pair.b] {
        let events = fs::read_to_string(node.agent.folder().join("events.jsonl"))?;
        assert_eq!(events.matches("\"delivery.sent\"").count(), 1, "that of the first state: {events}");
    }
    let heard: Vec<Option<u64>> = pair.a.l3.heard().iter().map(|heard| heard.sequence).collect();
    assert_eq!(heard, [sequence.as_u64(), sequence.as_u64()], "the same state, under its number");
    Ok(())
}
