//! What a transition sets off, under the restrictions of the systemd unit.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use anyhow::Result;
use ha_agent_tests::command::run_in;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

use crate::actions::{hook_is_gone, hook_runs, neutron, register, script, start_conntrackd, write_folder};
use crate::privileges::give_to_neutron;

/// Neutron's user and group here.
const OWNER: (u32, u32) = (4021, 4022);

/// What a hook finds of the unit: where it may write, and the router's namespace, which it enters.
const HOOK: &str = r#"
exec >"$0.told"
echo "state $HA_AGENT_STATE"
[ -w /etc ] && echo "may write /etc"
[ -w /proc/sys/kernel ] && echo "may write /proc/sys/kernel"
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status
nsenter --net="$HA_AGENT_NETNS" ip -o link show dev "$HA_AGENT_INTERFACE"
echo end"#;
/// One that hangs after a failover, and ignores what asks it to end.
const HANGING: &str = r#"
[ "$HA_AGENT_PREVIOUS" = primary ] || exit 0
trap '' TERM
echo $$ >"$0.own"
while :; do sleep 1; done"#;

#[test]
#[ignore = "needs root"]
fn under_the_unit_actions_are_done() -> Result<()> {
    let lab = Lab::new("unit-act")?;
    let mut scene = Scene::default();
    let (hook, hanging) = (lab.node_folder("a")?.join("hook"), lab.node_folder("a")?.join("hanging"));
    script(&hook, HOOK)?;
    script(&hanging, HANGING)?;
    scene.agent.sections =
        format!("[actions]\nipv6 = true\non_primary = [{hook:?}]\non_backup = [{hanging:?}]\nhook_timeout = \"60s\"");
    let mut node = neutron(&lab, 35, &mut scene)?;
    give_to_neutron(&node)?;
    node.agent.under_unit()?;
    node.agent.start()?;
    node.start_keepalived()?;
    let folder = write_folder(&mut node)?;
    chown(&folder, Some(OWNER.0), Some(OWNER.1))?;
    let daemon = start_conntrackd(&lab, &node, &folder)?;
    let more = format!(",\"enable_conntrackd\":true,\"user\":\"{}\",\"group\":\"{}\"", OWNER.0, OWNER.1);
    let _registered = register(&node, &folder, &more)?;

    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    for action in ["state_file", "ipv6", "conntrackd", "hook"] {
        node.event(SLACK, "action.done", json!({"action": action, "state": "primary"}))?;
    }
    let file = folder.join("state");
    assert_eq!(fs::read(&file)?, b"primary");
    let stat = fs::metadata(&file)?;
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (OWNER.0, OWNER.1, 0o644));
    for (setting, value) in [("all/forwarding", "1"), ("qg-1/forwarding", "1"), ("qg-1/accept_ra", "2")] {
        let path = format!("/proc/sys/net/ipv6/conf/{setting}");
        assert_eq!(run_in(&node.site.netns, &["cat", &path])?.trim(), value, "{setting}");
    }
    assert!(daemon.output().contains("sending bulk update"), "{}", daemon.output());

    let told = fs::read_to_string(hook.with_extension("told"))?;
    // With the unit's limits, and in the namespace that it was told.
    for line in ["state primary", "NoNewPrivs:\t1", "Seccomp:\t2", "end"] {
        assert!(told.lines().any(|told| told == line), "{line:?} in {told}");
    }
    assert!(told.contains(&format!(": {}", node.site.interface)), "{told}");
    assert!(!told.contains("may write"), "{told}");

    node.keepalived()?.stop()?;
    for action in ["state_file", "ipv6", "conntrackd"] {
        node.event(SLACK, "action.done", json!({"action": action, "state": "backup"}))?;
    }
    assert_eq!(fs::read(&file)?, b"backup");
    node.never("action.failed", json!({}))?;

    let group = hook_runs(&lab, &hanging.with_extension("own"))?;
    node.agent.kill()?;
    hook_is_gone(&lab, group)
}
