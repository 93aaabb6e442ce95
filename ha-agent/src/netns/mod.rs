//! Network namespaces: entering them, on one thread that nothing else runs on, and their names on
//! disk. Their addresses and links are [`crate::netlink`]'s.
//!
//! A namespace is a property of a thread, and tokio moves tasks between threads: nothing outside
//! [`thread`] ever changes it.

pub mod listener;
pub mod names;
pub mod thread;

pub use thread::{NetnsError, NetnsThread};
