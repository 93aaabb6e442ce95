use governor::clock::FakeRelativeClock;
use uuid::Uuid;

use super::*;
use crate::core::model::{AnomalyKind, Basis, Reporter, State};

fn id(number: u128) -> RouterId {
    RouterId(Uuid::from_u128(number))
}

fn report(number: u128) -> Event {
    Event::ReportReceived { router_id: id(number), state: State::Backup, reporter: Reporter::Fifo }
}

fn cleared(number: u128) -> Event {
    Event::AnomalyCleared { router_id: id(number), kind: AnomalyKind::Flapping, lasted_ms: 1.0 }
}

fn forgotten(number: u128) -> Event {
    Event::RouterForgotten { router_id: id(number), reason: String::new() }
}

fn watched(number: u128) -> Event {
    Event::RouterWatched {
        router_id: id(number),
        source: String::new(),
        netns: String::new(),
        interface: String::new(),
        vip: String::new(),
        vrid: 1,
        instance: None,
    }
}

struct Rig {
    clock: FakeRelativeClock,
    limiter: Limiter<FakeRelativeClock>,
}

impl Rig {
    fn new() -> Self {
        let clock = FakeRelativeClock::default();
        Self { limiter: Limiter::with(clock.clone()), clock }
    }

    fn admitted(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        events.into_iter().filter(|event| self.limiter.admits(event)).count()
    }

    /// What comes due in so many seconds.
    fn passes(&mut self, seconds: u32) -> Vec<Event> {
        let mut due = Vec::new();
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            due.extend(self.limiter.due());
        }
        due
    }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(Event::name).collect()
}

#[test]
fn one_who_reports_900_times_a_second_is_written_once_a_second_and_counted() {
    let mut rig = Rig::new();
    let (mut written, mut told) = (0, Vec::new());
    for _ in 0..60 {
        written += rig.admitted((0..900).map(|_| report(1)));
        told.extend(rig.passes(1));
    }
    assert_eq!(written, 60 + 59);
    assert_eq!(told.len(), 6, "{told:?}");
    let Event::ChannelDegraded { channel, reason, .. } = &told[0] else { panic!("{told:?}") };
    assert_eq!(channel, "events");
    assert!(
        reason.starts_with(&format!("left out: 840 report.received (840 of them of router {})", id(1))),
        "{reason}"
    );
    // Another router's are not touched, and it is over in the end.
    assert_eq!(rig.admitted([report(2)]), 1);
    rig.admitted((0..10).map(|_| report(1)));
    assert_eq!(names(&rig.limiter.finish()), ["channel.degraded"], "at the end of the agent");
    assert_eq!(names(&rig.passes(30)), ["channel.restored"]);
    assert_eq!(rig.admitted((0..10).map(|_| report(1))), 10);
}

#[test]
fn whoever_reports_for_a_thousand_routers_is_limited_as_a_whole() {
    let mut rig = Rig::new();
    let round = || (0..1000).map(report);
    assert_eq!(rig.admitted(round().chain(round()).chain(round())), 3000, "a failover of the whole node");
    let mut written = 0;
    for _ in 0..60 {
        written += rig.admitted(round());
        rig.passes(1);
    }
    assert!((1096 + 59 * 50..=1096 + 60 * 50).contains(&written), "{written}");
}

#[test]
fn what_decides_or_delivers_is_never_left_out() {
    let mut rig = Rig::new();
    let evidence = crate::admin::fixture::evidence();
    let events = [
        Event::TransitionConfirmed {
            router_id: id(1),
            state: State::Primary,
            previous: None,
            basis: Basis::default(),
            latency_ms: 0.0,
            evidence: evidence.clone(),
        },
        Event::TransitionRejected {
            router_id: id(1),
            claim: State::Primary,
            reporter: Reporter::Fifo,
            reason: crate::core::io::RejectReason::Contradicted,
            passed_on: false,
            evidence,
        },
        Event::DeliverySent { batch: 1, count: 0, attempt: 1, states: Vec::new() },
        Event::DeliveryFailed { batch: 1, count: 0, attempt: 1, reason: String::new(), retry_in_ms: None },
        Event::DeliveryRecovered { reason: String::new(), count: 1 },
        Event::ReportRefused { router_id: None, status: 403, reason: String::new(), reporter: None, count: None },
    ];
    for event in events {
        assert_eq!(rig.admitted((0..10_000).map(|_| event.clone())), 10_000, "{event:?}");
    }
    assert_eq!(rig.passes(20), []);
}

#[test]
fn the_last_word_of_what_begins_and_ends_is_written() {
    let mut rig = Rig::new();
    // It ends watched, and the last word written was another.
    let written = rig.admitted((0..101).map(|n| if n % 2 == 0 { watched(1) } else { forgotten(1) }));
    assert_eq!(written, 60);
    let due = rig.passes(3);
    assert_eq!(due.iter().filter(|event| **event == watched(1)).count(), 1, "{due:?}");
    assert_eq!(names(&due).iter().filter(|name| **name == "router.forgotten").count(), 0, "{due:?}");
    // It ends as it was written last: nothing is owed.
    let mut rig = Rig::new();
    assert_eq!(rig.admitted((0..100).map(|n| if n % 2 == 0 { watched(1) } else { forgotten(1) })), 60);
    assert_eq!(names(&rig.passes(3)), ["channel.degraded"]);
    // Others of the same router go on.
    assert_eq!(rig.admitted([cleared(1)]), 1);
}
