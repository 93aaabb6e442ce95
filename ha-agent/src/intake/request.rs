//! What a request says: a pure function of its path, headers and body length.

#[cfg(test)]
mod tests;

use std::hint::black_box;
use std::str::FromStr;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::refusal::Refusal;
use crate::core::model::{RouterId, State};

/// The longest body that is read and thrown away, bytes. Real reporters send none.
pub const MAX_BODY: u64 = 8 * 1024;

const ROUTER_ID: &str = "x-neutron-router-id";
const STATE: &str = "x-neutron-state";
/// Instead of the id: the name of a router's instance, or `NETNS/INSTANCE`.
const ROUTER: &str = "x-ha-agent-router";
/// The instance that the line is about which keepalived gave to its notify script.
const INSTANCE: &str = "x-ha-agent-instance";
/// Longest name, bytes.
const MAX_NAME: usize = 255;

/// Which router is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// By its id.
    Id(RouterId),
    /// By its instance's name.
    Name(String),
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of which router.
    pub whom: Whom,
    /// The state that it claims.
    pub state: State,
    /// Of which instance keepalived spoke, where that is told.
    pub instance: Option<String>,
}

/// The claim that a request makes, or why it is refused. The first thing wrong counts, in the
/// order path, token, router, state, body, so that a stranger learns as little as possible.
///
/// `body` is the body's length in bytes as far as it is known from the headers; `token` the bearer
/// token that is wanted, if one is. The answer never contains any of the input.
pub fn validate(path: &str, headers: &HeaderMap, body: Option<u64>, token: Option<&[u8]>) -> Result<Claim, Refusal> {
    if path != "/" {
        return Err(Refusal::UnknownPath);
    }
    if let Some(token) = token {
        authorise(headers, token)?;
    }
    let whom = whom(headers)?;
    let instance = name(headers, INSTANCE, Refusal::BadInstanceName)?;
    let state = once(headers, STATE)
        .map_err(|n| n.refusal(Refusal::MissingState, Refusal::DuplicateState))?
        .to_str()
        .ok()
        .and_then(State::from_word)
        .ok_or(Refusal::BadState)?;
    if body.is_some_and(|length| length > MAX_BODY) {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(Claim { whom, state, instance })
}

fn whom(headers: &HeaderMap) -> Result<Whom, Refusal> {
    let Some(name) = name(headers, ROUTER, Refusal::BadInstanceName)? else {
        let id = once(headers, ROUTER_ID)
            .map_err(|n| n.refusal(Refusal::MissingRouterId, Refusal::DuplicateRouterId))?
            .to_str()
            .ok()
            .and_then(|text| RouterId::from_str(text).ok())
            .ok_or(Refusal::BadRouterId)?;
        return Ok(Whom::Id(id));
    };
    if headers.contains_key(ROUTER_ID) { Err(Refusal::DuplicateRouterId) } else { Ok(Whom::Name(name)) }
}

/// A name, in UTF-8 and of no more than [`MAX_NAME`] bytes, where there is one.
fn name(headers: &HeaderMap, header: &str, bad: Refusal) -> Result<Option<String>, Refusal> {
    match once(headers, header) {
        Ok(value) => {
            let name = std::str::from_utf8(value.as_bytes()).map_err(|_| bad)?;
            if name.is_empty() || name.len() > MAX_NAME { Err(bad) } else { Ok(Some(name.to_owned())) }
        }
        Err(NotOnce::Missing) => Ok(None),
        Err(NotOnce::More) => Err(bad),
    }
}

/// The router that a refused request names, for the event: only one that parses, and only one.
pub fn named_router(headers: &HeaderMap) -> Option<RouterId> {
    let value = once(headers, ROUTER_ID).ok()?;
    RouterId::from_str(value.to_str().ok()?).ok()
}

enum NotOnce {
    Missing,
    More,
}

impl NotOnce {
    fn refusal(self, missing: Refusal, duplicate: Refusal) -> Refusal {
        match self {
            Self::Missing => missing,
            Self::More => duplicate,
        }
    }
}

fn once<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h HeaderValue, NotOnce> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(NotOnce::Missing),
        (Some(_), Some(_)) => Err(NotOnce::More),
    }
}

fn authorise(headers: &HeaderMap, token: &[u8]) -> Result<(), Refusal> {
    let value = once(headers, AUTHORIZATION.as_str())
        .map_err(|n| n.refusal(Refusal::MissingToken, Refusal::BadToken))?
        .as_bytes();
    let (scheme, given) = value.split_at_checked("Bearer ".len()).ok_or(Refusal::MissingToken)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(Refusal::MissingToken);
    }
    same(token, given).then_some(()).ok_or(Refusal::BadToken)
}

/// Compares in a time that depends on `wanted`'s length alone.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(wanted.len() != given.len());
    for (index, byte) in wanted.iter().enumerate() {
        difference |= byte ^ black_box(given.get(index).copied().unwrap_or(0));
    }
    black_box(difference) == 0
}
