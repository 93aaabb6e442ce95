use proptest::prelude::*;

use super::*;
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
    let mut instances = parse(text, "k.conf").expect("it parses");
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
    parse(text, "k.conf").expect_err("it does not parse").to_string()
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
            unicast: false,
            authentication: Some(Authentication::Pass),
            password: None,
        }
    );
}

#[test]
fn a_password_is_taken_only_where_every_release_reads_the_same() {
    let read = |lines: &str| one(&with(&format!("authentication {{\n {lines}\n}}"))).password;
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
        match parse(&NEUTRON[..end], "k.conf") {
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
    assert_eq!((instance.authentication, instance.unicast, instance.native_ipv6), (None, false, false));
    assert_eq!(instance.vip_interface.as_str(), "eth0");
    assert_eq!(
        one("vrrp_instance A {\n interface e\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.1\n}\n}").prefix,
        32
    );
}

#[test]
fn authentication_vmac_unicast_and_fractions_are_read() {
    let instance = one(&with("authentication {\n auth_type AH\n auth_pass x\n}\n unicast_peer {\n 10.0.0.2\n}"));
    assert_eq!(instance.authentication, Some(Authentication::Ah));
    assert!(instance.unicast);
    assert!(!one(&with("unicast_peer {\n}")).unicast, "keepalived then goes back to multicast");
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
    let names: Vec<String> = parse(&two, "k.conf").expect("it parses").into_iter().map(|i| i.name).collect();
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
    assert_eq!(parse(&format!("{deep}{}", "}\n".repeat(100_000)), "k.conf"), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Err(error) = parse(&text, "k") {
            prop_assert!((1..=text.split('\n').count()).contains(&error.line));
            prop_assert!(!error.what.chars().any(char::is_control));
        }
    }

    /// Likelier to get past the first word than mere bytes.
    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let text = words.join(" ");
        if let Err(error) = parse(&text, "k") {
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

mod files {
    use std::collections::BTreeMap;

    use super::*;

    /// Files by path; a pattern is a path, or ends with `*`.
    #[derive(Default)]
    struct Shelf(BTreeMap<PathBuf, String>);

    impl Files for Shelf {
        fn find(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
            let text = pattern.to_string_lossy().into_owned();
            match text.strip_suffix('*') {
                Some(begin) => Ok(self
                    .0
                    .keys()
                    .filter(|path| path.to_string_lossy().starts_with(begin) && !path.ends_with("../more.conf"))
                    .cloned()
                    .collect()),
                None => Ok(vec![pattern.to_owned()]),
            }
        }

        fn text(&mut self, path: &Path) -> Result<String, String> {
            self.0.get(path).cloned().ok_or_else(|| "it is not there".to_owned())
        }
    }

    fn reading(texts: &[(&str, &str)]) -> Reading {
        let texts = texts.iter().map(|(path, text)| (Path::new("/k").join(path), (*text).to_owned()));
        read(Path::new("/k/main.conf"), "node1", &mut Shelf(texts.collect()))
    }

    fn names(reading: &Reading) -> Vec<&str> {
        reading.instances.iter().map(|instance| instance.name.as_str()).collect()
    }

    fn told(reading: &Reading) -> Vec<(String, Option<&str>)> {
        reading.troubles.iter().map(|t| (t.error.to_string(), t.instance.as_deref())).collect()
    }

    fn instance(name: &str, lines: &str) -> String {
        with(lines).replace("vrrp_instance A", &format!("vrrp_instance {name}"))
    }

    #[test]
    fn included_files_take_the_place_of_their_line() {
        let body = " interface eth0\n virtual_router_id 7\n include vips.inc\n";
        let main = format!("net_namespace blue\ninclude d/*\nvrrp_instance LAST {{\n{body}}}\n");
        let reading = reading(&[
            ("main.conf", &main),
            // Relative to the file that includes.
            ("d/1.conf", &format!("$SHARED=eth7\n{}\ninclude ../more.conf", instance("ONE", ""))),
            ("d/2.conf", &instance("TWO", "interface $SHARED")),
            ("d/../more.conf", &instance("MORE", "")),
            ("vips.inc", "virtual_ipaddress {\n 192.0.2.9/24\n}\n"),
        ]);
        assert_eq!(told(&reading), []);
        assert_eq!(names(&reading), ["ONE", "MORE", "TWO", "LAST"]);
        assert_eq!(reading.net_namespace.as_deref(), Some("blue"));
        let [_, more, two, last] = reading.instances.as_slice() else { panic!("four") };
        assert_eq!((&*more.file, more.line), ("/k/d/../more.conf", 1));
        assert_eq!(two.interface, "eth7", "a definition holds in what is read later");
        assert_eq!(last.vip, "192.0.2.9".parse::<std::net::IpAddr>().expect("an address"));
    }

    #[test]
    fn what_cannot_be_included_is_named_and_stops_nobody() {
        let main = format!("include gone.conf\n{}\n{}", instance("A", "include gone.conf"), instance("B", ""));
        let reading = reading(&[("main.conf", &main)]);
        assert_eq!(names(&reading), ["B"]);
        let gone = "cannot read /k/gone.conf: it is not there";
        assert_eq!(
            told(&reading),
            [(format!("/k/main.conf:1: {gone}"), None), (format!("/k/main.conf:5: {gone}"), Some("A"))]
        );
        assert!(!reading.is_whole());
    }

    #[test]
    fn a_circle_of_files_and_too_many_of_them_have_an_end() {
        let circle = reading(&[("main.conf", "include a.conf\n"), ("a.conf", "\ninclude main.conf\n")]);
        let what = "expected another file, found /k/main.conf, which includes itself";
        assert_eq!(told(&circle), [(format!("/k/a.conf:2: {what}"), None)]);

        let deep: Vec<(String, String)> =
            (0..20).map(|n| (format!("{n}.conf"), format!("include {}.conf\n", n + 1))).collect();
        let mut files: Vec<(&str, &str)> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        files.push(("main.conf", "include 0.conf\n"));
        let what = "expected files included at most 16 deep";
        assert_eq!(told(&reading(&files)), [(format!("/k/14.conf:1: {what}"), None)]);

        let main = "include x.conf\n".repeat(300);
        let many = reading(&[("main.conf", &main), ("x.conf", "")]);
        assert_eq!(told(&many)[0].0, "/k/main.conf:256: expected at most 256 files in all");
    }

    #[test]
    fn a_broken_instance_hides_no_neighbour() {
        let main = [
            instance("A", "priority high\n mystery {\n deeper {\n }\n }"),
            instance("B", ""),
            instance("C", "authentication {\n auth_type $_RANDOM\n auth_pass x\n }"),
            instance("D", ""),
            instance("B", "priority 7"),
        ];
        let reading = reading(&[("main.conf", &main.join("\n"))]);
        assert_eq!(names(&reading), ["B", "D"]);
        assert_eq!(reading.instances[0].priority, 100, "the first of that name, as keepalived has it");
        let about: Vec<Option<&str>> = reading.troubles.iter().map(|t| t.instance.as_deref()).collect();
        assert_eq!(about, [Some("B"), Some("A"), Some("C")]);
        assert!(reading.is_whole(), "each of them is known by name");
    }

    #[test]
    fn a_brace_that_is_missing_leaves_what_stands_before_it() {
        let cut = instance("B", "").trim_end_matches('}').to_owned();
        let reading = reading(&[("main.conf", &format!("{}\n{cut}\n{}", instance("A", ""), instance("C", "")))]);
        assert_eq!(names(&reading), ["A"]);
        assert!(!reading.is_whole());
        let what = "expected a } that closes vrrp_instance \"B\" first";
        assert!(told(&reading).contains(&(format!("/k/main.conf:17: {what}"), None)), "{:?}", told(&reading));
    }

    #[test]
    fn conditions_and_definitions_are_keepaliveds() {
        let main = "\
$NET=10.9.8
$IF = eth9
$HOST_IF=eth4
$VIPS=\\
  virtual_ipaddress { \\
    $NET.200/24 dev none
$BLOCK= \\
  vrrp_instance VI_$N { \\
    interface ${HOST_IF}
    virtual_router_id 30
@node1 $PRIO=150
@^node1 $PRIO=50
@other vrrp_instance NOT {
vrrp_instance $_INSTANCE {
  interface ${HOST_IF}
  virtual_router_id 12
  priority $PRIO
  @other priority 1
  @^other version 3
  virtual_ipaddress {
    ${NET}.1/24
    $NET.2/24
  }
}
$N=5
$BLOCK
    virtual_router_id 31
    virtual_ipaddress { ${NET}.3/24 }
}
";
        let reading = reading(&[("main.conf", main)]);
        assert_eq!(told(&reading), []);
        assert_eq!(names(&reading), ["node1", "VI_5"]);
        let [first, second] = reading.instances.as_slice() else { panic!("two") };
        assert_eq!((first.priority, first.version, first.interface.as_str()), (150, 3, "eth4"));
        assert_eq!(first.vip.to_string(), "10.9.8.1");
        assert_eq!((second.vrid, second.vip.to_string().as_str()), (31, "10.9.8.3"));
    }

    #[test]
    fn a_definition_of_itself_has_an_end() {
        let doubling: String = (0..16).map(|n| format!("$A{n}=\\\n$A{0} \\\n$A{0}\n", n + 1)).collect();
        for (definition, what) in [
            ("$A=$A", "1023 bytes"),
            ("$A=x$A $A", "1023 bytes"),
            ("$A=\\\n$A\\\n$A\n", "1023 bytes"),
            (&format!("{doubling}$A16=x y\n$A=$A0"), "20000 lines"),
        ] {
            let reading = reading(&[("main.conf", &format!("{definition}\n$A\n{}", instance("B", "")))]);
            assert!(told(&reading)[0].0.contains(what), "{:?}", told(&reading));
            assert_eq!(names(&reading), ["B"]);
        }
    }

    #[test]
    fn vmacs_have_names_of_their_own() {
        let six = "vrrp_instance F {\n interface eth0\n use_vmac\n virtual_router_id 7\n virtual_ipaddress {\n fe80::1/64\n}\n}";
        let main = [
            instance("A", "use_vmac"),
            instance("B", "use_vmac").replace("eth0", "eth1"),
            instance("C", "use_vmac vrrp2.7").replace("eth0", "eth2"),
            instance("D", "use_vmac").replace("eth0", "eth3"),
            instance("E", "use_vmac").replace("10.0.0.1/24", "10.0.0.1/24 dev eth0"),
            six.to_owned(),
            instance("G", "use_vmac").replace("10.0.0.1/24", "10.0.0.1/24 dev eth9"),
            instance("H", "use_vmac_addr").replace("10.0.0.1/24", "10.0.0.1/24 dev eth9"),
        ];
        let reading = reading(&[("main.conf", &main.join("\n"))]);
        let holders: Vec<&str> = reading.instances.iter().map(|i| i.vip_interface.as_str()).collect();
        assert_eq!(
            holders,
            // G's own is `vrrp5.7`, and its address elsewhere.
            ["vrrp.7", "vrrp1.7", "vrrp2.7", "vrrp3.7", "vrrp4.7", "vrrp6.7", "eth9", "vrrp7.7"]
        );
    }
}

#[test]
fn a_line_that_begins_with_a_number_that_only_keepalived_knows_ends() {
    // It was replaced by itself for ever; as no keyword is known by that name, the line says nothing.
    assert_eq!(parse(&with("$_RANDOM interface eth9"), "k.conf"), parse(&with(""), "k.conf"));
}
