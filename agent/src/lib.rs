//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod git;
pub mod secret;
