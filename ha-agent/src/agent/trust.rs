//! Which places the agent trusts: they are looked at before it starts and at each SIGHUP.

use std::path::Path;

use crate::config::{Config, DEFAULT_PATH};
use crate::paths::guard::{self, Kind, Place};

/// The channel that events and `status` name when a reload is refused.
pub(super) const CHANNEL: &str = "trust";

/// When it is looked.
#[derive(Clone, Copy)]
pub(super) enum When<'a> {
    /// Nothing is bound yet.
    Start,
    /// The sockets of this configuration are bound.
    Reload(&'a Config),
}

/// What lets others in, in words.
pub(super) fn openings(config: &Config, config_path: Option<&Path>, when: When<'_>) -> Vec<String> {
    let mut places = Vec::new();
    let mut add = |path: &Path, kind| places.push(Place { path: path.to_owned(), kind });
    add(config_path.unwrap_or(Path::new(DEFAULT_PATH)), Kind::File);
    add(&config.runtime_dir, Kind::Directory(0o750));
    add(&config.state_dir, Kind::Directory(0o700));
    for path in [&config.intake.socket, &config.admin.socket] {
        add(path, Kind::Socket);
    }
    for path in &config.intake.notify_fifos {
        add(path, Kind::Fifo);
    }
    if let Some(path) = &config.intake.token_file {
        add(path, Kind::Secret);
    }
    if let When::Reload(now) = when {
        add(&now.runtime_dir, Kind::Directory(0o750));
        add(&now.state_dir, Kind::Directory(0o700));
        add(&now.intake.socket, Kind::Bound(now.intake.socket_mode));
        add(&now.admin.socket, Kind::Bound(0o660));
    }
    guard::openings(&places).iter().map(ToString::to_string).collect()
}
