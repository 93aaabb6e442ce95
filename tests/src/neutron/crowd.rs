//! Many routers on one node, the agent, and Neutron's own server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{Kind, Release, Server};
use crate::agent::{Agent, Settings};
use crate::bed::Bed;
use crate::lab::Lab;
use crate::pair::SLACK;
use crate::wait;

/// Attaching takes the kernel some 20 ms per router.
const ATTACHING: Duration = Duration::from_millis(50);

/// All of it. The agent goes first, its routers' namespaces with the lab.
#[derive(Debug)]
pub struct Crowd {
    /// The node's agent.
    pub agent: Agent,
    /// Its L3 agent.
    pub server: Server,
    /// The routers.
    pub bed: Bed,
    /// What is left in the end.
    pub lab: Lab,
}

impl Crowd {
    /// As many routers that are backup, with the agent running: each was told to the server once.
    ///
    /// # Errors
    /// When something of it does not start, or is not told in time.
    pub fn start(name: &str, routers: u16, release: Release, kind: Kind) -> Result<Self> {
        let lab = Lab::new(name)?;
        let bed = Bed::build(&lab, "crowd", routers)?;
        let settings = Settings {
            sections: bed.sections(),
            delivery: "retry_max = \"1s\"".to_owned(),
            without_fifo: true,
            ..Settings::default()
        };
        let mut agent = Agent::configure(&lab, "a", &[], &settings)?;
        let server = Server::start(&lab, release, kind, &agent.neutron())?;
        agent.start()?;
        let crowd = Self { agent, server, bed, lab };
        crowd.told(crowd.patience() + ATTACHING * routers.into(), &["backup"])?;
        crowd.watched()?;
        Ok(crowd)
    }

    /// Waits until the server was told exactly these states of every router, repeats dropped.
    ///
    /// # Errors
    /// When it was not in time: with how many routers are wrong, and one of them.
    pub fn told(&self, within: Duration, states: &[&str]) -> Result<()> {
        let wrong = || {
            let mut of: HashMap<String, Vec<String>> = HashMap::new();
            for heard in self.server.heard() {
                let states = of.entry(heard.router).or_default();
                if states.last() != Some(&heard.state) {
                    states.push(heard.state);
                }
            }
            let ids = self.bed.places().iter().map(|place| place.id.to_string());
            ids.map(|id| of.remove(&id).unwrap_or_default()).filter(|told| told != states).collect::<Vec<_>>()
        };
        if wait::until(within, "the server is told", || wrong().is_empty().then_some(())).is_err() {
            let wrong = wrong();
            bail!(
                "of {} routers {} were not told as {states:?}, such as {:?}; the agent said:\n{}\nthe server said:\n{}",
                self.bed.places().len(),
                wrong.len(),
                wrong.first(),
                tail(&self.agent.log()),
                tail(&self.server.log())
            );
        }
        Ok(())
    }

    /// Waits until the wire is known everywhere.
    fn watched(&self) -> Result<()> {
        let patience = self.patience() + ATTACHING * u32::try_from(self.bed.places().len())?;
        wait::until(patience, "every channel is in use", || {
            let status = self.agent.ask(&["status"]).ok()?;
            let rows = status["routers"].as_array()?;
            rows.iter().all(|row| row["wire"] != "unknown" && row["degraded"] == json!([])).then_some(())
        })
    }

    /// Hold, settle, one retry, and what the machine may need.
    pub fn patience(&self) -> Duration {
        SLACK * 4
    }

    /// Where the agent takes reports: the folder of its state-change socket.
    ///
    /// # Errors
    /// When its socket is in none.
    pub fn intake(&self) -> Result<PathBuf> {
        Ok(self.agent.socket().parent().context("a folder")?.to_owned())
    }
}

/// The last lines.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
