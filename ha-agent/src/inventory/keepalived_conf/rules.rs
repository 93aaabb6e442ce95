//! What an instance's text says of adverts, beside its addresses and interval → [`AdvertRules`]:
//! keepalived 2.2.7's `vrrp_parser.c`, `vrrp_complete_instance` and `vrrp_create_sockpool`.
//!
//! A value that keepalived passes over with a warning is passed over here too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Trouble;
use super::addresses::Addresses;
use super::numbers::{Number, whole};
use super::statements::Statement;
use crate::advert_rules::{AdvertRules, Authentication, Checksum, Mode, Release, UnicastPeer};
use crate::core::model::Password;

/// What `global_defs` says of adverts.
#[derive(Debug, Default)]
pub(super) struct Common {
    group4: Option<Ipv4Addr>,
    group6: Option<IpAddr>,
    check_source: bool,
    /// These may be followed by a flag, which only later releases read.
    skip_addresses: Option<Flag>,
    strict: Option<Flag>,
    unanswered: Option<bool>,
    plain_v3: bool,
    owner_ignores: Option<bool>,
}

/// A keyword that is there, and what follows it.
#[derive(Clone, Copy, Debug)]
enum Flag {
    /// Nothing, or a word for true.
    On,
    /// A word for false.
    Off,
    /// Another word.
    Unclear,
}

impl Flag {
    fn read(statement: &Statement) -> Self {
        match statement.words.get(1).map(String::as_str) {
            None | Some("true" | "on" | "yes") => Self::On,
            Some("false" | "off" | "no") => Self::Off,
            Some(_) => Self::Unclear,
        }
    }

    /// Sets `into`, unless the word is none.
    fn set(statement: &Statement, into: &mut Option<bool>) {
        match Self::read(statement) {
            Self::On => *into = Some(true),
            Self::Off => *into = Some(false),
            Self::Unclear => {}
        }
    }
}

impl Common {
    /// Takes a statement of `global_defs`, if it is one of these.
    pub(super) fn take(&mut self, statement: &Statement) -> Result<(), Trouble> {
        match statement.keyword() {
            "vrrp_mcast_group4" => match address(statement.value("an address")?) {
                Some(IpAddr::V4(group)) if group.is_multicast() => self.group4 = Some(group),
                _ => {}
            },
            "vrrp_mcast_group6" => match address(statement.value("an address")?) {
                Some(group) if group.is_ipv6() && group.is_multicast() => self.group6 = Some(group),
                _ => {}
            },
            // Whatever follows it.
            "vrrp_check_unicast_src" => self.check_source = true,
            "vrrp_skip_check_adv_addr" => self.skip_addresses = Some(Flag::read(statement)),
            "vrrp_strict" => self.strict = Some(Flag::read(statement)),
            "vrrp_lower_prio_no_advert" => Flag::set(statement, &mut self.unanswered),
            "v3_checksum_as_v2" => self.plain_v3 = true,
            "vrrp_owner_ignore_adverts" => Flag::set(statement, &mut self.owner_ignores),
            _ => {}
        }
        Ok(())
    }

    fn skips_addresses(&self, release: Release) -> bool {
        set(self.skip_addresses, release)
    }

    fn is_strict(&self, release: Release) -> bool {
        set(self.strict, release)
    }
}

/// Whether a keyword of `global_defs` holds: before 2.3.0 whatever follows it.
fn set(flag: Option<Flag>, release: Release) -> bool {
    match flag {
        None => false,
        Some(Flag::On) => true,
        Some(Flag::Off | Flag::Unclear) => !release.reads_global_flags(),
    }
}

/// What an instance says of adverts.
#[derive(Debug, Default)]
pub(super) struct Said {
    authentication: Option<Kind>,
    password: Word,
    peers: Vec<UnicastPeer>,
    /// Any keyword of unicast mode is there: `use_vmac` then sends and listens on the interface itself.
    names_unicast: bool,
    check_source: bool,
    source: Option<IpAddr>,
    group: Option<IpAddr>,
    ttl: Option<u8>,
    old_checksum: Option<Checksum>,
    plain_v3: Option<bool>,
    skip_addresses: bool,
    strict: Option<bool>,
    unanswered: Option<bool>,
    owner_ignores: Option<bool>,
    transmits_on_base: bool,
}

/// `auth_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pass,
    Ah,
}

/// `auth_pass`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word {
    /// Not there.
    #[default]
    Absent,
    /// Every release reads the same.
    Plain(Password),
    /// Releases split or replace it in ways of their own.
    Unclear,
}

/// What else decides on an instance's rules.
pub(super) struct About<'a> {
    pub(super) version: u8,
    pub(super) v6: bool,
    pub(super) priority: u8,
    pub(super) interval: Duration,
    pub(super) addresses: &'a Addresses,
    /// The VMAC, if it is one.
    pub(super) vmac: Option<&'a str>,
    /// The ipvlan, if it is one.
    pub(super) ipvlan: Option<&'a str>,
}

impl Said {
    /// Takes a statement of an instance; false: it is none of these. `v6` is the instance's family,
    /// which the first address of any kind decides.
    pub(super) fn take(
        &mut self,
        statement: &Statement,
        v6: &mut Option<bool>,
        release: Release,
    ) -> Result<bool, Trouble> {
        match statement.keyword() {
            "unicast_peer" => self.names_unicast = true,
            keyword @ ("unicast_src_ip" | "mcast_src_ip") => {
                self.names_unicast |= keyword == "unicast_src_ip" && release.has_group_of_instance();
                let given = address(statement.value("an address")?);
                // One that is none changes nothing but the address itself; one of another family takes it away.
                self.source = of_family(given, v6);
            }
            "mcast_dst_ip" if release.has_group_of_instance() => {
                let group = of_family(address(statement.value("an address")?), v6);
                self.group = group.filter(|group| match group {
                    IpAddr::V4(group) => group.is_multicast(),
                    // Only of the scope of the link: ff?2::/16.
                    IpAddr::V6(group) => group.is_multicast() && group.segments()[0] & 0xf == 2,
                });
            }
            "unicast_fault_no_peer" if release.has_group_of_instance() => self.names_unicast = true,
            "check_unicast_src" => (self.names_unicast, self.check_source) = (true, true),
            "old_unicast_checksum" => {
                self.names_unicast = true;
                match statement.words.get(1).map(String::as_str) {
                    None => self.old_checksum = Some(Checksum::Old),
                    Some("never") => self.old_checksum = Some(Checksum::Never),
                    Some(_) => {}
                }
            }
            "v3_checksum_as_v2" => Flag::set(statement, &mut self.plain_v3),
            "unicast_ttl" => {
                if let Number::Is(ttl) = whole(statement.value("a TTL")?, 0..=255, false) {
                    self.ttl = u8::try_from(ttl).ok();
                }
            }
            // "no" sets it too: in all releases up to 2.3.4 any word that is one does.
            "skip_check_adv_addr" if !matches!(Flag::read(statement), Flag::Unclear) => self.skip_addresses = true,
            "strict_mode" => Flag::set(statement, &mut self.strict),
            "lower_prio_no_advert" => Flag::set(statement, &mut self.unanswered),
            "owner_ignore_adverts" => Flag::set(statement, &mut self.owner_ignores),
            "vmac_xmit_base" => self.transmits_on_base = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `use_ipvlan`'s address, which is the source too.
    pub(super) fn source_of_ipvlan(&mut self, word: &str, v6: &mut Option<bool>) {
        let source = of_family(address(word), v6);
        self.source = self.source.or(source);
    }

    /// Takes a line of `unicast_peer`.
    pub(super) fn peer(&mut self, line: &Statement, v6: &mut Option<bool>) -> Result<(), Trouble> {
        let Some(address) = of_family(address(line.word("a peer's address")?), v6) else { return Ok(()) };
        let mut peer = UnicastPeer { address, min_ttl: 0, max_ttl: 255 };
        for option in line.words[1..].chunks_exact(2) {
            let Number::Is(ttl) = whole(&option[1], 0..=255, false) else { continue };
            let ttl = u8::try_from(ttl).unwrap_or(u8::MAX);
            match option[0].as_str() {
                "min_ttl" => peer.min_ttl = ttl,
                "max_ttl" => peer.max_ttl = ttl,
                _ => break,
            }
            self.check_source = true;
        }
        self.peers.push(peer);
        Ok(())
    }

    /// Takes a line of `authentication`.
    pub(super) fn authentication(&mut self, line: &Statement) -> Result<(), Trouble> {
        match line.keyword() {
            "auth_type" => match line.value("PASS or AH")? {
                "PASS" => self.authentication = Some(Kind::Pass),
                "AH" => self.authentication = Some(Kind::Ah),
                _ => {}
            },
            // A password that only keepalived knows is none that others could be held to.
            "auth_pass" if line.words.len() < 2 => return Err(line.lacks_a_value("a password")),
            "auth_pass" => self.password = password(line),
            _ => {}
        }
        Ok(())
    }

    /// A keyword of unicast mode is there.
    pub(super) fn is_about_unicast(&self) -> bool {
        self.names_unicast
    }

    /// There is a peer, so that it is unicast mode.
    pub(super) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// `unicast_src_ip` or `mcast_src_ip`.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Whether `strict_mode` holds.
    pub(super) fn is_strict(&self, common: &Common, release: Release) -> bool {
        self.strict.unwrap_or_else(|| common.is_strict(release))
    }

    /// The rules that follow.
    pub(super) fn rules(mut self, common: &Common, release: Release, about: &About<'_>) -> AdvertRules {
        let strict = self.is_strict(common, release);
        let owner = about.priority == 255;
        if release.drops_repetitions() {
            let mut known = std::collections::HashSet::new();
            self.peers.retain(|peer| known.insert(peer.address));
        }
        let unicast = !self.peers.is_empty();
        let on_base = (self.transmits_on_base || self.names_unicast) && !strict;
        let group = if about.v6 { common.group6 } else { common.group4.map(IpAddr::V4) };
        let plain_v3 = release.has_plain_v3() && self.plain_v3.unwrap_or(common.plain_v3);
        AdvertRules {
            version: Some(about.version),
            authentication: Some(self.authentication_of(strict, about)),
            interval: Some(about.interval),
            addresses: about.addresses.sent(about.v6, release),
            check_addresses: !(self.skip_addresses || common.skips_addresses(release)),
            checksum: if plain_v3 { Checksum::PlainV3 } else { self.old_checksum.unwrap_or_default() },
            old_checksum_group: common.group4,
            source: self.source,
            ttl: match self.ttl {
                Some(ttl) if unicast => Some(ttl),
                // keepalived sets it to 0 where there is no peer, and so sends to the group with it.
                Some(_) if !about.v6 => Some(0),
                _ if unicast && about.v6 => None,
                _ => Some(255),
            },
            has_vmac: about.vmac.is_some(),
            vip_on_vmac: false,
            receive_interface: about.ipvlan.or(about.vmac.filter(|_| !on_base)).map(str::to_owned),
            lower_priority_unanswered: strict || self.unanswered.or(common.unanswered).unwrap_or(false),
            // The instance's own word cannot take it back: any makes it true.
            takes_none: release.has_owner_ignore_adverts()
                && owner
                && (strict || self.owner_ignores.is_some() || common.owner_ignores == Some(true)),
            mode: Some(match unicast {
                true => Mode::Unicast { peers: self.peers, check_source: self.check_source || common.check_source },
                false => Mode::Multicast { group: self.group.or(group) },
            }),
            release,
        }
    }

    fn authentication_of(&self, strict: bool, about: &About<'_>) -> Authentication {
        let kind = self.authentication.filter(|_| !strict && about.version == 2);
        match (kind, self.password) {
            (None, _) | (_, Word::Absent) => Authentication::None,
            (Some(Kind::Ah), _) if about.v6 => Authentication::None,
            (Some(Kind::Pass), Word::Plain(password)) => Authentication::Pass(password),
            (Some(Kind::Ah), Word::Plain(key)) => Authentication::Ah(key),
            (Some(Kind::Pass), Word::Unclear) => Authentication::PassUnknown,
            (Some(Kind::Ah), Word::Unclear) => Authentication::AhUnknown,
        }
    }
}

/// `auth_pass WORD`. A word that releases of keepalived split or replace in ways of their own is not
/// compared with anything: a peer must not be called a liar for it.
fn password(line: &Statement) -> Word {
    let [_, word] = line.words.as_slice() else { return Word::Unclear };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+/=:@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => Word::Plain(Password::new(word)),
        false => Word::Unclear,
    }
}

/// An address, without what follows `-` or `/`.
fn address(word: &str) -> Option<IpAddr> {
    let end = word.find('-').or_else(|| word.find('/')).unwrap_or(word.len());
    word[..end].parse().ok()
}

/// The address, if it is of the family, which it decides where nothing has yet.
fn of_family(address: Option<IpAddr>, v6: &mut Option<bool>) -> Option<IpAddr> {
    address.filter(|address| *v6.get_or_insert(address.is_ipv6()) == address.is_ipv6())
}
