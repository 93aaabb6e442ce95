//! The grammar of notify FIFO lines (keepalived 2.2): `INSTANCE "name" STATE priority`.

use crate::core::model::State;

/// The longest line that is looked at, bytes without its newline. Instance names are the only part
/// of variable length; keepalived itself keeps configuration words shorter than this.
pub const MAX_LINE: usize = 512;

/// A line that keepalived may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Of what.
    pub kind: Kind,
    /// The instance's or group's name, as configured. UTF-8 without control characters.
    pub name: &'a str,
    /// The state it claims; none for lines that only tell of a priority.
    pub claim: Option<State>,
    /// Effective priority, 0 to 255.
    pub priority: u8,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VRRP instance.
    Instance,
    /// A sync group; its instances have lines of their own.
    Group,
}

impl Kind {
    /// The kind that keepalived's word names, exact case.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "INSTANCE" => Some(Self::Instance),
            "GROUP" => Some(Self::Group),
            _ => None,
        }
    }
}

/// What is wrong with a line; nothing of the line is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Neither `INSTANCE` nor `GROUP`.
    #[error("it begins with neither INSTANCE nor GROUP")]
    Kind,
    /// Not in quotes, empty, not UTF-8, or with control characters.
    #[error("the name is not a quoted word")]
    Name,
    /// None of keepalived's states.
    #[error("the state is none of keepalived's")]
    State,
    /// Not a number from 0 to 255, or something follows.
    #[error("the priority is not a number from 0 to 255")]
    Priority,
}

/// Whether a line is of another kind than VRRP's: virtual and real servers and BFD sessions have their lines
/// in the same FIFO (`notify_fifo`).
pub fn is_of_another_kind(line: &[u8]) -> bool {
    [&b"VS "[..], b"RS ", b"BFD "].iter().any(|begin| line.starts_with(begin))
}

/// Reads a line without its newline. Never panics, whatever the bytes.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, LineError> {
    let (kind, rest) = split(line, b" \"").ok_or(LineError::Kind)?;
    let kind = std::str::from_utf8(kind).ok().and_then(Kind::from_word).ok_or(LineError::Kind)?;
    let (name, rest) = split(rest, b"\" ").ok_or(LineError::Name)?;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && !name.chars().any(|c| c.is_control() || c == '"'))
        .ok_or(LineError::Name)?;
    let (word, rest) = split(rest, b" ").ok_or(LineError::State)?;
    let claim = std::str::from_utf8(word).ok().and_then(claim).ok_or(LineError::State)?;
    let priority = std::str::from_utf8(rest)
        .ok()
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or(LineError::Priority)?;
    Ok(Line { kind, name, claim, priority })
}

/// What keepalived's word claims: `None` is no word of keepalived's, `Some(None)` claims nothing.
///
/// `STOP` and `DELETED` say that this keepalived has left the router: it sent priority 0 and took
/// the VIP away. The L3 agent has no word for that, and its own monitor reports the VIP's removal
/// as `backup`. So they are a claim of backup; a VIP that stayed behind will contradict it.
pub fn claim(word: &str) -> Option<Option<State>> {
    Some(match word {
        "MASTER" => Some(State::Primary),
        "BACKUP" | "STOP" | "DELETED" => Some(State::Backup),
        "FAULT" => Some(State::Fault),
        "MASTER_RX_LOWER_PRI" | "MASTER_PRIORITY" | "BACKUP_PRIORITY" => None,
        _ => return None,
    })
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|w| w == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

/// Cuts a stream of bytes into lines of bounded length.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    skipping: bool,
}

/// What a newline ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A line, without its newline.
    Line(Vec<u8>),
    /// One beyond [`MAX_LINE`], thrown away.
    TooLong,
}

impl Lines {
    /// Takes the next bytes and gives every line that they end.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Cut> {
        let mut cuts = Vec::new();
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.append(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.begun);
            cuts.push(if std::mem::take(&mut self.skipping) { Cut::TooLong } else { Cut::Line(line) });
        }
        self.append(bytes);
        cuts
    }

    /// Forgets a line that was begun; whether there was one.
    pub(crate) fn abandon(&mut self) -> bool {
        let begun = !self.begun.is_empty() || self.skipping;
        *self = Self::default();
        begun
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.skipping || self.begun.len() + bytes.len() > MAX_LINE {
            self.skipping = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}
