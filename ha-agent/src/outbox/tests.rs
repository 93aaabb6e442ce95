use std::fs;
use std::sync::Mutex;
use std::time::Instant;

use tempfile::TempDir;
use uuid::Uuid;

use super::store::tests::{Faults, Faulty};
use super::*;
use crate::core::model::Basis;

const QUICK: Pace = Pace {
    retry_first: Duration::from_millis(5),
    retry_max: Duration::from_millis(20),
    lazy: Duration::from_millis(5),
    // A loaded machine's disk may take its time: only where hanging is the subject is it called so.
    stall: Duration::from_secs(60),
};
const IMPATIENT: Pace = Pace { stall: Duration::from_millis(100), ..QUICK };

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    fn emit(&self) -> Emit {
        let seen = self.clone();
        Arc::new(move |event| seen.0.lock().unwrap().push(event))
    }
    /// `degraded`/`restored` in order.
    fn words(&self) -> Vec<&'static str> {
        let seen = self.0.lock().unwrap();
        seen.iter()
            .map(|event| match event {
                Event::ChannelDegraded { channel, .. } if channel == "outbox" => "degraded",
                Event::ChannelRestored { channel, .. } if channel == "outbox" => "restored",
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }
    fn reasons(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

fn id(n: u128) -> RouterId {
    RouterId(Uuid::from_u128(n))
}

fn confirmed(n: u128, state: State) -> Confirmed {
    Confirmed { router: id(n), state, previous: None, basis: Basis::default(), confirmed_at_us: 1 }
}

fn open(dir: &Path, seen: &Seen) -> (Outbox, Vec<Entry>) {
    let metrics = Metrics::register(&mut Registry::default());
    Outbox::open_on(Disk::new(dir), QUICK, seen.emit(), metrics)
}

fn open_faulty(dir: &Path, seen: &Seen) -> (Outbox, Vec<Entry>, Arc<Faults>) {
    open_paced(dir, seen, QUICK)
}

fn open_paced(dir: &Path, seen: &Seen, pace: Pace) -> (Outbox, Vec<Entry>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let medium = Faulty { disk: Disk::new(dir), faults: Arc::clone(&faults) };
    let metrics = Metrics::register(&mut Registry::default());
    let (outbox, entries) = Outbox::open_on(medium, pace, seen.emit(), metrics);
    (outbox, entries, faults)
}

/// The next changes that delivery sees; never empty.
async fn handed(outbox: &Outbox) -> Vec<Change> {
    let wait = async {
        loop {
            let changes = outbox.take_ready(clock::now());
            if !changes.is_empty() {
                return changes;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), outbox.ready()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("nothing was handed over")
}

async fn until(outbox: &Outbox, healthy: bool) {
    let mut health = outbox.health();
    let wait = health.wait_for(|health| (*health == Health::Healthy) == healthy);
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("health does not change").unwrap();
}

fn states(changes: &[Change]) -> Vec<(RouterId, State)> {
    changes
        .iter()
        .map(|change| match change {
            Change::Confirmed { entry, .. } => (entry.router, entry.state),
            Change::Forgotten(router) => panic!("{router} forgotten"),
        })
        .collect()
}

#[tokio::test]
async fn states_sequences_and_deliveries_survive_a_restart() {
    let dir = TempDir::new().unwrap();
    let seen = Seen::default();
    let (outbox, entries) = open(dir.path(), &seen);
    assert!(entries.is_empty());
    outbox.put(&[confirmed(1, State::Backup), confirmed(2, State::Backup)]);
    assert_eq!(handed(&outbox).await.len(), 2);
    let first = outbox.standing(id(1)).unwrap();
    assert!(first.pending);
    outbox.acknowledge(id(1), first.sequence, State::Backup);
    outbox.put(&[confirmed(1, State::Primary)]);
    assert_eq!(states(&handed(&outbox).await), [(id(1), State::Primary)]);
    outbox.stop().await;

    let (outbox, entries) = open(dir.path(), &seen);
    let [one, two] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((one.router, one.state), (id(1), State::Primary));
    assert!(one.sequence > first.sequence);
    assert_eq!(one.delivered, first.sequence);
    assert_eq!(one.delivered_state, Some(State::Backup));
    assert_eq!((two.state, two.delivered), (State::Backup, 0));
    outbox.put(&[confirmed(1, State::Backup)]);
    handed(&outbox).await;
    assert!(outbox.standing(id(1)).unwrap().sequence > one.sequence);
    outbox.stop().await;
    assert_eq!(seen.words(), [""; 0]);
}

#[tokio::test]
async fn acknowledgements_and_forgetting_reach_the_disk_by_themselves() {
    let dir = TempDir::new().unwrap();
    let seen = Seen::default();
    let (outbox, _) = open(dir.path(), &seen);
    outbox.put(&[confirmed(1, State::Backup), confirmed(2, State::Backup)]);
    handed(&outbox).await;
    let sequence = outbox.standing(id(1)).unwrap().sequence;
    outbox.acknowledge(id(1), sequence, State::Backup);
    outbox.forget(id(2));
    assert_eq!(handed(&outbox).await, [Change::Forgotten(id(2))]);
    // The file as it is now, without an orderly end.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let copy = TempDir::new().unwrap();
        fs::copy(dir.path().join("outbox.redb"), copy.path().join("outbox.redb")).unwrap();
        let (_, entries) = open(copy.path(), &seen);
        if entries.len() == 1 && entries[0].delivered == sequence {
            break;
        }
        assert!(Instant::now() < deadline, "{entries:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_acknowledgement_of_an_older_state_leaves_the_newer_one_pending() {
    let dir = TempDir::new().unwrap();
    let (outbox, _) = open(dir.path(), &Seen::default());
    outbox.put(&[confirmed(1, State::Backup)]);
    let first = outbox.standing(id(1)).unwrap().sequence;
    outbox.put(&[confirmed(1, State::Primary)]);
    outbox.acknowledge(id(1), first, State::Backup);
    let standing = outbox.standing(id(1)).unwrap();
    assert!(standing.pending);
    assert_eq!(standing.delivered_state, Some(State::Backup));
    // Neither backwards, nor for what never was.
    outbox.acknowledge(id(1), first - 1, State::Fault);
    outbox.acknowledge(id(1), first + 2, State::Fault);
    assert_eq!(outbox.standing(id(1)).unwrap(), standing);
}

/// The file's content at the moment of a hand-over holds what was handed over.
#[tokio::test]
async fn nothing_is_handed_over_before_it_is_on_disk() {
    let dir = TempDir::new().unwrap();
    let (outbox, _, faults) = open_faulty(dir.path(), &Seen::default());
    faults.hang(true);
    outbox.put(&[confirmed(1, State::Primary)]);
    assert!(tokio::time::timeout(Duration::from_millis(30), outbox.ready()).await.is_err());
    assert_eq!(outbox.take_ready(clock::now()), []);
    faults.hang(false);
    handed(&outbox).await;
}

#[tokio::test]
async fn a_failing_disk_is_told_once_and_what_it_missed_is_written_later() {
    for fault in [Faults::fail_write, Faults::fail_sync] {
        for errno in [libc::ENOSPC, libc::EIO, libc::EDQUOT] {
            let dir = TempDir::new().unwrap();
            let seen = Seen::default();
            let (outbox, _, faults) = open_faulty(dir.path(), &seen);
            outbox.put(&[confirmed(1, State::Backup), confirmed(9, State::Backup)]);
            handed(&outbox).await;
            fault(&faults, errno);
            outbox.put(&[confirmed(1, State::Primary)]);
            assert_eq!(states(&handed(&outbox).await), [(id(1), State::Primary)]);
            until(&outbox, false).await;
            outbox.put(&[confirmed(2, State::Primary)]);
            assert_eq!(states(&handed(&outbox).await), [(id(2), State::Primary)]);
            outbox.forget(id(9));
            fault(&faults, 0);
            until(&outbox, true).await;
            assert_eq!(seen.words(), ["degraded", "restored"]);
            let sequence = outbox.standing(id(1)).unwrap().sequence;
            outbox.stop().await;
            let (_, entries) = open(dir.path(), &Seen::default());
            assert_eq!(
                entries.iter().map(|e| (e.router, e.state)).collect::<Vec<_>>(),
                [(id(1), State::Primary), (id(2), State::Primary)]
            );
            assert_eq!(entries[0].sequence, sequence);
        }
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_at_the_start_is_read() {
    let dir = TempDir::new().unwrap();
    let seen = Seen::default();
    let (outbox, _) = open(dir.path(), &seen);
    outbox.put(&[confirmed(1, State::Primary)]);
    handed(&outbox).await;
    let sequence = outbox.standing(id(1)).unwrap().sequence;
    // As a crash leaves it: recovery would have to write.
    let crashed = TempDir::new().unwrap();
    fs::copy(dir.path().join("outbox.redb"), crashed.path().join("outbox.redb")).unwrap();

    let faults = Arc::new(Faults::default());
    faults.fail_open(true);
    let medium = Faulty { disk: Disk::new(crashed.path()), faults: Arc::clone(&faults) };
    let metrics = Metrics::register(&mut Registry::default());
    let (outbox, entries) = Outbox::open_on(medium, QUICK, seen.emit(), metrics);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].sequence, entries[0].state), (sequence, State::Primary));
    outbox.put(&[confirmed(1, State::Backup)]);
    handed(&outbox).await;
    let next = outbox.standing(id(1)).unwrap().sequence;
    assert!(next > sequence);
    assert_eq!(seen.words(), ["degraded"]);
    assert!(seen.reasons().contains("outbox.redb: "), "{}", seen.reasons());
    faults.fail_open(false);
    until(&outbox, true).await;
    outbox.stop().await;
    let (_, entries) = open(crashed.path(), &Seen::default());
    assert_eq!(entries[0].sequence, next);
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_and_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("outbox.redb"), [0xff; 5000]).unwrap();
    let seen = Seen::default();
    let (outbox, entries) = open(dir.path(), &seen);
    assert!(entries.is_empty());
    assert_eq!(*outbox.health().borrow(), Health::Healthy);
    assert_eq!(seen.words(), ["degraded", "restored"]);
    let aside: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains("outbox.redb.corrupt-"))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), [0xff; 5000]);
    assert!(seen.reasons().contains(aside[0].to_str().unwrap()));
    outbox.put(&[confirmed(1, State::Backup)]);
    handed(&outbox).await;
    outbox.stop().await;
    assert_eq!(open(dir.path(), &seen).1.len(), 1);
}

#[tokio::test]
async fn an_unreadable_record_is_dropped_and_named() {
    let dir = TempDir::new().unwrap();
    let seen = Seen::default();
    let (outbox, _) = open(dir.path(), &seen);
    outbox.put(&[confirmed(1, State::Backup), confirmed(2, State::Backup)]);
    handed(&outbox).await;
    outbox.stop().await;
    {
        const STATES: redb::TableDefinition<'static, &[u8; 16], &[u8]> = redb::TableDefinition::new("states");
        let database = redb::Database::open(dir.path().join("outbox.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(STATES).unwrap();
            table.insert(id(2).0.as_bytes(), &[77_u8; 3][..]).unwrap();
        }
        transaction.commit().unwrap();
    }
    let (outbox, entries) = open(dir.path(), &seen);
    assert_eq!(entries.iter().map(|e| e.router).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(seen.words(), ["degraded", "restored"]);
    assert!(seen.reasons().contains(&id(2).to_string()));
    outbox.stop().await;
    open(dir.path(), &seen);
    assert_eq!(seen.words().len(), 2, "told once");
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    let seen = Seen::default();
    let (outbox, _, faults) = open_paced(dir.path(), &seen, IMPATIENT);
    faults.hang(true);
    outbox.put(&[confirmed(1, State::Primary)]);
    assert_eq!(states(&handed(&outbox).await), [(id(1), State::Primary)]);
    assert!(matches!(*outbox.health().borrow(), Health::MemoryOnly { .. }));
    // From now on without waiting.
    outbox.put(&[confirmed(2, State::Primary), confirmed(1, State::Backup)]);
    let both = states(&outbox.take_ready(clock::now()));
    assert_eq!(both, [(id(1), State::Backup), (id(2), State::Primary)]);
    faults.hang(false);
    until(&outbox, true).await;
    // A disk as slow as that, on a busy machine, may stall once more.
    let words = seen.words();
    assert!(words.chunks(2).all(|pair| pair == ["degraded", "restored"]), "{words:?}");
    outbox.stop().await;
    let (_, entries) = open(dir.path(), &seen);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].state, State::Backup);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_dead_disk() {
    let dir = TempDir::new().unwrap();
    let (outbox, _, faults) = open_paced(dir.path(), &Seen::default(), IMPATIENT);
    faults.hang(true);
    outbox.put(&[confirmed(1, State::Primary)]);
    let begun = Instant::now();
    outbox.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    faults.hang(false);
}

/// A lost or emptied state directory: the receiver must not take new states for old ones.
#[tokio::test]
async fn a_first_sequence_is_higher_than_any_before() {
    let mut last = 0;
    for _ in 0..3 {
        let dir = TempDir::new().unwrap();
        let (outbox, _) = open(dir.path(), &Seen::default());
        for state in [State::Backup, State::Primary] {
            outbox.put(&[confirmed(1, state)]);
            let sequence = outbox.standing(id(1)).unwrap().sequence;
            assert!(sequence > last);
            last = sequence;
        }
        // More than a millisecond per state; a router changes far less often.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(last < 1 << 53, "exact in JSON readers that know only doubles");
}

/// An older copy of the file, or a crash while new states were in memory only: what was told meanwhile is not told
/// again under a lower number.
#[test]
fn a_sequence_is_at_least_the_wall_clock() {
    let metrics = Metrics::register(&mut Registry::default());
    let shared = Shared::new(&[], QUICK, Seen::default().emit(), metrics);
    shared.put(&[confirmed(1, State::Backup)], Mono(1), 1_700_000_000_000);
    shared.put(&[confirmed(1, State::Primary)], Mono(2), 1_700_000_060_000);
    assert_eq!(shared.standing(id(1)).unwrap().sequence, 1_700_000_060_000);
    shared.put(&[confirmed(1, State::Backup)], Mono(3), 1_700_000_060_000);
    assert_eq!(shared.standing(id(1)).unwrap().sequence, 1_700_000_060_001, "two in one millisecond");
}

/// With the clock set back decades the sequence still rises.
#[test]
fn a_clock_set_back_does_not_lower_the_sequence() {
    let metrics = Metrics::register(&mut Registry::default());
    let shared = Shared::new(&[], QUICK, Seen::default().emit(), metrics);
    shared.put(&[confirmed(1, State::Backup)], Mono(1), 1_700_000_000_000);
    shared.put(&[confirmed(1, State::Primary)], Mono(2), 5);
    assert_eq!(shared.standing(id(1)).unwrap().sequence, 1_700_000_000_001);
}

/// `cargo test … -- --ignored commit_latency --nocapture`, on the disk of `TMPDIR`.
#[tokio::test]
#[ignore = "a measurement"]
async fn commit_latency() {
    let dir = TempDir::new().unwrap();
    let (outbox, _) = open(dir.path(), &Seen::default());
    let mut times: Vec<Duration> = Vec::new();
    for n in 0..2000 {
        let begun = Instant::now();
        outbox.put(&[confirmed(n % 100, State::Primary)]);
        while outbox.take_ready(clock::now()).is_empty() {
            outbox.ready().await;
        }
        times.push(begun.elapsed());
    }
    times.sort();
    let text = format!(
        "put to hand-over: p50 {:?} p90 {:?} p99 {:?} max {:?}\n",
        times[1000], times[1800], times[1980], times[1999]
    );
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

/// A directory that even root cannot write to.
#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_read_only_and_a_full_filesystem() {
    struct Mounted(TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0.path()).status();
        }
    }
    let mount = |options: &str, mounted: &Mounted| {
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(mounted.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    };
    let mounted = Mounted(TempDir::new().unwrap());
    mount("size=4m", &mounted);
    let seen = Seen::default();
    let dir = mounted.0.path();
    {
        let (outbox, _) = open(dir, &seen);
        outbox.put(&[confirmed(1, State::Backup)]);
        handed(&outbox).await;
        // Full: the file cannot grow. redb writes anew what it changes, so enough states will need room.
        let filler = dir.join("filler");
        let mut block = 1 << 20;
        let mut file = fs::File::create(&filler).unwrap();
        while block > 0 {
            use std::io::Write;
            if file.write_all(&vec![1; block]).is_err() {
                block /= 2;
            }
        }
        drop(file);
        let many: Vec<_> = (0..20_000).map(|n| confirmed(n, State::Backup)).collect();
        outbox.put(&many);
        assert_eq!(handed(&outbox).await.len(), 20_000);
        until(&outbox, false).await;
        for n in 100..20_000 {
            outbox.forget(id(n));
        }
        fs::remove_file(filler).unwrap();
        until(&outbox, true).await;
        outbox.stop().await;
    }
    assert_eq!(seen.words(), ["degraded", "restored"]);
    mount("remount,ro", &mounted);
    let (outbox, entries) = open(dir, &seen);
    assert_eq!(entries.len(), 100);
    assert!(matches!(*outbox.health().borrow(), Health::MemoryOnly { .. }));
    outbox.put(&[confirmed(1, State::Primary)]);
    handed(&outbox).await;
    mount("remount,rw", &mounted);
    until(&outbox, true).await;
    outbox.stop().await;
    let (outbox, entries) = open(dir, &seen);
    assert_eq!(entries[1].state, State::Primary);
    outbox.stop().await;
}
