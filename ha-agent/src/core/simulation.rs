//! A router on virtual time: a machine, the kernel side's memory of speakers, and what came out.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::evidence::Tx;
use super::io::{Input, Output as O, RejectReason, Transition};
use super::machine::Machine;
use super::model::{
    Advert, AnomalyKind as Kind, Basis, Channel, Frame, Link, Listener, Mac, Reason, Reporter, RouterId, Side,
    Standing, State, Vip,
};
use super::policy::Policy;
use super::time::Mono;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const ADV: Duration = Duration::from_secs(1);
pub(super) const US: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 1));
pub(super) const THEM: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 192, 2));
pub(super) const START: Mono = Mono(1_000_000_000_000);

/// A machine, a clock, the kernel side's memory of speakers, and what came out.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Mono,
    pub(super) speakers: Vec<Advert>,
    /// The newest frame that keepalived dropped.
    pub(super) rejected_at: Option<Mono>,
    /// What our keepalived finds wrong with every advert that arrives from now on.
    pub(super) refused: Option<Reason>,
    /// The kernel takes our own address from elsewhere: by IPv6, or with `accept_local`.
    pub(super) takes_own_address: bool,
    /// From where on the link layer they come.
    pub(super) mac: Option<Mac>,
    /// The socket that our adverts are sent by.
    pub(super) sender: u64,
    /// The VRRP version of every advert from now on.
    pub(super) version: u8,
    /// Whether our adverts were ever put off.
    pub(super) delayed: bool,
    /// Whether our adverts list the VIP.
    pub(super) lists_vip: Option<bool>,
    /// Who listens for adverts, when that is looked for.
    pub(super) listener: Option<Listener>,
    pub(super) out: Vec<(Duration, O)>,
}

impl Bench {
    pub(super) fn new(restored: Option<State>) -> Self {
        Self::with(restored, |_| {})
    }

    pub(super) fn with(restored: Option<State>, change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy {
            observe: false,
            settle: MS * 250,
            report_grace: None,
            heal_unreported: true,
            advert_interval: ADV,
            reporter_expected: false,
            stand_in: false,
        };
        change(&mut policy);
        let now = START;
        let restored = restored.map(|state| (state, Basis { report: false, vip: true, wire: true }));
        let id = RouterId(uuid::Uuid::from_u128(1));
        let machine = Machine::new(id, policy, restored, now);
        Self {
            machine,
            now,
            speakers: Vec::new(),
            rejected_at: None,
            refused: None,
            takes_own_address: false,
            mac: None,
            sender: 0,
            version: 2,
            delayed: false,
            lists_vip: None,
            listener: None,
            out: Vec::new(),
        }
    }

    pub(super) fn policy(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut policy = self.machine.policy();
        change(&mut policy);
        let mut out = Vec::new();
        self.machine.set_policy(policy, self.now, &mut out);
        self.take(out);
    }

    pub(super) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.machine.input(input, self.now, &mut out);
        self.take(out);
    }

    /// Answers readings at once and takes what follows after what came before, as the driver does.
    pub(super) fn take(&mut self, out: Vec<O>) {
        let mut outputs = VecDeque::from(out);
        while let Some(output) = outputs.pop_front() {
            if output == O::LookForListener {
                let mut more = Vec::new();
                self.machine.input(Input::Listener(self.listener), self.now, &mut more);
                outputs.extend(more);
            } else if output == O::ReadWire {
                let mut more = Vec::new();
                let input = self.reading();
                self.machine.input(input, self.now, &mut more);
                outputs.extend(more);
            } else {
                self.out.push((self.now.since(START), output));
            }
        }
        self.delayed |= self.machine.view(self.now).evidence.tx.state == Tx::Delayed;
    }

    pub(super) fn until(&mut self, at: Duration) {
        let end = START + at;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = due;
            let mut out = Vec::new();
            self.machine.expire(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    /// A frame, remembered and reported as the classifier does: only what is new is reported.
    pub(super) fn advert(&mut self, side: Side, priority: u8) {
        let source = if side == Side::Local { US } else { THEM };
        self.advert_from(side, source, priority, ADV, 7);
    }

    /// As [`Bench::advert`]. Content 7 and the configured interval are what our keepalived takes.
    pub(super) fn advert_from(&mut self, side: Side, source: IpAddr, priority: u8, interval: Duration, content: u64) {
        let refused = if side == Side::Local {
            None
        } else if source == US && !self.takes_own_address {
            Some(Reason::OwnSource)
        } else if self.refused.is_some() {
            self.refused
        } else if content != 7 {
            Some(Reason::Addresses)
        } else {
            (self.version == 2 && interval != self.machine.policy().advert_interval).then_some(Reason::Interval)
        };
        let (mac, ttl) = (self.mac.filter(|_| side == Side::Foreign), 255);
        if let Some(reason) = refused.filter(|reason| reason.standing() == Standing::Unheard) {
            let frame = Frame { side, source, mac, vlan: None, reason, priority, ttl, at: self.now };
            return self.input(Input::InvalidFrame(frame));
        }
        if refused.is_some() {
            self.rejected_at = Some(self.now);
        }
        let same = |a: &Advert| a.side == side && a.source == source && a.mac == mac;
        // One that keepalived rejects ends nobody's run but that of another rejected one.
        let resigns = |a: &Advert| same(a) && a.priority == 0 && a.refused.is_none() == refused.is_none();
        let resigned = self.speakers.iter().filter(|a| resigns(a)).map(|a| a.at).max();
        let known = self.speakers.iter().position(|a| {
            same(a) && (a.refused, a.content, a.priority, a.interval) == (refused, content, priority, interval)
        });
        let before = known.map(|index| self.speakers[index].clone()).filter(|before| {
            priority > 0
                && resigned.is_none_or(|at| at < before.run_since)
                && self.now.since(before.at) < interval + interval / 2
        });
        let goes_on = before.is_some();
        let advert = Advert {
            side,
            refused,
            source,
            mac,
            vlan: None,
            sender: if side == Side::Local { self.sender } else { 0 },
            content,
            priority,
            interval,
            version: self.version,
            vip_count: 1,
            ttl,
            run_since: before.as_ref().map_or(self.now, |b| b.run_since),
            at: self.now,
            run_adverts: before.as_ref().map_or(1, |b| b.run_adverts + 1),
        };
        match known {
            Some(index) => self.speakers[index] = advert.clone(),
            None => self.speakers.push(advert.clone()),
        }
        if !goes_on {
            self.input(Input::Advert(advert));
        }
    }

    /// What the kernel side remembers now.
    pub(super) fn reading(&self) -> Input {
        let (speakers, rejected_at, lists_vip) = (self.speakers.clone(), self.rejected_at, self.lists_vip);
        Input::WireRead { speakers, rejected_at, lists_vip, as_of: self.now }
    }

    /// Adverts every interval from now to `end`, in step with timers.
    pub(super) fn advertise(&mut self, sides: &[Side], priority: u8, end: Duration) {
        let mut at = self.now.since(START);
        while at <= end {
            self.until(at);
            for side in sides {
                self.advert(*side, priority);
            }
            at += ADV;
        }
        self.until(end);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now.since(START)
    }

    pub(super) fn report(&mut self, state: State) {
        self.input(Input::Report { state, reporter: Reporter::Fifo });
    }

    /// A backup that hears a master until `end`.
    pub(super) fn settled_backup(end: Duration) -> Self {
        let mut bench = Self::new(None);
        bench.start(Vip::Absent);
        bench.advertise(&[Side::Foreign], 50, end);
        assert_eq!(bench.delivered(), [State::Backup], "{:?}", bench.out);
        bench
    }

    /// A primary that advertises until `end`.
    pub(super) fn settled_primary(end: Duration) -> Self {
        let mut bench = Self::new(None);
        bench.start(Vip::Present);
        bench.advertise(&[Side::Local], 50, end);
        assert_eq!(bench.delivered(), [State::Primary], "{:?}", bench.out);
        bench
    }

    pub(super) fn start(&mut self, vip: Vip) {
        self.input(Input::Channel { channel: Channel::Wire, up: true });
        self.input(Input::Link(Link::Up));
        self.input(Input::Vip(vip));
    }

    pub(super) fn delivered(&self) -> Vec<State> {
        self.out
            .iter()
            .filter_map(|(_, o)| if let O::Deliver { state, .. } = o { Some(*state) } else { None })
            .collect()
    }

    pub(super) fn raised(&self) -> Vec<Kind> {
        let raised = |o: &O| {
            if let O::AnomalyRaised { kind, .. } = o { Some(*kind) } else { None }
        };
        self.out.iter().filter_map(|(_, o)| raised(o)).collect()
    }

    pub(super) fn cleared(&self) -> Vec<Kind> {
        let cleared = |o: &O| {
            if let O::AnomalyCleared { kind, .. } = o { Some(*kind) } else { None }
        };
        self.out.iter().filter_map(|(_, o)| cleared(o)).collect()
    }

    pub(super) fn rejected(&self) -> Vec<(State, RejectReason)> {
        let rejected = |o: &O| {
            if let O::Rejected { claim, reason, .. } = o { Some((*claim, *reason)) } else { None }
        };
        self.out.iter().filter_map(|(_, o)| rejected(o)).collect()
    }

    pub(super) fn superseded(&self) -> usize {
        self.out.iter().filter(|(_, o)| matches!(o, O::Superseded { .. })).count()
    }

    pub(super) fn last_confirmed(&self) -> (Duration, &Transition) {
        let confirmed = |(at, o): &'_ (Duration, O)| matches!(o, O::Confirmed(_)).then_some(*at);
        let at = self.out.iter().rev().find_map(confirmed).expect("something was confirmed");
        let transition = self.out.iter().rev().find_map(|(_, o)| if let O::Confirmed(t) = o { Some(t) } else { None });
        (at, transition.expect("something was confirmed"))
    }
}
