use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::again::FRESH;
use super::*;

fn by_uid() -> Looker {
    Looker { by_pidfd: false, ..Looker::default() }
}

/// A Python program that connects, says so, and does what it is told.
struct Client {
    child: Child,
    stream: UnixStream,
    peer: Peer,
    _folder: tempfile::TempDir,
}

impl Client {
    fn start(before: &[&str], code: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("bound");
        for (path, mode) in [(folder.path(), 0o755), (&path, 0o666)] {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("opened");
        }
        let dial = "import socket,sys,os\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n";
        let words = [before, &["/usr/bin/python3", "-c"]].concat();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg(format!("{dial}{code}"))
            .arg(&path)
            .arg("--token=secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let (stream, _) = listener.accept().expect("it connects");
        let peer = Peer::of(stream.as_fd()).expect("the kernel tells");
        Self { child, stream, peer, _folder: folder }
    }

    fn look(&self, by: &mut Looker) -> Naming {
        by.look(self.stream.as_fd(), self.peer)
    }

    fn seen(&self, by: &mut Looker) -> Arc<Process> {
        match self.look(by) {
            Naming::Named(process) => process,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a line of its.
    fn says(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("readable");
        line
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("ended");
    }
}

fn ticks_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).expect("after boot") * TICKS + u64::try_from(now.tv_nsec).expect("positive") / 10_000_000
}

const WAIT: &str = "sys.stdin.read()\n";

#[test]
fn a_peer_is_named_with_nothing_of_its_command_line() {
    let before = ticks_now();
    let client = Client::start(&[], WAIT);
    for by in [&mut Looker::default(), &mut by_uid()] {
        let process = client.seen(by);
        assert_eq!(client.peer.pid, client.child.id().cast_signed());
        assert_eq!(&*process.command, "python3");
        assert!((before..=ticks_now()).contains(&process.start_ticks), "{process:?}");
        let started: jiff::Timestamp = process.started.parse().expect("RFC 3339");
        let age = jiff::Timestamp::now().duration_since(started);
        assert!((0..60).contains(&age.as_secs()), "{process:?}");
        let own = std::fs::read("/proc/self/cgroup").expect("readable");
        assert_eq!(process.cgroup, proc::cgroup(&own), "a child is in its parent's");
        assert!(!format!("{process:?}").contains("secret"), "{process:?}");
    }
    client.end();
}

#[test]
fn one_that_renames_itself_or_executes_another_program_is_named_as_it_is_at_the_look() {
    let rename = "open('/proc/self/comm','w').write('a) \\x1b[2J')\nprint(flush=True)\nsys.stdin.readline()\n\
        os.set_inheritable(s.fileno(), True)\nos.execv('/bin/sh', ['not-a-shell', '-c', 'echo; read x'])\n";
    let mut client = Client::start(&[], rename);
    client.says();
    let renamed = client.seen(&mut Looker::default());
    assert_eq!(&*renamed.command, "a) \\x1b[2J");
    client.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it reads");
    client.says();
    let other = client.seen(&mut Looker::default());
    assert_eq!(&*other.command, "sh");
    let shell = std::fs::canonicalize("/bin/sh").expect("there");
    assert_eq!(other.executable.as_deref(), shell.to_str());
    assert_eq!(other.start_ticks, renamed.start_ticks, "it is the same process");
    client.end();
}

/// The same over one looker, which keeps the process: nothing that it knew before is told.
#[test]
fn one_that_comes_again_and_again_is_named_as_it_is() {
    let code = "for line in iter(sys.stdin.readline, 'execute\\n'):\n\
        \x20open('/proc/self/comm','w').write(line.strip()); print(flush=True)\n\
        os.set_inheritable(s.fileno(), True)\n\
        os.execv('/bin/sh', ['sh', '-c', 'printf c > /proc/$$/comm; echo; read x'])\n";
    let mut client = Client::start(&[], code);
    let mut looker = Looker::default();
    let first = client.seen(&mut looker);
    assert!(Arc::ptr_eq(&client.seen(&mut looker), &client.seen(&mut looker)), "kept: nothing is made anew");
    for name in ["a", "b", "c"] {
        client.child.stdin.as_mut().expect("piped").write_all(format!("{name}\n").as_bytes()).expect("it reads");
        client.says();
        let process = client.seen(&mut looker);
        assert_eq!((&*process.command, process.start_ticks), (name, first.start_ticks));
    }
    // Another program of the same name, after more than what is taken to be as it was.
    let python = client.seen(&mut looker).executable.clone();
    client.child.stdin.as_mut().expect("piped").write_all(b"execute\n").expect("it reads");
    client.says();
    std::thread::sleep(FRESH * 2);
    let process = client.seen(&mut looker);
    assert_eq!(&*process.command, "c");
    assert_ne!(process.executable, python);
    // Gone: what is known of it is not told of whoever comes with its number.
    drop(client.child.stdin.take());
    client.child.wait().expect("ended");
    assert_eq!(client.look(&mut looker), Naming::Unnamed { unnamed: Unnamed::Ended });
}

#[test]
fn one_that_ended_and_waits_for_its_parent_is_named_and_then_no_more() {
    let mut client = Client::start(&[], "");
    // EOF: all its descriptors are closed. Only when it can be waited for has it ended.
    let pid = rustix::process::Pid::from_child(&client.child);
    let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).expect("it ends");
    let zombie = client.seen(&mut Looker::default());
    assert_eq!(&*zombie.command, "python3");
    client.child.wait().expect("ended");
    for by in [&mut Looker::default(), &mut by_uid()] {
        assert_eq!(client.look(by), Naming::Unnamed { unnamed: Unnamed::Ended });
    }
}

#[test]
fn whoever_got_the_number_afterwards_is_not_taken_for_it() {
    let mut client = Client::start(&[], "");
    client.child.wait().expect("ended");
    // As if this process had been given its number.
    client.peer.pid = std::process::id().cast_signed();
    assert_eq!(client.look(&mut Looker::default()), Naming::Unnamed { unnamed: Unnamed::Ended });
    // Without a pidfd, one of another user is not taken for it either.
    client.peer.uid = client.peer.uid.wrapping_add(1);
    assert_eq!(client.look(&mut by_uid()), Naming::Unnamed { unnamed: Unnamed::Ended });
}

#[test]
fn a_number_that_means_nothing_here_is_told_as_such() {
    let (stream, _other) = UnixStream::pair().expect("a pair");
    let peer = Peer { uid: 42, gid: 42, pid: 0 };
    let told = Looker::default().look(stream.as_fd(), peer);
    assert_eq!(told, Naming::Unnamed { unnamed: Unnamed::OtherPidNamespace });
}

#[test]
fn few_descriptors_stay_open_and_all_can_be_let_go() {
    let open = || std::fs::read_dir("/proc/thread-self/fd").expect("readable").count();
    let apart = std::thread::spawn(move || {
        // SAFETY: only this thread's table of descriptors becomes its own.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let client = Client::start(&[], WAIT);
        let before = open();
        let (mut by_pidfd, mut by_uid) = (Looker::default(), by_uid());
        for _ in 0..100 {
            client.seen(&mut by_pidfd);
            client.seen(&mut by_uid);
        }
        assert_eq!(open(), before + 6, "one process is kept by each");
        assert!(by_pidfd.let_go() && by_uid.let_go());
        assert_eq!(open(), before);
        assert!(!by_pidfd.let_go(), "nothing is left to let go");
        client.end();
    });
    apart.join().expect("no panic");
}

#[test]
fn the_name_is_that_of_the_process_whichever_thread_connects() {
    let threads = "import threading\ndef other():\n open('/proc/thread-self/comm','w').write('other')\n\
        \x20t=socket.socket(socket.AF_UNIX); t.connect(sys.argv[1]); print(flush=True); sys.stdin.read()\n\
        t=threading.Thread(target=other); t.start(); t.join()\n";
    // The first connection is the main thread's; here the second one counts.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bound");
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", &format!("import socket,sys\n{threads}")])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let (stream, _) = listener.accept().expect("it connects");
    let peer = Peer::of(stream.as_fd()).expect("told");
    assert_eq!(peer.pid, child.id().cast_signed());
    let Naming::Named(process) = Looker::default().look(stream.as_fd(), peer) else { panic!("not named") };
    assert_eq!(&*process.command, "python3");
    drop(child.stdin.take());
    child.wait().expect("ended");
}

#[test]
#[ignore = "needs root"]
fn privileged_one_in_a_pid_namespace_below_is_named_with_its_number_here() {
    let client = Client::start(&["unshare", "-pf"], "print(os.getpid(), flush=True)\nsys.stdin.read()\n");
    let process = client.seen(&mut Looker::default());
    assert_eq!(&*process.command, "python3");
    assert_ne!(client.peer.pid, client.child.id().cast_signed(), "unshare's child");
    assert!(client.peer.pid > 1);
    client.end();
}

#[test]
#[ignore = "needs root"]
fn privileged_with_hidepid_only_group_root_still_sees() {
    // Another user's process, looked at without capabilities, through a /proc of its own.
    let client = Client::start(&["setpriv", "--reuid=4001", "--regid=4001", "--clear-groups"], WAIT);
    let look = |gid: u32| {
        let (stream, peer) = (client.stream.try_clone().expect("cloned"), client.peer);
        let apart = std::thread::spawn(move || {
            // SAFETY: no memory is touched; the thread is thrown away.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS) }, 0);
            let status = |words: &[&str]| {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]);
                assert!(command.status().expect("started").success(), "{words:?}");
            };
            status(&["mount", "--make-rprivate", "/"]);
            status(&["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"]);
            let gid = rustix::process::Gid::from_raw(gid);
            rustix::thread::set_thread_groups(&[]).expect("root may");
            rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root may");
            let none = rustix::thread::CapabilitySet::empty();
            let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, sets).expect("fewer");
            Looker::default().look(stream.as_fd(), peer)
        });
        apart.join().expect("no panic")
    };
    // As under the unit's ProtectProc=invisible: root's group is the one that hidepid lets through.
    let Naming::Named(process) = look(0) else { panic!("{:?}", look(0)) };
    assert_eq!((&*process.command, &process.executable), ("python3", &None));
    assert_eq!(look(4002), Naming::Unnamed { unnamed: Unnamed::NotReadable });
    client.end();
}
