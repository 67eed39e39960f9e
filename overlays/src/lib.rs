//! Renders kustomize trees: the same tree, the same objects.
//!
//! Nothing in this crate knows a network, a clock, an environment variable, a process or a cluster.

pub mod error;
pub mod object;
pub mod path;
pub mod tree;
pub mod yaml;
