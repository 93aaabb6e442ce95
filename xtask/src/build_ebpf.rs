//! `cargo xtask build-ebpf`: the classifier's object from source, the same bytes wherever it is built.

pub(crate) mod rustc;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::digest::{self, Record, Toolchain};
use crate::setup::{self, Group};
use crate::workspace::say;

const TARGET: &str = "bpfel-unknown-none";
/// Flags that decide the object, beside the manifest's profile. The two path prefixes are replaced
/// in it: see [`rustflags`].
pub(crate) const FLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Clink-arg=--btf", "llvm-strip -g"];

/// What a rebuild gave.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The same toolchain, the same bytes.
    Same,
    /// Another toolchain: the bytes may differ, the object is to be tested as it is.
    OtherToolchain {
        /// What built the kept object.
        kept: Box<Toolchain>,
        /// What is here.
        here: Box<Toolchain>,
        /// The fresh object, below `target`.
        object: PathBuf,
    },
}

/// What to do beside building and keeping the object.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Keep nothing: rebuild in a fresh folder and compare with the kept object
    #[arg(long, conflicts_with = "clippy")]
    check: bool,
    /// Build nothing: run clippy over the classifier, warnings denied
    #[arg(long)]
    clippy: bool,
}

/// The command.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(&[Group::Ebpf])?;
    if arguments.clippy {
        clippy()?;
    } else if arguments.check {
        // What an earlier check left must not be taken for this one's.
        let _ = fs::remove_file(fresh_object(&root()));
        match check_reproducible()? {
            Outcome::Same => say("the rebuilt object is byte for byte the one that is kept"),
            Outcome::OtherToolchain { kept, here, object } => say(&format!(
                "another toolchain ({here:?}) than the kept object's ({kept:?}): its bytes differ; \
                 the end-to-end tests take the fresh object {}",
                object.display()
            )),
        }
    } else {
        run()?;
        say("ha-agent/ebpf/ha-agent.bpf.o is built from the sources in this tree");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where [`check_reproducible`] leaves an object that another toolchain built.
pub(crate) fn fresh_object(root: &Path) -> PathBuf {
    root.join("target/ebpf/fresh.bpf.o")
}

/// Builds the object and keeps it with its record under `ha-agent/ebpf`.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let tools = Tools::find()?;
    let object = tools.build(&root, &root.join("target/ebpf"))?;
    let bytes = fs::read(&object)?;
    let record = Record {
        layout_version: ha_agent_common::LAYOUT_VERSION,
        sources_sha256: digest::sources(&root, &FLAGS)?,
        object_sha256: digest::of(&bytes),
        toolchain: tools.versions()?,
    };
    let kept = digest::object_path(&root);
    fs::create_dir_all(kept.parent().context("no parent")?)?;
    fs::write(&kept, &bytes).with_context(|| kept.display().to_string())?;
    record.write(&root)
}

/// Rebuilds the object from a copy of the sources in a fresh folder and compares.
///
/// Fails when the kept object is not the recorded one, is older than its sources, or when the same
/// toolchain gives other bytes.
pub(crate) fn check_reproducible() -> Result<Outcome> {
    let root = root();
    let record = Record::read(&root)?;
    let kept = fs::read(digest::object_path(&root))?;
    ensure!(
        record.object_sha256 == digest::of(&kept),
        "ha-agent/ebpf/ha-agent.bpf.o is not the object that its record names"
    );
    ensure!(
        record.sources_sha256 == digest::sources(&root, &FLAGS)?,
        "ha-agent/ebpf/ha-agent.bpf.o is older than its sources: run `cargo xtask build-ebpf`"
    );
    let tools = Tools::find()?;
    let here = tools.versions()?;
    let elsewhere = tempfile::tempdir()?;
    for part in ["Cargo.toml", "ha-agent-common", "ha-agent-ebpf"] {
        copy(&root.join(part), &elsewhere.path().join(part))?;
    }
    let built = tools.build(elsewhere.path(), &elsewhere.path().join("target"))?;
    let fresh = fs::read(&built)?;
    if fresh == kept {
        return Ok(Outcome::Same);
    }
    let object = fresh_object(&root);
    fs::create_dir_all(object.parent().context("no parent")?)?;
    fs::write(&object, &fresh)?;
    if here == record.toolchain {
        bail!(
            "the same toolchain built other bytes: {} against {} (kept at {})",
            digest::of(&fresh),
            record.object_sha256,
            object.display()
        );
    }
    Ok(Outcome::OtherToolchain { kept: Box::new(record.toolchain), here: Box::new(here), object })
}

/// Runs clippy over the classifier for its own target, warnings denied.
pub(crate) fn clippy() -> Result<()> {
    let root = root();
    let tools = Tools::find()?;
    let mut command = tools.cargo_clippy()?;
    tools.prepare(&mut command, &root, &root.join("target/ebpf"));
    command.args(["--", "-D", "warnings"]);
    run_quietly(command)
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// A compiler that can build for the kernel, and what goes with it.
struct Tools {
    compiler: Compiler,
    strip: PathBuf,
    bpf_linker: PathBuf,
}

enum Compiler {
    /// Debian's `rustc-web` with `libstd-rust-web-dev-bpf`.
    Debian,
    /// rustup's nightly with rust-src.
    Nightly,
}

impl Tools {
    fn find() -> Result<Self> {
        let compiler = if debian_has_core() {
            Compiler::Debian
        } else if nightly_has_source() {
            Compiler::Nightly
        } else {
            bail!(
                "no Rust compiler for {TARGET} found. On Debian: apt-get install rustc-web cargo-web \
                 libstd-rust-web-dev-bpf rust-web-clippy llvm-22-dev; elsewhere: rustup toolchain \
                 install nightly --component rust-src,clippy"
            );
        };
        let bpf_linker = find_program(&["bpf-linker"]).context(
            "bpf-linker not found. With Debian's llvm-22-dev: PATH=/usr/lib/llvm-22/bin:$PATH \
             LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 LIBRARY_PATH=/usr/lib/llvm-22/lib cargo install \
             bpf-linker --version 0.13.0 --no-default-features --features llvm-22",
        )?;
        let strip = find_program(&["llvm-strip-22", "llvm-strip"])
            .context("llvm-strip not found. On Debian: apt-get install llvm-22")?;
        Ok(Self { compiler, strip, bpf_linker })
    }

    fn versions(&self) -> Result<Toolchain> {
        let mut rustc = match self.compiler {
            Compiler::Debian => Command::new("/usr/bin/rustc"),
            Compiler::Nightly => rustup("rustc"),
        };
        let verbose = output(rustc.arg("-vV"))?;
        let first = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
        let after = |text: &str, label: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(label))
                .map(|value| value.trim().to_owned())
                .unwrap_or_default()
        };
        let strip = output(Command::new(&self.strip).arg("--version"))?;
        Ok(Toolchain {
            rustc: first(&verbose),
            llvm: after(&verbose, "LLVM version:"),
            bpf_linker: first(&output(Command::new(&self.bpf_linker).arg("--version"))?),
            llvm_strip: strip.lines().find(|line| line.contains("version")).unwrap_or_default().trim().to_owned(),
        })
    }

    /// Builds the sources under `root` and returns the stripped object's path.
    fn build(&self, root: &Path, target: &Path) -> Result<PathBuf> {
        let mut command = match self.compiler {
            Compiler::Debian => Command::new("/usr/bin/cargo"),
            Compiler::Nightly => rustup("cargo"),
        };
        command.arg("build");
        self.prepare(&mut command, root, target);
        rustc::wrapped(&mut command)?;
        run_quietly(command)?;
        let built = target.join(TARGET).join("release/ha-agent");
        let stripped = target.join("ha-agent.bpf.o");
        let mut strip = Command::new(&self.strip);
        strip.arg("-g").arg("-o").arg(&stripped).arg(&built);
        run_quietly(strip)?;
        Ok(stripped)
    }

    fn cargo_clippy(&self) -> Result<Command> {
        Ok(match self.compiler {
            Compiler::Debian => {
                // Called itself: `cargo clippy` would find rustup's proxy in CARGO_HOME first.
                let path = "/usr/bin/cargo-clippy";
                ensure!(Path::new(path).exists(), "{path} not found: apt-get install rust-web-clippy");
                let mut command = Command::new(path);
                command.arg("clippy").env("CARGO", "/usr/bin/cargo");
                command
            }
            Compiler::Nightly => {
                let mut command = rustup("cargo");
                command.arg("clippy");
                command
            }
        })
    }

    /// Arguments and environment that building and linting share.
    fn prepare(&self, command: &mut Command, root: &Path, target: &Path) {
        command
            .args(["--locked", "--release", "--target", TARGET, "--manifest-path"])
            .arg(root.join("ha-agent-ebpf/Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .current_dir(root.join("ha-agent-ebpf"))
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root).join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env("PATH", self.path());
        match self.compiler {
            Compiler::Debian => {
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            }
            Compiler::Nightly => {
                command.env_remove("RUSTC").args(["-Z", "build-std=core"]);
            }
        }
    }

    /// `PATH` with the folder of bpf-linker, and with Debian's compiler before rustup's proxies.
    fn path(&self) -> String {
        let mut path = env::var("PATH").unwrap_or_default();
        if let Some(folder) = self.bpf_linker.parent() {
            path = format!("{}:{path}", folder.display());
        }
        match self.compiler {
            Compiler::Debian => format!("/usr/lib/llvm-22/bin:/usr/bin:{path}"),
            Compiler::Nightly => path,
        }
    }
}

/// The compiler's flags. No path of this machine may get into the object.
fn rustflags(root: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from);
    let mut flags: Vec<String> =
        FLAGS.iter().filter(|flag| flag.starts_with('-')).map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--remap-path-prefix={}=/ha-agent", root.display()));
    flags.push(format!("--remap-path-prefix={}=/cargo", cargo_home.display()));
    flags
}

fn debian_has_core() -> bool {
    let Ok(sysroot) = output(Command::new("/usr/bin/rustc").args(["--print", "sysroot"])) else {
        return false;
    };
    let core = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("lib");
    core.is_dir() && Path::new("/usr/bin/cargo").exists()
}

fn nightly_has_source() -> bool {
    output(rustup("rustc").args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

fn rustup(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    command
}

/// The first of `names` in `PATH` or in cargo's bin folder.
fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo/bin");
    let folders: Vec<PathBuf> = env::split_paths(&path).chain([home]).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("{:?}", command.get_program()))?;
    ensure!(done.status.success(), "{:?}: {}", command.get_program(), done.status);
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command and shows its output only when it fails.
fn run_quietly(mut command: Command) -> Result<()> {
    let done = command.output().with_context(|| format!("{:?}", command.get_program()))?;
    ensure!(
        done.status.success(),
        "{:?} failed:\n{}{}",
        command.get_program(),
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// Copies a file or folder, without build output.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
            let entry = entry?;
            if entry.file_name() != "target" {
                copy(&entry.path(), &to.join(entry.file_name()))?;
            }
        }
    } else {
        fs::copy(from, to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}
