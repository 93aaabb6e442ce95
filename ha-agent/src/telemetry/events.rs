//! The handle through which modules emit events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::event::Event;

/// Events that may wait for the writer.
pub const QUEUE: usize = 8192;

/// Cheap to clone; emitting never blocks. The queue holds [`QUEUE`] events: what does not fit is
/// counted, and the loss is itself an event (`channel.degraded`, channel `events`) as soon as there
/// is room.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// A handle and the end that the writer reads, for [`super::start`] and for tests of modules
    /// that emit. The counter is the number of events that did not fit.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Event>, Arc<AtomicU64>) {
        let (queue, receiver) = mpsc::channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let events = Self { queue, lost: Arc::clone(&lost) };
        (events, receiver, lost)
    }

    /// Queues an event for the sinks.
    pub fn emit(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(event) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
