//! seccomp: system calls that a thread never needs fail with `EPERM`.
//!
//! What is forbidden is listed, and the rest is allowed: a new libc or runtime may use calls that no
//! list of ours knows, and an agent that then fails or dies is worse than the call. Which calls the
//! whole process may use is the service manager's list (`SystemCallFilter=`), which grows with libc.
//! Nothing is killed: a refused call is an error like others, and is told.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// A group of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// What no thread of the agent ever needs: the machine's state, other processes' memory and
    /// signals, mounts, modules, keys, other users' rights.
    Never,
    /// New processes and programs. A thread that starts children leaves it out.
    Processes,
    /// Entering and making namespaces.
    EnterNamespace,
    /// All of bpf(2).
    Bpf,
    /// bpf(2), but for elements of maps that are open.
    BpfBeyondElements,
    /// Owner, mode, times and attributes of files, which Landlock does not guard: the agent owns all
    /// of root's files.
    Attributes,
    /// connect(2), which Landlock does not guard: root may connect to any service's socket.
    Connect,
}

/// Families that socket(2) may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sockets(u8);

impl Sockets {
    /// None at all.
    pub(super) const NONE: Self = Self(0);
    /// Unix sockets.
    pub(super) const UNIX: Self = Self(1);
    /// IPv4 and IPv6.
    pub(super) const INET: Self = Self(2);
    /// Netlink.
    pub(super) const NETLINK: Self = Self(4);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn families(self) -> Vec<c_int> {
        let all = [
            (Self::UNIX, libc::AF_UNIX),
            (Self::INET, libc::AF_INET),
            (Self::INET, libc::AF_INET6),
            (Self::NETLINK, libc::AF_NETLINK),
        ];
        all.into_iter().filter(|(group, _)| self.0 & group.0 != 0).map(|(_, family)| family).collect()
    }
}

const NEVER: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setdomainname,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_tkill,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

const PROCESSES: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

const NAMESPACES: &[c_long] = &[libc::SYS_setns, libc::SYS_unshare];

/// `fchmodat2`, Linux 6.6: one number on every architecture.
const FCHMODAT2: c_long = 452;
/// `setxattrat` and `removexattrat`, Linux 6.13.
const XATTRAT: [c_long; 2] = [463, 466];
/// `open_tree_attr`, Linux 6.15: mounts.
const OPEN_TREE_ATTR: c_long = 467;
/// `file_setattr`, Linux 6.17.
const FILE_SETATTR: c_long = 469;
/// `FS_IOC_SETFLAGS`, for 64 and 32 bits, and `FS_IOC_FSSETXATTR` of linux/fs.h: what `chattr` asks for.
const FILE_FLAGS: [u64; 3] = [0x4008_6602, 0x4004_6602, 0x401c_5820];

const ATTRIBUTES: &[c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    libc::SYS_utimensat,
    XATTRAT[0],
    XATTRAT[1],
    FILE_SETATTR,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
];

/// `BPF_MAP_LOOKUP_ELEM`, `_UPDATE_ELEM`, `_DELETE_ELEM`, `_LOOKUP_BATCH` of linux/bpf.h.
const ELEMENTS: [u64; 4] = [1, 2, 3, 24];

/// x86-64 has every call once more with this bit, for x32; and some of those under other numbers.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const X32_OWN: std::ops::RangeInclusive<c_long> = 512..=547;

/// A filter, compiled.
pub(super) struct Filter {
    refuse: BpfProgram,
    /// glibc goes back from clone3, whose flags a filter cannot see, to clone when it is told that
    /// there is none.
    no_clone3: Option<BpfProgram>,
}

impl Filter {
    /// Compiles what refuses these groups, and sockets of other families.
    pub(super) fn prepare(forbidden: &[Forbidden], sockets: Sockets) -> Result<Self, BackendError> {
        let mut rules = Rules::new();
        for group in forbidden {
            add(&mut rules, *group)?;
        }
        // To threads of this process abort(3) must get through.
        when(&mut rules, libc::SYS_tgkill, vec![differs(0, u64::from(std::process::id()))?])?;
        let allowed = sockets.families();
        let other =
            allowed.iter().map(|family| differs(0, u64::from(family.unsigned_abs()))).collect::<Result<_, _>>()?;
        when(&mut rules, libc::SYS_socket, other)?;
        #[cfg(target_arch = "x86_64")]
        {
            let again: Vec<_> = rules.iter().map(|(call, rule)| (call | X32, rule.clone())).collect();
            rules.extend(again);
            rules.extend(X32_OWN.map(|call| (call | X32, Vec::new())));
        }
        let no_clone3 = forbidden
            .contains(&Forbidden::Processes)
            .then(|| compile(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS));
        Ok(Self { refuse: compile(rules, libc::EPERM)?, no_clone3: no_clone3.transpose()? })
    }

    /// Holds for the calling thread from now on, and for the threads that it makes.
    pub(super) fn enforce(&self) -> seccompiler::Result<()> {
        if let Some(no_clone3) = &self.no_clone3 {
            apply_filter(no_clone3)?;
        }
        apply_filter(&self.refuse)
    }
}

/// By call: refused when one of the rules fits; always when there is none.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn add(rules: &mut Rules, group: Forbidden) -> Result<(), BackendError> {
    let always = match group {
        Forbidden::Never => NEVER,
        Forbidden::Processes => {
            let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
            let process = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
            when(rules, libc::SYS_clone, vec![process])?;
            PROCESSES
        }
        Forbidden::EnterNamespace => NAMESPACES,
        Forbidden::Bpf => &[libc::SYS_bpf],
        Forbidden::BpfBeyondElements => {
            let beyond = ELEMENTS.into_iter().map(|command| differs(0, command)).collect::<Result<_, _>>()?;
            when(rules, libc::SYS_bpf, beyond)?;
            &[]
        }
        Forbidden::Attributes => {
            let flags = FILE_FLAGS.into_iter().map(|request| SeccompRule::new(vec![is(1, request)?]));
            rules.insert(libc::SYS_ioctl, flags.collect::<Result<_, _>>()?);
            ATTRIBUTES
        }
        Forbidden::Connect => &[libc::SYS_connect],
    };
    rules.extend(always.iter().map(|call| (*call, Vec::new())));
    Ok(())
}

/// Refuses a call when all of this holds; always when it is nothing.
fn when(rules: &mut Rules, call: c_long, conditions: Vec<SeccompCondition>) -> Result<(), BackendError> {
    let rule = if conditions.is_empty() { Vec::new() } else { vec![SeccompRule::new(conditions)?] };
    rules.insert(call, rule);
    Ok(())
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn compile(rules: Rules, error: c_int) -> Result<BpfProgram, BackendError> {
    let refuse = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
}
