use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::Instant;

use rustix::pipe::PipeFlags;

use super::*;
use crate::telemetry::event::Severity;

fn record(line: &str) -> Arc<Record> {
    Arc::new(Record {
        line: line.into(),
        name: "agent.stopped",
        severity: Severity::Notice,
        routers: Box::default(),
        summary: Some("in words".into()),
    })
}

/// Waits until something observable holds, with an end.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        thread::sleep(Duration::from_millis(2));
    }
}

fn end(outlet: Outlet) {
    outlet.finish().blocking_recv().expect("the thread ends");
}

#[test]
fn a_file_is_created_0640_and_opened_anew_after_it_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.jsonl");
    let moved = dir.path().join("e.jsonl.1");
    let outlet = Outlet::start(&config::Sink::File(path.clone())).unwrap();
    assert!(outlet.take(&record("one")));
    until("first line", || std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n"));
    // The umask may take more away, never less.
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    std::fs::rename(&path, &moved).unwrap();
    outlet.health().reopen();
    assert!(outlet.take(&record("two")));
    end(outlet);
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn a_moved_file_is_noticed_without_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.jsonl");
    let outlet = Outlet::start(&config::Sink::File(path.clone())).unwrap();
    outlet.take(&record("one"));
    until("first line", || path.exists());
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    until("a new file", || {
        outlet.take(&record("more"));
        path.exists()
    });
    end(outlet);
}

#[test]
fn a_failing_sink_keeps_its_line_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("later");
    let path = folder.join("e.jsonl");
    let outlet = Outlet::start(&config::Sink::File(path.clone())).unwrap();
    outlet.take(&record("one"));
    until("trouble", || outlet.trouble().is_some());
    std::fs::create_dir(&folder).unwrap();
    until("recovery", || outlet.trouble().is_none());
    end(outlet);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
}

#[test]
fn no_link_is_followed_and_no_fifo_waited_in() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    std::fs::write(&target, "as it was\n").unwrap();
    let path = dir.path().join("e.jsonl");
    let outlet = Outlet::start(&config::Sink::File(path.clone())).unwrap();
    let in_the_way: [&dyn Fn(); 3] = [
        &|| std::os::unix::fs::symlink(&target, &path).unwrap(),
        // The same file under its name is no reason to follow the link.
        &|| std::os::unix::fs::symlink(dir.path().join("moved"), &path).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap(),
    ];
    for put in in_the_way {
        put();
        outlet.health().reopen();
        outlet.take(&record("line"));
        until("trouble", || outlet.trouble().is_some_and(|trouble| trouble.contains("no regular file")));
        std::fs::remove_file(&path).unwrap();
        until("recovery", || outlet.trouble().is_none());
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("moved")).unwrap(), "line\n");
    }
    end(outlet);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "as it was\n");
}

#[test]
fn a_link_in_place_of_the_open_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("e.jsonl"), dir.path().join("moved"));
    let outlet = Outlet::start(&config::Sink::File(path.clone())).unwrap();
    outlet.take(&record("one"));
    until("first line", || path.exists());
    std::fs::rename(&path, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &path).unwrap();
    until("trouble", || {
        outlet.take(&record("more"));
        outlet.trouble().is_some()
    });
    std::fs::remove_file(&path).unwrap();
    until("recovery", || outlet.trouble().is_none());
    end(outlet);
}

struct Gate {
    open: Receiver<()>,
    written: mpsc::Sender<String>,
}

impl Sink for Gate {
    fn write(&mut self, record: &Record, done: &mut usize) -> io::Result<()> {
        let _ = self.open.recv();
        *done = record.line.len();
        let _ = self.written.send(record.line.to_string());
        Ok(())
    }
}

#[test]
fn a_sink_that_stands_still_loses_only_what_exceeds_its_queue() {
    let (open, gate) = mpsc::channel();
    let (written, lines) = mpsc::channel();
    let outlet = Outlet::spawn("gate", Role::EventsSink, Box::new(Gate { open: gate, written })).unwrap();
    // One line is in the thread's hands, the queue holds LINES more.
    assert!(outlet.take(&record("first")));
    until("the thread to take it", || {
        outlet.lines.try_send(record("probe")).is_ok() && {
            outlet.health.waiting.fetch_add(1, Ordering::Relaxed);
            true
        }
    });
    let mut taken = 2;
    while outlet.take(&record("more")) {
        taken += 1;
        assert!(taken <= LINES + 1, "the queue is bounded");
    }
    assert_eq!(outlet.lost(), 1);
    assert_eq!(outlet.trouble().as_deref(), Some("its reader is too slow"));
    drop(open);
    end(outlet);
    assert_eq!(lines.iter().count(), taken);
}

#[test]
fn a_cut_line_goes_on_where_it_stopped() {
    let mut out = Vec::new();
    let mut done = 0;
    let mut calls = 0;
    while let Err(error) = write_rest("0123456789", &mut done, |bytes| {
        calls += 1;
        if calls % 2 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(4);
        out.extend_from_slice(&bytes[..count]);
        Ok(count)
    }) {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    assert_eq!(out, b"0123456789\n");
}

#[test]
fn journald_gets_words_priority_and_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let outlet = Outlet::spawn("journald", Role::EventsSink, Box::new(journald::Journald::new(&path))).unwrap();
    let id: crate::core::model::RouterId = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d".parse().unwrap();
    let mut routed = Arc::into_inner(record("{}")).unwrap();
    routed.routers = Box::new([id]);
    outlet.take(&Arc::new(routed));
    let mut buffer = [0; 1024];
    let length = server.recv(&mut buffer).expect("a datagram");
    assert_eq!(
        std::str::from_utf8(&buffer[..length]).unwrap(),
        "MESSAGE=in words\nPRIORITY=5\nSYSLOG_IDENTIFIER=ha-agent\nHA_EVENT=agent.stopped\n\
         HA_ROUTER_ID=2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d\nHA_JSON={}\n"
    );
    // Too large for a datagram: its words go alone.
    outlet.take(&record(&"x".repeat(4 << 20)));
    let length = server.recv(&mut buffer).expect("a datagram");
    assert!(!buffer[..length].windows(7).any(|window| window == b"HA_JSON"));
    end(outlet);
}

#[test]
fn stdout_without_a_reader_is_trouble_and_not_the_end() {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let outlet = Outlet::spawn("stdout", Role::EventsSink, Box::new(stdout::Stdout::of(writer))).unwrap();
    drop(reader);
    // A child that another test starts in this process has it, too, until it executes its program.
    until("trouble", || {
        assert!(outlet.take(&record("one")));
        outlet.trouble().is_some()
    });
    assert!(outlet.take(&record("two")));
    end(outlet);
}

#[test]
fn a_full_pipe_is_waited_for_and_loses_nothing() {
    use std::io::Read;
    for flags in [PipeFlags::empty(), PipeFlags::NONBLOCK] {
        let (reader, writer) = rustix::pipe::pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
        let outlet = Outlet::spawn("stdout", Role::EventsSink, Box::new(stdout::Stdout::of(writer))).unwrap();
        let line = "x".repeat(1023);
        // Four times what a pipe holds: the sink stands still until someone reads.
        for _ in 0..256 {
            assert!(outlet.take(&record(&line)));
        }
        until("a full pipe", || rustix::io::ioctl_fionread(&reader).is_ok_and(|waiting| waiting == 65_536));
        assert_eq!(outlet.trouble(), None);
        let ended = outlet.finish();
        let mut text = Vec::new();
        let mut reader = std::fs::File::from(reader);
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        ended.blocking_recv().expect("the thread ends");
        assert_eq!(text.len(), 256 * 1024);
        assert!(text.chunks(1024).all(|chunk| chunk == format!("{line}\n").as_bytes()));
    }
}
