//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod secret;

pub mod cluster;
pub mod forge;
pub mod git;
pub mod health;
pub mod inventory;
pub mod ledger;
pub mod metrics;
pub mod plan;
pub mod report;
pub mod server;
