//! The checks, in the order in which they are run: cheap ones first.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::counts::Results;
use super::runner::{Done, Log, Outcome};
use super::verdicts;
use crate::build_ebpf::fresh_object;
use crate::fuzz;
use crate::privilege::Privilege;
use crate::setup::{Group, cargo_bin};
use crate::workspace::{cargo, on_path, root};

/// The service, and ten times the exposure that it may have.
const UNIT: &str = "packaging/ha-agent.service";
const EXPOSURE: &str = "--threshold=28";
/// Tests at once where each has its own namespaces and mostly waits.
const SCENARIOS_AT_ONCE: &str = "4";
/// How long each fuzz target runs beyond its kept corpus.
const FUZZ_SECONDS: &str = "5";
/// Tests at once in the privileged unit tests.
const PRIVILEGED_AT_ONCE: &str = "2";

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// cargo fmt --check, of the workspace and of the fuzz targets
    Fmt,
    /// Clippy with warnings denied, every target of the workspace, and the fuzz targets
    Clippy,
    /// Clippy over the eBPF crate, for its own target
    ClippyEbpf,
    /// The eBPF object is the one that its sources give, byte for byte
    Ebpf,
    /// The documentation builds without a warning
    Doc,
    /// cargo-deny: licences, sources, bans; advisories where their database is there
    Deny,
    /// The systemd unit's exposure, as systemd-analyze counts it, is at most 2.8
    Exposure,
    /// Unit, property and documentation tests
    Unit,
    /// Every fuzz target for a few seconds, the kept corpus first
    Fuzz,
    /// Unit tests that need root
    Privileged,
    /// The classifier in the kernel against the plain reference
    Differential,
    /// Generated frames to a real keepalived, which tells what they are to it
    Oracle,
    /// Generated configurations to a real keepalived, which tells what it runs
    Configs,
    /// End to end: real namespaces, a real keepalived, the real agent
    E2e,
    /// Claims, true and false, in rounds, end to end: the confusion matrix
    Matrix,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::ClippyEbpf => "clippy-ebpf",
            Self::Ebpf => "ebpf",
            Self::Doc => "doc",
            Self::Deny => "deny",
            Self::Exposure => "exposure",
            Self::Unit => "unit",
            Self::Fuzz => "fuzz",
            Self::Privileged => "privileged",
            Self::Differential => "differential",
            Self::Oracle => "oracle",
            Self::Configs => "configs",
            Self::E2e => "e2e",
            Self::Matrix => "matrix",
        }
    }

    pub(crate) fn needs_root(self) -> bool {
        matches!(self, Self::Privileged | Self::Differential | Self::Oracle | Self::Configs | Self::E2e | Self::Matrix)
    }

    /// What has to be set up for it.
    pub(crate) fn groups(self, privilege: Privilege) -> &'static [Group] {
        match self {
            Self::Fmt | Self::Deny => &[Group::Lints],
            // To check the fuzz targets is to build libFuzzer.
            Self::Clippy => &[Group::Lints, Group::Fuzz],
            Self::Doc | Self::Unit | Self::Differential => &[],
            Self::Fuzz => &[Group::Fuzz],
            Self::Exposure if !privilege.is_root() => &[],
            Self::Exposure => &[Group::Unit],
            Self::ClippyEbpf | Self::Ebpf => &[Group::Ebpf],
            Self::Privileged | Self::Oracle | Self::Configs | Self::E2e | Self::Matrix if !privilege.is_root() => &[],
            Self::Privileged | Self::Oracle | Self::Configs | Self::Matrix => &[Group::Tests],
            Self::E2e => &[Group::Tests, Group::Neutron],
        }
    }
}

/// What the steps are run with.
pub(crate) struct Context {
    pub(crate) privilege: Privilege,
    /// Only tests whose names contain it.
    pub(crate) filter: Option<String>,
    /// Rounds of what depends on timing.
    pub(crate) rounds: u32,
    /// Rounds of each attack beside its control.
    pub(crate) hostile_rounds: u32,
}

impl Context {
    /// Runs one step.
    ///
    /// # Errors
    /// When it could not even be started; a check that fails is [`Outcome::Failed`].
    pub(crate) fn run(&self, step: Step) -> Result<Done> {
        let log = Log::start(step.name())?;
        match step {
            Step::Fmt => check(
                log,
                [
                    self.cargo(&["fmt", "--all", "--check"]),
                    self.cargo(&["fmt", "--manifest-path", fuzz::MANIFEST, "--check"]),
                ],
            ),
            Step::Clippy => check(
                log,
                [
                    self.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
                    fuzz::clippy()?,
                ],
            ),
            Step::ClippyEbpf => self.xtask(log, "--clippy"),
            Step::Ebpf => self.xtask(log, "--check"),
            Step::Doc => {
                let mut doc = self.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
                doc.env("RUSTDOCFLAGS", "-D warnings");
                check(log, [doc])
            }
            Step::Deny => self.deny(log),
            Step::Exposure => exposure(log),
            Step::Unit => tests(log, &mut self.unit()),
            Step::Fuzz => self.fuzz(log),
            Step::Differential => {
                self.with_root(log, &["-p", "ha-agent-tests", "--test", "differential"], PRIVILEGED_AT_ONCE, None)
            }
            Step::Oracle => {
                self.with_root(log, &["-p", "ha-agent-tests", "--test", "oracle"], PRIVILEGED_AT_ONCE, None)
            }
            Step::Configs => {
                self.with_root(log, &["-p", "ha-agent-tests", "--test", "configs"], PRIVILEGED_AT_ONCE, None)
            }
            Step::Privileged => self.with_root(log, &["-p", "ha-agent", "--lib"], PRIVILEGED_AT_ONCE, None),
            // One after the other: what measures has the machine to itself.
            Step::E2e => {
                self.end_to_end(log, &["--test", "scenarios", "--test", "alone"], &verdicts::records(Step::E2e))
            }
            Step::Matrix => self.end_to_end(log, &["--test", "matrix"], &verdicts::records(Step::Matrix)),
        }
    }

    /// Builds the agent and lets a test binary play with it; what it found is in `records`.
    fn end_to_end(&self, mut log: Log, tests: &[&str], records: &Path) -> Result<Done> {
        let _ = std::fs::remove_file(records);
        // The stand-in for Neutron's monitor in release: its size is what is measured.
        let builds: [&[&str]; 2] = [
            &["build", "--locked", "-p", "ha-agent"],
            &["build", "--locked", "--release", "-p", "neutron-keepalived-state-change"],
        ];
        for build in builds.into_iter().filter(|_| self.privilege.is_root()) {
            if !log.run(&mut self.cargo(build))?.success() {
                return Ok(log.end(Outcome::Failed, None, None));
            }
        }
        self.with_root(log, &[&["-p", "ha-agent-tests"], tests].concat(), SCENARIOS_AT_ONCE, Some(records))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command
            .current_dir(root())
            .args(arguments)
            .env("CARGO_TERM_COLOR", "never")
            // An object that another toolchain built here is tested as it is; else the one that is kept.
            .envs(
                Some(fresh_object(root())).filter(|path| path.exists()).map(|path| ("HA_AGENT_TEST_BPF_OBJECT", path)),
            )
            // A failed scenario says in words what was not seen; where it was called from is no news.
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// `cargo xtask build-ebpf` with a flag; its last line is the remark.
    fn xtask(&self, mut log: Log, flag: &str) -> Result<Done> {
        let program = std::env::current_exe().context("where xtask stands")?;
        let status = log.run(Command::new(program).current_dir(root()).args(["build-ebpf", flag]))?;
        let remark = log.text().lines().last().filter(|_| flag == "--check").map(str::to_owned);
        Ok(log.end(outcome(status.success()), None, remark.filter(|_| status.success())))
    }

    /// `cargo xtask fuzz`: a target counts as a test.
    fn fuzz(&self, log: Log) -> Result<Done> {
        let program = std::env::current_exe().context("where xtask stands")?;
        tests(
            log,
            Command::new(program).current_dir(root()).args(["fuzz", "all", "--fresh", "--seconds", FUZZ_SECONDS]),
        )
    }

    fn unit(&self) -> Command {
        let mut command = self.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        if let Some(filter) = &self.filter {
            command.args(["--", filter]);
        }
        command
    }

    /// cargo-deny; without the advisory database, which only the network has, the rest of it.
    fn deny(&self, mut log: Log) -> Result<Done> {
        let advisories = advisory_database().is_some();
        let mut command = self.cargo(&["deny", "--locked", "check"]);
        if advisories {
            command.arg("--disable-fetch").arg("advisories");
        }
        let status = log.run(command.args(["bans", "licenses", "sources"]))?;
        let remark = "advisories skipped: no advisory database here";
        let remark = (!advisories).then(|| remark.to_owned());
        Ok(log.end(outcome(status.success()), None, remark))
    }

    /// Tests marked `#[ignore = "needs root"]`; without root they are counted and skipped.
    fn with_root(&self, mut log: Log, select: &[&str], at_once: &str, records: Option<&Path>) -> Result<Done> {
        let mut command = self.cargo(&["test", "--locked", "--no-fail-fast"]);
        command.env("HA_AGENT_ROUNDS", self.rounds.to_string());
        command.env("HA_AGENT_HOSTILE_ROUNDS", self.hostile_rounds.to_string());
        command.envs(records.map(|path| ("HA_AGENT_RECORDS", path)));
        if let Ok([_, ..]) = self.privilege.prefix("") {
            // The build stays ours; only the test binaries run as root.
            command.args(["--config", "target.'cfg(all())'.runner=['sudo','-n','-E']"]);
        }
        command.args(select).args(["--", "--ignored"]);
        if let Some(filter) = &self.filter {
            command.arg(filter);
        }
        if !self.privilege.is_root() {
            let status = log.run(command.arg("--list"))?;
            let listed = log.text().lines().filter(|line| line.ends_with(": test")).count();
            let results = Results { ignored: listed, ..Results::default() };
            let outcome = if status.success() { Outcome::Skipped } else { Outcome::Failed };
            return Ok(log.end(outcome, Some(results), Some("need root".to_owned())));
        }
        command.args(["--test-threads", at_once]);
        tests(log, &mut command)
    }
}

/// `systemd-analyze security`; its last line is the remark. Skipped where it is not, and cannot be installed.
fn exposure(mut log: Log) -> Result<Done> {
    if !on_path("systemd-analyze") {
        return Ok(log.end(Outcome::Skipped, None, Some("no systemd-analyze here".to_owned())));
    }
    let mut command = Command::new("systemd-analyze");
    command.current_dir(root()).args(["security", "--no-pager", "--offline=true", EXPOSURE, UNIT]);
    let status = log.run(&mut command)?;
    let remark = log
        .text()
        .lines()
        .rfind(|line| line.contains("exposure level"))
        .map(|line| line.chars().filter(char::is_ascii).collect::<String>().trim().to_owned());
    Ok(log.end(outcome(status.success()), None, remark))
}

/// Commands whose success is the check. All are run, so that what each has to say is told at once.
fn check<const N: usize>(mut log: Log, commands: [Command; N]) -> Result<Done> {
    let mut success = true;
    for mut command in commands {
        success &= log.run(&mut command)?.success();
    }
    Ok(log.end(outcome(success), None, None))
}

/// A command that runs test binaries.
fn tests(mut log: Log, command: &mut Command) -> Result<Done> {
    let status = log.run(command)?;
    let results = Results::parse(&log.text());
    Ok(log.end(outcome(status.success()), Some(results), None))
}

fn outcome(success: bool) -> Outcome {
    if success { Outcome::Passed } else { Outcome::Failed }
}

/// Where cargo-deny keeps advisories, if it has fetched any.
fn advisory_database() -> Option<PathBuf> {
    let folder = cargo_bin().parent()?.join("advisory-dbs");
    let mut entries = std::fs::read_dir(&folder).ok()?;
    entries.next().map(|_| folder.clone())
}
