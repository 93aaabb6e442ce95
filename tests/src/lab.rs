//! Nodes on one machine: a network namespace per router and node, joined by a bridge that lives in a
//! namespace of its own.

mod router;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use router::Router;

use crate::command::{ip_in, run, run_in};
use crate::guardian::{Guardian, Trace};
use crate::holdings::Holdings;
use crate::wait;

/// The kernel gives programs, maps and links back some grace periods after their owner's end; those of an agent with
/// hundreds of routers have been seen to outlast 10 s, while other tests took hundreds of namespaces down.
pub const RELEASE: Duration = Duration::from_secs(60);
/// Counts the labs of this process.
static LABS: AtomicU32 = AtomicU32::new(0);

/// The folders, namespaces and processes of one test. All of it goes when the last owner goes.
#[derive(Clone, Debug)]
pub struct Lab {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    prefix: String,
    folder: PathBuf,
    seats: AtomicU32,
    guardian: Arc<Guardian>,
    /// What agents held in the kernel just before they ended.
    holdings: Mutex<Holdings>,
}

/// A router's place on one node.
#[derive(Clone, Debug)]
pub struct Site {
    /// The node's name, such as `a`.
    pub node: String,
    /// The router.
    pub router: Router,
    /// Network namespace, by name.
    pub netns: String,
    /// HA interface.
    pub interface: String,
    /// Its address, with the prefix length of Neutron's HA networks.
    pub address: String,
    lab: Lab,
}

impl Lab {
    /// A lab with an empty bridge.
    ///
    /// # Errors
    /// Without root, or when `ip` is missing.
    pub fn new(name: &str) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("needs root: network namespaces cannot be made without it");
        }
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("halab-{}-{number}-{name}", std::process::id());
        let guardian = Guardian::start()?;
        let folder = guardian.make(|notes| {
            let folder = tempfile::Builder::new().prefix(&prefix).tempdir()?.keep();
            notes.note(Trace::Folder(text(&folder)?));
            Ok(folder)
        })?;
        let (seats, guardian, holdings) = (AtomicU32::new(0), Arc::new(guardian), Mutex::default());
        let lab = Self { inner: Arc::new(Inner { prefix, folder, seats, guardian, holdings }) };
        let fabric = lab.fabric();
        lab.add_netns(&fabric)?;
        let bridge = ["type", "bridge", "stp_state", "0", "mcast_snooping", "0", "forward_delay", "0"];
        ip_in(&fabric, &[&["link", "add", "fabric"], bridge.as_slice()].concat())?;
        ip_in(&fabric, &["link", "set", "fabric", "up"])?;
        // Where br_netfilter is loaded it would drop frames that are no sound IP; a switch would not.
        let pass = "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done";
        run_in(&fabric, &["sh", "-c", pass])?;
        Ok(lab)
    }

    /// Where this lab keeps its files.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The folder of one node, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn node_folder(&self, node: &str) -> Result<PathBuf> {
        let folder = self.inner.folder.join(node);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(folder)
    }

    /// Who cleans up after this lab.
    pub fn guardian(&self) -> &Arc<Guardian> {
        &self.inner.guardian
    }

    /// What must not be there any more once the lab is gone.
    pub fn traces(&self) -> Traces {
        self.inner.traces()
    }

    /// Remembers what an agent holds in the kernel, which must be gone in the end.
    pub fn remember(&self, pid: u32) {
        self.inner.holdings.lock().unwrap_or_else(PoisonError::into_inner).add(pid);
    }

    /// A router's place on `node`, in a namespace named after the lab, up and with its address.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn site(&self, node: &str, router: &Router) -> Result<Site> {
        let netns = format!("{}-{node}{}", self.inner.prefix, router.vrid);
        self.site_in(&netns, node, router)
    }

    /// As [`Lab::site`], in a namespace with a name that is given.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn site_in(&self, netns: &str, node: &str, router: &Router) -> Result<Site> {
        let site = self.plan(netns, node, router);
        self.add_netns(netns)?;
        site.plug()?;
        Ok(site)
    }

    /// As [`Lab::site`], with neither namespace nor interface made yet.
    pub fn site_planned(&self, node: &str, router: &Router) -> Site {
        let netns = format!("{}-{node}{}", self.inner.prefix, router.vrid);
        self.plan(&netns, node, router)
    }

    fn plan(&self, netns: &str, node: &str, router: &Router) -> Site {
        let seat = self.inner.seats.fetch_add(1, Ordering::Relaxed);
        Site {
            node: node.to_owned(),
            router: router.clone(),
            netns: netns.to_owned(),
            // Neutron cuts the device's name to 14 characters.
            interface: format!("ha-{:08x}-{:02x}", std::process::id(), seat),
            address: format!("169.254.192.{}/18", 10 + seat),
            lab: self.clone(),
        }
    }

    /// The namespace of the bridge.
    pub fn fabric(&self) -> String {
        format!("{}-fabric", self.inner.prefix)
    }

    fn add_netns(&self, name: &str) -> Result<()> {
        self.inner.guardian.make(|notes| {
            notes.note(Trace::Netns(name));
            run("ip", &["netns", "add", name])
        })?;
        ip_in(name, &["link", "set", "lo", "up"])?;
        Ok(())
    }
}

impl Site {
    /// The lab it belongs to.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Path of the namespace's file.
    pub fn netns_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.netns)
    }

    /// Makes the namespace of a site that was only planned, or was deleted.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn add_netns(&self) -> Result<()> {
        self.lab.add_netns(&self.netns)
    }

    /// Deletes the namespace's name; what runs in it goes on.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn delete_netns(&self) -> Result<()> {
        run("ip", &["netns", "del", &self.netns]).map(drop)
    }

    /// Makes the HA interface, joins it to the bridge, gives it its address and sets it up.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn plug(&self) -> Result<()> {
        let fabric = self.lab.fabric();
        let port = self.port();
        ip_in(&self.netns, &["link", "add", &self.interface, "type", "veth", "peer", "name", &port, "netns", &fabric])?;
        ip_in(&fabric, &["link", "set", &port, "master", "fabric", "up"])?;
        ip_in(&self.netns, &["addr", "add", &self.address, "dev", &self.interface])?;
        self.set_link("up")
    }

    /// Whether the HA interface exists, seen from the bridge's side: it goes with its namespace,
    /// and that goes only when nobody holds it any more.
    pub fn is_plugged(&self) -> bool {
        ip_in(&self.lab.fabric(), &["link", "show", &self.port()]).is_ok()
    }

    /// The bridge's end of the HA interface; at most 15 characters.
    pub fn port(&self) -> String {
        self.interface.replacen("ha-", "p-", 1)
    }

    /// Takes the HA interface off the bridge: it keeps its carrier and reaches nobody.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn cut(&self) -> Result<()> {
        ip_in(&self.lab.fabric(), &["link", "set", &self.port(), "nomaster"]).map(drop)
    }

    /// Joins it to the bridge again.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn mend(&self) -> Result<()> {
        ip_in(&self.lab.fabric(), &["link", "set", &self.port(), "master", "fabric"]).map(drop)
    }

    /// Its address without the prefix length.
    pub fn ip(&self) -> Ipv4Addr {
        self.address.split('/').next().and_then(|ip| ip.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Deletes the HA interface.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn unplug(&self) -> Result<()> {
        ip_in(&self.netns, &["link", "del", &self.interface]).map(drop)
    }

    /// Sets the HA interface `up` or `down`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn set_link(&self, to: &str) -> Result<()> {
        ip_in(&self.netns, &["link", "set", &self.interface, to]).map(drop)
    }

    /// Adds the primary VIP by hand.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn add_vip(&self) -> Result<()> {
        ip_in(&self.netns, &["addr", "add", &self.router.vip(), "dev", &self.interface]).map(drop)
    }

    /// Deletes the primary VIP by hand.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn delete_vip(&self) -> Result<()> {
        ip_in(&self.netns, &["addr", "del", &self.router.vip(), "dev", &self.interface]).map(drop)
    }

    /// Whether the primary VIP is set.
    pub fn holds_vip(&self) -> bool {
        let family = if self.router.v6 { "-6" } else { "-4" };
        ip_in(&self.netns, &["-o", family, "addr", "show", "to", &self.router.vip_address().to_string()])
            .is_ok_and(|text| !text.trim().is_empty())
    }

    /// Drops every VRRP frame that arrives (`input`) or leaves (`output`), above the classifier.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn drop_vrrp(&self, hook: &str) -> Result<()> {
        let rules = format!(
            "add table inet lab; add chain inet lab vrrp {{ type filter hook {hook} priority 0; }}; \
             add rule inet lab vrrp meta l4proto {{ 51, 112 }} drop"
        );
        run_in(&self.netns, &["nft", &rules]).map(drop)
    }

    /// Lets every frame pass again.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn pass_vrrp(&self) -> Result<()> {
        run_in(&self.netns, &["nft", "delete table inet lab"]).map(drop)
    }
}

impl Inner {
    fn traces(&self) -> Traces {
        let holdings = self.holdings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Traces { prefix: self.prefix.clone(), folder: self.folder.clone(), holdings }
    }
}

impl Drop for Inner {
    /// Whatever is left fails the test, whatever else it was about.
    fn drop(&mut self) {
        self.guardian.clean_up();
        let traces = self.traces();
        let gone = wait::until(RELEASE, "nothing is left", || traces.leftovers().is_empty().then_some(()));
        if gone.is_err() && !std::thread::panicking() {
            panic!("{} leaves behind: {}", self.prefix, traces.leftovers().join(", "));
        }
    }
}

/// What a lab could leave behind.
#[derive(Clone, Debug)]
pub struct Traces {
    prefix: String,
    folder: PathBuf,
    holdings: Holdings,
}

impl Traces {
    /// Names everything of the lab that is still there.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.folder.exists() {
            left.push(format!("folder {}", self.folder.display()));
        }
        left.extend(
            entries("/run/netns").filter(|name| name.starts_with(&self.prefix)).map(|name| format!("namespace {name}")),
        );
        for pid in entries("/proc").filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&self.prefix) {
                left.push(format!("process {pid}: {line}"));
            }
        }
        let folder = self.folder.display().to_string();
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let paths = sockets.lines().filter_map(|line| line.split_whitespace().nth(7));
        left.extend(paths.filter(|path| path.starts_with(&folder)).map(|path| format!("socket {path}")));
        left.extend(self.holdings.remaining());
        left
    }
}

fn entries(folder: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is UTF-8")
}
