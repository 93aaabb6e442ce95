//! What concerns network namespaces themselves: their names on disk. Their addresses and links are
//! [`crate::netlink`]'s.

pub mod names;
