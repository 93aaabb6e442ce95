//! What the further addresses of routers cost, and how soon a change of one is told.

use std::fmt::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{Node, Scene};
use ha_agent_tests::timeline::at;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::figure::{Figure, Goal};
use crate::gauge::Gauge;
use crate::measure::Scale;
use crate::node::SETTLE;
use crate::progress;

/// Further addresses of each router.
const ADDRESSES: usize = 50;
/// As many as tell what one costs, of so many routers.
const MANY: usize = 1000;
const FEW_ROUTERS: u16 = 200;
/// Changes per run.
const CHANGES: usize = 10;
/// Longest wait for an event, or for an agent that reads its routers' files.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory and times.
pub(crate) fn figures(lab: &Lab, scale: Scale) -> Result<Vec<Figure>> {
    let routers = scale.routers;
    let whole = |addresses: usize| {
        let what = format!("memory (PSS), whole agent ÷ {routers} routers with {addresses} further addresses each");
        Figure::new(format!("memory_{addresses}_addresses_kib"), what, "KiB", Goal::None)
    };
    let (mut without, mut with) = (whole(0), whole(ADDRESSES));
    let what = format!("memory (PSS) of a further address, of {MANY} of each of {FEW_ROUTERS} routers");
    let mut one = Figure::new("memory_address_bytes", what, "B", Goal::None);
    for run in 1..=scale.runs {
        without.samples.push(pss(lab, &format!("bare-{run}"), routers, 0)? / f64::from(routers));
        with.samples.push(pss(lab, &format!("full-{run}"), routers, ADDRESSES)? / f64::from(routers));
        let few = pss(lab, &format!("few-{run}"), FEW_ROUTERS, 0)?;
        let many = pss(lab, &format!("lots-{run}"), FEW_ROUTERS, MANY)?;
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        one.samples.push((many - few) * 1024.0 / f64::from(FEW_ROUTERS) / MANY as f64);
        progress(&format!("addresses, run {run} of {}: {few:.0} KiB without, {many:.0} KiB with many", scale.runs));
    }
    let mut figures = vec![without, with, one];
    figures.extend(times(scale)?);
    Ok(figures)
}

/// An agent that reads the files of so many routers; there is no namespace of any of them.
fn pss(lab: &Lab, name: &str, routers: u16, addresses: usize) -> Result<f64> {
    let settings = Settings { without_routers: true, without_fifo: true, ..Settings::default() };
    let mut agent = Agent::configure(lab, name, &[], &settings)?;
    for router in 0..routers {
        let id = Uuid::from_u128(0x2f0c_1c52_5b1d_4f53_9f0e_0000_0000_0000 + u128::from(router));
        let folder = agent.neutron().join(format!("ha_confs/{id}"));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("keepalived.conf"), conf(router, addresses)?)?;
    }
    agent.start()?;
    let (gauge, began) = (Gauge::new(agent.id()?), Instant::now());
    let known = || Ok::<_, anyhow::Error>(agent.ask(&["status"])?["routers"].as_array().map_or(0, Vec::len));
    while known()? < usize::from(routers) {
        ensure!(began.elapsed() < PATIENCE, "only {} routers are known", known()?);
        thread::sleep(Duration::from_millis(200));
    }
    thread::sleep(Duration::from_secs(2));
    let used = gauge.pss_kib()?;
    agent.stop()?;
    Ok(used)
}

fn conf(router: u16, addresses: usize) -> Result<String> {
    let mut text = format!(
        "vrrp_instance VR_1 {{\n    state BACKUP\n    interface ha-{router:08x}\n    virtual_router_id 1\n    priority 50\n    \
         advert_int 2\n    virtual_ipaddress {{\n        169.254.0.1/24 dev ha-{router:08x}\n    }}\n    \
         virtual_ipaddress_excluded {{\n"
    );
    for n in 0..addresses {
        writeln!(text, "        203.{}.{}.{}/32 dev qg-{router:08x} no_track", router % 256, n / 256, n % 256)?;
    }
    text.push_str("    }\n}\n");
    Ok(text)
}

/// With a real keepalived, which does not mind what becomes of them.
fn times(scale: Scale) -> Result<[Figure; 2]> {
    let figure = |name: &str, what: &str| Figure::new(name, what, "ms", Goal::None);
    let mut gone = figure("address_gone_ms", "a further address goes → its event, beyond settle");
    let mut back = figure("address_set_ms", "a further address is set again → its event");
    let mut scene = Scene { found: true, ..Scene::default() };
    scene.keepalived.excluded = (2..ADDRESSES + 1).map(|n| format!("10.11.0.{n}/32")).collect();
    let mut pair = scene.start("addresses")?;
    for run in 1..=scale.runs {
        for _ in 0..CHANGES {
            let cause = change(&pair.a, "del")?;
            let event = pair.a.raised(PATIENCE, "missing_vip")?;
            gone.samples.push(milliseconds(&event, cause)? - SETTLE.as_secs_f64() * 1000.0);
            let cause = change(&pair.a, "add")?;
            let event = pair.a.event(PATIENCE, "anomaly.cleared", json!({"kind": "missing_vip"}))?;
            back.samples.push(milliseconds(&event, cause)?);
            pair.mark()?;
        }
        progress(&format!("addresses told, run {run} of {}", scale.runs));
    }
    Ok([gone, back])
}

/// Just before the kernel is asked.
fn change(node: &Node, what: &str) -> Result<SystemTime> {
    let cause = SystemTime::now();
    let words = ["-n", &node.site.netns, "address", what, "10.11.0.7/32", "dev", &node.site.interface];
    let status = Command::new("ip").args(words).status().context("starting ip")?;
    ensure!(status.success(), "ip {}", words.join(" "));
    Ok(cause)
}

fn milliseconds(event: &Value, cause: SystemTime) -> Result<f64> {
    Ok(at(event)?.duration_since(cause).context("an event before its cause")?.as_secs_f64() * 1000.0)
}
