//! The classifier is no longer where it was put.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

use crate::ADVERT;

/// How long an attachment is not looked at while nothing is doubtful: `agent::attacher::ROUND`.
const ROUND: Duration = Duration::from_secs(10);
/// `BPF_LINK_GET_FD_BY_ID` and `BPF_LINK_DETACH` of linux/bpf.h.
const GET_FD_BY_ID: libc::c_long = 30;
const DETACH: libc::c_long = 34;

fn bpf(command: libc::c_long, argument: u32) -> Result<i32> {
    let mut attributes = [0_u32; 32];
    attributes[0] = argument;
    // SAFETY: the attributes are valid for reads and writes of the size that is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(&attributes)) };
    ensure!(result >= 0, "bpf({command}): {}", std::io::Error::last_os_error());
    Ok(i32::try_from(result)?)
}

/// Takes off every tcx link that a process holds, as somebody else with CAP_NET_ADMIN may; how many.
fn take_off(pid: u32) -> Result<usize> {
    let mut taken = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        if field("link_type:").as_deref() != Some("tcx") {
            continue;
        }
        let id = field("link_id:").context("link_id")?.parse()?;
        // SAFETY: a descriptor that the kernel has just made for us alone.
        let link = unsafe { OwnedFd::from_raw_fd(bpf(GET_FD_BY_ID, id)?) };
        bpf(DETACH, u32::try_from(link.as_raw_fd())?)?;
        taken += 1;
    }
    Ok(taken)
}

#[test]
#[ignore = "needs root"]
fn links_that_somebody_takes_off_are_named_and_made_anew() -> Result<()> {
    let mut pair = Scene::default().start("links-off")?;
    let pid = pair.b.agent.id()?;
    ensure!(take_off(pid)? == 2);
    pair.mark()?;
    let named = json!({"event": "channel.degraded", "channel": "wire"});
    let degraded = pair.b.agent.events.expect(ROUND + SLACK, &named)?;
    ensure!(degraded["reason"].to_string().contains("took it off"), "{degraded}");
    pair.b.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "wire"}))?;
    pair.b.calm(ADVERT * 2 + SLACK)?;
    // It sees again: both what leaves here and what arrives.
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK * 2, "primary")?;
    ensure!(primary["basis"] == "report+vip+wire", "{primary}");
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
