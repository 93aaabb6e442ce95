use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::{JoinSet, yield_now};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_one_user_one_is_worked_on_at_a_time_and_each_has_its_turn() {
    const CONNECTIONS: usize = 50;
    const STEPS: usize = 40;
    let turn = Turn::new();
    let at_once = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (turn, at_once, ended) = (turn.clone(), at_once.clone(), ended.clone());
        connections.spawn(async move {
            turn.take(async move {
                for _ in 0..STEPS {
                    assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "another one is worked on");
                    std::thread::yield_now();
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    yield_now().await;
                }
                ended.fetch_add(1, Ordering::SeqCst);
            })
            .await;
        });
    }
    while let Some(connection) = connections.join_next().await {
        connection.expect("no panic");
    }
    assert_eq!(ended.load(Ordering::SeqCst), CONNECTIONS);
}

#[tokio::test]
async fn one_that_waits_or_is_dropped_does_not_keep_the_turn() {
    let turn = Turn::new();
    let mut waiting = Box::pin(turn.take(std::future::pending::<()>()));
    tokio::select! {
        biased;
        () = &mut waiting => unreachable!(),
        () = turn.take(yield_now()) => {}
    }
    drop(waiting);
    turn.take(yield_now()).await;
}
