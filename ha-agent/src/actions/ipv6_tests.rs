use super::*;

fn gateway(device: &str, ipv6_route: bool) -> Gateway {
    Gateway { device: device.to_owned(), ipv6_route }
}

fn told(primary: bool, gateways: &[Gateway]) -> Vec<String> {
    let each = |setting: &Setting| format!("{}.{}={}", setting.device, setting.name, setting.value);
    settings(primary, gateways).iter().map(each).collect()
}

#[test]
fn the_table_of_neutrons_l3_agent() {
    assert_eq!(told(true, &[]), ["all.forwarding=1"]);
    assert_eq!(told(false, &[]), Vec::<String>::new());
    let learns = [gateway("qg-1", false)];
    assert_eq!(told(true, &learns), ["all.forwarding=1", "qg-1.accept_ra=2", "qg-1.forwarding=1"]);
    assert_eq!(told(false, &learns), ["qg-1.accept_ra=0", "qg-1.forwarding=0"]);
    let knows = [gateway("qg-1", true)];
    assert_eq!(told(true, &knows), ["all.forwarding=1", "qg-1.accept_ra=0", "qg-1.forwarding=1"]);
    assert_eq!(told(false, &knows), ["qg-1.accept_ra=0", "qg-1.forwarding=0"]);
}
