//! Every key of the configuration, in one table: its section, its name and what it takes.

use std::time::Duration;

use Kind::{
    Account, Accounts, Addresses, Argv, Choice, Cidr, Flag, Group, Id, Integer, Interface, Listen, Octal, Path, Paths,
    Release, Routers, Secret, Sinks, Span, Text,
};

/// What a key takes, and its limits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text of 1 to 255 bytes without control characters.
    Text,
    /// A release of keepalived such as `"2.2.7"`.
    Release,
    /// A path; a relative one where `base` says what it is relative to.
    Path {
        /// What relative paths start from; none: only absolute paths are taken.
        base: Option<&'static str>,
    },
    /// A list of paths.
    Paths,
    /// A network interface's name.
    Interface,
    /// A number in this range.
    Integer(i64, i64),
    /// `true` or `false`.
    Flag,
    /// A duration in this range, in milliseconds, or a word that stands for one known later.
    Span(u64, u64, Option<&'static str>),
    /// A program with its arguments, each 1 to 255 bytes.
    Argv,
    /// A file mode such as `"0660"`.
    Octal,
    /// A user name or uid.
    Account,
    /// User names and uids, and groups as `%NAME`.
    Accounts,
    /// Router ids, or `"*"`.
    Routers,
    /// Text that no message repeats, at most so many bytes.
    Secret(usize),
    /// A group name or gid.
    Group,
    /// Event sinks.
    Sinks,
    /// `ADDRESS:PORT`.
    Listen,
    /// An address with its prefix length.
    Cidr,
    /// One or more addresses, without prefix lengths.
    Addresses,
    /// A UUID.
    Id,
}

/// The sections, `""` for the top of the file.
pub(super) const SECTIONS: &[&str] =
    &["intake", "neutron", "keepalived", "router", "corroboration", "delivery", "actions", "events", "admin"];

/// The section that is a list of tables at the top, `[[router]]`.
pub(super) const LIST: &str = "router";
/// The list of tables within `[intake]`, `[[intake.grant]]`.
pub(super) const GRANT: &str = "intake.grant";

const RUNTIME: Kind = Path { base: Some("runtime_dir") };
const ABSOLUTE: Kind = Path { base: None };
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Shortest and longest advert interval: VRRPv3 counts centiseconds, VRRPv2 one byte of seconds.
const ADVERT: Kind = Span(10, 255 * SECOND, None);

/// `(section, key, what it takes)`.
#[rustfmt::skip]
pub(super) const KEYS: &[(&str, &str, Kind)] = &[
    ("", "mode", Choice(&["enforce", "observe"])),
    ("", "runtime_dir", ABSOLUTE),
    ("", "state_dir", ABSOLUTE),

    ("intake", "socket", RUNTIME),
    ("intake", "socket_mode", Octal),
    ("intake", "socket_group", Group),
    ("intake", "allow_users", Accounts),
    ("intake", "token_file", ABSOLUTE),
    ("intake", "max_connections", Integer(1, 65_536)),
    ("intake", "backlog", Integer(1, 65_535)),
    ("intake", "header_timeout", Span(50, MINUTE, None)),
    ("intake", "max_requests_per_second", Integer(1, 1_000_000)),
    ("intake", "notify_fifos", Paths),

    (GRANT, "user", Account),
    (GRANT, "fifo", RUNTIME),
    (GRANT, "routers", Routers),

    ("neutron", "state_path", ABSOLUTE),
    ("neutron", "ha_confs_path", Path { base: Some("neutron.state_path") }),
    ("neutron", "l3_agent_ha_confs_path", ABSOLUTE),
    ("neutron", "release", Integer(8, 99)),

    ("keepalived", "configs", Paths),
    ("keepalived", "config_id", Text),
    ("keepalived", "netns", Text),
    ("keepalived", "release", Release),
    ("keepalived", "program", ABSOLUTE),

    ("router", "id", Id),
    ("router", "netns", Text),
    ("router", "interface", Interface),
    ("router", "vip", Cidr),
    ("router", "vip_interface", Interface),
    ("router", "vrid", Integer(1, 255)),
    ("router", "advert_interval", ADVERT),
    ("router", "fifo_instance", Text),
    ("router", "auth_pass", Secret(255)),
    ("router", "unicast", Flag),
    ("router", "addresses", Addresses),

    ("corroboration", "settle", Span(0, MINUTE, None)),
    ("corroboration", "report_grace", Span(0, 10 * MINUTE, Some("advert_interval"))),
    ("corroboration", "heal_unreported", Flag),

    ("delivery", "protocol", Choice(&["neutron", "json"])),
    ("delivery", "socket", ABSOLUTE),
    ("delivery", "batch_interval", Span(0, MINUTE, None)),
    ("delivery", "l3_agent_hold", Span(0, 10 * MINUTE, None)),
    ("delivery", "max_in_flight", Integer(1, 256)),
    ("delivery", "retry_max", Span(100, 60 * MINUTE, None)),
    ("delivery", "reassert_interval", Span(0, 24 * 60 * MINUTE, Some("off"))),

    ("actions", "ipv6", Flag),
    ("actions", "on_primary", Argv),
    ("actions", "on_backup", Argv),
    ("actions", "on_fault", Argv),
    ("actions", "hook_timeout", Span(100, 10 * MINUTE, None)),
    ("actions", "max_hooks", Integer(1, 64)),

    ("events", "sinks", Sinks),

    ("admin", "socket", RUNTIME),
    ("admin", "listen", Listen),
];

/// Keys that every table of a list needs.
pub(super) fn required(section: &str) -> &'static [&'static str] {
    match section {
        LIST => &["id", "interface", "vip", "vrid"],
        GRANT => &["routers"],
        _ => &[],
    }
}

/// Whether the key is a list of tables within its section.
pub(super) fn is_list_within(section: &str, key: &str) -> bool {
    GRANT.split_once('.') == Some((section, key))
}

/// What the key takes, if it is known.
pub(super) fn kind(section: &str, key: &str) -> Option<Kind> {
    KEYS.iter().find(|(in_section, name, _)| *in_section == section && *name == key).map(|(_, _, kind)| *kind)
}

/// The known keys of a section; at the top also the sections.
pub(super) fn names(section: &str) -> Vec<&'static str> {
    let keys = KEYS.iter().filter(|(in_section, ..)| *in_section == section).map(|(_, name, _)| *name);
    let lists = GRANT.split_once('.').filter(|(of, _)| *of == section).map(|(_, name)| name);
    let keys = keys.chain(lists);
    if section.is_empty() { keys.chain(SECTIONS.iter().copied()).collect() } else { keys.collect() }
}

/// Other sections that have a key of this name.
pub(super) fn sections_with(key: &str) -> Vec<&'static str> {
    KEYS.iter().filter(|(_, name, _)| *name == key).map(|(section, ..)| *section).collect()
}

/// Milliseconds as a duration.
pub(super) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
