//! A keepalived that reads a configuration, prints what it has understood, and is ended.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::said::{Answer, CONFIG_ID, MULTICAST, Said};
use crate::command::{ip_in, run_in};
use crate::lab::{Lab, Router, Site};
use crate::oracle::keepalived::Release;
use crate::place;

/// Its files of process ids. 2.3 keeps others away by locks on all of them, of processes too that it does not start.
const PID_FILES: [(&str, &str); 4] =
    [("--pid", "parent.pid"), ("--vrrp_pid", "vrrp.pid"), ("--checkers_pid", "checkers.pid"), ("--bfd_pid", "bfd.pid")];
/// How long it may take to read a configuration.
const PATIENCE: Duration = Duration::from_secs(5);
/// Length of `Fri Nov 20 21:36:07 2026: `, which begins each line.
const TIME: usize = 26;
/// What it says when there is no instance.
const NOTHING: &str = "keepalived has no configuration to run";
/// After these words it has nothing more to say that matters.
const OVER: [&str; 4] = ["< Interfaces >", "Stopped Keepalived", NOTHING, CRASH];
/// Its parent says so of the process that runs VRRP.
pub(super) const CRASH: &str = "exited due to";
/// It has not come to an end with a configuration.
pub(super) const HANGS: &str = "(no end)";
/// The interfaces that there are. They are cables whose other ends lie beside them.
pub const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// A namespace in which keepalived is asked.
#[derive(Debug)]
pub struct Asker {
    site: Site,
    folder: PathBuf,
    release: Release,
}

impl Asker {
    /// # Errors
    /// When it cannot be built.
    pub fn new(name: &str, release: &Release) -> Result<Self> {
        let lab = Lab::new(name)?;
        let site = lab.site("a", &Router::new(1))?;
        run_in(&site.netns, &["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"])?;
        for interface in INTERFACES {
            let other = format!("{interface}-p");
            ip_in(&site.netns, &["link", "add", interface, "type", "veth", "peer", "name", &other])?;
            ip_in(&site.netns, &["link", "set", interface, "up"])?;
            ip_in(&site.netns, &["link", "set", &other, "up"])?;
        }
        let folder = lab.node_folder(&site.node)?;
        Ok(Self { site, folder, release: release.clone() })
    }

    /// What keepalived makes of a text.
    ///
    /// # Errors
    /// When it says nothing, or what it says is not understood.
    pub fn ask(&self, text: &str) -> Result<Answer> {
        let conf = self.folder.join("k.conf");
        std::fs::write(&conf, text).with_context(|| format!("writing {}", conf.display()))?;
        for (_, name) in PID_FILES {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        let mut running = place::within(&self.site.netns, || Running::start(self.command(&conf)))?;
        let heard = running.hear();
        // The interfaces that it made go with it if it ends by itself.
        running.end(text.contains("vmac"))?;
        answer(&heard)
    }

    fn command(&self, conf: &Path) -> Command {
        let mut command = match &self.release {
            Release::Own => Command::new("keepalived"),
            Release::In(root) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-euc", ENTER, "sh"]).arg(root).arg(&self.folder);
                command.arg("/usr/sbin/keepalived");
                command
            }
        };
        command
            .args(["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--dump-conf", "--dont-respawn"])
            .args(["--config-id", CONFIG_ID])
            .arg("--use-file")
            .arg(conf)
            .env("TMPDIR", &self.folder);
        for (option, name) in PID_FILES {
            command.arg(option).arg(self.folder.join(name));
        }
        command
    }
}

/// The root folder and the folder of the files come before the command.
const ENTER: &str = r#"
root=$1 folder=$2; shift 2
mkdir -p "$root$folder"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind "$folder" "$root$folder"
exec chroot "$root" "$@"
"#;

/// Both of its processes.
struct Running {
    child: Child,
    lines: Receiver<String>,
    vrrp: Option<Pid>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("starting keepalived")?;
        let pipe = child.stderr.take().context("the pipe from keepalived")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || read(pipe, &sender));
        Ok(Self { child, lines, vrrp: None })
    }

    /// What it says, up to the end of what it has understood, or to its own.
    fn hear(&mut self) -> Vec<String> {
        let latest = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(latest.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some((_, pid)) = line.split_once("Starting VRRP child process, pid=") {
                        self.vrrp = pid.trim().parse().ok().and_then(Pid::from_raw);
                    }
                    let over = OVER.iter().any(|over| line.contains(over));
                    heard.push(line);
                    if over {
                        return heard;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return heard,
                Err(RecvTimeoutError::Timeout) => {
                    heard.push(format!("{:TIME$}{HANGS}", ""));
                    return heard;
                }
            }
        }
    }

    fn end(&mut self, in_order: bool) -> Result<()> {
        if in_order {
            if let Some(pid) = pid(self.child.id()) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let latest = Instant::now() + Duration::from_secs(3);
            while self.child.try_wait().context("waiting for keepalived")?.is_none() && Instant::now() < latest {
                // Its last words have to be read, or it would wait for that.
                if self.lines.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Disconnected) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.kill();
        self.child.wait().context("waiting for keepalived")?;
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(group) = pid(self.child.id()) {
            // Its parent first stands still, so that it starts no other child.
            let _ = kill_process(group, Signal::STOP);
            if let Some(vrrp) = self.vrrp.take() {
                let _ = kill_process(vrrp, Signal::KILL);
            }
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

fn read(pipe: ChildStderr, lines: &mpsc::Sender<String>) {
    let mut pipe = BufReader::new(File::from(std::os::fd::OwnedFd::from(pipe)));
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        if lines.send(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Its answer in what it printed.
fn answer(heard: &[String]) -> Result<Answer> {
    let begin = heard.iter().position(|line| line.contains("< VRRP Topology >"));
    let Some(begin) = begin else {
        if heard.iter().any(|line| line.contains("< Interfaces >") || line.contains(NOTHING)) {
            return Ok(Answer::Runs(Vec::new()));
        }
        let said = heard.iter().filter_map(|line| line.get(TIME..));
        let begin = ["Starting Keepalived", "Running on", "Command line", " ", "Opening file", "Configuration file"];
        let said = said.filter(|line| !begin.iter().any(|begin| line.starts_with(begin)));
        let said: Vec<&str> = said.collect();
        // Its first process crashes without a word.
        return Ok(Answer::Ends(if said.is_empty() { CRASH.to_owned() } else { said.join(" | ") }));
    };
    let mut instances: Vec<Vec<&str>> = Vec::new();
    for line in heard[begin + 1..].iter().filter_map(|line| line.get(TIME..)) {
        // The dump's lines are indented; what keepalived's parent says in between is not.
        if line.starts_with(" VRRP Instance = ") {
            instances.push(vec![line]);
        } else if line.starts_with("------<") {
            break;
        } else if let (Some(lines), true) = (instances.last_mut(), line.starts_with("   ")) {
            lines.push(line);
        }
    }
    Ok(Answer::Runs(instances.iter().map(|lines| said(lines)).collect::<Result<_>>()?))
}

/// An instance in what it printed.
fn said(lines: &[&str]) -> Result<Said> {
    let value = |key: &str| {
        let found = lines.iter().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(" = "));
        found.with_context(|| format!("{key} in {lines:#?}"))
    };
    let interval_ms = match value("Advert interval")?.split_once(' ').context("a unit")? {
        (number, "sec") => number.parse::<u128>()? * 1000,
        (number, _) => number.parse()?,
    };
    // `eth0`, or `vrrp.7, vmac on eth0, xmit base i/f`.
    let interface = value("Interface")?;
    let interface = interface.split_once("vmac on ").map_or(interface, |(_, base)| base);
    let group = lines.iter().find_map(|line| line.trim_start().strip_prefix("Multicast address "));
    let mode = match group {
        Some(group) => group.split(',').next().unwrap_or_default().to_owned(),
        // Before 2.2.0 the group is not told.
        None if !lines.iter().any(|line| line.starts_with("   Unicast Peer")) => MULTICAST.to_owned(),
        None => {
            let peers = list(lines, "   Unicast Peer :");
            let peers: Vec<&str> = peers.iter().filter_map(|peer| peer.split(' ').next()).collect();
            format!("peers {}", peers.join(" "))
        }
    };
    Ok(Said {
        name: lines[0].trim_start().strip_prefix("VRRP Instance = ").context("a name")?.to_owned(),
        interface: interface.split(',').next().unwrap_or_default().to_owned(),
        vrid: value("Virtual Router ID")?.parse()?,
        v6: lines.contains(&"   Using Native IPv6"),
        version: value("VRRP Version")?.parse()?,
        interval_ms,
        priority: value("Priority")?.parse()?,
        mode,
        // `Virtual IP (2):`, and before 2.2.0 `Virtual IP :`.
        listed: [list(lines, "   Virtual IP ("), list(lines, "   Virtual IP :")]
            .concat()
            .into_iter()
            .map(address)
            .collect(),
        excluded: list(lines, "   Virtual IP Excluded ").into_iter().map(address).collect(),
    })
}

/// The lines of a list, which are indented further than its heading.
fn list<'a>(lines: &[&'a str], heading: &str) -> Vec<&'a str> {
    let behind = lines.iter().skip_while(|line| !line.starts_with(heading)).skip(1);
    behind.map_while(|line| line.strip_prefix("     ")).collect()
}

/// `10.0.0.1/24 brd 10.0.0.255 dev eth0@eth0-p scope global` in short.
fn address(line: &str) -> String {
    let mut words = line.split(' ');
    let given = words.next().unwrap_or_default();
    let device = words.skip_while(|word| *word != "dev").nth(1).unwrap_or_default();
    let device = device.split('@').next().unwrap_or_default();
    let whole = if given.contains(':') { "/128" } else { "/32" };
    let whole = if given.contains('/') { "" } else { whole };
    format!("{given}{whole} {device}")
}
