//! An L3 agent that answers as it is told to.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::*;

/// How the fake L3 agent answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manner {
    /// Release 27 and later: one read, a reply without its blank line, bare LF.
    New,
    /// Up to 26: proper HTTP.
    Old,
    Status(u16),
    Nonsense,
    Close,
    Hang,
    /// `neutron`: 200, and the connection stays open.
    Open,
    /// `json`: 200 with this body.
    Body(&'static str),
    /// `json`: 413 for more than so many states.
    Most(usize),
    /// `json`: 429, to be tried again after so many seconds.
    Later(u64),
}

/// A server on its own threads, one per connection, as `socketserver.ThreadingUnixStreamServer`.
pub(super) struct Fake {
    path: PathBuf,
    pub(super) heard: mpsc::Receiver<(Instant, String)>,
    manner: Arc<Mutex<Manner>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    pub(super) fn listen(path: &Path, backlog: i32, manner: Manner) -> Self {
        let _ = std::fs::remove_file(path);
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(path).unwrap()).unwrap();
        socket.listen(backlog).unwrap();
        let (sender, heard) = mpsc::channel();
        let manner = Arc::new(Mutex::new(manner));
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, answers) = (Arc::clone(&stop), Arc::clone(&manner));
        let thread = std::thread::spawn(move || {
            loop {
                let (stream, _) = socket.accept().unwrap();
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let manner = *answers.lock().unwrap();
                let (sender, ends) = (sender.clone(), Arc::clone(&ends));
                std::thread::spawn(move || serve(stream.into(), manner, &sender, &ends));
            }
        });
        Self { path: path.to_owned(), heard, manner, stop, thread: Some(thread) }
    }

    pub(super) fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub(super) async fn next(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok((_, request)) = self.heard.try_recv() {
                return request;
            }
            assert!(Instant::now() < deadline, "nothing was heard");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Routers and words in order of arrival.
    pub(super) fn words(&self) -> Vec<(Instant, RouterId, String)> {
        let heard = self.heard.try_iter();
        heard
            .map(|(at, request)| {
                (at, header(&request, "X-Neutron-Router-Id").parse().unwrap(), header(&request, "X-Neutron-State"))
            })
            .collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A full queue also wakes it.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut stream: UnixStream, manner: Manner, heard: &mpsc::Sender<(Instant, String)>, ends: &AtomicBool) {
    let mut buffer = vec![0; 4096];
    let mut length = stream.read(&mut buffer).unwrap_or(0);
    if matches!(manner, Manner::Body(_) | Manner::Most(_) | Manner::Later(_)) {
        // A body as long as its head says.
        loop {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.len() >= header(head, "content-length").parse().unwrap()
            {
                break;
            }
            buffer.resize(length + 65536, 0);
            length += stream.read(&mut buffer[length..]).unwrap();
        }
    }
    if length == 0 {
        return;
    }
    let request = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let states = request.matches("router_id").count();
    let _ = heard.send((Instant::now(), request));
    let reply = match manner {
        Manner::New => "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=UTF-8\nConnection: close\nContent-Location': http://127.0.0.1/".to_owned(),
        Manner::Old => "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Length: 0\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n".to_owned(),
        Manner::Status(status) => format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"),
        Manner::Nonsense => "220 smtp.example.org\r\n".to_owned(),
        Manner::Body(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        Manner::Most(most) => {
            let status = if states > most { 413 } else { 200 };
            format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n")
        }
        Manner::Later(seconds) => {
            format!("HTTP/1.1 429 x\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n")
        }
        Manner::Open => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\nContent-Type: text/plain\n");
            while !ends.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            return;
        }
        Manner::Close => return,
        Manner::Hang => {
            while !ends.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            return;
        }
    };
    let _ = stream.write_all(reply.as_bytes());
}

pub(super) fn header(request: &str, name: &str) -> String {
    let line = request.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    line.unwrap_or_else(|| panic!("no {name} in {request}"))
}
