//! The measurements. Each gives figures with one sample per run.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_agent::core::model::RouterId;
use ha_agent::intake::bench::load;
use ha_agent::wire::bench::{Cost, Timed};
use ha_agent_tests::lab::Lab;

use crate::figure::{Figure, Goal, median};
use crate::node::{BATCH_INTERVAL, HOLD, Node, SETTLE, Setup};
use crate::progress;
use ha_agent_tests::bed::{Bed, Place};

/// Frames per kind and run.
const FRAMES: u32 = 1_000_000;
/// Reporters at once; each waits for its answer before it asks again.
const REPORTERS: usize = 64;
/// How long they report, per run.
const REPORTING: Duration = Duration::from_secs(3);
/// Failovers of one router, per run.
const FAILOVERS: usize = 20;
/// How long nothing happens, per run.
const STEADY: Duration = Duration::from_secs(20);
/// What is left to do when all was delivered (writing events, the outbox) ends within this.
const CALM: Duration = Duration::from_secs(1);

/// What `bench` was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How often each figure is measured.
    pub(crate) runs: u16,
    /// Routers in storm, steady state and memory.
    pub(crate) routers: u16,
}

/// What to measure with many routers; they share their namespaces and agents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Many {
    /// Storms, with both protocols.
    pub(crate) storm: bool,
    /// Steady state.
    pub(crate) steady: bool,
    /// Memory.
    pub(crate) memory: bool,
}

/// Nanoseconds per frame.
pub(crate) fn classifier(scale: Scale, beside: Option<&Path>) -> Result<Vec<Figure>> {
    let subjects: [(&str, &str, f64, Nanoseconds); 4] = [
        ("other", "a frame that is not VRRP", 1.1, |cost| cost.other_ns),
        ("unknown_vrid", "an advert of a VRID not watched", 1.4, |cost| cost.unknown_vrid_ns),
        ("egress", "an advert that leaves", 1.4, |cost| cost.egress_ns),
        ("ingress", "an advert that arrives", 1.4, |cost| cost.ingress_ns),
    ];
    let mut figures = Vec::new();
    let mut timed = Timed::load(None).context("loading the classifier")?;
    let mut theirs = beside.map(|path| Timed::load(Some(path)).context("loading the other object")).transpose()?;
    let (mut ours, mut other) = (Vec::new(), Vec::new());
    // In turn, so that both have the same machine.
    for run in 1..=scale.runs {
        ours.push(timed.cost(FRAMES).context("the classifier's test run")?);
        if let Some(theirs) = &mut theirs {
            other.push(theirs.cost(FRAMES).context("the other object's test run")?);
        }
        progress(&format!("classifier, run {run} of {}: {:?}", scale.runs, ours.last()));
    }
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one frame")]
    for (name, what, ratio, of) in subjects {
        let limit = if name == "other" { 25.0 } else { 300.0 };
        let name = format!("classifier_{name}");
        let what = format!("classifier, {what}");
        let mut figure = Figure::new(format!("{name}_ns"), &what, "ns", Goal::AtMost(limit));
        figure.samples = ours.iter().map(|cost| of(cost) as f64).collect();
        figures.push(figure);
        if other.is_empty() {
            continue;
        }
        let mut before =
            Figure::new(format!("{name}_before_ns"), format!("{what}, the other object"), "ns", Goal::None);
        before.samples = other.iter().map(|cost| of(cost) as f64).collect();
        let mut ratios =
            Figure::new(format!("{name}_ratio"), format!("{what}, this ÷ the other"), "", Goal::AtMost(ratio));
        ratios.samples = ours.iter().zip(&other).map(|(ours, other)| of(ours) as f64 / of(other) as f64).collect();
        figures.extend([before, ratios]);
    }
    Ok(figures)
}

/// One of the costs.
type Nanoseconds = fn(&Cost) -> u64;

/// Reports per second.
pub(crate) fn intake(lab: &Lab, bed: &Bed, scale: Scale) -> Result<Vec<Figure>> {
    let node = Node::start(lab, "intake", Some(bed), Setup { protocol: "neutron", without_hold: false })?;
    node.found_backup(1)?;
    let router = RouterId(bed.places().first().context("a router")?.id);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("a runtime for the reporters")?;
    let mut figures = Vec::new();
    for (keep, name, what, goal) in [
        (true, "intake_kept", "intake, connections kept", Goal::AtLeast(40_000.0)),
        (false, "intake_new", "intake, a new connection for every report", Goal::None),
    ] {
        let mut rate = Figure::new(format!("{name}_per_s"), what, "/s", goal);
        let mut cost = Figure::new(format!("{name}_cpu_us"), format!("{what}: agent's CPU"), "µs", Goal::None);
        let mut failed = Figure::new(
            format!("{name}_not_taken"),
            format!("{what}: refused or without an answer"),
            "",
            Goal::Never(0.0),
        );
        for run in 1..=scale.runs {
            let before = node.gauge.cpu()?;
            let load = runtime.block_on(load(&node.socket(), router, REPORTERS, REPORTING, keep));
            let used = node.gauge.cpu()?.saturating_sub(before);
            progress(&format!("{what}, run {run} of {}: {:.0} a second, {load:?}", scale.runs, load.per_second()));
            ensure!(load.taken > 0, "no report was taken");
            rate.samples.push(load.per_second());
            #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
            {
                cost.samples.push(used.as_secs_f64() * 1e6 / load.taken as f64);
                failed.samples.push((load.refused + load.lost) as f64);
            }
            thread::sleep(CALM);
        }
        figures.extend([rate, cost, failed]);
    }
    node.stop()?;
    Ok(figures)
}

/// From the VIP event to the L3 agent.
pub(crate) fn latency(lab: &Lab, bed: &Bed, scale: Scale) -> Result<Vec<Figure>> {
    let place = bed.places().first().context("a router")?;
    let mut figures = Vec::new();
    for protocol in ["neutron", "json"] {
        let new = |to: &str, what: &str, goal| {
            let what = format!("VIP event → L3 agent, {what}, {protocol}");
            Figure::new(format!("latency_{to}_{protocol}_ms"), what, "ms", goal)
        };
        let mut backup = new("backup", "backup, median", Goal::AtMost(2.0));
        let mut worst = new("backup_worst", &format!("backup, worst of {FAILOVERS}"), Goal::None);
        let mut primary = new("primary", "primary, median, beyond settle", Goal::None);
        let node = Node::start(lab, &format!("latency-{protocol}"), Some(bed), Setup { protocol, without_hold: true })?;
        node.found_backup(1)?;
        for run in 1..=scale.runs {
            let (mut down, mut up) = (Vec::new(), Vec::new());
            for _ in 0..FAILOVERS {
                up.push(one(&node, place, "primary")?.saturating_sub(SETTLE));
                down.push(one(&node, place, "backup")?);
            }
            let (up, down) = (milliseconds(&up), milliseconds(&down));
            backup.samples.push(median(&down));
            worst.samples.push(down.iter().copied().fold(f64::NAN, f64::max));
            primary.samples.push(median(&up));
            progress(&format!(
                "latency by {protocol}, run {run} of {}: backup {:.2} ms, primary {:.2} ms beyond settle",
                scale.runs,
                median(&down),
                median(&up)
            ));
        }
        node.stop()?;
        figures.extend([backup, worst, primary]);
    }
    Ok(figures)
}

/// One transition, from the moment the kernel is asked for it until it is heard.
fn one(node: &Node, place: &Place, state: &str) -> Result<Duration> {
    // The batch before is over: what follows goes at once, as a lone failover does.
    thread::sleep(BATCH_INTERVAL + Duration::from_millis(50));
    let known = node.known();
    let asked = if state == "primary" { place.become_primary()? } else { place.resign()? };
    let heard = node.hear(known, state, 1);
    let at = heard.get(&place.id.to_string()).with_context(|| format!("{state} was lost"))?;
    Ok(at.saturating_duration_since(asked))
}

/// Storms, steady state, memory.
pub(crate) fn many(lab: &Lab, scale: Scale, wanted: Many) -> Result<Vec<Figure>> {
    let routers = usize::from(scale.routers);
    let mut memory = Memory::new(scale);
    if wanted.memory {
        for run in 1..=scale.runs {
            let node =
                Node::start(lab, &format!("idle-{run}"), None, Setup { protocol: "neutron", without_hold: false })?;
            thread::sleep(CALM);
            memory.idle.samples.push(node.gauge.pss_kib()?);
            node.stop()?;
        }
    }
    progress(&format!("making {routers} namespaces"));
    let began = Instant::now();
    let bed = Bed::build(lab, "many", scale.routers)?;
    progress(&format!("made in {:.1} s", began.elapsed().as_secs_f64()));

    let mut figures = Vec::new();
    let mut steady = Figure::new(
        "steady_cpu_percent",
        format!("CPU of one core, {routers} primaries advertising every 2 s"),
        "%",
        Goal::AtMost(0.5),
    );
    let protocols: &[_] = if wanted.storm { &["neutron", "json"] } else { &["neutron"] };
    for &protocol in protocols {
        let mut storm = Storm::new(protocol, routers);
        progress(&format!("{routers} routers by {protocol}: starting the agent until every channel is in use"));
        let began = Instant::now();
        let setup = Setup { protocol, without_hold: false };
        let node = Node::start(lab, &format!("many-{protocol}"), Some(&bed), setup)?;
        storm.found(&node, began)?;
        // The last ones may have been told just now, and the storm tells the contrary.
        thread::sleep(HOLD + CALM);
        memory.found(&node, routers)?;
        for run in 1..=if wanted.storm || wanted.memory { scale.runs } else { 1 } {
            storm.run(&node, bed.places())?;
            memory.stormed(&node, routers)?;
            progress(&format!("{routers} routers by {protocol}, run {run} of {}: {}", scale.runs, storm.last()));
            if wanted.steady && protocol == "neutron" && run == 1 {
                for window in 1..=scale.runs {
                    let measured = quiet(&node)?;
                    steady.samples.push(measured);
                    progress(&format!("steady state, run {window} of {}: {measured:.3} %", scale.runs));
                }
            }
            storm.over(&node, bed.places())?;
            thread::sleep(HOLD);
        }
        storm.stop.samples.push(node.stop()?.as_secs_f64());
        if wanted.storm {
            figures.extend(storm.figures());
        }
    }
    if wanted.steady {
        figures.push(steady);
    }
    if wanted.memory {
        figures.extend(memory.figures());
    }
    Ok(figures)
}

/// CPU in percent of one core while only adverts are sent that say nothing new.
fn quiet(node: &Node) -> Result<f64> {
    let (before, began) = (node.gauge.cpu()?, Instant::now());
    thread::sleep(STEADY);
    let used = node.gauge.cpu()?.saturating_sub(before);
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}

/// All routers change at once.
struct Storm {
    routers: usize,
    start: Figure,
    blind: Figure,
    stop: Figure,
    primary: Figure,
    backup: Figure,
    took: Figure,
    cpu: Figure,
    lost: Figure,
}

impl Storm {
    fn new(protocol: &str, routers: usize) -> Self {
        let beyond = if protocol == "json" { 0.3 } else { 1.0 };
        let new = |name: &str, what: &str, unit, goal| {
            let what = format!("{routers} routers, {protocol}: {what}");
            Figure::new(format!("storm_{protocol}_{name}"), what, unit, goal)
        };
        Self {
            routers,
            start: new(
                "start_s",
                "from the agent's start until all are told and all channels are in use",
                "s",
                Goal::None,
            ),
            stop: new("stop_s", "from SIGTERM until the process is gone", "s", Goal::None),
            blind: new("blind", "first told of without the wire, at the start", "", Goal::None),
            primary: new(
                "primary_s",
                "all turn primary, last VIP → last one handed over",
                "s",
                Goal::AtMost(SETTLE.as_secs_f64() + beyond),
            ),
            backup: new("backup_s", "all resign, last VIP gone → last one handed over", "s", Goal::None),
            took: new("vips_s", "what setting the VIPs took", "s", Goal::None),
            cpu: new("cpu_ms", "agent's CPU per transition to primary", "ms", Goal::AtMost(0.3)),
            lost: new("lost", "transitions lost", "", Goal::Never(0.0)),
        }
    }

    /// The agent's start.
    fn found(&mut self, node: &Node, began: Instant) -> Result<()> {
        let blind = node.found_backup(self.routers)?;
        self.start.samples.push(began.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of routers")]
        self.blind.samples.push(blind as f64);
        progress(&format!(
            "{} routers in use {:.1} s after the start, {blind} first told of without the wire",
            self.routers,
            began.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// All turn primary.
    fn run(&mut self, node: &Node, places: &[Place]) -> Result<()> {
        let known = node.known();
        let (before, began) = (node.gauge.cpu()?, Instant::now());
        for place in places {
            place.become_primary()?;
        }
        let last = Instant::now();
        let heard = node.hear(known, "primary", self.routers);
        let end = heard.values().max().copied().unwrap_or_else(Instant::now);
        thread::sleep(CALM);
        let used = node.gauge.cpu()?.saturating_sub(before);
        self.took.samples.push(last.duration_since(began).as_secs_f64());
        self.primary.samples.push(end.saturating_duration_since(last).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of routers")]
        {
            self.cpu.samples.push(used.as_secs_f64() * 1e3 / self.routers as f64);
            self.lost.samples.push((self.routers - heard.len()) as f64);
        }
        Ok(())
    }

    /// All resign, once contrary states may be told again.
    fn over(&mut self, node: &Node, places: &[Place]) -> Result<()> {
        thread::sleep(HOLD);
        let known = node.known();
        for place in places {
            place.resign()?;
        }
        let last = Instant::now();
        let heard = node.hear(known, "backup", self.routers);
        let end = heard.values().max().copied().unwrap_or_else(Instant::now);
        self.backup.samples.push(end.saturating_duration_since(last).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of routers")]
        self.lost.samples.push((self.routers - heard.len()) as f64);
        Ok(())
    }

    /// The run that was just made.
    fn last(&self) -> String {
        let last = |figure: &Figure| figure.samples.last().copied().unwrap_or(f64::NAN);
        format!(
            "last one {:.2} s after the last VIP, CPU {:.3} ms per transition, {} lost",
            last(&self.primary),
            last(&self.cpu),
            last(&self.lost)
        )
    }

    fn figures(self) -> [Figure; 8] {
        [self.primary, self.backup, self.lost, self.cpu, self.took, self.start, self.blind, self.stop]
    }
}

/// Memory of the agent's process. What its maps take in the kernel is not in it.
struct Memory {
    idle: Figure,
    whole: Figure,
    stormed: Figure,
    more: Figure,
}

impl Memory {
    fn new(scale: Scale) -> Self {
        let routers = scale.routers;
        let new = |name: &str, what: String, goal| Figure::new(format!("memory_{name}_kib"), what, "KiB", goal);
        Self {
            idle: new("idle", "memory (PSS) without a router".to_owned(), Goal::None),
            whole: new("per_router", format!("memory (PSS), whole agent ÷ {routers} routers"), Goal::AtMost(16.0)),
            stormed: new(
                "per_router_after_storm",
                format!("memory (PSS), whole agent ÷ {routers} routers, after a storm"),
                Goal::AtMost(16.0),
            ),
            more: new("more_per_router", format!("memory (PSS) above idle, per router of {routers}"), Goal::None),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of routers")]
    fn found(&mut self, node: &Node, routers: usize) -> Result<()> {
        let pss = node.gauge.pss_kib()?;
        self.whole.samples.push(pss / routers as f64);
        self.more.samples.push((pss - median(&self.idle.samples)) / routers as f64);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of routers")]
    fn stormed(&mut self, node: &Node, routers: usize) -> Result<()> {
        self.stormed.samples.push(node.gauge.pss_kib()? / routers as f64);
        Ok(())
    }

    fn figures(self) -> [Figure; 4] {
        [self.whole, self.stormed, self.more, self.idle]
    }
}

fn milliseconds(durations: &[Duration]) -> Vec<f64> {
    durations.iter().map(|duration| duration.as_secs_f64() * 1e3).collect()
}
