//! `check-config`.

use std::path::Path;

use serde_json::json;

use super::args::Format;
use super::exit;
use crate::config::{Config, ConfigError, DEFAULT_PATH, Mode, Protocol, Sink};
use crate::inventory::keepalived_release::Installed;
use crate::trust::Trust;

/// What to show, and the exit code: also for a right configuration that the agent would not start with, because
/// others could change what it trusts.
pub(super) fn render(path: Option<&Path>, loaded: Result<Config, ConfigError>, format: Format) -> (String, u8) {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match loaded {
        Ok(config) => {
            let trust = Trust::of(&config, path);
            let closed = trust.openings.is_empty();
            let text = match format {
                Format::Json => {
                    json!({"ok": closed, "problems": [], "trust": trust, "keepalived": keepalived(&config)}).to_string()
                }
                Format::Table => right(file, &config, &trust),
            };
            (text, if closed { 0 } else { exit::FAILURE })
        }
        Err(error) => {
            let text = match format {
                Format::Json => json!({"ok": false, "problems": error.problems()}).to_string(),
                Format::Table => {
                    let count = error.problems().len();
                    let noun = if count == 1 { "problem" } else { "problems" };
                    format!("{error}\n\n{count} {noun}\n")
                }
            };
            (text, exit::CONFIG)
        }
    }
}

/// By whose rules adverts are judged, and which files are not there:
/// `{"release":"2.2.7","origin":{"program":"/usr/sbin/keepalived"},"missing":[]}`.
fn keepalived(config: &Config) -> serde_json::Value {
    let Installed { release, origin } = &config.keepalived.installed;
    json!({"release": release.to_string(), "origin": origin, "missing": config.keepalived.missing()})
}

fn right(file: &Path, config: &Config, trust: &Trust) -> String {
    let missing = config.keepalived.missing();
    let head = if !missing.is_empty() {
        let paths: Vec<String> = missing.iter().map(|path| path.display().to_string()).collect();
        format!(
            "{} can be read, but a file that keepalived.configs names is not there: {}. It is waited for; correct the path \
             if keepalived reads another file.",
            file.display(),
            paths.join(", ")
        )
    } else if file.exists() {
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
        ("reports at", config.intake.socket.display().to_string()),
        ("reporters", several(trust.reporters())),
        ("FIFOs", or_none(several(trust.fifo_lines()))),
        (
            "routers",
            format!(
                "{} given here, others found in {}{}",
                config.routers.len(),
                config.neutron.ha_confs_path.display(),
                config.keepalived.configs.iter().map(|path| format!(" and {}", path.display())).collect::<String>()
            ),
        ),
        ("keepalived", config.keepalived.installed.to_string()),
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
        ("actions", or_none(if config.actions.ipv6 { "IPv6".to_owned() } else { String::new() })),
        ("hooks", or_none(several(trust.hook_lines()))),
        ("events to", or_none(sinks.join(", "))),
        ("status at", config.admin.socket.display().to_string()),
        (
            "metrics at",
            or_none(config.admin.listen.map(|address| format!("http://{address}/metrics")).unwrap_or_default()),
        ),
        ("state in", config.state_dir.display().to_string()),
        ("open", or_none(several(trust.openings.clone()))),
        ("not seen", or_none(several(trust.hidden.clone()))),
    ];
    let mut out = format!("{head}\n\n");
    for (name, value) in rows {
        out.push_str(&format!("  {name:<12} {value}\n"));
    }
    out
}

/// One below the other, where values stand.
fn several(lines: Vec<String>) -> String {
    lines.join(&format!("\n{:15}", ""))
}
