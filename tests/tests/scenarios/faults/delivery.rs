//! The way to the L3 agent: a mount that hangs below its socket.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::Settings;
use ha_agent_tests::guardian::Trace;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{SLACK, Scene};
use rustix::mount::{MountFlags, mount};
use serde_json::json;

/// One request, from connecting to the end of the answer: `delivery::driver::REQUEST_LIMIT`.
const REQUEST: Duration = Duration::from_secs(5);
/// SIGTERM until the process is gone: `agent::STOP_LIMIT`.
const STOP: Duration = Duration::from_secs(8);

/// A file system whose server never answers, as long as the file is open.
fn hanging(lab: &Lab, folder: &Path) -> Result<File> {
    let device = File::options().read(true).write(true).open("/dev/fuse").context("/dev/fuse")?;
    let path = folder.to_str().context("a path that is UTF-8")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let options = std::ffi::CString::new(options)?;
    lab.guardian().make(|notes| {
        notes.note(Trace::Mount(path));
        mount("hanging", folder, "fuse", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
            .context("mounting a file system that hangs")
    })?;
    Ok(device)
}

#[test]
#[ignore = "needs root"]
fn a_mount_that_hangs_below_the_l3_agents_socket_holds_up_nothing_else() -> Result<()> {
    let mut pair = Scene::default().start("hanging-mount")?;
    pair.b.agent.stop()?;
    let mount = pair.lab.node_folder("mount")?;
    let _server = hanging(&pair.lab, &mount)?;
    let settings = Settings { delivery: format!("socket = {:?}", mount.join("l3")), ..Settings::default() };
    pair.b.agent.write_configuration(&[&pair.b.site], &settings)?;
    pair.b.agent.start()?;
    let failed = pair.b.agent.events.expect(REQUEST + SLACK, &json!({"event": "delivery.failed"}))?;
    ensure!(failed["reason"].as_str().is_some_and(|reason| reason.contains("mount below the path")), "{failed}");

    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK * 2, "primary")?;
    let asked = Instant::now();
    let status = pair.b.agent.ask(&["status"])?;
    ensure!(asked.elapsed() < SLACK && status["delivery"]["answering"] == false, "{:?} {status}", asked.elapsed());
    ensure!(status["delivery"]["pending"] == 1, "{status}");

    let stopped = Instant::now();
    let code = pair.b.agent.stop()?;
    ensure!(code == Some(0) && stopped.elapsed() < STOP, "{code:?} after {:?}", stopped.elapsed());
    Ok(())
}
