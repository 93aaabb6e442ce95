use std::os::unix::process::ExitStatusExt;

use super::*;

#[test]
fn a_noted_group_is_killed_in_the_end() {
    let guardian = Guardian::start().unwrap();
    let mut child = guardian
        .make(|notes| {
            let child = Command::new("sleep").arg("60").process_group(0).spawn()?;
            notes.note(Trace::Group(child.id()));
            Ok(child)
        })
        .unwrap();
    guardian.clean_up();
    // SIGKILL: it did not come to its own end.
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}
