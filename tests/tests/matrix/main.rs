//! Claims, true and false, in rounds: does the agent confirm what is true and refuse what is not?
//!
//! `cargo xtask test --only matrix` runs this and makes the confusion matrix of it. All routers stand
//! side by side on one HA network, in one agent per node; each is the stage of one scenario, and each
//! scenario is played by a thread of its own for as many rounds as `HA_AGENT_ROUNDS` says.
//!
//! What is true is known from what the scenario does, and checked with a witness that looks at the
//! address tables and at the wire itself. Whatever verdict comes that no round expects counts as false.

mod attacks;
mod disputes;
mod failovers;
mod field;
mod lies;
mod play;

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use ha_agent_tests::pair::Reporter;

use field::Field;
use play::Play;

/// Rounds, unless `HA_AGENT_ROUNDS` says otherwise.
const ROUNDS: u32 = 20;

/// Times are compared: one matrix after the other.
static STAGE: Mutex<()> = Mutex::new(());

/// A scenario: its name, how keepalived reports in it, the priorities of both nodes, one round of it.
struct Scenario {
    name: &'static str,
    reporter: Reporter,
    priorities: [u8; 2],
    preempt: bool,
    /// The second node only comes in a round.
    late: bool,
    round: fn(&mut Play<'_>) -> Result<()>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "stopped, reported through the FIFO",
        reporter: Reporter::Fifo,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: failovers::stopped,
    },
    Scenario {
        name: "stopped, reported over the socket",
        reporter: Reporter::Script,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: failovers::stopped,
    },
    Scenario {
        name: "stopped, reported by the notify script",
        reporter: Reporter::Notify,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: failovers::stopped,
    },
    Scenario {
        name: "killed; primary claimed before anybody is",
        reporter: Reporter::Fifo,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: failovers::killed,
    },
    Scenario {
        name: "preempted by a higher priority",
        reporter: Reporter::Fifo,
        priorities: [50, 60],
        preempt: true,
        late: true,
        round: failovers::preempted,
    },
    Scenario {
        name: "interface down and up again",
        reporter: Reporter::Fifo,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: failovers::unplugged,
    },
    Scenario {
        name: "lies on a quiet pair",
        reporter: Reporter::Fifo,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: lies::quiet,
    },
    Scenario {
        name: "VIP added by hand, then primary claimed",
        reporter: Reporter::Fifo,
        priorities: [50, 50],
        preempt: false,
        late: false,
        round: lies::with_a_vip,
    },
    Scenario {
        name: "input filtered: the worse master claims primary",
        reporter: Reporter::Fifo,
        priorities: [60, 50],
        preempt: false,
        late: false,
        round: disputes::deaf,
    },
    Scenario {
        name: "output filtered: the silent master claims primary",
        reporter: Reporter::Fifo,
        priorities: [60, 50],
        preempt: false,
        late: false,
        round: disputes::mute,
    },
];

#[test]
#[ignore = "needs root"]
fn claims_of_the_catalogue_in_rounds() -> Result<()> {
    let rounds = match std::env::var("HA_AGENT_ROUNDS") {
        Ok(text) => text.parse().context("HA_AGENT_ROUNDS is a number")?,
        Err(_) => ROUNDS,
    };
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut field = Field::build("matrix", SCENARIOS)?;
    field.settle()?;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = field
            .plays()
            .into_iter()
            .zip(SCENARIOS)
            .map(|(mut play, scenario)| scope.spawn(move || play.play(scenario.name, scenario.round, rounds)))
            .collect();
        let ends = threads.into_iter().zip(SCENARIOS).filter_map(|(thread, scenario)| match thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{}: {error:#}", scenario.name)),
            Err(_) => Some(format!("{}: panicked", scenario.name)),
        });
        ends.collect()
    });
    if !failures.is_empty() {
        bail!("{}", failures.join("\n\n"));
    }
    field.told()
}
