//! Two nodes with three routers each, and everything that runs on them.

use std::collections::HashMap;

use anyhow::{Context, Result};
use ha_agent_tests::agent::{self, Agent};
use ha_agent_tests::keepalived::{Keepalived, Settings, make_fifo};
use ha_agent_tests::l3_agent::L3Agent;
use ha_agent_tests::lab::{Lab, Router, Site};
use serde_json::Value;

/// A node: one agent and one L3 agent for all of its routers.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    pub(crate) l3: L3Agent,
    places: HashMap<u8, Place>,
}

/// A router on a node.
struct Place {
    site: Site,
    settings: Settings,
    keepalived: Option<Keepalived>,
}

/// Both nodes, and the routers they share.
pub(crate) struct Stage {
    pub(crate) nodes: [Node; 2],
    pub(crate) routers: Vec<Router>,
}

impl Stage {
    /// Builds it; nothing runs but the L3 agents. Priorities are (first node's, second node's).
    pub(crate) fn build(lab: &Lab, routers: &[(u8, u8, u8)]) -> Result<Self> {
        let shared: Vec<Router> = routers.iter().map(|(vrid, ..)| Router::new(*vrid)).collect();
        let node = |name: &'static str, priorities: Vec<u8>| -> Result<Node> {
            let sites = shared.iter().map(|router| lab.site(name, router)).collect::<Result<Vec<Site>>>()?;
            let agent = Agent::configure(lab, name, &sites.iter().collect::<Vec<_>>(), &agent::Settings::default())?;
            make_fifo(&agent.fifo())?;
            let l3 = L3Agent::start(&agent.l3_socket())?;
            let places = sites.into_iter().zip(priorities).map(|(site, priority)| {
                let settings = Settings { priority, fifo: Some(agent.fifo()), ..Settings::default() };
                (site.router.vrid, Place { site, settings, keepalived: None })
            });
            Ok(Node { name, places: places.collect(), agent, l3 })
        };
        let first = node("a", routers.iter().map(|(_, priority, _)| *priority).collect())?;
        let second = node("b", routers.iter().map(|(.., priority)| *priority).collect())?;
        Ok(Self { nodes: [first, second], routers: shared })
    }

    /// Every router on both nodes, as the agents show it, and beside it what the L3 agents heard.
    pub(crate) fn rows(&self) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for router in &self.routers {
            for node in &self.nodes {
                let status = node.agent.status(node.site(router.vrid)?)?;
                let word = |key: &str| status[key].as_str().unwrap_or("-").to_owned();
                let anomalies = status["anomalies"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let anomalies: Vec<&str> = anomalies.collect();
                rows.push(vec![
                    format!("{}", router.vrid),
                    node.name.to_owned(),
                    word("claimed"),
                    word("vip"),
                    word("wire"),
                    word("confirmed"),
                    word("basis"),
                    if anomalies.is_empty() { "-".to_owned() } else { anomalies.join(" ") },
                    node.l3.states(router.id).join(" → "),
                ]);
            }
        }
        Ok(rows)
    }
}

/// Heading of [`Stage::rows`].
pub(crate) const COLUMNS: [&str; 9] =
    ["VRID", "NODE", "CLAIMED", "VIP", "WIRE", "CONFIRMED", "BASIS", "ANOMALIES", "ITS L3 AGENT HEARD"];

impl Node {
    fn place(&self, vrid: u8) -> Result<&Place> {
        self.places.get(&vrid).context("a router of the stage")
    }

    /// A router's place.
    pub(crate) fn site(&self, vrid: u8) -> Result<&Site> {
        Ok(&self.place(vrid)?.site)
    }

    /// What its keepalived is started with.
    pub(crate) fn settings(&self, vrid: u8) -> Result<&Settings> {
        Ok(&self.place(vrid)?.settings)
    }

    /// Starts a router's keepalived.
    pub(crate) fn start(&mut self, vrid: u8) -> Result<()> {
        let place = self.places.get_mut(&vrid).context("a router of the stage")?;
        place.keepalived = Some(Keepalived::start(&place.site, &place.settings)?);
        Ok(())
    }

    /// A router's keepalived.
    pub(crate) fn keepalived(&mut self, vrid: u8) -> Result<&mut Keepalived> {
        let place = self.places.get_mut(&vrid).context("a router of the stage")?;
        place.keepalived.as_mut().context("a keepalived that was started")
    }

    /// The id of a router.
    pub(crate) fn id(&self, vrid: u8) -> Result<uuid::Uuid> {
        Ok(self.site(vrid)?.router.id)
    }
}
