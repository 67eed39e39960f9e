//! The agent, in the order in which a push flows through it.

pub mod api;
pub mod secret;

pub mod git;
pub mod plan;
pub mod inventory;
pub mod health;
pub mod cluster;
pub mod report;
pub mod ledger;
pub mod forge;
pub mod server;
pub mod metrics;
