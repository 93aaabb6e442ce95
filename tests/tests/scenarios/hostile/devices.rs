//! Devices without an Ethernet header: what goes over them is judged as elsewhere.

use std::time::SystemTime;

use anyhow::Result;
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Pair, Reporter, Scene};
use ha_agent_tests::tunnel::Tunnel;

use super::{in_time, only, witness};

#[test]
#[ignore = "needs root"]
fn a_pair_joined_by_tun_devices_fails_over() -> Result<()> {
    let lab = Lab::new("tun")?;
    let router = Router::new(11);
    let [a, b] = ["a", "b"].map(|node| lab.site_planned(node, &router));
    a.add_netns()?;
    b.add_netns()?;
    let _tunnel = Tunnel::between(&a, &b)?;
    let scene = Scene { reporter: Reporter::Nobody, ..Scene::default() };
    let mut pair = Pair { a: scene.node_at(a)?, b: scene.node_at(b)?, router, lab };
    pair.elect()?;
    pair.watch()?;
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.resign()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    only(&mut pair.a, &[])?;
    only(&mut pair.b, &[])?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
