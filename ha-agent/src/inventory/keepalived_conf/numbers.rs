//! Numbers as keepalived reads them (`read_unsigned_func`, `read_int_func`, `read_decimal_unsigned_long_func`, and
//! `read_double_func` of releases before 2.2.0). What it makes of something that is none differs from keyword to
//! keyword: a number that is followed by something else is taken by some.

use std::ops::RangeInclusive;

use crate::advert_rules::Release;

/// What keepalived makes of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// A number within the range.
    Is(u64),
    /// It begins with one, and keepalived warns and takes it.
    Taken(u64),
    /// keepalived warns and takes something else.
    Refused,
}

/// A whole number. `lenient`: a number that is followed by something else is taken.
pub(super) fn whole(word: &str, range: RangeInclusive<u64>, lenient: bool) -> Number {
    let word = word.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let digits = word.strip_prefix('+').unwrap_or(word);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let value = if end == 0 { Some(0) } else { digits[..end].parse().ok() };
    let Some(value) = value.filter(|value| range.contains(value)) else { return Number::Refused };
    match (end == digits.len(), lenient) {
        (true, _) => Number::Is(value),
        // Nothing of the word was read where there is no digit: the value is 0.
        (false, true) => Number::Taken(value),
        (false, false) => Number::Refused,
    }
}

/// Seconds → microseconds.
pub(super) fn seconds(word: &str, range: RangeInclusive<u64>, release: Release) -> Number {
    if release.reads_seconds_as_double() { double(word, &range) } else { decimal(word, &range) }
}

/// With up to six decimals; more are rounded, which is warned of.
fn decimal(word: &str, range: &RangeInclusive<u64>) -> Number {
    const DECIMALS: usize = 6;
    if word.starts_with('-') {
        return Number::Refused;
    }
    let (before, after) = word.split_once('.').unwrap_or((word, ""));
    // Bytes, as there: a character may be cut in two, but then it is no digit either.
    let kept = after.as_bytes().get(..DECIMALS).unwrap_or(after.as_bytes());
    let up = u64::from(after.as_bytes().get(DECIMALS).is_some_and(|next| *next >= b'5'));
    let zeros = std::iter::repeat_n(b'0', DECIMALS - kept.len());
    let all: Vec<u8> = before.bytes().chain(kept.iter().copied()).chain(zeros).collect();
    // The point is gone, so something that is no digit cuts the number wherever it stands.
    match whole(&String::from_utf8_lossy(&all), 0..=u64::MAX, true) {
        Number::Refused => Number::Refused,
        Number::Is(value) | Number::Taken(value) if !range.contains(&value.saturating_add(up)) => Number::Refused,
        Number::Is(value) if after.len() <= DECIMALS => Number::Is(value),
        Number::Is(value) | Number::Taken(value) => Number::Taken(value.saturating_add(up)),
    }
}

/// strtod(3), but for hexadecimal digits.
fn double(word: &str, range: &RangeInclusive<u64>) -> Number {
    let word = word.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let ends = (0..=word.len().min(64)).rev().filter_map(|end| word.get(..end));
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let found =
        ends.filter(|begin| begin.chars().all(plain)).find_map(|begin| Some((begin, begin.parse::<f64>().ok()?)));
    let Some((begin, value)) = found else { return Number::Refused };
    let micros = value * 1e6;
    #[allow(clippy::cast_precision_loss, reason = "both ends are small")]
    let within = (*range.start() as f64..=*range.end() as f64).contains(&micros);
    if !within {
        return Number::Refused;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range")]
    let micros = micros as u64;
    if begin.len() == word.len() { Number::Is(micros) } else { Number::Taken(micros) }
}
