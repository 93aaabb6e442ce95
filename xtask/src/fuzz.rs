//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, each beginning with the corpus that is kept, and
//! the differential test of the classifier at length.
//!
//! Without a sanitizer: the coverage that libFuzzer steers by needs no nightly compiler, and what could
//! go wrong in memory lies in a few lines of unsafe code that no target reaches. The crate is one of
//! cargo-fuzz's, so `cargo +nightly fuzz run TARGET` runs the same with its address sanitizer.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say, say_error, target};

/// The targets' crate, which is no member of the workspace.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";
/// Longest input, bytes: every parser's own limits lie below it.
const MAX_LEN: &str = "16384";
/// Seconds that one input may take.
const TIMEOUT: &str = "10";
/// MiB that a target may take.
const MEMORY: &str = "1024";

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The state-change socket: a whole connection
    Intake,
    /// The notify FIFO: lines, wherever the reads fall
    Fifo,
    /// keepalived.conf
    #[value(name = "keepalived_conf")]
    KeepalivedConf,
    /// rtnetlink's messages
    Netlink,
    /// The outbox's records
    Record,
    /// Sequences of events, against the core's invariants
    Core,
    /// The judgement of frames, against the reference
    Frame,
    /// Fragments and extension headers that are put together
    Pieces,
    /// The L3 agent's answers
    Reply,
    /// The configuration file
    Config,
    /// The classifier in the kernel, against the reference (as root)
    Differential,
    /// Every target but the differential test
    All,
}

/// What is fuzzed, and for how long.
#[derive(Args)]
#[command(after_help = "\
Each target first runs the corpus in fuzz/corpus, which only --minimise changes. What it finds \
besides is kept in target/xtask/fuzz and goes on from there the next time; an input that fails is \
kept in fuzz/artifacts, and the target's program, given that file, runs it again.")]
pub(crate) struct Arguments {
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// How many frames the differential test compares
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Another seed gives the differential test other frames
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Afterwards reduce what was found, with the corpus that is kept, to the fewest inputs that reach
    /// as much, and keep those
    #[arg(long)]
    minimise: bool,
    /// Begin with the kept corpus alone
    #[arg(long)]
    fresh: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut targets: Vec<What> = Vec::new();
    for what in &arguments.what {
        let all = What::value_variants().iter().filter(|one| !matches!(one, What::All | What::Differential));
        let named: Vec<What> = if *what == What::All { all.copied().collect() } else { vec![*what] };
        targets.extend(named);
    }
    let differential = targets.contains(&What::Differential);
    targets.retain(|what| *what != What::Differential);
    if differential {
        compare(arguments)?;
    }
    if targets.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(&[Group::Fuzz])?;
    build()?;
    let mut failed = 0;
    for what in &targets {
        let target = Target::new(*what)?;
        let figures = target.run(arguments)?;
        say(&figures.line(target.name()));
        failed += usize::from(!figures.passed);
        if arguments.minimise && figures.passed {
            target.minimise()?;
        }
    }
    // The form of the test binaries' last line, which `cargo xtask test` adds up.
    let word = if failed == 0 { "ok" } else { "FAILED" };
    say(&format!("test result: {word}. {} passed; {failed} failed", targets.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The differential test, with optimisation.
fn compare(arguments: &Arguments) -> Result<()> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask fuzz differential (eBPF)")?;
    say_error("building the differential test, with optimisation");
    let status = Command::new(cargo())
        .current_dir(root())
        .args(["build", "--locked", "--quiet", "--release", "-p", "ha-agent-tests", "--bin", "ha-agent-differential"])
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "cargo build failed ({status}): its words are above");
    let status = privilege
        .command(target().join("release/ha-agent-differential"), "the differential test")?
        .args(["--frames", &arguments.frames.to_string(), "--seed", &arguments.seed.to_string()])
        .status()
        .context("starting the differential test")?;
    ensure!(status.success(), "classifier and reference disagree: the frame is above");
    Ok(())
}

/// What `cargo fuzz` gives rustc with `--sanitizer none`: coverage as libFuzzer reads it. All of it is
/// stable; without cargo-fuzz's single codegen unit the build takes half the time.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
];

/// Builds every target.
fn build() -> Result<()> {
    say_error("building the fuzz targets");
    let status =
        compile("build")?.args(["--quiet", "--bins"]).stdout(Stdio::null()).status().context("starting cargo build")?;
    ensure!(status.success(), "the fuzz targets cannot be built ({status}): cargo's words are above");
    Ok(())
}

/// A command of cargo's that compiles the crate of the targets, so that what one has built serves the other.
fn compile(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(cargo());
    command
        .current_dir(root())
        .args([subcommand, "--manifest-path", MANIFEST, "--locked", "--release"])
        // With a target named, build scripts and macros are built without the flags.
        .args(["--target", &host()?, "--target-dir"])
        .arg(folder())
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
    Ok(command)
}

/// Clippy over the targets, warnings denied.
pub(crate) fn clippy() -> Result<Command> {
    let mut command = compile("clippy")?;
    command.args(["--all-targets", "--", "-D", "warnings"]).env("CARGO_TERM_COLOR", "never");
    Ok(command)
}

/// The triple that this compiler builds for by itself.
fn host() -> Result<String> {
    let answer = Command::new(cargo()).arg("-vV").output().context("asking cargo")?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("cargo -vV does not name its host")?.to_owned())
}

/// Where they are built.
fn folder() -> PathBuf {
    target().join("fuzz")
}

/// A built target and its folders.
struct Target {
    name: String,
    program: PathBuf,
    /// In the repository.
    kept: PathBuf,
    /// What was found besides.
    found: PathBuf,
    artifacts: PathBuf,
}

impl Target {
    fn new(what: What) -> Result<Self> {
        let name = what.to_possible_value().context("a name")?.get_name().to_owned();
        // One folder per target triple; there is only the host's.
        let mut programs = fs::read_dir(folder())?.flatten().map(|entry| entry.path().join("release").join(&name));
        let program = programs.find(|path| path.is_file()).with_context(|| format!("{name} was not built"))?;
        Ok(Self {
            program,
            kept: root().join("fuzz/corpus").join(&name),
            found: target().join("xtask/fuzz").join(&name),
            artifacts: root().join("fuzz/artifacts").join(&name),
            name,
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, arguments: &Arguments) -> Result<Figures> {
        if arguments.fresh {
            clear(&self.found)?;
        }
        for folder in [&self.kept, &self.found, &self.artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        // libFuzzer writes into the first folder and only reads the second.
        let mut prefix = self.artifacts.clone().into_os_string();
        prefix.push("/");
        let output = self
            .command()
            .args([&self.found, &self.kept])
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(join("-artifact_prefix=", &prefix))
            .arg("-print_final_stats=1")
            .output()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let figures = Figures::parse(&text, output.status.success());
        if !figures.passed {
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            for line in tail.iter().rev() {
                say(&format!("│ {line}"));
            }
        }
        Ok(figures)
    }

    /// Replaces the kept corpus.
    fn minimise(&self) -> Result<()> {
        let fewest = self.found.with_extension("fewest");
        clear(&fewest)?;
        fs::create_dir_all(&fewest)?;
        let output = self
            .command()
            .arg("-merge=1")
            .args([&fewest, &self.kept, &self.found])
            .output()
            .context("starting the merge")?;
        if !output.status.success() {
            bail!("{}: the corpus could not be reduced:\n{}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        clear(&self.kept)?;
        fs::create_dir_all(&self.kept)?;
        let mut size = 0;
        let mut count = 0;
        for entry in fs::read_dir(&fewest)? {
            let entry = entry?;
            size += fs::copy(entry.path(), self.kept.join(entry.file_name()))?;
            count += 1;
        }
        clear(&fewest)?;
        clear(&self.found)?;
        say(&format!("{}: {count} inputs kept, {size} bytes", self.name));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.arg(format!("-max_len={MAX_LEN}")).arg(format!("-timeout={TIMEOUT}"));
        command.arg(format!("-rss_limit_mb={MEMORY}"));
        command
    }
}

fn join(option: &str, value: &OsStr) -> std::ffi::OsString {
    let mut whole = std::ffi::OsString::from(option);
    whole.push(value);
    whole
}

/// Removes a folder, if it is there.
fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// What libFuzzer says of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    passed: bool,
    runs: u64,
    per_second: u64,
    coverage: u64,
    features: u64,
    corpus: u64,
}

impl Figures {
    /// From its standard error: `#123 DONE cov: 1 ft: 2 corp: 3/4b …` and `stat::name: 5`.
    fn parse(text: &str, passed: bool) -> Self {
        let mut figures = Self { passed, ..Self::default() };
        for line in text.lines() {
            let number = |name: &str| -> Option<u64> {
                let rest = &line[line.find(name)? + name.len()..];
                let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
                digits.parse().ok()
            };
            if line.starts_with('#') {
                figures.coverage = number("cov:").unwrap_or(figures.coverage);
                figures.features = number("ft:").unwrap_or(figures.features);
                figures.corpus = number("corp:").unwrap_or(figures.corpus);
            }
            figures.runs = number("stat::number_of_executed_units:").unwrap_or(figures.runs);
            figures.per_second = number("stat::average_exec_per_sec:").unwrap_or(figures.per_second);
        }
        figures
    }

    fn line(&self, name: &str) -> String {
        let mark = if self.passed { "✔" } else { "✘" };
        format!(
            "{mark} {name:16} {:>10} runs  {:>7}/s  coverage {:>6}  features {:>6}  corpus {:>5}",
            self.runs, self.per_second, self.coverage, self.features, self.corpus
        )
    }
}

#[cfg(test)]
mod tests;
