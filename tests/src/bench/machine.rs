//! Where it was measured.

use std::fmt::Write;

use serde_json::{Value, json};

/// The machine and what ran on it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cores: usize,
    model: String,
    memory_mib: u64,
    kernel: String,
    commit: String,
    /// Load average over a minute before anything was started.
    load_before: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn look(commit: &str) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = value(&file("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            model: value(&file("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            memory_mib: kib / 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            commit: commit.to_owned(),
            load_before: load(),
        }
    }

    /// In one line, with the load that there is now.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        let Self { cores, model, memory_mib, kernel, commit, load_before } = self;
        let _ = write!(line, "{cores} × {model}, {memory_mib} MiB, Linux {kernel}, commit {commit}; ");
        let _ = write!(line, "load average before {load_before}, after {}", load());
        line
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let Self { cores, model, memory_mib, kernel, commit, load_before } = self;
        json!({
            "cores": cores, "model": model, "memory_mib": memory_mib, "kernel": kernel, "commit": commit,
            "load_average_before": load_before, "load_average_after": load(),
        })
    }
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}
