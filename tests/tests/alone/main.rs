//! End to end, what measures and therefore needs the machine to itself: run after `scenarios`, not beside
//! it. `cargo xtask test --only e2e` does that.

mod abuse;
