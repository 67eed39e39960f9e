//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod forge;
pub mod ledger;
pub mod metrics;
pub mod report;
pub mod secret;
pub mod server;
