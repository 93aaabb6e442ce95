//! Connect, register, hold the connection, and again: for ever, with a line in the log when
//! something changed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};

use crate::args::Options;
use crate::backoff::{self, Backoff};
use crate::config;
use crate::log::Log;
use crate::privilege::Rights;
use crate::request::{self, Answer, MAX_ANSWER};
use crate::signals::{Signals, Woken};

/// An answer that takes longer does not come.
const ANSWER: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Registrar<'a> {
    options: &'a Options,
    rights: Rights,
    signals: Signals,
    log: &'a mut Log,
    backoff: Backoff,
    /// Registered before.
    again: bool,
    /// Why not registered now, as told.
    told: Option<String>,
}

/// How an attempt ended.
enum Ended {
    /// We are asked to end.
    Stop,
    /// No agent, or it went away.
    Absent(String),
    /// The agent refuses.
    Refused(String),
}

impl<'a> Registrar<'a> {
    pub(crate) fn new(options: &'a Options, rights: Rights, signals: Signals, log: &'a mut Log) -> Self {
        Self { options, rights, signals, log, backoff: Backoff::new(), again: false, told: None }
    }

    /// Until SIGTERM or SIGINT.
    pub(crate) fn run(&mut self) {
        loop {
            let (reason, pause) = match self.attempt() {
                Ended::Stop => break,
                Ended::Absent(reason) => {
                    let reason = format!("not registered: {reason}; trying again for as long as it takes");
                    (reason, self.backoff.pause(random()))
                }
                Ended::Refused(reason) => {
                    let longest = backoff::LONGEST;
                    let reason = format!("the agent refuses this router: {reason}; asked again every {longest:?}");
                    (reason, backoff::spread(longest, random()))
                }
            };
            self.tell(reason);
            let until = Instant::now() + pause;
            loop {
                match self.signals.wait(None, Some(until)) {
                    Woken::Stop => return,
                    Woken::Reopen => self.log.reopen(),
                    Woken::Readable | Woken::Deadline => break,
                }
            }
        }
    }

    /// Once for each absence; a refusal once for each reason.
    fn tell(&mut self, reason: String) {
        let absent = |told: &str| told.starts_with("not registered");
        let known = self.told.as_ref().is_some_and(|told| *told == reason || absent(told) && absent(&reason));
        if !known {
            self.log.error(&reason);
            self.told = Some(reason);
        }
    }

    fn attempt(&mut self) -> Ended {
        let connection = match self.connect() {
            Ok(connection) => connection,
            Err(reason) => return Ended::Absent(reason),
        };
        let mut answer = Vec::new();
        let mut deadline = Some(Instant::now() + ANSWER);
        loop {
            match self.signals.wait(Some(connection.as_fd()), deadline) {
                Woken::Stop => return Ended::Stop,
                Woken::Reopen => self.log.reopen(),
                Woken::Deadline => return Ended::Absent("the agent does not answer".to_owned()),
                Woken::Readable => {
                    let mut bytes = [0; 512];
                    let ended = match rustix::io::read(&connection, &mut bytes) {
                        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
                        Ok(0) | Err(_) => true,
                        Ok(read) => {
                            let room = MAX_ANSWER.saturating_sub(answer.len());
                            answer.extend_from_slice(&bytes[..read.min(room)]);
                            false
                        }
                    };
                    if deadline.is_none() {
                        if ended {
                            return Ended::Absent("the agent has ended".to_owned());
                        }
                        continue;
                    }
                    match request::answer(&answer, ended) {
                        Answer::Partial => {}
                        Answer::Registered => {
                            deadline = None;
                            answer = Vec::new();
                            self.registered();
                        }
                        Answer::Busy(reason) => return Ended::Absent(format!("the agent is busy: {reason}")),
                        Answer::Refused(reason) => return Ended::Refused(reason),
                        Answer::Strange => return Ended::Absent("who answers is not the agent".to_owned()),
                    }
                }
            }
        }
    }

    fn registered(&mut self) {
        self.log.info(if self.again { "registered with ha-agent again" } else { "registered with ha-agent" });
        self.again = true;
        self.told = None;
        self.backoff.reset();
    }

    /// A connection on which the request is under way. Never waits: a full backlog is an absent agent.
    fn connect(&self) -> Result<OwnedFd, String> {
        // The configuration and the socket are root's.
        self.rights.as_root(|| self.connect_as_root()).map_err(|error| format!("cannot act as root: {error}"))?
    }

    fn connect_as_root(&self) -> Result<OwnedFd, String> {
        let path = config::read(self.options.config.as_deref())?.socket;
        let failed = |error: rustix::io::Errno| format!("{}: {error}", path.display());
        let address = SocketAddrUnix::new(&path).map_err(failed)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let request = request::registration(&self.options.monitor, pid, self.options.daemon);
        match send(&socket, request.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(sent) if sent == request.len() => Ok(socket),
            Ok(_) => Err(format!("{}: takes no whole request", path.display())),
            Err(error) => Err(failed(error)),
        }
    }
}

fn random() -> u32 {
    let hash = RandomState::new().build_hasher().finish();
    u32::try_from(hash >> 32).unwrap_or_default()
}
