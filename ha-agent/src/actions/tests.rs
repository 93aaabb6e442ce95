//! The lanes over real programs, files and namespaces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::mpsc;

use super::plan::tests::router;
use super::*;
use crate::config::{Hook, Mode, Netns};
use crate::core::model::Basis;
use crate::telemetry::event::Event;

const LONG: Duration = Duration::from_secs(20);

/// Actions over a folder of this test's own, below /run, whose folders are root's.
struct Site {
    folder: tempfile::TempDir,
    actions: Option<Actions>,
    events: mpsc::Receiver<Event>,
    place: Place,
    namespace: Option<String>,
}

impl Site {
    fn new(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("ha-agent-actions-").tempdir_in("/run").expect("a folder");
        let mut config = Config::default();
        change(&mut config, folder.path());
        let (events, inbox, _) = Events::channel(256);
        let stop = CancellationToken::new();
        let actions = Actions::start(&config, events, &mut Registry::default(), stop).expect("they start");
        let place = Place { router: router(), folder: None, registered: None };
        Self { folder, actions: Some(actions), events: inbox, place, namespace: None }
    }

    /// Its router lives in a namespace of this test's own.
    fn in_namespace(mut self, tag: &str) -> Self {
        let name = format!("haact-{tag}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        self.place.router.netns = Netns::Path(Path::new("/run/netns").join(&name));
        self.namespace = Some(name);
        self
    }

    /// Its router is Neutron's, with this keepalived.conf.
    fn of_neutron(mut self, conf: &str) -> Self {
        let folder = self.path("ha_confs/router");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("keepalived.conf"), conf).expect("written");
        self.place.folder = Some(folder);
        self
    }

    fn registered(mut self, conntrackd: bool) -> Self {
        self.place.registered = Some(Registered { conntrackd, ..Registered::default() });
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn confirm(&self, place: &Place, previous: Option<State>, state: State) {
        let change = Change { state, previous, basis: Basis { report: false, vip: true, wire: true }, sequence: 3 };
        self.actions.as_ref().expect("they run").orders().confirmed(place, &change);
    }

    fn becomes(&self, state: State) {
        self.confirm(&self.place, Some(State::Unknown), state);
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(LONG, self.events.recv()).await.expect("no event").expect("it runs")
    }

    /// Done.
    async fn done(&mut self, wanted: &str) {
        match self.event().await {
            Event::ActionDone { action, .. } if action == wanted => {}
            other => panic!("expected {wanted} to be done, got {other:?}"),
        }
    }

    /// Failed: the reason and the status.
    async fn failed(&mut self, wanted: &str) -> (String, Option<i32>) {
        match self.event().await {
            Event::ActionFailed { action, reason, exit_status, .. } if action == wanted => (reason, exit_status),
            other => panic!("expected {wanted} to fail, got {other:?}"),
        }
    }

    /// Nothing else was told, and everything ends.
    async fn end(mut self) -> Vec<Event> {
        self.actions.take().expect("they run").stop().await;
        let mut left = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            left.push(event);
        }
        left
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(name) = &self.namespace {
            let _gone = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().expect("ip");
    assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn script(path: &Path, text: &str) -> Option<Hook> {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made executable");
    Some(Hook { program: path.to_owned(), arguments: vec!["given".to_owned()] })
}

/// A hook for primary and the rest of the defaults.
fn hook(text: &str, timeout: Duration) -> Site {
    Site::new(|config, folder| {
        config.actions.on_primary = script(&folder.join("hook"), text);
        config.actions.hook_timeout = timeout;
    })
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_hook_hears_of_its_router_and_its_end_is_told() {
    let mut site = hook("echo $1 $HA_AGENT_STATE $HA_AGENT_VIP >$(dirname $0)/heard", LONG);
    site.becomes(State::Primary);
    site.done("hook").await;
    let heard = fs::read_to_string(site.path("heard")).expect("it ran");
    assert_eq!(heard, "given primary 169.254.0.7/24\n");
    site.becomes(State::Backup);
    assert_eq!(site.end().await, []);
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_hook_that_fails_hangs_or_may_not_be_run_is_told_with_the_reason() {
    let mut site = hook("echo broken; exit 7", LONG);
    site.becomes(State::Primary);
    let (reason, status) = site.failed("hook").await;
    assert_eq!(status, Some(7));
    assert!(reason.ends_with("/hook: it ended with status 7"), "{reason}");

    // Exchanged since the configuration was read.
    fs::set_permissions(site.path("hook"), fs::Permissions::from_mode(0o775)).expect("changed");
    site.becomes(State::Primary);
    let (reason, status) = site.failed("hook").await;
    assert!(reason.contains("has mode 0775") && status.is_none(), "{reason}");
    fs::set_permissions(site.path("hook"), fs::Permissions::from_mode(0o644)).expect("changed");
    site.becomes(State::Primary);
    assert!(site.failed("hook").await.0.contains("not an executable file"));
    fs::remove_file(site.path("hook")).expect("removed");
    site.becomes(State::Primary);
    assert!(site.failed("hook").await.0.contains("No such file"));
    assert_eq!(site.end().await, []);

    let mut site = hook("sleep 1000", Duration::from_millis(300));
    site.becomes(State::Primary);
    let (reason, _) = site.failed("hook").await;
    assert!(reason.contains("did not end within 300ms"), "{reason}");
    assert_eq!(site.end().await, []);
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_hook_that_hangs_holds_up_its_own_router_only_and_the_newest_state_counts() {
    // Routers are told apart by their VRID; router 7 hangs until the file is there.
    let wait = "echo $HA_AGENT_VRID $HA_AGENT_STATE >>$(dirname $0)/heard; \
                if [ $HA_AGENT_VRID = 7 ]; then while [ ! -e $(dirname $0)/go ]; do sleep 0.05; done; fi";
    let mut site = Site::new(|config, folder| {
        config.actions.on_primary = script(&folder.join("hook"), wait);
        config.actions.on_backup.clone_from(&config.actions.on_primary);
        config.actions.on_fault.clone_from(&config.actions.on_primary);
        config.actions.hook_timeout = LONG;
        config.actions.max_hooks = 2;
    })
    .of_neutron("")
    .registered(false);
    let mut other = site.place.clone();
    other.router.id = RouterId(uuid::Uuid::from_u128(8));
    other.router.vrid = 8;
    other.registered = None;

    site.becomes(State::Primary);
    site.done("state_file").await;
    site.confirm(&other, None, State::Primary);
    site.done("hook").await;
    // Its hook still hangs; its file follows at once, and what had not begun is overtaken.
    site.becomes(State::Backup);
    site.done("state_file").await;
    site.becomes(State::Fault);
    let mut seen = [site.event().await, site.event().await].map(|event| event.name());
    seen.sort_unstable();
    assert_eq!(seen, ["action.done", "action.skipped"]);
    assert_eq!(fs::read_to_string(site.path("ha_confs/router/state")).expect("written"), "fault");
    fs::write(site.path("go"), "").expect("written");
    site.done("hook").await;
    site.done("hook").await;
    let heard = fs::read_to_string(site.path("heard")).expect("they ran");
    // Two began at once; the one that was overtaken never did.
    let mut lines: Vec<&str> = heard.lines().collect();
    lines[..2].sort_unstable();
    assert_eq!(lines, ["7 primary", "8 primary", "7 fault"]);
    assert_eq!(site.end().await, []);
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_the_end_kills_what_runs_writes_files_and_tells_what_is_not_done() {
    let site = Site::new(|config, folder| {
        config.actions.on_primary =
            script(&folder.join("hook"), "trap '' TERM; >$(dirname $0)/begun; while :; do sleep 0.1; done");
        config.actions.on_backup.clone_from(&config.actions.on_primary);
        config.actions.hook_timeout = LONG;
    })
    .of_neutron("")
    .registered(false);
    site.becomes(State::Primary);
    let begun = site.path("begun");
    tokio::time::timeout(LONG, async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the hook begins");
    site.becomes(State::Backup);
    let state = site.path("ha_confs/router/state");
    let begun = std::time::Instant::now();
    let orders = site.actions.as_ref().expect("they run").orders();
    let place = site.place.clone();
    let kept = site.folder.path().to_owned();
    let left = site.end_keeping(|| fs::read_to_string(&state).expect("written")).await;
    assert!(begun.elapsed() < STOP_WITHIN, "{:?}", begun.elapsed());
    assert_eq!(left.0, "backup");
    let told: Vec<String> = left.1.iter().map(crate::telemetry::summary::summary).collect();
    assert!(told.iter().any(|line| line == "hook for backup not done: the agent stops"), "{told:?}");
    assert!(told.iter().any(|line| line.contains("killed because the agent stops")), "{told:?}");
    // Who posts afterwards is not served, and harms nobody.
    let change = Change { state: State::Fault, previous: None, basis: Basis::default(), sequence: 0 };
    orders.confirmed(&place, &change);
    assert!(!kept.exists());
}

impl Site {
    /// As [`Site::end`], with a look before the folder goes.
    async fn end_keeping<T>(mut self, look: impl FnOnce() -> T) -> (T, Vec<Event>) {
        self.actions.take().expect("they run").stop().await;
        let seen = look();
        let mut left = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            left.push(event);
        }
        (seen, left)
    }
}

const GATEWAY: &str = "vrrp_instance VR_7 {\n  virtual_ipaddress_excluded {\n    203.0.113.5/24 dev qg-1 no_track\n  }\n\
                       \x20 virtual_routes {\n    0.0.0.0/0 via 203.0.113.1 dev qg-1 no_track\n  }\n}\n";

/// A setting as the namespace has it now.
fn setting(name: &str, file: &str) -> String {
    let file = format!("/proc/sys/net/ipv6/conf/{file}");
    let read = Command::new("ip").args(["netns", "exec", name, "cat", &file]).output().expect("cat");
    String::from_utf8_lossy(&read.stdout).trim().to_owned()
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_ipv6_follows_the_state_in_the_routers_namespace_alone() {
    let own = fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").expect("IPv6 is there");
    let mut site = Site::new(|config, _| config.actions.ipv6 = true).in_namespace("v6").of_neutron(GATEWAY);
    let name = site.namespace.clone().expect("a namespace");
    let has = |wanted: [&str; 3]| {
        assert_eq!(["all/forwarding", "qg-1/forwarding", "qg-1/accept_ra"].map(|file| setting(&name, file)), wanted);
    };
    ip(&["-n", &name, "link", "add", "qg-1", "type", "veth", "peer", "name", "peer-1"]);
    has(["0", "0", "1"]);
    site.becomes(State::Backup);
    site.done("ipv6").await;
    has(["0", "0", "0"]);
    site.becomes(State::Primary);
    site.done("ipv6").await;
    has(["1", "1", "2"]);
    site.becomes(State::Fault);
    site.done("ipv6").await;
    // Forwarding stays on in all, as the L3 agent leaves it.
    has(["1", "0", "0"]);

    // With an IPv6 gateway of its own it learns none.
    let conf = GATEWAY.replace("    0.0.0.0/0", "    ::/0 via fe80::1 dev qg-1\n    0.0.0.0/0");
    fs::write(site.path("ha_confs/router/keepalived.conf"), conf).expect("written");
    site.becomes(State::Primary);
    site.done("ipv6").await;
    has(["1", "1", "0"]);

    // Neither a gateway that is not plugged nor none at all is an error.
    ip(&["-n", &name, "link", "del", "qg-1"]);
    site.becomes(State::Primary);
    site.done("ipv6").await;
    fs::remove_file(site.path("ha_confs/router/keepalived.conf")).expect("removed");
    site.becomes(State::Backup);
    site.done("ipv6").await;

    assert_eq!(fs::read_to_string("/proc/sys/net/ipv6/conf/all/forwarding").expect("still there"), own);
    let mut gone = site.place.clone();
    gone.router.netns = Netns::Path("/run/netns/haact-never".into());
    site.confirm(&gone, None, State::Primary);
    assert!(site.failed("ipv6").await.0.contains("haact-never does not exist"));
    assert_eq!(site.end().await, []);
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_observing_only_the_file_is_written() {
    let mut site = Site::new(|config, folder| {
        config.mode = Mode::Observe;
        config.actions.ipv6 = true;
        config.actions.on_primary = script(&folder.join("hook"), "exit 1");
    })
    .in_namespace("observe")
    .of_neutron(GATEWAY)
    .registered(false);
    site.becomes(State::Primary);
    site.done("state_file").await;
    assert_eq!(site.end().await, []);
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_settings_read_again_hold_for_the_next_transition() {
    let mut site = hook("exit 1", LONG);
    site.becomes(State::Primary);
    site.failed("hook").await;
    let without = config::Actions { on_primary: None, ..Config::default().actions };
    site.actions.as_ref().expect("they run").reload(&without);
    site.becomes(State::Primary);
    assert_eq!(site.end().await, []);
}
