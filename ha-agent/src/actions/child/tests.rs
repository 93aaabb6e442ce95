use std::os::unix::process::ExitStatusExt as _;

use super::*;

const LONG: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Running {
    let program = Program {
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("PATH", "/usr/bin:/bin".to_owned()), ("GIVEN", "it is".to_owned())],
        input: Stdio::null(),
    };
    program.start(&Leash::default()).expect("it starts")
}

fn hands() -> NetnsThread {
    NetnsThread::spawn(CancellationToken::new()).expect("a thread")
}

async fn run(script: &str, limit: Duration) -> (Ended, String) {
    shell(script).end(limit, &CancellationToken::new(), &hands()).await.expect("it is waited for")
}

fn code(code: i32) -> Ended {
    Ended::By(ExitStatus::from_raw(code << 8))
}

/// Whether the process is there and no zombie.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

async fn gone(pid: &str) {
    let begun = Instant::now();
    while lives(pid) {
        assert!(begun.elapsed() < LONG, "{pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn its_status_its_output_and_nothing_of_our_environment() {
    assert_eq!(run("echo out; echo err >&2; exit 3", LONG).await, (code(3), "out\\nerr".to_owned()));
    let (ended, said) = run("pwd; read line || echo nothing to read; env | sort", LONG).await;
    assert_eq!(ended, code(0));
    // The shell sets PWD (and some `_`) itself.
    let lines: Vec<&str> = said.split("\\n").filter(|line| !line.starts_with("_=")).collect();
    assert_eq!(lines, ["/", "nothing to read", "GIVEN=it is", "PATH=/usr/bin:/bin", "PWD=/"]);
}

#[tokio::test]
async fn what_a_terminal_obeys_is_escaped() {
    let (_, said) = run("printf 'a\\033[31mb\\007\\342\\200\\256c\\377'", LONG).await;
    assert_eq!(said, "a\\u{1b}[31mb\\u{7}\\u{202e}c\u{fffd}");
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_it_started() {
    let begun = Instant::now();
    let (ended, said) = run("sleep 1000 & echo $!; wait", Duration::from_millis(300)).await;
    assert_eq!(ended, Ended::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    gone(&said).await;
}

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed() {
    let begun = Instant::now();
    let (ended, said) = run("trap '' TERM; echo $$; while :; do sleep 1; done", Duration::from_millis(200)).await;
    assert_eq!(ended, Ended::TimedOut);
    assert!(begun.elapsed() >= GRACE, "it had its time: {:?}", begun.elapsed());
    gone(&said).await;
}

#[tokio::test]
async fn what_it_leaves_behind_is_ended_too_and_is_not_waited_for() {
    let begun = Instant::now();
    let (ended, said) = run("sleep 1000 & echo $!", LONG).await;
    assert_eq!(ended, code(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    gone(&said).await;
}

#[tokio::test]
async fn one_that_floods_is_cut_off() {
    let (ended, said) = run("exec yes", LONG).await;
    assert_eq!(ended, Ended::By(ExitStatus::from_raw(13)), "SIGPIPE");
    assert!(
        said.ends_with("bytes more)") && said.len() < 3 * KEPT,
        "{} bytes: {}",
        said.len(),
        &said[said.len() - 60..]
    );
}

#[tokio::test]
async fn the_end_of_the_agent_ends_it() {
    let stop = CancellationToken::new();
    let running = shell("echo $$; exec sleep 1000");
    let pid = running.group.pid();
    let end = tokio::spawn({
        let stop = stop.clone();
        async move { running.end(LONG, &stop, &hands()).await }
    });
    stop.cancel();
    let (ended, _) = end.await.expect("it ends").expect("it is waited for");
    assert_eq!(ended, Ended::Stopped);
    assert!(!lives(&pid.as_raw_nonzero().to_string()));
}

#[tokio::test]
async fn dropped_it_is_killed() {
    let running = shell("exec sleep 1000");
    let pid = running.group.pid().as_raw_nonzero().to_string();
    assert!(lives(&pid));
    drop(running);
    gone(&pid).await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_an_error() {
    let text = tempfile::NamedTempFile::new().expect("a file");
    let program =
        Program { path: text.path().into(), arguments: Vec::new(), environment: Vec::new(), input: Stdio::null() };
    assert_eq!(program.start(&Leash::default()).expect_err("no program").kind(), io::ErrorKind::PermissionDenied);
    let program = Program {
        path: "no-such-program".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
        input: Stdio::null(),
    };
    assert_eq!(program.start(&Leash::default()).expect_err("no program").kind(), io::ErrorKind::NotFound);
}
