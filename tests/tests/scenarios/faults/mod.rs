//! Faults of the machine, one or several at once: none ends the agent, makes it lie, or delays what it tells.

mod delivery;
mod outputs;
mod wire;
