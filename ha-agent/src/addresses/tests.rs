use super::*;

fn name(text: &str) -> IfName {
    IfName::new(text).expect("a name")
}

#[test]
fn an_address_is_found_with_each_of_its_devices() {
    let one = IpAddr::from([10, 0, 0, 1]);
    let two = IpAddr::from([10, 0, 0, 2]);
    let six: IpAddr = "fe80::1".parse().expect("an address");
    let further = FurtherAddresses::new([
        (two, Some(name("qg-1"))),
        (six, Some(name("qr-2"))),
        (one, None),
        (six, Some(name("qr-1"))),
        (two, Some(name("qg-1"))),
    ]);
    assert_eq!((further.len(), further.devices().len()), (4, 3));
    assert_eq!(further.find(one).map(|at| further.device(at)).collect::<Vec<_>>(), [None]);
    assert_eq!(further.find(two).map(|at| further.device(at)).collect::<Vec<_>>(), [Some(name("qg-1"))]);
    assert_eq!(further.find(six).len(), 2, "a link-local gateway on two networks");
    assert!(further.find(IpAddr::from([10, 0, 0, 3])).is_empty());
    assert!(FurtherAddresses::new([]).is_empty());
}

#[test]
fn thousands_cost_twenty_bytes_each_and_copies_nothing() {
    assert_eq!(BYTES, 20);
    let many = FurtherAddresses::new((0..5000_u32).map(|n| (IpAddr::V4(n.into()), Some(name("qg-1")))));
    let copy = many.clone();
    assert!(Arc::ptr_eq(many.0.as_ref().expect("a table"), copy.0.as_ref().expect("a table")));
    assert_eq!(copy.find(IpAddr::V4(4321.into())), 4321..4322);
}
