//! Many peers, slow ones, and more than there is room for.

use std::time::Instant;

use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn slow_and_silent_peers_are_ended_at_the_timeout() {
    let mut rig = Rig::start(|_| {});
    let begin = Instant::now();
    let mut slow = JoinSet::new();
    for (sent, expected) in
        [("", Some(408)), ("GET / HT", Some(408)), ("GET / HTTP/1.1\r\nX-Neutron-State: ba", Some(408))]
    {
        let socket = rig.config.socket.clone();
        slow.spawn(async move {
            let answer = exchange(&socket, sent.as_bytes()).await;
            assert_eq!((!answer.is_empty()).then(|| status(&answer)), expected, "{sent:?}: {answer}");
        });
    }
    let socket = rig.config.socket.clone();
    slow.spawn(async move {
        let body = good("Content-Length: 10\r\n") + "x";
        assert_eq!(status(&exchange(&socket, body.as_bytes()).await), 408);
    });
    while let Some(ended) = slow.join_next().await {
        ended.unwrap();
    }
    assert!(begin.elapsed() >= rig.config.header_timeout, "not before their time");
    assert_eq!(rig.refusals(), vec![(408, "too_slow".to_owned()); 4]);
    assert!(rig.reports.try_recv().is_err());
    rig.intake.stop().await;
}

#[tokio::test]
async fn an_idle_connection_that_was_used_just_ends() {
    let mut rig = Rig::start(|_| {});
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    stream.write_all(good("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
    assert_eq!(read_to_end(&mut stream).await, "");
    // One that goes silent within its next request is told.
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    stream.write_all(good("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(status(&read_to_end(&mut stream).await), 408);
    assert_eq!(rig.refusals(), [(408, "too_slow".to_owned())]);
    rig.intake.stop().await;
}

#[tokio::test]
async fn a_peer_that_never_reads_its_answers_is_ended() {
    let mut rig = Rig::start(|c| c.header_timeout = Duration::from_millis(100));
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    let request = good("");
    // Writes until both directions are full, and then until the server hangs up.
    let ended = timeout(PATIENCE, async { while stream.write_all(request.as_bytes()).await.is_ok() {} });
    ended.await.expect("the server hangs up");
    assert_eq!(rig.refusals(), [(408, "too_slow".to_owned())]);
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_at_once_lose_nothing() {
    let mut rig = Rig::start(|c| c.header_timeout = Duration::from_secs(5));
    // All connect before any sends: more than there are slots.
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(UnixStream::connect(&rig.config.socket).await.unwrap());
    }
    let mut clients = JoinSet::new();
    for mut stream in streams {
        clients.spawn(async move {
            stream.write_all(good("Connection: close\r\n").as_bytes()).await.unwrap();
            status(&read_to_end(&mut stream).await)
        });
    }
    let statuses = clients.join_all().await;
    assert_eq!(statuses, vec![200; 400]);
    assert_eq!(std::iter::from_fn(|| rig.reports.try_recv().ok()).count(), 400);
    rig.intake.stop().await;
}

#[tokio::test]
async fn beyond_the_connections_and_their_queue_it_says_so_at_once() {
    let mut rig = Rig::start(|c| {
        c.max_connections = 2;
        c.header_timeout = Duration::from_secs(60);
    });
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(UnixStream::connect(&rig.config.socket).await.unwrap());
    }
    let answer = exchange(&rig.config.socket, good("").as_bytes()).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("Retry-After: 1\r\n"), "{answer}");
    assert_eq!(rig.refusals(), [(503, "too_many_connections".to_owned())]);
    // A slot that is used is handed on to those who wait, even over kept connections.
    for stream in &mut held {
        stream.write_all(good("").as_bytes()).await.unwrap();
        assert_eq!(status(&read_answer(stream).await), 200);
    }
    rig.intake.stop().await;
}

#[tokio::test]
async fn a_crowd_that_is_turned_away_is_answered_too() {
    let mut rig = Rig::start(|c| {
        c.max_connections = 1;
        c.header_timeout = Duration::from_secs(60);
    });
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(UnixStream::connect(&rig.config.socket).await.unwrap());
    }
    // One has the slot, two wait for it; of the others more are refused than may linger.
    for stream in &mut crowd[3..] {
        assert_eq!(status(&read_to_end(stream).await), 503);
    }
    let counted = rig.intake.shared.metrics.refused(Refusal::TooManyConnections);
    assert_eq!(counted.get(), 197);
    assert!(rig.refusals().len() < 30, "the events are fewer than the refusals");
    drop(crowd);
    rig.intake.stop().await;
}

#[tokio::test]
async fn over_the_rate_it_is_429_until_the_reload_allows_more() {
    let mut rig = Rig::start(|c| c.max_requests_per_second = 2);
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    let mut last = String::new();
    for _ in 0..50 {
        stream.write_all(good("").as_bytes()).await.unwrap();
        last = read_answer(&mut stream).await;
        if status(&last) != 200 {
            break;
        }
    }
    assert_eq!(status(&last), 429, "{last}");
    assert!(last.contains("retry-after: 1\r\n"), "{last}");
    rig.config.max_requests_per_second = 1_000_000;
    rig.config.token = Some("secret".to_owned());
    rig.intake.reload(&rig.config);
    assert!(last.contains("connection: close\r\n"), "whoever floods has to come again: {last}");
    let mut stream = UnixStream::connect(&rig.config.socket).await.unwrap();
    stream.write_all(good("").as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(status(&answer), 401);
    assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    stream.write_all(good("Authorization: Bearer secret\r\n").as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_a_user_that_holds_all_it_can_delays_no_other() {
    use std::io::{BufRead, BufReader};
    let rig = Rig::start(|c| {
        c.socket_mode = 0o666;
        c.allow_uids = vec![4001];
        c.max_connections = 16;
        c.header_timeout = Duration::from_secs(30);
    });
    open_folder(&rig);
    let hog = "held=[dial() for _ in range(60)]\nprint('held', flush=True)\nsys.stdin.read()\n";
    let mut hog = as_user(4001, &rig.config.socket, hog).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(hog.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");

    let begin = Instant::now();
    for _ in 0..100 {
        let answer = exchange(&rig.config.socket, good("Connection: close\r\n").as_bytes()).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(hog.stdin.take());
    hog.wait().unwrap();
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_a_stranger_s_flood_takes_no_answer_from_another_one() {
    let mut rig = Rig::start(|c| c.socket_mode = 0o666);
    open_folder(&rig);
    let flood = "while True:\n try: dial().close()\n except OSError: pass\n";
    let mut flood = as_user(4002, &rig.config.socket, flood).spawn().unwrap();
    let refused = rig.intake.shared.metrics.refused(Refusal::PeerNotAllowed).clone();
    let spent = timeout(PATIENCE, async {
        while refused.get() < 5000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    spent.await.expect("the flood outlasts the answers");
    let now_and_then = "for _ in range(10):\n s=dial(); print(s.recv(4096)[9:12].decode()); time.sleep(0.02)\n";
    let output = as_user(4003, &rig.config.socket, now_and_then).output();
    flood.kill().unwrap();
    flood.wait().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), "403\n".repeat(10));
    let mut told = 0;
    while let Ok(event) = rig.events.try_recv() {
        told +=
            u32::from(matches!(event, Event::ReportRefused { reporter: Some(Reporter::Socket { uid: 4003, .. }), .. }));
    }
    assert!(told > 0, "each of them has events of its own");
    rig.intake.stop().await;
}
