//! The Neutron releases that the end-to-end tests run for real, each in a virtual environment.
//!
//! What they import is installed once, in `target/neutron/shared`, in pinned versions, and each
//! release sees it through a `.pth` file: a third of the time and of the disk that three whole trees
//! take. A folder with the right stamp is left as it is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::{on_path, root, say, target};

/// The last one with webob and eventlet, the last one with a monitor in Python, and the newest.
const RELEASES: [&str; 3] = ["26.0.6", "28.0.2", "29.0.0"];
/// Raised when the way of installing changes.
const RECIPE: u32 = 1;
/// Imports what the tests use: a package that is missing is found here. What Python compiles
/// meanwhile is kept, and no test has to.
const PROBE: &str = "\
import importlib.util, warnings
warnings.simplefilter('ignore')
from neutron.agent import l3_agent
from neutron.agent.l3 import ha, ha_router
from neutron.agent.linux import external_process, keepalived
from neutron.notifiers import batch_notifier
if importlib.util.find_spec('neutron.agent.l3.keepalived_state_change'):
    from neutron.agent.l3 import keepalived_state_change
# Its configuration loads the driver by name.
from oslo_messaging._drivers import impl_rabbit
";

/// Installs the releases that are not there.
///
/// # Errors
/// When Python is too old, or a package cannot be had.
pub(super) fn ensure() -> Result<()> {
    let python = Python::find()?;
    let folder = target().join("neutron");
    let list = root().join("tests/neutron/packages.txt");
    let packages = std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let stamp = format!("recipe {RECIPE}\n{} {}\n{packages}", python.program.display(), python.version);
    let whole = |name: &str| std::fs::read_to_string(folder.join(name).join("stamp")).is_ok_and(|text| text == stamp);
    if whole("shared") && RELEASES.iter().all(|release| whole(release)) {
        return Ok(());
    }

    say(&format!(
        "setup: installing Neutron {} from PyPI into {} (for: end-to-end tests; half a minute to two, 200 MB)",
        RELEASES.join(", "),
        folder.display()
    ));
    let began = Instant::now();
    // What is there may be half of something, or made for another Python.
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && folder.exists()
    {
        return Err(error).with_context(|| format!("removing {}", folder.display()));
    }
    let shared = Environment { folder: folder.join("shared") };
    shared.make(&python, &[])?;
    let installer = shared.python();
    at_once([None, Some(RELEASES[0]), Some(RELEASES[1]), Some(RELEASES[2])], |release| match release {
        None => pip(&installer, &installer, &["--requirement".as_ref(), list.as_os_str()], "what Neutron imports"),
        Some(release) => {
            let environment = Environment { folder: folder.join(release) };
            environment.make(&python, &["--without-pip"])?;
            environment.see(&shared)?;
            let name = format!("neutron=={release}");
            pip(&installer, &environment.python(), &[name.as_ref()], &name)
        }
    })?;
    say(&format!("setup: installed after {} s; importing each once", began.elapsed().as_secs()));
    at_once(RELEASES, |release| Environment { folder: folder.join(release) }.probe(release))?;
    for name in RELEASES.into_iter().chain(["shared"]) {
        let path = folder.join(name).join("stamp");
        std::fs::write(&path, &stamp).with_context(|| format!("writing {}", path.display()))?;
    }
    say(&format!("setup: Neutron is there after {} s, {} MB", began.elapsed().as_secs(), size(&folder) / 1_000_000));
    Ok(())
}

/// The Python that the environments are made of.
struct Python {
    program: PathBuf,
    /// Such as `3.11`.
    version: String,
}

impl Python {
    /// The system's own, to which Debian's python3-venv belongs; else the one on PATH.
    fn find() -> Result<Self> {
        let system = PathBuf::from("/usr/bin/python3");
        let program = if system.is_file() { system } else { PathBuf::from("python3") };
        if !program.is_absolute() && !on_path("python3") {
            bail!("missing for end-to-end tests: python3 (3.11 or later, with its venv module)");
        }
        let ask = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))";
        let answer = Command::new(&program).args(["-c", ask]).output();
        let answer = answer.with_context(|| format!("starting {}", program.display()))?;
        let version = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if !answer.status.success() {
            bail!("{} is Python {version}: the tests need 3.11 or later for Neutron", program.display());
        }
        Ok(Self { program, version })
    }
}

/// One virtual environment.
struct Environment {
    folder: PathBuf,
}

impl Environment {
    fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    fn make(&self, python: &Python, flags: &[&str]) -> Result<()> {
        let mut command = Command::new(&python.program);
        command.args(["-m", "venv"]).args(flags).arg(&self.folder);
        finish(&mut command, "a virtual environment could not be made (Debian package python3-venv)")
    }

    /// Lets this one import what is installed in another one.
    fn see(&self, other: &Self) -> Result<()> {
        let packages = other.packages()?;
        let packages = std::path::absolute(&packages).context("the path of the packages")?;
        let path = self.packages()?.join("shared.pth");
        std::fs::write(&path, format!("{}\n", packages.display()))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// `lib/python3.*/site-packages`.
    fn packages(&self) -> Result<PathBuf> {
        let lib = self.folder.join("lib");
        let entries = std::fs::read_dir(&lib).with_context(|| format!("reading {}", lib.display()))?;
        let mut found = entries.flatten().map(|entry| entry.path().join("site-packages"));
        found.find(|path| path.is_dir()).with_context(|| format!("site-packages below {}", lib.display()))
    }

    fn probe(&self, release: &str) -> Result<()> {
        let what = format!(
            "Neutron {release} cannot be imported: a package in tests/neutron/packages.txt is missing or does not fit"
        );
        finish(Command::new(self.python()).args(["-c", PROBE]), &what)
    }
}

/// Installs into the environment of `python`, and nothing that is not named. Python compiles what is
/// imported, later, once.
fn pip(installer: &Path, python: &Path, what: &[&std::ffi::OsStr], named: &str) -> Result<()> {
    let mut command = Command::new(installer);
    command.args(["-m", "pip", "--python"]).arg(python);
    command.args(["install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    command.args(["--no-deps", "--no-compile", "--only-binary", ":all:"]).args(what);
    finish(&mut command, &format!("{named} could not be installed from PyPI: is it in reach? Start again when it is"))
}

/// Runs a command to its end; when it fails, its words follow what went wrong.
fn finish(command: &mut Command, failed: &str) -> Result<()> {
    let answer = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    if answer.status.success() {
        return Ok(());
    }
    let mut words = String::new();
    for stream in [&answer.stdout, &answer.stderr] {
        let _ = write!(words, "{}", String::from_utf8_lossy(stream));
    }
    let lines: Vec<&str> = words.lines().collect();
    bail!("{failed}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
}

/// Does all of it at once, and gives the first error.
fn at_once<T: Send, const N: usize>(jobs: [T; N], job: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    let job = &job;
    thread::scope(|scope| {
        let running = jobs.map(|each| scope.spawn(move || job(each)));
        let ended = running.map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread of the setup panicked")));
        ended.into_iter().collect()
    })
}

/// Bytes in the files of a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
            _ => 0,
        })
        .sum()
}
