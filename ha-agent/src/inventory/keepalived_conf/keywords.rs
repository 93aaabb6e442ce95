//! keepalived's keywords, as far as they decide which lines belong together: those that begin a block, and those
//! that end keepalived where their value is missing. Every other keyword is one line, known or not.

/// How a keyword's block is read.
#[derive(Debug)]
pub(super) enum Block {
    /// None: it is one line.
    None,
    /// Keywords of its own.
    Keywords(&'static [Keyword]),
    /// Lines that begin with a value, up to the next `}`.
    Values,
}

/// A keyword.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    pub(super) block: Block,
}

/// Which of keepalived's processes understands a keyword outside of blocks; the others skip it with its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// The first one.
    Parent,
    /// The one that runs VRRP.
    Vrrp,
    /// The one that checks servers, whose configuration is of no concern here.
    Checker,
}

const fn values(name: &'static str) -> Keyword {
    Keyword { name, block: Block::Values }
}

const fn block(name: &'static str, keywords: &'static [Keyword]) -> Keyword {
    Keyword { name, block: Block::Keywords(keywords) }
}

const fn line(name: &'static str) -> Keyword {
    Keyword { name, block: Block::None }
}

/// Keywords outside of blocks, but for those of one line that may stand behind no other.
pub(super) const ROOT: &[(Process, Keyword)] = &[
    (Process::Parent, block("global_defs", &[values("notification_email")])),
    (Process::Parent, line("net_namespace")),
    (Process::Parent, line("net_namespace_ipvs")),
    (Process::Parent, line("namespace_with_ipsets")),
    (Process::Parent, line("use_pid_dir")),
    (Process::Parent, line("instance")),
    (Process::Parent, line("child_wait_time")),
    (Process::Vrrp, block("track_group", &[values("group")])),
    (Process::Vrrp, values("static_ipaddress")),
    (Process::Vrrp, values("static_routes")),
    (Process::Vrrp, values("static_rules")),
    (
        Process::Vrrp,
        block(
            "vrrp_sync_group",
            &[
                values("group"),
                values("track_interface"),
                values("track_script"),
                values("track_file"),
                values("track_process"),
                values("track_bfd"),
            ],
        ),
    ),
    (Process::Vrrp, block("garp_group", &[values("interfaces")])),
    (
        Process::Vrrp,
        block(
            INSTANCE,
            &[
                values("unicast_peer"),
                values("track_interface"),
                values("track_script"),
                values("track_file"),
                values("track_process"),
                values("track_bfd"),
                values("virtual_ipaddress"),
                values("virtual_ipaddress_excluded"),
                values("virtual_routes"),
                values("virtual_rules"),
                block(AUTHENTICATION, &[]),
            ],
        ),
    ),
    (Process::Vrrp, block("vrrp_script", &[])),
    (Process::Vrrp, block("vrrp_track_process", &[])),
    (Process::Vrrp, values("interface_up_down_delays")),
    (Process::Vrrp, block("track_file", &[])),
    (Process::Vrrp, block("vrrp_track_file", &[])),
    (Process::Vrrp, block("bfd_instance", &[])),
    (Process::Checker, block("SSL", &[])),
    (Process::Checker, block("virtual_server_group", &[])),
    (Process::Checker, block("virtual_server", &[])),
];

/// The block that this is about.
pub(super) const INSTANCE: &str = "vrrp_instance";
/// A block within it.
pub(super) const AUTHENTICATION: &str = "authentication";

/// Keywords of an instance or a script that nothing else is asked of here, and that end keepalived without a value.
pub(super) const NEED_A_VALUE: &[&str] = &[
    "vrf",
    "debug",
    "preempt_delay",
    "garp_master_delay",
    "garp_master_refresh",
    "garp_master_repeat",
    "garp_master_refresh_repeat",
    "garp_lower_prio_delay",
    "garp_lower_prio_repeat",
    "down_timer_adverts",
    "kernel_rx_buf_size",
    "interval",
    "timeout",
    "weight",
    "rise",
    "fall",
    "lvs_sync_daemon_interface",
];

/// Keywords outside of blocks that end keepalived without a name.
pub(super) const NEED_A_NAME: &[&str] = &["vrrp_script"];

/// Keywords outside of blocks for which keepalived starts the process that runs VRRP.
pub(super) const START_VRRP: &[&str] = &[INSTANCE, "static_ipaddress", "static_routes", "static_rules"];
