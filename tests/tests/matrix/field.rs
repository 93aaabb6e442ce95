//! The ground: two nodes with an agent each, a router per scenario, a keepalived per router and node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::{Agent, Settings as AgentSettings};
use ha_agent_tests::keepalived::{Keepalived, Settings, make_fifo};
use ha_agent_tests::l3_agent::L3Agent;
use ha_agent_tests::lab::{Lab, Router, Site};
use ha_agent_tests::pair::Reporter;
use ha_agent_tests::timeline::Timeline;
use ha_agent_tests::wait;
use ha_agent_tests::witness::Witness;
use serde_json::json;

use crate::Scenario;
use crate::play::{ADVERT, Corner, PATIENCE, Play};

/// The first router's VRID.
const FIRST: u8 = 30;

/// One node.
struct Node {
    agent: Agent,
    l3: L3Agent,
}

/// Both nodes, and all routers.
pub(crate) struct Field {
    plays: Vec<(Router, [Corner; 2])>,
    witness: Witness,
    nodes: [Node; 2],
    lab: Lab,
}

impl Field {
    /// Everything but the agents is running: the first node is master of every router.
    pub(crate) fn build(name: &str, scenarios: &[Scenario]) -> Result<Self> {
        let lab = Lab::new(name)?;
        let routers: Vec<Router> = (FIRST..).take(scenarios.len()).map(Router::new).collect();
        let places = |node: &str| routers.iter().map(|router| lab.site(node, router)).collect::<Result<Vec<Site>>>();
        let sites = [places("a")?, places("b")?];
        let node = |name: &str, sites: &[Site]| {
            // Rounds follow each other quickly, and each state of them shall be heard.
            let settings = AgentSettings { delivery: "l3_agent_hold = \"0s\"".to_owned(), ..Default::default() };
            let agent = Agent::configure(&lab, name, &sites.iter().collect::<Vec<_>>(), &settings)?;
            make_fifo(&agent.fifo())?;
            let l3 = L3Agent::start(&agent.l3_socket())?;
            anyhow::Ok(Node { agent, l3 })
        };
        let nodes = [node("a", &sites[0])?, node("b", &sites[1])?];
        let witness = Witness::of(&lab, &sites.iter().flatten().collect::<Vec<_>>())?;

        let mut plays = Vec::new();
        for (index, scenario) in scenarios.iter().enumerate() {
            let corner = |side: usize| {
                let agent = &nodes[side].agent;
                let mut settings = Settings { priority: scenario.priorities[side], ..Settings::default() };
                settings.nopreempt = !scenario.preempt;
                settings.by_notify = scenario.reporter == Reporter::Notify;
                match scenario.reporter {
                    Reporter::Fifo => settings.fifo = Some(agent.fifo()),
                    Reporter::Script | Reporter::Notify => settings.socket = Some(agent.socket()),
                    Reporter::Nobody => {}
                }
                Corner::new(&sites[side][index], settings, scenario.reporter, agent)
            };
            plays.push((routers[index].clone(), [corner(0), corner(1)]));
        }
        for (_, [first, _]) in &mut plays {
            first.keepalived = Some(Keepalived::start(&first.site, &first.settings)?);
        }
        for ((_, [first, second]), scenario) in plays.iter_mut().zip(scenarios) {
            let master = first.settings.master_down() + PATIENCE;
            witness
                .until(master, "the first node is master", |seen| seen.is_master(&first.site, ADVERT).then_some(()))?;
            if !scenario.late {
                second.keepalived = Some(Keepalived::start(&second.site, &second.settings)?);
            }
        }
        Ok(Self { plays, witness, nodes, lab })
    }

    /// Starts the agents; every router's first state is confirmed.
    pub(crate) fn settle(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.agent.start()?;
        }
        for (router, corners) in &mut self.plays {
            for (corner, state) in corners.iter_mut().zip(["primary", "backup"]) {
                let first = json!({
                    "event": "transition.confirmed", "router_id": router.id.to_string(), "state": state,
                });
                corner.events.expect(Duration::from_secs(5) + PATIENCE, &first)?;
                corner.audited = corner.events.all().len();
            }
        }
        Ok(())
    }

    /// Where it lies.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// One play per router.
    pub(crate) fn plays(&mut self) -> Vec<Play<'_>> {
        let witness = &self.witness;
        self.plays.iter_mut().map(|(router, corners)| Play::new(router, corners, witness)).collect()
    }

    /// The L3 agents have heard nothing but what was confirmed, in its order, and its end: of two
    /// states within a batch the later one goes.
    pub(crate) fn told(&mut self) -> Result<()> {
        for (side, node) in self.nodes.iter_mut().enumerate() {
            ensure!(node.agent.runs(), "the agent ended:\n{}", node.agent.log());
            for (router, corners) in &mut self.plays {
                let confirmed = confirmed(&mut corners[side].events, router)?;
                wait::until(PATIENCE, "the last state is told", || {
                    (node.l3.states(router.id).last() == confirmed.last()).then_some(())
                })?;
                // At least once: an answer that comes late is asked for again.
                let mut heard = node.l3.states(router.id);
                heard.dedup();
                let mut left = confirmed.iter();
                let in_order = heard.iter().all(|state| left.any(|confirmed| confirmed == state));
                ensure!(in_order, "router {}: {heard:?} was told of {confirmed:?}", router.vrid);
            }
        }
        Ok(())
    }
}

fn confirmed(events: &mut Timeline, router: &Router) -> Result<Vec<String>> {
    events.read()?;
    let id = router.id.to_string();
    let fits =
        |event: &&serde_json::Value| event["event"] == "transition.confirmed" && event["router_id"] == id.as_str();
    let states = events.all().iter().filter(fits).map(|event| event["state"].as_str().map(str::to_owned));
    states.collect::<Option<_>>().context("a state")
}
