//! Changes configurations: some of what people do to them by mistake, and some of what nobody does.

use fastrand::Rng;

use super::texts::TEXTS;

/// Lines that are put in.
const LINES: &[&str] = &[
    "}",
    "{",
    "} # end",
    "# a comment {",
    "! another }",
    "\"",
    "mystery {",
    "mystery",
    "}}",
    "vrrp_instance VI_9 {",
    "vrrp_instance My VIP {",
    "vrrp_instance {",
    "vrrp_instance VI_1 {",
    "vrrp_instance \"VI 1\" {",
    "global_defs {",
    "global_defs { vrrp_version 3 }",
    "virtual_ipaddress {",
    "virtual_ipaddress { 10.7.0.1/24 dev eth1 }",
    "virtual_ipaddress_excluded {",
    "virtual_ipaddress_excluded { 10.8.0.1/24 }",
    "virtual_ipadress {",
    "unicast_peer { 192.0.2.200 }",
    "unicast_peer {",
    "authentication {",
    "authentication { auth_type PASS auth_pass x }",
    "track_interface { eth2 }",
    "track_script {",
    "notify_master \"/bin/true",
    "notify_master \"/bin/true # {\"",
    "notify /bin/true",
    "native_ipv6",
    "strict_mode",
    "strict_mode off",
    "vrrp_strict",
    "use_vmac",
    "use_vmac vm9",
    "use_vmac a-name-that-is-too-long",
    "use_vmac 02:00:00:00:00:07",
    "use_vmac_addr",
    "nopreempt",
    "version 2",
    "version 3",
    "state MASTER",
    "interface eth1",
    "virtual_router_id 77",
    "priority 200",
    "advert_int 4",
    "vrrp_version 3",
    "vmac_prefix pre",
    "dynamic_interfaces",
    "mcast_dst_ip 224.0.0.20",
    "mcast_src_ip 192.0.2.50",
    "unicast_src_ip fe80::5",
    "10.6.0.1/24",
    "10.6.0.2/24 dev eth2",
    "fe80::66/64",
    "include none.conf",
    "$X=5",
    "$X=\\",
    "priority $X",
    "@node1 priority 9",
    "@node2 priority 8",
    "@^node2 advert_int 3",
    "static_ipaddress {",
    "vrrp_sync_group G {",
    "group {",
    "vrrp_script s {",
    "virtual_server 10.0.0.1 80 {",
    "net_namespace none",
    "instance x",
    "garp_group {",
    "interfaces {",
    "track_file f {",
];

/// Words that take the place of others, or stand behind them.
const WORDS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "4",
    "7",
    "100",
    "100;",
    "254",
    "255",
    "256",
    "300",
    "-1",
    "+5",
    "0x10",
    "1s",
    "2;",
    "0.5",
    "0.01",
    "0.001",
    "0.015",
    "1.5",
    "2.5",
    "40.96",
    "255.5",
    "1e1",
    ".5",
    "5.",
    "100000;",
    "4294967297",
    "yes",
    "no",
    "true",
    "eth0",
    "eth1",
    "eth2",
    "eth0:1",
    "lo",
    "an-interface-name-too-long",
    "a/b",
    "\"",
    "\"\"",
    "\"eth0\"",
    "{",
    "}",
    "MASTER",
    "BACKUP",
    "backup",
    "dev",
    "brd",
    "+",
    "label",
    "scope",
    "global",
    "use_vmac",
    "no_track",
    "192.0.2.1",
    "192.0.2.16",
    "10.0.0.1/24",
    "10.0.0.1/33",
    "10.0.0.1/24;",
    "10.0.0.1/",
    "10.0.0.1/255.255.255.0",
    "10.0.0.1/0",
    "010.0.0.1",
    "10.0.0",
    "10.0.0.256",
    "host.example",
    "fe80::1",
    "fe80::1/64",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "2001:db8::1/129",
    "224.0.0.18",
    "239.1.1.1",
    "192.0.2.1-5",
    "$X",
    "$PRIO",
    "${NET}.9/24",
    "$_INSTANCE",
    "#x",
    "!x",
    "\\#x",
    "label-far-too-long:1",
    "peer",
    "preferred_lft",
    "forever",
];

/// A configuration, from a seed.
pub fn generate(seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let mut text = rng.choice(TEXTS).copied().unwrap_or_default().to_owned();
    if rng.u8(..4) == 0 {
        text.push_str(rng.choice(TEXTS).copied().unwrap_or_default());
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // Most have few changes, so that most of what is changed has an effect.
    let changes = [1, 1, 1, 2, 2, 3, 4, 8][rng.usize(..8)];
    for _ in 0..changes {
        change(&mut lines, &mut rng);
    }
    let mut text = lines.join(if rng.u8(..16) == 0 { "\r\n" } else { "\n" });
    text.push('\n');
    if rng.u8(..24) == 0 {
        text.truncate((0..=text.len()).rev().nth(rng.usize(..=text.len() / 3)).unwrap_or(text.len()));
    }
    text
}

fn change(lines: &mut Vec<String>, rng: &mut Rng) {
    if lines.is_empty() {
        return;
    }
    let at = rng.usize(..lines.len());
    match rng.u8(..20) {
        0 | 1 => {
            lines.remove(at);
        }
        2 => {
            let line = lines[at].clone();
            lines.insert(at, line);
        }
        3 => {
            let to = rng.usize(..lines.len());
            lines.swap(at, to);
        }
        4..=7 => lines.insert(at, pick(LINES, rng)),
        8 => lines[at] = pick(LINES, rng),
        9..=14 => word(&mut lines[at], rng, |word, with| *word = with),
        15 => word(&mut lines[at], rng, |word, with| *word = format!("{word} {with}")),
        16 => word(&mut lines[at], rng, |word, with| word.push_str(&with)),
        17 => {
            let mut words: Vec<&str> = lines[at].split(' ').collect();
            if words.len() > 1 {
                words.pop();
            }
            lines[at] = words.join(" ");
        }
        18 => {
            let next = if at + 1 < lines.len() { lines.remove(at + 1) } else { String::new() };
            lines[at] = format!("{} {}", lines[at], next.trim_start());
        }
        _ => {
            let long = rng.usize(1000..1100);
            lines[at] = match rng.u8(..3) {
                0 => format!("# {}", "x".repeat(long)),
                1 => format!("# {} priority 3", "x ".repeat(long / 2)),
                _ => format!("{}{}", lines[at], " ".repeat(long)),
            };
        }
    }
}

fn pick(from: &[&str], rng: &mut Rng) -> String {
    rng.choice(from).copied().unwrap_or_default().to_owned()
}

/// Changes a word of a line.
fn word(line: &mut String, rng: &mut Rng, change: impl FnOnce(&mut String, String)) {
    let blank = line.len() - line.trim_start().len();
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return;
    }
    // Rather a value than the keyword.
    let first = usize::from(words.len() > 1 && rng.u8(..5) > 0);
    let at = rng.usize(first..words.len());
    let with = pick(WORDS, rng);
    change(&mut words[at], with);
    *line = format!("{}{}", " ".repeat(blank), words.join(" "));
}
