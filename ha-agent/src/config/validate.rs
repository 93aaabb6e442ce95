//! A document whose keys and values are right by themselves → [`Config`]: defaults, names looked
//! up, paths made absolute, and what must not be there twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accounts::Accounts;
use super::error::{Problems, did_you_mean};
use super::raw::{Document, Section};
use super::value::absolute;
use super::{
    Actions, Admin, Config, Corroboration, Delivery, Grant, Granted, Grantee, Hook, Intake, Keepalived, Mode, Netns,
    Neutron, Protocol, Router, Sink,
};
use crate::addresses::FurtherAddresses;
use crate::advert_rules::{AdvertRules, Authentication, Mode as AdvertMode, Release};
use crate::core::model::Password;
use crate::inventory::keepalived_conf::default_config_id;
use crate::inventory::keepalived_release::{Installed, Origin};

/// What `sun_path` of a unix address holds, without its final zero.
const SOCKET_PATH_MAX: usize = 107;
/// Shorter rounds would be load and no help.
const REASSERT_MIN: Duration = Duration::from_secs(10);
const SINKS: &[&str] = &["stdout", "journald", "file:PATH"];

pub(super) fn config(mut document: Document, accounts: &Accounts, problems: &mut Problems) -> Config {
    let top = document.section("");
    let runtime_dir = top.path("runtime_dir").unwrap_or_else(|| PathBuf::from("/run/ha-agent"));
    let state_dir = top.path("state_dir").unwrap_or_else(|| PathBuf::from("/var/lib/ha-agent"));
    let neutron = neutron(&document.section("neutron"));
    let keepalived = keepalived(&document.section("keepalived"), problems);
    let intake_section = document.section("intake");
    let admin_section = document.section("admin");
    let delivery_section = document.section("delivery");
    let config = Config {
        mode: match top.text("mode").as_deref() {
            Some("observe") => Mode::Observe,
            _ => Mode::Enforce,
        },
        intake: intake(&intake_section, &document.grants, &runtime_dir, accounts, problems),
        routers: routers(&document.routers, keepalived.installed.release, problems),
        keepalived,
        corroboration: corroboration(&document.section("corroboration")),
        delivery: delivery(&delivery_section, &neutron, problems),
        actions: actions(&document.section("actions"), problems),
        sinks: sinks(&document.section("events"), problems),
        admin: Admin {
            socket: runtime_dir.join(admin_section.path("socket").unwrap_or("admin.sock".into())),
            listen: admin_section.listen("listen"),
        },
        neutron,
        runtime_dir,
        state_dir,
    };
    sockets(
        &[
            (&intake_section, &config.intake.socket),
            (&admin_section, &config.admin.socket),
            (&delivery_section, &config.delivery.socket),
        ],
        problems,
    );
    config
}

fn intake(
    section: &Section,
    grants: &[Section],
    runtime_dir: &Path,
    accounts: &Accounts,
    problems: &mut Problems,
) -> Intake {
    let socket_gid = section.text("socket_group").and_then(|name| {
        let gid = accounts.gid(&name);
        if gid.is_none() {
            problems.add(
                section.line_of("socket_group"),
                &section.key("socket_group"),
                format!("group {name:?} is not in /etc/group; give one that exists, or its gid"),
            );
        }
        gid
    });
    let (allow_uids, allow_gids) = match section.list("allow_users") {
        None => (accounts.uid("neutron").into_iter().collect(), Vec::new()),
        Some(names) => allowed(section, &names, accounts, problems),
    };
    let notify_fifos: Vec<PathBuf> =
        section.list("notify_fifos").unwrap_or_default().iter().map(|path| runtime_dir.join(path)).collect();
    let grants = grants.iter().filter_map(|s| grant(s, &notify_fifos, runtime_dir, accounts, problems)).collect();
    let token_file = section.path("token_file");
    Intake {
        socket: runtime_dir.join(section.path("socket").unwrap_or_else(|| "keepalived-state-change".into())),
        socket_mode: section.integer("socket_mode").unwrap_or(0o660),
        socket_gid,
        allow_uids,
        allow_gids,
        token: token_file.as_deref().and_then(|path| token(section, path, problems)),
        token_file,
        grants,
        max_connections: section.integer("max_connections").unwrap_or(256),
        backlog: section.integer("backlog").unwrap_or(4096),
        header_timeout: section.span("header_timeout").unwrap_or(Duration::from_secs(2)),
        max_requests_per_second: section.integer("max_requests_per_second").unwrap_or(1000),
        notify_fifos,
    }
}

/// Users, and the groups among them, which have a `%` before their name as in sudoers.
fn allowed(section: &Section, names: &[String], accounts: &Accounts, problems: &mut Problems) -> (Vec<u32>, Vec<u32>) {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for name in names {
        let (found, numbers, what, file) = match name.strip_prefix('%') {
            Some(group) => (accounts.gid(group), &mut gids, "group", "/etc/group; give one that exists, or its gid"),
            None => (accounts.uid(name), &mut uids, "user", "/etc/passwd; give one that exists, or its uid"),
        };
        match found {
            Some(number) => numbers.push(number),
            None => problems.add(
                section.line_of("allow_users"),
                &section.key("allow_users"),
                format!("{what} {:?} is not in {file}", name.trim_start_matches('%')),
            ),
        }
    }
    (uids, gids)
}

/// None when something in it is wrong; that was told.
fn grant(
    section: &Section,
    fifos: &[PathBuf],
    runtime_dir: &Path,
    accounts: &Accounts,
    problems: &mut Problems,
) -> Option<Grant> {
    let to = match (section.text("user"), section.path("fifo")) {
        (Some(name), None) => match accounts.uid(&name) {
            Some(uid) => Grantee::User(uid),
            None => {
                let message = format!("user {name:?} is not in /etc/passwd; give one that exists, or its uid");
                problems.add(section.line_of("user"), &section.key("user"), message);
                return None;
            }
        },
        (None, Some(path)) => {
            let path = runtime_dir.join(path);
            if !fifos.contains(&path) {
                let message = format!("{} is not among intake.notify_fifos", path.display());
                problems.add(section.line_of("fifo"), &section.key("fifo"), message);
                return None;
            }
            Grantee::Fifo(path)
        }
        (Some(_), Some(_)) => {
            problems.add(section.line_of("fifo"), &section.key("fifo"), "either user or fifo, not both");
            return None;
        }
        (None, None) => {
            problems.add(Some(section.line), &section.key("user"), "is missing: a grant names a user or a fifo");
            return None;
        }
    };
    let words = section.list("routers")?;
    let routers = if words.iter().any(|word| word == "*") {
        Granted::All
    } else {
        Granted::These(words.iter().filter_map(|word| word.parse().ok()).collect())
    };
    Some(Grant { to, routers })
}

/// The token: the file's text without the space around it.
fn token(section: &Section, path: &Path, problems: &mut Problems) -> Option<String> {
    let mut wrong = |message: String| {
        problems.add(section.line_of("token_file"), &section.key("token_file"), message);
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            wrong(format!("cannot read {}: {error}", path.display()));
            return None;
        }
    };
    let token = text.trim();
    if token.is_empty() || token.len() > 1024 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        wrong(format!("{} must hold one token of 1 to 1024 printable ASCII characters without space", path.display()));
        return None;
    }
    Some(token.to_owned())
}

fn neutron(section: &Section) -> Neutron {
    let state_path = section.path("state_path").unwrap_or_else(|| PathBuf::from("/var/lib/neutron"));
    let ha_confs_path = state_path.join(section.path("ha_confs_path").unwrap_or_else(|| "ha_confs".into()));
    Neutron {
        l3_agent_ha_confs_path: section.path("l3_agent_ha_confs_path").unwrap_or_else(|| ha_confs_path.clone()),
        ha_confs_path,
        state_path,
        release: section.integer("release").unwrap_or(29),
    }
}

fn keepalived(section: &Section, problems: &mut Problems) -> Keepalived {
    let named = section.list("configs");
    let configs_given = named.is_some();
    let given = named.unwrap_or_else(|| vec!["/etc/keepalived/keepalived.conf".to_owned()]);
    let mut configs: Vec<PathBuf> = Vec::new();
    for path in given.into_iter().map(PathBuf::from) {
        let wrong = absolute(&path)
            .err()
            .or_else(|| configs.contains(&path).then(|| format!("{} stands there twice", path.display())));
        match wrong {
            Some(message) => problems.add(section.line_of("configs"), &section.key("configs"), message),
            None => configs.push(path),
        }
    }
    Keepalived {
        configs,
        configs_given,
        config_id: section.text("config_id").unwrap_or_else(default_config_id),
        netns: netns(section, problems).unwrap_or(Netns::Own),
        program: section.path("program"),
        installed: match section.text("release").and_then(|text| text.parse().ok()) {
            Some(release) => Installed { release, origin: Origin::Configured },
            None => Installed::default(),
        },
    }
}

fn corroboration(section: &Section) -> Corroboration {
    Corroboration {
        settle: section.span("settle").unwrap_or(Duration::from_millis(250)),
        report_grace: section.span("report_grace"),
        heal_unreported: section.flag("heal_unreported").unwrap_or(true),
    }
}

fn delivery(section: &Section, neutron: &Neutron, problems: &mut Problems) -> Delivery {
    let reassert_interval = match section.is_set("reassert_interval") {
        true => section.span("reassert_interval").filter(|interval| !interval.is_zero()),
        false => Some(Duration::from_secs(300)),
    };
    if reassert_interval.is_some_and(|interval| interval < REASSERT_MIN) {
        problems.add(
            section.line_of("reassert_interval"),
            &section.key("reassert_interval"),
            "expected at least \"10s\", or \"off\": each round is one request per router".to_owned(),
        );
    }
    Delivery {
        protocol: match section.text("protocol").as_deref() {
            Some("json") => Protocol::Json,
            _ => Protocol::Neutron,
        },
        socket: section.path("socket").unwrap_or_else(|| neutron.state_path.join("keepalived-state-change")),
        batch_interval: section.span("batch_interval").unwrap_or(Duration::from_millis(200)),
        l3_agent_hold: section.span("l3_agent_hold").unwrap_or(Duration::from_secs(2)),
        max_in_flight: section.integer("max_in_flight").unwrap_or(4),
        retry_max: section.span("retry_max").unwrap_or(Duration::from_secs(30)),
        reassert_interval,
    }
}

fn actions(section: &Section, problems: &mut Problems) -> Actions {
    let mut hook = |key: &str| {
        let mut words = section.list(key)?.into_iter();
        let hook = words.next().map(|program| Hook { program: program.into(), arguments: words.collect() });
        let right = match &hook {
            None => Err("expected a program's path and its arguments, found an empty list".to_owned()),
            Some(hook) => absolute(&hook.program),
        };
        if let Err(message) = right {
            problems.add(section.line_of(key), &section.key(key), message);
        }
        hook
    };
    Actions {
        on_primary: hook("on_primary"),
        on_backup: hook("on_backup"),
        on_fault: hook("on_fault"),
        ipv6: section.flag("ipv6").unwrap_or(false),
        hook_timeout: section.span("hook_timeout").unwrap_or(Duration::from_secs(5)),
        max_hooks: section.integer("max_hooks").unwrap_or(4),
    }
}

fn routers(sections: &[Section], release: Release, problems: &mut Problems) -> Vec<Router> {
    let mut first_lines: HashMap<String, usize> = HashMap::new();
    let mut routers = Vec::new();
    for section in sections {
        let Some(router) = router(section, release, problems) else {
            continue;
        };
        let family = if router.vip.is_ipv4() { 4 } else { 6 };
        let mut taken = vec![
            ("id", format!("router {}", router.id)),
            (
                "vrid",
                format!("VRID {} for IPv{family} on {} in namespace {}", router.vrid, router.interface, router.netns),
            ),
        ];
        if let Some(name) = &router.fifo_instance {
            taken.push(("fifo_instance", format!("FIFO instance {name:?}")));
        }
        for (key, what) in taken {
            let line = section.line_of(key);
            match first_lines.get(&what) {
                Some(first) => problems.add(line, &section.key(key), format!("{what} stands on line {first} already")),
                None => {
                    first_lines.insert(what, line.unwrap_or(section.line));
                }
            }
        }
        routers.push(router);
    }
    routers
}

/// None when it is wrong; that was told.
fn netns(section: &Section, problems: &mut Problems) -> Option<Netns> {
    section.text("netns").map_or(Some(Netns::Own), |given| {
        let name = !given.contains('/') && given != "." && given != "..";
        if name {
            return Some(Netns::Path(Path::new("/run/netns").join(given)));
        }
        match absolute(Path::new(&given)) {
            Ok(()) if Path::new(&given).starts_with("/proc") => {
                let message = "a path below /proc goes with its process, and the agent's threads may not look into other \
                               processes: give the namespace a name with `ip netns attach NAME PID`, and write that name; \
                               without netns it is the agent's own";
                problems.add(section.line_of("netns"), &section.key("netns"), message.to_owned());
                None
            }
            Ok(()) => Some(Netns::Path(given.into())),
            Err(_) => {
                problems.add(
                    section.line_of("netns"),
                    &section.key("netns"),
                    format!("expected a name under /run/netns or an absolute path, found {given:?}"),
                );
                None
            }
        }
    })
}

/// None when a required key is missing or wrong; that was told already.
fn router(section: &Section, release: Release, problems: &mut Problems) -> Option<Router> {
    let netns = netns(section, problems);
    let (vip, prefix) = section.cidr("vip")?;
    let interface = section.text("interface")?;
    let password = section.text("auth_pass").as_deref().map(Password::new);
    let addresses = section.addresses("addresses");
    if let Some(other) = addresses.iter().flatten().find(|address| address.is_ipv4() != vip.is_ipv4()) {
        problems.add(
            section.line_of("addresses"),
            &section.key("addresses"),
            format!("{other} is of another family than the VIP {vip}: an advert carries one family"),
        );
    }
    Some(Router {
        id: section.id("id")?,
        netns: netns?,
        vip,
        prefix,
        vip_interface: section.text("vip_interface").unwrap_or_else(|| interface.clone()),
        interface,
        further: FurtherAddresses::default(),
        vrid: section.integer("vrid")?,
        advert_interval: section.span("advert_interval").unwrap_or(Duration::from_secs(1)),
        fifo_instance: section.text("fifo_instance"),
        password,
        rules: AdvertRules {
            mode: Some(if section.flag("unicast").unwrap_or(false) {
                AdvertMode::Unicast { peers: Vec::new(), check_source: false }
            } else {
                AdvertMode::Multicast { group: None }
            }),
            interval: section.span("advert_interval"),
            authentication: password.map(Authentication::Pass),
            addresses,
            ..AdvertRules::unknown(release)
        },
    })
}

fn sinks(section: &Section, problems: &mut Problems) -> Vec<Sink> {
    let Some(given) = section.list("sinks") else {
        return vec![Sink::Stdout];
    };
    let mut sinks = Vec::new();
    for text in given {
        let sink = match text.split_once(':') {
            None if text == "stdout" => Ok(Sink::Stdout),
            None if text == "journald" => Ok(Sink::Journald),
            Some(("file", path)) => absolute(Path::new(path)).map(|()| Sink::File(PathBuf::from(path))),
            Some(("otlp", _)) => Err(format!("{text:?}: otlp is not in this version; known are {}", SINKS.join(", "))),
            _ => Err(match did_you_mean(&text, SINKS) {
                Some(hint) => format!("unknown sink {text:?}; {hint}"),
                None => format!("unknown sink {text:?}; known are {}", SINKS.join(", ")),
            }),
        };
        let sink = sink.and_then(|sink| match sinks.contains(&sink) {
            true => Err(format!("{text:?} stands there twice")),
            false => Ok(sink),
        });
        match sink {
            Ok(sink) => sinks.push(sink),
            Err(message) => {
                problems.add(section.line_of("sinks"), &section.key("sinks"), message);
            }
        }
    }
    sinks
}

/// Sockets must fit an address and be three different ones: an agent whose delivery ends at its own
/// intake would talk to itself.
fn sockets(sockets: &[(&Section, &PathBuf)], problems: &mut Problems) {
    for (index, (section, path)) in sockets.iter().enumerate() {
        let key = section.key("socket");
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            problems.add(
                section.line_of("socket"),
                &key,
                format!(
                    "{} has {} bytes; a unix socket's path has at most {SOCKET_PATH_MAX}",
                    path.display(),
                    path.as_os_str().len()
                ),
            );
        }
        for (other, taken) in &sockets[..index] {
            if taken == path {
                problems.add(
                    section.line_of("socket").or(other.line_of("socket")),
                    &key,
                    format!("{} is {} too", path.display(), other.key("socket")),
                );
            }
        }
    }
}
