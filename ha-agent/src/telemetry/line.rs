//! An event → one line of JSON: stable key order, unique keys, nothing that a terminal obeys.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::event::{Event, SCHEMA};

/// The line without its newline: `schema`, `ts`, `seq`, `host`, `event`, `severity`, then the
/// event's own fields in the order of their declaration.
pub fn line(ts: &str, seq: u64, host: &str, event: &Event) -> String {
    let name = event.name();
    let own = json(event);
    // The derived form begins with the tag; the envelope takes its place.
    let tag = format!(r#"{{"event":"{name}""#);
    let fields = own.strip_prefix(&tag).unwrap_or("}");
    let severity = json(&event.severity());
    format!(
        r#"{{"schema":{SCHEMA},"ts":{},"seq":{seq},"host":{},"event":"{name}","severity":{severity}{fields}"#,
        json(ts),
        json(host),
    )
}

/// JSON in which control characters, line and paragraph separators and the characters that turn the
/// direction of writing stand as `\u` escapes.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut out, Escaping);
    // Fails only for maps whose keys are not text and for failing writers: neither exists here.
    if value.serialize(&mut serializer).is_err() {
        return "null".to_owned();
    }
    String::from_utf8(out).unwrap_or_default()
}

/// serde_json escapes what JSON must; this adds what could deceive whoever looks at the line.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all of what is written.
        if fragment.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut clean = 0;
        for (at, character) in fragment.char_indices() {
            if is_deceiving(character) {
                writer.write_all(&fragment.as_bytes()[clean..at])?;
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
                clean = at + character.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[clean..])
    }
}

/// The text for people: what would deceive them stands as `\xNN` or `\u{NNNN}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceiving) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match u32::from(c) {
            code if is_deceiving(c) && code < 0x100 => out.push_str(&format!("\\x{code:02x}")),
            code if is_deceiving(c) => out.push_str(&format!("\\u{{{code:x}}}")),
            _ => out.push(c),
        }
    }
    out.into()
}

/// As [`escape`], of several lines.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || !is_deceiving(c)) {
        return text.into();
    }
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n").into()
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidirectional controls, the zero-width
/// characters and the byte order mark.
pub fn is_deceiving(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}
