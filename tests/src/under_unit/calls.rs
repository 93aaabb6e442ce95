//! What of a unit becomes seccomp filters: `SystemCallFilter=` and the settings that imply some.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

use crate::settings::Settings;

const CLONE_NEW: [(&str, u64); 8] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("net", 0x4000_0000),
    ("mnt", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
    ("time", 0x0000_0080),
];
const FAMILIES: [(&str, u64); 5] =
    [("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 10), ("AF_NETLINK", 16), ("AF_PACKET", 17)];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;

/// The filters of a unit, to be applied in this order.
pub(crate) fn filters(settings: &Settings) -> Result<Vec<BpfProgram>> {
    let mut filters = vec![allowed(settings)?];
    let mut refused = Vec::new();
    if let Some(kept) = settings.get("RestrictNamespaces") {
        let kept: Vec<&str> = kept.split_whitespace().collect();
        for (_, flag) in CLONE_NEW.iter().filter(|(name, _)| !kept.contains(name)) {
            for (call, argument) in [("clone", 0), ("unshare", 0), ("setns", 1)] {
                refused.push(when(call, &[(argument, json!({"masked_eq": flag}), *flag)]));
            }
        }
        // Joining a namespace of whatever kind.
        refused.push(when("setns", &[(1, json!("eq"), 0)]));
        // Its flags cannot be seen.
        filters.push(compile(&[json!({"syscall": "clone3"})], "allow", ENOSYS)?);
    }
    if settings.yes("MemoryDenyWriteExecute")? {
        refused.push(when("mmap", &[(2, json!({"masked_eq": 6}), 6)]));
        refused.push(when("mprotect", &[(2, json!({"masked_eq": 4}), 4)]));
        refused.push(when("pkey_mprotect", &[(2, json!({"masked_eq": 4}), 4)]));
        refused.push(when("shmat", &[(2, json!({"masked_eq": 0o100_000}), 0o100_000)]));
    }
    if settings.yes("LockPersonality")? {
        refused.push(when("personality", &[(0, json!("ne"), 0)]));
    }
    if settings.yes("RestrictRealtime")? {
        refused.extend((1..=2).map(|policy| when("sched_setscheduler", &[(1, json!("eq"), policy)])));
    }
    if settings.yes("RestrictSUIDSGID")? {
        for bit in [0o4000, 0o2000] {
            for (call, argument) in [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)] {
                refused.push(when(call, &[(argument, json!({"masked_eq": bit}), bit)]));
            }
        }
    }
    if settings.yes("ProtectHostname")? {
        refused.extend(["sethostname", "setdomainname"].map(|call| json!({"syscall": call})));
    }
    if settings.yes("ProtectKernelLogs")? {
        refused.push(json!({"syscall": "syslog"}));
    }
    filters.push(compile(&refused, "allow", EPERM)?);
    if let Some(kept) = settings.get("RestrictAddressFamilies") {
        let mut others = Vec::new();
        for name in kept.split_whitespace() {
            let family = FAMILIES.iter().find(|(known, _)| *known == name).with_context(|| format!("family {name}"))?;
            others.push((0, json!("ne"), family.1));
        }
        filters.push(compile(&[when("socket", &others)], "allow", EAFNOSUPPORT)?);
    }
    Ok(filters)
}

/// `SystemCallFilter=`: what is allowed, in the end.
fn allowed(settings: &Settings) -> Result<BpfProgram> {
    // execve and the like, which systemd always allows.
    let mut allowed = BTreeSet::from(["@default".to_owned()]).iter().try_fold(BTreeSet::new(), expand)?;
    for value in settings.all("SystemCallFilter") {
        let (taken, names) = match value.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, value.as_str()),
        };
        let calls = names.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for call in calls.iter().try_fold(BTreeSet::new(), expand)? {
            if taken {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    match settings.get("SystemCallErrorNumber") {
        Some("EPERM") => {}
        other => bail!("SystemCallErrorNumber={other:?} is not translated"),
    }
    // Names of other architectures, and of calls that are newer than the table.
    let rules: Vec<Value> = allowed.iter().map(|call| json!({"syscall": call})).collect();
    let known: Vec<Value> =
        rules.into_iter().filter(|rule| compile(std::slice::from_ref(rule), "errno", EPERM).is_ok()).collect();
    compile(&known, "errno", EPERM)
}

/// A call, or the calls of a group and of the groups in it.
fn expand(mut calls: BTreeSet<String>, name: &String) -> Result<BTreeSet<String>> {
    if !name.starts_with('@') {
        calls.insert(name.clone());
        return Ok(calls);
    }
    let answer = Command::new("systemd-analyze").args(["syscall-filter", name]).output();
    let answer = answer.context("starting systemd-analyze (Debian package systemd)")?;
    if !answer.status.success() {
        bail!("systemd-analyze syscall-filter {name}: {}", String::from_utf8_lossy(&answer.stderr));
    }
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let inner = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    inner.map(str::to_owned).collect::<Vec<_>>().iter().try_fold(calls, expand)
}

/// A call whose arguments are all like this.
fn when(call: &str, arguments: &[(u8, Value, u64)]) -> Value {
    let arguments: Vec<Value> = arguments
        .iter()
        .map(|(index, op, val)| json!({"index": index, "type": "dword", "op": op, "val": val}))
        .collect();
    json!({"syscall": call, "args": arguments})
}

/// Listed calls are allowed and the others fail with `error`; or, where others are allowed, the listed ones fail.
fn compile(rules: &[Value], others: &str, error: u32) -> Result<BpfProgram> {
    let refuse = json!({"errno": error});
    let allow = json!("allow");
    let (others, listed) = if others == "allow" { (allow, refuse) } else { (refuse, allow) };
    let text = json!({"unit": {"mismatch_action": others, "match_action": listed, "filter": rules}}).to_string();
    let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
    let mut filters = compile_from_json(text.as_bytes(), architecture)?;
    filters.remove("unit").context("the filter that was compiled")
}
