//! With what privilege the agent works: each thread, under the systemd unit, and what ordinary users can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::{self, Agent};
use ha_agent_tests::lab::{Lab, RELEASE, Router};
use ha_agent_tests::pair::{Node, Reporter, SLACK, Scene};
use ha_agent_tests::timeline::Timeline;
use ha_agent_tests::{command, wait};
use rustix::process::Signal;
use serde_json::json;

use crate::{ADVERT, SETTLE};

const CHOWN: u64 = 1;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_BROADCAST: u64 = 1 << 11;
const NET_ADMIN: u64 = 1 << 12;
const FOWNER: u64 = 1 << 3;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Whatever the process was started with.
const ALL: u64 = u64::MAX;

/// Every thread that there always is, and its capabilities. One more is a decision.
const THREADS: [(&str, u64); 11] = [
    ("ha-agent", 0),
    ("worker", 0),
    ("intake", 0),
    ("netns", SYS_ADMIN | NET_ADMIN | BPF),
    ("netlink", NET_ADMIN | NET_BROADCAST),
    ("inventory", DAC_READ_SEARCH),
    ("actions", ALL),
    ("delivery", DAC_OVERRIDE),
    ("outbox", 0),
    ("events-file", DAC_OVERRIDE),
    // Diagnostics.
    ("events-sink", 0),
];
/// The one that only a plain keepalived's files are for.
const MORE: [(&str, u64); 1] = [("keepalived", DAC_READ_SEARCH)];
/// Nobody in particular.
const ORDINARY: u32 = 65534;

/// A thread's name, and what the kernel says of it.
type Thread = (String, BTreeMap<String, String>);

fn threads(pid: u32) -> Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // A blocking thread may end meanwhile.
        let Ok(text) = fs::read_to_string(entry.path().join("status")) else { continue };
        let fields: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        threads.push((fields.get("Name").context("a name")?.clone(), fields));
    }
    Ok(threads)
}

/// What an agent that this test starts is started with.
fn own_bounding_set() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("a bounding set")?;
    Ok(u64::from_str_radix(line.trim(), 16)?)
}

/// Holds every thread to the tables; `bounding` is what the process was started with, where threads cannot close it.
fn hold_to_the_table(agent: &mut Agent, more: &[(&str, u64)], bounding: Option<u64>) -> Result<()> {
    let table = [&THREADS, more].concat();
    let pid = agent.id()?;
    let first = format!("/proc/{pid}/status");
    // The first thread gives up last, just after the event that says that all runs.
    wait::until(SLACK, "the first thread gives up its capabilities", || {
        fs::read_to_string(&first).ok()?.contains("CapPrm:\t0000000000000000").then_some(())
    })?;
    let threads = threads(pid)?;
    let whole = match bounding {
        Some(bounding) => bounding,
        None => own_bounding_set()?,
    };
    let found: BTreeSet<&str> = threads.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, table.iter().map(|(name, _)| *name).collect(), "the threads there are");
    for (name, fields) in &threads {
        let field = |field: &str| fields.get(field).map(String::as_str).unwrap_or_default();
        let (_, allowed) = table.iter().find(|(known, _)| known == name).context("a known thread")?;
        let hex = |set: u64| format!("{:016x}", set & whole);
        assert_eq!(field("CapEff"), hex(*allowed), "{name}");
        assert_eq!(field("CapPrm"), hex(*allowed), "{name}");
        assert_eq!(field("CapBnd"), hex(bounding.unwrap_or(*allowed)), "bounding set of {name}");
        assert_eq!((field("CapInh"), field("CapAmb")), (hex(0).as_str(), hex(0).as_str()), "{name}");
        // What starts programs hands on whatever it has.
        let confined = *allowed != ALL || bounding.is_some();
        let expected = if confined { ("1", "2") } else { ("0", "0") };
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), expected, "{name}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn every_thread_has_what_the_table_says_and_no_more() -> Result<()> {
    let lab = Lab::new("threads")?;
    let router = Router::new(31);
    let site = lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?;
    let mut scene = Scene::default();
    // Free now, and nobody else here looks for one.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    scene.agent.sections = format!("[admin]\nlisten = \"{address}\"");
    let plain = lab.node_folder("a")?.join("plain.conf");
    fs::write(&plain, "global_defs {\n}\n")?;
    scene.agent.keepalived = Some(format!("configs = [{plain:?}]"));
    let mut node = scene.node_at(site)?;
    let text = fs::read_to_string(node.agent.configuration())?;
    fs::write(node.agent.configuration(), text.replace("sinks = [", "sinks = [\"stdout\", "))?;
    node.agent.start()?;
    hold_to_the_table(&mut node.agent, &MORE, None)?;

    // Also once every part has worked: a router found in a file, attached to, reported on, delivered; a reload.
    node.start_keepalived()?;
    let other = node.agent.neutron().join("ha_confs/2f0c1c52-5b1d-4f53-9f0e-000000000031");
    fs::create_dir_all(&other)?;
    fs::copy(node.keepalived()?.configuration(), other.join("keepalived.conf"))?;
    node.agent.events.expect(SLACK, &json!({"event": "router.watched", "source": "ha_confs"}))?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.confirmed(SLACK, "primary")?;
    node.heard(SLACK, &["backup", "primary"])?;
    node.claim("backup")?;
    node.agent.signal(Signal::HUP)?;
    wait::until(SLACK, "the reload", || node.agent.log().contains("configuration read again").then_some(()))?;
    hold_to_the_table(&mut node.agent, &MORE, None)?;
    let status = node.agent.ask(&["status"])?;
    assert!(!status["degraded"].to_string().contains("privilege"), "{status}");
    // Threads that may make no socket serve those that were there before.
    let mut scrape = TcpStream::connect(address)?;
    scrape.set_read_timeout(Some(SLACK))?;
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    scrape.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("ha_agent_intake_reports"), "{answer}");
    Ok(())
}

/// The event file's folder is put aside and made anew. `events-file` may write in any folder, but for Landlock, whose
/// rules belong to the folder that was there at the start.
#[test]
#[ignore = "needs root"]
fn landlock_holds_in_the_running_agent() -> Result<()> {
    let lab = Lab::new("landlock")?;
    let mut node = Scene::default().node_at(lab.site("a", &Router::new(34))?)?;
    let folder = lab.node_folder("a")?.join("log");
    let (aside, file) = (folder.with_extension("aside"), folder.join("events.jsonl"));
    fs::create_dir(&folder)?;
    let text = fs::read_to_string(node.agent.configuration())?;
    fs::write(node.agent.configuration(), text.replace("/events.jsonl", "/log/events.jsonl"))?;
    node.agent.events = Timeline::follow(&file);
    node.agent.start()?;
    let (_, findings) = node.agent.exits(&["doctor", "-o", "json"])?;
    let there = !findings.contains("no Landlock (");

    fs::rename(&folder, &aside)?;
    fs::create_dir(&folder)?;
    node.agent.signal(Signal::HUP)?;
    wait::until(SLACK, "the reload", || node.agent.log().contains("configuration read again").then_some(()))?;
    // Whatever there is to write is a reason to open the file.
    assert_eq!(node.claim("primary")?, 200);
    if !there {
        return wait::until(SLACK, "without Landlock it is written", || file.exists().then_some(()));
    }
    let refused = || Some(node.agent.ask(&["status"]).ok()?["degraded"].to_string().contains("Permission denied"));
    wait::until(SLACK, "the sink is refused its file", || refused().filter(|refused| *refused))?;
    assert!(!file.exists(), "it was made all the same");

    // The folder of the start is back: nothing was lost meanwhile.
    fs::remove_dir(&folder)?;
    fs::rename(&aside, &folder)?;
    node.event(SLACK, "report.received", json!({"state": "primary"})).map(drop)
}

/// As on a node: Neutron's files are Neutron's, and closed to others.
pub(crate) fn give_to_neutron(node: &Node) -> Result<()> {
    let neutron = node.agent.neutron();
    for path in [neutron.clone(), neutron.join("ha_confs"), node.agent.l3_socket()] {
        fs::create_dir_all(neutron.join("ha_confs"))?;
        chown(&path, Some(ORDINARY), Some(ORDINARY))?;
    }
    fs::set_permissions(&neutron, PermissionsExt::from_mode(0o750))?;
    fs::set_permissions(neutron.join("ha_confs"), PermissionsExt::from_mode(0o700))?;
    fs::set_permissions(node.agent.l3_socket(), PermissionsExt::from_mode(0o755))?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_is_neutrons_and_closed_to_others_is_read_and_reached() -> Result<()> {
    let lab = Lab::new("closed")?;
    let router = Router::new(32);
    let site = lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?;
    let mut scene = Scene { reporter: Reporter::Nobody, ..Scene::default() };
    scene.agent.without_routers = true;
    let mut node = scene.node_at(site)?;
    give_to_neutron(&node)?;
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = node.agent.neutron().join("ha_confs").join(router.id.to_string());
    fs::create_dir(&folder)?;
    fs::copy(node.keepalived()?.configuration(), folder.join("keepalived.conf"))?;
    for path in [folder.join("keepalived.conf"), folder.clone()] {
        chown(&path, Some(ORDINARY), Some(ORDINARY))?;
        fs::set_permissions(&path, PermissionsExt::from_mode(if path == folder { 0o700 } else { 0o600 }))?;
    }
    node.event(SLACK, "router.watched", json!({"source": "ha_confs", "vrid": 32}))?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.confirmed(SLACK, "primary")?;
    node.heard(SLACK, &["backup", "primary"])
}

/// What a service manager is told, word by word.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn listen(agent: &Agent) -> Result<Self> {
        let socket = UnixDatagram::bind(agent.notify_socket())?;
        socket.set_read_timeout(Some(SLACK))?;
        Ok(Self { socket })
    }

    fn told(&self, what: &str) -> Result<()> {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).with_context(|| format!("waiting for {what}"))?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        ensure!(text.lines().any(|line| line == what), "expected {what}, was told {text:?}");
        Ok(())
    }
}

#[test]
#[ignore = "needs root"]
fn under_the_unit_a_failover_is_confirmed_and_passed_on() -> Result<()> {
    let mut pair = Scene::default().build("unit")?;
    for node in [&mut pair.a, &mut pair.b] {
        give_to_neutron(node)?;
        node.agent.under_unit()?;
    }
    let manager = Manager::listen(&pair.b.agent)?;
    pair.elect()?;
    pair.watch()?;
    manager.told("READY=1")?;
    let channels = json!({"event": "agent.started", "channels": "report+vip+wire"});
    let all = pair.b.agent.events.all();
    ensure!(all.iter().any(|event| event["channels"] == channels["channels"]), "{}", pair.b.agent.events.story());
    let bounding =
        CHOWN | FOWNER | DAC_OVERRIDE | DAC_READ_SEARCH | NET_ADMIN | NET_BROADCAST | SYS_ADMIN | PERFMON | BPF;
    hold_to_the_table(&mut pair.b.agent, &[], Some(bounding))?;

    pair.b.agent.signal(Signal::HUP)?;
    manager.told("RELOADING=1")?;
    manager.told("READY=1")?;

    pair.a.keepalived()?.kill()?;
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    pair.heard(&["primary", "backup"], &["backup", "primary"])?;
    assert_eq!(pair.b.agent.stop()?, Some(0));
    manager.told("STOPPING=1")
}

#[test]
#[ignore = "needs root"]
fn under_the_unit_namespaces_come_and_go() -> Result<()> {
    let lab = Lab::new("unit-netns")?;
    let site = lab.site_planned("a", &Router::new(33));
    let mut node = Scene::default().node_at(site)?;
    node.agent.under_unit()?;
    node.agent.start()?;
    node.site.add_netns()?;
    node.site.plug()?;
    node.start_keepalived()?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.confirmed(SLACK, "primary")?;
    wait::until(ADVERT + SETTLE + SLACK, "its wire is watched", || {
        (node.agent.status(&node.site).ok()?["wire"] == "transmitting").then_some(())
    })?;

    node.keepalived()?.kill()?;
    node.keepalived = None;
    node.site.delete_netns()?;
    // The mount namespace that the unit makes must not keep it either.
    wait::until(RELEASE, "the namespace is let go", || (!node.site.is_plugged()).then_some(()))
}

/// A command of the agent's program as an ordinary user, in these groups beside the own one.
fn as_user(program: &Path, groups: &[u32], configuration: &Path, words: &[&str]) -> Result<Output> {
    let ordinary = ORDINARY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &ordinary, "--regid", &ordinary, "--inh-caps", "-all"]);
    match groups {
        [] => command.arg("--clear-groups"),
        some => command.args(["--groups", &some.iter().map(u32::to_string).collect::<Vec<_>>().join(",")]),
    };
    command.arg(program).arg("--config").arg(configuration).args(words);
    command.output().with_context(|| format!("{words:?}"))
}

#[test]
#[ignore = "needs root"]
fn who_only_looks_needs_no_root() -> Result<()> {
    let lab = Lab::new("ordinary")?;
    let mut node = Scene::default().node(&lab, "a", &Router::new(34))?;
    // The lab's folders and the program are for root alone otherwise.
    fs::set_permissions(lab.folder(), PermissionsExt::from_mode(0o755))?;
    let program = lab.folder().join("ha-agent");
    // By another process: a child that this one starts meanwhile would hold it open for writing, and nobody could run it.
    command::run("cp", &[&agent::binary()?.to_string_lossy(), &program.to_string_lossy()])?;
    let configuration = node.agent.configuration();
    fs::set_permissions(&configuration, PermissionsExt::from_mode(0o644))?;
    let id = node.site.router.id.to_string();
    let run = |groups: &[u32], words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = as_user(&program, groups, &configuration, words)?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    let notify = ["notify", "--router", &id, "primary"];

    assert_eq!(run(&[], &["check-config"])?.0, Some(0));
    // It finds what an ordinary user lacks, and says so by its code.
    let (code, text) = run(&[], &["doctor"])?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("CAP_SYS_ADMIN") && text.contains("confinement"), "{text}");
    let (code, text) = run(&[], &["run"])?;
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("needs root"), "{text}");

    node.agent.start()?;
    for words in [["status"].as_slice(), &["explain", &id], &["events"], &notify] {
        let (code, text) = run(&[], words)?;
        assert_eq!(code, Some(77), "{words:?} of one who may not: {text}");
        assert!(!text.contains("panicked") && text.lines().count() <= 3, "{text}");
    }
    // The group of the runtime directory and its sockets, here the agent's own.
    for words in [["status"].as_slice(), &["explain", &id], &["events"], &["status", "-o", "json"]] {
        let (code, text) = run(&[0], words)?;
        assert_eq!(code, Some(0), "{words:?} of a member of the group: {text}");
    }
    // Reaching the socket is not being allowed to report.
    let (code, text) = run(&[0], &notify)?;
    assert_eq!(code, Some(77), "{text}");
    node.agent.events.mark()?;
    let allowed = agent::Settings { intake: format!("allow_users = [\"{ORDINARY}\"]"), ..Default::default() };
    let without_fifo = agent::Settings { without_fifo: true, ..allowed };
    node.agent.write_configuration(&[&node.site], &without_fifo)?;
    fs::set_permissions(&configuration, PermissionsExt::from_mode(0o644))?;
    node.agent.signal(Signal::HUP)?;
    wait::until(Duration::from_secs(4), "the reload", || {
        node.agent.log().contains("configuration read again").then_some(())
    })?;
    let (code, text) = run(&[0], &notify)?;
    assert_eq!(code, Some(0), "{text}");
    node.event(SLACK, "report.received", json!({"state": "primary"}))?;
    let text = command::run("stat", &["-c", "%a %g", &node.agent.socket().display().to_string()])?;
    assert_eq!(text.trim(), "660 0");
    Ok(())
}
