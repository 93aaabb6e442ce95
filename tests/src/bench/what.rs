//! What is measured. `cargo xtask bench` takes the same words and compiles this file too.

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// What a frame costs in the kernel (BPF_PROG_TEST_RUN)
    Classifier,
    /// Requests per second over the state-change socket
    Intake,
    /// From the VIP event to the L3 agent, one router
    Latency,
    /// N routers change at once: the last one handed over, how many lost, CPU per transition
    Storm,
    /// CPU while N routers advertise every 2 s and nothing happens
    Steady,
    /// Memory with N routers
    Memory,
    /// Memory of N routers' further addresses, and how soon a change of one is told
    Addresses,
    /// All of it
    All,
}
