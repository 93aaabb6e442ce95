//! What a process used, by /proc.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// `sysconf(_SC_CLK_TCK)` on every Linux architecture there is.
const TICKS_PER_SECOND: u64 = 100;

/// Looks at one process.
#[derive(Debug)]
pub(crate) struct Gauge {
    folder: PathBuf,
}

impl Gauge {
    /// Of the process with this id.
    pub(crate) fn new(pid: u32) -> Self {
        Self { folder: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// CPU time as [`Gauge::cpu`], with that of the children that it has waited for.
    pub(crate) fn cpu_with_children(&self) -> Result<Duration> {
        let ticks = self.ticks(13)? + self.ticks(14)?;
        Ok(self.cpu()? + Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// CPU time since it was started, of all its threads, in user space and in the kernel. Work that
    /// the kernel does in others' names (the classifier, in the sender's) is not in it.
    ///
    /// The scheduler counts each living thread in nanoseconds; the process as a whole, with threads
    /// that have ended, is counted in ticks of 10 ms. Both are at most the truth: the larger counts.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut threads = Duration::ZERO;
        let tasks = self.folder.join("task");
        for task in std::fs::read_dir(&tasks).with_context(|| format!("reading {}", tasks.display()))? {
            // A thread that ends meanwhile is in the ticks.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let on_cpu = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
            threads += Duration::from_nanos(on_cpu);
        }
        let ticks = self.ticks(11)? + self.ticks(12)?;
        Ok(threads.max(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)))
    }

    /// A number in `stat`, counted after the name, which stands in parentheses and may hold anything:
    /// utime is the 11th from zero, then come stime, cutime, cstime.
    fn ticks(&self, index: usize) -> Result<u64> {
        let stat = self.read("stat")?;
        let (_, rest) = stat.rsplit_once(") ").context("a name in stat")?;
        let word = rest.split_whitespace().nth(index).and_then(|word| word.parse().ok());
        word.context("CPU time in stat")
    }

    /// Proportional set size in KiB: its own pages, and its part of those that it shares.
    pub(crate) fn pss_kib(&self) -> Result<f64> {
        let text = self.read("smaps_rollup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("Pss in smaps_rollup")?;
        let word = line.split_whitespace().next().context("a number in smaps_rollup")?;
        word.parse().with_context(|| format!("{word:?} in smaps_rollup"))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

/// Every process of these process groups.
pub(crate) fn groups(ids: impl Iterator<Item = u32>) -> Vec<Gauge> {
    let ids: HashSet<u32> = ids.collect();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // The group's id is the third word after the name.
    pids.map(Gauge::new)
        .filter(|gauge| gauge.ticks(2).ok().and_then(|id| u32::try_from(id).ok()).is_some_and(|id| ids.contains(&id)))
        .collect()
}
