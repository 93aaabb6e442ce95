//! The one task that stamps events and hands them to the rings and the sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::events::{Events, QUEUE};
use super::limit::Limiter;
use super::line::line;
use super::metrics::Metrics;
use super::recent::{Recent, Record};
use super::sink::{Health, LINES, Outlet};
use super::summary::summary;
use crate::clock;
use crate::config::Sink;
use crate::status::Degraded;

/// How often the sinks' health is looked at when no event comes.
const LOOK: Duration = Duration::from_secs(1);
/// How long the sinks have at the end to write what waits.
const FLUSH: Duration = Duration::from_secs(2);
/// Events taken from the queue at once.
const BATCH: usize = 256;

/// The running event stream.
#[derive(Debug)]
pub struct Telemetry {
    task: JoinHandle<()>,
    stop: CancellationToken,
    sinks: Sinks,
}

/// Starts the writer and a thread per sink. `host` stands in every line. When `stop` is cancelled,
/// everything that was emitted before is written, then the sinks end.
///
/// Must be called within a tokio runtime.
pub fn start(
    sinks: &[Sink],
    host: &str,
    registry: &mut Registry,
    stop: CancellationToken,
) -> (Events, Recent, Telemetry) {
    let (events, queue, lost) = Events::channel(QUEUE);
    let recent = Recent::default();
    let mut outlets = Vec::new();
    for sink in sinks {
        match Outlet::start(sink) {
            Ok(outlet) => outlets.push(Outstanding::new(outlet)),
            Err(error) => events.emit(Event::ChannelDegraded {
                channel: "events".to_owned(),
                reason: format!("the thread of sink {sink:?} cannot be started: {error}"),
                router_id: None,
            }),
        }
    }
    let health = outlets.iter().map(|one: &Outstanding| (one.outlet.name.clone(), one.outlet.health())).collect();
    let metrics = Metrics::register(registry);
    // Zeros from the start: an alert on a rise needs the value before it.
    let names = outlets.iter().map(|one| &*one.outlet.name);
    for name in names.chain(["queue"]) {
        metrics.lost(name, 0);
    }
    let writer = Writer {
        host: host.to_owned(),
        seq: 0,
        words: sinks.contains(&Sink::Journald),
        recent: recent.clone(),
        metrics,
        outlets,
        lost,
        lost_told: 0,
        limiter: Limiter::new(),
    };
    let telemetry = Telemetry { task: tokio::spawn(writer.run(queue, stop.clone())), stop, sinks: Sinks { health } };
    (events, recent, telemetry)
}

impl Telemetry {
    /// Files are opened anew before their next line: for SIGHUP, after a log rotation.
    pub fn reopen(&self) {
        for (_, health) in self.sinks.health.iter() {
            health.reopen();
        }
    }

    /// How the sinks do, for the status board.
    pub fn sinks(&self) -> Sinks {
        self.sinks.clone()
    }

    /// Writes what was emitted and ends, within two seconds even when a sink stands still.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the event writer ended badly");
        }
    }
}

/// The health of the sinks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sinks {
    health: Arc<[(String, Arc<Health>)]>,
}

impl Sinks {
    /// Where events go: `stdout`, `journald`, `file:/path`.
    pub fn names(&self) -> Vec<String> {
        self.health.iter().map(|(name, _)| name.clone()).collect()
    }

    /// One entry, channel `events`, for each sink that takes no lines now.
    pub fn degraded(&self) -> Vec<Degraded> {
        self.health
            .iter()
            .filter_map(|(name, health)| {
                Some(Degraded { channel: "events".to_owned(), reason: format!("sink {name}: {}", health.trouble()?) })
            })
            .collect()
    }
}

/// A sink and what was told of its health.
struct Outstanding {
    outlet: Outlet,
    lost_told: u64,
    degraded: bool,
}

impl Outstanding {
    fn new(outlet: Outlet) -> Self {
        Self { outlet, lost_told: 0, degraded: false }
    }
}

struct Writer {
    host: String,
    seq: u64,
    words: bool,
    recent: Recent,
    metrics: Metrics,
    outlets: Vec<Outstanding>,
    lost: Arc<AtomicU64>,
    lost_told: u64,
    limiter: Limiter,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut limited = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    for event in batch.drain(..) {
                        self.offer(&event);
                    }
                }
                _ = tick.tick() => {}
            }
            // Not only when nothing comes: it is what never ends that is limited.
            if limited.elapsed() >= LOOK {
                limited = Instant::now();
                for event in self.limiter.due() {
                    self.write(&event);
                }
            }
            self.look();
        }
        queue.close();
        while let Some(event) = queue.recv().await {
            self.offer(&event);
        }
        for event in self.limiter.finish() {
            self.write(&event);
        }
        self.look();
        let ends: Vec<(String, oneshot::Receiver<()>)> =
            self.outlets.drain(..).map(|one| (one.outlet.name.clone(), one.outlet.finish())).collect();
        let deadline = Instant::now() + FLUSH;
        for (sink, end) in ends {
            if timeout_at(deadline, end).await.is_err() {
                tracing::warn!(%sink, "ended without writing all events: it takes no lines");
            }
        }
    }

    /// Writes it, unless there are too many of its kind.
    fn offer(&mut self, event: &Event) {
        if self.limiter.admits(event) {
            self.write(event);
        }
    }

    fn write(&mut self, event: &Event) {
        self.seq += 1;
        let record = Arc::new(Record {
            line: line(&clock::wall(), self.seq, &self.host, event).into_boxed_str(),
            name: event.name(),
            severity: event.severity(),
            routers: match event {
                Event::DeliverySent { states, .. } => states.iter().map(|state| state.router_id).collect(),
                _ => event.router().into_iter().collect(),
            },
            summary: self.words.then(|| summary(event).into_boxed_str()),
        });
        self.metrics.written(record.name);
        self.recent.push(event, &record);
        for one in &self.outlets {
            if !one.outlet.take(&record) {
                self.metrics.lost(&one.outlet.name, 1);
            }
        }
    }

    /// Tells what was lost and which sink is in trouble; each once.
    fn look(&mut self) {
        let mut news = Vec::new();
        let lost = self.lost.load(Ordering::Relaxed);
        let mut restored = false;
        if lost > self.lost_told {
            let count = lost - self.lost_told;
            self.lost_told = lost;
            self.metrics.lost("queue", count);
            news.push(format!("{count} events were lost: more than {QUEUE} waited to be written"));
            restored = true;
        }
        for one in &mut self.outlets {
            let name = &one.outlet.name;
            let lost = one.outlet.lost();
            match (one.outlet.trouble(), one.degraded) {
                (Some(reason), false) => {
                    one.degraded = true;
                    news.push(format!(
                        "sink {name}: {reason}; up to {LINES} events wait for it, further ones are lost there"
                    ));
                }
                (Some(_), true) => {}
                (None, was_degraded) => {
                    restored |= was_degraded;
                    one.degraded = false;
                    if lost > one.lost_told {
                        let count = lost - one.lost_told;
                        one.lost_told = lost;
                        restored = true;
                        news.push(format!("sink {name}: {count} events were lost there"));
                    }
                }
            }
        }
        let channel = || "events".to_owned();
        for reason in news {
            // The sink in trouble may be the only one.
            tracing::warn!("{reason}");
            self.write(&Event::ChannelDegraded { channel: channel(), reason, router_id: None });
        }
        if restored && self.outlets.iter().all(|one| !one.degraded) {
            self.write(&Event::ChannelRestored { channel: channel(), router_id: None });
        }
    }
}
