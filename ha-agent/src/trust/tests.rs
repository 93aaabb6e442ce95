use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::{self, Accounts};

const ROUTER: &str = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";
const OTHER: &str = "7d1e1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";

/// A folder, and a configuration that lets in all that can be let in.
fn open() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, mode) in [("token", 0o640), ("hook", 0o755), ("made.fifo", 0o600)] {
        std::fs::write(at(name), "s3cret").unwrap();
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let text = format!(
        "runtime_dir = {0:?}\nstate_dir = {1:?}\n[intake]\nallow_users = [\"4021\", \"4022\", \"0\"]\n\
         socket_group = \"4023\"\nsocket_mode = \"0620\"\ntoken_file = {2:?}\nnotify_fifos = [{3:?}, {4:?}]\n\
         [[intake.grant]]\nuser = \"4022\"\nrouters = [\"{ROUTER}\"]\n\
         [[intake.grant]]\nuser = \"4024\"\nrouters = [\"{ROUTER}\", \"{OTHER}\"]\n\
         [[intake.grant]]\nfifo = {4:?}\nrouters = [\"{OTHER}\"]\n\
         [actions]\non_primary = [{5:?}, \"x\"]\non_fault = [{6:?}]\n",
        at("run"),
        at("state"),
        at("token"),
        at("made.fifo"),
        at("later.fifo"),
        at("hook"),
        at("no-hook"),
    );
    let config = config::parse(&text, &at("c.toml"), &Accounts::default()).unwrap();
    (folder, config)
}

#[test]
fn who_is_let_in_is_told_in_words() {
    let (folder, config) = open();
    let trust = Trust::of(&config, Some(&folder.path().join("c.toml")));
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        trust.reporters(),
        [
            format!(
                "the agent's own user; the socket has mode 0620, group 4023, and is used with the token in {}",
                at("token")
            ),
            "uid 4021: every router".to_owned(),
            format!("uid 4022: router {ROUTER}"),
            "uid 4024: 2 routers".to_owned(),
        ]
    );
    assert_eq!(
        trust.fifo_lines(),
        [
            format!("{}: uid {uid}, gid {gid}, mode 0600: every router", at("made.fifo")),
            format!("{}: not there yet, will be the agent's own, mode 0600: router {OTHER}", at("later.fifo")),
        ]
    );
    assert_eq!(
        trust.hook_lines(),
        [
            format!("on_primary {}: uid {uid}, gid {gid}, mode 0755", at("hook")),
            format!("on_fault {}: does not exist", at("no-hook")),
        ]
    );
    let closed = Trust::of(&Config::default(), None);
    assert!(closed.users.is_empty() && closed.fifos.is_empty() && closed.hooks.is_empty(), "{closed:?}");
    assert!(closed.reporters()[0].ends_with("without a token"), "{closed:?}");
}

#[test]
fn who_is_let_in_is_told_to_programs() {
    let (folder, config) = open();
    let trust = serde_json::to_value(Trust::of(&config, Some(&folder.path().join("c.toml")))).unwrap();
    assert_eq!(trust["users"][1], serde_json::json!({"uid": 4022, "routers": [ROUTER]}));
    assert_eq!((&trust["socket"]["mode"], &trust["socket"]["gid"]), (&"0620".into(), &4023.into()));
    assert_eq!(trust["fifos"][0]["file"]["mode"], "0600");
    assert!(trust["fifos"][1]["file"].is_null());
    assert_eq!(trust["hooks"][0]["on"], "on_primary");
    assert!(!trust.to_string().contains("s3cret"), "where the token is, not what it is");
}

#[test]
fn what_lies_open_is_told_as_the_guard_judges_it() {
    let (folder, config) = open();
    let path = folder.path().join("c.toml");
    let openings = |when| openings(&config, Some(&path), when);
    // What is not there lets nobody in; it is told by its key.
    assert_eq!(openings(When::Start), [""; 0]);
    let program = folder.path().join("no-hook").display().to_string();
    let expected = format!("actions.on_fault: {program}: does not exist: put a program there, or name another one");
    assert_eq!(missing(&config), [expected]);
    std::fs::set_permissions(folder.path().join("hook"), std::fs::Permissions::from_mode(0o775)).unwrap();
    let open = openings(When::Start);
    assert!(open.len() == 1 && open[0].contains("chmod 0755"), "{open:?}");
    let trust = Trust::of(&config, Some(&path));
    assert_eq!((trust.openings, trust.hidden), (open, Vec::new()));
    // What was bound must be there still.
    assert!(openings(When::Reload(&config)).iter().any(|opening| opening.contains("was removed")));
}
