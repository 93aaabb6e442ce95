//! The file: redb on a medium that can fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition, TableError,
};
use thiserror::Error;
use uuid::Uuid;

use super::entry::Entry;
use super::record::{self, RecordError};
use crate::core::model::RouterId;

mod crash_only;
#[cfg(test)]
pub(super) mod tests;

use crash_only::{CrashOnly, Sealed};

const STATES: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("states");
/// redb's page cache; the entries of 10,000 routers fit.
const CACHE: usize = 1 << 20;
/// Corrupt files kept for inspection; older ones are removed.
const KEEP_SET_ASIDE: usize = 4;

/// What the disk said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum StoreError {
    /// The file is there but is no outbox.
    #[error("{0}")]
    Corrupt(String),
    /// The disk refuses.
    #[error("{0}")]
    Io(String),
}

/// Where the file lies.
pub(super) trait Medium: Send + 'static {
    /// What redb reads and writes.
    type Backend: StorageBackend;
    /// Opens the file, creating it if absent.
    fn backend(&self) -> Result<Self::Backend, DatabaseError>;
    /// The file's bytes, for reading on a disk that cannot be written.
    fn image(&self) -> io::Result<Vec<u8>>;
    /// Renames the file out of the way and returns its new name.
    fn set_aside(&self) -> io::Result<String>;
    /// For messages.
    fn name(&self) -> String;
}

/// The file in the state directory.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    file: PathBuf,
}

impl Disk {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: dir.join("outbox.redb") }
    }

    pub(super) fn file(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.file)
    }
}

impl Medium for Disk {
    type Backend = FileBackend;

    fn backend(&self) -> Result<FileBackend, DatabaseError> {
        FileBackend::new(self.file()?)
    }

    fn image(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.file)
    }

    fn set_aside(&self) -> io::Result<String> {
        let name = |unix: i64| self.dir.join(format!("outbox.redb.corrupt-{unix}"));
        let mut unix = jiff::Timestamp::now().as_second();
        while name(unix).exists() {
            unix += 1;
        }
        fs::rename(&self.file, name(unix))?;
        let mut kept: Vec<PathBuf> = fs::read_dir(&self.dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with("outbox.redb.corrupt-"))
            })
            .collect();
        kept.sort();
        for old in kept.iter().rev().skip(KEEP_SET_ASIDE) {
            fs::remove_file(old)?;
        }
        Ok(name(unix).display().to_string())
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Ordered by router.
    pub(super) entries: Vec<Entry>,
    /// Records that this agent cannot read.
    pub(super) unreadable: Vec<(RouterId, RecordError)>,
}

/// The open file; dropped, it is left as a crash would leave it ([`crash_only`]).
#[derive(Debug)]
pub(super) struct Store {
    // Dropped first: seals the backend.
    _seal: Sealed,
    database: Database,
}

impl Store {
    pub(super) fn open(medium: &impl Medium) -> Result<(Self, Found), StoreError> {
        let store = Self::on(medium.backend().map_err(database)?)?;
        let found = store.read()?;
        Ok((store, found))
    }

    fn on(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let (backend, seal) = CrashOnly::new(backend);
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(backend).map_err(database)?;
        Ok(Self { _seal: seal, database })
    }

    /// Reads a copy of the file in memory: recovery after a crash writes, and the disk may not
    /// take that.
    pub(super) fn read_image(medium: &impl Medium) -> Result<Found, StoreError> {
        let bytes = medium.image().map_err(io_error)?;
        if bytes.is_empty() {
            return Ok(Found::default());
        }
        let backend = InMemoryBackend::new();
        backend.set_len(bytes.len() as u64).and_then(|()| backend.write(0, &bytes)).map_err(io_error)?;
        Self::on(backend)?.read()
    }

    fn read(&self) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let transaction = self.database.begin_read().map_err(|error| storage(error.into()))?;
        let table = match transaction.open_table(STATES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(found),
            Err(error) => return Err(table_error(error)),
        };
        for row in table.iter().map_err(|error| storage(error.into()))? {
            let (key, value) = row.map_err(|error| storage(error.into()))?;
            let router = RouterId(Uuid::from_bytes(*key.value()));
            match record::decode(router, value.value()) {
                Ok(entry) => found.entries.push(entry),
                Err(error) => found.unreadable.push((router, error)),
            }
        }
        Ok(found)
    }

    /// One transaction, on disk when it returns.
    pub(super) fn commit(&self, writes: &[Entry], deletes: &[RouterId]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(|error| storage(error.into()))?;
        {
            let mut table = transaction.open_table(STATES).map_err(table_error)?;
            for router in deletes {
                table.remove(router.0.as_bytes()).map_err(|error| storage(error.into()))?;
            }
            for entry in writes {
                table
                    .insert(entry.router.0.as_bytes(), &record::encode(entry)[..])
                    .map_err(|error| storage(error.into()))?;
            }
        }
        transaction.commit().map_err(|error| storage(error.into()))
    }

    /// Makes the file hold these entries and nothing else.
    pub(super) fn replace(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(|error| storage(error.into()))?;
        {
            let mut table = transaction.open_table(STATES).map_err(table_error)?;
            table
                .retain(|key, _| {
                    let router = RouterId(Uuid::from_bytes(*key));
                    entries.binary_search_by_key(&router, |entry| entry.router).is_ok()
                })
                .map_err(|error| storage(error.into()))?;
            for entry in entries {
                table
                    .insert(entry.router.0.as_bytes(), &record::encode(entry)[..])
                    .map_err(|error| storage(error.into()))?;
            }
        }
        transaction.commit().map_err(|error| storage(error.into()))
    }
}

fn database(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::UpgradeRequired(version) => {
            StoreError::Corrupt(format!("redb file format {version} is not this agent's; another release wrote it"))
        }
        other => storage(other.into()),
    }
}

fn table_error(error: TableError) -> StoreError {
    match error {
        TableError::Storage(error) => storage(error.into()),
        other => StoreError::Corrupt(other.to_string()),
    }
}

fn storage(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Corrupted(what) => StoreError::Corrupt(what),
        redb::Error::Io(error) => io_error(error),
        other => StoreError::Io(other.to_string()),
    }
}

fn io_error(error: io::Error) -> StoreError {
    match error.kind() {
        // What redb says of a file that is not its own, and of one that ends too early.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Io(error.to_string()),
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        storage(error.into())
    }
}
