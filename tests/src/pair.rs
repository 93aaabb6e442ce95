//! The usual scene: two nodes, one router, a keepalived, an agent and an L3 agent on each.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::agent::{self, Agent};
use crate::keepalived::{self, Keepalived, make_fifo};
use crate::l3_agent::L3Agent;
use crate::lab::{Lab, Router, Site};
use crate::wait;

/// How keepalived's changes are reported to the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reporter {
    /// Through keepalived's notify FIFO.
    #[default]
    Fifo,
    /// By a notify script with curl, as Neutron's monitor does.
    Script,
    /// By a notify script with `ha-agent notify`.
    Notify,
    /// Not at all.
    Nobody,
}

/// What differs from the usual scene.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// How changes are reported.
    pub reporter: Reporter,
    /// keepalived on both nodes.
    pub keepalived: keepalived::Settings,
    /// The agent on both nodes.
    pub agent: agent::Settings,
    /// The agent finds the router where Neutron writes its keepalived's configuration, instead of being given it
    /// by hand: it is told the version, the mode, the authentication and the addresses as well. Both nodes are on
    /// one machine, whose namespaces Neutron names after the routers: each node knows the router by another id.
    pub found: bool,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The router's place.
    pub site: Site,
    /// What keepalived is started with.
    pub settings: keepalived::Settings,
    /// keepalived, once it is started.
    pub keepalived: Option<Keepalived>,
    /// The L3 agent; it goes before the lab does, whose last owner this node may be.
    pub l3: L3Agent,
    /// The agent.
    pub agent: Agent,
}

/// Two nodes.
#[derive(Debug)]
pub struct Pair {
    /// The one that keepalived is started on first: it becomes primary.
    pub a: Node,
    /// The other one.
    pub b: Node,
    /// The router.
    pub router: Router,
    /// Where all that is.
    pub lab: Lab,
}

/// A little more than the machine may need to get to something that is due now.
pub const SLACK: Duration = Duration::from_secs(4);
/// An advert interval and a half, and `settle`: what an agent that has just started needs to know who is silent.
const LISTENING: Duration = Duration::from_millis(1750);
/// `l3_agent_hold`: contrary states of a router keep this distance.
const HOLD: Duration = Duration::from_secs(2);
/// What the way from the agent to us may differ by.
const JITTER: Duration = Duration::from_millis(100);

impl Scene {
    /// Two nodes with nothing running but the L3 agents.
    ///
    /// # Errors
    /// When the lab cannot be built.
    pub fn build(self, name: &str) -> Result<Pair> {
        self.build_in(Lab::new(name)?)
    }

    /// As [`Scene::build`], in a lab that is there.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build_in(self, lab: Lab) -> Result<Pair> {
        self.build_of(lab, Router::new(11))
    }

    /// As [`Scene::build_in`], with a router that is given.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn build_of(self, lab: Lab, router: Router) -> Result<Pair> {
        Ok(Pair { a: self.node(&lab, "a", &router)?, b: self.node(&lab, "b", &router)?, router, lab })
    }

    /// Two nodes with everything running: `a` is primary, `b` is backup, both confirmed and heard
    /// by their L3 agents, each as its first state.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn start(self, name: &str) -> Result<Pair> {
        let mut pair = self.build(name)?;
        pair.elect()?;
        pair.watch()?;
        Ok(pair)
    }

    /// One node of the scene with nothing running but the L3 agent.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn node(&self, lab: &Lab, name: &str, router: &Router) -> Result<Node> {
        if !self.found {
            return self.node_at(lab.site(name, router)?);
        }
        let router = Router { id: Uuid::new_v4(), ..router.clone() };
        self.node_at(lab.site_in(&format!("qrouter-{}", router.id), name, &router)?)
    }

    /// As [`Scene::node`], at a site that is there or only planned.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn node_at(&self, site: Site) -> Result<Node> {
        let without_fifo = self.agent.without_fifo || self.reporter != Reporter::Fifo;
        let mut agent = agent::Settings { without_fifo, ..self.agent.clone() };
        agent.without_routers |= self.found;
        let agent = Agent::configure(site.lab(), &site.node, &[&site], &agent)?;
        if !without_fifo {
            make_fifo(&agent.fifo())?;
        }
        let mut settings = self.keepalived.clone();
        match self.reporter {
            Reporter::Fifo => settings.fifo = Some(agent.fifo()),
            Reporter::Script | Reporter::Notify => {
                settings.socket = Some(agent.socket());
                settings.by_notify = self.reporter == Reporter::Notify;
            }
            Reporter::Nobody => {}
        }
        let l3 = L3Agent::start(&agent.l3_socket())?;
        Ok(Node { site, settings, keepalived: None, l3, agent })
    }
}

impl Pair {
    /// Starts keepalived on both nodes; `a` has the VIP when this returns.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn elect(&mut self) -> Result<()> {
        self.a.start_keepalived()?;
        self.a.vip(self.a.settings.master_down() + SLACK, true)?;
        self.b.start_keepalived()
    }

    /// Starts both agents: `a` is confirmed primary, `b` backup, and each L3 agent hears just that.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn watch(&mut self) -> Result<()> {
        for node in [&mut self.a, &mut self.b] {
            node.write_ha_confs()?;
            node.agent.start()?;
        }
        // A backup is one when nothing was sent for 1.5 adverts and the settle time.
        self.a.confirmed(LISTENING + SLACK, "primary")?;
        self.b.confirmed(LISTENING + SLACK, "backup")?;
        self.a.heard(HOLD + SLACK, &["primary"])?;
        self.b.heard(HOLD + SLACK, &["backup"])?;
        self.mark()
    }

    /// The end of a test: each L3 agent has heard exactly these states, contrary ones far enough
    /// apart, and both agents still run.
    ///
    /// # Errors
    /// When that is not so.
    pub fn heard(&mut self, a: &[&str], b: &[&str]) -> Result<()> {
        for (node, states) in [(&mut self.a, a), (&mut self.b, b)] {
            node.heard(HOLD + SLACK, states)?;
            if let Some(apart) = node.l3.closest(node.site.router.id).filter(|apart| *apart < HOLD - JITTER) {
                bail!("node {}: contrary states {apart:?} apart", node.site.node);
            }
            if !node.agent.runs() {
                bail!("node {}: the agent ended:\n{}", node.site.node, node.agent.log());
            }
        }
        Ok(())
    }

    /// Waits until nothing is held back: the last state that each L3 agent heard is `l3_agent_hold` ago.
    ///
    /// # Errors
    /// When a state comes again and again.
    pub fn rest(&self) -> Result<()> {
        wait::until(HOLD + SLACK, "nothing is held back", || {
            let heard = [&self.a, &self.b].map(|node| node.l3.heard());
            heard.iter().flatten().all(|heard| heard.at.elapsed() > HOLD).then_some(())
        })
    }

    /// From now on only later events count.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn mark(&mut self) -> Result<()> {
        self.a.agent.events.mark()?;
        self.b.agent.events.mark()
    }
}

impl Node {
    /// Starts keepalived here.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_keepalived(&mut self) -> Result<()> {
        self.keepalived = Some(Keepalived::start(&self.site, &self.settings)?);
        Ok(())
    }

    /// Puts keepalived's configuration where Neutron does, for an agent that finds it there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_ha_confs(&self) -> Result<()> {
        if !self.site.netns.starts_with("qrouter-") {
            return Ok(());
        }
        let folder = self.agent.neutron().join("ha_confs").join(self.site.router.id.to_string());
        std::fs::create_dir_all(&folder)?;
        // One that is not started yet is configured all the same.
        let conf = match &self.keepalived {
            Some(keepalived) => keepalived.configuration().to_owned(),
            None => Keepalived::configure(&self.site, &self.settings)?,
        };
        std::fs::copy(conf, folder.join("keepalived.conf")).map(drop).context("copying keepalived's configuration")
    }

    /// The keepalived here.
    ///
    /// # Errors
    /// When it was not started.
    pub fn keepalived(&mut self) -> Result<&mut Keepalived> {
        self.keepalived.as_mut().context("keepalived was not started")
    }

    /// Waits until the primary VIP is set, or is not.
    ///
    /// # Errors
    /// When it is not so in time.
    pub fn vip(&self, within: Duration, present: bool) -> Result<()> {
        let what = format!("the VIP on {} present: {present}", self.site.node);
        wait::until(within, &what, || (self.site.holds_vip() == present).then_some(())).with_context(|| {
            let said = self.keepalived.as_ref().map(Keepalived::log).unwrap_or_default();
            format!("keepalived on {} said:\n{said}", self.site.node)
        })
    }

    /// Waits for the confirmation of a state after the mark.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn confirmed(&mut self, within: Duration, state: &str) -> Result<Value> {
        self.event(within, "transition.confirmed", json!({"state": state}))
    }

    /// Waits until an agent that was started again after the mark has found what it knew, and told it again.
    ///
    /// # Errors
    /// When it has not in time.
    pub fn asserted(&mut self, within: Duration) -> Result<()> {
        let told = self.agent.events.expect(within, &json!({"event": "delivery.sent"}));
        told.map(drop).with_context(|| format!("node {}", self.site.node))
    }

    /// Waits for an anomaly to be raised after the mark.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn raised(&mut self, within: Duration, kind: &str) -> Result<Value> {
        self.event(within, "anomaly.raised", json!({"kind": kind}))
    }

    /// Waits for an anomaly to be cleared after the mark.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn cleared(&mut self, within: Duration, kind: &str) -> Result<Value> {
        self.event(within, "anomaly.cleared", json!({"kind": kind}))
    }

    /// Waits until every anomaly that was ever raised here is over, by the events and by the status.
    ///
    /// # Errors
    /// When one is not in time: which.
    pub fn calm(&mut self, within: Duration) -> Result<()> {
        let id = self.site.router.id.to_string();
        let mut open = BTreeSet::new();
        let over = wait::until(within, "every anomaly is over", || {
            self.agent.events.read().ok()?;
            open.clear();
            for event in self.agent.events.all().iter().filter(|event| event["router_id"] == id.as_str()) {
                let kind = event["kind"].as_str().unwrap_or_default();
                match event["event"].as_str() {
                    Some("anomaly.raised") => _ = open.insert(kind.to_owned()),
                    Some("anomaly.cleared") => _ = open.remove(kind),
                    _ => {}
                }
            }
            open.is_empty().then_some(())
        });
        over.with_context(|| format!("node {}: {open:?} goes on; {}", self.site.node, self.agent.events.story()))?;
        // What the events tell the status may show a moment later.
        let shown = || self.agent.status(&self.site).map(|status| status["anomalies"].clone());
        wait::until(SLACK, "the status shows none", || (shown().ok()? == json!([])).then_some(()))
            .with_context(|| format!("node {}: {:?}", self.site.node, shown()))
    }

    /// Fails if there is an event about this router after the mark that has these fields.
    ///
    /// # Errors
    /// When there is one.
    pub fn never(&mut self, name: &str, mut fields: Value) -> Result<()> {
        fields["event"] = name.into();
        fields["router_id"] = self.site.router.id.to_string().into();
        self.agent.events.deny(&fields).with_context(|| format!("node {}", self.site.node))
    }

    /// Waits for an event about this router after the mark.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn event(&mut self, within: Duration, name: &str, mut fields: Value) -> Result<Value> {
        fields["event"] = name.into();
        fields["router_id"] = self.site.router.id.to_string().into();
        self.agent.events.expect(within, &fields).with_context(|| format!("node {}", self.site.node))
    }

    /// Waits until the L3 agent has heard exactly these states of the router.
    ///
    /// # Errors
    /// When it has not in time, or heard another one: with what the agent wrote.
    pub fn heard(&mut self, within: Duration, states: &[&str]) -> Result<()> {
        let heard = self.l3.expect(within, self.site.router.id, states);
        heard.with_context(|| {
            let _ = self.agent.events.read();
            format!("node {}\n{}", self.site.node, self.agent.events.story())
        })
    }

    /// The anomalies raised after the mark, in order.
    ///
    /// # Errors
    /// When the events cannot be read.
    pub fn anomalies(&mut self) -> Result<Vec<String>> {
        self.agent.events.read()?;
        let id = self.site.router.id.to_string();
        let events = self.agent.events.since_mark().iter();
        let raised = events.filter(|event| event["event"] == "anomaly.raised" && event["router_id"] == id.as_str());
        Ok(raised.filter_map(|event| event["kind"].as_str().map(str::to_owned)).collect())
    }

    /// `ha-agent explain` says all of these words about the router.
    ///
    /// # Errors
    /// When it does not: with what it says.
    pub fn explains(&self, words: &[&str]) -> Result<()> {
        let said = self.agent.command(&["explain", &self.site.router.id.to_string()])?;
        let missing: Vec<&&str> = words.iter().filter(|word| !said.contains(**word)).collect();
        if !missing.is_empty() {
            bail!("node {}: explain does not say {missing:?}:\n{said}", self.site.node);
        }
        Ok(())
    }

    /// Claims a state of the router on the agent's socket; gives the HTTP status.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn claim(&self, state: &str) -> Result<u16> {
        crate::report::claim(&self.agent.socket(), self.site.router.id, state)
    }
}
