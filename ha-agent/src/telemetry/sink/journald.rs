//! journald's native protocol: one datagram of fields per event.
//!
//! `MESSAGE` is the event in words, `HA_JSON` the whole line, so that
//! `journalctl -t ha-agent -o json --output-fields=HA_JSON` gives the stream back.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Sink;
use crate::telemetry::event::Severity;
use crate::telemetry::recent::Record;

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) struct Journald {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journald {
    pub(super) fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), socket: None }
    }
}

impl Sink for Journald {
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                // A journald that stands still is a failure, not a place to wait in for ever.
                socket.set_write_timeout(Some(Duration::from_secs(1)))?;
                self.socket.insert(socket)
            }
        };
        let sent = match socket.send_to(fields(record, true).as_bytes(), &self.path) {
            // A batch of very many routers does not fit a datagram; its words do.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                socket.send_to(fields(record, false).as_bytes(), &self.path)
            }
            other => other,
        };
        sent.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        *done = record.line.len() + 1;
        Ok(())
    }
}

/// No value holds a newline: lines escape it and summaries are made of them.
fn fields(record: &Record, with_json: bool) -> String {
    let priority = match record.severity {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Notice => 5,
        Severity::Info => 6,
    };
    let message = record.summary.as_deref().unwrap_or(record.name);
    let mut text =
        format!("MESSAGE={message}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=ha-agent\nHA_EVENT={}\n", record.name);
    // journald takes a field several times; `journalctl HA_ROUTER_ID=…` finds each.
    for router in record.routers.iter().take(64) {
        text.push_str(&format!("HA_ROUTER_ID={router}\n"));
    }
    if with_json {
        text.push_str("HA_JSON=");
        text.push_str(&record.line);
        text.push('\n');
    }
    text
}
