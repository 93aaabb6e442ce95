use super::*;

/// As `KeepalivedConf.get_config_str` of Neutron 29.0.0 writes a router with a gateway.
fn conf(routes: &str) -> String {
    format!(
        "global_defs {{\n    notification_email_from neutron@openstack.local\n    router_id neutron\n}}\n\
         vrrp_instance VR_7 {{\n    state BACKUP\n    interface ha-1b2c3d4e-5f\n    virtual_router_id 7\n    priority 50\n\
         \x20   virtual_ipaddress {{\n        169.254.0.7/24 dev ha-1b2c3d4e-5f\n    }}\n\
         \x20   virtual_ipaddress_excluded {{\n        10.0.0.1/24 dev qr-11111111-11 no_track\n\
         \x20       203.0.113.5/24 dev qg-22222222-22 no_track\n\
         \x20       fe80::f816:3eff:fe01:203/64 dev qg-22222222-22 scope link no_track\n    }}\n\
         \x20   virtual_routes {{\n{routes}    }}\n}}"
    )
}

fn read(text: &str) -> Vec<(String, bool)> {
    let gateways = gateways(text, "f").expect("it is read");
    gateways.into_iter().map(|gateway| (gateway.device, gateway.ipv6_route)).collect()
}

#[test]
fn its_gateway_has_an_ipv6_route_or_learns_one() {
    let ipv4 = "        0.0.0.0/0 via 203.0.113.1 dev qg-22222222-22 no_track protocol static\n";
    let ipv6 = "        ::/0 via fe80::1 dev qg-22222222-22 no_track protocol static\n";
    assert_eq!(read(&conf(ipv4)), [("qg-22222222-22".to_owned(), false)]);
    assert_eq!(read(&conf(&format!("{ipv4}{ipv6}"))), [("qg-22222222-22".to_owned(), true)]);
    // A route of an inner network, and one without a device.
    let inner = "        ::/0 via fd00::1 dev qr-11111111-11 no_track\n        2001:db8::/32 via fd00::2\n";
    assert_eq!(read(&conf(inner)), [("qg-22222222-22".to_owned(), false)]);
}

#[test]
fn without_a_gateway_there_is_none() {
    assert_eq!(read("vrrp_instance VR_1 {\n  virtual_ipaddress {\n 169.254.0.1/24 dev ha-1\n }\n}\n"), []);
    assert_eq!(read(""), []);
}

#[test]
fn a_name_that_is_no_device_is_none() {
    let odd =
        "        10.0.0.0/8 dev qg-/../../x\n        10.0.0.0/8 dev qg-12345678901234567890\n        10.1.0.0/16 dev\n";
    assert_eq!(read(&conf(odd)), [("qg-22222222-22".to_owned(), false)]);
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_line() {
    let error = gateways("vrrp_instance VR_1 {\n  virtual_routes {\n", "f").expect_err("not closed");
    assert!(error.to_string().starts_with("f:2: "), "{error}");
}
