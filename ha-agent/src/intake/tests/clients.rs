//! The reporters that there are, as they are.

use super::*;

#[tokio::test]
async fn both_real_clients_are_served() {
    let mut rig = Rig::start(|_| {});
    // httplib2 0.22 as neutron 28 uses it.
    let httplib2 = format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nx-neutron-router-id: {ROUTER}\r\n\
         x-neutron-state: primary\r\nconnection: close\r\n\
         user-agent: Python-httplib2/0.22.0 (gzip)\r\naccept-encoding: gzip, deflate\r\n\r\n"
    );
    // curl 7.88 as neutron 29's script calls it.
    let curl = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\
         X-Neutron-Router-Id: {ROUTER}\r\nX-Neutron-State: backup\r\nConnection: close\r\n\r\n"
    );
    for (request, state) in [(httplib2, State::Primary), (curl, State::Backup)] {
        let answer = exchange(&rig.config.socket, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntaken\n"), "{answer}");
        let report = rig.reports.recv().await.unwrap();
        assert_eq!((report.router, report.state), (router(), state));
        let Reporter::Socket { uid, pid, gid, process: Naming::Named(process) } = &report.reporter else {
            panic!("{report:?}")
        };
        assert_eq!(*uid, rustix::process::geteuid().as_raw());
        assert_eq!(*gid, Some(rustix::process::getegid().as_raw()));
        assert_eq!(*pid, std::process::id().cast_signed());
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(&*process.command, own.trim_end());
        // Whoever may trace it is told what it executes, as a process may of itself.
        assert_eq!(process.executable.as_deref(), std::env::current_exe().unwrap().to_str());
        let event = rig.events.recv().await.unwrap();
        let Event::ReportReceived { state: told, reporter, .. } = event else { panic!("{event:?}") };
        assert_eq!((told, &reporter), (state, &report.reporter));
    }
    let metrics = rig.metrics();
    assert!(metrics.contains("ha_agent_intake_reports_total{state=\"primary\"} 1"), "{metrics}");
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_curl_is_served() {
    let rig = Rig::start(|_| {});
    let run = std::process::Command::new("curl")
        .args(["-sS", "-X", "POST", "-H", "Connection: close", "--connect-timeout", "5"])
        .args(["-H", &format!("X-Neutron-Router-Id: {ROUTER}"), "-H", "X-Neutron-State: fault"])
        .arg("--unix-socket")
        .arg(&rig.config.socket)
        .args(["-w", "%{http_code}", "http://127.0.0.1/"])
        .output();
    let Ok(output) = run else {
        return; // no curl on this machine
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "taken\n200");
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_client_counts_what_the_agent_counts() {
    let mut rig = Rig::start(|_| {});
    for keep in [true, false] {
        let load = bench::load(&rig.config.socket, router(), 4, Duration::from_millis(100), keep).await;
        assert!(load.taken > 0, "{load:?}");
        assert_eq!((load.refused, load.lost), (0, 0), "{load:?}");
    }
    let taken = std::iter::from_fn(|| rig.reports.try_recv().ok()).count();
    let counted = rig.metrics_count("backup");
    assert_eq!(taken as u64, counted);
    rig.intake.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notify_command_is_understood() {
    use crate::notify;
    let mut rig = Rig::start(|c| c.token = Some("secret".to_owned()));
    let token = rig.folder.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let socket = rig.config.socket.clone();
    let args = |words: &[&str], token_file| notify::Args {
        router: router().to_string(),
        words: words.iter().map(|w| (*w).to_owned()).collect(),
        token_file,
        timeout: Duration::from_secs(5),
        retries: notify::DEFAULT_RETRIES,
    };
    let told = args(&["INSTANCE", "VR_1", "FAULT", "50"], Some(token));
    let refused = args(&["MASTER"], None);
    let blocking = tokio::task::spawn_blocking(move || {
        notify::run(&socket, told).unwrap();
        notify::run(&socket, refused).unwrap_err()
    });
    let error = blocking.await.unwrap();
    assert!(matches!(error, notify::NotifyError::Refused { status: 401, .. }), "{error}");
    assert_eq!(rig.reports.recv().await.unwrap().state, State::Fault);
    rig.intake.stop().await;
}
