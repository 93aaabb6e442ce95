//! A real keepalived, configured as Neutron configures it.

use std::fmt::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Site;
use crate::process::Process;

/// How one instance is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// 50 on every node, as Neutron writes it.
    pub priority: u8,
    /// Neutron sets it: a better backup does not take over from a living master.
    pub nopreempt: bool,
    /// Seconds between adverts; Neutron's default is 2.
    pub advert_int: u8,
    /// The FIFO that state changes are written to.
    pub fifo: Option<PathBuf>,
    /// VRRPv2 password.
    pub auth_pass: Option<String>,
    /// The socket that a notify script reports to.
    pub socket: Option<PathBuf>,
    /// Reports by `ha-agent notify` instead of curl.
    pub by_notify: bool,
    /// Does not mind when the primary VIP goes (`no_track`).
    pub no_track: bool,
    /// Another primary VIP than the router's: a stranger on its VRID.
    pub vip: Option<String>,
    /// VIPs beside the primary one, listed in the advert as well.
    pub more_vips: Vec<String>,
    /// Addresses beside the one in every `virtual_ipaddress_excluded`, each with its prefix.
    pub excluded: Vec<String>,
    /// VRRP version; none: keepalived's default, 2.
    pub version: Option<u8>,
    /// The password goes into an IP authentication header (VRRPv2).
    pub ah: bool,
    /// Adverts go to this node alone, by unicast.
    pub unicast_peer: Option<IpAddr>,
    /// VRRPv3 by unicast: the checksum of keepalived before 1.3.6, over the multicast group's address.
    pub old_unicast_checksum: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            priority: 50,
            nopreempt: true,
            advert_int: 1,
            fifo: None,
            auth_pass: None,
            socket: None,
            by_notify: false,
            no_track: false,
            vip: None,
            more_vips: Vec::new(),
            excluded: Vec::new(),
            version: None,
            ah: false,
            unicast_peer: None,
            old_unicast_checksum: false,
        }
    }
}

impl Settings {
    /// Time until a backup takes over from a master that fell silent (VRRPv2): three adverts and
    /// the skew.
    pub fn master_down(&self) -> Duration {
        Duration::from_secs(3 * u64::from(self.advert_int)) + self.skew()
    }

    /// Time until a backup takes over from a master that resigned.
    pub fn skew(&self) -> Duration {
        Duration::from_secs(1) * (256 - u32::from(self.priority)) / 256
    }
}

/// A running keepalived: a parent that supervises and a child that speaks VRRP.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
    child_pid_file: PathBuf,
    conf: PathBuf,
    site: Site,
}

impl Keepalived {
    /// The instance's name in FIFO lines.
    pub fn instance(site: &Site) -> String {
        format!("VR_{}", site.router.vrid)
    }

    /// Starts one in the site's namespace.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn start(site: &Site, settings: &Settings) -> Result<Self> {
        Self::start_with(site, &Self::configure(site, settings)?)
    }

    /// Writes the configuration that [`Keepalived::start`] starts it with; where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(site: &Site, settings: &Settings) -> Result<PathBuf> {
        let conf = Self::configuration_of(site)?;
        let folder = conf.parent().context("a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        write_conf(&conf, site, settings)?;
        Ok(conf)
    }

    /// Where the configuration of a site's keepalived is, or will be.
    ///
    /// # Errors
    /// When the node's folder cannot be made.
    pub fn configuration_of(site: &Site) -> Result<PathBuf> {
        Ok(site.lab().node_folder(&site.node)?.join(format!("vr{}/keepalived.conf", site.router.vrid)))
    }

    /// Starts one in the site's namespace with a configuration that is there; its other files go
    /// into the same folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(site: &Site, conf: &Path) -> Result<Self> {
        let folder = conf.parent().context("a folder")?.to_owned();
        let child_pid_file = folder.join("keepalived.vrrp.pid");
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &site.netns, "keepalived"])
            // In the foreground, VRRP only, all it says to standard error.
            .args(["--dont-fork", "--vrrp", "--log-console", "--no-syslog", "--log-detail"])
            .arg("--use-file")
            .arg(conf)
            .arg("--pid")
            .arg(folder.join("keepalived.pid"))
            .arg("--vrrp_pid")
            .arg(&child_pid_file);
        let log = folder.join("keepalived.log");
        let process = Process::start(&mut command, &log, site.lab().guardian())?;
        Ok(Self { process, child_pid_file, conf: conf.to_owned(), site: site.clone() })
    }

    /// Its configuration file.
    pub fn configuration(&self) -> &Path {
        &self.conf
    }

    /// Where it lives.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Asks it to end in order and does not wait: it resigns at once, and is gone a second later.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resign(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Ends it in order: it resigns and removes its addresses.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.resign()?;
        self.process.wait(Duration::from_secs(5)).map(drop)
    }

    /// SIGKILL to both of its processes: the addresses stay.
    ///
    /// # Errors
    /// When they do not end.
    pub fn kill(&mut self) -> Result<()> {
        // The parent stands still, so that it cannot start another child; the child goes first, so
        // that it cannot resign when its parent dies.
        let child = self.child()?;
        self.process.signal(Signal::STOP)?;
        kill_process(child, Signal::KILL).context("killing keepalived's child")?;
        // Until init reaps the child, its pid file would keep the next keepalived from starting.
        let _ = std::fs::remove_file(&self.child_pid_file);
        self.process.kill()
    }

    /// SIGKILL to the parent alone.
    ///
    /// # Errors
    /// When it is gone.
    pub fn kill_parent(&mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(Duration::from_secs(5)).map(drop)
    }

    /// SIGKILL to the child alone.
    ///
    /// # Errors
    /// When it is gone.
    pub fn kill_child(&self) -> Result<()> {
        kill_process(self.child()?, Signal::KILL).context("killing keepalived's child")
    }

    /// SIGSTOP to both: it says nothing and keeps its addresses.
    ///
    /// # Errors
    /// When one is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::STOP)?;
        kill_process(self.child()?, Signal::STOP).context("freezing keepalived's child")
    }

    /// SIGCONT to both.
    ///
    /// # Errors
    /// When one is gone.
    pub fn thaw(&self) -> Result<()> {
        kill_process(self.child()?, Signal::CONT).context("thawing keepalived's child")?;
        self.process.signal(Signal::CONT)
    }

    /// Writes its configuration anew and lets it read it.
    ///
    /// # Errors
    /// When it cannot be written, or keepalived is gone.
    pub fn reload(&self, settings: &Settings) -> Result<()> {
        write_conf(&self.conf, &self.site, settings)?;
        self.reread()
    }

    /// Lets it read its configuration, as it is now, again.
    ///
    /// # Errors
    /// When keepalived is gone.
    pub fn reread(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    fn child(&self) -> Result<Pid> {
        let text = std::fs::read_to_string(&self.child_pid_file)
            .with_context(|| format!("reading {}", self.child_pid_file.display()))?;
        text.trim().parse().ok().and_then(Pid::from_raw).context("keepalived's child's pid")
    }
}

/// A FIFO that is there before keepalived is, so that a reload keeps it.
///
/// # Errors
/// When it cannot be made.
pub fn make_fifo(path: &Path) -> Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .with_context(|| format!("making the FIFO {}", path.display()))
}

/// The configuration in the words and the order of Neutron's template.
fn write_conf(path: &Path, site: &Site, settings: &Settings) -> Result<()> {
    let (vrid, interface) = (site.router.vrid, &site.interface);
    let mut conf = String::from("global_defs {\n    notification_email_from neutron@example.org\n");
    conf.push_str("    script_user root\n    enable_script_security\n");
    if let Some(fifo) = &settings.fifo {
        writeln!(conf, "    vrrp_notify_fifo {}", fifo.display())?;
    }
    conf.push_str("}\n");
    writeln!(conf, "vrrp_instance {} {{", Keepalived::instance(site))?;
    writeln!(conf, "    state BACKUP\n    interface {interface}")?;
    writeln!(conf, "    virtual_router_id {vrid}\n    priority {}", settings.priority)?;
    conf.push_str("    garp_master_delay 60\n");
    if settings.nopreempt {
        conf.push_str("    nopreempt\n");
    }
    writeln!(conf, "    advert_int {}", settings.advert_int)?;
    if let Some(version) = settings.version {
        writeln!(conf, "    version {version}")?;
    }
    if site.router.v6 {
        conf.push_str("    native_ipv6\n");
    }
    if settings.old_unicast_checksum {
        conf.push_str("    old_unicast_checksum\n");
    }
    if let Some(password) = &settings.auth_pass {
        let kind = if settings.ah { "AH" } else { "PASS" };
        writeln!(conf, "    authentication {{\n        auth_type {kind}\n        auth_pass {password}\n    }}")?;
    }
    if let Some(peer) = settings.unicast_peer {
        writeln!(conf, "    unicast_src_ip {}\n    unicast_peer {{\n        {peer}\n    }}", site.ip())?;
    }
    writeln!(conf, "    track_interface {{\n        {interface}\n    }}")?;
    let vip = settings.vip.clone().unwrap_or_else(|| site.router.vip());
    let no_track = if settings.no_track { " no_track" } else { "" };
    writeln!(conf, "    virtual_ipaddress {{\n        {vip} dev {interface}{no_track}")?;
    for vip in &settings.more_vips {
        writeln!(conf, "        {vip} dev {interface}")?;
    }
    conf.push_str("    }\n");
    writeln!(conf, "    virtual_ipaddress_excluded {{\n        10.{vrid}.0.1/24 dev {interface} no_track")?;
    for address in &settings.excluded {
        writeln!(conf, "        {address} dev {interface} no_track")?;
    }
    conf.push_str("    }\n");
    if let Some(socket) = &settings.socket {
        let script = path.with_file_name("report.sh");
        write_script(&script, site, socket, settings.by_notify)?;
        let script = script.display();
        writeln!(conf, "    notify_master \"{script} primary\"")?;
        writeln!(conf, "    notify_backup \"{script} backup\"")?;
        writeln!(conf, "    notify_fault \"{script} fault\"")?;
    }
    conf.push_str("}\n");
    std::fs::write(path, conf).with_context(|| format!("writing {}", path.display()))
}

/// Reports its first argument with the request that Neutron 29's monitor makes, or with the agent's
/// own command.
fn write_script(path: &Path, site: &Site, socket: &Path, by_notify: bool) -> Result<()> {
    let (router, socket) = (site.router.id, socket.display());
    let command = if by_notify {
        format!("exec {} notify --router {router} --socket {socket} \"$1\"", crate::agent::binary()?.display())
    } else {
        format!(
            "exec curl -s -o /dev/null -X POST -H 'X-Neutron-Router-Id: {router}' -H \"X-Neutron-State: $1\" \
             -H 'Connection: close' --connect-timeout 5 --unix-socket {socket} http://127.0.0.1/"
        )
    };
    std::fs::write(path, format!("#!/bin/sh\n{command}\n"))
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("writing {}", path.display()))
}
