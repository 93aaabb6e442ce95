//! Several files: includes, conditions, definitions, VMACs; and what keeps one from being read.

use std::collections::BTreeMap;

use super::*;

/// Files by path; a pattern is a path, or ends with `*`.
#[derive(Default)]
struct Shelf(BTreeMap<PathBuf, String>);

impl Files for Shelf {
    fn find(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, FileError> {
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

    fn text(&mut self, path: &Path) -> Result<String, FileError> {
        if path.ends_with("secret.conf") {
            return Err(FileError::Unknown("permission denied".to_owned()));
        }
        self.0.get(path).cloned().ok_or_else(|| FileError::Skipped("it is not there".to_owned()))
    }
}

fn reading(texts: &[(&str, &str)]) -> Reading {
    let texts = texts.iter().map(|(path, text)| (Path::new("/k").join(path), (*text).to_owned()));
    read(Path::new("/k/main.conf"), "node1", Release::default(), &mut Shelf(texts.collect()))
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
    let body = " interface eth6\n virtual_router_id 7\n include vips.inc\n";
    let main = format!("net_namespace blue\ninclude d/*\nvrrp_instance LAST {{\n{body}}}\n");
    let reading = reading(&[
        ("main.conf", &main),
        // Relative to the file that includes.
        ("d/1.conf", &format!("$SHARED=eth7\n{}\ninclude ../more.conf", instance("ONE", ""))),
        ("d/2.conf", &instance("TWO", "interface $SHARED")),
        ("d/../more.conf", &instance("MORE", "interface eth5")),
        ("vips.inc", "virtual_ipaddress {\n 192.0.2.9/24\n}\n"),
    ]);
    assert_eq!(told(&reading), []);
    assert_eq!(names(&reading), ["ONE", "MORE", "TWO", "LAST"]);
    assert_eq!(reading.net_namespace.as_deref(), Some("blue"));
    let [_, more, two, last] = reading.instances.as_slice() else { panic!("four") };
    assert_eq!((&*more.file, more.line), ("/k/d/../more.conf", 1));
    assert_eq!(two.interface, "eth7", "a definition holds in what is read later");
    assert_eq!(last.vip, "192.0.2.9".parse::<IpAddr>().expect("an address"));
}

#[test]
fn what_keepalived_passes_over_hides_nobody() {
    let second = instance("B", "virtual_router_id 8");
    let main = format!("include gone.conf\n{}\n{second}", instance("A", "include gone.conf"));
    let reading = reading(&[("main.conf", &main)]);
    assert_eq!(names(&reading), ["A", "B"]);
    let gone = "cannot include /k/gone.conf: it is not there: keepalived goes on without it";
    assert_eq!(told(&reading), [(format!("/k/main.conf:1: {gone}"), None), (format!("/k/main.conf:5: {gone}"), None)]);
    assert!(reading.is_whole());
    let text = &format!("include secret.conf\n{}", instance("B", ""));
    let denied = self::reading(&[("main.conf", text)]);
    assert_eq!(told(&denied), [("/k/main.conf:1: cannot read /k/secret.conf: permission denied".to_owned(), None)]);
    assert!(!denied.is_whole(), "keepalived may read it");
    // `includer` and its like end keepalived.
    let strict = self::reading(&[("main.conf", &format!("includem gone.conf\n{}", instance("B", "")))]);
    assert_eq!((names(&strict), strict.troubles[0].effect), (vec!["B"], Effect::Ends));
}

#[test]
fn only_what_can_hide_an_instance_hides_one() {
    let long = format!("# {}\n", "x".repeat(1500));
    for odd in [
        "include gone.conf\n",
        "}\n",
        &long,
        "global_defs {\n vrrp_version 4\n}\n",
        "vrrp_instance My VIP {\n interface eth0\n}\n",
        "mystery\n",
        "notify \"x\n",
        "net_namespace\n",
    ] {
        let reading = reading(&[("main.conf", &format!("{odd}{}", instance("A", "")))]);
        assert_eq!((names(&reading), reading.is_whole()), (vec!["A"], true), "{odd}: {:?}", told(&reading));
        let quiet = ["mystery\n", "net_namespace\n"].contains(&odd);
        assert_eq!(reading.troubles.is_empty(), quiet, "{odd}: {:?}", told(&reading));
        assert!(reading.troubles.iter().all(|trouble| trouble.effect == Effect::Assumed), "{:?}", reading.troubles);
    }
    for odd in ["include secret.conf\n", "~SEQ(N, 1, 3) x\n", "vrrp_instance $_RANDOM {\n}\n", "net_namespace a\tb\n"] {
        let reading = reading(&[("main.conf", &format!("{odd}{}", instance("A", "")))]);
        assert_eq!(reading.is_whole(), odd.starts_with("net"), "{odd}: {:?}", told(&reading));
    }
}

#[test]
fn what_begins_a_comment_of_several_lines_is_not_one() {
    // keepalived has room for 1,023 bytes: what is behind them is a line of its own.
    let reading = reading(&[("main.conf", &instance("A", &format!("#{}priority 7", "x".repeat(1022))))]);
    assert_eq!(reading.instances[0].priority, 7);
}

#[test]
fn a_circle_of_files_and_too_many_of_them_have_an_end() {
    let circle = reading(&[("main.conf", "include a.conf\n"), ("a.conf", "\ninclude main.conf\n")]);
    let what = "expected another file, found /k/main.conf, which includes itself: the rest is not read";
    assert_eq!(told(&circle), [(format!("/k/a.conf:2: {what}"), None)]);

    let deep: Vec<(String, String)> =
        (0..20).map(|n| (format!("{n}.conf"), format!("include {}.conf\n", n + 1))).collect();
    let mut files: Vec<(&str, &str)> = deep.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.push(("main.conf", "include 0.conf\n"));
    let what = "expected files included at most 16 deep: the rest is not read";
    assert_eq!(told(&reading(&files)), [(format!("/k/14.conf:1: {what}"), None)]);

    let main = format!("{}{}", "include x.conf\n".repeat(300), instance("A", ""));
    assert_eq!(told(&reading(&[("main.conf", &main), ("x.conf", "")])), []);
    let main = format!("{}{}", "include x.conf\n".repeat(4096), instance("A", ""));
    let many = reading(&[("main.conf", &main), ("x.conf", "")]);
    assert_eq!(told(&many)[0].0, "/k/main.conf:4096: expected at most 4096 files in all: the rest is not read");
    assert!(!many.is_whole());
}

#[test]
fn a_broken_instance_hides_no_neighbour() {
    let main = [
        instance("A", "virtual_router_id\n track_script {\n deeper\n }"),
        instance("B", ""),
        instance("C", "authentication {\n auth_type $_RANDOM\n auth_pass x\n }").replace("id 7", "id 8"),
        instance("D", "").replace("id 7", "id 9"),
        instance("B", "priority 7"),
    ];
    let reading = reading(&[("main.conf", &main.join("\n"))]);
    assert_eq!(names(&reading), ["B", "D"]);
    assert_eq!(reading.instances[0].priority, 100, "the first of that name, as keepalived has it");
    let about: Vec<Option<&str>> = reading.troubles.iter().map(|t| t.instance.as_deref()).collect();
    assert_eq!(about, [None, Some("A"), Some("C")]);
    assert_eq!(reading.untold().collect::<Vec<_>>(), ["A", "C"]);
    assert!(reading.is_whole(), "each of them is known by name");
}

#[test]
fn a_brace_that_is_missing_merges_what_follows() {
    let cut = instance("B", "").trim_end_matches('}').to_owned();
    let main = format!("{}\n{cut}\n{}", instance("A", ""), instance("C", "interface eth3\n virtual_router_id 8"));
    let reading = reading(&[("main.conf", &main)]);
    // keepalived takes the lines of C for more of B's.
    assert_eq!(names(&reading), ["A", "B"]);
    assert_eq!((reading.instances[1].interface.as_str(), reading.instances[1].vrid), ("eth3", 8));
    let what = "expected a keyword that begins a block, found \"vrrp_instance\": keepalived takes the lines in it for \
                lines around it, and its } for the end of what is around it";
    assert!(told(&reading).contains(&(format!("/k/main.conf:17: {what}"), None)), "{:?}", told(&reading));
    assert!(!reading.is_whole(), "the file may be cut short");
}

#[test]
fn an_instance_in_a_block_that_is_not_closed_does_not_run() {
    // Its first process counts braces, and sees no instance.
    let main = format!("vrrp_sync_group G {{\n group {{\n X\n}}\n{}", instance("A", ""));
    let reading = reading(&[("main.conf", &main)]);
    assert_eq!((names(&reading), reading.is_whole()), (vec![], false));
}

#[test]
fn two_of_one_vrid_are_none_that_keepalived_runs() {
    let pair = |second: &str| {
        let main = format!("{}\n{second}", instance("A", ""));
        reading(&[("main.conf", &main)]).troubles.iter().map(|trouble| trouble.effect).collect::<Vec<_>>()
    };
    assert_eq!(pair(&instance("B", "")), [Effect::Ends]);
    assert_eq!(pair(&instance("B", "interface eth1")), []);
    assert_eq!(pair(&instance("B", "mcast_dst_ip 224.0.0.20")), []);
    assert_eq!(pair(&instance("B", "").replace("10.0.0.1/24", "fe80::1/64")), []);
    assert_eq!(pair(&instance("B", "unicast_peer {\n 10.0.0.2\n }")), []);
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
    // What a dot follows is no use of a definition.
    let what = "expected an address such as 169.254.0.1/24, found \"$NET.2/24\": keepalived passes over it";
    assert_eq!(told(&reading), [(format!("/k/main.conf:22: {what}"), Some("node1"))]);
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
        ("$A=$A", "32 MiB"),
        ("$A=x$A $A", "1023 bytes"),
        ("$A=\\\n$A\\\n$A\n", "32 MiB"),
        (&format!("{doubling}$A16=x y\n$A=$A0"), "the rest is not read"),
    ] {
        let reading = reading(&[("main.conf", &format!("{definition}\n$A\n{}", instance("B", "")))]);
        let told = told(&reading);
        assert!(told.iter().any(|(told, _)| told.contains(what)), "{definition}: {told:?}");
        assert_eq!(reading.is_whole(), what == "1023 bytes", "{definition}: {told:?}");
    }
}

#[test]
fn a_definition_of_many_lines_that_is_used_many_times_is_bounded_work() {
    // 256 KiB: half of it the definition, half of it its uses.
    let text = format!("$A=\\\n{}\n{}{}", "x \\\n".repeat(32_768), "$A\n".repeat(43_690), instance("B", ""));
    let began = std::time::Instant::now();
    let reading = reading(&[("main.conf", &text)]);
    assert!(told(&reading).iter().any(|(told, _)| told.contains("the rest is not read")), "{:?}", told(&reading));
    assert!(!reading.is_whole());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(reading.troubles.len() <= 65, "{}", reading.troubles.len());
}

#[test]
fn a_comment_in_a_definition_ends_it_where_it_is_read_twice() {
    let text = "$V=\\\n virtual_ipaddress { \\\n # the first\n10.0.0.1/24\n";
    let main = format!("{text}vrrp_instance A {{\n interface eth0\n virtual_router_id 7\n $V\n }}\n}}\n");
    let with = |release| read(Path::new("/k/main.conf"), "n", release, &mut OneText(&main)).instances.len();
    assert_eq!((with(Release::new(2, 1, 5)), with(Release::default())), (1, 0));
}

#[test]
fn vmacs_have_names_of_their_own() {
    let six =
        "vrrp_instance F {\n interface eth0\n use_vmac\n virtual_router_id 7\n virtual_ipaddress {\n fe80::1/64\n}\n}";
    let main = [
        instance("A", "use_vmac"),
        instance("B", "use_vmac").replace("eth0", "eth1"),
        instance("C", "use_vmac vrrp2.7").replace("eth0", "eth2"),
        instance("I", "use_vmac vrrp2.7").replace("eth0", "eth7"),
        instance("D", "use_vmac").replace("eth0", "eth3"),
        instance("E", "use_vmac").replace("10.0.0.1/24", "10.0.0.1/24 dev eth4").replace("eth0", "eth4"),
        six.to_owned(),
        instance("G", "use_vmac").replace("10.0.0.1/24", "10.0.0.1/24 dev eth9").replace("eth0", "eth5"),
        instance("H", "use_vmac_addr").replace("10.0.0.1/24", "10.0.0.1/24 dev eth9").replace("eth0", "eth6"),
    ];
    let reading = reading(&[("main.conf", &main.join("\n"))]);
    let holders: Vec<&str> = reading.instances.iter().map(|i| i.vip_interface.as_str()).collect();
    assert_eq!(
        holders,
        // I's name is C's already. G's own is `vrrp7.7`, and its address elsewhere.
        ["vrrp.7", "vrrp1.7", "vrrp2.7", "vrrp3.7", "vrrp4.7", "vrrp5.7", "vrrp6.7", "eth9", "vrrp8.7"]
    );
}
