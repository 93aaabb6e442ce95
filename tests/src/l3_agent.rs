//! Stands in for Neutron's L3 agent: speaks its socket's protocol as releases 27 and later do, to
//! the byte, and keeps what it hears.
//!
//! That server has a backlog of 5, reads once at most 4096 bytes, answers without the blank line
//! that ends a head, and closes. It can also be made to misbehave.

use std::io::{Read, Write};
use std::ops::Deref;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use serde_json::Value;

use crate::hearing::Hearing;

/// `socketserver.TCPServer.request_queue_size`.
const BACKLOG: i32 = 5;
/// What the server reads of a request, once.
const REQUEST: usize = 4096;
/// Its answer: bare line feeds, no blank line, an odd header name.
const REPLY: &str = concat!(
    "HTTP/1.1 200 OK\n",
    "Content-Type: text/plain; charset=UTF-8\n",
    "Connection: close\n",
    "Content-Location': http://127.0.0.1/"
);

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    #[default]
    Answering,
    /// With status 500; nothing is kept.
    Refusing,
    /// Never; nothing is kept.
    Hanging,
    /// With bytes that are no HTTP; nothing is kept.
    Nonsense,
}

/// The stand-in. What it heard outlives its stops and starts.
#[derive(Debug)]
pub struct L3Agent {
    path: PathBuf,
    shared: Arc<Shared>,
    server: Option<Server>,
}

#[derive(Debug, Default)]
struct Shared {
    hearing: Hearing,
    manner: Mutex<Manner>,
}

#[derive(Debug, Default)]
struct Manner {
    mode: Mode,
    connections: usize,
}

#[derive(Debug)]
struct Server {
    /// Closing it ends the server and every connection that hangs.
    stop: UnixStream,
    thread: JoinHandle<()>,
}

impl L3Agent {
    /// One that listens on `path`, which it takes over as Neutron does: unlink, bind.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(path: &Path) -> Result<Self> {
        let mut agent = Self::absent(path);
        agent.listen()?;
        Ok(agent)
    }

    /// One that is not there yet.
    pub fn absent(path: &Path) -> Self {
        Self { path: path.to_owned(), shared: Arc::default(), server: None }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts to listen: a new socket, a new inode.
    ///
    /// # Errors
    /// When it cannot.
    pub fn listen(&mut self) -> Result<()> {
        self.stop();
        let _ = std::fs::remove_file(&self.path);
        let listener = listener(&self.path).with_context(|| format!("listening on {}", self.path.display()))?;
        let (stop, stopped) = UnixStream::pair().context("a pair of sockets")?;
        let shared = Arc::clone(&self.shared);
        let thread = thread::spawn(move || serve(&listener, &stopped, &shared));
        self.server = Some(Server { stop, thread });
        Ok(())
    }

    /// Goes away like a process that is killed: the socket's file stays, nobody answers.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            drop(server.stop);
            let _ = server.thread.join();
        }
    }

    /// Changes how it answers.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.manner().mode = mode;
    }

    /// How many connections were taken so far.
    pub fn connections(&self) -> usize {
        self.shared.manner().connections
    }
}

/// What it heard.
impl Deref for L3Agent {
    type Target = Hearing;

    fn deref(&self) -> &Hearing {
        &self.shared.hearing
    }
}

impl Drop for L3Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The standard library's listener has another backlog.
fn listener(path: &Path) -> Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// A thread per connection, until the other end of `stopped` is closed.
fn serve(listener: &UnixListener, stopped: &UnixStream, shared: &Arc<Shared>) {
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if !ready[1].revents().is_empty() {
            break;
        }
        let Ok((stream, _)) = listener.accept() else {
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        let (shared, stopped) = (Arc::clone(shared), stopped.try_clone());
        connections.push(thread::spawn(move || {
            shared.manner().connections += 1;
            if let Ok(stopped) = stopped {
                // A broken connection is the client's affair, as it is Neutron's.
                let _ = handle(stream, &stopped, &shared);
            }
        }));
    }
    for connection in connections {
        let _ = connection.join();
    }
}

fn handle(mut stream: UnixStream, stopped: &UnixStream, shared: &Shared) -> Result<()> {
    let mut buffer = [0; REQUEST];
    let mut ready = [PollFd::new(&stream, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
    poll(&mut ready, None)?;
    if !ready[1].revents().is_empty() {
        return Ok(());
    }
    let read = stream.read(&mut buffer)?;
    let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
    let mode = shared.manner().mode;
    match mode {
        Mode::Answering => answer(&mut stream, &request, shared),
        Mode::Refusing => Ok(stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")?),
        Mode::Nonsense => Ok(stream.write_all(b"\x00\xff once upon a time\n\n")?),
        Mode::Hanging => {
            // Until the client gives up or the server is stopped.
            let mut ready = [PollFd::new(&stream, PollFlags::RDHUP), PollFd::new(stopped, PollFlags::IN)];
            poll(&mut ready, None)?;
            Ok(())
        }
    }
}

/// A head that is not complete in the one read is an exception in Neutron: no answer, nothing kept.
fn answer(stream: &mut UnixStream, request: &str, shared: &Shared) -> Result<()> {
    let (head, body) = request.split_once("\r\n\r\n").context("an incomplete request")?;
    if head.starts_with("POST /v1/ha-states ") {
        return answer_json(stream, head, body, shared);
    }
    let router = header(head, "x-neutron-router-id").unwrap_or("None");
    let state = header(head, "x-neutron-state").unwrap_or("None");
    shared.hearing.keep(router, state, None);
    Ok(stream.write_all(REPLY.as_bytes())?)
}

/// The `json` protocol: one batch, acknowledged as a whole.
fn answer_json(stream: &mut UnixStream, head: &str, body: &str, shared: &Shared) -> Result<()> {
    let length: usize = header(head, "content-length").context("a content-length")?.parse()?;
    let mut body = body.as_bytes().to_vec();
    let mut rest = vec![0; length.saturating_sub(body.len())];
    stream.read_exact(&mut rest)?;
    body.extend(rest);
    let batch: Value = serde_json::from_slice(&body)?;
    for state in batch["states"].as_array().context("states")? {
        shared.hearing.keep(
            state["router_id"].as_str().context("router_id")?,
            state["state"].as_str().context("state")?,
            state["sequence"].as_u64(),
        );
    }
    Ok(stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?)
}

/// A header's value; names are compared without case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests;
