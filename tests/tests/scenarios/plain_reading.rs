//! Our reading of keepalived.conf beside keepalived's own, which it prints with `--dump-conf`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ha_agent::advert_rules::{Authentication, Checksum, Mode, Release, UnicastPeer};
use ha_agent::core::model::Password;
use ha_agent::inventory::keepalived_conf::{Instance, default_config_id, read};
use ha_agent::inventory::keepalived_release::{self, Origin};
use ha_agent::inventory::plain::Disk;
use ha_agent_tests::lab::{Lab, Router, Site};
use ha_agent_tests::process::Process;
use ha_agent_tests::wait;

/// What both say of an instance: VRID, interface, version, interval in milliseconds, priority, first
/// VIP, the interface that holds it, unicast.
type Said = (u8, String, u8, u128, u8, String, String, bool);

/// Configurations; `DEV0` stands for the interface.
const TABLE: &[(&str, &str)] = &[
    ("defaults", "vrrp_instance A {\n interface DEV0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1\n }\n}"),
    (
        "state MASTER owns the address",
        "vrrp_instance A { \n state MASTER\n interface DEV0\n virtual_router_id 255\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}",
    ),
    (
        "fractions of a second in both versions",
        "vrrp_instance A {\n interface DEV0\n virtual_router_id 7\n advert_int 0.4\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n\
         vrrp_instance B {\n interface DEV0\n virtual_router_id 8\n version 3\n advert_int 0.015\n virtual_ipaddress {\n 192.0.2.2/24\n }\n}\n\
         vrrp_instance C {\n interface DEV0\n virtual_router_id 9\n version 3\n advert_int 41\n virtual_ipaddress {\n 192.0.2.3/24\n }\n}\n\
         vrrp_instance D {\n interface DEV0\n virtual_router_id 10\n advert_int 2.5\n virtual_ipaddress {\n 192.0.2.4/24\n }\n}",
    ),
    (
        "global version, standing last",
        "vrrp_instance A {\n interface DEV0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n\
         vrrp_instance B {\n interface DEV0\n virtual_router_id 8\n version 2\n virtual_ipaddress {\n 192.0.2.2/24\n }\n}\n\
         global_defs {\n vrrp_version 3\n}",
    ),
    (
        "VMACs, named and not, and addresses elsewhere",
        "vrrp_instance A {\n interface DEV0\n use_vmac\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1/24 dev DEV0 scope link\n }\n}\n\
         vrrp_instance B {\n interface DEV0\n use_vmac out0 02:00:00:00:00:08\n virtual_router_id 8\n virtual_ipaddress {\n 192.0.2.2/24\n }\n}\n\
         vrrp_instance C {\n interface DEV0\n use_vmac\n virtual_router_id 9\n virtual_ipaddress {\n 192.0.2.3/24 dev lo\n }\n}\n\
         vrrp_instance D {\n interface DEV0\n use_vmac\n virtual_router_id 7\n virtual_ipaddress {\n fe80::7/64\n }\n}\n\
         global_defs {\n vmac_prefix ext\n}",
    ),
    (
        "unicast, with and without peers",
        "vrrp_instance A {\n interface DEV0\n virtual_router_id 7\n unicast_src_ip 192.0.2.100\n unicast_peer {\n 192.0.2.200\n 192.0.2.201\n }\n\
         virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n\
         vrrp_instance B {\n interface DEV0\n virtual_router_id 8\n unicast_peer {\n }\n virtual_ipaddress {\n 192.0.2.2/24\n }\n}",
    ),
    (
        "families",
        "vrrp_instance A {\n interface DEV0\n native_ipv6\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1/24\n fe80::1/64\n 2001:db8::1/64\n }\n}\n\
         vrrp_instance B {\n interface DEV0\n virtual_router_id 8\n version 2\n virtual_ipaddress {\n fe80::2/64\n }\n}\n\
         vrrp_instance C {\n interface DEV0\n virtual_router_id 9\n virtual_ipaddress {\n fe80::3\n }\n version 2\n}",
    ),
    (
        "layout",
        "! comment {\n# another }\nvrrp_sync_group G {\n group {\n A\n }\n}\nvrrp_instance \"A\" # here }\n{\n interface DEV0\n\
         virtual_router_id 7!x\n virtual_rules { from 192.0.2.0/24 table 7 }\n track_interface { lo }\n\
         notify_master \"/bin/true # {\"\n virtual_ipaddress { 192.0.2.1/24 brd + label v:1 }\n}\n",
    ),
    (
        "definitions and conditions",
        "$NET=192.0.2\n$IFACE = none\n$IFACE=DEV0\n$PRIO=150\n@^HOST $PRIO=50\n$BLOCK=\\\nvrrp_instance VI_$N { \\\n interface $IFACE\n\
         @elsewhere vrrp_instance NOT {\n$N=5\n$BLOCK\n virtual_router_id $N\n @HOST priority ${PRIO}\n @elsewhere priority 1\n\
         virtual_ipaddress {\n ${NET}.1/24\n $NET.2/24\n }\n}\n",
    ),
    (
        "includes",
        "include sub/[ab].conf\ninclude sub/{c,none}.conf\nvrrp_instance A {\n interface DEV0\n virtual_router_id 7\n include sub/vips.inc\n}\n",
    ),
    (
        "a second one of a name",
        "vrrp_instance A {\n interface DEV0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n\
         vrrp_instance A {\n interface DEV0\n virtual_router_id 8\n virtual_ipaddress {\n 192.0.2.2/24\n }\n}\n\
         vrrp_instance C {\n interface DEV0\n virtual_router_id 9\n virtual_ipaddress {\n 192.0.2.3/24\n }\n}\n",
    ),
];

/// What the include files of the table say.
const INCLUDED: &[(&str, &str)] = &[
    (
        "a.conf",
        "vrrp_instance IA {\n interface DEV0\n virtual_router_id 11\n include vips.inc\n}\ninclude deeper/d.conf\n",
    ),
    (
        "b.conf",
        "vrrp_instance IB {\n interface DEV0\n virtual_router_id 12\n virtual_ipaddress {\n 192.0.2.12/24\n }\n}\n",
    ),
    (
        "c.conf",
        "vrrp_instance IC {\n interface DEV0\n virtual_router_id 13\n virtual_ipaddress {\n 192.0.2.13/24\n }\n}\n",
    ),
    ("deeper/d.conf", "vrrp_instance ID {\n interface DEV0\n virtual_router_id 14\n include ../vips.inc\n}\n"),
    ("vips.inc", "virtual_ipaddress {\n 192.0.2.14/24\n}\n"),
];

#[test]
#[ignore = "needs root"]
fn what_is_read_is_what_keepalived_reads() -> Result<()> {
    let lab = Lab::new("reading")?;
    let site = lab.site("a", &Router::new(1))?;
    let host = default_config_id();
    let fill = |text: &str| text.replace("DEV0", &site.interface).replace("HOST", &host);
    for (what, text) in TABLE {
        let folder = lab.folder().join(what.replace(' ', "-"));
        for (path, text) in
            INCLUDED.iter().map(|(path, text)| (format!("sub/{path}"), *text)).chain([("k.conf".to_owned(), *text)])
        {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(&path, fill(text))?;
        }
        let conf = folder.join("k.conf");
        let dump = dump(&site, &conf).with_context(|| (*what).to_owned())?;
        let mut theirs = parse(&dump).with_context(|| format!("{what}:\n{dump}"))?;
        // VRRPv2 over IPv6, which keepalived sends, is in no RFC.
        let expected: &[&str] = if *what == "families" { &["B"] } else { &[] };
        theirs.retain(|name, said| !(expected.contains(&name.as_str()) && said.2 == 2 && said.5.contains(':')));
        let reading = read(&conf, &host, Release::default(), &mut Disk::default());
        let ours: BTreeMap<String, Said> = reading
            .instances
            .iter()
            .map(|i| {
                let vip = format!("{}/{}", i.vip, i.prefix);
                let interval = i.advert_interval.as_millis();
                let holder = i.vip_interface.clone();
                (
                    i.name.clone(),
                    (i.vrid, i.interface.clone(), i.version, interval, i.priority, vip, holder, i.rules.is_unicast()),
                )
            })
            .collect();
        assert_eq!(ours, theirs, "{what}: {:?}", reading.troubles);
        assert!(!ours.is_empty());
        assert_eq!(reading.untold().collect::<Vec<_>>(), expected, "{what}: {:?}", reading.troubles);
    }
    Ok(())
}

/// What keepalived prints of its own reading when it starts.
fn dump(site: &Site, conf: &Path) -> Result<String> {
    let folder = conf.parent().context("a folder")?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &site.netns, "keepalived", "--dont-fork", "--vrrp", "--log-console", "--no-syslog"])
        .args(["--dump-conf", "--log-detail", "--use-file"])
        .arg(conf)
        .arg("--pid")
        .arg(folder.join("pid"))
        .arg("--vrrp_pid")
        .arg(folder.join("vrrp.pid"));
    let mut process = Process::start(&mut command, &folder.join("log"), site.lab().guardian())?;
    let done = wait::until(Duration::from_secs(10), "keepalived's own reading", || {
        let text = process.output();
        text.contains("< Interfaces >").then_some(text)
    });
    process.signal(rustix::process::Signal::TERM)?;
    process.wait(Duration::from_secs(10))?;
    done.with_context(|| process.output())
}

/// Length of `Fri Nov 20 21:36:07 2026: `, which begins each line.
const TIME: usize = 26;

/// The instances of a dump.
fn parse(dump: &str) -> Result<BTreeMap<String, Said>> {
    let topology = dump.split("VRRP Topology").nth(1).context("its topology")?;
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    // The dump's lines are indented, but for its headings; what keepalived's parent says in between is not.
    let dumped = |line: &&str| line.starts_with(' ') || line.starts_with("------<");
    for line in topology.lines().filter_map(|line| line.get(TIME..)).filter(dumped).map(str::trim) {
        if line.contains("< Interfaces >") {
            break;
        }
        match (line.strip_prefix("VRRP Instance = "), parts.last_mut()) {
            (Some(name), _) => parts.push((name.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    parts.into_iter().map(|(name, lines)| Ok((name, said(&lines)?))).collect()
}

fn said(lines: &[&str]) -> Result<Said> {
    let value = |key: &str| {
        let found = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        found.with_context(|| format!("{key} in {lines:#?}"))
    };
    let interval = match value("Advert interval")?.split_once(' ').context("a unit")? {
        (number, "sec") => number.parse::<u128>()? * 1000,
        (number, _) => number.parse()?,
    };
    let at = lines.iter().position(|line| line.starts_with("Virtual IP (")).context("a virtual IP")?;
    let vip = lines.get(at + 1).context("the first of them")?;
    let (address, rest) = vip.split_once(" dev ").context("its device")?;
    // A broadcast address may stand between.
    let address = address.split(' ').next().unwrap_or_default();
    let whole = if address.contains(':') { "/128" } else { "/32" };
    Ok((
        value("Virtual Router ID")?.parse()?,
        // `eth0`, or `vrrp.7, vmac on eth0`.
        value("Interface")?.split("vmac on ").last().unwrap_or_default().to_owned(),
        value("VRRP Version")?.parse()?,
        interval,
        value("Priority")?.parse()?,
        if address.contains('/') { address.to_owned() } else { format!("{address}{whole}") },
        rest.split([' ', '@']).next().unwrap_or_default().to_owned(),
        lines.iter().any(|line| line.starts_with("Unicast Peer")),
    ))
}

/// What an instance takes as a peer's advert; each line is in none but one of them.
const RULES: &[(&str, &str)] = &[
    (
        "addresses",
        "virtual_ipaddress {\n 192.0.2.1/24\n 192.0.2.1/24\n fe80::1\n 192.0.2.300\n 192.0.2.4 label\n\
                   192.0.2.5 label aaaaaaaaaaaaaaaaaaa\n 192.0.2.6 brd x\n 192.0.2.8 mystery\n }\n\
                   virtual_ipaddress_excluded {\n 192.0.2.9\n }",
    ),
    ("a source of the other family", "mcast_src_ip 192.0.2.50\n virtual_ipaddress {\n fe80::1\n 192.0.2.2/24\n }"),
    ("skipped addresses", "skip_check_adv_addr no\n virtual_ipaddress {\n 192.0.2.1\n }"),
    (
        "a password",
        "authentication {\n auth_type PASS\n auth_type x\n auth_pass secret-long-one\n }\n virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    (
        "a password of VRRPv3",
        "version 3\n authentication {\n auth_type PASS\n auth_pass x\n }\n virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    ("AH", "authentication {\n auth_type AH\n auth_pass x\n }\n virtual_ipaddress {\n 192.0.2.1\n }"),
    ("no password", "authentication {\n auth_type PASS\n }\n virtual_ipaddress {\n 192.0.2.1\n }"),
    (
        "strictness",
        "strict_mode\n use_vmac\n vmac_xmit_base\n authentication {\n auth_type PASS\n auth_pass x\n }\n virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    ("strictness over IPv6", "strict_mode\n version 2\n virtual_ipaddress {\n fe80::1\n }"),
    ("a group of its own", "mcast_dst_ip 224.0.0.20\n virtual_ipaddress {\n 192.0.2.1\n }"),
    ("no group of the link", "mcast_dst_ip ff05::7\n mcast_src_ip fe80::77\n virtual_ipaddress {\n fe80::1\n }"),
    (
        "peers",
        "unicast_ttl 5\n unicast_peer {\n 192.0.2.77 min_ttl 3\n 192.0.2.78 max_ttl 300\n fe80::1\n 192.0.2.79/24 foo 7\n 192.0.2.79\n }\n\
               virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    (
        "unchecked peers",
        "use_vmac\n version 3\n old_unicast_checksum\n unicast_peer {\n 192.0.2.77\n }\n virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    (
        "no peers",
        "use_vmac\n old_unicast_checksum never\n unicast_peer {\n nonsense\n }\n virtual_ipaddress {\n 192.0.2.1\n }",
    ),
    (
        "peers of IPv6",
        "check_unicast_src\n old_unicast_checksum never\n unicast_peer {\n fe80::99\n }\n virtual_ipaddress {\n fe80::1\n }",
    ),
    ("unanswered", "use_vmac\n lower_prio_no_advert\n virtual_ipaddress {\n 192.0.2.1\n }"),
];

/// The same of all instances; whatever follows these keywords, they hold.
const GLOBALS: &[&str] = &[
    "",
    "vrrp_strict no\n vrrp_mcast_group4 224.0.0.99\n vrrp_mcast_group6 ff02::99",
    "vrrp_skip_check_adv_addr no\n vrrp_check_unicast_src no\n vrrp_mcast_group4 192.0.2.1\n vrrp_lower_prio_no_advert yes",
];

#[test]
#[ignore = "needs root"]
fn what_it_takes_is_what_keepalived_says() -> Result<()> {
    let lab = Lab::new("taking")?;
    let site = lab.site("a", &Router::new(1))?;
    for (number, globals) in GLOBALS.iter().enumerate() {
        for (what, lines) in RULES {
            // keepalived ends where peers are given in strict mode.
            if globals.contains("vrrp_strict") && lines.contains("unicast_peer") {
                continue;
            }
            let folder = lab.folder().join(format!("{what}-{number}").replace(' ', "-"));
            fs::create_dir_all(&folder)?;
            let conf = folder.join("k.conf");
            let interface = &site.interface;
            let text = format!(
                "vrrp_instance A {{\n interface {interface}\n virtual_router_id 7\n {lines}\n}}\nglobal_defs {{\n {globals}\n}}\n"
            );
            fs::write(&conf, text)?;
            let dump = dump(&site, &conf).with_context(|| (*what).to_owned())?;
            let reading = read(&conf, "x", Release::default(), &mut Disk::default());
            let [instance] = reading.instances.as_slice() else { bail!("{what}: {:?}", reading.troubles) };
            let theirs = taken(&dump)?;
            assert_eq!(would_print(instance), theirs, "{what}, {globals}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn its_release_is_read_without_running_it() -> Result<()> {
    let said = Command::new("keepalived").arg("--version").output()?;
    let said = String::from_utf8([said.stdout, said.stderr].concat())?;
    let found = keepalived_release::find(None);
    assert!(said.starts_with(&format!("Keepalived v{} (", found.release)), "{said}");
    assert!(matches!(found.origin, Origin::Program(_)), "{found}");
    Ok(())
}

/// What keepalived prints of the rules of its only instance, but for the headings of lists.
fn taken(dump: &str) -> Result<Vec<String>> {
    let topology = dump.split("VRRP Topology").nth(1).context("its topology")?;
    let lines: Vec<&str> = topology.lines().filter_map(|line| line.get(TIME..)).collect();
    let end = lines.iter().position(|line| line.contains("< Interfaces >")).context("the end of it")?;
    let checked_by_all = dump.contains("VRRP check unicast_src = true");
    let mut taken = Vec::new();
    let mut list = "";
    for line in &lines[..end] {
        // The parts of a list are indented further.
        let part = line.strip_prefix("     ").filter(|_| !list.is_empty());
        if let (Some(part), "address") = (part, list) {
            let address = part.split([' ', '/']).next().unwrap_or_default();
            taken.push(format!("address {address}"));
        } else if let (Some(part), "peer") = (part, list) {
            taken.push(format!("peer {part}"));
        } else if let Some(line) = line.strip_prefix("   ") {
            list = match line {
                _ if line.starts_with("Virtual IP (") => "address",
                _ if line.starts_with("Unicast Peer :") => "peer",
                _ => "",
            };
            let kept = [
                "VRRP Version = ",
                "Skip checking",
                "Multicast address",
                "Send advert after receive lower",
                "Authentication type = ",
            ];
            let also = ["Unicast TTL = ", "Check unicast src :", "Unicast checksum compat", "Password = "];
            if kept.iter().chain(&also).any(|begin| line.starts_with(begin)) {
                // What holds for all is printed elsewhere.
                let line =
                    if checked_by_all && line == "Check unicast src : no" { "Check unicast src : yes" } else { line };
                taken.push(line.split(", ifindex").next().unwrap_or_default().to_owned());
            } else if line.ends_with(" (from configuration)") {
                taken.push(line.to_owned());
            } else if let Some(device) = line.strip_prefix("Interface = ") {
                let made = device.split_once(", vmac on ").filter(|_| !device.ends_with("xmit base i/f"));
                taken.extend(made.map(|(device, _)| format!("bound to {device}")));
            }
        }
    }
    Ok(taken)
}

/// What it would print if it had the rules that were read.
fn would_print(instance: &Instance) -> Vec<String> {
    let rules = &instance.rules;
    let yes = |flag| if flag { "yes" } else { "no" };
    let mut lines = vec![format!("VRRP Version = {}", instance.version)];
    lines.extend(rules.receive_interface.as_ref().map(|device| format!("bound to {device}")));
    lines.extend((!rules.check_addresses).then(|| "Skip checking advert IP addresses".to_owned()));
    lines.extend(rules.source.map(|source| format!("Using src_ip = {source} (from configuration)")));
    let rfc = if instance.vip.is_ipv4() { "224.0.0.18" } else { "ff02::12" };
    if let Some(Mode::Multicast { group }) = rules.mode {
        lines.push(format!("Multicast address {}", group.map_or(rfc.to_owned(), |group| group.to_string())));
    }
    lines.push(format!("Send advert after receive lower priority advert = {}", !rules.lower_priority_unanswered));
    let word = match rules.authentication {
        Some(Authentication::Pass(password)) => {
            // The first eight bytes of the only one in the table.
            assert_eq!(password, Password::new("secret-l"));
            lines.push("Authentication type = SIMPLE_PASSWORD".to_owned());
            lines.push("Password = secret-l".to_owned());
            None
        }
        Some(Authentication::Ah(_)) => Some("IPSEC_AH"),
        _ => Some("none"),
    };
    lines.extend(word.filter(|_| instance.version == 2).map(|word| format!("Authentication type = {word}")));
    lines.extend(rules.addresses.iter().flatten().map(|address| format!("address {address}")));
    if let Some(Mode::Unicast { peers, check_source }) = &rules.mode {
        lines.extend(rules.ttl.map(|ttl| format!("Unicast TTL = {ttl}")));
        lines.push(format!("Check unicast src : {}", yes(*check_source)));
        let peer =
            |peer: &UnicastPeer| format!("peer {} min_ttl {} max_ttl {}", peer.address, peer.min_ttl, peer.max_ttl);
        lines.extend(peers.iter().map(peer));
        let compatibility = match rules.checksum {
            Checksum::Never => "never",
            Checksum::Old => "config",
            _ => "no",
        };
        lines.push(format!("Unicast checksum compatibility = {compatibility}"));
    }
    lines
}

#[test]
fn what_keepalived_s_parent_says_in_the_midst_of_a_dump_is_no_part_of_it() -> Result<()> {
    let lines = [
        "------< VRRP Topology >------",
        " VRRP Instance = A",
        "   VRRP Version = 2",
        "   Interface = ha-0",
        "   Virtual Router ID = 7",
        "   Priority = 100",
        "   Advert interval = 1 sec",
        "   Virtual IP (1):",
        "Startup complete",
        "     192.0.2.1 dev ha-0 scope global",
        "------< Interfaces >------",
        " Name = lo",
    ];
    let dump: String = lines.iter().map(|line| format!("Sat Nov 21 05:24:58 2026: {line}\n")).collect();
    let said = parse(&dump)?;
    assert_eq!(said["A"], (7, "ha-0".to_owned(), 2, 1000, 100, "192.0.2.1/32".to_owned(), "ha-0".to_owned(), false));
    Ok(())
}
