//! The agent under test: its configuration, its process, its commands.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::keepalived::Keepalived;
use crate::lab::{Lab, Site};
use crate::process::Process;
use crate::timeline::Timeline;

/// Longest wait for an agent to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// One node's agent: where its files are, and its process while it runs.
#[derive(Debug)]
pub struct Agent {
    lab: Lab,
    folder: PathBuf,
    /// Words before the agent's own.
    wrapper: Vec<String>,
    process: Option<Process>,
    /// Its events, over all its runs.
    pub events: Timeline,
}

/// What differs from the usual configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Lines for the top of the file, such as `mode = "observe"`.
    pub top: String,
    /// Sections to append; no section twice in TOML.
    pub sections: String,
    /// Lines for `[intake]`.
    pub intake: String,
    /// Lines for each `[[router]]`.
    pub router: String,
    /// Lines for `[corroboration]`.
    pub corroboration: String,
    /// Lines for `[delivery]`.
    pub delivery: String,
    /// Where the outbox is, if not in the node's folder.
    pub state_dir: Option<PathBuf>,
    /// Leaves the routers out: only `ha_confs` names them.
    pub without_routers: bool,
    /// Leaves the notify FIFO out: the agent expects no reporter.
    pub without_fifo: bool,
    /// Seconds between adverts, if not one.
    pub advert_interval: Option<u8>,
    /// Lines for `[keepalived]`; none: no keepalived.conf is looked at.
    pub keepalived: Option<String>,
}

impl Agent {
    /// Writes a node's configuration; nothing is started.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(lab: &Lab, node: &str, sites: &[&Site], settings: &Settings) -> Result<Self> {
        let folder = lab.node_folder(node)?;
        let agent = Self {
            lab: lab.clone(),
            wrapper: Vec::new(),
            process: None,
            events: Timeline::follow(&folder.join("events.jsonl")),
            folder,
        };
        agent.write_configuration(sites, settings)?;
        Ok(agent)
    }

    /// Writes its configuration anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_configuration(&self, sites: &[&Site], settings: &Settings) -> Result<()> {
        let state_dir = settings.state_dir.clone().unwrap_or_else(|| self.folder.join("state"));
        let mut text = format!("{}\n", settings.top);
        writeln!(text, "runtime_dir = {:?}", self.folder.join("run"))?;
        writeln!(text, "state_dir = {state_dir:?}")?;
        writeln!(text, "[intake]\n{}", settings.intake)?;
        if !settings.without_fifo {
            writeln!(text, "notify_fifos = [{:?}]", self.fifo())?;
        }
        writeln!(text, "[neutron]\nstate_path = {:?}", self.neutron())?;
        let keepalived = settings.keepalived.as_deref().unwrap_or("configs = []");
        writeln!(text, "[keepalived]\n{keepalived}")?;
        writeln!(text, "[events]\nsinks = [\"file:{}\"]", self.folder.join("events.jsonl").display())?;
        writeln!(text, "[corroboration]\n{}", settings.corroboration)?;
        // Its socket is by default where Neutron's is.
        writeln!(text, "[delivery]\n{}", settings.delivery)?;
        writeln!(text, "{}", settings.sections)?;
        for site in sites.iter().filter(|_| !settings.without_routers) {
            writeln!(text, "[[router]]\nid = \"{}\"", site.router.id)?;
            writeln!(text, "netns = {:?}\ninterface = {:?}", site.netns_path(), site.interface)?;
            writeln!(text, "vip = \"{}\"\nvrid = {}", site.router.vip(), site.router.vrid)?;
            writeln!(text, "advert_interval = \"{}s\"", settings.advert_interval.unwrap_or(1))?;
            writeln!(text, "{}", settings.router)?;
            if !settings.without_fifo {
                writeln!(text, "fifo_instance = {:?}", Keepalived::instance(site))?;
            }
        }
        std::fs::create_dir_all(self.neutron())?;
        let path = self.configuration();
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Lets the agent be started where bpf(2) is refused.
    ///
    /// # Errors
    /// When the program that does that is not built.
    pub fn without_bpf(&mut self) -> Result<()> {
        let wrapper = built("without-bpf", "ha-agent-tests")?;
        self.wrapper = vec![wrapper.display().to_string()];
        Ok(())
    }

    /// Lets the agent be started under the restrictions of the systemd unit, with readiness told to a socket at
    /// [`Agent::notify_socket`].
    ///
    /// # Errors
    /// When the program that does that is not built.
    pub fn under_unit(&mut self) -> Result<()> {
        let words = |path: &Path| path.display().to_string();
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ha-agent.service").canonicalize()?;
        let notify = format!("NOTIFY_SOCKET={}", self.notify_socket().display());
        self.wrapper = vec!["env".to_owned(), notify, words(&built("under-unit", "ha-agent-tests")?), words(&unit)];
        let object = std::env::var_os("HA_AGENT_TEST_BPF_OBJECT").map(PathBuf::from);
        for kept in [Some(self.folder.clone()), Some(binary()?), object].into_iter().flatten() {
            self.wrapper.extend(["--keep".to_owned(), words(&kept.canonicalize()?)]);
        }
        self.wrapper.extend(["--neutron".to_owned(), words(&self.neutron().canonicalize()?), "--".to_owned()]);
        Ok(())
    }

    /// Where a service manager would listen.
    pub fn notify_socket(&self) -> PathBuf {
        self.folder.join("notify.sock")
    }

    /// Lets the agent be started with so few descriptors, soft and hard limit.
    pub fn with_descriptors(&mut self, most: u32) {
        self.wrapper = vec!["prlimit".to_owned(), format!("--nofile={most}:{most}")];
    }

    /// Lets the agent be started with a limit on the size of files, in bytes.
    pub fn with_file_size(&mut self, most: usize) {
        self.wrapper = vec!["prlimit".to_owned(), format!("--fsize={most}:{most}")];
    }

    /// Lets the agent be started with its standard output and standard error in these files, and diagnostics from
    /// this level on.
    pub fn with_outputs(&mut self, out: &Path, error: &Path, level: &str) {
        let script = format!("exec \"$@\" --log {level} >>'{}' 2>>'{}'", out.display(), error.display());
        self.wrapper = ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not, with all it said.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let started = self.events.expect(PATIENCE, &json!({"event": "agent.started"}));
        if let Err(error) = started {
            bail!("the agent does not start: {error:#}\nit said:\n{}", self.log());
        }
        Ok(())
    }

    /// Starts it and does not wait; only later events count.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.events.mark()?;
        let mut words = self.wrapper.clone();
        words.push(binary()?.display().to_string());
        let (program, arguments) = words.split_first().context("a program")?;
        let mut command = Command::new(program);
        command.args(arguments).args(["run", "--config"]).arg(self.configuration());
        if let Some(object) = std::env::var_os("HA_AGENT_TEST_BPF_OBJECT") {
            command.arg("--bpf-object").arg(object);
        }
        self.process = Some(Process::start(&mut command, &self.folder.join("agent.log"), self.lab.guardian())?);
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.remember();
        self.running()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// SIGTERM, its end awaited; gives its exit code.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<Option<i32>> {
        self.remember();
        let process = self.running()?;
        process.signal(Signal::TERM)?;
        let status = process.wait(PATIENCE)?;
        self.process = None;
        Ok(status.code())
    }

    /// Waits for an end that is not asked for; gives the exit code.
    ///
    /// # Errors
    /// When it goes on.
    pub fn ends(&mut self) -> Result<Option<i32>> {
        let status = self.running()?.wait(PATIENCE)?;
        self.process = None;
        Ok(status.code())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal)
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn id(&mut self) -> Result<u32> {
        Ok(self.running()?.id())
    }

    /// What it holds in the kernel must be gone when the lab is.
    fn remember(&self) {
        if let Some(process) = &self.process {
            self.lab.remember(process.id());
        }
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the agent does not run")
    }

    /// One of its subcommands, with `-o json`.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn ask(&self, command: &[&str]) -> Result<Value> {
        let text = self.command(&[command, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("the answer of {command:?}: {text}"))
    }

    /// One of its subcommands; what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let config = self.configuration();
        let config = config.to_str().context("a path that is UTF-8")?;
        let binary = binary()?;
        let binary = binary.to_str().context("a path that is UTF-8")?;
        crate::command::run(binary, &[words, &["--config", config]].concat())
    }

    /// As [`Agent::command`], of one that may fail: its exit code, and what it printed on standard output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn exits(&self, words: &[&str]) -> Result<(Option<i32>, String)> {
        let output = Command::new(binary()?).args(words).arg("--config").arg(self.configuration()).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// A router's row of `status`.
    ///
    /// # Errors
    /// When the agent does not answer or does not know the router.
    pub fn status(&self, site: &Site) -> Result<Value> {
        let node = self.ask(&["status"])?;
        let id = site.router.id.to_string();
        let rows = node["routers"].as_array().context("routers in status")?;
        rows.iter()
            .find(|row| row["router_id"] == id.as_str())
            .cloned()
            .with_context(|| format!("router {id} in {node}"))
    }

    /// Waits until it says of itself that exactly this is degraded: an event may come before.
    ///
    /// # Errors
    /// When it does not in time: with what it says.
    pub fn lacks(&self, within: Duration, degraded: &Value) -> Result<()> {
        let said = || self.ask(&["status"]).map(|status| status["degraded"].clone());
        crate::wait::until(within, "the status says so", || (said().ok()? == *degraded).then_some(()))
            .with_context(|| format!("{:?} is not {degraded}", said()))
    }

    /// One of its counters.
    ///
    /// # Errors
    /// When nobody answers, or there is none of that name.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let socket = self.folder.join("run/admin.sock");
        let text = crate::report::send(&socket, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.with_context(|| format!("{name} in {text}"))
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("ha-agent.toml")
    }

    /// The FIFO that it reads.
    pub fn fifo(&self) -> PathBuf {
        self.folder.join("notify.fifo")
    }

    /// Its state-change socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run/keepalived-state-change")
    }

    /// Where the L3 agent listens.
    pub fn l3_socket(&self) -> PathBuf {
        self.neutron().join("keepalived-state-change")
    }

    /// Neutron's `state_path` on this node.
    pub fn neutron(&self) -> PathBuf {
        self.folder.join("neutron")
    }

    /// Where this node's files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its diagnostics so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.remember();
    }
}

/// The agent's program: `HA_AGENT_BIN`, else the one built beside this program.
///
/// # Errors
/// When it is not built.
pub fn binary() -> Result<PathBuf> {
    std::env::var_os("HA_AGENT_BIN").map_or_else(|| built("ha-agent", "ha-agent"), |path| Ok(path.into()))
}

/// A program of the workspace, built beside this one.
fn built(name: &str, package: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("the path of this program")?;
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("a folder")?;
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not there: cargo build -p {package}", path.display());
    }
    Ok(path)
}
