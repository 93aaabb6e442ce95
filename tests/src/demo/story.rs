//! Shows what happens while it happens, and keeps what was promised and whether it was seen.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    /// The steps so far.
    steps: Vec<Step>,
}

impl Story {
    pub(crate) fn new(terminal: Terminal, routers: &[Router]) -> Self {
        let vrids = routers.iter().map(|router| (router.id.to_string(), router.vrid)).collect();
        Self { terminal, vrids, shown: [0; 2], heard: [0; 2], steps: Vec::new() }
    }

    /// Shows everything that happens until all promises are kept, at most for `within` and a little.
    pub(crate) fn watch(
        &mut self,
        stage: &mut Stage,
        since: Moment,
        within: Duration,
        mut promises: Vec<Promise>,
    ) -> Result<()> {
        let from = self.shown;
        loop {
            self.show(stage, since)?;
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
            if kept || since.monotonic.elapsed() > within + SLACK {
                break;
            }
            thread::sleep(PAUSE);
        }
        for promise in promises {
            self.keep(promise.text, promise.seen);
        }
        Ok(())
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, title: &'static str, what: &str) {
        self.terminal.step(title, what);
        self.steps.push(Step { title, promises: Vec::new() });
    }

    /// Adds a promise to the step and whether it was kept.
    pub(crate) fn keep(&mut self, text: impl Into<String>, seen: bool) {
        let text = text.into();
        self.terminal.say(&format!("  {} {text}", self.mark(seen)));
        if let Some(step) = self.steps.last_mut() {
            step.promises.push((text, seen));
        }
    }

    fn mark(&self, seen: bool) -> String {
        if seen { self.terminal.paint(Look::Good, "✔") } else { self.terminal.paint(Look::Bad, "✘") }
    }

    /// All steps once more, and what was missed in them; whether nothing was.
    pub(crate) fn summary(&self) -> bool {
        self.terminal.step("Was it seen?", "");
        for step in &self.steps {
            let missed: Vec<&str> =
                step.promises.iter().filter(|(_, seen)| !seen).map(|(text, _)| text.as_str()).collect();
            let (all, mark) = (step.promises.len(), self.mark(missed.is_empty()));
            self.terminal.say(&format!("  {mark} {}: {} of {all}", step.title, all - missed.len()));
            for text in missed {
                self.terminal.say(&format!("      {} {text}", self.mark(false)));
            }
        }
        self.steps.iter().flat_map(|step| &step.promises).all(|(_, seen)| *seen)
    }

    /// Lines for what is new, in the order in which it happened.
    fn show(&mut self, stage: &mut Stage, since: Moment) -> Result<()> {
        let mut lines = Vec::new();
        for (index, node) in stage.nodes.iter_mut().enumerate() {
            node.agent.events.read()?;
            for event in &node.agent.events.all()[self.shown[index]..] {
                let text = describe(event);
                if !text.is_empty() {
                    let at = event["ts"].as_str().map_or(Duration::ZERO, |ts| since.until(ts));
                    let vrid = event["router_id"].as_str().and_then(|id| self.vrids.get(id).copied());
                    lines.push(Line { at, place: place(node.name, vrid), look: look(event), text });
                }
            }
            self.shown[index] = node.agent.events.all().len();
            let heard = node.l3.heard();
            for heard in &heard[self.heard[index]..] {
                let place = place(node.name, self.vrids.get(&heard.router).copied());
                let at = heard.at.saturating_duration_since(since.monotonic);
                let text = vec![format!("the L3 agent hears: {}", heard.state)];
                lines.push(Line { at, place, look: Look::Good, text });
            }
            self.heard[index] = heard.len();
        }
        lines.sort_by_key(|line| line.at);
        for line in lines {
            self.print(&line);
        }
        Ok(())
    }

    fn print(&self, line: &Line) {
        let time = self.terminal.paint(Look::Dim, &format!("{:>6} ms", line.at.as_millis()));
        let mut lead = format!("  {time}  {}  ", line.place);
        for text in &line.text {
            self.terminal.say(&format!("{lead}{}", self.terminal.paint(line.look, text)));
            lead = " ".repeat(19);
        }
    }
}

/// A part of the performance.
struct Step {
    title: &'static str,
    /// What was promised in it, and whether it was seen.
    promises: Vec<(String, bool)>,
}

/// Something to show.
struct Line {
    at: Duration,
    place: String,
    look: Look,
    text: Vec<String>,
}

/// When something was set off, on both clocks.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    monotonic: Instant,
    /// Time of the day, UTC: events carry the wall clock's.
    wall: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Moment {
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Duration::new(since_epoch.as_secs() % DAY.as_secs(), since_epoch.subsec_nanos());
        Self { monotonic: Instant::now(), wall }
    }

    /// From here to a moment written as RFC 3339, UTC; zero if that was before, or is no such text.
    fn until(self, ts: &str) -> Duration {
        let Some(then) = time_of_day(ts) else {
            return Duration::ZERO;
        };
        // Over midnight the time of the day is smaller than before.
        let passed = if then >= self.wall { then - self.wall } else { then + DAY - self.wall };
        if passed < DAY / 2 { passed } else { Duration::ZERO }
    }
}

/// The time of the day in `2026-01-02T03:04:05.678901Z`.
fn time_of_day(ts: &str) -> Option<Duration> {
    let (_, time) = ts.strip_suffix('Z')?.split_once('T')?;
    let mut parts = time.split(':');
    let hours: u32 = parts.next()?.parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Duration::from_secs((hours * 3600 + minutes * 60).into()) + Duration::try_from_secs_f64(seconds).ok()?)
}

/// Node and VRID.
fn place(node: &str, vrid: Option<u8>) -> String {
    vrid.map_or_else(|| format!("{node}   "), |vrid| format!("{node} {vrid:>2}"))
}
