use super::*;
use crate::advert_rules::{Authentication, Mode as AdvertMode, Release};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nneutron:x:4021:4021::/var/lib/neutron:/bin/false\n";
const GROUP: &str = "root:x:0:\nneutron:x:4022:\n";

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("/etc/t.toml"), &Accounts::from_text(PASSWD, GROUP))
}

fn complaint(text: &str) -> String {
    match read(text) {
        Ok(_) => "no complaint".to_owned(),
        Err(error) => error.to_string(),
    }
}

const SAMPLE: &str = r#"
mode = "enforce"
runtime_dir = "/run/ha-agent"
state_dir = "/var/lib/ha-agent"

[intake]
socket = "keepalived-state-change"
socket_mode = "0660"
socket_group = "neutron"
allow_users = ["neutron", 0, "%neutron", "%4711"]
max_connections = 256
backlog = 4096
header_timeout = "2s"
max_requests_per_second = 1000
notify_fifos = ["notify.fifo", "/run/other.fifo"]

[neutron]
state_path = "/var/lib/neutron"
ha_confs_path = "/var/lib/neutron/ha_confs"
release = 29

[[router]]
id = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d"
netns = "qrouter-2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d"
interface = "ha-1b2c3d4e-5f"
vip = "169.254.0.1/24"
vip_interface = "vrrp.1"
vrid = 1
advert_interval = "2s"
fifo_instance = "VR_1"
unicast = false
addresses = ["169.254.0.1"]

[corroboration]
settle = "250ms"
report_grace = "advert_interval"
heal_unreported = true

[delivery]
protocol = "neutron"
socket = "/var/lib/neutron/keepalived-state-change"
batch_interval = "200ms"
l3_agent_hold = "2s"
max_in_flight = 4
retry_max = "30s"
reassert_interval = "5m"

[actions]
ipv6 = false
hook_timeout = "5s"
max_hooks = 4

[events]
sinks = ["stdout", "journald", "file:/var/log/ha-agent/events.jsonl"]
[admin]
socket = "admin.sock"
listen = "127.0.0.1:9477"
"#;

#[test]
fn the_sample_parses_and_its_defaults_are_the_defaults() {
    let config = read(SAMPLE).expect("the sample is right");
    let router = &config.routers[0];
    assert_eq!(router.netns.to_string(), "qrouter-2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d");
    assert_eq!(router.vip.to_string(), "169.254.0.1");
    assert_eq!((router.prefix, router.vrid), (24, 1));
    assert_eq!(router.vip_interface, "vrrp.1");
    assert_eq!(config.intake.allow_uids, [4021, 0]);
    assert_eq!(config.intake.allow_gids, [4022, 4711]);
    assert_eq!(config.intake.socket_gid, Some(4022));
    assert_eq!(config.intake.socket_mode, 0o660);
    assert_eq!(config.intake.notify_fifos, [Path::new("/run/ha-agent/notify.fifo"), Path::new("/run/other.fifo")]);
    assert_eq!(config.corroboration.report_grace, None);
    assert_eq!(config.sinks.len(), 3);
    assert_eq!(config.admin.socket, Path::new("/run/ha-agent/admin.sock"));

    // Everything the sample writes out beside these is what an empty file means.
    let mut bare = config;
    bare.routers.clear();
    bare.intake.allow_uids = vec![4021];
    bare.intake.allow_gids.clear();
    bare.intake.socket_gid = None;
    bare.intake.notify_fifos.clear();
    bare.sinks = vec![Sink::Stdout];
    bare.admin.listen = None;
    assert_eq!(read("").expect("empty is right"), bare);
    bare.intake.allow_uids.clear();
    assert_eq!(Config::default(), bare);
}

#[test]
fn every_key_of_the_table_is_read_into_the_configuration() {
    // A key that `keys` has and `validate` forgets would change nothing.
    let base = read("").unwrap();
    let other = "[intake]\ntoken_file = \"/nonexistent\"\n";
    assert!(complaint(other).contains("cannot read /nonexistent"));
    let cases = [
        "mode = \"observe\"",
        "runtime_dir = \"/run/x\"",
        "state_dir = \"/x\"",
        "[intake]\nsocket = \"x\"",
        "[intake]\nsocket_mode = \"0600\"",
        "[intake]\nsocket_group = 7",
        "[intake]\nallow_users = []",
        "[intake]\nmax_connections = 1",
        "[intake]\nbacklog = 1",
        "[intake]\nheader_timeout = \"1s\"",
        "[intake]\nmax_requests_per_second = 1",
        "[intake]\nnotify_fifos = [\"x\"]",
        "[neutron]\nstate_path = \"/x\"",
        "[neutron]\nha_confs_path = \"x\"",
        "[neutron]\nl3_agent_ha_confs_path = \"/x\"",
        "[neutron]\nrelease = 16",
        "[keepalived]\nconfigs = []",
        "[keepalived]\nconfig_id = \"an-id-of-no-host\"",
        "[keepalived]\nnetns = \"blue\"",
        "[keepalived]\nrelease = \"2.3.3\"",
        "[keepalived]\nprogram = \"/opt/keepalived\"",
        "[corroboration]\nsettle = \"1s\"",
        "[corroboration]\nreport_grace = \"1s\"",
        "[corroboration]\nheal_unreported = false",
        "[delivery]\nprotocol = \"json\"",
        "[delivery]\nsocket = \"/x\"",
        "[delivery]\nbatch_interval = \"1s\"",
        "[delivery]\nl3_agent_hold = \"1s\"",
        "[delivery]\nmax_in_flight = 1",
        "[delivery]\nretry_max = \"1s\"",
        "[delivery]\nreassert_interval = \"off\"",
        "[actions]\nipv6 = true",
        "[actions]\non_primary = [\"/bin/true\"]",
        "[actions]\non_backup = [\"/bin/true\", \"now\"]",
        "[actions]\non_fault = [\"/bin/true\"]",
        "[actions]\nhook_timeout = \"1s\"",
        "[actions]\nmax_hooks = 1",
        "[events]\nsinks = []",
        "[admin]\nsocket = \"x\"",
        "[admin]\nlisten = \"[::1]:1\"",
    ];
    for case in cases {
        assert_ne!(read(case).expect(case), base, "{case}");
    }
    let keys_outside_lists = keys::KEYS.iter().filter(|key| ![keys::LIST, keys::GRANT].contains(&key.0)).count();
    assert_eq!(cases.len() + 1, keys_outside_lists);
}

#[test]
fn nothing_or_off_switches_reassertion_off() {
    for off in ["off", "0s", "0ms"] {
        let config = read(&format!("[delivery]\nreassert_interval = \"{off}\"")).expect(off);
        assert_eq!(config.delivery.reassert_interval, None);
    }
    let config = read("[delivery]\nreassert_interval = \"10s\"").expect("right");
    assert_eq!(config.delivery.reassert_interval, Some(Duration::from_secs(10)));
}

#[test]
fn wrong_input_is_answered_with_place_and_remedy() {
    let cases: &[(&str, &str)] = &[
        ("[intake]\nsokcet = \"x\"", "/etc/t.toml:2: intake.sokcet: unknown key; did you mean \"socket\"?"),
        ("[intkae]\nsocket = \"x\"", "/etc/t.toml:1: intkae: unknown key; did you mean \"intake\"?"),
        ("[intake]\nretry_max = \"3s\"", "/etc/t.toml:2: intake.retry_max: unknown key here; it belongs to [delivery]"),
        (
            "[actions]\non_primry = [\"/bin/true\"]",
            "/etc/t.toml:2: actions.on_primry: unknown key; did you mean \"on_primary\"?",
        ),
        (
            "[actions]\non_fault = [\"true\"]",
            "/etc/t.toml:2: actions.on_fault: expected an absolute path, found \"true\"",
        ),
        (
            "[actions]\non_fault = []",
            "/etc/t.toml:2: actions.on_fault: expected a program's path and its arguments, found an empty list",
        ),
        (
            "[actions]\non_fault = \"/bin/true\"",
            "/etc/t.toml:2: actions.on_fault: expected a list of a program's path and its arguments, found \"/bin/true\"",
        ),
        (
            "[actions]\nmax_hooks = 0",
            "/etc/t.toml:2: actions.max_hooks: expected a whole number from 1 to 64, found the number 0",
        ),
        (
            "[delivery]\nreassert_interval = \"2s\"",
            "/etc/t.toml:2: delivery.reassert_interval: expected at least \"10s\", or \"off\": each round is one request per router",
        ),
        (
            "[keepalived]\nrelease = \"2.3\"",
            "/etc/t.toml:2: keepalived.release: expected a release of keepalived such as \"2.2.7\", found \"2.3\"",
        ),
        (
            "[keepalived]\nrelease = 2",
            "/etc/t.toml:2: keepalived.release: expected a release of keepalived such as \"2.2.7\", found the number 2",
        ),
        (
            "[keepalived]\nprogram = \"keepalived\"",
            "/etc/t.toml:2: keepalived.program: expected an absolute path, found \"keepalived\"",
        ),
        ("[admin]\nvrid = 3", "/etc/t.toml:2: admin.vrid: unknown key here; it belongs to [[router]]"),
        ("[admin]\nzzzzzzzz = 3", "/etc/t.toml:2: admin.zzzzzzzz: unknown key; known here are socket, listen"),
        ("mode = \"enforced\"", "/etc/t.toml:1: mode: unknown value \"enforced\"; did you mean \"enforce\"?"),
        ("mode = \"yes\"", "/etc/t.toml:1: mode: unknown value \"yes\"; known are \"enforce\", \"observe\""),
        ("mode = 3", "/etc/t.toml:1: mode: expected one of \"enforce\", \"observe\", found the number 3"),
        ("[keepalived]\nconfigs = [\"/x\", \"/x\"]", "/etc/t.toml:2: keepalived.configs: /x stands there twice"),
        (
            "[keepalived]\nconfigs = [\"k.conf\"]",
            "/etc/t.toml:2: keepalived.configs: expected an absolute path, found \"k.conf\"",
        ),
        ("state_dir = \"var\"", "/etc/t.toml:1: state_dir: expected an absolute path, found \"var\""),
        (
            "[corroboration]\nsettle = 250",
            "/etc/t.toml:2: corroboration.settle: expected a duration from \"0s\" to \"1m\" (ms, s, m, h), found the number 250",
        ),
        (
            "[corroboration]\nsettle = \"2 m\"",
            "/etc/t.toml:2: corroboration.settle: expected a duration from \"0s\" to \"1m\" (ms, s, m, h), found \"2 m\"",
        ),
        (
            "[corroboration]\nreport_grace = \"advert_intervall\"",
            "/etc/t.toml:2: corroboration.report_grace: unknown value \"advert_intervall\"; did you mean \"advert_interval\"?",
        ),
        (
            "[corroboration]\nheal_unreported = \"yes\"",
            "/etc/t.toml:2: corroboration.heal_unreported: expected true or false, found \"yes\"",
        ),
        (
            "[intake]\nmax_connections = 0",
            "/etc/t.toml:2: intake.max_connections: expected a whole number from 1 to 65536, found the number 0",
        ),
        (
            "[intake]\nsocket_mode = \"0999\"",
            "/etc/t.toml:2: intake.socket_mode: expected an octal file mode from \"0000\" to \"0777\", found \"0999\"",
        ),
        (
            "[intake]\nsocket_mode = 660",
            "/etc/t.toml:2: intake.socket_mode: expected a file mode such as \"0660\", found the number 660",
        ),
        (
            "[intake]\nallow_users = [\"neutron\", \"neutrom\"]",
            "/etc/t.toml:2: intake.allow_users: user \"neutrom\" is not in /etc/passwd; give one that exists, or its uid",
        ),
        (
            "[intake]\nallow_users = [\"%neutrom\"]",
            "/etc/t.toml:2: intake.allow_users: group \"neutrom\" is not in /etc/group; give one that exists, or its gid",
        ),
        (
            "[intake]\nallow_users = \"neutron\"",
            "/etc/t.toml:2: intake.allow_users: expected a list of user names or uids, and groups as %NAME, found \"neutron\"",
        ),
        (
            "[intake]\nsocket_group = \"nogroup\"",
            "/etc/t.toml:2: intake.socket_group: group \"nogroup\" is not in /etc/group; give one that exists, or its gid",
        ),
        (
            "[events]\nsinks = [\"otlp:http://x\"]",
            "/etc/t.toml:2: events.sinks: \"otlp:http://x\": otlp is not in this version; known are stdout, journald, file:PATH",
        ),
        (
            "[events]\nsinks = [\"journal\"]",
            "/etc/t.toml:2: events.sinks: unknown sink \"journal\"; did you mean \"journald\"?",
        ),
        ("[events]\nsinks = [\"file:x\"]", "/etc/t.toml:2: events.sinks: expected an absolute path, found \"x\""),
        ("[events]\nsinks = [\"stdout\", \"stdout\"]", "/etc/t.toml:2: events.sinks: \"stdout\" stands there twice"),
        (
            "[admin]\nlisten = \"9477\"",
            "/etc/t.toml:2: admin.listen: expected ADDRESS:PORT such as \"127.0.0.1:9477\", found \"9477\"",
        ),
        (
            "[delivery]\nsocket = \"/run/ha-agent/keepalived-state-change\"",
            "/etc/t.toml:2: delivery.socket: /run/ha-agent/keepalived-state-change is intake.socket too",
        ),
        ("intake = 3", "/etc/t.toml:1: intake: expected a table, written as [intake]"),
        ("[router]\nid = \"x\"", "/etc/t.toml:1: router: expected a list of tables, written as [[router]]"),
        ("mode = \"enforce\"\nmode = \"observe\"", "/etc/t.toml:2: not valid TOML: duplicate key"),
    ];
    for (text, message) in cases {
        assert_eq!(complaint(text), *message, "{text}");
    }
}

const ROUTER: &str = "[[router]]\nid = \"2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d\"\ninterface = \"ha0\"\nvip = \"169.254.0.1/24\"\nvrid = 1\n";

#[test]
fn routers_are_checked() {
    let with = |line: &str| format!("{ROUTER}{line}\n");
    let cases = [
        (
            with("netns = \"/proc/4711/ns/net\""),
            "/etc/t.toml:6: router.netns: a path below /proc goes with its process, and the agent's threads may not look into \
             other processes: give the namespace a name with `ip netns attach NAME PID`, and write that name; without netns it \
             is the agent's own",
        ),
        (
            with("netns = \"../x\""),
            "/etc/t.toml:6: router.netns: expected a name under /run/netns or an absolute path, found \"../x\"",
        ),
        (
            with("advert_interval = \"256s\""),
            "/etc/t.toml:6: router.advert_interval: expected a duration from \"10ms\" to \"255s\" (ms, s, m, h), found \"256s\"",
        ),
        (
            with("vip_interface = \"a-name-of-16-byt\""),
            "/etc/t.toml:6: router.vip_interface: expected an interface name (at most 15 bytes, without \"/\", \":\" or space), found \"a-name-of-16-byt\"",
        ),
        (
            ROUTER.replace("vrid = 1", "vrid = 256"),
            "/etc/t.toml:5: router.vrid: expected a whole number from 1 to 255, found the number 256",
        ),
        (
            ROUTER.replace("/24", ""),
            "/etc/t.toml:4: router.vip: expected an address with its prefix length such as \"169.254.0.1/24\", found \"169.254.0.1\"",
        ),
        (
            ROUTER.replace("/24", "/33"),
            "/etc/t.toml:4: router.vip: the prefix length of 169.254.0.1 is at most 32, found 33",
        ),
        (ROUTER.replace("interface = \"ha0\"\n", ""), "/etc/t.toml:1: router.interface: is missing"),
        (
            ROUTER.replace("2f0c1c52-", "2f0c1c5-"),
            "/etc/t.toml:2: router.id: expected a UUID such as \"6b1f6c2e-30a5-4b6e-9d1c-0f2a4c5d7e80\", found \"2f0c1c5-5b1d-4f53-9f0e-2f2f3a4b5c6d\"",
        ),
        (
            format!("{ROUTER}{ROUTER}"),
            "/etc/t.toml:7: router.id: router 2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d stands on line 2 already\n\
             /etc/t.toml:10: router.vrid: VRID 1 for IPv4 on ha0 in namespace self stands on line 5 already",
        ),
    ];
    for (text, message) in &cases {
        assert_eq!(complaint(text), *message, "{text}");
    }
    let both_families =
        format!("{ROUTER}{}", ROUTER.replace("2f0c1c52", "3f0c1c52").replace("169.254.0.1/24", "fe80::1/64"));
    assert_eq!(read(&both_families).expect("two families").routers.len(), 2);
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text = "mode = \"x\"\n[intake]\nbacklog = 0\nsokcet = \"a\"\n[admin]\nlisten = \"b\"\n";
    let error = read(text).expect_err("three wrong keys");
    let lines: Vec<_> = error.problems().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(1), Some(3), Some(4), Some(6)]);
}

#[test]
fn the_token_is_read_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let text = format!("[intake]\ntoken_file = {:?}\n", path.display().to_string());
    std::fs::write(&path, "s3cret\n").unwrap();
    assert_eq!(read(&text).unwrap().intake.token.as_deref(), Some("s3cret"));
    std::fs::write(&path, "two words").unwrap();
    let message = complaint(&text);
    assert!(message.contains("must hold one token"), "{message}");
    assert!(!message.contains("two words"), "{message}");
}

#[test]
fn grants_bind_users_and_fifos_to_routers() {
    let id = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";
    let text = format!(
        "[intake]\nnotify_fifos = [\"a.fifo\"]\n[[intake.grant]]\nuser = \"neutron\"\nrouters = [\"{id}\"]\n\
         [[intake.grant]]\nuser = 4023\nrouters = [\"*\"]\n[[intake.grant]]\nfifo = \"a.fifo\"\nrouters = [\"{id}\"]\n"
    );
    let these = Granted::These([id.parse().unwrap()].into());
    assert_eq!(
        read(&text).unwrap().intake.grants,
        [
            Grant { to: Grantee::User(4021), routers: these.clone() },
            Grant { to: Grantee::User(4023), routers: Granted::All },
            Grant { to: Grantee::Fifo("/run/ha-agent/a.fifo".into()), routers: these },
        ]
    );
    for (lines, message) in [
        ("user = \"neutron\"", "1: intake.grant.routers: is missing"),
        ("routers = [\"*\"]", "1: intake.grant.user: is missing: a grant names a user or a fifo"),
        ("user = 1\nrouters = []", "3: intake.grant.routers: expected router ids, or \"*\" for all, found none"),
        (
            "user = 1\nrouters = [\"x\"]",
            "3: intake.grant.routers: expected router ids (UUIDs), or \"*\" for all, found \"x\"",
        ),
        (
            "user = \"neutrom\"\nrouters = [\"*\"]",
            "2: intake.grant.user: user \"neutrom\" is not in /etc/passwd; give one that exists, or its uid",
        ),
        ("fifo = \"b\"\nrouters = [\"*\"]", "2: intake.grant.fifo: /run/ha-agent/b is not among intake.notify_fifos"),
        ("user = 1\nfifo = \"b\"\nrouters = [\"*\"]", "3: intake.grant.fifo: either user or fifo, not both"),
        ("user = 1\nrouter = [\"*\"]", "3: intake.grant.router: unknown key; did you mean \"routers\"?"),
    ] {
        let complaint = complaint(&format!("[[intake.grant]]\n{lines}\n"));
        assert!(complaint.contains(&format!("/etc/t.toml:{message}")), "{lines}: {complaint}");
    }
    assert_eq!(
        complaint("[intake]\ngrant = 3"),
        "/etc/t.toml:2: intake.grant: expected a list of tables, written as [[intake.grant]]"
    );
    assert!(complaint("[intake]\ngrants = 3").contains("did you mean \"grant\"?"));
}

#[test]
fn a_password_is_taken_and_never_shown() {
    let with = |value: &str| format!("{ROUTER}auth_pass = {value}\n");
    let config = read(&with("\"s3cret\"")).unwrap();
    assert_eq!(config.routers[0].password, Some(Password::new("s3cret")));
    assert!(!format!("{config:?}").contains("s3cret"));
    for wrong in ["\"s3cret\\n\"", "[\"s3cret\"]", "\"\""] {
        let message = complaint(&with(wrong));
        assert!(message.contains("router.auth_pass: expected text") && !message.contains("s3cret"), "{message}");
    }
}

#[test]
fn of_a_router_given_by_hand_only_what_stands_there_is_a_rule() {
    let rules = |text: &str| read(text).expect("right").routers.remove(0).rules;
    let multicast = || AdvertRules { mode: Some(AdvertMode::Multicast { group: None }), ..AdvertRules::default() };
    assert_eq!(rules(ROUTER), multicast());
    let unicast = Some(AdvertMode::Unicast { peers: Vec::new(), check_source: false });
    assert_eq!(rules(&format!("{ROUTER}unicast = true\n")).mode, unicast);
    let given = rules(&format!("{ROUTER}advert_interval = \"3s\"\nauth_pass = \"s3cret\"\n"));
    let expected = AdvertRules {
        interval: Some(Duration::from_secs(3)),
        authentication: Some(Authentication::Pass(Password::new("s3cret"))),
        ..multicast()
    };
    assert_eq!(given, expected);
    let listed = rules(&format!("{ROUTER}addresses = [\"169.254.0.1\", \"192.0.2.9\"]\n")).addresses;
    assert_eq!(listed, Some(vec!["169.254.0.1".parse().unwrap(), "192.0.2.9".parse().unwrap()]));
    let newer = rules(&format!("{ROUTER}[keepalived]\nrelease = \"2.3.3\"\n"));
    assert_eq!(newer, AdvertRules { release: Release::new(2, 3, 3), ..multicast() });
}

#[test]
fn the_release_is_looked_up_when_a_file_is_loaded_and_does_not_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, program) = (folder.path().join("c.toml"), folder.path().join("keepalived"));
    std::fs::write(&program, "\0Keepalived v2.3.2 (11/03,2024)\n\0").expect("written");
    let loaded = |lines: &str| {
        let text = format!("{ROUTER}[keepalived]\nprogram = {program:?}\n{lines}");
        std::fs::write(&file, text).expect("written");
        let config = load(Some(&file)).expect("right");
        assert_eq!(config.routers[0].rules.release, config.keepalived.installed.release);
        config.keepalived.installed
    };
    assert_eq!(loaded(""), Installed { release: Release::new(2, 3, 2), origin: Origin::Program(program.clone()) });
    let said = loaded("release = \"2.3.3\"\n");
    assert_eq!(said, Installed { release: Release::new(2, 3, 3), origin: Origin::Configured });
    // A client, which runs at every notification, looks at no program.
    std::fs::write(&file, format!("[keepalived]\nprogram = {program:?}\n")).expect("written");
    assert_eq!(as_client(Some(&file)).expect("there").0.keepalived.installed, Installed::default());
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let missing = Path::new("/nonexistent/ha-agent.toml");
    let message = load(Some(missing)).expect_err("missing").to_string();
    assert!(message.starts_with("/nonexistent/ha-agent.toml: cannot read the configuration: "), "{message}");
}

#[test]
fn durations_round_trip_in_their_largest_unit() {
    for (text, millis) in [("0s", 0), ("250ms", 250), ("2s", 2_000), ("90s", 90_000), ("1m", 60_000)] {
        let found = value::duration(text).expect(text);
        assert_eq!(found, Duration::from_millis(millis));
        assert_eq!(value::written(found), text);
    }
    for text in ["", "5", "ms", "-1s", "1.5s", "1d", "99999999999999999999s"] {
        assert_eq!(value::duration(text), None, "{text}");
    }
}

#[test]
fn who_only_looks_for_the_socket_needs_no_configuration_that_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    for broken in ["mode = \"x\"", "= 3", "[intake", "[[router]]\nid = 1", "[admin]\nlisten = \"x\""] {
        std::fs::write(&file, format!("runtime_dir = \"/srv/a\"\n{broken}\n")).expect("writable");
        let (config, wrong) = as_client(Some(&file)).expect("there");
        assert_eq!(config.admin.socket, Path::new("/srv/a/admin.sock"), "{broken}");
        assert!(wrong.expect("something is wrong").to_string().contains("c.toml:"), "{broken}");
    }
    std::fs::write(&file, "[admin]\nsocket = \"/x\"\n[intake]\ntoken_file = \"/nonexistent\"\n").expect("writable");
    let (config, wrong) = as_client(Some(&file)).expect("there");
    assert_eq!((config.admin.socket.to_str(), wrong), (Some("/x"), None));
    assert!(as_client(Some(&folder.path().join("none"))).is_err());
}
