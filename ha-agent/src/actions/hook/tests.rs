use super::*;
use crate::actions::plan::tests::router;
use crate::core::model::{Basis, State};

fn told(router: &Router, previous: Option<State>) -> String {
    let basis = Basis { report: false, vip: true, wire: true };
    let change = Change { state: State::Primary, previous, basis, sequence: 12 };
    let lines: Vec<String> =
        Environment::new(router, &change).0.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    lines.concat()
}

#[test]
fn a_hook_is_told_all_of_this_and_nothing_else() {
    assert_eq!(
        told(&router(), Some(State::Backup)),
        "HA_AGENT_ROUTER_ID=2f0c1c52-5b1d-4f53-9f0e-000000000001\nHA_AGENT_STATE=primary\n\
         HA_AGENT_PREVIOUS=backup\nHA_AGENT_BASIS=vip+wire\nHA_AGENT_NETNS=/run/netns/qrouter-1\n\
         HA_AGENT_INTERFACE=ha-1b2c3d4e-5f\nHA_AGENT_VIP=169.254.0.7/24\nHA_AGENT_VRID=7\nHA_AGENT_SEQUENCE=12\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
}

#[test]
fn what_there_is_none_of_is_empty() {
    let told = told(&Router { netns: Netns::Own, ..router() }, None);
    assert!(told.contains("HA_AGENT_PREVIOUS=\n") && told.contains("HA_AGENT_NETNS=\n"), "{told}");
}
