mod files;
mod rules;

use proptest::prelude::*;

use super::*;
use crate::addresses::FurtherAddresses;
use crate::advert_rules::{AdvertRules, Authentication, Mode};
use crate::core::model::Password;
use crate::netlink::decode::IfName;

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
        auth_pass secret
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

fn held(address: &str, prefix: u8, interface: &str, excluded: bool) -> Held {
    Held {
        address: address.parse().expect("an address"),
        prefix,
        interface: interface.to_owned(),
        excluded,
        made: false,
    }
}

fn told(text: &str) -> String {
    parse(text, "k.conf", Release::default()).expect_err("it does not parse").to_string()
}

#[test]
fn what_neutron_writes_is_read() {
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
            addresses: vec![
                held("169.254.0.1", 24, "ha-1b2c3d4e-5f", false),
                held("10.0.0.1", 24, "qr-a", true),
                held("fe80::f816:3eff:fe00:1", 64, "qr-a", true),
            ],
            vmac: None,
            native_ipv6: false,
            rules: AdvertRules {
                version: Some(2),
                mode: Some(Mode::Multicast { group: None }),
                authentication: Some(Authentication::Pass(Password::new("secret"))),
                interval: Some(std::time::Duration::from_secs(2)),
                addresses: Some(vec!["169.254.0.1".parse().expect("an address")]),
                ttl: Some(255),
                ..AdvertRules::default()
            },
        }
    );
}

fn further(given: &[(&str, &str)]) -> FurtherAddresses {
    let one = |(address, device): &(&str, &str)| (address.parse().expect("an address"), IfName::new(device));
    FurtherAddresses::new(given.iter().map(one))
}

#[test]
fn all_addresses_are_known_with_their_devices() {
    let more = "virtual_ipaddress {\n 10.0.0.1/24\n 10.0.0.2 dev eth1\n 10.0.0.3/24 brd - label eth0:1\n fe80::9\n nonsense\n }";
    let excluded = "virtual_ipaddress_excluded {\n 10.0.1.1/24 dev qg-1 no_track\n fe80::1/64 dev qr-1\n 10.0.1.2 dev\n x\n 10.0.1.3 use_vmac\n }";
    let text = format!("vrrp_instance A {{\n interface eth0\n virtual_router_id 7\n{excluded}\n{more}\n}}");
    let here = [("10.0.0.2", "eth1"), ("10.0.0.3", "eth0"), ("10.0.1.1", "qg-1"), ("fe80::1", "qr-1")];
    let instance = one(&text);
    assert_eq!(instance.further(), further(&here));
    assert_eq!(instance.vip, "10.0.0.1".parse::<IpAddr>().expect("an address"));
    // Those of the HA interface are where the VIP is.
    let on_vmac = one(&text.replace("interface eth0", "interface eth0\n use_vmac")).further();
    assert_eq!(on_vmac.len(), 5, "the one with use_vmac is on it, too");
    let of = |address: &str| {
        let at = on_vmac.find(address.parse().expect("an address")).next().expect("it is there");
        on_vmac.device(at)
    };
    assert_eq!((of("10.0.0.3"), of("10.0.1.1")), (None, IfName::new("qg-1")));
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
        "auth_type PASS\n auth_pass $word",
        "auth_type PASS\n auth_pass two words",
        "auth_type PASS\n auth_pass \"a b\"",
    ] {
        assert_eq!(read(lines), None, "{lines}");
    }
    assert!(!format!("{:?}", read("auth_type PASS\n auth_pass secret")).contains("secret"));
}

#[test]
fn a_password_with_braces_is_none_and_ends_the_instance() {
    // keepalived takes each brace for one: the password's closes `authentication`, whose own closes the instance.
    let text = with("authentication {\n auth_type PASS\n auth_pass se{1}\n }");
    let said = read_text(&text, "k.conf", Release::default());
    assert_eq!(said.untold().collect::<Vec<_>>(), ["A"]);
    let last = said.troubles.last().expect("one").error.to_string();
    assert!(last.starts_with("k.conf:1: expected an address in vrrp_instance \"A\", found none"), "{last}");
    let quoted = text.replace("se{1}", "\"se{1}\"");
    assert_eq!(one(&quoted).rules.authentication, Some(Authentication::PassUnknown));
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
    assert_eq!(six.vip, "fe80::10".parse::<IpAddr>().expect("an address"));
    assert_eq!((six.interface.as_str(), six.vip_interface.as_str()), ("eth1", "eth2"));
}

#[test]
fn several_instances_keep_their_order() {
    let two = format!(
        "{}\nvrrp_sync_group G {{\n group {{\n A\n B\n }}\n}}\n{}",
        with(""),
        with("virtual_router_id 8").replace("e A", "e B")
    );
    let names: Vec<String> =
        parse(&two, "k.conf", Release::default()).expect("it parses").into_iter().map(|i| i.name).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn layout_is_as_free_as_keepaliveds() {
    let instance = one("! a comment }\n# another {\nvrrp_instance \"VR 1\" # here }\n{\n interface eth0\r\n\
                        virtual_router_id 7!x\n notify_master \"/bin/x # { \\\" \"\n track_interface { lo }\n\
                        virtual_ipaddress { 10.0.0.1/24 dev eth1 }\n}\n");
    assert_eq!((instance.name.as_str(), instance.interface.as_str(), instance.vrid), ("VR 1", "eth0", 7));
    assert_eq!(instance.vip_interface.as_str(), "eth1");
}

/// A line, what is other than without it, and what is told.
type Assumed<'a> = (&'a str, &'a dyn Fn(&mut Instance), &'a str);

/// What keepalived warns of, and what both take instead.
#[test]
fn where_keepalived_takes_something_else_it_is_taken_and_told() {
    let seconds = |seconds: f64| std::time::Duration::from_secs_f64(seconds);
    let of = |text: &str, change: &dyn Fn(&mut Instance)| {
        let mut expected = one(&with(""));
        change(&mut expected);
        expected.rules.interval = Some(expected.advert_interval);
        expected.rules.version = Some(expected.version);
        let said = read_text(text, "k.conf", Release::default());
        assert_eq!(said.instances, [expected], "{text}: {:?}", said.troubles);
        let [trouble] = said.troubles.as_slice() else { panic!("{text}: {:?}", said.troubles) };
        assert_eq!((trouble.effect, said.is_whole()), (Effect::Assumed, true));
        trouble.error.to_string()
    };
    let lines: [Assumed; 23] = [
        ("priority 300", &|_| {}, "expected a priority from 1 to 255, found \"300\": keepalived takes 100"),
        ("priority 0", &|_| {}, "expected a priority from 1 to 255, found \"0\": keepalived takes 100"),
        ("priority 100;", &|_| {}, "expected a priority from 1 to 255, found \"100;\": keepalived takes 100"),
        ("priority -5", &|_| {}, "expected a priority from 1 to 255, found \"-5\": keepalived takes 100"),
        ("priority high", &|_| {}, "expected a priority from 1 to 255, found \"high\": keepalived takes 100"),
        ("advert_int 0", &|_| {}, "expected seconds from 0.01 to 255, found \"0\": keepalived takes 1s"),
        ("advert_int 1s", &|_| {}, "expected seconds from 0.01 to 255, found \"1s\": keepalived takes 1s"),
        ("advert_int 300", &|_| {}, "expected seconds from 0.01 to 255, found \"300\": keepalived takes 1s"),
        ("advert_int 2;", &|_| {}, "expected seconds from 0.01 to 255, found \"2;\": keepalived takes 1s"),
        ("advert_int inf", &|_| {}, "expected seconds from 0.01 to 255, found \"inf\": keepalived takes 1s"),
        (
            "advert_int 4000000;",
            &|it| it.advert_interval = seconds(4.0),
            "expected seconds from 0.01 to 255, found \"4000000;\": keepalived takes 4s",
        ),
        ("version 1", &|_| {}, "expected version 2 or 3, found \"1\": keepalived passes over it"),
        ("version 4", &|_| {}, "expected version 2 or 3, found \"4\": keepalived passes over it"),
        ("version 3;", &|it| it.version = 3, "expected version 2 or 3, found \"3;\": keepalived takes 3"),
        (
            "virtual_router_id 256",
            &|_| {},
            "expected virtual_router_id from 1 to 255, found \"256\": keepalived passes over it",
        ),
        (
            "virtual_router_id x",
            &|_| {},
            "expected virtual_router_id from 1 to 255, found \"x\": keepalived passes over it",
        ),
        (
            "interface an-interface-too-long",
            &|_| {},
            "expected an interface of 1 to 15 bytes, found \"an-interface-too-long\": keepalived passes over it",
        ),
        ("state master", &|_| {}, "expected MASTER or BACKUP, found \"master\": keepalived takes BACKUP"),
        (
            "virtual_ipaddress {\n host.example\n}",
            &|_| {},
            "expected an address such as 169.254.0.1/24, found \"host.example\": keepalived passes over it",
        ),
        (
            "virtual_ipaddress {\n 10.0.0.9/24 label a-long-label:123\n}",
            &|_| {},
            "expected a label of at most 15 bytes, found \"a-long-label:123\" behind \"10.0.0.9/24\": keepalived passes over \
             the address",
        ),
        (
            "virtual_ipaddress {\n 10.0.0.9/24 dev an-interface-too-long\n}",
            &|_| {},
            "expected an interface of 1 to 15 bytes, found \"an-interface-too-long\" behind \"10.0.0.9/24\": keepalived \
             passes over the address",
        ),
        (
            "virtual_ipaddress {\n dev\n}",
            &|_| {},
            "expected an address such as 169.254.0.1/24, found \"dev\": keepalived passes over it",
        ),
        ("notify \"x", &|_| {}, "expected a closing \": keepalived leaves out what follows the quote"),
    ];
    for (line, change, told) in lines {
        let text = with(line);
        // What stands behind must be where it was.
        let number = if line.starts_with("virtual_ipaddress") { 5 } else { 4 };
        if line.starts_with("notify") {
            let said = read_text(&text, "k.conf", Release::default());
            let errors: Vec<String> = said.troubles.iter().map(|trouble| trouble.error.to_string()).collect();
            let goes_on = "k.conf:4: expected a closing \" before the end of the line: keepalived goes on";
            assert_eq!(errors, [goes_on.to_owned(), format!("k.conf:4: {told}")]);
            assert_eq!(said.instances, [one(&with(""))]);
        } else {
            assert_eq!(of(&text, change), format!("k.conf:{number}: {told}"), "{line}");
        }
    }
}

#[test]
fn the_first_address_that_keepalived_takes_is_the_vip() {
    let vip = |lines: &str, release| {
        let said = read_text(&with("").replace("10.0.0.1/24", lines), "k.conf", release);
        let [instance] = said.instances.as_slice() else { panic!("{lines}: {:?}", said.troubles) };
        format!("{}/{}", instance.vip, instance.prefix)
    };
    for (lines, expected) in [
        ("10.0.0.1/33", "10.0.0.1/32"),
        ("10.0.0.1/255.255.255.0", "10.0.0.1/32"),
        ("10.0.0.1/24;", "10.0.0.1/24"),
        ("10.0.0.1/", "10.0.0.1/0"),
        ("fe80::1/129", "fe80::1/128"),
        ("host.example\n 10.0.0.2/24", "10.0.0.2/24"),
        ("10.0.0.1/24 label a-long-label:123\n 10.0.0.2/24", "10.0.0.2/24"),
        ("10.0.0.1/24 peer 10.0.0.9", "10.0.0.1/32"),
        ("010.0.0.1\n10.0.0.3", "10.0.0.3/32"),
    ] {
        assert_eq!(vip(lines, Release::default()), expected, "{lines}");
    }
    let cut = "10.0.0.1/24 label a-long-label:123\n 10.0.0.2/24";
    assert_eq!(vip(cut, Release::new(2, 1, 5)), "10.0.0.1/24", "older releases cut the label");
}

#[test]
fn an_instance_with_excluded_addresses_only_has_the_first_of_them() {
    let excluded = "virtual_ipaddress_excluded {\n 10.3.0.1/24\n fe80::3/64 dev eth2\n }";
    let text = with(excluded).replace("10.0.0.1/24", "");
    let instance = one(&text);
    assert_eq!((instance.vip.to_string().as_str(), instance.prefix), ("10.3.0.1", 24));
    assert_eq!(instance.addresses, [held("10.3.0.1", 24, "eth0", true), held("fe80::3", 64, "eth2", true)]);
    assert_eq!(instance.rules.addresses, Some(Vec::new()), "its adverts list none");
    for ends in ["version 3\n", "strict_mode\n", "native_ipv6\n"] {
        assert!(
            told(&with(&format!("{ends}{excluded}")).replace("10.0.0.1/24", "")).contains("keepalived ends"),
            "{ends}"
        );
    }
    let allowed = text.replace("interface", "version 3\n no_virtual_ipaddress\n interface");
    let newer = Release::new(2, 3, 3);
    assert_eq!(parse(&allowed, "k.conf", newer).map(|instances| instances.len()), Ok(1));
    assert!(parse(&allowed, "k.conf", Release::default()).is_err());
}

#[test]
fn older_releases_end_where_strictness_meets_peers() {
    let text = with("strict_mode\n unicast_peer {\n 10.0.0.2\n }");
    let told = |release| parse(&text, "k.conf", release).map(|instances| instances.len()).map_err(|error| error.line);
    assert_eq!((told(Release::new(2, 1, 5)), told(Release::default())), (Err(1), Ok(1)));
}

#[test]
fn the_last_brace_may_be_missing() {
    let text = with("");
    let said = read_text(text.trim_end_matches('}'), "k.conf", Release::default());
    assert_eq!(said.instances, [one(&text)]);
    // The file may as well be cut short.
    assert!(!said.is_whole());
}

#[test]
fn a_name_of_two_words_is_no_instance() {
    let said =
        read_text(&format!("{}\n{}", with("").replace(" A ", " My VIP "), with("")), "k.conf", Release::default());
    assert_eq!(said.instances.iter().map(|instance| instance.name.as_str()).collect::<Vec<_>>(), ["A"]);
    let what = "expected one word behind vrrp_instance, found 2: keepalived passes over the instance";
    assert_eq!(said.troubles[0].error.to_string(), format!("k.conf:1: {what}"));
    assert!(said.is_whole());
}

#[test]
fn what_no_terminal_should_see_is_in_no_name() {
    let mut texts: Vec<String> = ["interface e\x1b[2J", "interface e\u{9b}1"].map(with).to_vec();
    texts.push(with("").replace(" A ", " A\x1b[2J "));
    texts.push(with("").replace("10.0.0.1/24", "10.0.0.1/24 dev e\x1b[2J"));
    texts.push(format!("{}\nglobal_defs {{\n vmac_prefix \x1b[\n}}", with("use_vmac")));
    texts.push(with("use_vmac e\x1b[2J"));
    for text in texts {
        let said = read_text(&text, "k.conf", Release::default());
        let shown = format!("{:?}", said.instances);
        assert!(!shown.contains("\\u{1b}") && !shown.contains("\\u{9b}"), "{shown}");
        assert!(!said.troubles.is_empty(), "{text}");
        for trouble in said.troubles {
            assert!(!trouble.error.to_string().contains(char::is_control), "{}", trouble.error);
        }
    }
}

#[test]
fn an_error_names_file_line_and_what_was_expected() {
    let ends = "none: keepalived ends with such a configuration";
    for (text, expected) in [
        (
            with("virtual_router_id"),
            "k.conf:4: expected a number from 1 to 255 after \"virtual_router_id\", found nothing: keepalived ends there".to_owned(),
        ),
        (
            with("").replace("10.0.0.1/24", ""),
            "k.conf:1: expected an address in vrrp_instance \"A\", found none: without one it cannot be watched".to_owned(),
        ),
        (
            with("version 3").replace("10.0.0.1/24", ""),
            format!("k.conf:1: expected an address in virtual_ipaddress in vrrp_instance \"A\", found {ends}"),
        ),
        (
            with("").replace("virtual_router_id 7", ""),
            format!("k.conf:1: expected virtual_router_id in vrrp_instance \"A\", found {ends}"),
        ),
        (
            with("version 2").replace("10.0.0.1/24", "fe80::1/64"),
            "k.conf:1: expected version 3 with an IPv6 address in vrrp_instance \"A\", found 2".to_owned(),
        ),
        (
            with("").replace("interface eth0", ""),
            format!("k.conf:1: expected interface in vrrp_instance \"A\", found {ends}"),
        ),
        (
            "vrrp_instance A {\n interface e\n".to_owned(),
            format!("k.conf:1: expected virtual_router_id in vrrp_instance \"A\", found {ends}"),
        ),
        (
            "static_routes {\n x {\n}\n".to_owned(),
            "k.conf:1: expected a } that closes \"static_routes\", found the end of the file".to_owned(),
        ),
        (
            "\n\ninclude /etc/keepalived/*.conf\n".to_owned(),
            "k.conf:3: cannot include \"/etc/keepalived/*.conf\": included files are not read here".to_owned(),
        ),
        (
            with("unicast_peer { include x\n}"),
            "k.conf:4: cannot include \"x\": included files are not read here".to_owned(),
        ),
        (
            with("~SEQ(N, 1, 3) priority $N"),
            "k.conf:4: expected a statement, found \"~SEQ(N, 1, 3) priority $N\": sequences are not evaluated here".to_owned(),
        ),
        (
            with("priority $_RANDOM"),
            "k.conf:4: expected a number from 1 to 255, found $_RANDOM, which only keepalived knows".to_owned(),
        ),
        (
            with("priority ${_RANDOM 1 9}"),
            "k.conf:4: expected a number from 1 to 255, found $_RANDOM, which only keepalived knows".to_owned(),
        ),
    ] {
        let said = read_text(&text, "k.conf", Release::default());
        let errors: Vec<String> = said.troubles.iter().map(|trouble| trouble.error.to_string()).collect();
        assert!(errors.contains(&expected), "{text}: {errors:?}");
        assert!(said.failure().is_some());
    }
}

#[test]
fn foreign_words_are_cut_and_escaped_in_messages() {
    let text = with(&format!("priority \u{1b}[31m{}", "x".repeat(900)));
    let error = read_text(&text, "k.conf", Release::default()).troubles.remove(0).error.to_string();
    assert!(error.len() < 200 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn depth_is_no_recursion() {
    let deep = "x {\n".repeat(100_000);
    assert!(told(&deep).starts_with("k.conf:100000: "));
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
    fn what_is_written_is_read(vrid in 1..=255_u8, priority in 1..=255_u8, millis in 10..=255_000_u64, vip: IpAddr) {
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
