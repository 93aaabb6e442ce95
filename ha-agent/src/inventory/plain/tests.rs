use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::config::Netns;
use crate::inventory::keepalived_release::Installed;

const LONG: Duration = Duration::from_secs(10);

/// A discovery over files in a temporary folder.
struct Site {
    base: tempfile::TempDir,
    found: mpsc::Receiver<Discovery>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    release: tokio::sync::watch::Sender<Release>,
}

impl Site {
    /// Of `<base>/keepalived/keepalived.conf` and `<base>/other.conf`; `prepare` gets `<base>` first.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_as(false, prepare)
    }

    /// As [`Site::start`]; `named`: the configuration names these files.
    fn start_as(named: bool, prepare: impl FnOnce(&Path)) -> Self {
        let base = tempfile::tempdir().expect("a folder");
        prepare(base.path());
        let (sender, found) = mpsc::channel(4);
        let (events, event_inbox, _) = Events::channel(64);
        let stop = CancellationToken::new();
        let settings = Keepalived {
            configs: vec![base.path().join("keepalived/keepalived.conf"), base.path().join("other.conf")],
            configs_given: named,
            config_id: "node1".to_owned(),
            netns: Netns::Own,
            program: None,
            installed: Installed::default(),
        };
        let (release, inbox) = tokio::sync::watch::channel(Release::default());
        let task = Plain::start(&settings, inbox, sender, events, &mut Registry::default(), stop.clone());
        Self { base, found, events: event_inbox, task: task.expect("it starts"), stop, release }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    /// Writes it beside and renames it over, as editors and configuration managers do.
    fn replace(&self, path: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, self.path(path)).expect("renamed");
    }

    async fn next(&mut self) -> Discovery {
        tokio::time::timeout(LONG, self.found.recv()).await.expect("nothing was told").expect("it runs")
    }

    async fn found(&mut self) -> (String, u8) {
        match self.next().await {
            Discovery::Found(router) => (router.fifo_instance.expect("a name"), router.vrid),
            other => panic!("expected a router, got {other:?}"),
        }
    }

    async fn gone(&mut self, name: &str) {
        assert_eq!(self.next().await, Discovery::Gone(router_id(&Netns::Own, name)));
    }

    async fn trouble(&mut self) -> Option<String> {
        match self.next().await {
            Discovery::Trouble { reason, .. } => reason,
            other => panic!("expected a trouble, got {other:?}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("it does not end").expect("it ended badly");
    }
}

fn instance(name: &str, vrid: u8) -> String {
    format!(
        "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n virtual_ipaddress {{\n \
         192.0.2.{vrid}/24\n }}\n}}\n"
    )
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

#[test]
fn an_id_is_the_same_on_every_node() {
    // python3 -c 'import uuid; print(uuid.uuid5(uuid.UUID("6cac80dd-b6fd-4a97-8862-7233c98354d1"), "self/VI_1"))'
    assert_eq!(router_id(&Netns::Own, "VI_1").to_string(), "f6f242a0-9fd0-531d-8c4d-8f6853029685");
    assert_eq!(
        router_id(&Netns::Path("/run/netns/blue".into()), "VI_1").to_string(),
        "f0cc617d-2089-5bfc-bf6e-d57de5c5d925"
    );
}

#[tokio::test]
async fn instances_come_change_and_go_with_their_files() {
    let mut site = Site::start(|base| {
        write(&base.join("keepalived/keepalived.conf"), &format!("{}include conf.d/*.conf\n", instance("A", 1)));
        write(&base.join("keepalived/conf.d/b.conf"), &instance("B", 2));
    });
    let both = BTreeSet::from([site.found().await, site.found().await]);
    assert_eq!(both, BTreeSet::from([("A".to_owned(), 1), ("B".to_owned(), 2)]));
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));

    // One more in the folder, one changed in place, one replaced by rename, one removed.
    write(&site.path("keepalived/conf.d/c.conf"), &instance("C", 3));
    assert_eq!(site.found().await, ("C".to_owned(), 3));
    write(&site.path("keepalived/conf.d/c.conf"), &instance("C", 4));
    assert_eq!(site.found().await, ("C".to_owned(), 4));
    site.replace("keepalived/conf.d/b.conf", &instance("B", 5));
    assert_eq!(site.found().await, ("B".to_owned(), 5));
    fs::remove_file(site.path("keepalived/conf.d/c.conf")).expect("removed");
    site.gone("C").await;
    // Another file that belongs to the configuration only by its name.
    write(&site.path("other.conf"), &instance("D", 6));
    assert_eq!(site.found().await, ("D".to_owned(), 6));
    assert!(site.events.try_recv().is_err(), "nothing of that is a trouble");
    site.end().await;
}

#[tokio::test]
async fn folders_and_links_are_followed_as_they_appear_and_change() {
    let mut site = Site::start(|_| {});
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));
    // As a volume of Kubernetes does it: the file is a link into a folder that is a link.
    write(&site.path("keepalived/..1/keepalived.conf"), &instance("A", 1));
    symlink("..1", site.path("keepalived/..data")).expect("linked");
    symlink("..data/keepalived.conf", site.path("keepalived/keepalived.conf")).expect("linked");
    assert_eq!(site.found().await, ("A".to_owned(), 1));
    write(&site.path("keepalived/..2/keepalived.conf"), &instance("A", 2));
    symlink("..2", site.path("keepalived/..new")).expect("linked");
    fs::rename(site.path("keepalived/..new"), site.path("keepalived/..data")).expect("renamed");
    assert_eq!(site.found().await, ("A".to_owned(), 2));
    write(&site.path("keepalived/..2/keepalived.conf"), &instance("A", 3));
    assert_eq!(site.found().await, ("A".to_owned(), 3));
    fs::rename(site.path("keepalived"), site.path("away")).expect("moved");
    assert_eq!(site.next().await, Discovery::Lost(router_id(&Netns::Own, "A")), "keepalived goes on with it");
    let reason = site.trouble().await.expect("it is named");
    assert!(reason.contains("keepalived/keepalived.conf is gone"), "{reason}");
    fs::rename(site.path("away"), site.path("keepalived")).expect("moved");
    assert_eq!(site.found().await, ("A".to_owned(), 3));
    assert_eq!(site.trouble().await, None);
    site.end().await;
}

#[tokio::test]
async fn what_is_broken_is_named_once_and_keeps_what_was_known() {
    let both = instance("A", 1) + &instance("B", 2);
    let mut site = Site::start(|base| write(&base.join("keepalived/keepalived.conf"), &both));
    site.found().await;
    site.found().await;
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));

    let broken = both.replace("virtual_router_id 1", "virtual_router_id one").replace("id 2", "id 3");
    site.replace("keepalived/keepalived.conf", &broken);
    assert_eq!(site.found().await, ("B".to_owned(), 3), "its neighbour goes on");
    let reason = site.trouble().await.expect("it begins");
    assert!(
        reason.contains("keepalived/keepalived.conf:3: expected virtual_router_id from 1 to 255, found"),
        "{reason}"
    );
    let about = Some(router_id(&Netns::Own, "A"));
    let told = tokio::time::timeout(LONG, site.events.recv()).await.expect("told").expect("it runs");
    assert_eq!(told, Event::ChannelDegraded { channel: "inventory".to_owned(), reason, router_id: about });

    // The file ends too soon: nobody is let go, and each change is looked at again.
    site.replace("keepalived/keepalived.conf", &instance("B", 4)[..30]);
    assert_eq!(site.trouble().await, None, "another trouble than before");
    assert!(site.trouble().await.is_some_and(|reason| reason.contains(":1: expected a } that closes")));
    assert!(site.trouble().await.is_some_and(|reason| reason.contains(":1: expected virtual_router_id")));
    site.replace("keepalived/keepalived.conf", &instance("B", 4));
    site.gone("A").await;
    assert_eq!(site.found().await, ("B".to_owned(), 4));
    assert_eq!((site.trouble().await, site.trouble().await), (None, None));
    site.end().await;
}

#[tokio::test]
async fn a_file_that_the_configuration_names_and_is_not_there_is_named() {
    let mut site = Site::start_as(true, |base| write(&base.join("other.conf"), &instance("A", 1)));
    assert_eq!(site.found().await, ("A".to_owned(), 1));
    let reason = site.trouble().await.expect("it is named");
    let path = site.path("keepalived/keepalived.conf");
    assert_eq!(reason, format!("{} is not there, and is waited for: check keepalived.configs", path.display()));
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));
    write(&path, &instance("B", 2));
    assert_eq!(site.found().await, ("B".to_owned(), 2));
    assert_eq!(site.trouble().await, None);
    site.end().await;
}

#[tokio::test]
async fn what_keepalived_passes_over_is_named() {
    let mut site = Site::start(|base| {
        write(&base.join("keepalived/keepalived.conf"), "include run.conf\ninclude gone.conf\n");
        write(&base.join("keepalived/run.conf"), &instance("A", 1));
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(base.join("keepalived/run.conf"), executable).expect("changed");
        write(&base.join("other.conf"), &instance("B", 2));
    });
    assert_eq!(site.found().await, ("B".to_owned(), 2));
    let reason = site.trouble().await.expect("it begins");
    assert!(reason.contains("keepalived.conf:1: cannot include") && reason.contains("it is executable"), "{reason}");
    assert!(reason.contains("keepalived.conf:2: ") && reason.contains("it is not there"), "{reason}");
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));
    let plain = fs::Permissions::from_mode(0o644);
    fs::set_permissions(site.path("keepalived/run.conf"), plain).expect("changed");
    assert_eq!(site.found().await, ("A".to_owned(), 1));
    let rest = site.trouble().await.expect("one is left");
    assert!(!rest.contains("executable"), "{rest}");
    write(&site.path("keepalived/gone.conf"), &instance("B", 9));
    assert_eq!(site.found().await, ("B".to_owned(), 9), "the first file that has it is believed");
    assert_eq!(site.trouble().await, None);
    assert!(site.trouble().await.is_some_and(|reason| reason.contains("other.conf: vrrp_instance \"B\"")));
    site.end().await;
}

#[tokio::test]
async fn another_release_reads_the_files_again() {
    let mut site = Site::start(|base| write(&base.join("other.conf"), &instance("A", 1)));
    site.found().await;
    assert_eq!(site.next().await, Discovery::Complete(Search::Keepalived));
    site.release.send_replace(Release::new(2, 3, 3));
    match site.next().await {
        Discovery::Found(router) => assert_eq!(router.rules.release, Release::new(2, 3, 3)),
        other => panic!("expected a router, got {other:?}"),
    }
    site.end().await;
}

#[tokio::test]
async fn it_ends_with_its_receiver() {
    let Site { base: _base, found, task, stop: _stop, release: _release, .. } = Site::start(|_| {});
    drop(found);
    tokio::time::timeout(LONG, task).await.expect("it does not end").expect("it ended badly");
}
