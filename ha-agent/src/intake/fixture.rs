//! A node with one router, as the tests and the fuzz target of the intake have it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::advert_rules::AdvertRules;
use crate::config;
use crate::core::model::RouterId;
use crate::inventory::Directory;

/// Its id.
pub(super) const ROUTER: &str = "8f3c1d2e-4b5a-4c6d-9e7f-0123456789ab";

/// The same, read.
pub(super) fn router() -> RouterId {
    ROUTER.parse().expect("a UUID")
}

/// A directory with one router, named `VR_1` in FIFO lines.
pub(super) fn directory() -> Arc<Directory> {
    let directory = Directory::default();
    directory.replace(&[named("VR_1")]);
    directory.completed();
    Arc::new(directory)
}

/// That router, under this name.
pub(super) fn named(instance: &str) -> config::Router {
    config::Router {
        id: router(),
        netns: config::Netns::Own,
        interface: "ha-1".to_owned(),
        vip: std::net::Ipv4Addr::new(169, 254, 0, 1).into(),
        prefix: 24,
        vip_interface: "ha-1".to_owned(),
        further: crate::addresses::FurtherAddresses::default(),
        vrid: 1,
        advert_interval: Duration::from_secs(2),
        fifo_instance: Some(instance.to_owned()),
        password: None,
        rules: AdvertRules::default(),
    }
}

/// Nobody but the own user may report; nothing limits it.
pub(super) fn config(dir: &Path) -> config::Intake {
    config::Intake {
        socket: dir.join("keepalived-state-change"),
        socket_mode: 0o660,
        socket_gid: None,
        allow_uids: Vec::new(),
        allow_gids: Vec::new(),
        token: None,
        max_connections: 256,
        backlog: 4096,
        header_timeout: Duration::from_millis(300),
        max_requests_per_second: 1_000_000,
        notify_fifos: Vec::new(),
        grants: Vec::new(),
        token_file: None,
    }
}
