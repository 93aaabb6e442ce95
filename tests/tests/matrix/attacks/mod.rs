//! Attacks in rounds, each beside its control: nothing false, and nothing later than without.
//!
//! Every pair of an attack and a column is a router of its own; so is the control of each column, which is sent
//! adverts of a router that nobody has. All of them are played at the same time, for as many rounds as
//! `HA_AGENT_HOSTILE_ROUNDS` says.

mod columns;
mod volleys;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ha_agent_tests::hostile::Host;
use ha_agent_tests::pair::Reporter;
use ha_agent_tests::record;

use crate::field::Field;
use crate::{STAGE, Scenario};
use columns::COLUMNS;
use volleys::{ATTACKS, CONTROL, Volleys};

/// Rounds, unless `HA_AGENT_HOSTILE_ROUNDS` says otherwise.
const ROUNDS: u32 = 1;
/// What an attack may delay a verdict by.
const LATE: Duration = Duration::from_millis(100);

/// What came of a router's rounds: the times of each, and what went wrong.
struct Played {
    attack: &'static str,
    column: &'static str,
    times: Vec<Vec<Duration>>,
    failure: Option<String>,
}

impl Played {
    /// How much later than in the control a verdict came at most.
    fn late(&self, control: &Self) -> Duration {
        let rounds = self.times.iter().zip(&control.times);
        let times = rounds.flat_map(|(ours, theirs)| ours.iter().zip(theirs));
        times.map(|(ours, theirs)| ours.saturating_sub(*theirs)).max().unwrap_or_default()
    }
}

#[test]
#[ignore = "needs root"]
fn attacks_of_the_catalogue_beside_their_controls() -> Result<()> {
    let rounds = match std::env::var("HA_AGENT_HOSTILE_ROUNDS") {
        Ok(text) => text.parse().context("HA_AGENT_HOSTILE_ROUNDS is a number")?,
        Err(_) => ROUNDS,
    };
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<_> = COLUMNS.iter().flat_map(|column| ATTACKS.iter().map(move |attack| (attack, column))).collect();
    let scenarios: Vec<Scenario> = cells
        .iter()
        .map(|(attack, column)| Scenario {
            name: attack.name,
            reporter: Reporter::Fifo,
            priorities: column.priorities,
            preempt: true,
            late: column.late,
            round: |_| Ok(()),
        })
        .collect();
    let mut field = Field::build("hostile", &scenarios)?;
    let lab = field.lab().clone();
    field.settle()?;
    let played: Vec<Played> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (mut play, (attack, column)) in field.plays().into_iter().zip(&cells) {
            let lab = &lab;
            threads.push(scope.spawn(move || {
                let mut times = Vec::new();
                let done = Host::join(lab, "h", play.router()).and_then(|host| {
                    let volleys = Volleys::prepare(attack, &host, &play)?;
                    play.rounds(rounds, |play| {
                        let round = (column.round)(play, &volleys)?;
                        play.audit()?;
                        times.push(round);
                        Ok(())
                    })
                });
                let failure = done.err().map(|error| format!("{error:#}"));
                Played { attack: attack.name, column: column.name, times, failure }
            }));
        }
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    report(&played, cells.len(), rounds)?;
    field.told()
}

/// Notes every cell; fails where one is false or late.
fn report(played: &[Played], cells: usize, rounds: u32) -> Result<()> {
    let controls: BTreeMap<_, _> =
        played.iter().filter(|one| one.attack == CONTROL).map(|one| (one.column, one)).collect();
    let mut wrong = Vec::new();
    for one in played {
        let late = one.late(controls.get(one.column).context("the column's control")?);
        let count = u32::try_from(one.times.len()).unwrap_or(u32::MAX);
        record::attack(one.attack, one.column, count, u32::from(one.failure.is_some()), late)?;
        let cell = format!("{} × {}", one.attack, one.column);
        if let Some(failure) = &one.failure {
            wrong.push(format!("{cell}: {failure}"));
        } else if count < rounds {
            wrong.push(format!("{cell}: {count} of {rounds} rounds"));
        } else if late > LATE {
            wrong.push(format!("{cell}: {late:?} later than without the attack"));
        }
    }
    if played.len() < cells {
        wrong.push(format!("{} of {cells} cells were played to their end", played.len()));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n\n"));
    }
    Ok(())
}
