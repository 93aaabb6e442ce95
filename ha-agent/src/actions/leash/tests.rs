use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use super::*;

fn sleeper() -> (Child, Pid) {
    let child = Command::new("/bin/sh").args(["-c", "sleep 1000 & wait"]).process_group(0).spawn().expect("it starts");
    let group = Pid::from_child(&child);
    (child, group)
}

fn killed() -> ExitStatus {
    ExitStatus::from_raw(9)
}

#[test]
fn what_is_held_ends_with_it_and_what_is_freed_goes_on() {
    let leash = Leash::default();
    let ((mut held, first), (mut freed, second)) = (sleeper(), sleeper());
    leash.ready();
    leash.hold(first);
    leash.hold(second);
    leash.free(second);
    // As the end of the agent's process: the last handle to the pipe is closed.
    drop(leash);
    assert_eq!(held.wait().expect("waited for"), killed());
    assert_eq!(freed.try_wait().expect("looked at"), None);
    rustix::process::kill_process_group(second, rustix::process::Signal::KILL).expect("it runs");
    assert_eq!(freed.wait().expect("waited for"), killed());
}

#[test]
fn one_that_was_killed_is_started_again_for_the_next() {
    let leash = Leash::default();
    let ((mut lost, first), (mut held, second)) = (sleeper(), sleeper());
    leash.ready();
    leash.hold(first);
    {
        let mut shell = leash.shell.lock().expect("a lock");
        let shell = shell.as_mut().expect("it runs");
        shell.child.kill().expect("killed");
        shell.child.wait().expect("waited for");
    }
    leash.ready();
    leash.hold(second);
    drop(leash);
    assert_eq!(held.wait().expect("waited for"), killed());
    assert_eq!(lost.try_wait().expect("looked at"), None);
    rustix::process::kill_process_group(first, rustix::process::Signal::KILL).expect("it runs");
    assert_eq!(lost.wait().expect("waited for"), killed());
}
