//! Two nodes joined by devices without an Ethernet header: a tun device on each, and a thread that carries what one
//! sends to the other.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};

use crate::command::ip_in;
use crate::lab::Site;
use crate::place;

/// What a tun device may carry at once.
const PACKET: usize = 1 << 16;

/// Carries packets until it is dropped; then both devices go.
#[derive(Debug)]
pub struct Tunnel {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// Makes the HA interfaces of two sites whose namespaces exist, without any.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn between(a: &Site, b: &Site) -> Result<Self> {
        let ends = [end(a)?, end(b)?];
        let (stop, stopped) = UnixStream::pair().context("a pair of sockets")?;
        let thread = thread::spawn(move || carry(&ends, &stopped));
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A site's tun device, with its address and up.
fn end(site: &Site) -> Result<File> {
    let file = place::within(&site.netns, || device(&site.interface))?;
    ip_in(&site.netns, &["addr", "add", &site.address, "dev", &site.interface])?;
    site.set_link("up")?;
    Ok(file)
}

/// A tun device that goes when its file is closed.
fn device(name: &str) -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun").context("opening /dev/net/tun")?;
    let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).context("flags")?;
    let mut request =
        libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    ensure!(name.len() < libc::IFNAMSIZ, "{name} is too long");
    for (into, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *into = byte.cast_signed();
    }
    // SAFETY: the request is an `ifreq` that lives as long as the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    ensure!(done == 0, "making {name}: {}", std::io::Error::last_os_error());
    Ok(file)
}

fn carry(ends: &[File; 2], stopped: &UnixStream) {
    let mut packet = vec![0; PACKET];
    loop {
        let mut ready = [&ends[0], &ends[1]].map(|end| PollFd::new(end, PollFlags::IN)).to_vec();
        ready.push(PollFd::new(stopped, PollFlags::IN));
        if poll(&mut ready, None).is_err() {
            continue;
        }
        let readable: Vec<bool> = ready.iter().map(|entry| !entry.revents().is_empty()).collect();
        if readable[2] {
            return;
        }
        for (from, to) in [(0, 1), (1, 0)] {
            if readable[from]
                && let Ok(length) = (&ends[from]).read(&mut packet)
            {
                // Where the other one is down, it is lost, as on any wire.
                let _ = (&ends[to]).write(&packet[..length]);
            }
        }
    }
}
