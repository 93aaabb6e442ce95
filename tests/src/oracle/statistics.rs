//! What keepalived counts of an instance.

use anyhow::{Context, Result};

use super::configuration::INSTANCE;

/// The counters of the instance that is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Adverts that were sound up to their addresses.
    pub received: u64,
    /// Those of priority 0.
    pub resigned: u64,
    /// Wrong lengths.
    pub length: u64,
    /// Wrong TTLs.
    pub ttl: u64,
    /// Wrong types.
    pub kind: u64,
    /// Wrong intervals: no release counts them.
    pub interval: u64,
    /// Wrong addresses, and multicast instead of unicast.
    pub addresses: u64,
    /// Unknown types of authentication.
    pub auth_unknown: u64,
    /// Another type of authentication.
    pub auth_other: u64,
    /// Wrong password or integrity check value.
    pub auth_failure: u64,
}

impl Statistics {
    /// Reads the file.
    ///
    /// # Errors
    /// When something is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let head = format!("VRRP Instance: {INSTANCE}\n");
        let (_, text) = text.split_once(&head).with_context(|| format!("no {INSTANCE} in {text}"))?;
        let text = text.split("VRRP Instance:").next().unwrap_or(text);
        let value = |section: &str, name: &str| -> Result<u64> {
            let (_, section) = text.split_once(section).with_context(|| format!("no {section} in {text}"))?;
            let line = section.lines().map(str::trim).find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.strip_prefix(": ")?.parse().ok());
            number.with_context(|| format!("no {name} in {text}"))
        };
        let (errors, auth) = ("Packet Errors:", "Authentication Errors:");
        Ok(Self {
            received: value("Advertisements:", "Received")?,
            resigned: value("Priority Zero:", "Received")?,
            length: value(errors, "Length")?,
            ttl: value(errors, "TTL")?,
            kind: value(errors, "Invalid Type")?,
            interval: value(errors, "Advertisement Interval")?,
            addresses: value(errors, "Address List")?,
            auth_unknown: value(auth, "Invalid Type")?,
            auth_other: value(auth, "Type Mismatch")?,
            auth_failure: value(auth, "Failure")?,
        })
    }

    /// What was counted since.
    ///
    /// # Errors
    /// When less is counted than before.
    pub fn since(&self, before: &Self) -> Result<Self> {
        let less = |now: u64, before: u64| now.checked_sub(before).context("keepalived counts backwards");
        Ok(Self {
            received: less(self.received, before.received)?,
            resigned: less(self.resigned, before.resigned)?,
            length: less(self.length, before.length)?,
            ttl: less(self.ttl, before.ttl)?,
            kind: less(self.kind, before.kind)?,
            interval: less(self.interval, before.interval)?,
            addresses: less(self.addresses, before.addresses)?,
            auth_unknown: less(self.auth_unknown, before.auth_unknown)?,
            auth_other: less(self.auth_other, before.auth_other)?,
            auth_failure: less(self.auth_failure, before.auth_failure)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "VRRP Instance: asked\n  Advertisements:\n    Received: 11\n    Sent: 1\n  Became master: 0\n  \
        Released master: 0\n  Packet Errors:\n    Length: 2\n    TTL: 3\n    Invalid Type: 4\n    Advertisement \
        Interval: 5\n    Address List: 6\n  Authentication Errors:\n    Invalid Type: 7\n    Type Mismatch: 8\n    \
        Failure: 9\n  Priority Zero:\n    Received: 10\n    Sent: 0\nVRRP Instance: other\n  Advertisements:\n";

    #[test]
    fn each_counter_is_read_from_its_own_section() {
        let read = Statistics::parse(TEXT).unwrap();
        let Statistics { received, resigned, length, ttl, kind, interval, addresses, .. } = read;
        assert_eq!((received, resigned, length, ttl, kind, interval, addresses), (11, 10, 2, 3, 4, 5, 6));
        assert_eq!((read.auth_unknown, read.auth_other, read.auth_failure), (7, 8, 9));
        assert_eq!(read.since(&read).unwrap(), Statistics::default());
        assert!(Statistics::default().since(&read).is_err());
        assert!(Statistics::parse("VRRP Instance: other\n").is_err());
    }
}
