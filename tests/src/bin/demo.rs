//! The demonstration (`cargo xtask demo`).
fn main() {}
