//! One user of the node who does to the agent's socket what he should not, at full speed on one
//! core, for so many seconds: `abuser KIND SOCKET UID GID ROUTER SECONDS`.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Connections that one abuser keeps open at most.
const HELD: usize = 3000;
/// How often a slow sender sends a byte.
const DRIP: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, socket, uid, gid, router, seconds] = words.as_slice() else {
        bail!("abuser KIND SOCKET UID GID ROUTER SECONDS");
    };
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).context("raising the limit of open files")?;
    become_user(uid.parse()?, gid.parse()?)?;
    let socket = Path::new(socket);
    let request =
        format!("POST / HTTP/1.1\r\nHost: x\r\nX-Neutron-Router-Id: {router}\r\nX-Neutron-State: backup\r\n\r\n");
    writeln!(std::io::stdout(), "begun")?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let going_on = || Instant::now() < end;
    let done = match kind.as_str() {
        "spin" => spin(going_on),
        "hold" => hold(socket, going_on),
        "churn" => churn(socket, going_on),
        "drip" => drip(socket, request.as_bytes(), going_on),
        "requests" => requests(socket, request.as_bytes(), going_on),
        "deaf" => deaf(socket, request.as_bytes(), going_on),
        other => bail!("unknown kind {other}"),
    };
    writeln!(std::io::stdout(), "done {done}").context("saying how often")
}

fn become_user(uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid).context("becoming another user")
}

/// Takes a processor and nothing else: what any busy user of the node costs another.
fn spin(going_on: impl Fn() -> bool) -> u64 {
    let mut turns = 0;
    while going_on() {
        turns += 1;
    }
    turns
}

/// Opens connections as fast as it can and keeps them; the oldest go first.
fn hold(socket: &Path, going_on: impl Fn() -> bool) -> u64 {
    let mut held = VecDeque::new();
    let mut made = 0;
    while going_on() {
        if let Ok(stream) = UnixStream::connect(socket) {
            made += 1;
            held.push_back(stream);
        }
        if held.len() > HELD {
            held.pop_front();
        }
    }
    made
}

/// Connects and is gone again.
fn churn(socket: &Path, going_on: impl Fn() -> bool) -> u64 {
    let mut made = 0;
    while going_on() {
        made += u64::from(UnixStream::connect(socket).is_ok());
    }
    made
}

/// Many connections, each with a request that comes byte by byte; what is closed is opened again.
fn drip(socket: &Path, request: &[u8], going_on: impl Fn() -> bool) -> u64 {
    let mut slow: Vec<(UnixStream, usize)> = Vec::new();
    let mut sent = 0;
    while going_on() {
        let begun = Instant::now();
        while slow.len() < 400 && going_on() {
            let Ok(stream) = UnixStream::connect(socket) else { break };
            slow.push((stream, 0));
        }
        slow.retain_mut(|(stream, at)| {
            let byte = request[*at % request.len()];
            // The last byte never comes.
            *at = (*at + 1) % (request.len() - 1);
            sent += 1;
            stream.write_all(&[byte]).is_ok()
        });
        std::thread::sleep(DRIP.saturating_sub(begun.elapsed()));
    }
    sent
}

/// Sound requests over kept connections, a bundle at a time.
fn requests(socket: &Path, request: &[u8], going_on: impl Fn() -> bool) -> u64 {
    let bundle = request.repeat(32);
    let mut buffer = vec![0; 64 * 1024];
    let mut sent = 0;
    while going_on() {
        let Ok(mut stream) = UnixStream::connect(socket) else { continue };
        while going_on() && stream.write_all(&bundle).is_ok() {
            sent += 32;
            if !matches!(stream.read(&mut buffer), Ok(1..)) {
                break;
            }
        }
    }
    sent
}

/// Sends requests over many connections and never reads an answer.
fn deaf(socket: &Path, request: &[u8], going_on: impl Fn() -> bool) -> u64 {
    let mut peers: Vec<UnixStream> = Vec::new();
    let mut sent = 0;
    while going_on() {
        if peers.len() < 200
            && let Ok(stream) = UnixStream::connect(socket)
            && stream.set_nonblocking(true).is_ok()
        {
            peers.push(stream);
        }
        peers.retain_mut(|stream| match stream.write(request) {
            Ok(_) => {
                sent += 1;
                true
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
    }
    sent
}
