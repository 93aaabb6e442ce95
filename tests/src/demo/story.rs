//! Shows what happens while it happens, and keeps what was promised and whether it was seen.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ha_agent_tests::lab::Router;
use ha_agent_tests::timeline::fits;
use serde_json::{Value, json};

use crate::lines::{describe, look};
use crate::stage::Stage;
use crate::terminal::{Look, Terminal};

/// How often the event files are looked at.
const PAUSE: Duration = Duration::from_millis(10);
/// Beyond what is promised: the machine may be busy.
const SLACK: Duration = Duration::from_secs(4);

/// Something that has to be seen in a step.
pub(crate) struct Promise {
    /// In words, for the list at the end.
    text: String,
    node: usize,
    what: What,
    seen: bool,
}

enum What {
    /// An event with these fields.
    Event(Value),
    /// The L3 agent has heard exactly these states of a router, in this order.
    Heard(u8, &'static [&'static str]),
}

/// Node `a` or `b`, by its place in the stage.
pub(crate) const A: usize = 0;
/// See [`A`].
pub(crate) const B: usize = 1;

impl Promise {
    /// An event of a node about a router, with these fields.
    pub(crate) fn event(node: usize, event: &str, mut fields: Value, text: impl Into<String>) -> Self {
        fields["event"] = json!(event);
        Self { text: text.into(), node, what: What::Event(fields), seen: false }
    }

    /// What a node's L3 agent has heard of a router, from the beginning.
    pub(crate) fn heard(node: usize, vrid: u8, states: &'static [&'static str], text: impl Into<String>) -> Self {
        Self { text: text.into(), node, what: What::Heard(vrid, states), seen: false }
    }
}

/// The whole performance.
pub(crate) struct Story {
    terminal: Terminal,
    /// Router ids, and the VRIDs by which routers are called here.
    vrids: HashMap<String, u8>,
    /// How many events of each node were shown.
    shown: [usize; 2],
    /// How many states each L3 agent heard when last looked at.
    heard: [usize; 2],
    /// Everything promised so far, and whether it was seen.
    pub(crate) promises: Vec<(String, bool)>,
}

impl Story {
    pub(crate) fn new(terminal: Terminal, routers: &[Router]) -> Self {
        let vrids = routers.iter().map(|router| (router.id.to_string(), router.vrid)).collect();
        Self { terminal, vrids, shown: [0; 2], heard: [0; 2], promises: Vec::new() }
    }

    /// Shows everything that happens until all promises are kept, at most for `within` and a little.
    pub(crate) fn watch(&mut self, stage: &mut Stage, within: Duration, mut promises: Vec<Promise>) -> Result<()> {
        let started = Instant::now();
        let from = self.shown;
        loop {
            self.show(stage, started)?;
            for promise in promises.iter_mut().filter(|promise| !promise.seen) {
                let node = &stage.nodes[promise.node];
                promise.seen = match &promise.what {
                    What::Event(fields) => {
                        node.agent.events.all()[from[promise.node]..].iter().any(|event| fits(event, fields))
                    }
                    What::Heard(vrid, states) => node.l3.states(node.id(*vrid)?) == *states,
                };
            }
            let kept = promises.iter().all(|promise| promise.seen);
            if kept || started.elapsed() > within + SLACK {
                break;
            }
            thread::sleep(PAUSE);
        }
        for promise in promises {
            self.keep(promise.text, promise.seen);
        }
        Ok(())
    }

    /// Adds a promise and whether it was kept.
    pub(crate) fn keep(&mut self, text: impl Into<String>, seen: bool) {
        let text = text.into();
        self.terminal.say(&format!("  {} {text}", self.mark(seen)));
        self.promises.push((text, seen));
    }

    fn mark(&self, seen: bool) -> String {
        if seen { self.terminal.paint(Look::Good, "✔") } else { self.terminal.paint(Look::Bad, "✘") }
    }

    /// All promises once more; whether all were kept.
    pub(crate) fn summary(&self) -> bool {
        self.terminal.step("What was promised, and was it seen?", "");
        for (text, seen) in &self.promises {
            self.terminal.say(&format!("  {} {text}", self.mark(*seen)));
        }
        self.promises.iter().all(|(_, seen)| *seen)
    }

    /// Lines for what is new.
    fn show(&mut self, stage: &mut Stage, started: Instant) -> Result<()> {
        for (index, node) in stage.nodes.iter_mut().enumerate() {
            node.agent.events.read()?;
            let name = node.name;
            let events: Vec<Value> = node.agent.events.all()[self.shown[index]..].to_vec();
            self.shown[index] += events.len();
            let heard = node.l3.heard();
            let new = heard[self.heard[index]..].to_vec();
            self.heard[index] = heard.len();
            for event in events {
                let vrid = event["router_id"].as_str().and_then(|id| self.vrids.get(id).copied());
                for (number, line) in describe(&event).into_iter().enumerate() {
                    let look = look(&event);
                    let place = if number == 0 { place(name, vrid) } else { " ".repeat(4) };
                    self.line(started.elapsed(), &place, look, &line, number == 0);
                }
            }
            for heard in new {
                let vrid = self.vrids.get(&heard.router).copied();
                let line = format!("the L3 agent hears: {}", heard.state);
                self.line(heard.at.saturating_duration_since(started), &place(name, vrid), Look::Good, &line, true);
            }
        }
        Ok(())
    }

    fn line(&self, at: Duration, place: &str, look: Look, text: &str, timed: bool) {
        let time = if timed { format!("{:>6} ms", at.as_millis()) } else { " ".repeat(9) };
        let time = self.terminal.paint(Look::Dim, &time);
        self.terminal.say(&format!("  {time}  {place}  {}", self.terminal.paint(look, text)));
    }
}

/// Node and VRID.
fn place(node: &str, vrid: Option<u8>) -> String {
    vrid.map_or_else(|| format!("{node}   "), |vrid| format!("{node} {vrid:>2}"))
}
