use std::process::Command;

use super::*;

/// A namespace of this test's own, removed with it.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new(tag: &str) -> Self {
        let name = format!("hat-{tag}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self { name }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    fn netns(&self) -> Netns {
        Netns::Path(self.path())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().unwrap();
    assert!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn here() -> PathBuf {
    std::fs::read_link(OWN).unwrap()
}

#[tokio::test]
async fn own_namespace_needs_no_right_and_is_left_alone() {
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    let inside = thread.run_in(Netns::Own, here).await.unwrap();
    assert_eq!(inside, here());
    thread.stop().await;
}

#[tokio::test]
async fn what_cannot_be_entered_is_named() {
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    let missing = PathBuf::from("/run/netns/hat-not-there");
    let result = thread.run_in(Netns::Path(missing.clone()), || ()).await;
    assert!(matches!(result, Err(NetnsError::Missing { path }) if path == missing));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    let result = thread.run_in(Netns::Path(path.clone()), || ()).await;
    assert!(
        matches!(&result, Err(NetnsError::NotANamespace { path: p } | NetnsError::NotPermitted { path: p }) if *p == path),
        "{result:?}"
    );
    thread.stop().await;
}

#[tokio::test]
async fn a_stopped_thread_says_so_and_clones_see_it() {
    let stop = CancellationToken::new();
    let thread = NetnsThread::spawn(stop.clone()).unwrap();
    let other = thread.clone();
    stop.cancel();
    thread.stop().await;
    let result = other.run_in(Netns::Own, || ()).await;
    assert!(matches!(result, Err(NetnsError::Gone)));
    other.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_command_runs_inside_and_the_thread_comes_back() {
    let namespace = Namespace::new("in");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    let home = here();
    let inside = thread.run_in(namespace.netns(), here).await.unwrap();
    assert_ne!(inside, home);
    assert_eq!(thread.run_in(Netns::Own, here).await.unwrap(), home);
    assert_eq!(here(), home);
    thread.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_nothing_pins_a_namespace() {
    let namespace = Namespace::new("pin");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    let inside = thread.run_in(namespace.netns(), here).await.unwrap();
    drop(namespace);
    // No thread is in it and no descriptor refers to it.
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let link = task.unwrap().path().join("ns/net");
        assert!(std::fs::read_link(link).is_ok_and(|net| net != inside));
    }
    for descriptor in std::fs::read_dir("/proc/self/fd").unwrap() {
        let target = std::fs::read_link(descriptor.unwrap().path());
        assert!(target.map_or(true, |target| target != inside));
    }
    thread.stop().await;
}
