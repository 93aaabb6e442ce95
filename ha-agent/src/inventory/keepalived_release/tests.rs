use std::fs;

use super::*;

const TEXT: &str = "Keepalived v2.3.3 (03/30,2025), git commit v2.3.3\0";

/// A program of zeros that holds this text at this place.
fn program(at: usize, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; at];
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend(vec![0; 100]);
    bytes
}

fn said(bytes: &[u8]) -> Option<Release> {
    search(bytes, MAX_BYTES).expect("it can be read")
}

#[test]
fn it_is_found_wherever_it_stands() {
    for at in (CHUNK - TEXT.len() - 1..CHUNK + 2).chain([0, 1, 5 * CHUNK - 3]) {
        assert_eq!(said(&program(at, TEXT)), Some(Release::new(2, 3, 3)), "at {at}");
    }
}

#[test]
fn only_the_whole_text_is_one() {
    for text in [
        "",
        "Keepalived v",
        "Keepalived v2.3.3",
        "Keepalived v2.3.3(",
        "Keepalived v2.3 (03/30,2025)",
        "Keepalived v%s (%s)",
        "Keepalived v2.3.3-dev (03/30,2025)",
        "keepalived v2.3.3 (03/30,2025)",
    ] {
        assert_eq!(said(&program(3, text)), None, "{text}");
    }
    assert_eq!(said(&program(3, &format!("Keepalived v%s (%s)\0{TEXT}"))), Some(Release::new(2, 3, 3)));
}

#[test]
fn there_is_an_end_to_what_is_read() {
    let bytes = program(3 * CHUNK, TEXT);
    assert_eq!(search(&*bytes, 3 * CHUNK).expect("read"), None);
    assert_eq!(search(&*bytes, 3 * CHUNK + 64).expect("read"), Some(Release::new(2, 3, 3)));
    assert_eq!(search(io::repeat(b'K'), 4 * CHUNK).expect("read"), None);
}

#[test]
fn what_cannot_be_read_is_assumed_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keepalived");
    let find = || find(Some(&path));
    let why = |why: &str| Installed { release: Release::new(2, 2, 7), origin: Origin::Assumed(why.to_owned()) };
    let shown = path.display();
    assert_eq!(find(), why(&format!("cannot read {shown}: No such file or directory (os error 2)")));
    fs::create_dir(&path).expect("made");
    assert_eq!(find(), why(&format!("cannot read {shown}: it is no regular file")));
    fs::remove_dir(&path).expect("removed");
    fs::write(&path, "#!/bin/sh\n").expect("written");
    assert_eq!(find(), why(&format!("{shown} does not say which it is")));
    assert_eq!(find().to_string(), format!("2.2.7 is assumed: {shown} does not say which it is"));
    fs::write(&path, program(9, TEXT)).expect("written");
    let found = find();
    assert_eq!(found, Installed { release: Release::new(2, 3, 3), origin: Origin::Program(path.clone()) });
    assert_eq!(found.to_string(), format!("2.3.3, read from {shown}"));
}
