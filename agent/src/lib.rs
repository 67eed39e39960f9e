//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod cluster;
pub mod health;
pub mod inventory;
pub mod plan;
pub mod secret;
