//! Where the agent's reading is known to differ from keepalived's.

use super::keepalived::{CRASH, HANGS};
use super::said::{Answer, Ours};

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// In a few words.
    pub what: &'static str,
    /// Why it is so, and what follows.
    pub why: &'static str,
    /// Whether a disagreement about a text is this one.
    pub is: fn(&str, &Answer, &Ours) -> bool,
}

/// Whether keepalived did not start, and said so in these words.
fn ends_with(theirs: &Answer, words: &str) -> bool {
    matches!(theirs, Answer::Ends(why) if why.contains(words))
}

/// Whether a word could stand for an interface, but for what it is made of.
fn odd_interface(word: &str) -> bool {
    word.contains([':', '/']) || word.len() > 15
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        what: "keepalived crashes",
        why: "it follows a pointer to nothing where an instance's lines stand outside of an instance; nothing runs",
        is: |_, theirs, _| ends_with(theirs, CRASH),
    },
    Known {
        what: "keepalived reads for ever",
        why: "a definition of several lines holds itself; the agent's bounds end that, and name it",
        is: |_, theirs, _| ends_with(theirs, HANGS),
    },
    Known {
        what: "a value is missing in a line that the agent does not look at (routes, rules, scripts, smtp)",
        why: "keepalived ends there; the agent reads on, and watches what a keepalived that runs has read before",
        is: |_, theirs, _| ends_with(theirs, "is missing a parameter"),
    },
    Known {
        what: "a namespace that is not there",
        why: "keepalived does not start; the agent finds that the namespace is not there",
        is: |_, theirs, _| ends_with(theirs, "Unable to set network namespace"),
    },
    Known {
        what: "a name that no interface can have, with dynamic_interfaces or in vmac_prefix",
        why: "keepalived waits for ever for the interface; the agent passes over the address, or says so",
        is: |text, _, _| {
            let odd = |line: &str| line.split_whitespace().skip(1).any(odd_interface);
            let prefix = |line: &&str| line.trim_start().starts_with("vmac_");
            (text.contains("dynamic_interfaces") && text.lines().any(odd)) || text.lines().filter(prefix).any(odd)
        },
    },
    Known {
        what: "a backslash before # or ! in global_defs",
        why: "keepalived's first process reads that block before its second one takes the comment away; no one writes it",
        is: |text, _, _| text.contains("\\#") || text.contains("\\!"),
    },
    Known {
        what: "an interface that is not there",
        why: "without `dynamic_interfaces` keepalived does not start, or drops the address; the agent reads the text \
              alone, watches the instance, and finds that the interface is not there",
        is: |_, theirs, _| ends_with(theirs, "doesn't exist") || ends_with(theirs, "Unknown interface"),
    },
];
