//! A real keepalived is asked what generated frames are to it, and the agent's judgement of the same frames
//! has to be the same.
//!
//! - [`configuration`]: under which configurations.
//! - [`sketch`], [`deviation`], [`frames`]: what is sent: sound adverts, and what can be different in them.
//! - [`scene`], [`keepalived`], [`statistics`], [`ask`]: how keepalived is asked.
//! - [`judge`]: who is held to its answers: the [`agent`]; [`known`]: where the agent is known to differ.
//! - [`mod@run`]: asks about many cases and shrinks a disagreement.

pub mod agent;
pub mod ask;
pub mod configuration;
pub mod deviation;
pub mod frames;
pub mod judge;
pub mod keepalived;
pub mod known;
mod md5;
mod page;
pub mod run;
pub mod scene;
pub mod sketch;
pub mod statistics;
pub mod verdict;
