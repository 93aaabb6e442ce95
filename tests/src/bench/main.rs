//! The measurements (`cargo xtask bench`): the real agent, built with optimisation, as a process of
//! its own; what happens to it happens in real namespaces, and what it says is heard by a stand-in
//! for Neutron's L3 agent.
//!
//! Progress goes to standard error, the figures to standard output.

mod addresses;
mod against;
mod figure;
mod gauge;
mod machine;
mod marks;
mod measure;
mod node;
mod page;
mod what;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use ha_agent_tests::guardian::Guardian;
use ha_agent_tests::lab::Lab;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use figure::Figure;
use ha_agent_tests::bed::Bed;
use machine::Machine;
use measure::{Many, Scale};
use what::What;

/// What the agent is set beside.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Baseline {
    /// The monitor script of Neutron 29.0.0, a process group per router.
    Neutron29,
    /// Another eBPF object, also of an earlier layout.
    Object(PathBuf),
}

impl FromStr for Baseline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "neutron-29.0.0" => Ok(Self::Neutron29),
            path if Path::new(path).is_file() => Ok(Self::Object(path.into())),
            _ => Err("expected neutron-29.0.0, or the file of an eBPF object".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// The measurements; `cargo xtask bench` builds what they need and starts them
#[derive(Parser)]
#[command(name = "ha-agent-bench")]
struct Arguments {
    /// What is measured
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Routers for storm, steady and memory
    #[arg(long, default_value_t = 1000)]
    routers: u16,
    /// How often each figure is measured
    #[arg(long, default_value_t = 5)]
    runs: u16,
    /// Measure beside this, in the same run: storm beside neutron-29.0.0, classifier beside an eBPF object
    #[arg(long, value_name = "neutron-29.0.0|OBJECT")]
    against: Option<Baseline>,
    /// What goes to standard output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Write the figures into this Markdown file too
    #[arg(long)]
    write: Option<PathBuf>,
    /// The commit that is measured
    #[arg(long, default_value = "unknown")]
    commit: String,
}

/// Set before everything is removed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let measured = measure(&Arguments::parse());
    // Once interrupted everything falls over, because it is being removed; who removes it ends us.
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("the measurements cannot go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    if !geteuid().is_root() {
        bail!("needs root: namespaces cannot be made and programs cannot be loaded without it");
    }
    let wants = |what| arguments.what.contains(&what) || arguments.what.contains(&What::All);
    if arguments.write.is_some() && !wants(What::All) {
        bail!("--write goes with all figures: a page with some of them would look as if the others were not there");
    }
    // Two sockets per router.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let machine = Machine::look(&arguments.commit);
    progress(&format!("measured on {}", machine.line()));
    let scale = Scale { runs: arguments.runs, routers: arguments.routers };
    let lab = Lab::new("bench")?;
    let traces = lab.traces();
    clean_up_on_signals(lab.guardian())?;

    let mut figures: Vec<Figure> = Vec::new();
    let beside_neutron = arguments.against == Some(Baseline::Neutron29);
    if beside_neutron {
        figures.extend(against::storm(&lab, scale)?);
    }
    if wants(What::Classifier) {
        let object = match &arguments.against {
            Some(Baseline::Object(path)) => Some(path.as_path()),
            _ => None,
        };
        figures.extend(measure::classifier(scale, object)?);
    }
    if wants(What::Intake) || wants(What::Latency) {
        let bed = Bed::build(&lab, "one", 1)?;
        if wants(What::Intake) {
            figures.extend(measure::intake(&lab, &bed, scale)?);
        }
        if wants(What::Latency) {
            figures.extend(measure::latency(&lab, &bed, scale)?);
        }
    }
    // Beside another one, the storm is measured there.
    let many =
        Many { storm: wants(What::Storm) && !beside_neutron, steady: wants(What::Steady), memory: wants(What::Memory) };
    if many.storm || many.steady || many.memory {
        figures.extend(measure::many(&lab, scale, many)?);
    }
    if wants(What::Addresses) {
        figures.extend(addresses::figures(&lab, scale)?);
    }
    progress("removing what was made");
    drop(lab);
    let left = traces.leftovers();
    if !left.is_empty() {
        bail!("left behind: {}", left.join(", "));
    }
    show(arguments, &machine, &figures)
}

fn show(arguments: &Arguments, machine: &Machine, figures: &[Figure]) -> Result<()> {
    let text = match arguments.output {
        Output::Table => format!("{}\n\n{}\n", machine.line(), page::table(figures)),
        Output::Json => {
            let figures: Vec<_> = figures.iter().map(Figure::json).collect();
            let whole = json!({
                "schema": 1, "machine": machine.json(),
                "routers": arguments.routers, "runs": arguments.runs, "figures": figures,
            });
            format!("{whole:#}\n")
        }
    };
    std::io::stdout().lock().write_all(text.as_bytes()).context("writing the figures")?;
    match &arguments.write {
        Some(path) => marks::write(path, "cargo xtask bench --write", &page::markdown(machine, figures)),
        None => Ok(()),
    }
}

/// A line on standard error. A reader that went away is not an error.
fn progress(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// On Ctrl-C everything is removed before this program ends.
fn clean_up_on_signals(guardian: &Arc<Guardian>) -> Result<()> {
    let guardian = Arc::clone(guardian);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("handling signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            progress("interrupted: everything is removed");
            guardian.clean_up();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
