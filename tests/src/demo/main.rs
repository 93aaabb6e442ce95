//! The demonstration (`cargo xtask demo`): two nodes in network namespaces, a real keepalived for
//! every router on each, an agent and an L3 agent per node. Everything shown is read from the
//! agents' event files and the L3 agents' sockets as it happens.

mod lines;
mod stage;
mod story;
mod terminal;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ha_agent_tests::guardian::Guardian;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::{report, wait};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use stage::{COLUMNS, Stage};
use story::{A, B, Moment, Promise, Story};
use terminal::{Look, Terminal};

/// The router that fails over, and the one whose brain is split.
const ROUTER: u8 = 11;
const OTHER: u8 = 12;
/// VRID, and the priorities on both nodes. The last one's master goes on when it hears the other.
const ROUTERS: [(u8, u8, u8); 2] = [(ROUTER, 50, 50), (OTHER, 50, 60)];
/// A little more than anything here should need beyond its own time.
const SLACK: Duration = Duration::from_secs(4);
/// Adverts go every second.
const ADVERT: Duration = Duration::from_secs(1);

/// Set before everything is removed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let terminal = Terminal::detect();
    let performed = perform(terminal);
    wait_if_interrupted();
    match performed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal.say(&terminal.paint(Look::Bad, &format!("the demonstration cannot go on: {error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Plays it; gives whether everything promised was seen.
fn perform(terminal: Terminal) -> Result<bool> {
    let started = Instant::now();
    let lab = Lab::new("demo")?;
    let traces = lab.traces();
    clean_up_on_signals(terminal, lab.guardian())?;

    let mut stage = Stage::build(&lab, &ROUTERS)?;
    let mut story = Story::new(terminal, &stage.routers);
    let shown = play(terminal, &mut stage, &mut story);
    wait_if_interrupted();
    if shown.is_err() {
        for node in &stage.nodes {
            terminal.say(&format!("── what the agent of node {} said:\n{}", node.name, node.agent.log()));
        }
    }
    drop(stage);
    drop(lab);
    shown?;

    let left = traces.leftovers();
    story.step("Gone again", "");
    story.keep("no namespace, process or file is left behind", left.is_empty());
    for trace in left {
        terminal.say(&format!("    left: {trace}"));
    }
    let kept = story.summary();
    terminal.say("");
    terminal.say(&if kept {
        terminal.paint(Look::Good, &format!("all of it was seen, in {:.0} s", started.elapsed().as_secs_f64()))
    } else {
        terminal.paint(Look::Bad, "not all of it was seen")
    });
    Ok(kept)
}

fn play(terminal: Terminal, stage: &mut Stage, story: &mut Story) -> Result<()> {
    two_nodes(terminal, stage, story)?;
    killed(terminal, stage, story)?;
    graceful(stage, story)?;
    spoofed(terminal, stage, story)?;
    split_brain(terminal, stage, story)
}

fn two_nodes(terminal: Terminal, stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.step(
        "1  Two nodes, two routers",
        "A namespace per router and node, a keepalived in each (adverts every second, a dead master is \
         replaced after 3.8 s),\nan ha-agent and an L3 agent per node. Router 11 begins on node a, router 12 on b.",
    );
    stage.nodes[A].start(ROUTER)?;
    stage.nodes[B].start(OTHER)?;
    for (node, vrid) in [(A, ROUTER), (B, OTHER)] {
        let node = &stage.nodes[node];
        let site = node.site(vrid)?;
        let within = node.settings(vrid)?.master_down() + SLACK;
        wait::until(within, "the VIP", || site.holds_vip().then_some(()))?;
    }
    stage.nodes[B].start(ROUTER)?;
    stage.nodes[A].start(OTHER)?;
    let since = Moment::now();
    for node in &mut stage.nodes {
        node.agent.start()?;
    }
    let id = |vrid: u8| stage.nodes[A].id(vrid).map(|id| id.to_string());
    let (router, other) = (id(ROUTER)?, id(OTHER)?);
    let confirmed = |node, id: &str, state: &str, text| {
        Promise::event(node, "transition.confirmed", json!({"router_id": id, "state": state}), text)
    };
    let promises = vec![
        confirmed(A, &router, "primary", "router 11 is found primary on a"),
        confirmed(B, &router, "backup", "router 11 is found backup on b"),
        confirmed(A, &other, "backup", "router 12 is found backup on a"),
        confirmed(B, &other, "primary", "router 12 is found primary on b"),
        Promise::heard(A, ROUTER, &["primary"], "a's L3 agent hears it"),
        Promise::heard(B, ROUTER, &["backup"], "b's L3 agent hears it"),
    ];
    story.watch(stage, since, ADVERT * 3, promises)?;
    table(terminal, stage)
}

fn killed(terminal: Terminal, stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.step(
        "2  Failover: SIGKILL to both processes of router 11's keepalived on a",
        "Nobody removes its VIP and nobody reports anything there: only the wire tells.",
    );
    let since = Moment::now();
    stage.nodes[A].keepalived(ROUTER)?.kill()?;
    let down = stage.nodes[B].settings(ROUTER)?.master_down();
    let promises = vec![
        anomaly(A, "silent_primary", "a names the silent primary"),
        confirmed(B, "primary", "report+vip+wire", "b is confirmed primary by all three channels"),
        anomaly(A, "orphan_vip", "a names the VIP left behind"),
        confirmed(A, "backup", "wire", "a is backup in truth, though its VIP is still set"),
        Promise::heard(A, ROUTER, &["primary", "backup"], "a's L3 agent heard primary, then backup"),
        Promise::heard(B, ROUTER, &["backup", "primary"], "b's L3 agent heard backup, then primary"),
    ];
    story.watch(stage, since, down + ADVERT * 2, promises)?;
    table(terminal, stage)
}

fn graceful(stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.step(
        "3  Failover in order: keepalived is started again on a, then stopped on b",
        "It resigns with a last advert, so the other node takes over in 0.8 s. An L3 agent hears contrary states of a\n\
         router no closer than 2 s, because it would swallow both.",
    );
    let since = Moment::now();
    stage.nodes[A].start(ROUTER)?;
    let site = stage.nodes[A].site(ROUTER)?.clone();
    story.watch(
        stage,
        since,
        SLACK,
        vec![Promise::event(
            A,
            "anomaly.cleared",
            json!({"kind": "orphan_vip"}),
            "the VIP left behind is gone with the new keepalived",
        )],
    )?;
    listening(&site.lab().node_folder("a")?.join(format!("vr{ROUTER}/keepalived.log")))?;
    let since = Moment::now();
    stage.nodes[B].keepalived(ROUTER)?.stop()?;
    let promises = vec![
        confirmed(A, "primary", "report+vip+wire", "a is confirmed primary again"),
        Promise::event(B, "transition.confirmed", json!({"state": "backup"}), "b is confirmed backup"),
        Promise::heard(A, ROUTER, &["primary", "backup", "primary"], "a's L3 agent heard it, in order"),
        Promise::heard(B, ROUTER, &["backup", "primary", "backup"], "b's L3 agent heard it, in order"),
    ];
    story.watch(stage, since, ADVERT * 2, promises)
}

fn spoofed(terminal: Terminal, stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.step(
        "4  Lies: someone on the node reports what is not true",
        "The same request that Neutron's monitor makes: `primary` to the backup, `backup` to the primary.",
    );
    let since = Moment::now();
    for (node, lie) in [(B, "primary"), (A, "backup")] {
        let node = &stage.nodes[node];
        let status = report::claim(&node.agent.socket(), node.id(ROUTER)?, lie)?;
        terminal.say(
            &terminal.paint(
                Look::Dim,
                &format!("  the agent of {} takes `{lie}` in with {status}, and judges it:", node.name),
            ),
        );
    }
    let refused = |node, claim: &str, text| Promise::event(node, "transition.rejected", json!({"claim": claim}), text);
    let promises = vec![
        refused(B, "primary", "the spoofed primary is refused, with the evidence"),
        refused(A, "backup", "the spoofed backup is refused, with the evidence"),
        Promise::heard(A, ROUTER, &["primary", "backup", "primary"], "a's L3 agent heard nothing of it"),
        Promise::heard(B, ROUTER, &["backup", "primary", "backup"], "b's L3 agent heard nothing of it"),
    ];
    story.watch(stage, since, ADVERT, promises)?;
    table(terminal, stage)
}

fn split_brain(terminal: Terminal, stage: &mut Stage, story: &mut Story) -> Result<()> {
    story.step(
        "5  Split brain: nftables drops router 12's adverts where they arrive on a",
        "Its keepalived there hears nothing, makes itself master and says so; b's goes on.",
    );
    let site = stage.nodes[A].site(OTHER)?.clone();
    let since = Moment::now();
    site.drop_vrrp("input")?;
    let down = stage.nodes[A].settings(OTHER)?.master_down();
    let promises = vec![
        anomaly(A, "split_brain", "a names the split brain"),
        anomaly(B, "split_brain", "b names the split brain"),
        Promise::event(
            A,
            "transition.rejected",
            json!({"claim": "primary", "reason": "better_competitor"}),
            "keepalived's own claim of primary on a is refused: b advertises with a higher priority",
        ),
        Promise::heard(A, OTHER, &["backup"], "a's L3 agent is not told of a second primary"),
        Promise::heard(B, OTHER, &["primary"], "b's L3 agent still has its primary"),
    ];
    story.watch(stage, since, down + ADVERT * 3, promises)?;
    table(terminal, stage)?;

    story.step("6  The rule is taken away", "");
    let since = Moment::now();
    site.pass_vrrp()?;
    let over = |node, text| Promise::event(node, "anomaly.cleared", json!({"kind": "split_brain"}), text);
    story.watch(stage, since, ADVERT * 3, vec![over(A, "it is over on a"), over(B, "it is over on b")])?;
    table(terminal, stage)
}

/// Named on a node.
fn anomaly(node: usize, kind: &str, text: &str) -> Promise {
    Promise::event(node, "anomaly.raised", json!({"kind": kind}), text)
}

/// Confirmed on a node by these channels.
fn confirmed(node: usize, state: &str, basis: &str, text: &str) -> Promise {
    Promise::event(node, "transition.confirmed", json!({"state": state, "basis": basis}), text)
}

fn table(terminal: Terminal, stage: &Stage) -> Result<()> {
    terminal.say("");
    terminal.table(&COLUMNS, &stage.rows()?);
    Ok(())
}

/// Waits until a keepalived that was started says that it is a backup.
fn listening(log: &std::path::Path) -> Result<()> {
    wait::until(SLACK, "keepalived listens", || {
        let text = std::fs::read_to_string(log).ok()?;
        // Of the second start: the file goes on from the first one.
        (text.matches("Entering BACKUP").count() >= 2).then_some(())
    })
}

/// Once interrupted everything falls over, because it is being removed. Who removes it ends this
/// program.
fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// On Ctrl-C everything is removed before this program ends.
fn clean_up_on_signals(terminal: Terminal, guardian: &Arc<Guardian>) -> Result<()> {
    let guardian = Arc::clone(guardian);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("handling signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            terminal.say(&terminal.paint(Look::Bad, "\ninterrupted: everything is removed"));
            guardian.clean_up();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
