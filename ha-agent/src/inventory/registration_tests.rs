use serde_json::json;

use super::*;

const ID: &str = "2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d";
const HA_CONFS: &str = "/var/lib/neutron/ha_confs";

fn id() -> RouterId {
    ID.parse().expect("a UUID")
}

fn body() -> Value {
    json!({
        "namespace": format!("qrouter-{ID}"),
        "interface": "ha-1b2c3d4e-5f",
        "cidr": "169.254.0.1/24",
        "conf_dir": format!("{HA_CONFS}/{ID}"),
        "enable_conntrackd": true,
        "user": "42435",
        "group": "neutron",
        "pid": 4711,
        "daemon": true,
    })
}

fn parse(body: &Value) -> Result<Registration, RegistrationError> {
    Registration::parse(id(), body.to_string().as_bytes(), Path::new(HA_CONFS))
}

#[test]
fn a_whole_body() {
    assert_eq!(
        parse(&body()),
        Ok(Registration {
            router: id(),
            namespace: format!("qrouter-{ID}"),
            interface: "ha-1b2c3d4e-5f".to_owned(),
            vip: "169.254.0.1".parse().expect("an address"),
            prefix: 24,
            conf_dir: format!("{HA_CONFS}/{ID}").into(),
            conntrackd: true,
            user: Some("42435".to_owned()),
            group: Some("neutron".to_owned()),
            pid: Some(4711),
            daemon: true,
        })
    );
}

#[test]
fn what_may_be_absent() {
    let mut body = body();
    for field in ["enable_conntrackd", "user", "group", "pid", "daemon"] {
        body.as_object_mut().expect("an object").remove(field);
    }
    body["of_a_newer_release"] = json!([1, 2]);
    let read = parse(&body).expect("the rest is enough");
    assert_eq!((read.conntrackd, read.user, read.group, read.pid, read.daemon), (false, None, None, None, false));
}

#[test]
fn every_refusal_names_its_field_and_repeats_nothing() {
    let long = "x".repeat(256);
    let cases = [
        ("namespace", json!(null)),
        ("namespace", json!("")),
        ("namespace", json!("a/b")),
        ("namespace", json!("..")),
        ("namespace", json!("SECRET\n")),
        ("namespace", json!(long)),
        ("interface", json!(17)),
        ("interface", json!("SECRET-longer-than-15")),
        ("interface", json!("a b")),
        ("interface", json!("eth0:1")),
        ("cidr", json!("169.254.0.1")),
        ("cidr", json!("169.254.0.1/33")),
        ("cidr", json!("169.254.0.1/+4")),
        ("cidr", json!("SECRET/24")),
        ("cidr", json!("0.0.0.0/0")),
        ("conf_dir", json!("ha_confs/SECRET")),
        ("conf_dir", json!(format!("{HA_CONFS}/../SECRET"))),
        ("conf_dir", json!(format!("{HA_CONFS}/SECRET\u{1b}[2J"))),
        ("conf_dir", json!(HA_CONFS)),
        ("conf_dir", json!(format!("/srv/SECRET/{ID}"))),
        ("conf_dir", json!(format!("{HA_CONFS}/7d31e0aa-0c5e-4a11-8a53-0b8f0f6f1a02"))),
        ("enable_conntrackd", json!("SECRET")),
        ("user", json!("SECRET user")),
        ("user", json!("-SECRET")),
        ("group", json!(0)),
        ("pid", json!(0)),
        ("pid", json!(-1)),
        ("daemon", json!("SECRET")),
    ];
    for (field, value) in cases {
        let mut body = body();
        body[field] = value.clone();
        let said = parse(&body).expect_err(field).to_string();
        assert!(said.starts_with(&format!("{field}: expected ")), "{field} {value}: {said}");
        assert!(!said.contains("SECRET"), "{said}");
    }
}

#[test]
fn a_folder_elsewhere_names_the_key() {
    let mut body = body();
    body["conf_dir"] = json!(format!("/srv/neutron/ha_confs/{ID}"));
    let said = parse(&body).expect_err("elsewhere").to_string();
    assert!(said.contains("neutron.ha_confs_path") && said.contains(HA_CONFS), "{said}");
}

#[test]
fn what_is_no_object() {
    for bytes in [&b""[..], b"[]", b"{", b"\xff\xff", b"\"text\""] {
        assert_eq!(Registration::parse(id(), bytes, Path::new(HA_CONFS)), Err(RegistrationError::Shape));
    }
}
