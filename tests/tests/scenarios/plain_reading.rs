//! Our reading of keepalived.conf beside keepalived's own, which it prints with `--dump-conf`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use ha_agent::advert_rules::Release;
use ha_agent::inventory::keepalived_conf::{default_config_id, read};
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
        // Of two of a name the first one is read; VRRPv2 over IPv6, which keepalived sends, is in no RFC.
        let expected: &[&str] = match *what {
            "a second one of a name" => &["A"],
            "families" => &["B"],
            _ => &[],
        };
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
        let broken = reading.troubles.iter().filter_map(|trouble| trouble.instance.as_deref());
        assert_eq!(broken.collect::<Vec<_>>(), expected, "{what}: {:?}", reading.troubles);
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
