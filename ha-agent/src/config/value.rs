//! One TOML value to one typed value, by its key's [`Kind`].

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::error::did_you_mean;
use super::keys::{Kind, millis};
use crate::advert_rules::Release;
use crate::core::model::RouterId;

/// A value that has the shape and the range its key asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Path(PathBuf),
    List(Vec<String>),
    Integer(i64),
    Flag(bool),
    /// None: the key's word for "known later".
    Span(Option<Duration>),
    Listen(SocketAddr),
    Cidr(IpAddr, u8),
    Addresses(Vec<IpAddr>),
    Id(RouterId),
}

/// Reads a value; the error says what would be right.
pub(super) fn read(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    match kind {
        Kind::Flag => {
            value.as_bool().map(Value::Flag).ok_or_else(|| format!("expected true or false, found {}", shown(value)))
        }
        Kind::Integer(min, max) => value
            .as_integer()
            .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|number| (min..=max).contains(number))
            .map(Value::Integer)
            .ok_or_else(|| format!("expected a whole number from {min} to {max}, found {}", shown(value))),
        Kind::Accounts => list(value, "user names or uids, and groups as %NAME"),
        Kind::Account => match value {
            DeValue::Integer(uid) => Ok(Value::Text(uid.as_str().to_owned())),
            _ => text(value, "a user name or uid").map(Value::Text),
        },
        Kind::Routers => routers(value),
        Kind::Secret(most) => secret(value, most),
        Kind::Sinks => list(value, "sinks"),
        Kind::Paths => list(value, "paths"),
        Kind::Argv => list(value, "a program's path and its arguments"),
        Kind::Span(min, max, word) => span(value, min, max, word),
        Kind::Group => match value {
            DeValue::Integer(gid) => Ok(Value::Text(gid.as_str().to_owned())),
            _ => text(value, "a group name or gid").map(Value::Text),
        },
        Kind::Choice(words) => {
            let given = text(value, &format!("one of {}", quoted(words)))?;
            if words.contains(&given.as_str()) {
                return Ok(Value::Text(given));
            }
            Err(match did_you_mean(&given, words) {
                Some(hint) => format!("unknown value {given:?}; {hint}"),
                None => format!("unknown value {given:?}; known are {}", quoted(words)),
            })
        }
        Kind::Text => text(value, "text").map(Value::Text),
        Kind::Release => {
            let given = text(value, "a release of keepalived such as \"2.2.7\"")?;
            match given.parse::<Release>() {
                Ok(_) => Ok(Value::Text(given)),
                Err(_) => Err(format!("expected a release of keepalived such as \"2.2.7\", found {given:?}")),
            }
        }
        Kind::Path { base } => {
            let path = PathBuf::from(text(value, "a path")?);
            if base.is_none() {
                absolute(&path)?;
            }
            Ok(Value::Path(path))
        }
        Kind::Interface => interface(&text(value, "an interface name")?).map(Value::Text),
        Kind::Octal => octal(&text(value, "a file mode such as \"0660\"")?).map(|mode| Value::Integer(mode.into())),
        Kind::Listen => {
            let given = text(value, "an address such as \"127.0.0.1:9477\"")?;
            given
                .parse()
                .map(Value::Listen)
                .map_err(|_| format!("expected ADDRESS:PORT such as \"127.0.0.1:9477\", found {given:?}"))
        }
        Kind::Cidr => cidr(&text(value, "an address such as \"169.254.0.1/24\"")?),
        Kind::Addresses => addresses(value),
        Kind::Id => {
            let given = text(value, "a UUID")?;
            given.parse().map(Value::Id).map_err(|_| {
                format!("expected a UUID such as \"6b1f6c2e-30a5-4b6e-9d1c-0f2a4c5d7e80\", found {given:?}")
            })
        }
    }
}

/// An error for a path that is not absolute.
pub(super) fn absolute(path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(format!("expected an absolute path, found {:?}", path.display().to_string()))
    }
}

/// A duration as the configuration writes it: `250ms`, `2s`, `1m`.
pub(super) fn duration(given: &str) -> Option<Duration> {
    let unit_at = given.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = given.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor).map(millis)
}

/// A duration in the largest unit that shows it whole.
pub(super) fn written(duration: Duration) -> String {
    match u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        whole if whole % 60_000 == 0 => format!("{}m", whole / 60_000),
        whole if whole % 1_000 == 0 => format!("{}s", whole / 1_000),
        whole => format!("{whole}ms"),
    }
}

fn span(value: &DeValue<'_>, min: u64, max: u64, word: Option<&str>) -> Result<Value, String> {
    let also = word.map(|word| format!(", or {word:?}")).unwrap_or_default();
    let expected =
        format!("a duration from \"{}\" to \"{}\" (ms, s, m, h){also}", written(millis(min)), written(millis(max)));
    let given = text(value, &expected)?;
    if word == Some(given.as_str()) {
        return Ok(Value::Span(None));
    }
    match duration(&given) {
        Some(found) if (millis(min)..=millis(max)).contains(&found) => Ok(Value::Span(Some(found))),
        _ => Err(match word.and_then(|word| did_you_mean(&given, &[word])) {
            Some(hint) => format!("unknown value {given:?}; {hint}"),
            None => format!("expected {expected}, found {given:?}"),
        }),
    }
}

fn list(value: &DeValue<'_>, what: &str) -> Result<Value, String> {
    let expected = || format!("expected a list of {what}, found {}", shown(value));
    let mut items = Vec::new();
    for item in value.as_array().ok_or_else(expected)?.iter() {
        match item.get_ref() {
            DeValue::Integer(number) if what.contains("uids") => {
                items.push(number.as_str().to_owned());
            }
            other => items.push(text(other, &format!("a list of {what} as text"))?),
        }
    }
    Ok(Value::List(items))
}

/// As adverts carry them: at most 255, of one family.
fn addresses(value: &DeValue<'_>) -> Result<Value, String> {
    let what = "addresses such as [\"192.0.2.1\", \"192.0.2.2\"]";
    let Value::List(given) = list(value, what)? else {
        return Err(format!("expected a list of {what}"));
    };
    let mut addresses = Vec::new();
    for text in given {
        let address: IpAddr =
            text.parse().map_err(|_| format!("expected an address without prefix length, found {text:?}"))?;
        if addresses.first().is_some_and(|first: &IpAddr| first.is_ipv4() != address.is_ipv4()) {
            return Err(format!("{address} is of another family than the first address: an advert carries one family"));
        }
        addresses.push(address);
    }
    if addresses.is_empty() || addresses.len() > 255 {
        return Err(format!("expected 1 to 255 addresses, found {}", addresses.len()));
    }
    Ok(Value::Addresses(addresses))
}

/// Router ids, or `"*"` for all.
fn routers(value: &DeValue<'_>) -> Result<Value, String> {
    let read = list(value, "router ids, or \"*\" for all")?;
    let Value::List(given) = &read else { return Ok(read) };
    match given.iter().find(|word| *word != "*" && word.parse::<RouterId>().is_err()) {
        Some(word) => Err(format!("expected router ids (UUIDs), or \"*\" for all, found {word:?}")),
        None if given.is_empty() => Err("expected router ids, or \"*\" for all, found none".to_owned()),
        None => Ok(read),
    }
}

/// No message shows what was given.
fn secret(value: &DeValue<'_>, most: usize) -> Result<Value, String> {
    let fits = |text: &&str| (1..=most).contains(&text.len()) && !text.chars().any(char::is_control);
    let text = value.as_str().filter(fits);
    text.map(|text| Value::Text(text.to_owned()))
        .ok_or_else(|| format!("expected text of 1 to {most} bytes without control characters"))
}

fn text(value: &DeValue<'_>, expected: &str) -> Result<String, String> {
    let given = value.as_str().ok_or_else(|| format!("expected {expected}, found {}", shown(value)))?;
    if given.is_empty() {
        return Err(format!("expected {expected}, found nothing"));
    }
    if given.len() > 255 || given.chars().any(char::is_control) {
        return Err(format!("expected {expected}: at most 255 bytes without control characters"));
    }
    Ok(given.to_owned())
}

/// Linux takes 15 bytes (`IFNAMSIZ` with its final zero), without slash, colon or space.
fn interface(given: &str) -> Result<String, String> {
    let fits = given.len() <= 15
        && given != "."
        && given != ".."
        && !given.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if fits {
        Ok(given.to_owned())
    } else {
        Err(format!("expected an interface name (at most 15 bytes, without \"/\", \":\" or space), found {given:?}"))
    }
}

fn octal(given: &str) -> Result<u32, String> {
    u32::from_str_radix(given, 8)
        .ok()
        .filter(|mode| given.len() >= 3 && *mode <= 0o777)
        .ok_or_else(|| format!("expected an octal file mode from \"0000\" to \"0777\", found {given:?}"))
}

fn cidr(given: &str) -> Result<Value, String> {
    let wrong = || format!("expected an address with its prefix length such as \"169.254.0.1/24\", found {given:?}");
    let (address, prefix) = given.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix > most {
        return Err(format!("the prefix length of {address} is at most {most}, found {prefix}"));
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("{address} cannot be set on an interface"));
    }
    Ok(Value::Cidr(address, prefix))
}

/// The value as the file has it, for a message.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}
