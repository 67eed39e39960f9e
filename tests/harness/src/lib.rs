//! The ground that everything is tested on: real API servers, a real forge, real agents. It knows Plimsoll only as its users do: a
//! binary, `deploy/`, the `Sync` resource, commit statuses.
//!
//! What a test starts from, smallest first:
//!
//! - [`ground`]: one cluster and one forge, shared by all tests of a process. Take a namespace and a repository of your own on it.
//! - [`Cluster::start`], [`Forge::start`]: servers of your own, for tests that stop or configure them.
//! - [`World`]: a repository, clusters, and an agent for each: the whole way from a push to a commit status.
//!
//! Everything started here ends with the process that started it, however that ends ([`Process`]), listens on 127.0.0.1 only, and
//! keeps its files in a temporary directory of its own.
#![expect(clippy::disallowed_methods, reason = "the harness runs the processes and reads the clock that the agent's own code may not")]

mod agent;
mod cluster;
mod forge;
mod lab;
mod process;
mod repository;
mod trouble;
mod wait;
mod world;

pub use agent::{ACCOUNT, Agent, AgentOptions, SYSTEM};
pub use cluster::{Answer, Cluster, ClusterOptions, Request, documents};
pub use forge::{CommitStatus, Forge, PASSWORD, USER};
pub use lab::{Binaries, Lab, Progress};
pub use process::{Process, Said, free_port, run};
pub use repository::Repository;
pub use trouble::{Result, Trouble};
pub use wait::until;
pub use world::{Ground, Site, World, WorldOptions, ground, install};
