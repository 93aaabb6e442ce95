//! Stands in for Neutron's monitor of the same name, one process per router.
//!
//! It registers its router with the agent for as long as it lives, and does nothing else: it sleeps
//! in `poll(2)` on that connection and on signals. What the monitor watched is the agent's to watch.
//! There are hundreds of it on a node, so it has no threads, no runtime and few pages.
//!
//! - `args`: the flags of Neutron 20 to 29, and how that release wants it started.
//! - `pid_file`, `daemon`: what the L3 agent looks for, and how it waits.
//! - `registrar`: connect, register, hold, again; `request` and `backoff` are its pure parts.
//! - `signals`: what it sleeps on. `config`: where the agent is. `log`: a line per change.
//! - `privilege`: what it keeps of root; `places`: where it may make files.

mod args;
mod backoff;
mod config;
mod daemon;
mod log;
mod pid_file;
mod places;
mod privilege;
mod registrar;
mod request;
mod signals;

use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;

use args::{Asked, Options};
use log::Log;
use pid_file::PidFile;
use places::StatePath;
use privilege::Rights;
use registrar::Registrar;
use signals::Signals;

/// Exit code of a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Ok(Asked::Help) => say(&mut std::io::stdout(), args::HELP),
        Ok(Asked::Version) => {
            say(&mut std::io::stdout(), concat!("neutron-keepalived-state-change ", env!("CARGO_PKG_VERSION")))
        }
        Ok(Asked::Run(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                say(&mut std::io::stderr(), &reason);
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            say(&mut std::io::stderr(), &error.to_string());
            ExitCode::from(USAGE)
        }
    }
}

/// What the command line says may come back; nothing of it that a terminal obeys.
fn say(stream: &mut dyn Write, text: &str) -> ExitCode {
    let plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    let _ = writeln!(stream, "{plain}");
    ExitCode::SUCCESS
}

/// Until SIGTERM or SIGINT. The error is in words, and is in the log as well where there can be one.
fn run(options: &Options) -> Result<(), String> {
    daemon::set_umask();
    // Before anything is opened.
    privilege::drop_most().map_err(|error| format!("cannot give up root's capabilities: {error}"))?;
    let settings = config::read(options.config.as_deref())?;
    let state_path = StatePath::around(&options.pid_file, &settings.state_paths).map_err(|error| error.to_string())?;
    let owner = state_path.owner(&options.pid_file).map_err(|error| error.to_string())?;
    let rights =
        Rights::take(owner).map_err(|error| format!("cannot take uid {}'s rights: {error}", owner.0.as_raw()))?;
    if let Some(Err(error)) = options.log_file.as_deref().map(|path| state_path.open(path)) {
        say(&mut std::io::stderr(), &format!("nothing is logged: {error}"));
    }
    let state_path = Rc::new(state_path);
    let mut log = Log::open(options.log_file.as_deref(), Rc::clone(&state_path), &options.monitor.router_id);
    start(options, rights, &state_path, &mut log).inspect_err(|reason| log.error(reason))
}

fn start(options: &Options, rights: Rights, state_path: &StatePath, log: &mut Log) -> Result<(), String> {
    let mut pid_file = PidFile::take(state_path, &options.pid_file).map_err(|error| error.to_string())?;
    let failed = |what: &'static str| move |error: std::io::Error| format!("cannot {what}: {error}");
    let parent = if options.daemon { Some(daemon::detach().map_err(failed("become a daemon"))?) } else { None };
    // Before the pid can be read: whoever reads it may send SIGTERM at once.
    let signals = Signals::new().map_err(failed("wait for signals"))?;
    daemon::let_go_of_stdio().map_err(failed("open /dev/null"))?;
    pid_file.write().map_err(|error| error.to_string())?;
    if let Some(parent) = parent {
        parent.started();
    }
    Registrar::new(options, rights, signals, log).run();
    pid_file.remove();
    Ok(())
}
