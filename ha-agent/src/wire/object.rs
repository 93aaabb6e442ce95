//! The classifier's object: finding it, checking its layout, loading it into the kernel.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfError, EbpfLoader};
use ha_agent_common::{LAYOUT_GLOBAL, LAYOUT_VERSION, global};

use super::WireError;
use super::btf::{self, Offsets};

/// Names of the programs for links with an Ethernet header.
pub(super) const INGRESS_PROGRAM: &str = "ha_ingress";
/// See [`INGRESS_PROGRAM`].
pub(super) const EGRESS_PROGRAM: &str = "ha_egress";
/// Names of those for links without any header.
pub(super) const INGRESS_IP_PROGRAM: &str = "ha_ingress_ip";
/// See [`INGRESS_IP_PROGRAM`].
pub(super) const EGRESS_IP_PROGRAM: &str = "ha_egress_ip";
/// All of them.
const PROGRAMS: [&str; 4] = [INGRESS_PROGRAM, EGRESS_PROGRAM, INGRESS_IP_PROGRAM, EGRESS_IP_PROGRAM];

/// Built by `cargo xtask build-ebpf` and kept in the repository.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../ebpf/ha-agent.bpf.o");

/// How a frame's place is told: see `ha_agent_common::WatchKey::realm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By the cookie of its device's namespace.
    Cookie,
    /// By the class id that the attachment was given: clsact only.
    ClassId,
}

/// The object, loaded, its programs not attached yet.
pub(super) struct Loaded {
    /// Maps and programs.
    pub(super) ebpf: Ebpf,
    /// How places are told.
    pub(super) identity: Identity,
    /// `ha_agent_common::global::DIGEST_KEY`.
    pub(super) key: [u64; 2],
}

/// What is loaded, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice<'a> {
    /// Another object than the embedded one.
    pub(super) path: Option<&'a PathBuf>,
    /// See [`Identity::ClassId`].
    pub(super) force_class_id: bool,
    /// `ha_agent_common::global::ANY_SENDER`: for test runs only.
    pub(super) any_sender: bool,
}

/// Loads the embedded object, or another one.
///
/// Where the kernel does not let a classifier read its memory (no BTF, no `CAP_PERFMON`, lockdown), the programs
/// are loaded again without that part. `force_class_id` leaves out the cookie alone, as on a kernel that has none.
pub(super) fn load(choice: Choice<'_>) -> Result<Loaded, WireError> {
    let key = secret()?;
    let bytes = &bytes(choice.path.map(PathBuf::as_path))?;
    let mut offsets = Offsets::read(Path::new(btf::VMLINUX));
    if choice.force_class_id {
        offsets = offsets.without_cookie();
    }
    if offsets != Offsets::default() {
        match load_with(bytes, offsets, key, choice.any_sender) {
            Ok(ebpf) => {
                let identity = if offsets.has_cookie() { Identity::Cookie } else { Identity::ClassId };
                return Ok(Loaded { ebpf, identity, key });
            }
            Err(error @ WireError::LayoutMismatch) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "loading without a look at namespaces");
            }
        }
    }
    load_with(bytes, Offsets::default(), key, choice.any_sender).map(|ebpf| Loaded {
        ebpf,
        identity: Identity::ClassId,
        key,
    })
}

/// The embedded object, or the one at a path.
pub(super) fn bytes(path: Option<&Path>) -> Result<Cow<'static, [u8]>, WireError> {
    let Some(path) = path else {
        return Ok(Cow::Borrowed(EMBEDDED));
    };
    let read =
        fs::read(path).map_err(|error| WireError::Object { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Cow::Owned(read))
}

/// A key that nobody on the network can know.
fn secret() -> Result<[u64; 2], WireError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| WireError::NoBpf(format!("no random numbers: {error}")))?;
    let [low, high] = [0, 8].map(|at| bytes[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    Ok([low, high])
}

/// A loader parses all types of the kernel, wanted or not: some 20 MiB on the heap, free again
/// afterwards, that the allocator would keep for the rest of the agent's life.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and other threads may use the allocator meanwhile (malloc_trim(3)).
    let _ = unsafe { libc::malloc_trim(0) };
}

fn load_with(bytes: &[u8], offsets: Offsets, key: [u64; 2], any_sender: bool) -> Result<Ebpf, WireError> {
    let loaded = EbpfLoader::new()
        // The object asks for no relocation by the kernel's types; [`btf`] gives the offsets it needs.
        .btf(None)
        .override_global(LAYOUT_GLOBAL, &LAYOUT_VERSION, true)
        .override_global(global::NETNS_OFFSETS, &offsets.netns, true)
        .override_global(global::SOCKET_OFFSETS, &offsets.socket, true)
        .override_global(global::DIGEST_KEY, &key, true)
        .override_global(global::ANY_SENDER, &u32::from(any_sender), true)
        .override_global(aya_log::LEVEL, &log_level(), false)
        .load(bytes);
    give_memory_back();
    let mut ebpf = loaded.map_err(load_error)?;
    for name in PROGRAMS {
        let program: &mut SchedClassifier =
            ebpf.program_mut(name).ok_or(WireError::LayoutMismatch)?.try_into().map_err(program_error)?;
        program.load().map_err(program_error)?;
    }
    Ok(ebpf)
}

/// The kernel side logs only what someone would see.
fn log_level() -> u8 {
    if tracing::enabled!(target: "ha_agent::wire", tracing::Level::DEBUG) { aya_log::Level::Debug as u8 } else { 0 }
}

fn load_error(error: EbpfError) -> WireError {
    match error {
        EbpfError::ParseError(aya_obj_error) => {
            let text = aya_obj_error.to_string();
            if [LAYOUT_GLOBAL, global::NETNS_OFFSETS, global::SOCKET_OFFSETS].iter().any(|name| text.contains(name)) {
                WireError::LayoutMismatch
            } else {
                WireError::NoBpf(text)
            }
        }
        EbpfError::ProgramError(error) => program_error(error),
        EbpfError::MapError(error) => from_io(source_io(&error), error.to_string()),
        other => {
            let text = other.to_string();
            from_io(source_io(&other), text)
        }
    }
}

/// What a failed program operation means. The verifier's text goes to the debug log only.
pub(super) fn program_error(error: ProgramError) -> WireError {
    match &error {
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::debug!(%verifier_log, "the kernel refused the classifier");
            from_io(io_error.raw_os_error(), format!("the kernel refused the classifier: {io_error}"))
        }
        other => from_io(source_io(other), other.to_string()),
    }
}

fn from_io(errno: Option<i32>, reason: String) -> WireError {
    match errno {
        // The verifier's own refusals are EACCES and EINVAL.
        Some(libc::EPERM) => {
            WireError::NotPermitted { capability: "CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8)" }
        }
        _ => WireError::NoBpf(reason),
    }
}

/// The errno behind an error, however deep.
pub(super) fn source_io(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
