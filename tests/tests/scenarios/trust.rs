//! Who may speak and what may be said: places that let others in, the lock, grants, and bytes that come
//! back nowhere.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::abuse::{self, ABUSER, GROUP, HONEST, STRANGER};
use ha_agent_tests::agent::Agent;
use ha_agent_tests::keepalived::Keepalived;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::{report, wait};
use rustix::process::Signal;
use serde_json::json;

use crate::actions::script;

/// `EX_TEMPFAIL`: another one runs.
const ALREADY_RUNNING: i32 = 75;

fn mode(path: &Path, bits: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits))
        .with_context(|| format!("chmod {}", path.display()))
}

#[test]
#[ignore = "needs root"]
fn places_that_let_others_in_keep_it_from_starting_and_from_reloading() -> Result<()> {
    let lab = Lab::new("places")?;
    let hook = lab.folder().join("hook");
    script(&hook, "exit 0")?;
    let mut scene = Scene::default();
    scene.agent.sections = format!("[actions]\non_fault = [{hook:?}]");
    let mut pair = scene.build_in(lab)?;
    pair.elect()?;
    pair.watch()?;
    let folder = pair.a.agent.folder().to_owned();
    let (conf, fifo, run) = (pair.a.agent.configuration(), pair.a.agent.fifo(), folder.join("run"));
    let cases = [
        (conf.clone(), 0o666, "chmod 0644"),
        (fifo, 0o622, "chmod 0600"),
        (run.clone(), 0o777, "chmod 0750"),
        (folder.join("state"), 0o770, "chmod 0700"),
        (run.join("keepalived-state-change"), 0o666, "chmod 0660"),
        (folder.clone(), 0o777, "chmod 0755"),
        (hook, 0o775, "chmod 0755"),
    ];
    for (path, open, remedy) in &cases {
        let closed = std::fs::metadata(path)?.permissions().mode() & 0o7777;
        pair.mark()?;
        mode(path, *open)?;
        pair.a.agent.signal(Signal::HUP)?;
        let degraded = json!({"event": "channel.degraded", "channel": "trust"});
        let told = pair.a.agent.events.expect(SLACK, &degraded)?;
        let reason = told["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains(remedy) && reason.contains(&path.display().to_string()), "{remedy}: {reason}");
        ensure!(pair.a.agent.ask(&["status"])?.to_string().contains(remedy), "status says so, too");
        // So do those that need no agent, of what it would bind: a socket's own mode it gives itself.
        if !path.ends_with("keepalived-state-change") {
            for command in ["doctor", "check-config"] {
                let (code, text) = pair.a.agent.exits(&[command, "-o", "json"])?;
                ensure!(code == Some(1) && text.contains(remedy), "{command}: {code:?} {text}");
            }
        }
        mode(path, closed)?;
        pair.a.agent.signal(Signal::HUP)?;
        pair.a.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "trust"}))?;
        ensure!(pair.a.claim("primary")? == 200);
    }
    let checked = pair.a.agent.ask(&["check-config"])?;
    ensure!(checked["ok"] == true && checked["trust"]["hooks"][0]["file"]["mode"] == "0755", "{checked}");
    ensure!(checked["trust"]["fifos"][0]["file"]["mode"] == "0600", "{checked}");
    pair.a.agent.stop()?;
    for (path, open, remedy) in cases.iter().filter(|(path, ..)| !path.ends_with("keepalived-state-change")) {
        let closed = std::fs::metadata(path)?.permissions().mode() & 0o7777;
        mode(path, *open)?;
        pair.a.agent.spawn()?;
        ensure!(pair.a.agent.ends()? == Some(1), "{}", path.display());
        ensure!(pair.a.agent.log().contains(remedy), "{remedy}: {}", pair.a.agent.log());
        mode(path, closed)?;
    }
    pair.a.agent.start()
}

#[test]
#[ignore = "needs root"]
fn the_lock_cannot_be_taken_away_and_a_crash_leaves_none() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.intake = abuse::intake();
    let mut pair = scene.start("lock")?;
    abuse::open_way(&pair.lab, &pair.a.agent)?;
    let run = pair.a.agent.folder().join("run");
    let second = |pair: &Pair| Agent::configure(&pair.lab, "a", &[&pair.a.site], &Default::default());
    // Everything in the directory can be removed; the lock is the directory.
    for entry in std::fs::read_dir(&run)? {
        std::fs::remove_file(entry?.path())?;
    }
    let mut other = second(&pair)?;
    other.spawn()?;
    ensure!(other.ends()? == Some(ALREADY_RUNNING), "{}", other.log());
    ensure!(pair.a.agent.runs(), "the first one goes on");
    // SIGHUP names what was taken from it.
    pair.a.agent.signal(Signal::HUP)?;
    let told = json!({"event": "channel.degraded", "channel": "trust"});
    let told = pair.a.agent.events.expect(SLACK, &told)?;
    ensure!(told["reason"].as_str().is_some_and(|reason| reason.contains("was removed")), "{told}");
    // Who may use the sockets cannot open the directory, and so cannot wait for the lock.
    let there = run.clone();
    let opened = abuse::as_user(HONEST, || Ok(std::fs::File::open(&there).err().map(|error| error.kind())))?;
    ensure!(opened == Some(std::io::ErrorKind::PermissionDenied), "{opened:?}");
    // A crash leaves a lock to nobody.
    pair.a.agent.kill()?;
    pair.a.agent.start()?;
    ensure!(pair.a.claim("primary")? == 200);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_group_may_report_until_it_is_struck_off() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.intake = format!("socket_group = {GROUP}\nallow_users = [\"%{GROUP}\"]\n");
    let mut pair = scene.start("groups")?;
    abuse::open_way(&pair.lab, &pair.b.agent)?;
    let (socket, id) = (pair.b.agent.socket(), pair.router.id);
    let claim = || abuse::as_user(STRANGER, || report::claim(&socket, id, "backup"));
    ensure!(claim()? == 200, "by its group alone");
    let text = std::fs::read_to_string(pair.b.agent.configuration())?;
    std::fs::write(pair.b.agent.configuration(), text.replace(&format!("\"%{GROUP}\""), &HONEST.to_string()))?;
    pair.b.agent.signal(Signal::HUP)?;
    wait::until(SLACK, "it is struck off", || (claim().ok()? == 403).then_some(()))?;
    let refused = json!({"event": "report.refused", "reason": "peer_not_allowed", "status": 403});
    let event = pair.b.agent.events.expect(SLACK, &refused)?;
    ensure!(event["reporter"]["uid"] == STRANGER, "{event}");
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn a_user_speaks_for_its_own_routers_only() -> Result<()> {
    let mut scene = Scene::default();
    let other = uuid::Uuid::new_v4();
    scene.agent.intake = abuse::intake();
    scene.agent.sections = format!("[[intake.grant]]\nuser = {ABUSER}\nrouters = [\"{other}\"]\n");
    let mut pair = scene.start("grants")?;
    abuse::open_way(&pair.lab, &pair.b.agent)?;
    let (socket, id) = (pair.b.agent.socket(), pair.router.id);
    let claim = |uid, id| abuse::as_user(uid, || report::claim(&socket, id, "backup"));
    ensure!(claim(HONEST, id)? == 200, "without a grant: any");
    ensure!(claim(ABUSER, id)? == 403, "not its own");
    ensure!(claim(ABUSER, other)? == 404, "its own, which is not here");
    // By name: who is bound to some learns nothing of others, not even whether there are any.
    let named = |uid, name: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Ha-Agent-Router: {name}\r\nX-Neutron-State: backup\r\n\r\n"
        );
        abuse::as_user(uid, || report::status(&report::send(&socket, request.as_bytes())?))
    };
    let name = Keepalived::instance(&pair.b.site);
    ensure!(named(HONEST, &name)? == 200 && named(HONEST, "none")? == 404, "without a grant: any");
    ensure!(named(ABUSER, &name)? == 403 && named(ABUSER, "none")? == 403, "nothing is learnt");
    let refused = json!({"event": "report.refused", "reason": "router_not_granted", "status": 403});
    let event = pair.b.agent.events.expect(SLACK, &refused)?;
    ensure!(event["reporter"]["uid"] == ABUSER && event["router_id"] == id.to_string(), "{event}");
    pair.heard(&["primary"], &["backup"])
}

/// What is said, and the answers it may have; none: it may end without one.
fn sayings(id: uuid::Uuid) -> Vec<(Vec<u8>, &'static [u16])> {
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Neutron-Router-Id: {id}\r\n");
    let state = |bytes: &[u8]| [head.as_bytes(), b"X-Neutron-State: ", bytes, b"\r\n\r\n"].concat();
    let raw = |text: &str| text.as_bytes().to_vec();
    let good = "X-Neutron-State: backup\r\n";
    vec![
        (state(b"MARK\x1b[31mER"), &[400]),
        (state(b"MARK\x00ER"), &[400]),
        (state(b"MARK\x7fER"), &[400]),
        (state("MARK\u{202e}\u{2066}ER".as_bytes()), &[400]),
        (state(b"MARK\xff\xfe\xc0\x80ER"), &[400]),
        (state(b"backup\r\n MARKER"), &[400]),
        (state(b"backup\r\nX-Neutron-State: MARKER"), &[400]),
        (state(b"backup\nX-MARKER: 1"), &[200, 400]),
        (state(b"backup\rX-MARKER: 1"), &[400]),
        (state(&b"MARKER".repeat(20_000)), &[431]),
        (
            raw(&format!(
                "{head}{good}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nMARKER / HTTP/1.1"
            )),
            &[200, 400],
        ),
        (raw(&format!("{head}{good}Content-Length: 99999999999999999999\r\n\r\nMARKER")), &[400, 413]),
        (raw(&format!("{head}{good}Content-Length: -1\r\n\r\nMARKER")), &[400]),
        (raw(&format!("{head}{good}Transfer-Encoding: MARKER\r\n\r\n")), &[400]),
        (raw(&format!("{head}{good}MARKER : x\r\n\r\n")), &[400]),
        (raw(&format!("{head}{good} MARKER\r\n\r\n")), &[400]),
        (raw(&format!("GET /MARKER HTTP/1.0\r\nX-Neutron-Router-Id: {id}\r\n{good}\r\n")), &[404]),
        (raw(&format!("GET / HTTP/1.0\r\nX-Neutron-Router-Id: {id}\r\n{good}\r\n")), &[200]),
        (raw(&format!("GET / HTTP/0.9\r\nX-Neutron-Router-Id: {id}\r\n{good}\r\n")), &[400]),
        (raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nMARKER"), &[]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03MARKER\r\n\r\n".to_vec(), &[400]),
        (raw("MARKER\r\n\r\n"), &[400]),
        (vec![0; 9000], &[400, 431]),
        (raw("GET / HTTP/1.1\r\nX-MARKER: "), &[408]),
        (Vec::new(), &[408]),
    ]
}

#[test]
#[ignore = "needs root"]
fn nothing_that_is_said_comes_back_raw() -> Result<()> {
    let mut pair = Scene::default().start("raw")?;
    let (socket, id) = (pair.b.agent.socket(), pair.router.id);
    let mut answers = String::new();
    for (bytes, expected) in sayings(id) {
        let answer = report::send(&socket, &bytes)?;
        if expected.is_empty() && answer.is_empty() {
            continue;
        }
        let status = report::status(&answer).with_context(|| format!("{:?}", String::from_utf8_lossy(&bytes)))?;
        ensure!(expected.contains(&status), "{:.200?}: {answer}", String::from_utf8_lossy(&bytes));
        answers.push_str(&answer);
    }
    let mut fifo = std::fs::File::options().write(true).open(pair.b.agent.fifo())?;
    std::io::Write::write_all(&mut fifo, b"INSTANCE \"MARKER\x1b[31m\xe2\x80\xae\" MASTER 1\nMARKER\xff\x00\n")?;
    drop(fifo);
    pair.b.agent.events.expect(SLACK, &json!({"event": "report.refused", "reason": "malformed_line"}))?;
    // Pipelined: each has its answer, in order.
    let one = |state: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nX-Neutron-Router-Id: {id}\r\nX-Neutron-State: {state}\r\n")
    };
    let three = format!("{}\r\n{}\r\n{}Connection: close\r\n\r\n", one("backup"), one("MARKER"), one("backup"));
    let answer = report::send(&socket, three.as_bytes())?;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    ensure!(statuses == ["200", "400", "200"], "{answer}");
    answers.push_str(&answer);

    let folder = pair.b.agent.folder();
    let written = [std::fs::read(folder.join("events.jsonl"))?, std::fs::read(folder.join("agent.log"))?].concat();
    let written = [written, answers.into_bytes()].concat();
    for raw in [b"MARK".as_slice(), b"\x1b[31m", b"\x00", b"\x7f", "\u{202e}".as_bytes(), b"\xff"] {
        ensure!(!written.windows(raw.len()).any(|window| window == raw), "{raw:?} was written down or echoed");
    }
    pair.heard(&["primary"], &["backup"])
}

/// Descriptors that the agent under want may have in all: it takes 77 itself.
const DESCRIPTORS: u32 = 88;

fn processor(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok([11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum())
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[test]
#[ignore = "needs root"]
fn descriptors_that_are_there_again_are_told_with_nobody_waiting() -> Result<()> {
    let mut pair = Scene::default().start("want")?;
    pair.b.agent.stop()?;
    pair.b.agent.with_descriptors(DESCRIPTORS);
    pair.b.agent.start()?;
    pair.b.asserted(SLACK)?;
    let pid = pair.b.agent.id()?;
    let late = json!({"event": "channel.degraded", "channel": "report"});
    // Which descriptor is the last one is chance: a delivery may hold one, or a look at a peer's process.
    for _ in 0..4 {
        pair.mark()?;
        let mut held = Vec::new();
        // One by one: the last descriptor goes to the last connection, and the backlog is empty.
        wait::until(SLACK * 4, "no descriptor is left", || {
            let before = descriptors(pid).ok()?;
            held.extend(UnixStream::connect(pair.b.agent.socket()));
            // Meanwhile another one may have ended: then nothing shows that this one was taken.
            let _ = wait::until(Duration::from_millis(100), "the connection is taken, or cannot be", || {
                pair.b.agent.events.read().ok()?;
                (descriptors(pid).ok()? > before || pair.b.agent.events.find(&late).is_some()).then_some(())
            });
            pair.b.agent.events.find(&late).is_some().then_some(())
        })?;
        drop(held);
        pair.b.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "report"}))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn without_descriptors_it_goes_on_says_so_and_recovers() -> Result<()> {
    let mut pair = Scene::default().start("descriptors")?;
    pair.b.agent.stop()?;
    pair.b.agent.with_descriptors(DESCRIPTORS);
    pair.b.agent.start()?;
    pair.b.asserted(SLACK)?;
    pair.mark()?;
    let mut held = Vec::new();
    let late = json!({"event": "channel.degraded", "channel": "report"});
    wait::until(SLACK * 2, "no descriptor is left", || {
        held.extend(UnixStream::connect(pair.b.agent.socket()));
        pair.b.agent.events.read().ok()?;
        pair.b.agent.events.find(&late).is_some().then_some(())
    })?;
    // A second of want is no second of work.
    let worked = processor(pair.b.agent.id()?)?;
    let begun = std::time::Instant::now();
    wait::until(SLACK, "a second", || (begun.elapsed() > Duration::from_secs(1)).then_some(()))?;
    let worked = processor(pair.b.agent.id()?)? - worked;
    ensure!(worked < 50, "{worked} ticks of the processor in a second of want");
    // The channels that are open go on: the FIFO, netlink, the wire.
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    ensure!(primary["basis"] == "report+vip+wire", "{primary}");
    // A connection that was there is still answered.
    let first = held.first_mut().context("a connection")?;
    let mut end = Vec::new();
    first.set_read_timeout(Some(SLACK * 2))?;
    first.read_to_end(&mut end).context("the first connection's answer")?;
    drop(held);
    pair.b.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "report"}))?;
    ensure!(pair.b.claim("primary")? == 200);
    pair.heard(&["primary", "backup"], &["backup", "backup", "primary"])
}
