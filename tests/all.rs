//! The promises that Plimsoll makes, one file each, tested on real servers through its own binary.
//!
//! The servers come from `harness` (tests/harness), which builds them with Go on first use; nothing else needs to be set up.

mod adoption;
mod cli;
mod cluster;
mod deploy;
mod drift;
mod drift_command;
mod examples;
mod facts;
mod failure;
mod faults;
mod forge;
mod git;
mod ground;
mod heal;
mod interruption;
mod model;
mod pods;
mod refusal;
mod remote;
mod sync;
mod tidy;
