//! HTTP over the admin socket.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::time::timeout;

use crate::core::model::RouterId;
use crate::status::{NodeStatus, RouterStatus};
use crate::telemetry::line::escape;

/// Time for an answer's head, and for the whole of one that ends by itself.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest line that is taken from the event stream.
const LINE: usize = 16 << 20;

/// Why the agent did not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no agent answers at {}: {source}\nIs it running? Start it with `ha-agent run`, or name its configuration with --config FILE: the socket is found there.",
        socket.display()
    )]
    Absent { socket: PathBuf, source: io::Error },
    #[error(
        "{} may not be opened by this user\nUse root, or a member of the group that owns the socket.",
        socket.display()
    )]
    Denied { socket: PathBuf },
    #[error("the agent at {} does not answer: {reason}", socket.display())]
    Silent { socket: PathBuf, reason: String },
    #[error("the agent refused: {0}")]
    Refused(String),
    #[error("the agent's answer is not understood ({0}); is it of another version?")]
    NotUnderstood(String),
    #[error(
        "no router here has an id that begins with {0:?}, or an instance of that name\n`ha-agent status --full` lists them."
    )]
    NoRouter(String),
    #[error("{given:?} stands for several routers; name one by its id or as NETNS/INSTANCE:\n{}", found.join("\n"))]
    Ambiguous { given: String, found: Vec<String> },
    #[error("the stream was cut: the agent ended, or this reader was too slow")]
    Cut,
}

/// The body of a good answer.
pub(super) fn get(socket: &Path, path: &str) -> Result<String, ClientError> {
    block_on(socket, async {
        let silent = |reason: String| ClientError::Silent { socket: socket.to_owned(), reason };
        let response = open(socket, path).await?;
        let body = timeout(ANSWER, response.into_body().collect())
            .await
            .map_err(|_| silent("its answer takes too long".to_owned()))?
            .map_err(|error| silent(error.to_string()))?;
        text(&body.to_bytes())
    })
}

/// An answer as its type.
pub(super) fn read<T: DeserializeOwned>(answer: &str) -> Result<T, ClientError> {
    serde_json::from_str(answer).map_err(|error| ClientError::NotUnderstood(error.to_string()))
}

/// The same with nothing in it that a terminal obeys, whoever chose the names in it.
pub(super) fn shown<T: Serialize + DeserializeOwned>(answer: &T) -> Result<T, ClientError> {
    let not_understood = |error: serde_json::Error| ClientError::NotUnderstood(error.to_string());
    let mut value = serde_json::to_value(answer).map_err(not_understood)?;
    escape_all(&mut value);
    serde_json::from_value(value).map_err(not_understood)
}

/// Every text in a value.
pub(super) fn escape_all(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(escaped) = escape(text) {
                *text = escaped;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(escape_all),
        Value::Object(fields) => fields.values_mut().for_each(escape_all),
        _ => {}
    }
}

/// The router that `given` means: its instance's name, `NETNS/INSTANCE`, its id, or a beginning of that which is
/// unambiguous.
pub(super) fn resolve(socket: &Path, given: &str) -> Result<RouterId, ClientError> {
    let node: NodeStatus = read(&get(socket, "/v1/routers")?)?;
    choose(&node, given)
}

pub(super) fn choose(node: &NodeStatus, given: &str) -> Result<RouterId, ClientError> {
    match meant(node, given).as_slice() {
        [one] => Ok(one.router_id),
        [] => Err(ClientError::NoRouter(given.to_owned())),
        several => {
            let found = several.iter().map(|router| choice(router)).collect();
            Err(ClientError::Ambiguous { given: given.to_owned(), found })
        }
    }
}

/// Leaves the routers that are meant; all, where none is named.
pub(super) fn only(node: &mut NodeStatus, given: &[String]) -> Result<(), ClientError> {
    if given.is_empty() {
        return Ok(());
    }
    let mut wanted = BTreeSet::new();
    for given in given {
        let meant = meant(node, given);
        if meant.is_empty() {
            return Err(ClientError::NoRouter(given.clone()));
        }
        wanted.extend(meant.iter().map(|router| router.router_id));
    }
    node.routers.retain(|router| wanted.contains(&router.router_id));
    Ok(())
}

fn meant<'a>(node: &'a NodeStatus, given: &str) -> Vec<&'a RouterStatus> {
    let is_name = |router: &&RouterStatus| {
        router.instance.as_deref().is_some_and(|name| {
            let with_netns = given.strip_prefix(&*router.netns).and_then(|rest| rest.strip_prefix('/'));
            name == given || with_netns == Some(name)
        })
    };
    let named: Vec<&RouterStatus> = node.routers.iter().filter(is_name).collect();
    if !named.is_empty() {
        return named;
    }
    let wanted = given.to_lowercase();
    node.routers.iter().filter(|router| router.router_id.to_string().starts_with(&wanted)).collect()
}

/// What tells it from others of its name.
fn choice(router: &RouterStatus) -> String {
    let RouterStatus { router_id, netns, interface, vrid, instance, .. } = router;
    let name = instance.as_ref().map(|name| format!("instance {name}, ")).unwrap_or_default();
    format!("  {router_id}: {name}namespace {netns}, interface {interface}, VRID {vrid}")
}

/// Calls `each` with every line until the stream ends or `each` says no.
pub(super) fn events(
    socket: &Path,
    follow: bool,
    router: Option<RouterId>,
    mut each: impl FnMut(&str) -> bool,
) -> Result<(), ClientError> {
    let mut path = format!("/v1/events?follow={}", u8::from(follow));
    if let Some(id) = router {
        path.push_str(&format!("&router={id}"));
    }
    block_on(socket, async {
        let mut body = open(socket, &path).await?.into_body();
        let mut pending: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ClientError::Cut)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            pending.extend_from_slice(&data);
            let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else {
                if pending.len() > LINE {
                    return Err(ClientError::NotUnderstood("a line without end".to_owned()));
                }
                continue;
            };
            let whole: Vec<u8> = pending.drain(..=end).collect();
            for line in text(&whole)?.lines() {
                if !each(line) {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

fn text(bytes: &[u8]) -> Result<String, ClientError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ClientError::NotUnderstood("not UTF-8".to_owned()))
}

async fn open(socket: &Path, path: &str) -> Result<Response<Incoming>, ClientError> {
    let silent = |reason: String| ClientError::Silent { socket: socket.to_owned(), reason };
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Denied { socket: socket.to_owned() },
        io::ErrorKind::WouldBlock => ClientError::Silent {
            socket: socket.to_owned(),
            reason: "it has as many connections as it takes; try again, or end some `ha-agent events --follow`"
                .to_owned(),
        },
        _ => ClientError::Absent { socket: socket.to_owned(), source },
    })?;
    let exchange = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
        // Ends with the connection, and with the runtime of this one call at the latest.
        tokio::spawn(connection);
        let request = Request::get(path).header("Host", "ha-agent").body(Empty::new()).unwrap_or_default();
        sender.send_request(request).await
    };
    let response = timeout(ANSWER, exchange)
        .await
        .map_err(|_| silent(format!("nothing for {} s", ANSWER.as_secs())))?
        .map_err(|error| silent(error.to_string()))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.into_body().collect().await;
    let said = body.map(|body| body.to_bytes()).unwrap_or_default();
    let said: Value = serde_json::from_slice(&said).unwrap_or_default();
    Err(ClientError::Refused(match said["error"].as_str() {
        Some(error) => error.to_owned(),
        None => format!("HTTP {status}"),
    }))
}

fn block_on<T>(socket: &Path, future: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClientError::Silent { socket: socket.to_owned(), reason: error.to_string() })?
        .block_on(future)
}
