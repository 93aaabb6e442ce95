//! The text of `/proc/PID/…`, from bytes to what is told: pure, bounded, and clean of what a terminal obeys.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::telemetry::line::is_deceiving;

/// Bytes of a process's name. The kernel keeps 15 of a user's.
const COMMAND: usize = 64;
/// Bytes of a control group's path.
const CGROUP: usize = 512;
/// Bytes of an executable's path.
const EXECUTABLE: usize = 256;

/// `/proc/PID/stat`: name and start time in ticks after boot. The name may have any byte in it, also `)`.
pub(super) fn stat(text: &[u8]) -> Option<(Box<str>, u64)> {
    let begin = text.iter().position(|byte| *byte == b'(')?;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(begin + 1..end)?;
    // Field 22; the one after the name is the third.
    let ticks = text.get(end + 2..)?.split(|byte| *byte == b' ').nth(22 - 3)?;
    let ticks = std::str::from_utf8(ticks).ok()?.parse().ok()?;
    Some((clean(head(name, COMMAND)), ticks))
}

/// `/proc/PID/comm`: the name alone.
pub(super) fn command(text: &[u8]) -> Box<str> {
    clean(head(text.strip_suffix(b"\n").unwrap_or(text), COMMAND))
}

/// `/proc/PID/cgroup`: systemd's own hierarchy of version 1, else the one of version 2, else the first.
pub(super) fn cgroup(text: &[u8]) -> Option<Box<str>> {
    let rows = || {
        text.split(|byte| *byte == b'\n').filter_map(|row| {
            let mut parts = row.splitn(3, |byte| *byte == b':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
    };
    let chosen = rows()
        .find(|(_, controllers, _)| *controllers == b"name=systemd")
        .or_else(|| rows().find(|(number, controllers, _)| *number == b"0" && controllers.is_empty()))
        .or_else(|| rows().next());
    let (.., path) = chosen?;
    (!path.is_empty()).then(|| clean(head(path, CGROUP)))
}

/// `/proc/PID/exe`. The end of a long path says more than its beginning.
pub(super) fn executable(path: &[u8]) -> Box<str> {
    clean(&path[path.len().saturating_sub(EXECUTABLE)..])
}

/// `Pid:` of `/proc/self/fdinfo/FD`, where FD is a pidfd: -1 once its process is gone for good.
pub(super) fn fdinfo_pid(text: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// `Uid:` of `/proc/PID/status`: the effective one.
pub(super) fn effective_uid(text: &[u8]) -> Option<u32> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let ids = lines.find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(ids).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn head(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// Controls, what turns the direction of writing, and what is no UTF-8 stand as `\xNN` or `\u{NNNN}`.
fn clean(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Writing into a string cannot fail.
            let _ = match character {
                _ if !is_deceiving(character) => text.write_char(character),
                _ if character.is_ascii() => write!(text, "\\x{:02x}", u32::from(character)),
                _ => write!(text, "\\u{{{:04x}}}", u32::from(character)),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.into()
}
