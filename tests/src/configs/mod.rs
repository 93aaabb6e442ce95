//! The configuration differential: a real keepalived reads generated configurations and prints what it runs
//! (`--dump-conf`); the agent's reading of the same text has to be the same.
//!
//! - [`texts`]: configurations like those that people write.
//! - [`generate`]: changes them.
//! - [`keepalived`]: asks a keepalived. [`said`]: what either says of a text.
//! - [`run`]: compares, and makes what differs small. [`known`]: differences that are known.

pub mod generate;
pub mod keepalived;
pub mod known;
mod page;
pub mod run;
pub mod said;
pub mod texts;
