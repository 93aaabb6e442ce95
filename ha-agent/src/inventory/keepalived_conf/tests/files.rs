//! Several files: includes, conditions, definitions, VMACs; and what keeps one from being read.

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
    let six =
        "vrrp_instance F {\n interface eth0\n use_vmac\n virtual_router_id 7\n virtual_ipaddress {\n fe80::1/64\n}\n}";
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
