//! The agent, in the order in which a push flows through it.

pub mod cli;
pub mod config;
pub mod install;
pub mod first;
pub mod dev;
pub mod local;
pub mod explain;
pub mod diff;
pub mod blame;
pub mod drift_command;

pub mod api;
pub mod secret;

pub mod agent;
pub mod pace;
pub mod lead;
pub mod queue;
pub mod sync;
pub mod heal;
pub mod source;
pub mod bases;
pub mod git;
pub mod facts;
pub mod fleet;
pub mod plan;
pub mod inventory;
pub mod drift;
pub mod baseline;
pub mod health;
pub mod pods;
pub mod state;
pub mod cluster;
pub mod report;
pub mod ledger;
pub mod status;
pub mod forge;
pub mod server;
pub mod metrics;
