//! A plain keepalived in places that are odd, or go: links without carrier, namespaces, FIFOs.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::Result;
use ha_agent_tests::agent::Settings;
use ha_agent_tests::command::ip_in;
use ha_agent_tests::keepalived::make_fifo;
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;
use serde_json::json;

use super::plain::{MASTER_DOWN, conf_path, instance, node, node_with_fifo, site, start_keepalived, write};

/// How long a FIFO may have no writer until that is named.
const LONELY: Duration = Duration::from_secs(15);

#[test]
#[ignore = "needs root"]
fn a_keepalived_that_does_not_track_its_link_is_primary_without_carrier() -> Result<()> {
    let lab = Lab::new("carrier")?;
    let seat = lab.site("a", &Router::new(75))?;
    ip_in(&seat.netns, &["link", "add", "out0", "type", "veth", "peer", "name", "out1"])?;
    ip_in(&seat.netns, &["link", "set", "out0", "up"])?;
    ip_in(&seat.netns, &["link", "set", "out1", "up"])?;
    ip_in(&lab.fabric(), &["link", "set", &seat.port(), "down"])?;
    let lines = "  dont_track_primary\n  virtual_ipaddress {\n    192.0.2.75/24 dev out0\n  }";
    let mut node = node_with_fifo(site(&lab, "a", &seat, "VI_1"), true, &format!("netns = {:?}", seat.netns))?;
    make_fifo(&node.agent.fifo())?;
    let head = format!("global_defs {{\n  vrrp_notify_fifo {}\n}}\n", node.agent.fifo().display());
    write(&conf_path(&seat)?, &(head + &instance("VI_1", 75, &seat.interface, lines)))?;
    node.agent.start()?;
    start_keepalived(&mut node)?;
    node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    let raised = node.raised(SLACK, "silent_primary")?;
    assert!(raised["detail"].as_str().is_some_and(|detail| detail.contains("has no carrier")), "{raised}");
    node.never("transition.rejected", json!({"claim": "primary"}))?;
    let status = node.agent.status(&node.site)?;
    assert_eq!((&status["confirmed"], &status["claimed"]), (&json!("primary"), &json!("primary")), "{status}");
    node.explains(&["Confirmed primary", "is down or without carrier"])?;
    // With a carrier again others hear it.
    ip_in(&lab.fabric(), &["link", "set", &seat.port(), "up"])?;
    node.cleared(SLACK, "silent_primary").map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_namespace_that_went_while_the_agent_was_away_is_a_fault() -> Result<()> {
    let lab = Lab::new("went")?;
    let seat = lab.site("a", &Router::new(76))?;
    let lines = "  virtual_ipaddress {\n    192.0.2.76/24\n  }";
    write(&conf_path(&seat)?, &instance("VI_1", 76, &seat.interface, lines))?;
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {:?}", seat.netns))?;
    node.agent.start()?;
    start_keepalived(&mut node)?;
    node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary"])?;
    node.agent.kill()?;
    node.keepalived()?.kill()?;
    node.keepalived = None;
    node.site.delete_netns()?;
    node.agent.start()?;
    let fault = node.confirmed(SLACK, "fault")?;
    assert_eq!((&fault["previous"], &fault["basis"]), (&json!("primary"), &json!("vip")), "{fault}");
    node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary", "fault"])
}

#[test]
#[ignore = "needs root"]
fn a_namespace_by_its_process_is_refused_with_the_reason() -> Result<()> {
    let lab = Lab::new("by-process")?;
    let seat = lab.site("a", &Router::new(77))?;
    let lines = "  virtual_ipaddress {\n    192.0.2.77/24\n  }";
    write(&conf_path(&seat)?, &instance("VI_1", 77, &seat.interface, lines))?;
    // As containers' namespaces are often given a name: a link to their process.
    let link = lab.folder().join("by-process");
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {link:?}"))?;
    start_keepalived(&mut node)?;
    let pid_file = conf_path(&seat)?.with_file_name("keepalived.pid");
    let pid =
        wait::until(SLACK, "keepalived's pid", || fs::read_to_string(&pid_file).ok()?.trim().parse::<u32>().ok())?;
    symlink(format!("/proc/{pid}/ns/net"), &link)?;
    node.agent.start()?;
    let degraded = json!({"event": "channel.degraded", "channel": "vip"});
    let degraded = node.agent.events.expect(SLACK, &degraded)?;
    assert!(
        degraded["reason"].as_str().is_some_and(|reason| reason.contains("ip netns attach NAME PID")),
        "{degraded}"
    );
    // Literally, it is refused by the configuration's check.
    let literal = Settings {
        keepalived: Some(format!("configs = []\nnetns = \"/proc/{pid}/ns/net\"")),
        without_routers: true,
        ..Settings::default()
    };
    node.agent.write_configuration(&[], &literal)?;
    let (code, said) = node.agent.exits(&["check-config"])?;
    assert_eq!(code, Some(78), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_fifo_that_keepalived_could_not_open_or_closed_is_named() -> Result<()> {
    let lab = Lab::new("lonely")?;
    let seat = lab.site("a", &Router::new(78))?;
    let mut node = node_with_fifo(site(&lab, "a", &seat, "VI_1"), true, &format!("netns = {:?}", seat.netns))?;
    let folder = node.agent.folder().join("late");
    let fifo = folder.join("keepalived.fifo");
    let configuration = fs::read_to_string(node.agent.configuration())?;
    let named = |path: &std::path::Path| path.display().to_string();
    fs::write(node.agent.configuration(), configuration.replace(&named(&node.agent.fifo()), &named(&fifo)))?;
    let lines = "  virtual_ipaddress {\n    192.0.2.78/24\n  }";
    let text = instance("VI_1", 78, &seat.interface, lines);
    let conf = conf_path(&seat)?;
    // Started before the FIFO's folder is there.
    write(
        &conf,
        &format!(
            "global_defs {{\n  vrrp_notify_fifo {}\n  script_user root\n  enable_script_security\n}}\n{text}",
            fifo.display()
        ),
    )?;
    start_keepalived(&mut node)?;
    let log = conf.with_file_name("keepalived.log");
    wait::until(SLACK, "keepalived reads its configuration", || {
        fs::read_to_string(&log).ok()?.contains("Startup complete").then_some(())
    })?;
    fs::create_dir(&folder)?;
    node.agent.start()?;
    let degraded = json!({"event": "channel.degraded", "channel": "report"});
    let degraded = node.agent.events.expect(LONELY + SLACK, &degraded)?;
    node.agent.lacks(SLACK, &json!([{"channel": "report", "reason": degraded["reason"]}]))?;
    node.keepalived()?.stop()?;
    start_keepalived(&mut node)?;
    node.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "report"}))?;
    // A reload with vrrp_notify_fifo before script_user closes it, where scripts are to be secure.
    node.agent.events.mark()?;
    node.keepalived()?.reread()?;
    node.agent.events.expect(LONELY + SLACK, &json!({"event": "channel.degraded", "channel": "report"}))?;
    // Behind script_user it outlives reloads.
    write(
        &conf,
        &format!(
            "global_defs {{\n  script_user root\n  enable_script_security\n  vrrp_notify_fifo {}\n}}\n{text}",
            fifo.display()
        ),
    )?;
    node.keepalived()?.stop()?;
    start_keepalived(&mut node)?;
    node.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "report"}))?;
    node.agent.events.mark()?;
    let reloads = || fs::read_to_string(&log).unwrap_or_default().matches("Reload complete").count();
    let before = reloads();
    node.keepalived()?.reread()?;
    wait::until(SLACK, "the reload", || (reloads() > before).then_some(()))?;
    node.keepalived()?.stop()?;
    node.agent.events.expect(SLACK, &json!({"event": "report.received", "state": "backup"})).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_vmac_is_found_whatever_its_name_and_followed_to_another_interface() -> Result<()> {
    let lab = Lab::new("vmac-name")?;
    let seat = lab.site("a", &Router::new(79))?;
    // The name that keepalived would give is taken, so that it gives another one.
    ip_in(&seat.netns, &["link", "add", "vrrp.79", "type", "veth", "peer", "name", "taken1"])?;
    ip_in(&seat.netns, &["link", "add", "more0", "type", "veth", "peer", "name", "more1"])?;
    ip_in(&seat.netns, &["addr", "add", "198.51.100.1/24", "dev", "more0"])?;
    for link in ["more0", "more1"] {
        ip_in(&seat.netns, &["link", "set", link, "up"])?;
    }
    let lines = "  use_vmac\n  virtual_ipaddress {\n    192.0.2.79/24\n  }";
    let conf = conf_path(&seat)?;
    write(&conf, &instance("VI_1", 79, &seat.interface, lines))?;
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {:?}", seat.netns))?;
    node.agent.start()?;
    start_keepalived(&mut node)?;
    let primary = node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire", "{primary}");
    let links = ip_in(&seat.netns, &["-o", "link", "show", "type", "macvlan"])?;
    assert!(!links.contains(" vrrp.79@"), "{links}");

    // To another interface, whatever its VMAC is called now.
    node.agent.events.mark()?;
    write(&conf, &instance("VI_1", 79, "more0", lines))?;
    node.event(SLACK, "router.watched", json!({"interface": "more0"}))?;
    node.keepalived()?.reread()?;
    node.confirmed(MASTER_DOWN + SLACK, "backup")?;
    let primary = node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire", "{primary}");
    for kind in ["missing_vip", "silent_primary", "forged_advert"] {
        node.never("anomaly.raised", json!({"kind": kind}))?;
    }
    node.agent.lacks(SLACK, &json!([]))
}

#[test]
#[ignore = "needs root"]
fn a_vmac_on_a_macvlan_sends_by_the_lower_device() -> Result<()> {
    let lab = Lab::new("vmac-macvlan")?;
    let seat = lab.site("a", &Router::new(80))?;
    ip_in(&seat.netns, &["link", "add", "mv0", "link", &seat.interface, "type", "macvlan", "mode", "bridge"])?;
    ip_in(&seat.netns, &["addr", "add", "198.51.100.1/24", "dev", "mv0"])?;
    ip_in(&seat.netns, &["link", "set", "mv0", "up"])?;
    let lines = "  use_vmac\n  virtual_ipaddress {\n    192.0.2.80/24\n  }";
    write(&conf_path(&seat)?, &instance("VI_1", 80, "mv0", lines))?;
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {:?}", seat.netns))?;
    node.agent.start()?;
    start_keepalived(&mut node)?;
    let primary = node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire", "{primary}");
    assert_eq!(node.agent.status(&node.site)?["wire"], "transmitting");
    for kind in ["silent_primary", "forged_advert", "split_brain"] {
        node.never("anomaly.raised", json!({"kind": kind}))?;
    }
    Ok(())
}
