//! A backend whose file is never closed in order.
//!
//! redb 4.4 saves its allocator's state when it is closed and trusts it at the next opening
//! without a checksum: a damaged byte there is a panic, and a panic ends the agent. A file that
//! was not closed is verified by its checksums and its allocator rebuilt, which takes a
//! millisecond for an outbox. So every end is a crash to redb, and every opening a recovery; what
//! is committed is on disk in either case.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

/// Dropping it makes the backend refuse every further write.
#[derive(Debug)]
pub(super) struct Sealed(Arc<AtomicBool>);

impl Drop for Sealed {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(super) struct CrashOnly<B> {
    inner: B,
    sealed: Arc<AtomicBool>,
}

impl<B: StorageBackend> CrashOnly<B> {
    pub(super) fn new(inner: B) -> (Self, Sealed) {
        let sealed = Arc::new(AtomicBool::new(false));
        let seal = Sealed(Arc::clone(&sealed));
        (Self { inner, sealed }, seal)
    }

    fn open(&self) -> io::Result<&B> {
        if self.sealed.load(Ordering::SeqCst) {
            return Err(io::Error::other("the outbox is closed"));
        }
        Ok(&self.inner)
    }
}

type Locked<T> = Result<T, BackendError>;

impl<B: StorageBackend> StorageBackend for CrashOnly<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.open()?.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.open()?.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.open()?.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.inner.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.inner.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.inner.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.inner.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.inner.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.inner.query_lock_range(start, end)
    }
}
