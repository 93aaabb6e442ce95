//! What runs on the namespace thread: finding an interface, attaching to it, detaching.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::programs::links::Link;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use super::object::{EGRESS_IP_PROGRAM, EGRESS_PROGRAM, INGRESS_IP_PROGRAM, INGRESS_PROGRAM, source_io};
use super::table::Place;
use super::{Family, source};

/// How the programs hang on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Links of Linux 6.6.
    Tcx,
    /// Filters of a clsact qdisc.
    Clsact,
}

/// The major half of the class ids; the minor one is the attachment's own.
const CLASS_MAJOR: u16 = 1;

/// What a frame of a device begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// An Ethernet header.
    Ethernet,
    /// None: tun, WireGuard, IP tunnels.
    Ip,
}

impl Header {
    /// By the device's type, `ARPHRD_…` of linux/if_arp.h.
    fn of(kind: u16) -> Option<Self> {
        match kind {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(Self::Ethernet),
            libc::ARPHRD_NONE
            | libc::ARPHRD_PPP
            | ARPHRD_RAWIP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE
            | ARPHRD_IP6GRE => Some(Self::Ip),
            _ => None,
        }
    }

    fn programs(self) -> [(&'static str, TcAttachType); 2] {
        let (ingress, egress) = match self {
            Self::Ethernet => (INGRESS_PROGRAM, EGRESS_PROGRAM),
            Self::Ip => (INGRESS_IP_PROGRAM, EGRESS_IP_PROGRAM),
        };
        [(ingress, TcAttachType::Ingress), (egress, TcAttachType::Egress)]
    }
}

/// linux/if_arp.h; not in libc.
const ARPHRD_RAWIP: u16 = 519;
/// See [`ARPHRD_RAWIP`].
const ARPHRD_IP6GRE: u16 = 823;

/// An interface found by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    /// Where it is.
    pub(super) place: Place,
    /// Its namespace's cookie, from Linux 5.14 on.
    pub(super) cookie: Option<u64>,
    /// Whether our programs hang on it by tcx, before all others: one before ours might end the line.
    pub(super) attached: bool,
    /// What its frames begin with.
    pub(super) header: Header,
    /// Its first address of the family that was asked for and that is no VIP.
    pub(super) own: Option<IpAddr>,
}

/// Why attaching failed.
#[derive(Debug)]
pub(super) enum Error {
    /// The interface went away or was replaced.
    Gone,
    /// `EPERM`.
    NotPermitted,
    /// In words.
    Other(String),
}

/// What holds the programs on an interface.
pub(super) enum Links {
    /// Detached by dropping.
    Tcx([SchedClassifierLink; 2]),
    /// Detached by [`Filters::detach`].
    Clsact(Filters),
}

impl Links {
    pub(super) fn mode(&self) -> Mode {
        match self {
            Self::Tcx(_) => Mode::Tcx,
            Self::Clsact(_) => Mode::Clsact,
        }
    }
}

/// Filters of one interface. aya's links detach on drop, in whatever namespace the dropping thread
/// is: so they are forgotten unless [`Filters::detach`] runs in the right one.
pub(super) struct Filters {
    links: Vec<SchedClassifierLink>,
}

impl Filters {
    /// Removes the filters; to be called inside their namespace. What is gone is not missed. The
    /// qdisc stays: empty it does nothing, and others may have come to use it.
    pub(super) fn detach(mut self) {
        for link in mem::take(&mut self.links) {
            if let Err(error) = link.detach() {
                tracing::debug!(%error, "filter not detached");
            }
        }
    }
}

impl Drop for Filters {
    fn drop(&mut self) {
        for link in mem::take(&mut self.links) {
            mem::forget(link);
        }
    }
}

/// The name of the device that adverts of `interface` pass, in the thread's namespace.
///
/// # Errors
/// `ENODEV` when there is none of that index.
pub(super) fn passed(interface: &str, through: Option<u32>) -> io::Result<String> {
    let Some(index) = through else { return Ok(interface.to_owned()) };
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: `name` has the room that the call asks for.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: the call has written a string that ends with a zero.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// Finds `interface` in the thread's namespace.
///
/// # Errors
/// `ENODEV` when there is none of that name; `EPFNOSUPPORT` when its frames begin with a header that the
/// classifier does not know.
pub(super) fn locate(programs: &Mutex<Ebpf>, interface: &str, family: Family, vips: &[IpAddr]) -> io::Result<Located> {
    let ifindex = ifindex(interface)?;
    let header = Header::of(kind(interface)?).ok_or_else(|| io::Error::from_raw_os_error(libc::EPFNOSUPPORT))?;
    let namespace = File::open("/proc/thread-self/ns/net")?.metadata()?;
    let cookie = cookie();
    let ours = program_id(programs);
    let attached = header.programs().iter().all(|(_, direction)| {
        SchedClassifier::query_tcx(interface, *direction)
            .is_ok_and(|(_, programs)| programs.first().is_some_and(|program| ours.contains(&program.id())))
    });
    Ok(Located {
        place: Place {
            // Cookies are never used again; inodes may be, on kernels that tell no cookie.
            namespace: cookie.unwrap_or_else(|| namespace.ino()),
            ifindex,
        },
        cookie,
        attached,
        header,
        own: source::addresses(ifindex, family.into())?.into_iter().find(|address| !vips.contains(address)),
    })
}

/// Attaches both programs to `interface`, if its index is still `expected`.
pub(super) fn attach(
    programs: &Mutex<Ebpf>,
    interface: &str,
    located: &Located,
    mode: Mode,
    class_id: u16,
) -> Result<Links, Error> {
    let (expected, header) = (located.place.ifindex, located.header);
    if ifindex(interface).map_err(|_| Error::Gone)? != expected {
        return Err(Error::Gone);
    }
    let mut ebpf = programs.lock().unwrap_or_else(PoisonError::into_inner);
    if mode == Mode::Tcx {
        match attach_tcx(&mut ebpf, interface, header) {
            Ok(links) => return Ok(Links::Tcx(links)),
            Err(error) if !lacks_tcx(&error) => return Err(judged(error)),
            Err(error) => tracing::debug!(%error, "no tcx here, using clsact"),
        }
    }
    attach_clsact(&mut ebpf, interface, header, class_id).map(Links::Clsact)
}

fn attach_tcx(ebpf: &mut Ebpf, interface: &str, header: Header) -> Result<[SchedClassifierLink; 2], ProgramError> {
    // First in line: a program before ours that says TCX_PASS would end the line.
    let one = |ebpf: &mut Ebpf, (name, direction)| {
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let program = program(ebpf, name)?;
        let id = program.attach_with_options(interface, direction, order)?;
        program.take_link(id)
    };
    let [ingress, egress] = header.programs();
    let ingress = one(ebpf, ingress)?;
    let egress = one(ebpf, egress)?;
    Ok([ingress, egress])
}

fn attach_clsact(ebpf: &mut Ebpf, interface: &str, header: Header, class_id: u16) -> Result<Filters, Error> {
    // An existing qdisc is as good; whether it is a clsact, attaching to egress tells.
    if let Err(error) = qdisc_add_clsact(interface)
        && source_io(&error) != Some(libc::EEXIST)
    {
        return Err(judged(error.into()));
    }
    let mut filters = Filters { links: Vec::new() };
    for (name, direction) in header.programs() {
        // What an agent that was killed left behind; links of tcx go with their process.
        match qdisc_detach_program(interface, direction, name) {
            Ok(()) => tracing::info!(interface, name, "removed a filter left by an earlier run"),
            Err(error) => tracing::trace!(%error, interface, name, "no filter left behind"),
        }
        let options = TcAttachOptions::Netlink(NlOptions {
            classid: Some(TcHandle::new(CLASS_MAJOR, class_id)),
            ..NlOptions::default()
        });
        let attached = program(ebpf, name).and_then(|program| {
            let id = program.attach_with_options(interface, direction, options)?;
            program.take_link(id)
        });
        match attached {
            Ok(link) => filters.links.push(link),
            Err(error) => {
                filters.detach();
                return Err(judged(error));
            }
        }
    }
    Ok(filters)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, ProgramError> {
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn program_id(programs: &Mutex<Ebpf>) -> Vec<u32> {
    let ebpf = programs.lock().unwrap_or_else(PoisonError::into_inner);
    let all = [Header::Ethernet, Header::Ip].map(Header::programs);
    all.iter().flatten().filter_map(|(name, _)| ebpf.program(name)?.info().ok().map(|info| info.id())).collect()
}

/// Before 6.6 the kernel does not know the attach type; a kernel built without it says the same.
fn lacks_tcx(error: &ProgramError) -> bool {
    matches!(source_io(error), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

fn judged(error: ProgramError) -> Error {
    match source_io(&error) {
        Some(libc::ENODEV | libc::ENXIO) => Error::Gone,
        Some(libc::EPERM | libc::EACCES) => Error::NotPermitted,
        _ => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                let more = inner.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                source = inner.source();
            }
            Error::Other(text)
        }
    }
}

/// The index of an interface in the thread's namespace.
pub(super) fn index_of(interface: &str) -> Option<u32> {
    ifindex(interface).ok()
}

fn ifindex(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` is a valid C string for the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(index)
}

/// The device's type, `ARPHRD_…`: `SIOCGIFHWADDR` of netdevice(7).
fn kind(interface: &str) -> io::Result<u16> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
    // SAFETY: all zero is a value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (into, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *into = byte.cast_signed();
    }
    // SAFETY: the request is an `ifreq`, valid for reads and writes.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has written this member.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

/// `SO_NETNS_COOKIE` of the thread's namespace.
pub(super) fn cookie() -> Option<u64> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).ok()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: the pointers are to a `u64` and to its length, both valid for writes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0 && cookie != 0).then_some(cookie)
}
