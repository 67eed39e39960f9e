//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod facts;
pub mod fleet;
pub mod health;
pub mod inventory;
pub mod plan;
pub mod queue;
pub mod secret;
