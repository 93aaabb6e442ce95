//! A line's comment, its braces and its words, as keepalived takes them apart (`decomment`, `read_line`,
//! `alloc_strvec_r` of 2.1.5 to 2.3.4).

/// A line without its comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bare {
    /// What is left, without the blanks around it.
    pub(super) text: String,
    /// A quote is not closed: keepalived warns, and takes the rest of the line as it is.
    pub(super) unclosed: bool,
}

/// Takes the comment away, and the blanks around the rest. `#` and `!` begin one anywhere outside double quotes. A
/// backslash outside of quotes keeps them from it; one at the end stays (it continues a definition).
pub(super) fn decomment(text: &str) -> Bare {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut comment, mut goes_on) = (false, false, false);
    let mut chars = text.trim_start_matches([' ', '\t']).chars();
    while let Some(c) = chars.next() {
        match c {
            '"' if !comment => quoted = !quoted,
            '\\' => {
                match chars.next() {
                    None => goes_on = true,
                    Some(_) if comment => {}
                    Some(next @ ('#' | '!')) if !quoted => out.push(next),
                    Some(next) => out.extend([c, next]),
                }
                continue;
            }
            '#' | '!' if !quoted => comment = true,
            _ => {}
        }
        if !comment {
            out.push(c);
        }
    }
    out.truncate(out.trim_end_matches([' ', '\t']).len());
    if goes_on {
        out.push('\\');
    }
    Bare { text: out, unclosed: quoted }
}

/// A brace that is a line of its own, or what stands before one; and what comes behind, which is the next line.
pub(super) fn first_part(text: &str) -> (&str, Option<&str>) {
    let blank = [' ', '\t'];
    if text.starts_with(['{', '}']) {
        let (brace, rest) = text.split_at(1);
        return (brace, Some(rest.trim_matches(blank)).filter(|rest| !rest.is_empty()));
    }
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(['{', '}', '"'])) {
        let at = from + found;
        if text.as_bytes().get(at) != Some(&b'"') {
            return (text[..at].trim_end_matches(blank), Some(text[at..].trim_end_matches(blank)));
        }
        // A quote that is not closed hides every brace behind it.
        let Some(end) = text.get(at + 1..).and_then(|rest| rest.find('"')) else { break };
        from = at + 1 + end + 1;
    }
    (text.trim_end_matches(blank), None)
}

/// A line's words, and whether a quote in it is not closed: what follows that is dropped. There a backslash keeps no
/// quote from ending.
pub(super) fn words(text: &str) -> (Vec<String>, bool) {
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(blank);
    while !rest.is_empty() {
        if let Some(begin) = rest.strip_prefix('"') {
            let Some((word, after)) = begin.split_once('"') else { return (words, true) };
            words.push(word.to_owned());
            rest = after;
        } else {
            let end = rest.find(|c| blank(c) || c == '"').unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches(blank);
    }
    (words, false)
}
