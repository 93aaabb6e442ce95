//! Runs a program under the restrictions of a systemd unit, without systemd: what the unit's file says is
//! what is done, so that unit and test cannot drift apart. A setting that is not known here is an error.
//!
//! `under-unit UNIT [--keep PATH]… [--neutron PATH] -- PROGRAM [ARGUMENT…]`: kept paths stay visible where the
//! sandbox hides what is around them; a directory among them may be written, as the unit's own directories. What
//! stands for `/var/lib/neutron` may be written if the unit says so of that, also within a kept one.

mod calls;
mod mounts;
mod settings;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use settings::Settings;

#[derive(Parser)]
struct Arguments {
    unit: PathBuf,
    #[arg(long)]
    keep: Vec<PathBuf>,
    #[arg(long)]
    neutron: Option<PathBuf>,
    #[arg(last = true, required = true)]
    command: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text =
        std::fs::read_to_string(&arguments.unit).with_context(|| format!("reading {}", arguments.unit.display()))?;
    let settings = Settings::read(&text)?;
    let (program, rest) = arguments.command.split_first().context("a program")?;

    if let Some(limit) = settings.number("LimitNOFILE")? {
        // Raising it needs CAP_SYS_RESOURCE, which not every machine's root has.
        let most = getrlimit(Resource::Nofile).maximum;
        let limit = Some(most.map_or(limit, |most| most.min(limit)));
        setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    }
    if let Some(mask) = settings.get("UMask") {
        umask(rustix::fs::Mode::from_raw_mode(u32::from_str_radix(mask, 8)?));
    }
    // Compiled first: systemd-analyze tells what the groups of calls are.
    let filters = calls::filters(&settings)?;
    mounts::apply(&settings, &arguments.keep, arguments.neutron.as_deref())?;
    capabilities(&settings)?;
    if settings.yes("NoNewPrivileges")? {
        set_no_new_privs(true)?;
    }
    for filter in filters {
        seccompiler::apply_filter(&filter)?;
    }
    Err(Command::new(program).args(rest).exec()).with_context(|| format!("starting {}", program.display()))
}

/// `CapabilityBoundingSet=`; the permitted set follows, as at the start of root's programs.
fn capabilities(settings: &Settings) -> Result<()> {
    let Some(names) = settings.get("CapabilityBoundingSet") else { return Ok(()) };
    let mut kept = CapabilitySet::empty();
    for name in names.split_whitespace() {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        kept |= known.with_context(|| format!("CapabilityBoundingSet: {name}"))?;
    }
    if settings.get("AmbientCapabilities").is_some_and(|names| !names.is_empty()) {
        bail!("AmbientCapabilities is not translated");
    }
    clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().iter().filter(|capability| !kept.contains(*capability)) {
        if capability_is_in_bounding_set(capability) == Ok(true) {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    // Programs of root start with the bounding set; what is permitted here is what can be passed on.
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(())
}
