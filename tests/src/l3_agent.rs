//! Stands in for Neutron's L3 agent: speaks its socket's protocol as releases 27 and later do, to
//! the byte, and keeps what it hears.
//!
//! That server has a backlog of 5, reads once at most 4096 bytes, answers without the blank line
//! that ends a head, and closes. It can also be made to misbehave.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use serde_json::Value;
use uuid::Uuid;

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

/// What was heard: one state of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// The router, as written.
    pub router: String,
    /// The state, as written.
    pub state: String,
    /// Sequence number (`json` only).
    pub sequence: Option<u64>,
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
    ear: Mutex<Ear>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Ear {
    heard: Vec<Heard>,
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
        self.ear().mode = mode;
    }

    /// Everything heard so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        self.ear().heard.clone()
    }

    /// What was heard after the first `known` states.
    pub fn heard_after(&self, known: usize) -> Vec<Heard> {
        self.ear().heard.get(known..).unwrap_or_default().to_vec()
    }

    /// How many connections were taken so far.
    pub fn connections(&self) -> usize {
        self.ear().connections
    }

    /// The states of one router, in order.
    pub fn states(&self, router: Uuid) -> Vec<String> {
        states(&self.ear().heard, router)
    }

    /// Waits until the router's states are exactly these.
    ///
    /// # Errors
    /// When they are not in time, or cannot be any more.
    pub fn expect(&self, within: Duration, router: Uuid, expected: &[&str]) -> Result<()> {
        let started = Instant::now();
        let mut ear = self.ear();
        loop {
            let now = states(&ear.heard, router);
            if now == expected {
                return Ok(());
            }
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() || !expected.starts_with(&now.iter().map(String::as_str).collect::<Vec<_>>()) {
                bail!("the L3 agent heard {now:?}, expected {expected:?} within {within:?}");
            }
            ear = self.shared.more.wait_timeout(ear, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The shortest time between two states of a router that differ.
    pub fn closest(&self, router: Uuid) -> Option<Duration> {
        let router = router.to_string();
        let heard: Vec<Heard> = self.heard().into_iter().filter(|heard| heard.router == router).collect();
        heard
            .windows(2)
            .filter(|pair| pair[0].state != pair[1].state)
            .map(|pair| pair[1].at.duration_since(pair[0].at))
            .min()
    }

    /// Waits until a router's states, repeats dropped, are exactly these: delivery is at least once,
    /// and a receiver that comes back is told again.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn expect_changes(&self, within: Duration, router: Uuid, expected: &[&str]) -> Result<()> {
        let changes = || {
            let mut states = self.states(router);
            states.dedup();
            states
        };
        crate::wait::until(within, "the changes", || (changes() == expected).then_some(()))
            .map_err(|_| anyhow::anyhow!("the L3 agent heard {:?}, expected {expected:?}", self.states(router)))
    }

    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.shared.ear()
    }
}

impl Drop for L3Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn states(heard: &[Heard], router: Uuid) -> Vec<String> {
    let router = router.to_string();
    heard.iter().filter(|heard| heard.router == router).map(|heard| heard.state.clone()).collect()
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
            shared.ear().connections += 1;
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
    let mode = shared.ear().mode;
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
    shared.keep(router, state, None);
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
        shared.keep(
            state["router_id"].as_str().context("router_id")?,
            state["state"].as_str().context("state")?,
            state["sequence"].as_u64(),
        );
    }
    Ok(stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?)
}

impl Shared {
    fn keep(&self, router: &str, state: &str, sequence: Option<u64>) {
        self.ear().heard.push(Heard {
            at: Instant::now(),
            router: router.to_owned(),
            state: state.to_owned(),
            sequence,
        });
        self.more.notify_all();
    }
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
