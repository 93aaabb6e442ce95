//! What must hold whatever happens, in whatever order: the one list of it, for the property tests and
//! for the fuzz target. Each check plays the operations from the start.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::evidence::Tx;
use super::io::{Input, Output, Transition};
use super::model::{AnomalyKind, Channel, Frame, Link, Reason, Reporter, Side, State, Vip};
use super::policy::fits;
use super::simulation::{ADV, Bench, MS};

/// Something that happens to a router.
#[derive(Clone, Debug)]
pub enum Op {
    /// Milliseconds pass.
    Wait(u16),
    /// The address table.
    Vip(Vip),
    /// The HA interface.
    Link(Link),
    /// An advert of ours, or of the one peer, with a priority.
    Advert(Side, u8),
    /// A claim by the FIFO.
    Report(State),
    /// A claim over the socket.
    Claim(State),
    /// The wire has a vote, or none.
    Wire(bool),
    /// The address table has a vote, or none.
    Table(bool),
    /// The L3 agent's server has another view.
    Check(State),
    /// A reading of the wire that nobody asked for.
    Reading,
    /// A frame that keepalived never hears.
    Invalid,
    /// An advert that keepalived reads and drops.
    Refused {
        /// Last byte of its address.
        last: u8,
        /// Why.
        reason: Reason,
        /// Its priority.
        priority: u8,
        /// Its interval, centiseconds.
        interval_cs: u16,
    },
    /// An advert of someone of the network, with what it likes.
    Stranger {
        /// Last byte of its address.
        last: u8,
        /// Its priority.
        priority: u8,
        /// Its interval, centiseconds.
        interval_cs: u16,
        /// Stands for the addresses that it lists.
        content: u64,
    },
}

/// How the router begins.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What the outbox knew.
    pub restored: Option<State>,
    /// Whether a reporter is known to exist.
    pub expected: bool,
    /// Reports are passed on, confirmed or not.
    pub observe: bool,
    /// Unreported changes are passed on.
    pub heal: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self { restored: None, expected: true, observe: false, heal: true }
    }
}

/// All checks that hold for any operations.
///
/// # Errors
/// The first that does not hold, in words.
pub fn always(ops: &[Op], setting: Setting) -> Result<(), String> {
    let mut bench = play(ops, setting);
    primary_needs_vip_and_wire(&bench)?;
    outputs_follow_each_other(&bench, setting)?;
    same_again(&bench, ops, setting)?;
    deadlines_lie_ahead(&mut bench)
}

/// `primary` is confirmed only where VIP and wire both say so, while both vote.
pub(super) fn primary_needs_vip_and_wire(bench: &Bench) -> Result<(), String> {
    for (at, output) in &bench.out {
        if let Output::Confirmed(transition) = output
            && transition.state == State::Primary
            && transition.evidence.channels_down.is_empty()
        {
            let evidence = &transition.evidence;
            let both = evidence.vip == Vip::Present && evidence.tx.state == Tx::Transmitting;
            ensure(both && transition.basis.vip && transition.basis.wire, || {
                format!("primary confirmed at {at:?} on {:?}: {evidence:?}", transition.basis)
            })?;
        }
    }
    Ok(())
}

/// Each transition and each delivery begins where the one before ended; an anomaly is raised once
/// and cleared once.
pub(super) fn outputs_follow_each_other(bench: &Bench, setting: Setting) -> Result<(), String> {
    let (mut confirmed, mut delivered, mut first) = (setting.restored, None, true);
    let (mut present, mut diverged) = (BTreeSet::new(), None);
    for (at, output) in &bench.out {
        match output {
            Output::Confirmed(transition) => {
                // The first verdict of a run may confirm what was restored.
                let news = Some(transition.state) != confirmed || first;
                ensure(transition.previous == confirmed && news, || {
                    format!("at {at:?} confirmed {transition:?} after {confirmed:?}")
                })?;
                first = false;
                confirmed = Some(transition.state);
            }
            Output::Deliver { state, .. } => {
                ensure(setting.observe || Some(*state) == confirmed, || {
                    format!("at {at:?} delivered {state}, confirmed is {confirmed:?}")
                })?;
                delivered = Some(*state);
            }
            Output::AnomalyRaised { kind, .. } => {
                ensure(present.insert(*kind), || format!("at {at:?} {} was raised twice", kind.as_str()))?;
            }
            Output::AnomalyCleared { kind, .. } => {
                ensure(present.remove(kind), || format!("at {at:?} {} was cleared unraised", kind.as_str()))?;
            }
            Output::Diverged(difference) => {
                ensure(setting.observe && *difference != diverged, || {
                    format!("at {at:?} told {difference:?} after {diverged:?}")
                })?;
                diverged = *difference;
            }
            Output::Rejected { .. } | Output::Superseded { .. } | Output::ReadWire | Output::LookForListener => {}
        }
    }
    let view = bench.machine.view(bench.now);
    let named: BTreeSet<_> = view.anomalies.iter().map(|(kind, _)| *kind).collect();
    ensure(named == present, || format!("anomalies shown {named:?}, told {present:?}"))?;
    let known = view.confirmed.map(|(state, ..)| state);
    ensure(known == confirmed, || format!("shown {known:?}, confirmed {confirmed:?}"))?;
    ensure(setting.observe || delivered.is_none() || delivered == confirmed, || {
        format!("delivered {delivered:?}, confirmed {confirmed:?}")
    })
}

/// The same inputs give the same outputs.
pub(super) fn same_again(bench: &Bench, ops: &[Op], setting: Setting) -> Result<(), String> {
    let again = play(ops, setting);
    ensure(bench.out == again.out, || "other outputs the second time".to_owned())?;
    ensure(bench.machine.deadline() == again.machine.deadline(), || "another deadline the second time".to_owned())
}

/// Frames that are refused or never heard change nothing that is confirmed, rejected, superseded or
/// delivered, nor when; and of the anomalies only those that name them. All that the rejected ones do is
/// to explain a silence: where none was `delayed`, a run in which there never were any is the same.
///
/// # Errors
/// The first verdict that differs.
pub fn refused_frames_move_nothing(ops: &[Op], setting: Setting) -> Result<(), String> {
    let (told, untold) = (play(ops, setting), play_as(ops, setting, Telling::ThatSomeWere));
    same_verdicts("their times alone", &told, &untold)?;
    if told.delayed { Ok(()) } else { same_verdicts("nothing", &told, &play_as(ops, setting, Telling::NothingOfThem)) }
}

fn same_verdicts(less: &str, with: &Bench, without: &Bench) -> Result<(), String> {
    let (with, without) = (verdicts(with), verdicts(without));
    let differs = with.iter().zip(&without).find(|(a, b)| a != b);
    ensure(differs.is_none(), || format!("told of refused frames, and of {less}: {differs:?}"))?;
    ensure(with.len() == without.len(), || {
        format!("told of refused frames {} verdicts, of {less} {}", with.len(), without.len())
    })
}

/// What a run decided, less the evidence, which shows whom it heard.
fn verdicts(bench: &Bench) -> Vec<(Duration, String)> {
    let named = [AnomalyKind::ForgedAdvert, AnomalyKind::ForeignMaster, AnomalyKind::AdvertIntervalMismatch];
    let word = |output: &Output| match output {
        Output::Confirmed(Transition { state, previous, basis, latency, .. }) => {
            Some(format!("confirmed {state} after {previous:?} by {basis} in {latency:?}"))
        }
        Output::Rejected { claim, reason, .. } => Some(format!("rejected {claim}: {}", reason.as_str())),
        Output::AnomalyRaised { kind, .. } if !named.contains(kind) => Some(format!("raised {}", kind.as_str())),
        Output::AnomalyCleared { kind, .. } if !named.contains(kind) => Some(format!("cleared {}", kind.as_str())),
        Output::Superseded { .. } | Output::Deliver { .. } => Some(format!("{output:?}")),
        _ => None,
    };
    bench.out.iter().filter_map(|(at, output)| Some((*at, word(output)?))).collect()
}

/// Without inputs the machine wakes rarely, and never for a time that is over.
pub(super) fn deadlines_lie_ahead(bench: &mut Bench) -> Result<(), String> {
    let mut wakes = 0;
    let end = bench.now + ADV * 30;
    while let Some(due) = bench.machine.deadline().filter(|due| *due <= end) {
        ensure(due > bench.now || wakes == 0, || format!("due {due} at {}", bench.now))?;
        let until = bench.elapsed() + due.since(bench.now).max(MS);
        bench.until(until);
        wakes += 1;
        ensure(wakes < 400, || format!("{wakes} wake-ups without an input"))?;
    }
    Ok(())
}

/// After any operations but [`Op::Stranger`]: when inputs stop but for a keepalived that goes on doing
/// its job in one role, the confirmed state becomes that role, and the L3 agent has heard it.
///
/// # Errors
/// What came instead.
pub fn converges(ops: &[Op], setting: Setting, wire: bool, primary: bool) -> Result<(), String> {
    let mut bench = play(ops, setting);
    bench.input(Input::Link(Link::Up));
    bench.input(Input::Channel { channel: Channel::Vip, up: true });
    bench.input(Input::Channel { channel: Channel::Wire, up: wire });
    bench.speakers.clear();
    bench.input(Input::Vip(if primary { Vip::Present } else { Vip::Absent }));
    let end = bench.elapsed() + ADV * 12;
    bench.advertise(&[if primary { Side::Local } else { Side::Foreign }], 50, end);
    let view = bench.machine.view(bench.now);
    let role = if primary { State::Primary } else { State::Backup };
    ensure(view.seen == Some(role), || format!("seen {:?}, the role is {role}", view.seen))?;
    let confirmed = view.confirmed.map(|(state, ..)| state);
    ensure(confirmed.is_some_and(|state| fits(state, role)), || format!("confirmed {confirmed:?}, seen {role}"))?;
    // A restored state was delivered in the life before.
    let heard = bench.delivered().last().copied().or(setting.restored);
    ensure(heard == confirmed, || format!("delivered {heard:?}, confirmed {confirmed:?}"))
}

/// What is told of frames that are refused or never heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Everything,
    /// Only when the newest was that keepalived dropped.
    ThatSomeWere,
    NothingOfThem,
}

/// Plays the operations on a router that starts as a backup without VIP.
pub(super) fn play(ops: &[Op], setting: Setting) -> Bench {
    play_as(ops, setting, Telling::Everything)
}

fn play_as(ops: &[Op], setting: Setting, telling: Telling) -> Bench {
    let mut bench = Bench::with(setting.restored, |policy| {
        policy.reporter_expected = setting.expected;
        policy.observe = setting.observe;
        policy.heal_unreported = setting.heal;
    });
    bench.start(Vip::Absent);
    for op in ops {
        match op {
            Op::Wait(ms) => {
                let until = bench.elapsed() + Duration::from_millis((*ms).into());
                bench.until(until);
            }
            Op::Vip(vip) => bench.input(Input::Vip(*vip)),
            Op::Link(link) => bench.input(Input::Link(*link)),
            Op::Advert(side, priority) => bench.advert(*side, *priority),
            Op::Report(state) => bench.report(*state),
            Op::Claim(state) => {
                bench.input(Input::Report { state: *state, reporter: Reporter::socket(0, 0, 1) });
            }
            Op::Wire(up) => {
                bench.speakers.clear();
                bench.input(Input::Channel { channel: Channel::Wire, up: *up });
            }
            Op::Table(up) => bench.input(Input::Channel { channel: Channel::Vip, up: *up }),
            Op::Check(state) => bench.input(Input::Check { seen_by_server: *state }),
            Op::Reading => {
                let reading = bench.reading();
                bench.input(reading);
            }
            Op::Invalid if telling != Telling::Everything => {}
            Op::Refused { .. } if telling == Telling::ThatSomeWere => bench.rejected_at = Some(bench.now),
            Op::Refused { .. } if telling == Telling::NothingOfThem => {}
            Op::Refused { last, reason, priority, interval_cs } => {
                bench.refused = Some(*reason);
                let interval = Duration::from_millis(u64::from(*interval_cs) * 10);
                bench.advert_from(Side::Foreign, of_network(*last), *priority, interval, 7);
                bench.refused = None;
            }
            Op::Invalid => bench.input(Input::InvalidFrame(Frame {
                side: Side::Foreign,
                source: of_network(66),
                mac: None,
                vlan: None,
                reason: Reason::OtherHost,
                priority: 255,
                ttl: 255,
                at: bench.now,
            })),
            // Its address is ours: never heard. Or not taken, because of what it lists or of its interval.
            Op::Stranger { last: 1, .. } if telling != Telling::Everything => {}
            Op::Stranger { interval_cs, content, .. }
                if telling != Telling::Everything && (*content, *interval_cs) != (7, 100) =>
            {
                if telling == Telling::ThatSomeWere {
                    bench.rejected_at = Some(bench.now);
                }
            }
            Op::Stranger { last, priority, interval_cs, content } => bench.advert_from(
                Side::Foreign,
                of_network(*last),
                *priority,
                Duration::from_millis(u64::from(*interval_cs) * 10),
                *content,
            ),
        }
    }
    bench
}

fn of_network(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(169, 254, 192, last))
}

fn ensure(holds: bool, else_say: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_say()) }
}
