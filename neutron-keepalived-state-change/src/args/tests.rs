use super::*;

const ID: &str = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";

/// `HaRouter._get_state_change_monitor_callback`, with the pid file's name from
/// `ProcessManager.get_pid_file_name`, as read in the sources of these releases.
fn of_release(release: u32) -> Vec<String> {
    let state_path = "/var/lib/neutron";
    let values = [
        ("--router_id", ID.to_owned()),
        ("--namespace", format!("qrouter-{ID}")),
        ("--conf_dir", format!("{state_path}/ha_confs/{ID}")),
        ("--log-file", format!("{state_path}/ha_confs/{ID}/neutron-keepalived-state-change.log")),
        ("--monitor_interface", "ha-1b2c3d4e-5f".to_owned()),
        ("--monitor_cidr", "169.254.0.1/24".to_owned()),
        ("--pid_file", pid_file()),
        ("--state_path", state_path.to_owned()),
        ("--user", "42435".to_owned()),
        ("--group", "42436".to_owned()),
    ];
    let mut line = vec!["/usr/bin/neutron-keepalived-state-change".to_owned()];
    for (flag, value) in values {
        match release {
            29.. => line.extend([flag.to_owned(), value]),
            _ => line.push(format!("{flag}={value}")),
        }
    }
    line
}

fn pid_file() -> String {
    format!("/var/lib/neutron/external/pids/{ID}.monitor.pid.neutron-keepalived-state-change-monitor")
}

fn read(line: &[String]) -> Result<Asked, ArgsError> {
    parse(line.iter().map(OsString::from))
}

fn whole(daemon: bool) -> Options {
    Options {
        monitor: Monitor {
            router_id: ID.to_owned(),
            namespace: format!("qrouter-{ID}"),
            conf_dir: format!("/var/lib/neutron/ha_confs/{ID}"),
            interface: "ha-1b2c3d4e-5f".to_owned(),
            cidr: "169.254.0.1/24".to_owned(),
            conntrackd: false,
            user: Some("42435".to_owned()),
            group: Some("42436".to_owned()),
        },
        pid_file: pid_file().into(),
        log_file: Some(format!("/var/lib/neutron/ha_confs/{ID}/neutron-keepalived-state-change.log").into()),
        config: None,
        daemon,
    }
}

#[test]
fn every_release() {
    for release in 20..=29 {
        let expected = whole(release <= 28);
        assert_eq!(read(&of_release(release)), Ok(Asked::Run(expected.into())), "{release}");
    }
}

/// From 26 on, with `ha_conntrackd_enabled` and `debug`.
#[test]
fn the_switches_of_later_releases() {
    for release in 26..=29 {
        let mut line = of_release(release);
        line.extend(["--enable_conntrackd".to_owned(), "--debug".to_owned()]);
        let mut expected = whole(release <= 28);
        expected.monitor.conntrackd = true;
        assert_eq!(read(&line), Ok(Asked::Run(expected.into())), "{release}");
    }
}

#[test]
fn both_spellings() {
    for (from, to) in [('_', '-'), ('-', '_')] {
        for release in [28, 29] {
            let line: Vec<String> = of_release(release)
                .into_iter()
                .map(|argument| match argument.strip_prefix("--") {
                    Some(rest) => {
                        let (name, value) = rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v)));
                        let value = value.map(|value| format!("={value}")).unwrap_or_default();
                        format!("--{}{value}", name.replace(from, &to.to_string()))
                    }
                    None => argument,
                })
                .collect();
            assert_eq!(read(&line), Ok(Asked::Run(whole(release == 28).into())), "{line:?}");
        }
    }
}

#[test]
fn what_is_not_known_is_ignored() {
    let unknown: &[&[&str]] = &[
        &["--AGENT-root_helper=sudo /usr/bin/neutron-rootwrap /etc/neutron/rootwrap.conf"],
        &["--AGENT-root_helper", "sudo neutron-rootwrap"],
        &["--config-file", "/etc/neutron/neutron.conf", "--config-dir=/etc/neutron/conf.d"],
        &["--metadata_proxy_socket=/x", "--metadata_proxy_uid", "1000", "-v", "-d", "--nodebug", "--verbose"],
        &["stray", "--debug=false"],
    ];
    for extra in unknown {
        for release in [20, 29] {
            let mut line = of_release(release);
            // Right after the name, so that what follows is seen to be read.
            line.splice(1..1, extra.iter().map(|argument| (*argument).to_owned()));
            assert_eq!(read(&line), Ok(Asked::Run(whole(release == 20).into())), "{extra:?}");
        }
    }
}

#[test]
fn our_own_flag_and_the_switch_turned_off() {
    let mut line = of_release(29);
    line.extend(["--enable_conntrackd", "--noenable_conntrackd", "--config=/srv/ha-agent.toml"].map(str::to_owned));
    let expected = Options { config: Some("/srv/ha-agent.toml".into()), ..whole(false) };
    assert_eq!(read(&line), Ok(Asked::Run(expected.into())));
}

#[test]
fn what_is_missing_is_named() {
    let needed = ["router_id", "namespace", "conf_dir", "monitor_interface", "monitor_cidr", "pid_file"];
    for name in needed {
        let mut line = of_release(28);
        line.retain(|argument| !argument.starts_with(&format!("--{name}=")));
        assert_eq!(read(&line), Err(ArgsError::Missing(name)));
        line.push(format!("--{name}"));
        assert_eq!(read(&line), Err(ArgsError::Value(name.to_owned())));
    }
    let mut line = of_release(28);
    line.push("--router_id=../../etc/passwd".to_owned());
    assert_eq!(read(&line), Err(ArgsError::RouterId));
}

#[test]
fn help_and_version_need_nothing_else() {
    let line = |flag: &str| vec!["x".to_owned(), flag.to_owned()];
    assert_eq!(read(&line("--help")), Ok(Asked::Help));
    assert_eq!(read(&line("-h")), Ok(Asked::Help));
    assert_eq!(read(&line("--version")), Ok(Asked::Version));
}
