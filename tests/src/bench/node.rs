//! The agent under measurement, as a process of its own, and the L3 agent that it tells.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::hearing::Heard;
use ha_agent_tests::l3_agent::L3Agent;
use ha_agent_tests::lab::Lab;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gauge::Gauge;
use ha_agent_tests::bed::Bed;

/// `corroboration.settle`, left as it is by default.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);
/// `delivery.batch_interval`, left as it is by default.
pub(crate) const BATCH_INTERVAL: Duration = Duration::from_millis(200);
/// `delivery.l3_agent_hold`, left as it is by default where nothing else is said.
pub(crate) const HOLD: Duration = Duration::from_secs(2);
/// How often it is looked whether all was heard; when it was heard is noted by the listener.
const PAUSE: Duration = Duration::from_millis(20);
/// What has not been heard by then is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The classifier is attached to one interface after the other, and the kernel waits for all its
/// readers after each.
const START: Duration = Duration::from_secs(180);

/// What differs from a usual configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// `neutron` or `json`.
    pub(crate) protocol: &'static str,
    /// Without the distance between contrary states, so that one router can be measured often.
    pub(crate) without_hold: bool,
}

/// A running agent and its listener.
pub(crate) struct Node {
    agent: Agent,
    listener: L3Agent,
    /// Looks at the agent's process.
    pub(crate) gauge: Gauge,
}

impl Node {
    /// Starts an agent with nothing kept from before, for the routers of a bed.
    pub(crate) fn start(lab: &Lab, name: &str, bed: Option<&Bed>, setup: Setup) -> Result<Self> {
        // The limit of a user is lifted: one user measures here what many have.
        let intake = "max_requests_per_second = 1000000\n".to_owned();
        let sections = bed.map(Bed::sections).unwrap_or_default();
        let mut delivery = format!("protocol = \"{}\"\n", setup.protocol);
        if setup.without_hold {
            delivery.push_str("l3_agent_hold = \"0s\"\n");
        }
        let settings = Settings { intake, sections, delivery, without_fifo: true, ..Settings::default() };
        let mut agent = Agent::configure(lab, name, &[], &settings)?;
        let listener = L3Agent::start(&agent.l3_socket())?;
        agent.start()?;
        let gauge = Gauge::new(agent.id()?);
        Ok(Self { agent, listener, gauge })
    }

    /// How many states were heard so far.
    pub(crate) fn known(&self) -> usize {
        self.listener.heard_after(0).len()
    }

    /// The first time that each router was heard to be in `state`, after the first `known` states.
    /// Ends when all `routers` were heard, or when patience ends: who is missing then is lost.
    pub(crate) fn hear(&self, known: usize, state: &str, routers: usize) -> HashMap<String, Instant> {
        self.hear_within(PATIENCE, known, state, routers)
    }

    fn hear_within(&self, within: Duration, known: usize, state: &str, routers: usize) -> HashMap<String, Instant> {
        let began = Instant::now();
        let mut seen = known;
        let mut first = HashMap::new();
        loop {
            let news = self.listener.heard_after(seen);
            seen += news.len();
            for Heard { at, router, state: said, .. } in news {
                if said == state {
                    first.entry(router).or_insert(at);
                }
            }
            if first.len() >= routers || began.elapsed() > within {
                return first;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits until all routers are found to be backup, with every channel in use. Gives how many of
    /// them the L3 agent was first told of without the wire, because the classifier was not there yet.
    pub(crate) fn found_backup(&self, routers: usize) -> Result<usize> {
        let heard = self.hear_within(START, 0, "backup", routers);
        if heard.len() < routers {
            bail!("of {routers} routers {} were found to be backup; the agent said:\n{}", heard.len(), self.tail());
        }
        let began = Instant::now();
        let mut first = None;
        loop {
            let status = self.agent.ask(&["status"])?;
            let rows = status["routers"].as_array().context("routers in status")?;
            let without = |row: &&Value| row["basis"].as_str().is_none_or(|basis| !basis.contains("wire"));
            let first = *first.get_or_insert_with(|| rows.iter().filter(without).count());
            let unknown = |row: &&Value| row["wire"] == "unknown" || row["degraded"] != json!([]);
            match rows.iter().find(unknown) {
                None => return Ok(first),
                Some(row) if began.elapsed() > START => {
                    bail!("the wire is not known everywhere, such as {row}; the agent said:\n{}", self.tail());
                }
                Some(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// The agent's state-change socket.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.agent.socket()
    }

    /// Ends it as systemd does; gives how long that took.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let began = Instant::now();
        self.agent.signal(Signal::TERM)?;
        while self.agent.runs() {
            if began.elapsed() > START {
                bail!("the agent does not end; it said:\n{}", self.tail());
            }
            thread::sleep(PAUSE);
        }
        Ok(began.elapsed())
    }

    /// The last lines of its diagnostics.
    fn tail(&self) -> String {
        let log = self.agent.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
