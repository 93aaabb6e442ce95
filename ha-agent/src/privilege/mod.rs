//! With what privilege each thread works: its capabilities, its system calls, its files.
//!
//! All three belong to a thread on Linux, and a new thread has those of the thread that made it. So
//! every thread takes its [`Role`] before its first work, and never gets anything back.
//!
//! - `table`: what each role needs; pure.
//! - `capabilities`, `calls`, `files`: how that is said to the kernel.
//! - `host`: threads in a role for async tasks.
//! - `facts`: what this kernel has of it, for `doctor` and for the start.
//!
//! Threads share their memory. This holds against a parser that is led astray and against bugs that
//! reach one system call; whoever runs code of his own in the process can reach the other threads'
//! memory as well.

mod calls;
mod capabilities;
pub mod facts;
mod files;
mod host;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::config::Config;
pub use host::{Host, host};
pub use table::Role;

/// Set once by the process that is an agent. Without it (subcommands, tests) nothing is taken away.
static CONFINEMENT: OnceLock<Confinement> = OnceLock::new();

struct Confinement {
    facts: facts::Facts,
    by_role: BTreeMap<Role, Prepared>,
    lacking: Mutex<BTreeSet<String>>,
}

struct Prepared {
    files: Option<files::Rules>,
    filter: Option<calls::Filter>,
}

/// Prepares every role's confinement. From now on [`enter`] confines; threads that run already are
/// not touched. The directories of the configuration must exist: paths are looked up here, once.
pub fn confine(config: &Config) {
    let facts = facts::gather();
    let lacking = Mutex::new(facts.lacking().into_iter().collect());
    let mut confinement = Confinement { facts, by_role: BTreeMap::new(), lacking };
    for role in Role::ALL {
        let needs = role.needs();
        let mut prepared = Prepared { files: None, filter: None };
        if confinement.facts.landlock.is_ok() {
            prepared.files = confinement.noted("Landlock", files::Rules::prepare(&needs.files(config)));
        }
        if confinement.facts.seccomp.is_ok() {
            prepared.filter = confinement.noted("seccomp", calls::Filter::prepare(needs.forbidden, needs.sockets));
        }
        confinement.by_role.insert(role, prepared);
    }
    let _ = CONFINEMENT.set(confinement);
}

/// The calling thread takes this role, for ever: files first, then capabilities, then system calls,
/// since each step needs what the next one takes away. What the kernel does not have or refuses is
/// left out, and [`lacking`] says so.
pub fn enter(role: Role) {
    let Some(confinement) = CONFINEMENT.get() else {
        return;
    };
    let Some(prepared) = confinement.by_role.get(&role) else {
        return;
    };
    if role.needs().keeps_everything() {
        return;
    }
    // Landlock and seccomp ask for it where CAP_SYS_ADMIN is not there.
    confinement.noted("no_new_privs", rustix::thread::set_no_new_privs(true));
    if let Some(files) = &prepared.files {
        confinement.noted("Landlock", files.enforce());
    }
    let wanted = role.needs().capabilities(confinement.facts.map_reads_need_bpf);
    confinement.noted("capabilities", capabilities::keep(wanted));
    if let Some(filter) = &prepared.filter {
        confinement.noted("seccomp", filter.enforce());
    }
}

/// What of the confinement is not there, in words; empty when everything is, or nothing is confined.
pub fn lacking() -> Vec<String> {
    CONFINEMENT.get().map_or_else(Vec::new, |confinement| {
        confinement.lacking.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    })
}

impl Confinement {
    fn noted<T, E: std::fmt::Display>(&self, what: &str, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| {
                let lack = format!("{what}: {error}");
                self.lacking.lock().unwrap_or_else(PoisonError::into_inner).insert(lack);
            })
            .ok()
    }
}
