//! End to end, what needs the machine to itself, because it measures or because it keeps the kernel busy: making and
//! removing hundreds of namespaces holds up whoever else changes one. Run after `scenarios`, not beside it;
//! `cargo xtask test --only e2e` does that.

mod abuse;
mod crowds;
mod flood;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time, from before it makes anything until all of it is gone.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
