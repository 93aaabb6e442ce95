use std::io::Read;
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe, pipe_with};

use super::*;

/// Waits until something observable holds, with an end.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        thread::sleep(Duration::from_millis(2));
    }
}

fn line(number: usize) -> Box<str> {
    format!("line {number} {}\n", "x".repeat(100)).into()
}

#[test]
fn lines_that_were_said_before_the_start_come_first_and_the_end_waits_for_all() {
    let (mut reader, out) = io::pipe().unwrap();
    let diagnostics = Diagnostics::to(out.into());
    for number in 0..100 {
        diagnostics.take(line(number));
        if number == 50 {
            diagnostics.start();
        }
    }
    diagnostics.flush();
    let mut read = vec![0; 64 * 1024];
    let count = reader.read(&mut read).unwrap();
    let expected: String = (0..100).map(line).collect();
    assert_eq!(String::from_utf8_lossy(&read[..count]), expected);
    assert_eq!(diagnostics.shared.lost.get(), 0);
    assert_eq!(diagnostics.degraded(), None);
}

#[test]
fn a_reader_that_stands_still_delays_nobody_and_what_was_lost_is_told() {
    for flags in [PipeFlags::empty(), PipeFlags::NONBLOCK] {
        let (reader, out) = pipe_with(flags).unwrap();
        let diagnostics = Diagnostics::to(out);
        diagnostics.start();
        let begun = Instant::now();
        for number in 0..20_000 {
            diagnostics.take(line(number));
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let lost = diagnostics.shared.lost.get();
        assert!(lost > 10_000, "{lost}");
        let degraded = diagnostics.degraded().unwrap();
        assert!(degraded.reason.contains(&lost.to_string()), "{degraded:?}");
        let begun = Instant::now();
        diagnostics.flush();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());

        // The reader goes on: what waited comes, then how much was lost, then what is said now.
        let (told, texts) = std::sync::mpsc::channel();
        let mut reader = std::fs::File::from(reader);
        let reading = thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match reader.read(&mut bytes) {
                    Ok(0) => break,
                    Ok(count) => {
                        let _ = told.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        until("the queue is empty", || {
            diagnostics.take("now\n".into());
            diagnostics.degraded().is_none()
        });
        drop(diagnostics);
        reading.join().unwrap();
        let text: String = texts.iter().collect();
        assert!(text.contains("lines of diagnostics were lost here\n"), "{text}");
        assert!(text.ends_with("now\n"));
    }
}

#[test]
fn a_line_that_does_not_get_away_is_named() {
    let (reader, out) = pipe().unwrap();
    let diagnostics = Diagnostics::to(out);
    diagnostics.start();
    // More than a pipe takes, and less than would fill the queue.
    for number in 0..900 {
        diagnostics.take(line(number));
    }
    assert_eq!(diagnostics.degraded(), None);
    until("it is named", || diagnostics.degraded().is_some());
    assert_eq!(diagnostics.shared.lost.get(), 0);
    drop(reader);
}

#[test]
fn what_cannot_be_written_is_counted() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    for (out, words) in [(OwnedFd::from(full), "No space left"), (closed, "Broken pipe")] {
        let diagnostics = Diagnostics::to(out);
        diagnostics.start();
        for number in 0..10 {
            diagnostics.take(line(number));
        }
        diagnostics.flush();
        assert_eq!(diagnostics.shared.lost.get(), 10);
        let degraded = diagnostics.degraded().unwrap();
        assert!(degraded.channel == "diagnostics" && degraded.reason.contains(words), "{degraded:?}");
    }
}
