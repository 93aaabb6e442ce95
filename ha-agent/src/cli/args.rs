//! The command line. Its help is enough to use it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::notify;
use crate::wire::WireOptions;

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "ha-agent",
    version,
    about = "Knows for every HA router of this node what is claimed and what is true",
    long_about = "Knows for every HA router of this node (a keepalived instance in a network namespace) what is \
                  claimed and what is true, and tells the L3 agent only what is true.",
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 75 already running, 77 missing privilege, 78 configuration error.\n\
                  Begin with `ha-agent doctor`: it says what this machine lacks.",
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The configuration file; without it /etc/ha-agent/ha-agent.toml where that exists
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to show results
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground
    #[command(
        long_about = "Runs the agent in the foreground until SIGTERM or SIGINT. SIGHUP reads the configuration again \
                      (a wrong one changes nothing) and opens event files anew.\n\
                      Diagnostics go to stderr; stdout carries events where the sink `stdout` is configured.",
        after_help = "Examples:\n  \
                      ha-agent run\n  \
                      ha-agent run --config /etc/ha-agent/ha-agent.toml --log info,ha_agent=debug"
    )]
    Run(Run),
    /// Show every router, or those named: claimed, VIP, wire, confirmed, since, delivered, anomalies
    #[command(after_help = "Those in trouble come first, then by name.\n\n\
        Columns:\n  \
        CLAIMED    what keepalived's side reported last\n  \
        VIP        whether the primary VIP is in the kernel's address table\n  \
        WIRE       what our VRRP adverts on the HA interface show\n  \
        CONFIRMED  the state that the channels agree on\n  \
        DELIVERED  the state that the L3 agent acknowledged last\n\n\
        Examples:\n  \
        ha-agent status\n  \
        ha-agent status VI_1\n  \
        ha-agent status --full\n  \
        ha-agent status --socket /run/ha-agent/admin.sock\n  \
        ha-agent status -o json | jq '.routers[] | select(.anomalies != [])'")]
    Status(Status),
    /// Say in words why a router is in its state, and what happened to it last
    #[command(after_help = "Examples:\n  \
        ha-agent explain 2f0c1c52\n  \
        ha-agent explain VI_1\n  \
        ha-agent explain 2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d -o json")]
    Explain(Explain),
    /// Show the last events, and with --follow each new one
    #[command(after_help = "The agent keeps the last thousand in memory; all of them are where events.sinks says.\n\n\
        Examples:\n  \
        ha-agent events\n  \
        ha-agent events --follow --router 2f0c1c52\n  \
        ha-agent events --follow -o json | jq 'select(.event == \"transition.rejected\")'")]
    Events(Events),
    /// Report a state to the agent: for keepalived's notify scripts
    #[command(
        long_about = "Reports a state to the agent, for keepalived's notify scripts. The trailing words are what keepalived \
                      appends to a generic `notify` script: INSTANCE|GROUP NAME STATE PRIORITY; a state alone is \
                      taken too. A line about another instance than the router's is refused, as an event \
                      (report.refused).",
        after_help = "Examples, in keepalived.conf:\n  \
            notify \"/usr/bin/ha-agent notify --router VI_1\"\n  \
            notify \"/usr/bin/ha-agent notify --router blue/VI_1\"          where two namespaces have a VI_1\n  \
            notify_master \"/usr/bin/ha-agent notify --router 2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d primary\""
    )]
    Notify(NotifyArgs),
    /// Say what this machine lacks, and what degrades because of it
    #[command(
        after_help = "Looks only; changes nothing and needs no running agent. Exit code 1 when a check fails.\n\n\
        Examples:\n  \
        ha-agent doctor\n  \
        ha-agent doctor --routers 1000\n  \
        ha-agent doctor -o json | jq '.[] | select(.result != \"ok\")'"
    )]
    Doctor(Doctor),
    /// Check the configuration and say everything that is wrong with it
    #[command(
        after_help = "Exit code 78 when something is wrong with the file, or a hook that it names cannot be run; 1 when\n\
        others could change what the agent trusts. The agent does not start with either.\n\n\
        Examples:\n  \
        ha-agent check-config\n  \
        ha-agent check-config --config ./ha-agent.toml -o json"
    )]
    CheckConfig,
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Which diagnostics go to stderr: error, warn, info, debug, trace, also by module
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Load this eBPF object instead of the built-in one
    #[arg(long, value_name = "FILE", hide = true)]
    pub bpf_object: Option<PathBuf>,
    /// Attach by clsact even where the kernel has tcx
    #[arg(long, hide = true)]
    pub force_clsact: bool,
}

impl From<&Run> for WireOptions {
    fn from(run: &Run) -> Self {
        Self { object: run.bpf_object.clone(), force_clsact: run.force_clsact, force_realm_const: false }
    }
}

/// `status`.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Only these: an id, a beginning of one, an instance's name or NETNS/INSTANCE, which may be several
    #[arg(value_name = "ROUTER")]
    pub routers: Vec<String>,
    /// Where the agent is asked.
    #[command(flatten)]
    pub at: At,
    /// Show whole router ids
    #[arg(long)]
    pub full: bool,
}

/// Where the agent is asked.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// The agent's status socket; without it the configured one, which needs no right configuration
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `explain`.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// A router's id, a beginning of it that no other router has, its instance's name, or NETNS/INSTANCE
    #[arg(value_name = "ROUTER")]
    pub router: String,
    /// Where the agent is asked.
    #[command(flatten)]
    pub at: At,
}

/// `events`.
#[derive(Clone, Debug, Args)]
pub struct Events {
    /// Go on with each new event
    #[arg(short, long)]
    pub follow: bool,
    /// Only events about this router: its id, an unambiguous beginning, or its instance's name
    #[arg(long, value_name = "ROUTER")]
    pub router: Option<String>,
    /// Where the agent is asked.
    #[command(flatten)]
    pub at: At,
}

/// `notify`.
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    /// The router that is reported on: its id, its instance's name, or NETNS/INSTANCE
    #[arg(long, value_name = "ROUTER")]
    pub router: String,
    /// The agent's state-change socket; without it the configured one
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// A file with the bearer token that the agent asks for
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What keepalived appends: INSTANCE|GROUP NAME STATE PRIORITY, or a state alone
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    pub words: Vec<String>,
}

impl NotifyArgs {
    /// The call that these arguments mean.
    pub fn into_call(self) -> notify::Args {
        notify::Args {
            router: self.router,
            words: self.words,
            token_file: self.token_file,
            timeout: notify::DEFAULT_TIMEOUT,
            retries: notify::DEFAULT_RETRIES,
        }
    }
}

/// `doctor`.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// For how many routers the limits shall suffice
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub routers: u64,
}
