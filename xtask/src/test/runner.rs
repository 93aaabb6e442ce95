//! Runs the commands of one step: output into a log file, progress on the terminal, the tail of the
//! output when it fails.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::counts::Results;
use crate::workspace::{say, target};

/// How much of a failed step's output is shown.
const TAIL_LINES: usize = 60;
/// How often a terminal's progress line is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);
/// How often a log that is no terminal is told that work goes on.
const REMIND: Duration = Duration::from_secs(30);

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    /// The word in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// A step that is over.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// Where the step runs tests: what they said. Of a skipped step: `ignored` tests not run.
    pub(crate) results: Option<Results>,
    /// What else is worth a word in the table.
    pub(crate) remark: Option<String>,
}

impl Done {
    /// The last column of the table.
    pub(crate) fn note(&self) -> String {
        let counts = self.results.map(|results| match self.outcome {
            Outcome::Skipped => format!("{} tests not run", results.ignored),
            _ if results.failed > 0 => {
                format!("{} passed, {} failed", results.passed, results.failed)
            }
            _ => format!("{} passed", results.passed),
        });
        let parts: Vec<String> = counts.into_iter().chain(self.remark.clone()).collect();
        parts.join("; ")
    }
}

/// Where a step's output goes.
pub(crate) struct Log {
    name: &'static str,
    path: PathBuf,
    file: File,
    started: Instant,
}

impl Log {
    /// Starts a step: an empty log, a first line on the terminal.
    pub(crate) fn start(name: &'static str) -> Result<Self> {
        let folder = target().join("xtask");
        let path = folder.join(format!("{name}.log"));
        std::fs::create_dir_all(&folder)
            .and_then(|()| File::create(&path))
            .map(|file| Self { name, path: path.clone(), file, started: Instant::now() })
            .with_context(|| format!("creating {}", path.display()))
    }

    /// Runs one command to its end, its output appended to the log.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<ExitStatus> {
        writeln!(self.file, "$ {command:?}")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(self.file.try_clone()?)
            .stderr(self.file.try_clone()?)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let (over, ticker) = self.ticker();
        let status = child.wait();
        drop(over);
        let _ = ticker.join();
        status.with_context(|| format!("waiting for {command:?}"))
    }

    /// All that was printed so far.
    pub(crate) fn text(&self) -> String {
        std::fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Ends the step: its line on the terminal, and the tail of its output if it failed.
    pub(crate) fn end(self, outcome: Outcome, results: Option<Results>, remark: Option<String>) -> Done {
        let took = self.started.elapsed();
        if outcome == Outcome::Failed {
            self.show_tail();
        }
        let mark = match outcome {
            Outcome::Passed => "✔",
            Outcome::Failed => "✘",
            Outcome::Skipped => "–",
        };
        let done = Done { outcome, took, results, remark };
        say(format!("{mark} {}  {:.1} s  {}", self.name, took.as_secs_f64(), done.note()).trim_end());
        done
    }

    fn show_tail(&self) {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        say(&format!("── {}: the last {} lines", self.name, lines.len() - from));
        for line in &lines[from..] {
            say(&format!("│ {line}"));
        }
        say(&format!("── all of it: {}", self.path.display()));
    }

    /// A thread that shows that work goes on, until the sender is dropped.
    fn ticker(&self) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
        let (over, is_over) = mpsc::channel();
        let (name, started) = (self.name, self.started);
        let ticker = thread::spawn(move || {
            let mut out = std::io::stdout();
            let drawn = out.is_terminal();
            let pause = if drawn { REDRAW } else { REMIND };
            while is_over.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                let seconds = started.elapsed().as_secs();
                let _ = if drawn {
                    write!(out, "\r\x1b[K… {name}  {seconds} s").and_then(|()| out.flush())
                } else {
                    writeln!(out, "… {name}  {seconds} s")
                };
            }
            if drawn {
                let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
            }
        });
        (over, ticker)
    }
}
