use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::time::Instant;

use super::due::Due;
use super::*;
use crate::advert_rules::{AdvertRules, Authentication, Checksum, Mode};
use crate::config::Netns;
use crate::telemetry::event::Event;

const LONG: Duration = Duration::from_secs(10);

/// A discovery over temporary folders.
struct Site {
    base: tempfile::TempDir,
    found: mpsc::Receiver<Discovery>,
    troubles: Vec<(Option<RouterId>, Option<String>)>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    release: watch::Sender<Release>,
}

impl Site {
    /// Over `<base>/neutron/ha_confs`; `prepare` gets its path first.
    fn start(prepare: impl FnOnce(&Path)) -> Self {
        Self::start_with(LONG, prepare)
    }

    /// As [`Site::start`], with another grace.
    fn start_with(grace: Duration, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_for(MOST_ROUTERS, grace, prepare)
    }

    /// As [`Site::start_with`], with room for so many.
    fn start_for(most: usize, grace: Duration, prepare: impl FnOnce(&Path)) -> Self {
        let base = tempfile::tempdir().expect("a folder");
        let root = base.path().join("neutron/ha_confs");
        fs::create_dir(base.path().join("netns")).expect("made");
        prepare(&root);
        let (sender, found) = mpsc::channel(4);
        let (events, event_inbox, _) = Events::channel(64);
        let stop = CancellationToken::new();
        let netns = base.path().join("netns");
        let (release, inbox) = watch::channel(Release::default());
        let mut registry = Registry::default();
        let task = HaConfs::start_at(&root, (&netns, grace, most), inbox, sender, events, &mut registry, stop.clone());
        Self { base, found, troubles: Vec::new(), events: event_inbox, task: task.expect("it starts"), stop, release }
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("neutron/ha_confs")
    }

    fn netns(&self, name: &str) -> PathBuf {
        self.base.path().join("netns").join(name)
    }

    /// What is told next beside troubles.
    async fn next(&mut self) -> Discovery {
        loop {
            let told = tokio::time::timeout(LONG, self.found.recv()).await.expect("nothing was told");
            match told.expect("it runs") {
                Discovery::Trouble { router, reason, .. } => self.troubles.push((router, reason)),
                other => return other,
            }
        }
    }

    async fn router(&mut self) -> Router {
        match self.next().await {
            Discovery::Found(router) => *router,
            other => panic!("expected a router, got {other:?}"),
        }
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(LONG, self.events.recv()).await.expect("no event").expect("it runs")
    }

    /// Nothing else has been told once a router that appears now is.
    async fn nothing_else(&mut self) {
        write(&self.root(), 999, &conf(99));
        assert_eq!(self.router().await.id, id(999));
        fs::remove_dir_all(self.root().join(id(999).to_string())).expect("removed");
        assert_eq!(self.next().await, Discovery::Gone(id(999)));
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("it does not end").expect("it ended badly");
    }
}

fn id(n: u128) -> RouterId {
    RouterId(uuid::Uuid::from_u128(n))
}

fn conf(vrid: u8) -> String {
    format!(
        "vrrp_instance VR_{vrid} {{\n interface ha-{vrid}\n virtual_router_id {vrid}\n advert_int 2\n \
         virtual_ipaddress {{\n 169.254.0.{vrid}/24 dev ha-{vrid}\n }}\n}}\n"
    )
}

/// As the L3 agent does it: the folder, then the file.
fn write(root: &Path, n: u128, text: &str) {
    let folder = root.join(id(n).to_string());
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("keepalived.conf"), text).expect("written");
}

fn file(root: &Path, n: u128) -> PathBuf {
    root.join(id(n).to_string()).join("keepalived.conf")
}

#[tokio::test]
async fn what_is_there_is_told_before_complete() {
    let mut site = Site::start(|root| {
        write(root, 1, &conf(1));
        // None of these is a router.
        fs::create_dir(root.join("not-a-uuid")).expect("made");
        fs::write(root.join("not-a-uuid/keepalived.conf"), conf(2)).expect("written");
        fs::create_dir(root.join("ABCDEF00-0000-0000-0000-000000000000")).expect("made");
        fs::write(root.join(id(3).to_string()), "a file").expect("written");
        symlink(root.join(id(1).to_string()), root.join(id(4).to_string())).expect("linked");
        fs::create_dir(root.join(id(5).to_string())).expect("made");
    });
    let router = site.router().await;
    assert_eq!(
        router,
        Router {
            id: id(1),
            netns: Netns::Path(site.netns(&format!("qrouter-{}", id(1)))),
            interface: "ha-1".to_owned(),
            vip: "169.254.0.1".parse().expect("an address"),
            prefix: 24,
            vip_interface: "ha-1".to_owned(),
            further: crate::addresses::FurtherAddresses::default(),
            vrid: 1,
            advert_interval: Duration::from_secs(2),
            fifo_instance: None,
            password: None,
            rules: AdvertRules {
                version: Some(2),
                mode: Some(Mode::Multicast { group: None }),
                authentication: Some(Authentication::None),
                interval: Some(Duration::from_secs(2)),
                addresses: Some(vec!["169.254.0.1".parse().expect("an address")]),
                ttl: Some(255),
                ..AdvertRules::default()
            },
        }
    );
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    site.nothing_else().await;
    assert!(site.events.try_recv().is_err());
    site.end().await;
}

#[tokio::test]
async fn files_appear_change_and_go() {
    let mut site = Site::start(|root| fs::create_dir_all(root).expect("made"));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let root = site.root();
    write(&root, 1, &conf(1));
    assert_eq!(site.router().await.vrid, 1);

    // In place.
    fs::write(file(&root, 1), conf(2)).expect("written");
    assert_eq!(site.router().await.vrid, 2);
    // The same again, and what is not read, is no change; nor is another file.
    fs::write(file(&root, 1), conf(2) + "# more\n").expect("written");
    fs::write(root.join(id(1).to_string()).join("state"), "primary").expect("written");
    site.nothing_else().await;
    // Renamed over, as Neutron replaces it.
    fs::write(root.join("new"), conf(3)).expect("written");
    fs::rename(root.join("new"), file(&root, 1)).expect("renamed");
    assert_eq!(site.router().await.vrid, 3);
    // Away and back within the pause is no change.
    fs::remove_file(file(&root, 1)).expect("removed");
    fs::write(file(&root, 1), conf(3)).expect("written");
    site.nothing_else().await;

    fs::remove_file(file(&root, 1)).expect("removed");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    fs::write(file(&root, 1), conf(4)).expect("written");
    assert_eq!(site.router().await.vrid, 4);
    fs::remove_dir_all(root.join(id(1).to_string())).expect("removed");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    write(&root, 1, &conf(5));
    assert_eq!(site.router().await.vrid, 5);
    site.end().await;
}

#[tokio::test]
async fn folders_are_moved_in_and_out() {
    let mut site = Site::start(|root| fs::create_dir_all(root).expect("made"));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let (root, elsewhere) = (site.root(), site.base.path().join("elsewhere"));
    write(&elsewhere, 1, &conf(1));
    let (inside, outside) = (root.join(id(1).to_string()), elsewhere.join(id(1).to_string()));
    fs::rename(&outside, &inside).expect("moved");
    assert_eq!(site.router().await.vrid, 1);
    // Out and in at once: its watch must be the one that sees the next change.
    fs::rename(&inside, &outside).expect("moved");
    fs::rename(&outside, &inside).expect("moved");
    site.nothing_else().await;
    fs::write(file(&root, 1), conf(2)).expect("written");
    assert_eq!(site.router().await.vrid, 2);
    fs::rename(&inside, &outside).expect("moved");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    fs::write(outside.join("keepalived.conf"), conf(3)).expect("written");
    site.nothing_else().await;
    site.end().await;
}

#[tokio::test]
async fn a_missing_ha_confs_is_waited_for_and_may_go() {
    let mut site = Site::start_with(Duration::ZERO, |_| {});
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let root = site.root();
    write(&root, 1, &conf(1));
    assert_eq!(site.router().await.vrid, 1);
    let away = site.base.path().join("neutron/away");
    fs::rename(&root, &away).expect("moved");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    fs::rename(&away, &root).expect("moved");
    assert_eq!(site.router().await.vrid, 1);
    fs::remove_dir_all(site.base.path().join("neutron")).expect("removed");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    write(&root, 2, &conf(2));
    assert_eq!(site.router().await.id, id(2));
    assert!(site.events.try_recv().is_err(), "nothing of that is a trouble");
    site.end().await;
}

#[tokio::test]
async fn one_that_is_mounted_late_is_complete_once_it_has_been_read() {
    let mut site = Site::start(|_| {});
    let staged = site.base.path().join("staged");
    write(&staged, 1, &conf(1));
    write(&staged, 2, "broken {");
    fs::create_dir(site.base.path().join("neutron")).expect("made");
    fs::rename(&staged, site.root()).expect("mounted");
    assert_eq!(site.router().await.id, id(1));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    assert!(matches!(&site.troubles[..], [(Some(router), Some(_))] if *router == id(2)), "{:?}", site.troubles);
    site.end().await;
}

#[tokio::test]
async fn a_file_that_could_never_be_read_is_gone_all_the_same() {
    let mut site = Site::start(|root| write(root, 1, "broken {"));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    fs::remove_file(file(&site.root(), 1)).expect("removed");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    site.end().await;
}

#[tokio::test]
async fn a_broken_file_is_named_once_and_stops_nobody() {
    let mut site = Site::start(|root| {
        write(root, 1, &conf(1).replace("virtual_router_id 1", "virtual_router_id one"));
        write(root, 2, &conf(2));
    });
    assert_eq!(site.router().await.id, id(2));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let path = file(&site.root(), 1);
    let Event::ChannelDegraded { channel, reason, router_id } = site.event().await else { panic!("another event") };
    assert_eq!((channel.as_str(), router_id), ("inventory", Some(id(1))));
    let expected = "expected virtual_router_id from 1 to 255, found \"one\": keepalived ends with such a configuration";
    assert_eq!(reason, format!("{}:3: {expected}", path.display()));

    // Wrong in the same way: nothing new to say.
    fs::write(&path, conf(1).replace("virtual_router_id 1", "virtual_router_id one") + "\n").expect("written");
    site.nothing_else().await;
    assert!(site.events.try_recv().is_err());

    fs::write(&path, conf(1)).expect("written");
    assert_eq!(site.router().await.vrid, 1);
    let restored = Event::ChannelRestored { channel: "inventory".to_owned(), router_id: Some(id(1)) };
    assert_eq!(site.event().await, restored);
    assert_eq!(site.troubles, [(Some(id(1)), Some(reason)), (Some(id(1)), None)], "`status` shows the same");

    // Broken later: what was known of it stays.
    fs::write(&path, &conf(1)[..40]).expect("written");
    assert!(matches!(site.event().await, Event::ChannelDegraded { .. }));
    site.nothing_else().await;
    fs::remove_file(&path).expect("removed");
    assert_eq!(site.next().await, Discovery::Gone(id(1)));
    assert_eq!(site.event().await, restored);
    site.end().await;
}

#[tokio::test]
async fn what_is_no_plain_file_of_some_size_is_refused() {
    let large = format!("{}#{}", conf(1), " ".repeat(300_000));
    for (what, expected) in [
        ("large", "is larger than 256 KiB"),
        ("link", "a symbolic link, which is not followed"),
        ("folder", "expected a regular file"),
        ("fifo", "expected a regular file"),
        ("empty", "expected a vrrp_instance, found none"),
    ] {
        let mut site = Site::start(|root| {
            let folder = root.join(id(1).to_string());
            fs::create_dir_all(&folder).expect("made");
            let path = folder.join("keepalived.conf");
            match what {
                "large" => fs::write(path, &large),
                "link" => fs::write(folder.join("real"), conf(1)).and_then(|()| symlink("real", path)),
                "folder" => fs::create_dir(path),
                "empty" => fs::write(path, ""),
                _ => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    path,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                    0,
                )
                .map_err(Into::into),
            }
            .expect("made");
        });
        assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs), "{what}");
        let Event::ChannelDegraded { reason, .. } = site.event().await else { panic!("another event") };
        assert!(reason.contains(expected) && reason.contains("keepalived.conf: "), "{what}: {reason}");
        site.end().await;
    }
}

#[tokio::test]
async fn the_namespace_is_the_one_that_is_there() {
    let mut site = Site::start(|root| write(root, 1, &conf(1)));
    let (qrouter, snat) = (site.netns(&format!("qrouter-{}", id(1))), site.netns(&format!("snat-{}", id(1))));
    assert_eq!(site.router().await.netns, Netns::Path(qrouter.clone()));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    // DVR: the router's own namespace is there too, but the HA interface is in the other.
    fs::write(&qrouter, "").expect("written");
    fs::write(&snat, "").expect("written");
    assert_eq!(site.router().await.netns, Netns::Path(snat.clone()));
    // With both away the last answer holds; a change of the file is told with it.
    fs::remove_file(&qrouter).expect("removed");
    fs::remove_file(&snat).expect("removed");
    fs::write(file(&site.root(), 1), conf(2)).expect("written");
    let router = site.router().await;
    assert_eq!((router.vrid, router.netns), (2, Netns::Path(snat)));
    fs::write(&qrouter, "").expect("written");
    assert_eq!(site.router().await.netns, Netns::Path(qrouter));
    site.end().await;
}

#[tokio::test]
async fn a_thousand_routers_are_told_and_let_go() {
    let mut site =
        Site::start(|root| (1..=1000).for_each(|n| write(root, n, &conf(u8::try_from(n % 254 + 1).expect("a VRID")))));
    let begin = std::time::Instant::now();
    let mut told = BTreeSet::new();
    while let Discovery::Found(router) = site.next().await {
        told.insert(router.id);
    }
    // Some 0.13 s, unoptimised; the rest is for a machine that does other things too.
    assert!(begin.elapsed() < Duration::from_secs(3), "took {:?}", begin.elapsed());
    assert_eq!(told.len(), 1000);
    fs::remove_dir_all(site.root()).expect("removed");
    for _ in 0..1000 {
        let Discovery::Gone(id) = site.next().await else { panic!("expected one to go") };
        assert!(told.remove(&id));
    }
    site.end().await;
}

#[tokio::test]
async fn of_more_than_there_is_room_for_the_first_ones_live_on() {
    let mut site = Site::start_for(3, LONG, |root| (1..=3).for_each(|n| write(root, n, &conf(1))));
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        told.insert(site.router().await.id);
    }
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let root = site.root();
    (4..=40).for_each(|n| write(&root, n, &conf(1)));
    let Event::ChannelDegraded { reason, router_id: None, .. } = site.event().await else { panic!("another event") };
    assert!(reason.contains("more than 3 router folders"), "{reason}");
    // The first ones are watched as before, and there is room again once one of them goes.
    fs::write(file(&root, 2), conf(7)).expect("written");
    let changed = site.router().await;
    assert_eq!((changed.id, changed.vrid), (id(2), 7));
    fs::remove_dir_all(root.join(id(1).to_string())).expect("removed");
    let mut next = [site.next().await, site.next().await];
    next.sort_by_key(|told| matches!(told, Discovery::Found(_)));
    assert_eq!(next[0], Discovery::Gone(id(1)));
    assert!(matches!(&next[1], Discovery::Found(router) if !told.contains(&router.id)), "{next:?}");
    // With the rest gone nothing is wrong any more.
    (4..=40).for_each(|n| drop(fs::remove_dir_all(root.join(id(n).to_string()))));
    while !matches!(site.event().await, Event::ChannelRestored { router_id: None, .. }) {}
    site.end().await;
}

#[tokio::test]
async fn another_release_reads_the_files_again() {
    let mut site = Site::start(|root| {
        let text = conf(1).replace("advert_int 2", "v3_checksum_as_v2\n version 3");
        write(root, 1, &text);
    });
    assert_eq!(site.router().await.rules.checksum, Checksum::Default);
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    site.release.send_replace(Release::new(2, 3, 3));
    let rules = site.router().await.rules;
    assert_eq!((rules.checksum, rules.release), (Checksum::PlainV3, Release::new(2, 3, 3)));
    site.end().await;
}

#[tokio::test]
async fn it_ends_with_its_receiver_and_refuses_what_cannot_be_watched() {
    let Site { base: _base, found, task, stop: _stop, release: _release, .. } = Site::start(|_| {});
    drop(found);
    tokio::time::timeout(LONG, task).await.expect("it does not end").expect("it ended badly");
    let (sender, _found) = mpsc::channel(1);
    let (events, _inbox, _) = Events::channel(1);
    let mut registry = Registry::default();
    let (_release, inbox) = watch::channel(Release::default());
    let stop = CancellationToken::new();
    let started = HaConfs::start(Path::new("relative"), inbox, sender, events, &mut registry, stop);
    assert!(matches!(started, Err(InventoryError::Watch { .. })));
}

mod when {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(50);

    #[test]
    fn a_change_is_looked_at_after_a_pause_however_long_it_goes_on() {
        let mut due = Due::default();
        let begin = Instant::now();
        let mut now = begin;
        while due.take(now, 9).is_empty() {
            due.changed(id(1), now, PAUSE);
            now += PAUSE / 2;
        }
        assert_eq!(now - begin, PAUSE * 10, "a file that is written without end is looked at then");
        assert_eq!(due.next(), None);
        due.changed(id(1), now, PAUSE);
        due.changed(id(2), now, PAUSE / 2);
        assert!(due.take(now, 9).is_empty());
        assert_eq!(due.take(now + PAUSE, 1), [id(2)]);
        assert_eq!(due.take(now + PAUSE, 9), [id(1)]);
    }
}

/// Plays itself in a user namespace, whose limits are its own.
#[test]
#[ignore = "needs root"]
fn privileged_without_inotify_watches_changes_are_looked_for() {
    const INSIDE: &str = "HA_AGENT_TEST_FEW_WATCHES";
    if std::env::var_os(INSIDE).is_none() {
        let script = "echo 12 > /proc/sys/user/max_inotify_watches && exec \"$0\" --exact \"$1\" --ignored --nocapture";
        let name = "inventory::ha_confs::tests::privileged_without_inotify_watches_changes_are_looked_for";
        let program = std::env::current_exe().expect("this program");
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-ec", script]).arg(program).arg(name).env(INSIDE, "1");
        assert!(command.status().expect("util-linux is there").success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut site = Site::start_with(Duration::ZERO, |root| (1..=20).for_each(|n| write(root, n, &conf(1))));
        for _ in 0..20 {
            site.router().await;
        }
        let Event::ChannelDegraded { reason, .. } = site.event().await else { panic!("another event") };
        assert!(reason.contains("no inotify watch is left: raise fs.inotify.max_user_watches"), "{reason}");
        // Whoever is not watched is looked at all the same.
        (1..=20).for_each(|n| write(&site.root(), n, &conf(7)));
        let mut changed = BTreeSet::new();
        while changed.len() < 20 {
            let told = tokio::time::timeout(POLL * 2, site.found.recv()).await.expect("looked for").expect("it runs");
            if let Discovery::Found(router) = told {
                assert_eq!(router.vrid, 7);
                changed.insert(router.id);
            }
        }
        site.end().await;
    });
}

/// A file system that never answers: nobody reads what the kernel asks.
struct Silent {
    at: std::ffi::CString,
    _device: fs::File,
}

impl Silent {
    fn mount(at: &Path) -> Self {
        use std::os::fd::AsRawFd as _;
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").expect("FUSE is there");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let text = |text: &str| std::ffi::CString::new(text).expect("no zero byte");
        let (at, kind, options) = (text(at.to_str().expect("UTF-8")), text("fuse"), text(&options));
        // SAFETY: all of them are C strings that live for the call.
        let mounted = unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
        assert_eq!(mounted, 0, "{}", io::Error::last_os_error());
        Self { at, _device: device }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // SAFETY: a C string that lives for the call. With the device closed, whoever waits gets an error.
        unsafe { libc::umount2(self.at.as_ptr(), libc::MNT_DETACH) };
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_folder_that_does_not_answer_stops_no_other() {
    let mut silent = None;
    let mut site = Site::start_with(Duration::ZERO, |root| {
        (1..=20).for_each(|n| write(root, n, &conf(1)));
        silent = Some(Silent::mount(&root.join(id(7).to_string())));
    });
    let mut told = BTreeSet::new();
    for _ in 0..19 {
        told.insert(site.router().await.id);
    }
    assert!(!told.contains(&id(7)));
    assert_eq!(site.next().await, Discovery::Complete(Search::HaConfs));
    let Event::ChannelDegraded { reason, router_id, .. } = site.event().await else { panic!("another event") };
    assert_eq!(router_id, Some(id(7)));
    assert!(reason.contains("no answer within 2 s"), "{reason}");
    // Changes of the others are seen at once.
    fs::write(file(&site.root(), 8), conf(9)).expect("written");
    let changed = site.router().await;
    assert_eq!((changed.id, changed.vrid), (id(8), 9));
    // Unmounted, its own folder is there.
    drop(silent);
    let again = site.router().await;
    assert_eq!((again.id, again.vrid), (id(7), 1));
    assert_eq!(site.event().await, Event::ChannelRestored { channel: "inventory".to_owned(), router_id: Some(id(7)) });
    site.end().await;
}
