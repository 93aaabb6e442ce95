use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;

fn id(number: u128) -> RouterId {
    RouterId(Uuid::from_u128(number))
}

type Begins = mpsc::UnboundedReceiver<(RouterId, u32)>;
type Left = JoinHandle<Vec<(RouterId, u32)>>;

/// A lane whose jobs tell that they begin and then take a second; the clock is virtual.
fn lane(at_once: usize) -> (Lane<u32>, Begins, CancellationToken, Left) {
    let (begun, begins) = mpsc::unbounded_channel();
    let lane = Lane::new(at_once);
    let stop = CancellationToken::new();
    let task = lane.run(
        move |router, job| {
            let begun = begun.clone();
            async move {
                begun.send((router, job)).expect("the test listens");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        },
        stop.clone(),
    );
    (lane, begins, stop, task)
}

#[tokio::test(start_paused = true)]
async fn one_of_a_router_at_a_time_and_only_the_newest_next() {
    let (lane, mut begins, stop, task) = lane(4);
    assert_eq!(lane.post(id(1), 1), None);
    assert_eq!(begins.recv().await, Some((id(1), 1)));
    assert_eq!(lane.post(id(1), 2), None);
    assert_eq!(lane.post(id(1), 3), Some(2), "the one that it replaces is given back");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(begins.try_recv().is_err(), "the first one still runs");
    assert_eq!(begins.recv().await, Some((id(1), 3)));
    stop.cancel();
    assert_eq!(task.await.expect("it ends"), []);
    assert!(begins.try_recv().is_err(), "2 was never begun");
}

#[tokio::test(start_paused = true)]
async fn no_more_at_once_than_places_and_first_come_first_served() {
    let (lane, mut begins, _stop, _task) = lane(2);
    for number in [5, 4, 3, 2] {
        lane.post(id(number), 0);
    }
    let first = [begins.recv().await, begins.recv().await].map(|begun| begun.expect("begun").0);
    assert_eq!(first, [id(5), id(4)]);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(begins.try_recv().is_err());
    let next = [begins.recv().await, begins.recv().await].map(|begun| begun.expect("begun").0);
    assert_eq!(next, [id(3), id(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_hangs_does_not_hold_up_others_and_more_places_help_at_once() {
    let (lane, mut begins, _stop, _task) = lane(1);
    lane.post(id(1), 1);
    assert_eq!(begins.recv().await, Some((id(1), 1)));
    lane.post(id(1), 2);
    lane.post(id(2), 3);
    lane.resize(2);
    let waited = tokio::time::timeout(Duration::from_millis(500), begins.recv()).await;
    assert_eq!(waited.expect("at once"), Some((id(2), 3)), "1 is busy, 2 is not");
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_what_runs_and_gives_back_what_waits() {
    let (lane, mut begins, stop, task) = lane(1);
    lane.post(id(1), 1);
    begins.recv().await;
    lane.post(id(2), 2);
    lane.post(id(3), 3);
    assert_eq!(lane.withdraw(id(3)), Some(3));
    let before = tokio::time::Instant::now();
    stop.cancel();
    assert_eq!(task.await.expect("it ends"), [(id(2), 2)]);
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!(lane.post(id(4), 4), Some(4), "nobody would do it");
}

#[tokio::test]
async fn a_job_that_panics_frees_its_place() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let lane = Lane::new(1);
    let stop = CancellationToken::new();
    let (sender, mut done) = mpsc::unbounded_channel();
    let task = lane.run(
        move |_, job: u32| {
            let sender = sender.clone();
            async move {
                assert!(job != 1, "this one panics");
                DONE.fetch_add(1, Ordering::Relaxed);
                sender.send(job).expect("the test listens");
            }
        },
        stop.clone(),
    );
    lane.post(id(1), 1);
    lane.post(id(1), 1);
    lane.post(id(2), 2);
    assert_eq!(done.recv().await, Some(2));
    lane.post(id(1), 3);
    assert_eq!(done.recv().await, Some(3), "its router is not held for busy");
    stop.cancel();
    task.await.expect("it ends");
    assert_eq!(DONE.load(Ordering::Relaxed), 2);
}
