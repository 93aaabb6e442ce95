//! The task around the schedule: outbox in, requests out, events and metrics beside.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::door::Door;
use super::metrics::Metrics;
use super::receiver::{Identity, Sight, Watch};
use super::schedule::{Output, Rules, Schedule, Send};
use super::{Shared, json, neutron};
use crate::clock;
use crate::config::{self, Protocol};
use crate::core::time::Mono;
use crate::outbox::{Change, Emit, Entry, Outbox};
use crate::status::DeliveryStatus;
use crate::telemetry::event::Event;

/// One request, from connecting to the end of the answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// For requests in flight at the end.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How often the socket is looked at while nothing is sent (one `stat`), and the outbox asked
/// for what waits too long for the disk.
const TICK: Duration = Duration::from_secs(1);
/// The same while the receiver is away.
const TICK_AWAY: Duration = Duration::from_millis(200);
/// While sending, the socket is looked at no more often than this.
const LOOK: Duration = Duration::from_millis(20);
/// How long everything else waits for a look: a mount below the path may hang.
const LOOK_LIMIT: Duration = Duration::from_millis(50);
/// While sending, the status is brought up to date no more often than this.
const PUBLISH: Duration = Duration::from_millis(50);

pub(super) struct Driver {
    config: config::Delivery,
    release: u32,
    host: Arc<str>,
    outbox: Outbox,
    shared: Arc<Shared>,
    emit: Emit,
    metrics: Metrics,
    schedule: Schedule,
    door: Door,
    watch: Watch,
    looked: Mono,
    /// A look that has not come to an end.
    looking: Option<oneshot::Receiver<Option<Identity>>>,
    published: Mono,
    requests: JoinSet<(Send, Vec<Answer>)>,
}

impl Driver {
    pub(super) fn new(
        config: config::Delivery,
        (release, host): (u32, String),
        outbox: Outbox,
        shared: Arc<Shared>,
        (emit, metrics): (Emit, Metrics),
        own: Vec<PathBuf>,
    ) -> Self {
        let mut seed = DefaultHasher::new();
        host.hash(&mut seed);
        let schedule = Schedule::new(rules(&config), seed.finish(), clock::now());
        Self {
            config,
            release,
            host: host.into(),
            outbox,
            shared,
            emit,
            metrics,
            schedule,
            door: Door::open(own),
            watch: Watch::default(),
            looked: Mono(0),
            looking: None,
            published: Mono(0),
            requests: JoinSet::new(),
        }
    }

    pub(super) fn load(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.schedule.confirm(entry, None);
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.take_changes();
        loop {
            self.look().await;
            self.send();
            self.tell();
            self.publish();
            let now = clock::now();
            let tick = self.looked + self.tick();
            let until = self.schedule.deadline().map_or(tick, |due| due.min(tick));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.outbox.ready() => self.take_changes(),
                () = self.shared.mail.notified() => self.take_mail(),
                Some(done) = self.requests.join_next() => self.take_answers(done),
                () = tokio::time::sleep(until.since(now)) => self.take_changes(),
            }
        }
        let drain = async {
            while let Some(done) = self.requests.join_next().await {
                self.take_answers(done);
            }
        };
        let _ = tokio::time::timeout(STOP_WITHIN, drain).await;
        self.requests.abort_all();
        self.tell();
        self.published = Mono(0);
        self.publish();
    }

    fn tick(&self) -> Duration {
        match self.schedule.answering() {
            Some(false) => TICK_AWAY,
            _ => TICK,
        }
    }

    fn take_changes(&mut self) {
        let now = clock::now();
        for change in self.outbox.take_ready(now) {
            match change {
                Change::Confirmed { entry, at } => self.schedule.confirm(entry, Some(at)),
                Change::Forgotten(router) => self.schedule.forget(router, now),
            }
        }
    }

    fn take_mail(&mut self) {
        let (routers, reload) =
            self.shared.with(|mailbox| (std::mem::take(&mut mailbox.assert_again), mailbox.reload.take()));
        for router in routers {
            self.schedule.assert_again(router);
        }
        let Some(config) = reload else {
            return;
        };
        let moved = config.socket != self.config.socket || config.protocol != self.config.protocol;
        self.config = config;
        self.schedule.reload(rules(&self.config), clock::now());
        if moved {
            self.watch = Watch::default();
            self.looking = None;
            self.schedule.receiver_changed(clock::now());
        }
    }

    async fn look(&mut self) {
        let now = clock::now();
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        // A look that has not come to an end is asked about again the next time.
        let Some(mut looking) = self.looking.take().or_else(|| self.door.look(&self.config.socket)) else {
            return;
        };
        let Ok(seen) = tokio::time::timeout(LOOK_LIMIT, &mut looking).await else {
            self.looking = Some(looking);
            return;
        };
        match self.watch.look(seen.ok().flatten()) {
            Sight::Nothing | Sight::Same => {}
            Sight::First => self.schedule.receiver_appeared(now),
            Sight::Other => self.schedule.receiver_changed(now),
        }
    }

    fn send(&mut self) {
        while let Some(send) = self.schedule.poll(clock::now()) {
            let (door, socket) = (self.door.clone(), self.config.socket.clone());
            match self.config.protocol {
                Protocol::Neutron => {
                    let release = self.release;
                    self.requests.spawn(async move {
                        let mut answers = Vec::with_capacity(send.items.len());
                        for entry in &send.items {
                            let answer = neutron::send((&door, &socket), entry, release, REQUEST_LIMIT);
                            answers.push(answer.await);
                        }
                        (send, answers)
                    });
                }
                Protocol::Json => {
                    let host = Arc::clone(&self.host);
                    self.requests.spawn(async move {
                        let limit = REQUEST_LIMIT;
                        let answers = json::send((&door, &socket), &host, send.batch, &send.items, limit).await;
                        (send, answers)
                    });
                }
            }
        }
    }

    fn take_answers(&mut self, done: Result<(Send, Vec<Answer>), tokio::task::JoinError>) {
        let (send, answers) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a delivery request ended without an answer");
                return;
            }
        };
        // All of one request fail alike, but for refusals.
        let mut counted = false;
        for answer in &answers {
            match answer {
                Answer::Taken => {
                    self.metrics.delivered.inc();
                }
                Answer::Refused(_) => self.metrics.failed("refused"),
                Answer::Failed(failure) if !counted => {
                    counted = true;
                    self.metrics.failed(failure.kind.as_str());
                }
                Answer::Failed(_) => {}
            }
        }
        self.schedule.answered(&send, answers, clock::now());
    }

    fn tell(&mut self) {
        for output in self.schedule.outputs() {
            let event = match output {
                Output::Acknowledged { router, sequence, state, confirmed } => {
                    self.outbox.acknowledge(router, sequence, state);
                    if let Some(confirmed) = confirmed {
                        let took = clock::now().since(confirmed);
                        self.metrics.latency.observe(took.as_secs_f64());
                    }
                    continue;
                }
                Output::Sent { batch, attempt, states } => {
                    Event::DeliverySent { batch, count: states.len(), attempt, states }
                }
                Output::Failed { batch, count, attempt, reason, retry_in } => {
                    let socket = self.config.socket.display();
                    tracing::warn!(%socket, attempt, count, %reason, "delivery failed");
                    Event::DeliveryFailed {
                        batch,
                        count,
                        attempt,
                        reason: format!("{socket}: {reason}"),
                        retry_in_ms: retry_in.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
                    }
                }
                Output::Recovered { restarted, count } => Event::DeliveryRecovered {
                    reason: if restarted { "restarted" } else { "answering_again" }.to_owned(),
                    count,
                },
            };
            (self.emit)(event);
        }
    }

    fn publish(&mut self) {
        let now = clock::now();
        if !self.requests.is_empty() && now.since(self.published) < PUBLISH {
            return;
        }
        self.published = now;
        let status = DeliveryStatus {
            answering: self.schedule.answering(),
            pending: self.schedule.pending(),
            last_error: self.schedule.last_error().map(str::to_owned),
        };
        let count = i64::try_from(status.pending).unwrap_or(i64::MAX);
        self.metrics.pending.set(count);
        let answering = status.answering == Some(true);
        self.metrics.answering.set(i64::from(answering));
        self.shared.with(|mailbox| mailbox.status = status);
    }
}

fn rules(config: &config::Delivery) -> Rules {
    Rules {
        protocol: config.protocol,
        batch_interval: config.batch_interval,
        hold: config.l3_agent_hold,
        max_in_flight: config.max_in_flight,
        retry_max: config.retry_max,
        reassert: config.reassert_interval,
    }
}
