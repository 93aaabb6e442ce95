//! A plain keepalived without Neutron: its instances are found in its own files, with no router
//! configured by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ha_agent::config::Netns;
use ha_agent::inventory::plain::router_id;
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::keepalived::{self, Keepalived, make_fifo};
use ha_agent_tests::l3_agent::L3Agent;
use ha_agent_tests::lab::{Lab, Router, Site};
use ha_agent_tests::pair::{Node, SLACK};
use serde_json::json;

/// How long an instance that no file names is watched without a sign of it.
const HOLD: Duration = Duration::from_secs(60);
/// A backup of priority 100 with adverts each second waits this long for a silent master.
pub(super) const MASTER_DOWN: Duration = Duration::from_millis(3610);

/// One node: its place, named so that it is about the instance `name`, and where its files are.
pub(super) fn site(lab: &Lab, node: &str, seat: &Site, name: &str) -> Site {
    let id = router_id(&Netns::Path(seat.netns_path()), name);
    let mut site = seat.clone();
    (site.router.id, site.node) = (id.0, node.to_owned());
    debug_assert_eq!(site.lab().folder(), lab.folder());
    site
}

pub(super) fn conf_path(site: &Site) -> Result<PathBuf> {
    Ok(site.lab().node_folder(&site.node)?.join("keepalived/keepalived.conf"))
}

/// A node whose agent knows nothing but where keepalived's configuration is.
pub(super) fn node(site: Site, keepalived: &str) -> Result<Node> {
    node_with_fifo(site, false, keepalived)
}

pub(super) fn node_with_fifo(site: Site, fifo: bool, keepalived: &str) -> Result<Node> {
    let conf = conf_path(&site)?;
    let settings = Settings {
        keepalived: Some(format!("configs = [{conf:?}]\n{keepalived}")),
        delivery: "protocol = \"json\"".to_owned(),
        without_routers: true,
        without_fifo: !fifo,
        ..Settings::default()
    };
    let agent = Agent::configure(site.lab(), &site.node, &[], &settings)?;
    let l3 = L3Agent::start(&agent.l3_socket())?;
    Ok(Node { site, settings: keepalived::Settings::default(), keepalived: None, agent, l3 })
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a folder")?)?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path).with_context(|| format!("replacing {}", path.display()))
}

pub(super) fn start_keepalived(node: &mut Node) -> Result<()> {
    node.keepalived = Some(Keepalived::start_with(&node.site, &conf_path(&node.site)?)?);
    Ok(())
}

fn address(site: &Site) -> &str {
    site.address.split('/').next().unwrap_or_default()
}

/// Two nodes with one instance, whose configuration `conf` gives for each: own place, the other's,
/// and its priority. `a` is primary; its keepalived is killed, and `b` takes over.
fn fails_over(name: &str, vrid: u8, conf: impl Fn(&Site, &Site, u8) -> String) -> Result<(Node, Node)> {
    let lab = Lab::new(name)?;
    let router = Router::new(vrid);
    let (on_a, on_b) = (lab.site("a", &router)?, lab.site("b", &router)?);
    write(&conf_path(&on_a)?, &conf(&on_a, &on_b, 150))?;
    write(&conf_path(&on_b)?, &conf(&on_b, &on_a, 100))?;
    let in_netns = |site: &Site| format!("netns = {:?}", site.netns);
    let mut a = node(site(&lab, "a", &on_a, "VI_1"), &in_netns(&on_a))?;
    let mut b = node(site(&lab, "b", &on_b, "VI_1"), &in_netns(&on_b))?;
    for node in [&mut a, &mut b] {
        node.agent.start()?;
        let watched = node.event(SLACK, "router.watched", json!({"source": "keepalived", "instance": "VI_1"}))?;
        assert_eq!(watched["vrid"], vrid);
    }
    start_keepalived(&mut a)?;
    let primary = a.confirmed(MASTER_DOWN + SLACK, "primary");
    let primary = primary.with_context(|| a.keepalived.as_ref().map(Keepalived::log).unwrap_or_default())?;
    assert_eq!(primary["basis"], "vip+wire", "{primary}");
    start_keepalived(&mut b)?;
    b.confirmed(SLACK, "backup")?;

    b.agent.events.mark()?;
    a.keepalived()?.kill()?;
    let primary = b.confirmed(MASTER_DOWN + SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire", "{primary}");
    a.raised(SLACK, "orphan_vip")?;
    for node in [&mut a, &mut b] {
        for kind in ["forged_advert", "foreign_master", "advert_interval_mismatch", "missing_vip"] {
            node.never("anomaly.raised", json!({"kind": kind}))?;
        }
        assert_eq!(node.agent.ask(&["explain", "VI_1"])?["instance"], "VI_1");
    }
    b.l3.expect_changes(SLACK, b.site.router.id, &["backup", "primary"])?;
    Ok((a, b))
}

pub(super) fn instance(name: &str, vrid: u8, interface: &str, lines: &str) -> String {
    format!("vrrp_instance {name} {{\n  interface {interface}\n  virtual_router_id {vrid}\n{lines}\n}}\n")
}

fn unicast(own: &Site, other: &Site, lines: &str) -> String {
    let lines = format!(
        "{lines}\n  unicast_src_ip {}\n  unicast_peer {{\n    {}\n  }}\n  virtual_ipaddress {{\n    192.0.2.61/24 label \
         vip\n  }}",
        address(own),
        address(other)
    );
    instance("VI_1", 61, &own.interface, &lines)
}

#[test]
#[ignore = "needs root"]
fn unicast_peers_fail_over() -> Result<()> {
    let conf = |own: &Site, other: &Site, priority| unicast(own, other, &format!("  priority {priority}"));
    fails_over("unicast", 61, conf).map(drop)
}

#[test]
#[ignore = "needs root"]
fn unicast_peers_of_version_3_fail_over() -> Result<()> {
    // Its checksum covers the peer's address; a TTL that was lowered is no offence.
    let conf = |own: &Site, other: &Site, priority| {
        unicast(own, other, &format!("  version 3\n  unicast_ttl 64\n  priority {priority}"))
    };
    fails_over("unicast3", 61, conf).map(drop)
}

#[test]
#[ignore = "needs root"]
fn an_address_on_a_vmac_fails_over() -> Result<()> {
    let (_, mut b) = fails_over("vmac", 62, |own, _, priority| {
        let lines = format!(
            "  priority {priority}\n  use_vmac\n  virtual_ipaddress {{\n    192.0.2.62/24 dev {}\n  }}",
            own.interface
        );
        instance("VI_1", 62, &own.interface, &lines)
    })?;
    // Of what leaves through the child, nothing is taken for a stranger's.
    assert_eq!(b.agent.status(&b.site)?["wire"], "transmitting");
    b.never("anomaly.raised", json!({"kind": "split_brain"}))
}

#[test]
#[ignore = "needs root"]
fn a_named_vmac_that_sends_from_its_parent_fails_over() -> Result<()> {
    let (_, b) = fails_over("xmit-base", 63, |own, _, priority| {
        let lines = format!(
            "  priority {priority}\n  use_vmac outside0\n  vmac_xmit_base\n  virtual_ipaddress {{\n    192.0.2.63/24\n  }}"
        );
        instance("VI_1", 63, &own.interface, &lines)
    })?;
    assert_eq!(b.agent.status(&b.site)?["wire"], "transmitting");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn version_3_over_ipv6_fails_over() -> Result<()> {
    fails_over("v6", 64, |own, _, priority| {
        let lines = format!(
            "  priority {priority}\n  advert_int 0.5\n  native_ipv6\n  virtual_ipaddress {{\n    fe80::64/64\n    \
             2001:db8:64::1/64\n  }}"
        );
        format!("global_defs {{\n  vrrp_version 3\n}}\n{}", instance("VI_1", 64, &own.interface, &lines))
    })
    .map(drop)
}

#[test]
#[ignore = "needs root"]
fn an_ipv6_address_on_a_vmac_fails_over() -> Result<()> {
    fails_over("vmac6", 70, |own, _, priority| {
        let lines = format!("  priority {priority}\n  use_vmac\n  virtual_ipaddress {{\n    fe80::70/64\n  }}");
        instance("VI_1", 70, &own.interface, &lines)
    })
    .map(drop)
}

#[test]
#[ignore = "needs root"]
fn files_are_split_changed_and_broken_while_it_runs() -> Result<()> {
    let lab = Lab::new("files")?;
    let seat = lab.site("a", &Router::new(65))?;
    let vip = |vrid: u8| format!("  virtual_ipaddress {{\n    192.0.2.{vrid}/24\n  }}");
    let plain = |name: &str, vrid: u8| instance(name, vrid, "$HA_IF", &vip(vrid));
    let conf = conf_path(&seat)?;
    let included = conf.with_file_name("conf.d").join("second.conf");
    // The namespace is keepalived's own word here.
    let head = format!("net_namespace {}\n$HA_IF={}\ninclude conf.d/*.conf\n", seat.netns, seat.interface);
    write(&included, &plain("VI_2", 66))?;
    write(&conf, &(head.clone() + &plain("VI_1", 65)))?;
    let mut first = node(site(&lab, "a", &seat, "VI_1"), "")?;
    let second = site(&lab, "a", &seat, "VI_2").router.id.to_string();
    let third = site(&lab, "a", &seat, "VI_3").router.id.to_string();
    first.agent.start()?;
    start_keepalived(&mut first)?;
    first.confirmed(MASTER_DOWN + SLACK, "primary")?;
    let confirmed = json!({"event": "transition.confirmed", "router_id": second, "state": "primary"});
    let confirmed = first.agent.events.expect(MASTER_DOWN + SLACK, &confirmed)?;
    assert_eq!(confirmed["basis"], "vip+wire");

    // One more, in a file of its own.
    first.agent.events.mark()?;
    write(&included.with_file_name("third.conf"), &plain("VI_3", 67))?;
    let watched = json!({"event": "router.watched", "router_id": third, "vrid": 67});
    first.agent.events.expect(SLACK, &watched)?;
    first.keepalived()?.reread()?;
    let confirmed = json!({"event": "transition.confirmed", "router_id": third, "state": "primary"});
    first.agent.events.expect(MASTER_DOWN + SLACK, &confirmed)?;

    // Its VRID changes; then the line is broken, and the others go on.
    first.agent.events.mark()?;
    write(&included.with_file_name("third.conf"), &plain("VI_3", 68))?;
    first.agent.events.expect(SLACK, &json!({"event": "router.watched", "router_id": third, "vrid": 68}))?;
    write(&included.with_file_name("third.conf"), &plain("VI_3", 68).replace("68\n ", "sixty\n "))?;
    let degraded = json!({"event": "channel.degraded", "channel": "inventory", "router_id": third});
    let reason = first.agent.events.expect(SLACK, &degraded)?["reason"].clone();
    let place = "conf.d/third.conf:3: expected virtual_router_id from 1 to 255, found \"sixty\": keepalived ends with such \
                 a configuration";
    assert!(reason.as_str().is_some_and(|reason| reason.ends_with(place)), "{reason}");
    first.agent.lacks(SLACK, &json!([{"channel": "inventory", "reason": reason}]))?;
    let status = first.agent.ask(&["status"])?;
    assert_eq!(status["routers"].as_array().map(Vec::len), Some(3), "what was known of it stays");

    // Gone, with its file; a backup that no file names is watched for a minute more.
    first.agent.events.mark()?;
    fs::remove_file(included.with_file_name("third.conf"))?;
    first.agent.events.expect(SLACK, &json!({"event": "channel.restored", "router_id": third}))?;
    first.agent.events.expect(HOLD + SLACK, &json!({"event": "router.forgotten", "router_id": third}))?;
    assert_eq!(first.agent.status(&first.site)?["confirmed"], "primary");

    // Given by hand under an id of the operator's: the same place is not watched twice.
    first.agent.events.mark()?;
    let own = Settings {
        keepalived: Some(format!("configs = [{conf:?}]")),
        delivery: "protocol = \"json\"".to_owned(),
        without_fifo: true,
        sections: format!(
            "[[router]]\nid = \"2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d\"\nnetns = {:?}\ninterface = {:?}\nvip = \
             \"192.0.2.65/24\"\nvrid = 65\nadvert_interval = \"1s\"\n",
            seat.netns, seat.interface
        ),
        ..Settings::default()
    };
    first.agent.write_configuration(&[], &own)?;
    first.agent.signal(rustix::process::Signal::HUP)?;
    first.event(SLACK, "router.forgotten", json!({}))?;
    let by_hand = json!({"event": "transition.confirmed", "router_id": "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d"});
    let by_hand = first.agent.events.expect(SLACK, &by_hand)?;
    assert_eq!((&by_hand["state"], &by_hand["basis"]), (&json!("primary"), &json!("vip+wire")));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn notify_lines_need_no_further_configuration() -> Result<()> {
    let lab = Lab::new("plain-fifo")?;
    let seat = lab.site("a", &Router::new(69))?;
    let mut node = node_with_fifo(site(&lab, "a", &seat, "VI_1"), true, &format!("netns = {:?}", seat.netns))?;
    make_fifo(&node.agent.fifo())?;
    let lines = "  virtual_ipaddress {\n    192.0.2.69/24\n  }";
    let head = format!("global_defs {{\n  vrrp_notify_fifo {}\n}}\n", node.agent.fifo().display());
    write(&conf_path(&seat)?, &(head + &instance("VI_1", 69, &seat.interface, lines)))?;
    node.agent.start()?;
    node.event(SLACK, "router.watched", json!({"source": "keepalived"}))?;
    start_keepalived(&mut node)?;
    let primary = node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    node.agent.events.mark()?;
    node.keepalived()?.stop()?;
    node.confirmed(SLACK, "backup").map(drop)
}

#[test]
#[ignore = "needs root"]
fn an_instance_is_watched_until_keepalived_has_stopped_it() -> Result<()> {
    let lab = Lab::new("kept")?;
    let seat = lab.site("a", &Router::new(71))?;
    let lines = |vrid: u8| format!("  virtual_ipaddress {{\n    192.0.2.{vrid}/24\n  }}");
    let conf = conf_path(&seat)?;
    let text = instance("VI_1", 71, &seat.interface, &lines(71));
    write(&conf, &text)?;
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {:?}", seat.netns))?;
    let runs = lab.folder().join("hook-runs");
    let script = lab.folder().join("hook");
    fs::write(&script, format!("#!/bin/sh\necho $HA_AGENT_PREVIOUS-$HA_AGENT_STATE >> {}\n", runs.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let hooks = Settings {
        keepalived: Some(format!("configs = [{conf:?}]\nnetns = {:?}", seat.netns)),
        delivery: "protocol = \"json\"".to_owned(),
        without_routers: true,
        without_fifo: true,
        sections: format!("[actions]\non_primary = [{script:?}]\n"),
        ..Settings::default()
    };
    node.agent.write_configuration(&[], &hooks)?;
    node.agent.start()?;
    start_keepalived(&mut node)?;
    node.confirmed(MASTER_DOWN + SLACK, "primary")?;
    let id = node.site.router.id.to_string();
    let of = |event: &str| json!({"event": event, "channel": "inventory", "router_id": id});

    // Short for a moment, while somebody writes it.
    node.agent.events.mark()?;
    fs::write(&conf, "")?;
    node.agent.events.expect(SLACK, &of("channel.degraded"))?;
    let status = node.agent.status(&node.site)?;
    assert_eq!((&status["confirmed"], &status["wire"]), (&json!("primary"), &json!("transmitting")), "{status}");
    fs::write(&conf, &text)?;
    node.agent.events.expect(SLACK, &of("channel.restored"))?;

    // Moved away while keepalived runs.
    node.agent.events.mark()?;
    fs::rename(&conf, conf.with_extension("away"))?;
    let reason = format!(
        "{} is gone; its instances are watched on for as long as keepalived runs with them. Put it back, or take it out \
         of keepalived.configs and restart ha-agent",
        conf.display()
    );
    let gone = json!({"event": "channel.degraded", "channel": "inventory", "reason": reason});
    node.agent.events.expect(SLACK, &gone)?;
    node.agent.lacks(SLACK, &json!([{"channel": "inventory", "reason": reason}]))?;
    assert_eq!(node.agent.status(&node.site)?["confirmed"], "primary");
    fs::rename(conf.with_extension("away"), &conf)?;
    node.agent.events.expect(SLACK, &of("channel.restored"))?;

    node.agent.lacks(SLACK, &json!([]))?;

    // Taken out: it runs on until the reload, and the receiver hears its end.
    node.agent.events.mark()?;
    let other = instance("VI_2", 72, &seat.interface, &lines(72));
    fs::write(&conf, &other)?;
    node.agent.events.expect(SLACK, &of("channel.degraded"))?;
    assert_eq!(node.agent.status(&node.site)?["confirmed"], "primary");
    node.never("router.forgotten", json!({}))?;
    node.never("transition.confirmed", json!({}))?;
    assert_eq!(fs::read_to_string(&runs)?.lines().count(), 1, "nothing of that is news");
    node.keepalived()?.reread()?;
    node.confirmed(SLACK, "backup")?;
    node.l3.expect_changes(SLACK, node.site.router.id, &["backup", "primary", "backup"])?;
    node.agent.events.expect(HOLD + SLACK, &json!({"event": "router.forgotten", "router_id": id}))?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_configuration_of_another_user_is_read_as_keepalived_reads_it() -> Result<()> {
    const OTHER: u32 = 54321;
    let lab = Lab::new("others-file")?;
    let seat = lab.site("a", &Router::new(73))?;
    let text = |vrid: u8| {
        instance("VI_1", vrid, &seat.interface, &format!("  virtual_ipaddress {{\n    192.0.2.{vrid}/24\n  }}"))
    };
    let conf = conf_path(&seat)?;
    let folder = conf.parent().context("a folder")?;
    let close = |path: &Path, mode: u32| -> Result<()> {
        std::os::unix::fs::chown(path, Some(OTHER), Some(OTHER))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("closing it")
    };
    write(&conf, &text(73))?;
    close(&conf, 0o600)?;
    close(folder, 0o700)?;
    let mut node = node(site(&lab, "a", &seat, "VI_1"), &format!("netns = {:?}", seat.netns))?;
    node.agent.start()?;
    node.event(SLACK, "router.watched", json!({"vrid": 73}))?;
    // What changes there is seen as well.
    fs::write(&conf, text(74))?;
    node.event(SLACK, "router.watched", json!({"vrid": 74}))?;
    node.agent.lacks(SLACK, &json!([]))
}
