use super::*;

const VMAC: Vmac = Vmac { v6: false, vrid: 51 };

fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

fn router(n: u128) -> RouterId {
    RouterId(uuid::Uuid::from_u128(n))
}

fn macvlan(ifindex: u32, text: &str, lower: u32, vmac: Option<Vmac>) -> Macvlan {
    Macvlan { ifindex, name: name(text), lower, vmac }
}

/// `eth0` has index 2, `eth1` index 3, `mv0` index 4.
fn index_of(interface: IfName) -> Option<u32> {
    ["eth0", "eth1", "mv0"].iter().zip(2..).find(|(text, _)| name(text) == interface).map(|(_, index)| index)
}

#[test]
fn the_vmac_is_known_by_its_mac_and_its_lower_device_not_by_its_name() {
    let mut vmacs = Vmacs::default();
    vmacs.watch(router(1), name("eth0"), VMAC);
    vmacs.take(7, Some(macvlan(7, "vrrp.51", 2, None)));
    vmacs.take(8, Some(macvlan(8, "vrrp.52", 2, Some(Vmac { vrid: 52, ..VMAC }))));
    vmacs.take(9, Some(macvlan(9, "vrrp6.51", 2, Some(Vmac { v6: true, ..VMAC }))));
    vmacs.take(10, Some(macvlan(10, "vrrp.51", 3, Some(VMAC))));
    assert_eq!(vmacs.news(index_of), []);
    vmacs.take(11, Some(macvlan(11, "vrrp1.51", 2, Some(VMAC))));
    assert_eq!(vmacs.news(index_of), [(router(1), Found { name: name("vrrp1.51"), through: None })]);
    assert_eq!(vmacs.news(index_of), [], "told once");
    vmacs.take(11, Some(macvlan(11, "renamed", 2, Some(VMAC))));
    assert_eq!(vmacs.news(index_of), [(router(1), Found { name: name("renamed"), through: None })]);
    vmacs.take(11, None);
    assert_eq!(vmacs.news(index_of), [], "its keepalived has stopped");
    // Another interface of the instance.
    vmacs.watch(router(1), name("eth1"), VMAC);
    assert_eq!(vmacs.news(index_of), [(router(1), Found { name: name("vrrp.51"), through: None })]);
}

#[test]
fn on_a_macvlan_it_is_on_that_one_s_lower_device() {
    let mut vmacs = Vmacs::default();
    vmacs.watch(router(1), name("mv0"), VMAC);
    vmacs.take(11, Some(macvlan(11, "vrrp.51", 3, Some(VMAC))));
    assert_eq!(vmacs.news(index_of), [], "of another one");
    vmacs.take(4, Some(macvlan(4, "mv0", 3, None)));
    assert_eq!(vmacs.news(index_of), [(router(1), Found { name: name("vrrp.51"), through: Some(3) })]);
}

#[test]
fn what_is_told_while_they_are_read_is_newer() {
    let mut vmacs = Vmacs::default();
    vmacs.watch(router(1), name("eth0"), VMAC);
    vmacs.begin();
    vmacs.take(11, None);
    vmacs.take(12, Some(macvlan(12, "new", 2, Some(VMAC))));
    vmacs.end(Some(vec![macvlan(11, "old", 2, Some(VMAC))]));
    assert_eq!(vmacs.news(index_of), [(router(1), Found { name: name("new"), through: None })]);
    vmacs.unwatch(router(1));
    assert!(!vmacs.is_wanted());
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    for length in 0..64 {
        let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(31)).collect();
        let _ = links(&bytes);
    }
}
