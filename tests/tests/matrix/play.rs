//! One router's scenario: what is done on its two nodes, what is claimed, and what comes of it.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use ha_agent_tests::agent::{Agent, binary};
use ha_agent_tests::keepalived::{Keepalived, Settings};
use ha_agent_tests::lab::{Router, Site};
use ha_agent_tests::pair::Reporter;
use ha_agent_tests::record::{Claim, Scenario};
use ha_agent_tests::timeline::{Timeline, at, fits, latency};
use ha_agent_tests::witness::{Seen, Witness};
use ha_agent_tests::{command, report, wait};
use serde_json::{Value, json};

/// Between two adverts.
pub(crate) const ADVERT: Duration = Duration::from_secs(1);
/// What a busy machine may need to get to something that is due: what is late is not yet false.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);
/// What netlink and the wire may invert by, and the witness be behind.
const JOIN: Duration = Duration::from_millis(250);

/// How something is claimed by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Channel {
    /// On the state-change socket.
    Socket,
    /// In the notify FIFO.
    Fifo,
    /// With `ha-agent notify`.
    Notify,
}

impl Channel {
    pub(crate) const ALL: [Self; 3] = [Self::Socket, Self::Fifo, Self::Notify];

    fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Fifo => "fifo",
            Self::Notify => "notify",
        }
    }
}

/// A router on one node.
pub(crate) struct Corner {
    pub(crate) site: Site,
    pub(crate) settings: Settings,
    pub(crate) keepalived: Option<Keepalived>,
    pub(crate) events: Timeline,
    /// Up to where every verdict was expected.
    pub(crate) audited: usize,
    reporter: &'static str,
    socket: PathBuf,
    fifo: PathBuf,
}

impl Corner {
    pub(crate) fn new(site: &Site, settings: Settings, reporter: Reporter, agent: &Agent) -> Self {
        Self {
            site: site.clone(),
            settings,
            keepalived: None,
            events: Timeline::follow(&agent.folder().join("events.jsonl")),
            audited: 0,
            reporter: match reporter {
                Reporter::Fifo => "fifo",
                Reporter::Script => "socket",
                Reporter::Notify => "notify",
                Reporter::Nobody => "nobody",
            },
            socket: agent.socket(),
            fifo: agent.fifo(),
        }
    }

    /// The keepalived here.
    pub(crate) fn keepalived(&mut self) -> Result<&mut Keepalived> {
        self.keepalived.as_mut().context("keepalived runs")
    }

    /// Starts keepalived and waits until it has reported that it is backup.
    pub(crate) fn join(&mut self) -> Result<()> {
        self.events.mark()?;
        self.keepalived = Some(Keepalived::start(&self.site, &self.settings)?);
        let backup = json!({"event": "report.received", "router_id": self.id(), "state": "backup"});
        self.events.expect(PATIENCE, &backup).map(drop)
    }

    fn id(&self) -> String {
        self.site.router.id.to_string()
    }

    /// Every verdict from `from` on, as `confirmed primary`.
    fn verdicts(&mut self, from: usize) -> Result<Vec<(String, Value)>> {
        self.events.read()?;
        let mine = json!({"router_id": self.id()});
        let later = self.events.all()[from..].iter().filter(|event| fits(event, &mine));
        let verdict = |event: &Value| {
            let (word, state) = match event["event"].as_str()? {
                "transition.confirmed" => ("confirmed", &event["state"]),
                "transition.rejected" => ("rejected", &event["claim"]),
                _ => return None,
            };
            Some((format!("{word} {}", state.as_str()?), event.clone()))
        };
        Ok(later.filter_map(verdict).collect())
    }
}

/// One router's scenario.
pub(crate) struct Play<'a> {
    router: &'a Router,
    /// Its two nodes.
    pub(crate) corners: &'a mut [Corner; 2],
    witness: &'a Witness,
    scenario: Option<Scenario>,
    /// Which of the two is master.
    pub(crate) master: usize,
    /// What this round's verdicts are, per node.
    expected: [Vec<String>; 2],
}

impl<'a> Play<'a> {
    pub(crate) fn new(router: &'a Router, corners: &'a mut [Corner; 2], witness: &'a Witness) -> Self {
        Self { router, corners, witness, scenario: None, master: 0, expected: [Vec::new(), Vec::new()] }
    }

    /// The router.
    pub(crate) fn router(&self) -> &'a Router {
        self.router
    }

    /// All rounds of a scenario whose claims are counted.
    pub(crate) fn play(&mut self, name: &'static str, round: fn(&mut Self) -> Result<()>, rounds: u32) -> Result<()> {
        let scenario = Scenario::begin(name, true)?;
        self.scenario = Some(scenario);
        self.rounds(rounds, |play| {
            round(play)?;
            play.audit()?;
            scenario.round()
        })
    }

    /// As many rounds; where one fails, what both nodes wrote last.
    pub(crate) fn rounds(&mut self, rounds: u32, mut round: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for number in 1..=rounds {
            round(self).with_context(|| {
                let story = self.corners.each_mut().map(|corner| {
                    let _ = corner.events.read();
                    let id = corner.id();
                    let mine = corner.events.all().iter().filter(|event| event.to_string().contains(&id));
                    let lines: Vec<String> = mine.map(Value::to_string).collect();
                    lines[lines.len().saturating_sub(25)..].join("\n  ")
                });
                format!("round {number} of router {}\n  {}\n  and\n  {}", self.router.vrid, story[0], story[1])
            })?;
        }
        Ok(())
    }

    /// The master's node.
    pub(crate) fn lead(&mut self) -> &mut Corner {
        &mut self.corners[self.master]
    }

    /// The other one's.
    pub(crate) fn other(&mut self) -> &mut Corner {
        &mut self.corners[1 - self.master]
    }

    /// keepalived claims what is true; the verdict is awaited.
    pub(crate) fn truly(&mut self, side: usize, state: &'static str, within: Duration) -> Result<()> {
        let what = format!("{} is {state}", self.corners[side].site.node);
        let (verdict, event) = self.verdict(side, state, within)?;
        self.witnessed(&what, |seen, play| play.is(seen, side, state))?;
        let took = if verdict == "confirmed" { latency(&event)? } else { Duration::ZERO };
        let reporter = self.corners[side].reporter;
        self.note(side, &Claim { reporter, state, truth: true, verdict, took })
    }

    /// As [`Play::truly`]; how long after the VIP came or went.
    pub(crate) fn timely(&mut self, side: usize, state: &'static str, within: Duration) -> Result<Duration> {
        let known = self.expected[side].len();
        self.truly(side, state, within)?;
        let corner = &mut self.corners[side];
        let (_, event) = corner.verdicts(corner.audited)?.into_iter().nth(known).context("the verdict")?;
        let changed = self.witness.look(|seen| seen.vip(&corner.site)).context("the VIP")?.1;
        Ok(at(&event)?.duration_since(changed).unwrap_or_default())
    }

    /// A change that nobody claims; it is confirmed all the same, and is no cell of the matrix.
    pub(crate) fn unclaimed(&mut self, side: usize, state: &'static str, within: Duration) -> Result<()> {
        let (verdict, _) = self.verdict(side, state, within)?;
        self.expected[side].push(format!("{verdict} {state}"));
        if verdict != "confirmed" {
            bail!("{state} was {verdict}");
        }
        Ok(())
    }

    /// Claims by hand what is not true; the verdict is awaited.
    pub(crate) fn falsely(&mut self, side: usize, channel: Channel, state: &'static str) -> Result<()> {
        let what = format!("{} is not {state}", self.corners[side].site.node);
        self.witnessed(&what, |seen, play| !play.is(seen, side, state))?;
        let began = SystemTime::now();
        self.claim(side, channel, state)?;
        let (verdict, event) = self.verdict(side, state, ADVERT * 2 + PATIENCE)?;
        self.witnessed(&what, |seen, play| !play.is(seen, side, state))?;
        let took = at(&event)?.duration_since(began).unwrap_or_default();
        self.note(side, &Claim { reporter: channel.word(), state, truth: false, verdict, took })
    }

    /// keepalived itself claims what is not true.
    pub(crate) fn mistaken(&mut self, side: usize, state: &'static str, within: Duration) -> Result<()> {
        let received = json!({"event": "report.received", "router_id": self.router.id.to_string(), "state": state});
        let began = at(&self.corners[side].events.expect(within, &received)?)?;
        let (verdict, event) = self.verdict(side, state, ADVERT * 2 + PATIENCE)?;
        let what = format!("{} is not {state}", self.corners[side].site.node);
        self.witnessed(&what, |seen, play| !play.is(seen, side, state))?;
        let took = at(&event)?.duration_since(began).unwrap_or_default();
        let reporter = self.corners[side].reporter;
        self.note(side, &Claim { reporter, state, truth: false, verdict, took })
    }

    /// Waits until the witness sees it.
    fn witnessed(&self, what: &str, look: impl Fn(&Seen, &Self) -> bool) -> Result<()> {
        self.witness.until(JOIN, what, |seen| look(seen, self).then_some(()))
    }

    /// Waits until a node that was master by mistake has given way.
    pub(crate) fn gives_way(&self, side: usize) -> Result<()> {
        let what = format!("{} gives way", self.corners[side].site.node);
        self.witness.until(ADVERT * 2 + PATIENCE, &what, |seen| self.is(seen, side, "backup").then_some(()))
    }

    /// Whether a node truly is in a state, by address table and wire. Of two masters only the better
    /// one is primary.
    fn is(&self, seen: &Seen, side: usize, state: &str) -> bool {
        let [this, other] = [side, 1 - side].map(|side| &self.corners[side]);
        let holds = |corner: &Corner| seen.vip(&corner.site).is_some_and(|(present, _)| present);
        let speaks = |corner: &Corner| {
            seen.last_of(&corner.site)
                .filter(|advert| advert.priority > 0 && advert.at.elapsed().unwrap_or_default() < ADVERT + ADVERT / 2)
        };
        let rank = |corner: &Corner| speaks(corner).map(|advert| (advert.priority, advert.source));
        match state {
            "primary" => holds(this) && rank(this).is_some() && rank(this) > rank(other),
            // What else fault is, the address table does not show.
            _ => !holds(this),
        }
    }

    fn claim(&mut self, side: usize, channel: Channel, state: &str) -> Result<()> {
        let corner = &self.corners[side];
        let status = match channel {
            Channel::Socket => report::claim(&corner.socket, self.router.id, state)?,
            Channel::Fifo => {
                let word = if state == "primary" { "MASTER".to_owned() } else { state.to_uppercase() };
                let line = format!("INSTANCE \"{}\" {word} 50\n", Keepalived::instance(&corner.site));
                let mut fifo = std::fs::File::options().write(true).open(&corner.fifo)?;
                fifo.write_all(line.as_bytes())?;
                200
            }
            Channel::Notify => {
                let (binary, router) = (binary()?.display().to_string(), self.router.id.to_string());
                let socket = corner.socket.display().to_string();
                command::run(&binary, &["notify", "--router", &router, "--socket", &socket, state])?;
                200
            }
        };
        if status != 200 {
            bail!("the claim was answered {status}");
        }
        Ok(())
    }

    /// The next verdict on a state after those that this round already has.
    fn verdict(&mut self, side: usize, state: &str, within: Duration) -> Result<(&'static str, Value)> {
        let known = self.expected[side].len();
        let corner = &mut self.corners[side];
        let audited = corner.audited;
        let what = format!("a verdict on {state} at {}, after {:?}", corner.site.node, self.expected[side]);
        wait::until(within, &what, || {
            let verdicts = corner.verdicts(audited).ok()?;
            let later = verdicts.into_iter().skip(known);
            later.into_iter().find_map(|(words, event)| match words.split_once(' ')? {
                ("confirmed", of) if of == state => Some(("confirmed", event)),
                ("rejected", of) if of == state => Some(("rejected", event)),
                _ => None,
            })
        })
    }

    fn note(&mut self, side: usize, claim: &Claim) -> Result<()> {
        self.expected[side].push(format!("{} {}", claim.verdict, claim.state));
        self.scenario.map_or(Ok(()), |scenario| scenario.claim(claim))
    }

    /// Every verdict of the round was expected. One that was not is a false one.
    pub(crate) fn audit(&mut self) -> Result<()> {
        for side in [0, 1] {
            let corner = &mut self.corners[side];
            let found = corner.verdicts(corner.audited)?;
            corner.audited = corner.events.all().len();
            let expected = std::mem::take(&mut self.expected[side]);
            let words: Vec<&str> = found.iter().map(|(words, _)| words.as_str()).collect();
            if words != expected {
                let counted = self.scenario.map(|scenario| {
                    scenario.claim(&Claim {
                        reporter: self.corners[side].reporter,
                        state: "unexpected",
                        truth: words.iter().any(|words| words.starts_with("rejected")),
                        verdict: if words.iter().any(|words| words.starts_with("rejected")) {
                            "rejected"
                        } else {
                            "confirmed"
                        },
                        took: Duration::ZERO,
                    })
                });
                counted.transpose()?;
                bail!("{}: expected {expected:?}, but found {words:?}", self.corners[side].site.node);
            }
        }
        Ok(())
    }
}
