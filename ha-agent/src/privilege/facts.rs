//! What this kernel has of seccomp and Landlock, and what it asks of who reads a map.

use std::io;
use std::thread;

use rustix::thread::CapabilitySet;

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Landlock's ABI; or why there is none.
    pub landlock: Result<u32, String>,
    /// Whether seccomp filters can refuse calls; or why not.
    pub seccomp: Result<(), String>,
    /// Whether map look-ups by descriptor need CAP_BPF: Linux before 5.19 while
    /// `kernel.unprivileged_bpf_disabled` is set.
    pub map_reads_need_bpf: bool,
}

/// Landlock's first ABI that knows of truncation; before it, a file that may not be written can
/// still be emptied.
const TRUNCATION: u32 = 3;

impl Facts {
    /// What is missing, in words.
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        match &self.landlock {
            Ok(abi) if *abi < TRUNCATION => lacking.push(format!(
                "Landlock has ABI {abi} here: a file that a thread may not write can still be emptied by it (Linux 6.2)"
            )),
            Ok(_) => {}
            Err(why) => lacking.push(format!("no Landlock ({why}): every thread reaches root's files")),
        }
        if let Err(why) = &self.seccomp {
            lacking.push(format!("no seccomp filters ({why}): every thread may use every system call"));
        }
        if self.map_reads_need_bpf {
            lacking.push(
                "this kernel lets only CAP_BPF read the classifier's maps: threads that parse keep it (Linux 5.19)"
                    .to_owned(),
            );
        }
        lacking
    }
}

/// Asks the kernel.
pub fn gather() -> Facts {
    Facts { landlock: landlock(), seccomp: seccomp(), map_reads_need_bpf: map_reads_need_bpf() }
}

fn landlock() -> Result<u32, String> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`, linux/landlock.h.
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no attributes and makes nothing.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    u32::try_from(abi).map_err(|_| io::Error::last_os_error().to_string())
}

fn seccomp() -> Result<(), String> {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the pointer is to a `u32`, which the kernel reads.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

/// Tried out on a thread without capabilities: with a descriptor that cannot be, only the refusal by
/// privilege is `EPERM`.
fn map_reads_need_bpf() -> bool {
    /// `BPF_MAP_LOOKUP_ELEM`, linux/bpf.h.
    const LOOKUP: libc::c_int = 1;
    let tried = thread::scope(|scope| {
        let attempt = scope.spawn(|| {
            super::capabilities::keep(CapabilitySet::empty())?;
            // `union bpf_attr` for an element: map descriptor, padding, key, value, flags.
            let attributes: [u32; 8] = [u32::MAX, 0, 0, 0, 0, 0, 0, 0];
            let size = size_of_val(&attributes);
            // SAFETY: the pointer is to `size` bytes; the kernel reads them and finds no map.
            let answer = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, attributes.as_ptr(), size) };
            if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
        attempt.join()
    });
    matches!(tried, Ok(Err(error)) if error.raw_os_error() == Some(libc::EPERM))
}
