//! The agent as a judge: its classifier, attached beside keepalived, and what it asks the kernel.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ha_agent::advert_rules::Release;
use ha_agent::config::Netns;
use ha_agent::core::model::RouterId;
use ha_agent::inventory::keepalived_conf;
use ha_agent::netns::NetnsThread;
use ha_agent::wire::{Family, Judged, Target, Wire, WireOptions};
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::configuration::{INSTANCE, VRID};
use super::judge::Judge;
use super::scene::Scene;
use super::verdict::Verdict;

/// How long pieces may take to be put together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Events that wait to be thrown away.
const EVENTS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Agent {
    runtime: Runtime,
    stop: CancellationToken,
    /// None: let go.
    wire: Option<Wire>,
    router: RouterId,
    release: Release,
    before: Judged,
    /// Pieces that the classifier had handed over, and that had been put together.
    pieces: [u64; 2],
}

impl Agent {
    /// Loads the classifier. The agent is told that keepalived is of this version.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn new(version: &str) -> Result<Self> {
        let release = version.parse().with_context(|| format!("keepalived's version {version:?}"))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().context("a runtime")?;
        let stop = CancellationToken::new();
        let wire = load(&runtime, &stop)?;
        let router = RouterId(Uuid::from_u128(u128::from(VRID)));
        Ok(Self { runtime, stop, wire: Some(wire), router, release, before: Judged::default(), pieces: [0; 2] })
    }

    /// What was known of a keepalived that has ended does not hold for the next one.
    fn begin_anew(&mut self) -> Result<()> {
        if let Some(wire) = self.wire.take() {
            self.runtime.block_on(wire.stop());
        }
        self.wire = Some(load(&self.runtime, &self.stop)?);
        Ok(())
    }

    fn wire(&self) -> Result<&Wire> {
        self.wire.as_ref().context("the classifier was let go")
    }

    fn judged(&self) -> Result<Judged> {
        Ok(self.wire()?.judged(self.router)?)
    }

    /// Waits until all pieces that have arrived are put together as far as they can be.
    fn put_together(&self) -> Result<()> {
        let (wire, [seen, taken]) = (self.wire()?, self.pieces);
        let wanted = taken + wire.stats().fragments.saturating_sub(seen);
        let began = Instant::now();
        while wire.pieces() < wanted {
            ensure!(began.elapsed() < PATIENCE, "{} of {wanted} pieces were put together", wire.pieces());
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Whether the agent counts what comes from a source. IPv6 asks nobody.
    fn takes(&self, source: IpAddr) -> Result<bool> {
        let answer = self.runtime.block_on(self.wire()?.takes(self.router, source))?;
        answer.with_context(|| format!("the kernel does not tell whether it takes packets from {source}"))
    }
}

fn load(runtime: &Runtime, stop: &CancellationToken) -> Result<Wire> {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let _inside = runtime.enter();
    let netns = NetnsThread::spawn(stop.clone())?;
    let wire = Wire::start(WireOptions::default(), netns, sender, &mut Registry::default(), stop.clone())?;
    runtime.spawn(async move { while events.recv().await.is_some() {} });
    Ok(wire)
}

impl Judge for Agent {
    fn begin(&mut self, scene: &Scene) -> Result<()> {
        let path = scene.conf.display().to_string();
        let text = std::fs::read_to_string(&scene.conf).with_context(|| format!("reading {path}"))?;
        let instances = keepalived_conf::parse(&text, &path, self.release)?;
        let instance = instances.into_iter().find(|instance| instance.name == INSTANCE);
        let instance = instance.with_context(|| format!("no {INSTANCE} in {path}"))?;
        let target = Target {
            router: self.router,
            netns: Netns::Path(PathBuf::from("/run/netns").join(&scene.site.netns)),
            interface: instance.interface,
            through: None,
            vrid: instance.vrid,
            family: if scene.configuration.v6 { Family::V6 } else { Family::V4 },
            vip: instance.vip,
            rules: instance.rules,
        };
        self.begin_anew()?;
        self.runtime.block_on(self.wire()?.attach(target))?;
        Ok(())
    }

    fn before(&mut self) -> Result<()> {
        let wire = self.wire()?;
        wire.forget_pieces(self.router)?;
        self.pieces = [wire.stats().fragments, wire.pieces()];
        self.before = self.judged()?;
        Ok(())
    }

    fn after(&mut self, source: IpAddr) -> Result<Option<Verdict>> {
        self.put_together()?;
        let now = self.judged()?;
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let counts = (
            since(now.peers, self.before.peers),
            since(now.rejected, self.before.rejected),
            since(now.unheard, self.before.unheard),
        );
        let heard = match counts {
            (0, 0, _) => Verdict::Unheard,
            // Adverts of our keepalived's own are unheard until their source is vouched for.
            (1, 0, _) => Verdict::Taken,
            (0, 1, _) => Verdict::Rejected(now.reason.context("a frame was rejected without a reason")?),
            _ => bail!("several at once: {counts:?} taken, rejected and unheard"),
        };
        ensure!(now.ours >= self.before.ours, "the watch has begun anew");
        if heard == Verdict::Unheard || self.takes(source)? {
            return Ok(Some(heard));
        }
        Ok(Some(Verdict::Unheard))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.runtime.block_on(wire.stop());
        }
        self.stop.cancel();
    }
}
