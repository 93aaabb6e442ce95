//! Who listens for adverts in a namespace: the raw sockets that the kernel lists there.
//!
//! A keepalived that is killed has none, and what a frozen one does not read stays in its queue. The lists
//! are those of the calling thread's namespace, and anybody may read them.

use std::io;

use crate::core::model::Listener;

/// IP protocols of VRRP: by itself, and behind an authentication header (RFC 2338).
const PROTOCOLS: [u32; 2] = [112, 51];

/// The lists of raw sockets, as the kernel wrote them: for IPv4 and for IPv6.
#[derive(Debug)]
pub struct Lists([String; 2]);

/// Reads the lists of the calling thread's namespace.
///
/// # Errors
/// When they cannot be read.
pub fn read() -> io::Result<Lists> {
    let four = std::fs::read_to_string("/proc/thread-self/net/raw")?;
    // Without IPv6 there is no such list.
    let six = std::fs::read_to_string("/proc/thread-self/net/raw6").unwrap_or_default();
    Ok(Lists([four, six]))
}

impl Lists {
    /// Who listens. [`Listener::Stalled`] is what was true of that moment: an advert may just have come.
    pub fn listener(&self) -> Listener {
        judge(self.0.each_ref().map(String::as_str))
    }
}

fn judge(lists: [&str; 2]) -> Listener {
    let queues: Vec<u64> = lists.iter().flat_map(|list| list.lines().skip(1)).filter_map(queue).collect();
    match queues.iter().max() {
        None => Listener::Gone,
        Some(0) => Listener::Reading,
        Some(_) => Listener::Stalled,
    }
}

/// What a socket for VRRP has not read: the protocol stands where other lists have the port.
fn queue(line: &str) -> Option<u64> {
    let mut columns = line.split_whitespace();
    let protocol = columns.nth(1)?.rsplit_once(':')?.1;
    let waiting = columns.nth(2)?.split_once(':')?.1;
    let protocol = u32::from_str_radix(protocol, 16).ok()?;
    PROTOCOLS.contains(&protocol).then(|| u64::from_str_radix(waiting, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

    fn socket(protocol: u32, waiting: u64) -> String {
        format!("{HEAD}  72: 00000000:{protocol:04X} 00000000:0000 07 00000000:{waiting:08X} 00:00000000 00000000 0\n")
    }

    #[test]
    fn the_queue_tells_who_reads() {
        assert_eq!(judge([HEAD, ""]), Listener::Gone);
        assert_eq!(judge([&socket(1, 0), ""]), Listener::Gone, "a ping is no keepalived");
        assert_eq!(judge([&socket(112, 0), HEAD]), Listener::Reading);
        assert_eq!(judge([&socket(112, 832), HEAD]), Listener::Stalled);
        assert_eq!(judge([HEAD, &socket(112, 0)]), Listener::Reading, "IPv6");
    }
}
