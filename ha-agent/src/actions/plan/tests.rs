use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::advert_rules::AdvertRules;
use crate::core::model::RouterId;

pub(in crate::actions) fn router() -> Router {
    Router {
        id: RouterId(Uuid::from_u128(0x2f0c_1c52_5b1d_4f53_9f0e_0000_0000_0001)),
        netns: Netns::Path("/run/netns/qrouter-1".into()),
        interface: "ha-1b2c3d4e-5f".to_owned(),
        vip: "169.254.0.7".parse().expect("an address"),
        prefix: 24,
        vip_interface: "ha-1b2c3d4e-5f".to_owned(),
        further: crate::addresses::FurtherAddresses::default(),
        vrid: 7,
        advert_interval: Duration::from_secs(2),
        fifo_instance: None,
        password: None,
        rules: AdvertRules::default(),
    }
}

fn place(folder: bool, registered: Option<bool>) -> Place {
    Place {
        router: router(),
        folder: folder.then(|| "/var/lib/neutron/ha_confs/1".into()),
        registered: registered.map(|conntrackd| Registered { conntrackd, ..Registered::default() }),
    }
}

fn change(previous: Option<State>, state: State) -> Change {
    Change { state, previous, basis: Basis { report: false, vip: true, wire: true }, sequence: 12 }
}

fn settings() -> Settings {
    let hook = |name: &str| Some(Hook { program: name.into(), arguments: vec!["now".to_owned()] });
    Settings {
        ipv6: true,
        on_primary: hook("/p"),
        on_backup: hook("/b"),
        on_fault: hook("/f"),
        hook_timeout: Duration::from_secs(5),
        max_hooks: 4,
    }
}

/// The plan in short: the word, IPv6 on or off, conntrackd's options, the hook.
fn told(place: &Place, change: &Change, mode: Mode) -> String {
    let settings = settings();
    let plan = plan(place, change, &Rules { settings: &settings, mode, release: 29 });
    let parts = [
        plan.state_file.map(|file| file.word.to_owned()),
        plan.ipv6.map(|ipv6| format!("ipv6 {}", ipv6.primary)),
        plan.conntrackd.map(|conntrackd| conntrackd.options.concat()),
        plan.hook.map(|call| call.hook.program.display().to_string()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_cell_by_cell() {
    use State::{Backup, Fault, Primary, Unknown};
    let neutron = place(true, Some(true));
    for (place, previous, state, enforce, observe) in [
        (&neutron, Some(Backup), Primary, "primary ipv6 true -c-f-R-B /p", "primary -c-f-R-B"),
        (&neutron, Some(Primary), Backup, "backup ipv6 false -t-n /b", "backup -t-n"),
        (&neutron, Some(Primary), Fault, "fault ipv6 false /f", "fault"),
        (&neutron, Some(Primary), Unknown, "unknown ipv6 false", "unknown"),
        (&neutron, None, Backup, "backup ipv6 false -t-n /b", "backup -t-n"),
        // Nothing new after a restart: what is the same again is written, nothing is set off.
        (&neutron, Some(Primary), Primary, "primary ipv6 true", "primary"),
        (&place(true, Some(false)), Some(Backup), Primary, "primary ipv6 true /p", "primary"),
        (&place(true, None), Some(Backup), Primary, "ipv6 true /p", ""),
        (&place(false, None), Some(Backup), Primary, "/p", ""),
        (&place(false, Some(true)), Some(Backup), Primary, "/p", ""),
    ] {
        let change = change(previous, state);
        assert_eq!(told(place, &change, Mode::Enforce), enforce, "{place:?} {change:?}");
        assert_eq!(told(place, &change, Mode::Observe), observe, "{place:?} {change:?}");
    }
}

#[test]
fn ipv6_is_never_set_in_the_agents_own_namespace() {
    let mut place = place(true, None);
    place.router.netns = Netns::Own;
    assert_eq!(told(&place, &change(None, State::Primary), Mode::Enforce), "/p");
}

#[test]
fn nothing_is_done_that_is_not_configured() {
    let settings = Settings { ipv6: false, on_primary: None, on_backup: None, on_fault: None, ..settings() };
    let rules = Rules { settings: &settings, mode: Mode::Enforce, release: 29 };
    for state in [State::Primary, State::Backup, State::Fault] {
        assert_eq!(plan(&place(true, None), &change(None, state), &rules), Plan::default());
    }
}

#[test]
fn old_releases_read_master() {
    let settings = settings();
    for (release, word) in [(16, "master"), (17, "primary")] {
        let rules = Rules { settings: &settings, mode: Mode::Enforce, release };
        let plan = plan(&place(true, Some(false)), &change(None, State::Primary), &rules);
        assert_eq!(plan.state_file.map(|file| file.word), Some(word));
    }
}
