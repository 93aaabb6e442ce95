//! `check-config`.

use std::path::Path;

use serde_json::json;

use super::args::Format;
use super::exit;
use crate::config::{Config, ConfigError, DEFAULT_PATH, Mode, Protocol, Sink};
use crate::inventory::keepalived_release::Installed;
use crate::telemetry::line::{self, escape_lines};
use crate::trust::Trust;

/// What to show, and the exit code: also for a right configuration that the agent would not start with, because
/// others could change what it trusts.
pub(super) fn render(path: Option<&Path>, loaded: Result<Config, ConfigError>, format: Format) -> (String, u8) {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match loaded {
        Ok(config) => {
            let trust = Trust::of(&config, path);
            let code = match (trust.missing.as_slice(), trust.openings.as_slice()) {
                ([], []) => 0,
                ([], _) => exit::FAILURE,
                _ => exit::CONFIG,
            };
            let text = match format {
                Format::Json => line::json(
                    &json!({"ok": code == 0, "problems": trust.missing, "trust": trust, "keepalived": keepalived(&config)}),
                ),
                Format::Table => right(file, &config, &trust),
            };
            (text, code)
        }
        Err(error) => {
            let text = match format {
                Format::Json => line::json(&json!({"ok": false, "problems": error.problems()})),
                Format::Table => {
                    let count = error.problems().len();
                    let noun = if count == 1 { "problem" } else { "problems" };
                    escape_lines(&format!("{error}\n\n{count} {noun}\n")).into_owned()
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
    let shown = file.display();
    let absent: Vec<String> = config.keepalived.missing().iter().map(|path| path.display().to_string()).collect();
    let head = match (trust.missing.is_empty(), trust.openings.is_empty()) {
        (false, _) => format!("The agent does not start with {shown}: a hook cannot be run (see \"missing\")."),
        (_, false) => {
            format!("The agent does not start with {shown}: others could change what it trusts (see \"open\").")
        }
        _ if !absent.is_empty() => format!(
            "{shown} can be read, but a file that keepalived.configs names is not there: {}. It is waited for; correct the \
             path if keepalived reads another file.",
            absent.join(", ")
        ),
        _ if file.exists() => format!("{shown} is right."),
        _ => format!("{shown} does not exist: every default holds."),
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
        ("missing", or_none(several(trust.missing.clone()))),
        ("open", or_none(several(trust.openings.clone()))),
        ("not seen", or_none(several(trust.hidden.clone()))),
    ];
    let mut out = format!("{head}\n\n");
    for (name, value) in rows {
        out.push_str(&format!("  {name:<12} {value}\n"));
    }
    escape_lines(&out).into_owned()
}

/// One below the other, where values stand.
fn several(lines: Vec<String>) -> String {
    lines.join(&format!("\n{:15}", ""))
}
