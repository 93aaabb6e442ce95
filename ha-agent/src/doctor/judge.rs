//! Facts → findings, in plain words.

use std::path::{Path, PathBuf};

use super::Finding;
use super::facts::{Directory, Found, SocketFact};
use crate::config::{Config, ConfigError};
use crate::inventory::keepalived_release::{Installed, Origin};
use crate::privilege::facts::Facts;
use crate::trust::{CANNOT_LOOK, Trust};

/// Descriptors that the agent needs for itself, and for each router (a namespace, two attachments).
const DESCRIPTORS: (u64, u64) = (256, 3);

/// Capabilities by number (`linux/capability.h`), and what stops without them.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (21, "CAP_SYS_ADMIN", "no router's namespace can be entered: no VIP and no wire channel there"),
    (12, "CAP_NET_ADMIN", "the classifier cannot be attached: no wire channel"),
    (39, "CAP_BPF", "the classifier cannot be loaded: no wire channel"),
    (38, "CAP_PERFMON", "the kernel may refuse the classifier: no wire channel"),
    (11, "CAP_NET_BROADCAST", "a netlink socket per namespace is needed, which costs memory"),
    (0, "CAP_CHOWN", "the sockets' group cannot be set: their users cannot report"),
    (1, "CAP_DAC_OVERRIDE", "the L3 agent's socket, which is Neutron's, refuses: nothing is delivered"),
    (2, "CAP_DAC_READ_SEARCH", "where ha_confs is closed to others, routers are not found"),
];

pub(super) fn configuration(path: &Path, loaded: &Result<Config, ConfigError>) -> Finding {
    match loaded {
        Ok(_) if path.exists() => Finding::ok("configuration", format!("{} is right", path.display())),
        Ok(_) => Finding::ok("configuration", format!("{} does not exist: defaults hold", path.display())),
        Err(error) => Finding::fail(
            "configuration",
            error.to_string(),
            "the agent does not start with it (exit code 78)",
            "correct the lines that are named; `ha-agent check-config` tells when all is right",
        ),
    }
}

pub(super) fn capabilities(effective: Option<u64>) -> Finding {
    let Some(effective) = effective else {
        return Finding::warn(
            "privileges",
            "cannot be read from /proc/self/status",
            "it is not known whether the agent may do its work",
            "mount /proc",
        );
    };
    let missing: Vec<&(u32, &str, &str)> =
        CAPABILITIES.iter().filter(|(number, ..)| effective >> number & 1 == 0).collect();
    // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, as before Linux 5.8.
    let all_in_one = effective >> 21 & 1 == 1;
    let missing: Vec<_> =
        missing.into_iter().filter(|(number, ..)| !(all_in_one && matches!(number, 38 | 39))).collect();
    if missing.is_empty() {
        return Finding::ok("privileges", "every capability that is needed");
    }
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    let means: Vec<&str> = missing.iter().map(|(.., means)| *means).collect();
    Finding::fail(
        "privileges",
        format!("missing: {}", names.join(", ")),
        &means.join("; "),
        "grant these capabilities to the service; this is about who runs doctor: run it as the agent runs",
    )
}

pub(super) fn confinement(facts: &Facts) -> Finding {
    let name = "confinement";
    let lacking = facts.lacking();
    if lacking.is_empty() {
        let abi = facts.landlock.as_ref().map_or(0, |abi| *abi);
        return Finding::ok(name, format!("capabilities by thread, seccomp, Landlock (ABI {abi})"));
    }
    Finding::warn(
        name,
        lacking.join("; "),
        "threads that parse what others wrote can do more than they need; capabilities are given up all the same",
        "boot with Landlock among the LSMs (lsm=…), in a container allow seccomp(2) and landlock_*(2)",
    )
}

pub(super) fn kernel(release: &str) -> Vec<Finding> {
    let name = "kernel";
    let found = format!("Linux {release}");
    let Some(version) = version(release) else {
        return vec![Finding::warn(
            name,
            found,
            "its version is not understood, so it is not known what it can do",
            "trust the checks below",
        )];
    };
    vec![if version < (5, 8) {
        Finding::fail(
            name,
            found,
            "it has no BPF ring buffer: no wire channel; the report and VIP channels decide alone",
            "use Linux 5.8 or later, 6.6 or later if possible",
        )
    } else if version < (6, 6) {
        Finding::warn(
            name,
            found,
            "it has no tcx: the classifier is attached through clsact, beside others' filters",
            "nothing is needed; Linux 6.6 has tcx",
        )
    } else {
        Finding::ok(name, format!("{found}: has tcx"))
    }]
}

pub(super) fn bpf(probe: &Result<bool, String>) -> Finding {
    const MEANS: &str = "no wire channel: states are judged by the report and VIP channels alone, and split brain, silent and foreign masters are not seen";
    match probe {
        Ok(true) => Finding::ok("BPF", "a classifier can be loaded"),
        Ok(false) => Finding::fail(
            "BPF",
            "the kernel has no traffic classifiers",
            MEANS,
            "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT",
        ),
        Err(error) => Finding::fail(
            "BPF",
            format!("a trial load was refused: {error}"),
            MEANS,
            "run as root; in a container allow bpf(2) (CAP_BPF and the seccomp profile); look at kernel lockdown",
        ),
    }
}

pub(super) fn classifier(probe: Result<String, String>) -> Finding {
    match probe {
        Ok(found) => Finding::ok("classifier", found),
        Err(error) => Finding::fail(
            "classifier",
            error,
            "no wire channel, although BPF works here",
            "report it with this text and the kernel's version",
        ),
    }
}

pub(super) fn all_namespaces(probe: &Result<(), String>) -> Finding {
    match probe {
        Ok(()) => Finding::ok("netlink", "one socket hears every namespace"),
        Err(error) => Finding::warn(
            "netlink",
            format!("one socket cannot hear every namespace: {error}"),
            "a socket per namespace is needed, which costs memory and descriptors",
            "run as root, or grant CAP_NET_BROADCAST",
        ),
    }
}

pub(super) fn descriptors(soft: Option<u64>, hard: Option<u64>, routers: u64) -> Finding {
    let name = "descriptors";
    let need = DESCRIPTORS.0 + DESCRIPTORS.1.saturating_mul(routers);
    let shown = |limit: Option<u64>| limit.map_or("no limit".to_owned(), |limit| limit.to_string());
    let found = format!("limit {} (hard {}), {routers} routers need {need}", shown(soft), shown(hard));
    let fits = |limit: Option<u64>| limit.is_none_or(|limit| limit >= need);
    let remedy = format!("LimitNOFILE={need} in the service, or `ulimit -n {need}`");
    if fits(soft) {
        Finding::ok(name, found)
    } else if fits(hard) {
        Finding::warn(name, found, "enough only when the limit is raised to the hard one", &remedy)
    } else {
        Finding::fail(name, found, "routers beyond the limit are not watched on the wire", &remedy)
    }
}

pub(super) fn directory(name: &'static str, path: &Path, fact: &Directory, means: &'static str) -> Finding {
    let shown = path.display();
    match fact {
        Directory::Writable { in_memory: true } if name.starts_with("state") => Finding::warn(
            name,
            format!("{shown} lies in memory"),
            "undelivered states outlive the agent, but not a restart of the machine",
            "put state_dir on a disk",
        ),
        Directory::Writable { .. } => Finding::ok(name, format!("{shown} is writable")),
        Directory::Creatable => Finding::ok(name, format!("{shown} will be created")),
        Directory::Hidden => Finding::warn(
            name,
            format!("{shown}: {CANNOT_LOOK}"),
            "it is not known whether the agent can use it",
            "run this as root",
        ),
        Directory::Unusable(why) => Finding::fail(
            name,
            format!("{shown}: {why}"),
            means,
            "create it for the agent's user, or give another one in the configuration",
        ),
    }
}

pub(super) fn l3_agent(path: &Path, fact: SocketFact, neutron: bool) -> Finding {
    let name = "L3 agent";
    let shown = path.display();
    let means = "confirmed states wait, and are delivered when it is there";
    match fact {
        SocketFact::There { uid, listening: true } => {
            Finding::ok(name, format!("listens at {shown}, owned by uid {uid}"))
        }
        SocketFact::There { uid, listening: false } => Finding::warn(
            name,
            format!("{shown}, owned by uid {uid}, is there, but nobody is seen listening"),
            means,
            "start the L3 agent; disregard this if it knows the path by another name, as in a container",
        ),
        SocketFact::Absent if !neutron => {
            Finding::ok(name, format!("{shown} does not exist, and nothing else of Neutron is here: none is expected"))
        }
        SocketFact::Absent => Finding::warn(
            name,
            format!("{shown} does not exist"),
            means,
            "start the L3 agent, or set delivery.socket (or neutron.state_path) to where it listens",
        ),
        SocketFact::NotASocket => Finding::fail(
            name,
            format!("{shown} is not a socket"),
            "nothing can be delivered",
            "set delivery.socket to where the L3 agent listens",
        ),
        SocketFact::Link(why) => Finding::fail(
            name,
            format!("{shown}: {why}"),
            "nothing is delivered (delivery.failed)",
            "remove the link, or set delivery.socket to where the L3 agent listens",
        ),
        SocketFact::Hidden(error) => Finding::warn(
            name,
            format!("{shown}: {error}"),
            "it is not known whether states can be delivered",
            "run this as root",
        ),
    }
}

/// Routers given by hand, in a plain keepalived's files, and in `ha_confs` where that is there.
pub(super) fn routers(given: usize, plain: usize, path: &Path, found: Found) -> Finding {
    let name = "routers";
    let shown = path.display();
    let given_and_plain = format!("{given} configured, {plain} in keepalived's configuration");
    match (given + plain, found) {
        (0, Found::Absent) => Finding::warn(
            name,
            format!("none configured, none in keepalived's configuration, and {shown} is not there"),
            "no router is watched until it appears",
            "set neutron.state_path to Neutron's, keepalived.configs to keepalived's files, or write [[router]] sections",
        ),
        (_, Found::Hidden) => Finding::warn(
            name,
            format!("{given_and_plain}; {shown}: {CANNOT_LOOK}"),
            "it is not known which routers of Neutron are found",
            "run this as root",
        ),
        (_, Found::Absent) => Finding::ok(name, format!("{given_and_plain}; {shown} is not there")),
        (_, Found::These(found)) => Finding::ok(name, format!("{given_and_plain}, {found} in {shown}")),
    }
}

/// What is not understood in a plain keepalived's files, if anything.
pub(super) fn plain_configuration(troubles: &[String]) -> Option<Finding> {
    (!troubles.is_empty()).then(|| {
        Finding::warn(
            "configuration of keepalived",
            troubles.join("; "),
            "what stands there is not watched",
            "mend it, or give that router by hand: [[router]]",
        )
    })
}

pub(super) fn keepalived(found: Option<(PathBuf, String)>) -> Finding {
    match found {
        Some((path, version)) => Finding::ok("keepalived", format!("{version} ({})", path.display())),
        None => Finding::warn(
            "keepalived",
            "is not in PATH",
            "nothing is lost if it runs in a container; otherwise no router here can be primary",
            "install keepalived, or disregard this",
        ),
    }
}

/// By whose rules adverts are judged.
pub(super) fn release(installed: &Installed) -> Finding {
    let name = "release of keepalived";
    match installed.origin {
        Origin::Configured | Origin::Program(_) => Finding::ok(name, installed.to_string()),
        Origin::Assumed(_) => Finding::warn(
            name,
            installed.to_string(),
            "adverts are judged by that release's rules; another one takes some that it refuses: other addresses (from 2.3.3), bytes behind the advert (from 2.3.2)",
            "set keepalived.release to what `keepalived --version` says where it runs, or keepalived.program",
        ),
    }
}

/// Who is let in, and whether the places that decide on it are closed to all others.
pub(super) fn trust(trust: &Trust, neutron: bool) -> [Finding; 4] {
    let or_none = |lines: Vec<String>| if lines.is_empty() { "none".to_owned() } else { lines.join("\n") };
    let reporters = trust.reporters().join("\n");
    let name = "places";
    let (openings, hidden) = (trust.openings.join("\n"), trust.hidden.join("\n"));
    [
        if neutron && trust.users.is_empty() && trust.groups.is_empty() {
            Finding::warn(
                "reporters",
                reporters,
                "there is no user `neutron` here, and none is configured: Neutron's monitor may report where it runs as root, as the agent does; others are refused with 403",
                "name them in intake.allow_users",
            )
        } else {
            Finding::ok("reporters", reporters)
        },
        Finding::ok("FIFOs", or_none(trust.fifo_lines())),
        if trust.missing.is_empty() {
            Finding::ok("hooks", or_none(trust.hook_lines()))
        } else {
            Finding::fail(
                "hooks",
                trust.missing.join("\n"),
                "the agent does not start with it (exit code 78), and refuses to reload",
                "do what each line says",
            )
        },
        if !trust.openings.is_empty() {
            Finding::fail(
                name,
                openings,
                "the agent does not start with it (exit code 1), and refuses to reload",
                "do what each line says",
            )
        } else if !trust.hidden.is_empty() {
            Finding::warn(name, hidden, "it is not known who could change what the agent trusts", "run this as root")
        } else {
            Finding::ok(name, "nobody else could change what the agent trusts")
        },
    ]
}

pub(super) fn running(socket: &Path, answers: Option<bool>) -> Finding {
    let (name, shown) = ("agent", socket.display());
    match answers {
        Some(true) => {
            Finding::ok(name, format!("one runs and answers at {shown}; a second one would end with exit code 75"))
        }
        Some(false) => Finding::ok(name, format!("none answers at {shown}")),
        None => Finding::warn(
            name,
            format!("{shown}: {CANNOT_LOOK}"),
            "it is not known whether one runs",
            "run this as root, or as a member of root's group",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
