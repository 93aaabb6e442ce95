//! `explain`: a router's state, and why, in words.

use std::fmt::Write;

use jiff::Timestamp;

use super::status::note;
use super::terminal::{Cell, Terminal, Tone};
use super::time::{ago, clock, millis, moment};
use crate::core::evidence::{AddressEvidence, Evidence, Tx};
use crate::core::model::{AnomalyKind, Channel, Link, Listener, State, Vip};
use crate::status::{RouterDetail, RouterStatus};
use crate::telemetry::summary::{summary, teller};

pub(super) fn render(detail: &RouterDetail, terminal: &Terminal, now: Timestamp) -> String {
    let router = &detail.status;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {}",
        terminal.paint("Router", Tone::Quiet),
        terminal.paint(&router.router_id.to_string(), Tone::Strong)
    );
    let _ = writeln!(
        out,
        "{} on {} in namespace {}, VRID {}, {}known from {}{}",
        router.vip_address,
        router.interface,
        router.netns,
        router.vrid,
        router.instance.as_ref().map(|name| format!("instance {name}, ")).unwrap_or_default(),
        router.source,
        if router.registered && router.source == "config" { ", registered" } else { "" }
    );
    let _ = writeln!(out, "\n{}", verdict(router, terminal, now));
    if let Some(claim) = claim(router) {
        let _ = writeln!(out, "{claim}");
    }
    let _ = writeln!(out, "{}", delivered(router));
    let _ = writeln!(out, "\n{}", terminal.paint("What is seen now", Tone::Strong));
    for (channel, words) in seen(router, &detail.evidence) {
        let _ = writeln!(out, "  {} {words}", terminal.paint(&format!("{channel:<7}"), Tone::Quiet));
    }
    if !router.anomalies.is_empty() || !router.degraded.is_empty() {
        let _ = writeln!(out, "\n{}", terminal.paint("What is wrong", Tone::Strong));
        for kind in &router.anomalies {
            let (meaning, check) = meaning(*kind);
            let _ = writeln!(out, "  {}: {meaning}", terminal.paint(kind.as_str(), Tone::Bad));
            for now in detail.details.iter().filter(|detail| detail.kind == *kind) {
                let _ = writeln!(out, "    Now: {}", now.detail);
            }
            let _ = writeln!(out, "    Check: {check}");
        }
        for degraded in &router.degraded {
            let _ = write!(out, "  {}", note(terminal, &degraded.channel, &degraded.reason));
        }
    }
    if !detail.recent.is_empty() {
        out.push('\n');
        let rows: Vec<Vec<Cell>> = detail
            .recent
            .iter()
            .map(|line| {
                let mut words = summary(&line.event);
                if !terminal.utf8 {
                    words = words.replace('→', "->");
                }
                vec![
                    Cell::new(clock(&line.ts), Tone::Quiet),
                    Cell::new(line.event.name(), Tone::Plain),
                    Cell::new(words, Tone::Plain),
                ]
            })
            .collect();
        out.push_str(&terminal.table(&["TIME (UTC)", "EVENT", "WHAT HAPPENED"], &rows));
    }
    out
}

/// The confirmed state, since when, and what bore it out then.
fn verdict(router: &RouterStatus, terminal: &Terminal, now: Timestamp) -> String {
    let Some(state) = router.confirmed else {
        return "No state is confirmed yet: the channels have not agreed since the agent started.".to_owned();
    };
    let painted = terminal.paint(state.as_str(), super::status::tone(state));
    let since = match &router.since {
        Some(since) => format!(" since {} ({})", moment(since), ago(since, now)),
        None => String::new(),
    };
    let mut reasons = Vec::new();
    if let Some(basis) = router.basis {
        if basis.report {
            reasons.push(format!("keepalived's side reported {state}"));
        }
        if basis.vip {
            reasons.push(match state {
                State::Primary => format!("the VIP {} was set", router.vip_address),
                State::Fault => format!("{} was down or gone", router.interface),
                _ => format!("the VIP {} was not set", router.vip_address),
            });
        }
        if basis.wire {
            reasons.push(match state {
                State::Primary => format!("adverts left on {}", router.interface),
                _ => format!("no valid adverts of ours held the VRID on {}", router.interface),
            });
        }
    }
    match list(&reasons) {
        Some(reasons) => format!("Confirmed {painted}{since} because {reasons}."),
        None => format!("Confirmed {painted}{since}."),
    }
}

fn claim(router: &RouterStatus) -> Option<String> {
    let claimed = router.claimed?;
    let what = if router.observed {
        "it was passed on all the same, since the mode is observe. With enforce it would have been refused"
    } else {
        "so the L3 agent is not told"
    };
    (router.confirmed != Some(claimed))
        .then(|| format!("The last claim was {claimed}. It is not what is confirmed, {what}."))
}

fn delivered(router: &RouterStatus) -> String {
    match (router.delivered, router.confirmed) {
        (Some(delivered), Some(confirmed)) if delivered == confirmed => {
            format!("The L3 agent acknowledged {delivered}.")
        }
        (Some(delivered), Some(confirmed)) => {
            format!("The L3 agent acknowledged {delivered} last; {confirmed} is not acknowledged yet.")
        }
        (Some(delivered), None) => format!("The L3 agent acknowledged {delivered} last."),
        // A plain keepalived's router beside a L3 agent, or `observe` before the first report.
        (None, Some(_)) if router.sequence == 0 => "Nothing of it was handed over for delivery.".to_owned(),
        (None, Some(confirmed)) => {
            format!("The L3 agent has not acknowledged any state; {confirmed} waits for it.")
        }
        (None, None) => "The L3 agent was told nothing yet.".to_owned(),
    }
}

fn seen(router: &RouterStatus, evidence: &Evidence) -> Vec<(&'static str, String)> {
    let down = |channel| evidence.channels_down.contains(&channel);
    let with_vote = |channel, words: String| {
        if down(channel) { format!("has no vote now: the channel is down (last known: {words})") } else { words }
    };
    let report = match &evidence.report {
        Some(report) => {
            format!("{} reported {} ago by {}", report.state, millis(report.age_ms), teller(&report.reporter))
        }
        None => "nothing was reported".to_owned(),
    };
    let vip = match evidence.vip {
        Vip::Present => format!("{} is set", router.vip_address),
        Vip::Absent => format!("{} is not set", router.vip_address),
        Vip::Unknown => "the address table was not read yet".to_owned(),
    };
    let further = evidence.further.map(|AddressEvidence { of, set }| {
        let noun = if of == 1 { "further address" } else { "further addresses" };
        format!("{set} of {of} {noun} {} set", if set == 1 { "is" } else { "are" })
    });
    let link = match evidence.link {
        Link::Up => format!("{} is up", router.interface),
        Link::Down => format!("{} is down or without carrier", router.interface),
        Link::Gone => format!("{} does not exist", router.interface),
        Link::Unknown => format!("{} was not read yet", router.interface),
    };
    let priority = evidence.tx.priority.map_or(String::new(), |priority| format!(" of priority {priority}"));
    let last = evidence.tx.age_ms.map_or(String::new(), |age| format!("; the last one {} ago", millis(age)));
    let wire = match evidence.tx.state {
        Tx::Transmitting => format!("our adverts{priority} leave{last}"),
        Tx::Resigned => format!("we resigned with an advert of priority 0{last}"),
        Tx::Yielded => format!("our adverts{priority} ended after a better one came{last}"),
        Tx::Delayed => format!("our adverts{priority} are put off by frames that keepalived rejects{last}"),
        Tx::Silent => format!("no adverts of ours leave{last}"),
        Tx::Unknown => "not observed long enough to say".to_owned(),
    };
    let mut rows = vec![("report", with_vote(Channel::Report, report)), ("vip", with_vote(Channel::Vip, vip))];
    rows.extend(further.map(|words| ("", words)));
    rows.extend([("link", link), ("wire", with_vote(Channel::Wire, wire))]);
    if let Some(listener) = evidence.listener {
        let words = match listener {
            Listener::Reading => "keepalived listens here and reads what comes",
            Listener::Stalled => "keepalived is frozen: the adverts that come pile up unread",
            Listener::Gone => "nobody listens for adverts here: keepalived is dead, or was never started",
            Listener::Resigned => "nobody listens for adverts here: keepalived resigned and ended",
        };
        rows.push(("", words.to_owned()));
    }
    let holds = evidence.vip == Vip::Present || evidence.tx.state == Tx::Transmitting;
    if let Some(foreign) = &evidence.foreign {
        rows.push((
            "",
            format!(
                "{} {}: priority {}, every {}, the last advert {} ago",
                foreign.address,
                if holds { "is master too" } else { "is the master" },
                foreign.priority,
                millis(foreign.interval_ms),
                millis(foreign.age_ms)
            ),
        ));
    } else if !down(Channel::Wire) && evidence.tx.state != Tx::Unknown {
        rows.push(("", "no other master is heard".to_owned()));
    }
    rows
}

/// What an anomaly means, and what to look at.
fn meaning(kind: AnomalyKind) -> (&'static str, &'static str) {
    match kind {
        AnomalyKind::SplitBrain => (
            "this node and another one advertise at the same time, so both answer for the VIP.",
            "whether adverts (IP protocol 112) pass between the nodes both ways: firewall, security groups, tunnel or VLAN of the HA network.",
        ),
        AnomalyKind::SilentPrimary => (
            "the VIP is set here but no adverts leave; the other nodes will take over.",
            "whether keepalived runs and is not stopped or frozen, and whether an output rule drops IP protocol 112.",
        ),
        AnomalyKind::OrphanVip => (
            "the VIP is still set here while another node is master, or another virtual address is: traffic may reach the wrong node.",
            "whether keepalived was killed without cleaning up; starting it again, or removing the address by hand, ends it.",
        ),
        AnomalyKind::MissingVip => (
            "adverts leave but the VIP is not set, or another virtual address: this node is master and does not answer for it.",
            "who removed the address; reloading or restarting keepalived sets it again.",
        ),
        AnomalyKind::ForgedAdvert => (
            "a frame came that keepalived rejects, or that no honest speaker sends (TTL, checksum, length or sender).",
            "who sends on the HA network: `ha-agent events --router ROUTER` names the address.",
        ),
        AnomalyKind::ForeignMaster => (
            "someone else uses this VRID with other addresses, another version or other authentication.",
            "for a second group with the same VRID on the HA network, or a keepalived with an old configuration.",
        ),
        AnomalyKind::AdvertIntervalMismatch => (
            "the other master's adverts carry another interval; VRRPv2 then drops them, and both stay master.",
            "advert_int in keepalived.conf on all nodes (Neutron: ha_vrrp_advert_int).",
        ),
        AnomalyKind::NoPrimary => (
            "nobody advertises, and nobody here holds the VIP: the router does not work anywhere.",
            "whether keepalived runs on the nodes of this router, and whether the HA network carries adverts.",
        ),
        AnomalyKind::KeepalivedDown => (
            "this node is backup, but keepalived does not listen for adverts here: it would not take over, so the router has no redundancy.",
            "whether keepalived runs in this namespace (`ip netns exec NAMESPACE cat /proc/net/raw` shows its socket, protocol 0070), and its log.",
        ),
        AnomalyKind::Flapping => {
            ("the role changes too often.", "for lost adverts, a busy node, or a track script that fails now and then.")
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn list(items: &[String]) -> Option<String> {
    let (last, others) = items.split_last()?;
    Some(if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) })
}
