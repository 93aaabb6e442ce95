//! The folder of the L3 agent's socket is Neutron's: what that user puts in the socket's place, and who may listen.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use ha_agent_tests::abuse::{GROUP, HONEST as NEUTRON, STRANGER, as_user};
use ha_agent_tests::pair::{Node, SLACK, Scene};
use ha_agent_tests::wait;

/// A listener of this user; its socket is root's to move.
fn listener(path: &Path, uid: u32) -> Result<UnixListener> {
    let folder = path.parent().unwrap_or(path).join(format!("of-{uid}"));
    fs::create_dir_all(&folder)?;
    chown(&folder, Some(uid), Some(GROUP))?;
    let made = folder.join("s");
    let there = std::os::fd::OwnedFd::from(fs::File::open(&folder)?);
    // By descriptor: the way through the lab's folders is root's.
    let by_fd = format!("/proc/self/fd/{}/s", std::os::fd::AsRawFd::as_raw_fd(&there));
    let listener = as_user(uid, || Ok(UnixListener::bind(by_fd)?))?;
    listener.set_nonblocking(true)?;
    fs::rename(made, path)?;
    Ok(listener)
}

/// Its deliveries fail for this reason.
fn fails(node: &mut Node, why: &str) -> Result<()> {
    node.agent.events.mark()?;
    let what = format!("a delivery fails: {why}");
    wait::until(SLACK * 2, &what, || {
        node.agent.events.read().ok()?;
        let told = |event: &serde_json::Value| {
            event["event"] == "delivery.failed" && event["reason"].as_str().is_some_and(|reason| reason.contains(why))
        };
        node.agent.events.since_mark().iter().any(told).then_some(())
    })
}

#[test]
#[ignore = "needs root"]
fn states_go_to_the_folder_s_owner_and_nowhere_else() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.delivery = "retry_max = \"1s\"".to_owned();
    let mut pair = scene.start("squatted")?;
    let (folder, socket) = (pair.lab.node_folder("users")?, pair.b.agent.l3_socket());
    let b = &mut pair.b;
    chown(b.agent.neutron(), Some(NEUTRON), Some(GROUP))?;
    b.l3.stop();
    let _ = fs::remove_file(&socket);

    // A link to somebody's socket, as the last name.
    let squatter = listener(&folder.join("squatter"), NEUTRON)?;
    symlink(folder.join("squatter"), &socket)?;
    std::os::unix::fs::lchown(&socket, Some(NEUTRON), Some(GROUP))?;
    pair.a.keepalived()?.stop()?;
    b.confirmed(SLACK, "primary")?;
    fails(b, "symbolic link")?;
    // Even one of root's, where it is not root alone who could have put it there.
    std::os::unix::fs::lchown(&socket, Some(0), Some(0))?;
    fails(b, "symbolic link")?;
    ensure!(squatter.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "somebody connected");
    fs::remove_file(&socket)?;

    // Our own intake, by another name: a state would come back as a report.
    fs::hard_link(b.agent.socket(), &socket)?;
    fails(b, "this agent's own")?;
    b.agent.events.deny(&serde_json::json!({"event": "report.received"}))?;
    fs::remove_file(&socket)?;

    // Another user's, at the very place.
    let stranger = listener(&socket, STRANGER)?;
    fails(b, &format!("uid {STRANGER} listens there"))?;
    let mut heard = String::new();
    while let Ok((mut stream, _)) = stranger.accept() {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let _ = stream.read_to_string(&mut heard);
    }
    ensure!(heard.is_empty(), "it heard {heard}");
    fs::remove_file(&socket)?;

    // The folder's owner.
    let neutron = listener(&socket, NEUTRON)?;
    let said = wait::until(SLACK * 2, "the owner is told", || {
        let (mut stream, _) = neutron.accept().ok()?;
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).ok()?;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        (read > 0).then(|| String::from_utf8_lossy(&bytes[..read]).into_owned())
    })?;
    ensure!(said.contains("X-Neutron-State: primary"), "{said}");
    wait::until(SLACK, "it is acknowledged", || (b.agent.status(&b.site).ok()?["delivered"] == "primary").then_some(()))
}
