//! Arguments to calls, and answers to what people read. Nothing is decided here.
//!
//! `args` holds the command line, `client` talks to the admin socket; each command that shows
//! something has its own file, whose rendering is a pure function of what it shows.

pub mod args;
mod check_config;
mod client;
mod doctor;
mod events;
mod explain;
mod status;
mod terminal;
#[cfg(test)]
mod tests;
mod time;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::agent::{self, AgentError, Options};
use crate::config::{self, Config, ConfigError};
use crate::intake::fifo::FifoError;
use crate::notify::{self, NotifyError};
use crate::status::{NodeStatus, RouterDetail};
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::line;
use crate::wire::{self, WireOptions};
use args::{At, Cli, Command, Format};
use client::ClientError;
use terminal::Terminal;

/// Exit codes beside 0.
pub mod exit {
    /// Runtime failure.
    pub const FAILURE: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// `EX_TEMPFAIL`: another agent runs already.
    pub const ALREADY_RUNNING: u8 = 75;
    /// `EX_NOPERM`: a privilege is missing.
    pub const NO_PERMISSION: u8 = 77;
    /// `EX_CONFIG`: the configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// Why a command failed; `Display` is what stands on stderr.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Agent(#[from] AgentError),
    #[error("{0}")]
    Notify(#[from] NotifyError),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

impl CliError {
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Agent(AgentError::Missing(_)) => exit::CONFIG,
            Self::Client(ClientError::Denied { .. }) | Self::Agent(AgentError::NotPermitted) => exit::NO_PERMISSION,
            Self::Agent(AgentError::Paths(error)) if error.is_already_running() => exit::ALREADY_RUNNING,
            Self::Agent(AgentError::Fifo(FifoError::InUse(_))) => exit::ALREADY_RUNNING,
            Self::Notify(NotifyError::Words | NotifyError::Name) => exit::USAGE,
            Self::Notify(error) if error.is_denied() => exit::NO_PERMISSION,
            _ => exit::FAILURE,
        }
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            let _ = write!(io::stderr(), "{}", line::escape_lines(&error.render().to_string()));
            return ExitCode::from(exit::USAGE);
        }
    };
    let terminal = Terminal::detect();
    match dispatch(cli, terminal) {
        Ok(code) => code,
        // Whoever read has seen enough, as with `| head`.
        Err(CliError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(cli: Cli, terminal: Terminal) -> Result<ExitCode, CliError> {
    let path = cli.config.as_deref();
    let format = cli.output;
    match cli.command {
        Command::Run(run) => {
            let diagnostics = log_to_stderr(&run.log)?;
            let config = config::load(path)?;
            let options = Options {
                config_path: cli.config,
                wire: WireOptions::from(&run),
                diagnostics: Some(diagnostics.clone()),
            };
            let result = agent::run(config, options);
            diagnostics.flush();
            result?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Notify(args) => {
            let socket = match &args.socket {
                Some(socket) => socket.clone(),
                None => as_client(path)?.intake.socket,
            };
            notify::run(&socket, args.into_call())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status(status) => {
            let answer = client::get(&socket(path, &status.at)?, "/v1/routers")?;
            let mut node: NodeStatus = client::read(&answer)?;
            client::only(&mut node, &status.routers)?;
            let text = match format {
                Format::Json if status.routers.is_empty() => answer,
                Format::Json => line::json(&node),
                Format::Table => status::render(&client::shown(&node)?, &terminal, status.full, time::now()),
            };
            show(&text)
        }
        Command::Explain(explain) => {
            let socket = socket(path, &explain.at)?;
            let id = client::resolve(&socket, &explain.router)?;
            let answer = client::get(&socket, &format!("/v1/routers/{id}"))?;
            let text = match format {
                Format::Json => answer,
                Format::Table => {
                    let detail: RouterDetail = client::read(&answer)?;
                    explain::render(&client::shown(&detail)?, &terminal, time::now())
                }
            };
            show(&text)
        }
        Command::Events(events) => {
            let socket = socket(path, &events.at)?;
            let router = match &events.router {
                Some(given) => Some(client::resolve(&socket, given)?),
                None => None,
            };
            let mut origin = match format {
                Format::Json => None,
                Format::Table => Some(client::read::<NodeStatus>(&client::get(&socket, "/v1/routers")?)?.sinks),
            };
            let mut out = io::stdout().lock();
            let mut failed = Ok(());
            let result = client::events(&socket, events.follow, router, |line| {
                if let Some(sinks) = origin.take() {
                    say(&events::origin(line, &sinks));
                }
                let text = match format {
                    Format::Json => line.to_owned(),
                    Format::Table => events::render(line, &terminal),
                };
                failed = writeln!(out, "{text}").and_then(|()| out.flush());
                failed.is_ok()
            });
            failed?;
            result?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(args) => {
            let findings = crate::doctor::examine(path, args.routers, Some(wire::probe));
            show(&match format {
                Format::Json => doctor::json(&findings),
                Format::Table => doctor::render(&doctor::shown(findings.clone()), &terminal),
            })?;
            Ok(if doctor::fails(&findings) { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS })
        }
        Command::CheckConfig => {
            let (text, code) = check_config::render(path, config::load(path), format);
            show(&text)?;
            Ok(ExitCode::from(code))
        }
    }
}

/// Where the agent is asked: it needs no configuration that is right.
fn socket(path: Option<&Path>, at: &At) -> Result<PathBuf, CliError> {
    match &at.socket {
        Some(socket) => Ok(socket.clone()),
        None => Ok(as_client(path)?.admin.socket),
    }
}

/// What can be understood of the configuration; what is wrong with the rest is said.
fn as_client(path: Option<&Path>) -> Result<Config, CliError> {
    let (config, wrong) = config::as_client(path)?;
    if let Some(wrong) = wrong {
        let socket = config.admin.socket.display();
        say(&format!("the configuration has mistakes; the agent is looked for at {socket} all the same:\n{wrong}"));
    }
    Ok(config)
}

/// On stderr, with nothing that a terminal obeys.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "ha-agent: {}", line::escape_lines(text));
}

fn show(text: &str) -> Result<ExitCode, CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Diagnostics of `run` go to stderr: stdout belongs to the event sink of that name.
fn log_to_stderr(filter: &str) -> Result<Diagnostics, CliError> {
    use std::io::IsTerminal;
    let diagnostics = Diagnostics::new()
        .map_err(|error| CliError::Other(format!("diagnostics cannot be set up: standard error: {error}")))?;
    diagnostics
        .install(filter, io::stderr().is_terminal())
        .map_err(|error| CliError::Other(format!("--log {filter:?}: {error}")))?;
    Ok(diagnostics)
}
