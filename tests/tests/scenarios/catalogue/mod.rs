//! When the channels disagree: every case that is known, with a real keepalived.
//!
//! Each test says which anomaly arises (or that none does), within which time and why so, what the L3
//! agents are told, that it is over when its cause is, and what `ha-agent explain` says of it.

mod fabric;
mod forged;
mod places;
mod processes;
mod spoofed;
mod vip;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::pair::{Node, Pair, SLACK};
use ha_agent_tests::record;
use ha_agent_tests::timeline::at;
use serde_json::{Value, json};

/// Master-down time of the scenes: three adverts and the skew of priority 50.
const DOWN: u64 = 3805;
/// A backup's wait for a master that resigned.
const SKEW: u64 = 805;
/// Between two adverts.
const ADV: u64 = 1000;
/// Without an advert for so long, a speaker is silent.
const SILENCE: u64 = ADV * 3 / 2;
/// `corroboration.settle`.
const SETTLE: u64 = 250;
/// What keepalived takes from a timer or an event until the address table (measured: at most 17.5)
/// and the FIFO (21.6) say so.
const TURN: u64 = 22;
/// What the machine may add: the tests share its cores with other tests.
const LOAD: u64 = 300;
/// How old keepalived's last advert may be at most: the interval, and what its timer may be late on a busy machine.
const AGE: u64 = ADV + 100;
/// Longest wait for the last anomaly to be over: two adverts of the slower router, and what the machine may add.
const CALM: Duration = Duration::from_millis(4 * ADV + 4000);

/// Between which times something comes after the cause, in milliseconds, and why.
pub(crate) struct Bound {
    what: &'static str,
    least: u64,
    most: u64,
    why: &'static str,
}

/// A master that falls silent and keeps its VIP: the last advert may have left up to one interval before.
const FALLS_SILENT: Bound = Bound {
    what: "a: silent_primary",
    least: SILENCE - AGE + SETTLE,
    most: SILENCE + SETTLE,
    why: "1.5 adv after its last advert + settle",
};
/// The other node takes over from a master that fell silent.
const TAKES_OVER: Bound = Bound {
    what: "b: primary",
    least: DOWN - AGE + SETTLE,
    most: DOWN + TURN + SETTLE,
    why: "D after the last advert + settle",
};
/// Then the VIP that the silent one keeps is an orphan.
const ORPHANS: Bound = Bound {
    what: "a: orphan_vip",
    least: DOWN - AGE + ADV + SETTLE,
    most: DOWN + SILENCE + SETTLE,
    why: "the new master was heard for more than 1 adv, + settle",
};

/// A case of the catalogue.
pub(crate) struct Case {
    name: &'static str,
    bounds: &'static [Bound],
    cause: SystemTime,
    /// When what caused it had returned, where that takes time.
    caused: Option<SystemTime>,
    measured: Vec<Value>,
}

impl Case {
    /// One whose cause happens now.
    pub(crate) fn now(name: &'static str, bounds: &'static [Bound]) -> Self {
        Self { name, bounds, cause: SystemTime::now(), caused: None, measured: Vec::new() }
    }

    /// The cause of what is measured next happens now.
    pub(crate) fn again(&mut self) {
        self.cause = SystemTime::now();
        self.caused = None;
    }

    /// The cause has happened: what the machine took for it is nobody's delay.
    pub(crate) fn caused(&mut self) {
        self.caused = Some(SystemTime::now());
    }

    /// An event came within its bound.
    pub(crate) fn came(&mut self, what: &str, event: &Value) -> Result<Duration> {
        let bound =
            self.bounds.iter().find(|bound| bound.what == what).with_context(|| format!("a bound for {what}"))?;
        let took = at(event)?.duration_since(self.cause).context("an event before its cause")?;
        let causing = self.caused.map_or(Ok(Duration::ZERO), |at| at.duration_since(self.cause))?;
        let most = causing + Duration::from_millis(bound.most + LOAD);
        let least = Duration::from_millis(bound.least.saturating_sub(TURN));
        ensure!(
            (least..=most).contains(&took),
            "{what} came after {took:?}, not within {least:?} to {most:?} ({}): {event}",
            bound.why
        );
        self.measured.push(json!({
            "what": what, "least_ms": bound.least, "most_ms": bound.most, "why": bound.why,
            "took_ms": record::milliseconds(took),
        }));
        Ok(took)
    }

    /// The end: the anomalies went with their cause, everything was measured, and the L3 agents have
    /// heard exactly this.
    pub(crate) fn told(self, pair: &mut Pair, a: &[&str], b: &[&str], clears: &str) -> Result<()> {
        pair.heard(a, b)?;
        pair.a.calm(CALM)?;
        pair.b.calm(CALM)?;
        self.note(&json!({"a": a, "b": b}), clears)
    }

    /// As [`Case::told`], where there is one node only.
    pub(crate) fn told_alone(self, node: &mut Node, states: &[&str], clears: &str) -> Result<()> {
        node.heard(SLACK * 2, states)?;
        node.calm(CALM)?;
        self.note(&json!({"a": states}), clears)
    }

    fn note(self, told: &Value, clears: &str) -> Result<()> {
        for bound in self.bounds {
            let done = self.measured.iter().any(|measured| measured["what"] == bound.what);
            ensure!(done, "{}: {} was not measured", self.name, bound.what);
        }
        record::case(&json!({
            "record": "case", "case": self.name, "measured": self.measured, "told": told, "clears": clears,
        }))
    }
}
