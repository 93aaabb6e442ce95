mod fake;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::config::Protocol;
use crate::core::model::Basis;
use crate::outbox::Confirmed;
use crate::telemetry::event::Event;
use fake::{Fake, Manner, header};

/// An agent's outbox and delivery.
struct Node {
    outbox: Outbox,
    delivery: Delivery,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Node {
    fn start(dir: &Path, config: &config::Delivery) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let emit: Emit = Arc::new(move |event| sink.lock().unwrap().push(event));
        let mut registry = Registry::default();
        let (outbox, entries) = Outbox::open_with(dir, Arc::clone(&emit), &mut registry);
        let delivery = Delivery::start_with(
            (config, vec![dir.join("own")]),
            (29, "net-1".to_owned()),
            outbox.clone(),
            entries,
            (emit, Metrics::register(&mut registry)),
            CancellationToken::new(),
        );
        Self { outbox, delivery, events }
    }

    fn put(&self, n: u128, state: State) {
        self.outbox.put(&[confirmed(n, state)]);
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.events.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_delivered(&self) {
        self.until("delivered", |node| node.outbox.snapshot().iter().all(|(_, standing)| !standing.pending)).await;
    }

    fn saw(&self, test: impl Fn(&Event) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(test)
    }

    async fn stop(self) {
        self.delivery.stop().await;
        self.outbox.stop().await;
    }
}

fn id(n: u128) -> RouterId {
    RouterId(Uuid::from_u128(n))
}

fn confirmed(n: u128, state: State) -> Confirmed {
    Confirmed { router: id(n), state, previous: None, basis: Basis::default(), confirmed_at_us: 1_767_323_045_678_901 }
}

fn config(dir: &TempDir, protocol: Protocol) -> config::Delivery {
    config::Delivery {
        protocol,
        socket: dir.path().join("keepalived-state-change"),
        batch_interval: Duration::from_millis(20),
        l3_agent_hold: Duration::ZERO,
        max_in_flight: 4,
        retry_max: Duration::from_secs(30),
        reassert_interval: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_take_a_state() {
    for manner in [Manner::New, Manner::Old] {
        let dir = TempDir::new().unwrap();
        let config = config(&dir, Protocol::Neutron);
        let fake = Fake::listen(&config.socket, 5, manner);
        let node = Node::start(dir.path(), &config);
        node.put(1, State::Primary);
        node.until_delivered().await;
        assert_eq!(header(&fake.next().await, "x-neutron-state"), "primary");
        assert_eq!(node.delivery.delivered(id(1)).unwrap().0, State::Primary);
        node.until("sent", |node| node.saw(|event| matches!(event, Event::DeliverySent { count: 1, attempt: 1, .. })))
            .await;
        assert!(!node.saw(|event| matches!(event, Event::DeliveryFailed { .. })));
        node.stop().await;
    }
}

/// More than the listen queue takes, from us and from others at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_at_once_lose_none() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Neutron);
    config.max_in_flight = 64;
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    let node = Node::start(dir.path(), &config);
    let changes: Vec<_> = (0..400).map(|n| confirmed(n, State::Primary)).collect();
    node.outbox.put(&changes);
    node.until_delivered().await;
    let heard: BTreeSet<_> = fake.words().into_iter().map(|(_, router, _)| router).collect();
    assert_eq!(heard.len(), 400);
    assert!(!node.saw(|event| matches!(event, Event::DeliveryFailed { .. })));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_of_a_router_arrive_in_order_and_apart() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Neutron);
    config.l3_agent_hold = Duration::from_millis(100);
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    let node = Node::start(dir.path(), &config);
    let states = [State::Backup, State::Primary, State::Fault, State::Primary];
    for round in 0..60_usize {
        for n in 0..8_u128 {
            node.put(n, states[(round * 7 + usize::try_from(n).unwrap() * round) % 4]);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.until_delivered().await;
    let mut last: BTreeMap<RouterId, (Instant, String)> = BTreeMap::new();
    for (at, router, word) in fake.words() {
        if let Some((before, other)) = last.insert(router, (at, word.clone())) {
            assert!(other == word || at - before >= config.l3_agent_hold, "{router} {other} {word} {:?}", at - before);
        }
    }
    for (router, standing) in node.outbox.snapshot() {
        assert_eq!(last[&router].1, standing.state.as_str());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_l3_agent_is_waited_for_and_hears_all() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Neutron);
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Backup);
    node.put(2, State::Primary);
    node.until("failed", |node| node.saw(|event| matches!(event, Event::DeliveryFailed { reason, retry_in_ms: Some(_), .. } if reason.contains("connect")))).await;
    node.put(1, State::Primary);
    let begun = Instant::now();
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    node.until_delivered().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    node.until("recovered", |node| node.saw(|event| matches!(event, Event::DeliveryRecovered { .. }))).await;
    let heard: BTreeMap<_, _> = fake.words().into_iter().map(|(_, router, word)| (router, word)).collect();
    assert_eq!(heard[&id(1)], "primary");
    // It restarts while nothing changes.
    drop(fake);
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    let again = [fake.next().await, fake.next().await];
    assert!(again.iter().all(|request| header(request, "X-Neutron-State") == "primary"));
    node.until("restarted", |node| {
        node.saw(|event| matches!(event, Event::DeliveryRecovered { reason, count: 2 } if reason == "restarted"))
    })
    .await;
    node.until("idle", |node| node.delivery.status().pending == 0).await;
    assert_eq!(node.delivery.status().answering, Some(true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_is_tried_again() {
    for (manner, word) in
        [(Manner::Status(503), "answered 503"), (Manner::Nonsense, "not HTTP"), (Manner::Close, "closed without")]
    {
        let dir = TempDir::new().unwrap();
        let config = config(&dir, Protocol::Neutron);
        let fake = Fake::listen(&config.socket, 5, manner);
        let node = Node::start(dir.path(), &config);
        node.put(1, State::Primary);
        node.until("failed", |node| {
            node.saw(|event| matches!(event, Event::DeliveryFailed { reason, .. } if reason.contains(word)))
        })
        .await;
        node.until("status", |node| node.delivery.status().last_error.is_some()).await;
        fake.be(Manner::New);
        node.until_delivered().await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_and_not_repeated() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Neutron);
    let fake = Fake::listen(&config.socket, 5, Manner::Status(400));
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Primary);
    node.until("refused", |node| node.saw(|event| matches!(event, Event::DeliveryFailed { retry_in_ms: None, .. })))
        .await;
    node.until("settled", |node| node.delivery.status().pending == 0).await;
    assert_eq!(fake.words().len(), 1);
    assert!(node.outbox.standing(id(1)).unwrap().pending);
    fake.be(Manner::New);
    node.delivery.assert_again(id(1));
    node.until_delivered().await;
    assert_eq!(fake.words().len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_abandons_a_request_that_hangs() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Neutron);
    let fake = Fake::listen(&config.socket, 5, Manner::Hang);
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Primary);
    fake.next().await;
    let begun = Instant::now();
    node.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    let mut registry = Registry::default();
    let (_, entries) = Outbox::open_with(dir.path(), Arc::new(|_| {}), &mut registry);
    assert!(entries[0].pending());
}

/// The file as SIGKILL leaves it, taken while states are under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_agent_did_not_deliver_is_delivered_after_the_restart() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Neutron);
    let fake = Fake::listen(&config.socket, 5, Manner::Hang);
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Backup);
    node.put(2, State::Backup);
    fake.next().await;
    node.put(1, State::Primary);
    let sequence = node.outbox.standing(id(1)).unwrap().sequence;
    // Committed: the next states are handed over after it.
    let mut registry = Registry::default();
    let killed = loop {
        let copy = TempDir::new().unwrap();
        std::fs::copy(dir.path().join("outbox.redb"), copy.path().join("outbox.redb")).unwrap();
        let (_, entries) = Outbox::open_with(copy.path(), Arc::new(|_| {}), &mut registry);
        if entries.len() == 2 && entries[0].sequence == sequence {
            break copy;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    drop(fake);
    config.socket = killed.path().join("l3");
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    // The copy's own agent opened it and let it go: wait for its lock.
    let again = Node::start(killed.path(), &config);
    again.until("two", |node| node.outbox.snapshot().len() == 2).await;
    // Only what this run sees: the one that is as it was, and the one that has changed meanwhile.
    again.put(1, State::Primary);
    again.put(2, State::Primary);
    again.until_delivered().await;
    let heard: BTreeSet<_> = fake.words().into_iter().map(|(_, router, word)| (router, word)).collect();
    assert_eq!(heard, [(id(1), "primary".to_owned()), (id(2), "primary".to_owned())].into());
    again.put(1, State::Backup);
    assert!(again.outbox.standing(id(1)).unwrap().sequence > sequence);
    again.until_delivered().await;
    again.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_batches_are_taken_but_for_the_refused() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Json);
    config.l3_agent_hold = Duration::from_secs(60);
    let fake = Fake::listen(
        &config.socket,
        5,
        Manner::Body(r#"{"refused":[{"router_id":"00000000-0000-0000-0000-000000000002","reason":"not mine"}]}"#),
    );
    let node = Node::start(dir.path(), &config);
    let changes: Vec<_> = (1..=500).map(|n| confirmed(n, State::Primary)).collect();
    node.outbox.put(&changes);
    let request = fake.next().await;
    assert!(request.starts_with("POST /v1/ha-states HTTP/1.1\r\n"), "{request}");
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["schema"], &body["host"], &body["batch"]), (&1.into(), &"net-1".into(), &1.into()));
    assert_eq!(body["states"].as_array().unwrap().len(), 500);
    assert_eq!(body["states"][0]["confirmed_at"], "2026-01-02T03:04:05.678901Z");
    node.until("refused", |node| node.saw(|event| matches!(event, Event::DeliveryFailed { count: 1, retry_in_ms: None, reason, .. } if reason.contains("not mine")))).await;
    node.until("taken", |node| node.outbox.snapshot().iter().filter(|(_, standing)| standing.pending).count() == 1)
        .await;
    // Not held: the receiver has sequences.
    node.put(1, State::Backup);
    let second = fake.next().await;
    assert!(second.contains(r#""state":"backup""#));
    fake.be(Manner::Status(503));
    node.put(3, State::Backup);
    node.until("failed", |node| {
        node.saw(|event| matches!(event, Event::DeliveryFailed { reason, .. } if reason.contains("503")))
    })
    .await;
    fake.be(Manner::Body(""));
    node.until("recovered", |node| node.saw(|event| matches!(event, Event::DeliveryRecovered { count: 500, .. })))
        .await;
    node.until_delivered().await;
    node.stop().await;
}

/// Only what it names as refused is refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_receiver_that_answers_4xx_for_a_while_loses_nothing() {
    for status in [401, 404, 413, 429] {
        let dir = TempDir::new().unwrap();
        let config = config(&dir, Protocol::Json);
        let fake = Fake::listen(&config.socket, 5, Manner::Status(status));
        let node = Node::start(dir.path(), &config);
        node.put(1, State::Primary);
        let word = format!("answered {status}");
        node.until("failed", |node| {
            node.saw(|event| {
                matches!(event, Event::DeliveryFailed { reason, retry_in_ms: Some(_), .. } if reason.contains(&word))
            })
        })
        .await;
        node.until("shown", |node| node.delivery.status().pending == 1).await;
        fake.be(Manner::Body(""));
        node.until_delivered().await;
        node.until("recovered", |node| node.delivery.status().answering == Some(true)).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_is_split() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Json);
    let fake = Fake::listen(&config.socket, 5, Manner::Most(70));
    let node = Node::start(dir.path(), &config);
    let changes: Vec<_> = (1..=500).map(|n| confirmed(n, State::Primary)).collect();
    node.outbox.put(&changes);
    node.until_delivered().await;
    assert!(!node.saw(|event| matches!(event, Event::DeliveryFailed { .. })));
    // 500, 250, 125, and eight of 63 at most.
    assert!(fake.heard.try_iter().count() <= 11);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_asks_to_be_tried_later_is() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Json);
    let fake = Fake::listen(&config.socket, 5, Manner::Later(1));
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Primary);
    fake.next().await;
    let asked = Instant::now();
    fake.be(Manner::Body(""));
    fake.next().await;
    let waited = asked.elapsed();
    assert!((Duration::from_millis(950)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
    node.until_delivered().await;
    node.stop().await;
}

/// 16 states by four places: without waiting for the ends of the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_closes_holds_no_place() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir, Protocol::Neutron);
    let fake = Fake::listen(&config.socket, 64, Manner::Open);
    let node = Node::start(dir.path(), &config);
    let begun = Instant::now();
    let changes: Vec<_> = (1..=16).map(|n| confirmed(n, State::Primary)).collect();
    node.outbox.put(&changes);
    node.until_delivered().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(fake.words().len(), 16);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_socket_is_another_receiver() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Neutron);
    let first = Fake::listen(&config.socket, 5, Manner::New);
    let node = Node::start(dir.path(), &config);
    node.put(1, State::Primary);
    first.next().await;
    config.socket = dir.path().join("other");
    let second = Fake::listen(&config.socket, 5, Manner::New);
    node.delivery.reload(&config);
    second.next().await;
    node.stop().await;
}

/// `-- --ignored delivery_figures --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn delivery_figures() {
    let dir = TempDir::new().unwrap();
    let mut config = config(&dir, Protocol::Neutron);
    config.batch_interval = Duration::from_millis(1);
    let fake = Fake::listen(&config.socket, 5, Manner::New);
    let node = Node::start(dir.path(), &config);
    let mut times = Vec::new();
    for n in 0..300 {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let begun = Instant::now();
        node.put(1, [State::Primary, State::Backup][n % 2]);
        let fake = &fake;
        let (at, _) = tokio::task::block_in_place(|| fake.heard.recv().unwrap());
        times.push(at - begun);
    }
    times.sort();
    let begun = Instant::now();
    let changes: Vec<_> = (0..1000).map(|n| confirmed(n, State::Primary)).collect();
    node.outbox.put(&changes);
    node.until_delivered().await;
    let all = begun.elapsed();
    let text = format!(
        "put to bytes at the server: p50 {:?} p90 {:?} p99 {:?}\n1000 routers at once: {all:?}, {:.0}/s\n",
        times[150],
        times[270],
        times[297],
        1000.0 / all.as_secs_f64()
    );
    std::io::stdout().write_all(text.as_bytes()).unwrap();
    node.stop().await;
}
