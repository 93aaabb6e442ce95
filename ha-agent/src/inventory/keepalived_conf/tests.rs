mod files;
mod rules;

use proptest::prelude::*;

use super::*;
use crate::advert_rules::{AdvertRules, Authentication, GROUP_V4, Mode};
use crate::core::model::Password;

/// The layout of Neutron 29's `KeepalivedConf`.
const NEUTRON: &str = "\
global_defs {
    notification_email_from neutron@openstack.local
    router_id neutron
    script_user root
    enable_script_security
}
vrrp_script ha_health_check_1 {
    script \"/var/lib/neutron/ha_confs/x/ha_check_script_1.sh\"
    interval 30
    fall 2
    rise 2
}

vrrp_instance VR_1 {
    state BACKUP
    interface ha-1b2c3d4e-5f
    virtual_router_id 1
    priority 50
    garp_master_delay 60
    nopreempt
    advert_int 2
    authentication {
        auth_type PASS
        auth_pass secret{1}
    }
    track_interface {
        ha-1b2c3d4e-5f
    }
    track_script {
        ha_health_check_1
    }
    virtual_ipaddress {
        169.254.0.1/24 dev ha-1b2c3d4e-5f
    }
    virtual_ipaddress_excluded {
        10.0.0.1/24 dev qr-a no_track
        fe80::f816:3eff:fe00:1/64 dev qr-a scope link no_track
    }
    virtual_routes {
        0.0.0.0/0 via 203.0.113.1 dev qg-b no_track protocol static
    }
}";

fn one(text: &str) -> Instance {
    let mut instances = parse(text, "k.conf", Release::default()).expect("it parses");
    assert_eq!(instances.len(), 1);
    instances.remove(0)
}

/// An instance with these lines beside the ones it must have.
fn with(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 7\n{lines}\n virtual_ipaddress {{\n 10.0.0.1/24\n }}\n}}"
    )
}

fn told(text: &str) -> String {
    parse(text, "k.conf", Release::default()).expect_err("it does not parse").to_string()
}

#[test]
fn what_neutron_writes_is_read() {
    // keepalived 2.2.7 itself breaks an unquoted password at its braces; here too it is a block.
    let instance = one(NEUTRON);
    assert_eq!(
        instance,
        Instance {
            file: "k.conf".into(),
            line: 14,
            name: "VR_1".to_owned(),
            interface: "ha-1b2c3d4e-5f".to_owned(),
            vrid: 1,
            priority: 50,
            advert_interval: std::time::Duration::from_secs(2),
            version: 2,
            vip: "169.254.0.1".parse().expect("an address"),
            prefix: 24,
            vip_interface: "ha-1b2c3d4e-5f".to_owned(),
            vmac: None,
            native_ipv6: false,
            rules: AdvertRules {
                version: Some(2),
                mode: Some(Mode::Multicast { group: Some(GROUP_V4.into()) }),
                authentication: Some(Authentication::PassUnknown),
                interval: Some(std::time::Duration::from_secs(2)),
                addresses: Some(vec!["169.254.0.1".parse().expect("an address")]),
                ttl: Some(255),
                ..AdvertRules::default()
            },
        }
    );
}

#[test]
fn a_password_is_taken_only_where_every_release_reads_the_same() {
    let read = |lines: &str| one(&with(&format!("authentication {{\n {lines}\n}}"))).rules.password();
    assert_eq!(read("auth_type PASS\n auth_pass secret"), Some(Password::new("secret")));
    assert_eq!(
        read("auth_pass secret-long-one\n auth_type PASS"),
        Some(Password::new("secret-l")),
        "eight bytes count"
    );
    for lines in [
        "auth_type AH\n auth_pass secret",
        "auth_type PASS",
        "auth_type PASS\n auth_pass",
        "auth_type PASS\n auth_pass se{cret}",
        "auth_type PASS\n auth_pass $word",
        "auth_type PASS\n auth_pass two words",
        "auth_type PASS\n auth_pass \"a b\"",
    ] {
        assert_eq!(read(lines), None, "{lines}");
    }
    assert!(!format!("{:?}", read("auth_type PASS\n auth_pass secret")).contains("secret"));
}

#[test]
fn every_beginning_of_a_file_is_told_from_the_whole() {
    for end in (0..NEUTRON.len()).filter(|end| NEUTRON.is_char_boundary(*end)) {
        match parse(&NEUTRON[..end], "k.conf", Release::default()) {
            Ok(instances) => assert!(instances.is_empty(), "read whole when cut at {end}"),
            Err(error) => assert!(error.line <= NEUTRON[..end].lines().count().max(1), "{error}"),
        }
    }
}

#[test]
fn defaults_are_keepaliveds() {
    let instance = one(&with(""));
    assert_eq!((instance.priority, instance.version), (100, 2));
    assert_eq!(instance.advert_interval, std::time::Duration::from_secs(1));
    assert_eq!(instance.rules.authentication, Some(Authentication::None));
    assert_eq!((instance.rules.is_unicast(), instance.native_ipv6), (false, false));
    assert_eq!(instance.vip_interface.as_str(), "eth0");
    assert_eq!(
        one("vrrp_instance A {\n interface e\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.1\n}\n}").prefix,
        32
    );
}

#[test]
fn authentication_vmac_unicast_and_fractions_are_read() {
    let instance = one(&with("authentication {\n auth_type AH\n auth_pass x\n}\n unicast_peer {\n 10.0.0.2\n}"));
    assert_eq!(instance.rules.authentication, Some(Authentication::Ah(Password::new("x"))));
    assert!(instance.rules.is_unicast());
    assert!(!one(&with("unicast_peer {\n}")).rules.is_unicast(), "keepalived then goes back to multicast");
    for (line, holder) in [
        ("use_vmac", "vrrp.7"),
        ("use_vmac vmac7", "vmac7"),
        ("use_vmac 02:00:00:00:00:01", "vrrp.7"),
        ("use_vmac vmac7 02:00:00:00:00:01", "vmac7"),
        ("use_vmac 02:00:00:00:00:01 vmac7", "vmac7"),
    ] {
        let instance = one(&with(line));
        assert_eq!(instance.vip_interface.as_str(), holder, "{line}");
        assert_eq!(instance.interface, "eth0");
    }
}

#[test]
fn an_interval_is_what_adverts_carry() {
    for (version, given, millis) in [
        (3, "0.5", 500),
        (3, "0.014", 10),
        (3, "0.015", 20),
        (3, "41", 40_950),
        (2, "0.5", 1000),
        (2, "0.4", 1000),
        (2, "1.5", 2000),
        (2, "255", 255_000),
    ] {
        let interval = one(&with(&format!("version {version}\n advert_int {given}"))).advert_interval;
        assert_eq!(interval, std::time::Duration::from_millis(millis), "{given} in version {version}");
    }
}

#[test]
fn version_3_is_global_or_the_instances_own_or_ipv6s() {
    assert_eq!(one(&with("version 3")).version, 3);
    // Globals hold wherever they stand, and give way to the instance.
    assert_eq!(one(&format!("{}\nglobal_defs {{\n vrrp_version 3\n}}", with(""))).version, 3);
    assert_eq!(one(&format!("{}\nglobal_defs {{\n vrrp_version 3\n}}", with("version 2"))).version, 2);
    let six = one("vrrp_instance six {\n interface eth1\n virtual_router_id 9\n native_ipv6\n \
                   virtual_ipaddress {\n 10.0.0.1/24\n fe80::10/64 dev eth2\n 2001:db8::1/64\n}\n}");
    assert_eq!((six.version, six.prefix, six.native_ipv6), (3, 64, true));
    assert_eq!(six.vip, "fe80::10".parse::<std::net::IpAddr>().expect("an address"));
    assert_eq!((six.interface.as_str(), six.vip_interface.as_str()), ("eth1", "eth2"));
}

#[test]
fn several_instances_keep_their_order() {
    let two =
        format!("{}\nvrrp_sync_group G {{\n group {{\n A\n B\n }}\n}}\n{}", with(""), with("").replace("e A", "e B"));
    let names: Vec<String> =
        parse(&two, "k.conf", Release::default()).expect("it parses").into_iter().map(|i| i.name).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn layout_is_as_free_as_keepaliveds() {
    let instance = one("! a comment }\n# another {\nvrrp_instance \"VR 1\" # here }\n{\n interface eth0\r\n\
                        virtual_router_id 7!x\n notify_master \"/bin/x # { \\\" \"\n mystery { deep { deeper }\n }\n\
                        virtual_ipaddress { 10.0.0.1/24 dev eth1 }\n}\n");
    assert_eq!((instance.name.as_str(), instance.interface.as_str(), instance.vrid), ("VR 1", "eth0", 7));
    assert_eq!(instance.vip_interface.as_str(), "eth1");
}

#[test]
fn an_error_names_file_line_and_what_was_expected() {
    for (text, expected) in [
        (with("priority high"), "k.conf:4: expected a number from 1 to 255 after \"priority\", found \"high\""),
        (
            with("virtual_router_id 256"),
            "k.conf:4: expected a number from 1 to 255 after \"virtual_router_id\", found \"256\"",
        ),
        (
            with("virtual_router_id"),
            "k.conf:4: expected a number from 1 to 255 after \"virtual_router_id\", found nothing",
        ),
        (with("advert_int 1e1"), "k.conf:4: expected seconds from 0.01 to 255 after \"advert_int\", found \"1e1\""),
        (with("advert_int inf"), "k.conf:4: expected seconds from 0.01 to 255 after \"advert_int\", found \"inf\""),
        (with("version 4"), "k.conf:4: expected a number from 2 to 3 after \"version\", found \"4\""),
        (
            with("interface an-interface-too-long"),
            "k.conf:4: expected an interface of 1 to 15 bytes, found \"an-interface-too-long\"",
        ),
        (with("interface $IF"), "k.conf:4: expected an interface, found \"$IF\": no such definition is known here"),
        (with("notify \"x"), "k.conf:4: expected a closing \" before the end of the line"),
        (
            with("").replace("10.0.0.1/24", "10.0.0.1/33"),
            "k.conf:6: expected an address such as 169.254.0.1/24, found \"10.0.0.1/33\"",
        ),
        (with("").replace("10.0.0.1/24", "dev"), "k.conf:6: expected an address such as 169.254.0.1/24, found \"dev\""),
        (
            with("").replace("10.0.0.1/24", "10.0.0.1/24 label a-long-label:12345"),
            "k.conf:6: expected a label of at most 15 bytes (keepalived drops the address otherwise), found \"a-long-label:12345\"",
        ),
        (
            with("").replace("10.0.0.1/24", ""),
            "k.conf:1: expected an address in virtual_ipaddress in vrrp_instance \"A\", found none",
        ),
        (
            with("").replace("virtual_router_id 7", ""),
            "k.conf:1: expected virtual_router_id in vrrp_instance \"A\", found none",
        ),
        (
            with("version 2").replace("10.0.0.1/24", "fe80::1/64"),
            "k.conf:1: expected version 3 with an IPv6 address in vrrp_instance \"A\", found 2",
        ),
        (with("").replace("interface eth0", ""), "k.conf:1: expected interface in vrrp_instance \"A\", found none"),
        ("\nvrrp_instance {\n}".to_owned(), "k.conf:2: expected a name after \"vrrp_instance\", found nothing"),
        ("vrrp_instance A\nglobal_defs {\n}".to_owned(), "k.conf:1: expected { after \"vrrp_instance\""),
        (
            "vrrp_instance A {\n interface e\n".to_owned(),
            "k.conf:1: expected a } that closes \"vrrp_instance\", found the end of the file",
        ),
        (
            "static_routes {\n x {\n}\n".to_owned(),
            "k.conf:1: expected a } that closes \"static_routes\", found the end of the file",
        ),
        ("}\n".to_owned(), "k.conf:1: expected a keyword, found a } that closes nothing"),
        (
            "\n\ninclude /etc/keepalived/*.conf\n".to_owned(),
            "k.conf:3: cannot include \"/etc/keepalived/*.conf\": included files are not read here",
        ),
        (with("unicast_peer { include x\n}"), "k.conf:4: expected \"include\" at the beginning of a line"),
        (
            with("~SEQ(N, 1, 3) priority $N"),
            "k.conf:4: expected a statement, found \"~SEQ(N, 1, 3) priority $N\": sequences are not evaluated here",
        ),
        (
            with("priority $_RANDOM"),
            "k.conf:4: expected a number from 1 to 255, found $_RANDOM, which only keepalived knows",
        ),
    ] {
        assert_eq!(told(&text), expected, "{text}");
    }
}

#[test]
fn foreign_words_are_cut_and_escaped_in_messages() {
    let error = told(&with(&format!("priority \u{1b}[31m{}", "x".repeat(1000))));
    assert!(error.len() < 200 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn depth_is_no_recursion() {
    let deep = "x {\n".repeat(100_000);
    assert!(told(&deep).starts_with("k.conf:1: "));
    assert_eq!(parse(&format!("{deep}{}", "}\n".repeat(100_000)), "k.conf", Release::default()), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(error) = parse(&text, "k", Release::default()) {
            prop_assert!((1..=text.split('\n').count()).contains(&error.line));
            prop_assert!(!error.what.chars().any(char::is_control));
        }
    }

    /// Likelier to get past the first word than mere bytes.
    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let text = words.join(" ");
        if let Err(error) = parse(&text, "k", Release::default()) {
            prop_assert!((1..=text.split('\n').count()).contains(&error.line));
        }
    }

    #[test]
    fn what_is_written_is_read(vrid in 1..=255_u8, priority in 1..=255_u8, millis in 10..=255_000_u64, vip: std::net::IpAddr) {
        let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
        let text = format!("vrrp_instance A {{\ninterface e\nvirtual_router_id {vrid}\npriority {priority}\n\
                            advert_int {seconds}\nvirtual_ipaddress {{\n{vip}/20 dev f\n}}\n}}");
        let instance = one(&text);
        prop_assert_eq!((instance.vrid, instance.priority, instance.vip, instance.prefix), (vrid, priority, vip, 20));
        let whole = ((millis + 500) / 1000).max(1) * 1000;
        let sent = if vip.is_ipv4() { whole } else { ((millis + 5) / 10 * 10).min(40_950) };
        prop_assert_eq!(instance.advert_interval, std::time::Duration::from_millis(sent));
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "\n",
    "\n",
    "\"",
    "\\",
    "#",
    "!",
    "$",
    "${",
    "@",
    "vrrp_instance",
    "global_defs",
    "A",
    "interface",
    "eth0",
    "virtual_router_id",
    "7",
    "virtual_ipaddress",
    "10.0.0.1/24",
    "dev",
    "authentication",
    "auth_type",
    "AH",
    "use_vmac",
    "advert_int",
    "0.5",
    "vrrp_version",
    "3",
    "include",
    "$N=",
    "$N",
    "~SEQ",
    "\0",
    "é",
];

#[test]
fn a_line_that_begins_with_a_number_that_only_keepalived_knows_ends() {
    // It was replaced by itself for ever; as no keyword is known by that name, the line says nothing.
    assert_eq!(
        parse(&with("$_RANDOM interface eth9"), "k.conf", Release::default()),
        parse(&with(""), "k.conf", Release::default())
    );
}
