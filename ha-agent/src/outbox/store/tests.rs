use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tempfile::TempDir;

use super::*;
use crate::core::model::{Basis, State};

/// What the disk does from now on.
#[derive(Debug, Default)]
pub(in crate::outbox) struct Faults {
    write: AtomicU8,
    sync: AtomicU8,
    open: AtomicBool,
    hang: (Mutex<bool>, Condvar),
}

impl Faults {
    /// Every write and growth fails with this errno; 0: works.
    pub(in crate::outbox) fn fail_write(&self, errno: i32) {
        self.write.store(errno as u8, Ordering::SeqCst);
    }
    /// Every sync fails with this errno; 0: works.
    pub(in crate::outbox) fn fail_sync(&self, errno: i32) {
        self.sync.store(errno as u8, Ordering::SeqCst);
    }
    /// The file cannot be opened.
    pub(in crate::outbox) fn fail_open(&self, fails: bool) {
        self.open.store(fails, Ordering::SeqCst);
    }
    /// Every sync waits until this is taken back.
    pub(in crate::outbox) fn hang(&self, hangs: bool) {
        *self.hang.0.lock().unwrap() = hangs;
        self.hang.1.notify_all();
    }
    fn check(fault: &AtomicU8) -> io::Result<()> {
        match fault.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno.into())),
        }
    }
}

/// The real file on a disk with faults.
#[derive(Debug)]
pub(in crate::outbox) struct Faulty {
    pub(in crate::outbox) disk: Disk,
    pub(in crate::outbox) faults: Arc<Faults>,
}

impl Medium for Faulty {
    type Backend = FaultyBackend;
    fn backend(&self) -> Result<FaultyBackend, DatabaseError> {
        if self.faults.open.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EROFS).into());
        }
        Ok(FaultyBackend { file: self.disk.backend()?, faults: Arc::clone(&self.faults) })
    }
    fn image(&self) -> io::Result<Vec<u8>> {
        self.disk.image()
    }
    fn set_aside(&self) -> io::Result<String> {
        self.disk.set_aside()
    }
    fn name(&self) -> String {
        self.disk.name()
    }
}

#[derive(Debug)]
pub(in crate::outbox) struct FaultyBackend {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        Faults::check(&self.faults.write)?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let (hangs, changed) = &self.faults.hang;
        let guard = hangs.lock().unwrap();
        drop(changed.wait_while(guard, |hangs| *hangs).unwrap());
        Faults::check(&self.faults.sync)?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Faults::check(&self.faults.write)?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn entry(router: u128, sequence: u64) -> Entry {
    Entry {
        router: RouterId(Uuid::from_u128(router)),
        state: State::Primary,
        previous: Some(State::Backup),
        basis: Basis::default(),
        confirmed_at_us: 7,
        sequence,
        delivered: 0,
        delivered_state: None,
    }
}

fn filled(dir: &Path, routers: u128) -> Vec<Entry> {
    let entries: Vec<Entry> = (1..=routers).map(|n| entry(n, n as u64)).collect();
    let (store, found) = Store::open(&Disk::new(dir)).unwrap();
    assert!(found.entries.is_empty());
    store.commit(&entries, &[]).unwrap();
    entries
}

#[test]
fn what_is_committed_is_found() {
    let dir = TempDir::new().unwrap();
    let entries = filled(dir.path(), 300);
    let (store, found) = Store::open(&Disk::new(dir.path())).unwrap();
    assert_eq!(found.entries, entries);
    store.commit(&[entry(5, 99)], &[entries[0].router, entries[1].router]).unwrap();
    store.replace(&[entry(3, 3), entry(5, 100)]).unwrap();
    drop(store);
    let (_, found) = Store::open(&Disk::new(dir.path())).unwrap();
    assert_eq!(found.entries, [entry(3, 3), entry(5, 100)]);
}

/// The file as a crash leaves it: never closed.
#[test]
fn a_file_that_was_never_closed_is_whole() {
    let dir = TempDir::new().unwrap();
    let copy = TempDir::new().unwrap();
    let (store, _) = Store::open(&Disk::new(dir.path())).unwrap();
    for n in 1..=20 {
        store.commit(&[entry(n, 1)], &[]).unwrap();
        fs::copy(dir.path().join("outbox.redb"), copy.path().join("outbox.redb")).unwrap();
        let (_, found) = Store::open(&Disk::new(copy.path())).unwrap();
        assert_eq!(found.entries.len(), n as usize);
        let image = Store::read_image(&Disk::new(copy.path())).unwrap();
        assert_eq!(image.entries, found.entries);
    }
}

#[test]
fn a_file_that_is_no_outbox_is_corrupt() {
    let dir = TempDir::new().unwrap();
    let disk = Disk::new(dir.path());
    for content in [&b"x"[..], &[0; 4096], &[0xff; 100_000]] {
        fs::write(dir.path().join("outbox.redb"), content).unwrap();
        let error = Store::open(&disk).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
}

/// Whatever happens to the file, opening ends in entries or an error: the release build aborts on
/// a panic, so a panic here would stop the agent.
#[test]
fn damage_never_panics() {
    let dir = TempDir::new().unwrap();
    filled(dir.path(), 200);
    let path = dir.path().join("outbox.redb");
    let whole = fs::read(&path).unwrap();
    let disk = Disk::new(dir.path());
    let attempt = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        if let Ok((store, _)) = Store::open(&disk) {
            let _ = store.commit(&[entry(1, 2)], &[]);
        }
    };
    for length in (0..whole.len()).step_by(whole.len() / 40) {
        attempt(&whole[..length]);
    }
    let mut rng = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    let rounds = if std::env::var_os("HA_AGENT_DAMAGE").is_some() { 20_000 } else { 150 };
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for round in 0..rounds {
        let mut bytes = whole.clone();
        for _ in 0..=round % 4 {
            // In the header, in bytes in use, and anywhere.
            let at = match rng.u8(0..3) {
                0 => rng.usize(0..512),
                1 => used[rng.usize(0..used.len())],
                _ => rng.usize(0..bytes.len()),
            };
            bytes[at] ^= 1 << rng.u8(0..8);
        }
        attempt(&bytes);
    }
}

#[test]
fn set_aside_files_are_few() {
    let dir = TempDir::new().unwrap();
    let disk = Disk::new(dir.path());
    for _ in 0..7 {
        fs::write(dir.path().join("outbox.redb"), "garbage").unwrap();
        disk.set_aside().unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), KEEP_SET_ASIDE);
}
