//! `check-config`.

use std::path::Path;

use serde_json::json;

use super::args::Format;
use super::exit;
use crate::config::{Actions, Config, ConfigError, DEFAULT_PATH, Mode, Protocol, Sink};

/// What to show, and the exit code.
pub(super) fn render(path: Option<&Path>, loaded: Result<Config, ConfigError>, format: Format) -> (String, u8) {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    let exists = file.exists();
    match (loaded, format) {
        (Ok(_), Format::Json) => (json!({"ok": true, "problems": []}).to_string(), 0),
        (Err(error), Format::Json) => (json!({"ok": false, "problems": error.problems()}).to_string(), exit::CONFIG),
        (Ok(config), Format::Table) => (right(file, exists, &config), 0),
        (Err(error), Format::Table) => {
            let count = error.problems().len();
            let noun = if count == 1 { "problem" } else { "problems" };
            (format!("{error}\n\n{count} {noun}\n"), exit::CONFIG)
        }
    }
}

fn right(file: &Path, exists: bool, config: &Config) -> String {
    let head = if exists {
        format!("{} is right.", file.display())
    } else {
        format!("{} does not exist: every default holds.", file.display())
    };
    let sinks: Vec<String> = config
        .sinks
        .iter()
        .map(|sink| match sink {
            Sink::Stdout => "stdout".to_owned(),
            Sink::Journald => "journald".to_owned(),
            Sink::File(path) => path.display().to_string(),
        })
        .collect();
    let allowed: Vec<String> = config.intake.allow_uids.iter().map(|uid| format!(", {uid}")).collect();
    let or_none = |text: String| {
        if text.is_empty() { "none".to_owned() } else { text }
    };
    let rows = [
        (
            "mode",
            match config.mode {
                Mode::Enforce => "enforce: only confirmed states are passed on".to_owned(),
                Mode::Observe => "observe: every valid report is passed on".to_owned(),
            },
        ),
        ("reports at", format!("{} from the agent's own uid{}", config.intake.socket.display(), allowed.concat())),
        (
            "routers",
            format!(
                "{} given here, others found in {}{}",
                config.routers.len(),
                config.neutron.ha_confs_path.display(),
                config.keepalived.configs.iter().map(|path| format!(" and {}", path.display())).collect::<String>()
            ),
        ),
        (
            "delivers to",
            format!(
                "{} ({})",
                config.delivery.socket.display(),
                match config.delivery.protocol {
                    Protocol::Neutron => "neutron",
                    Protocol::Json => "json",
                }
            ),
        ),
        ("reasserts", config.delivery.reassert_interval.map_or("never".to_owned(), |every| format!("every {every:?}"))),
        ("actions", or_none(actions(&config.actions))),
        ("events to", or_none(sinks.join(", "))),
        ("status at", config.admin.socket.display().to_string()),
        (
            "metrics at",
            or_none(config.admin.listen.map(|address| format!("http://{address}/metrics")).unwrap_or_default()),
        ),
        ("state in", config.state_dir.display().to_string()),
    ];
    let mut out = format!("{head}\n\n");
    for (name, value) in rows {
        out.push_str(&format!("  {name:<12} {value}\n"));
    }
    out
}

/// What is switched on, such as `IPv6, on_primary /etc/ha-agent/up`.
fn actions(actions: &Actions) -> String {
    let hooks =
        [("on_primary", &actions.on_primary), ("on_backup", &actions.on_backup), ("on_fault", &actions.on_fault)];
    let hooks = hooks.into_iter().filter_map(|(key, hook)| Some(format!("{key} {}", hook.as_ref()?.program.display())));
    let ipv6 = actions.ipv6.then(|| "IPv6".to_owned());
    ipv6.into_iter().chain(hooks).collect::<Vec<_>>().join(", ")
}
