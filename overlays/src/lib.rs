//! Renders kustomize trees: the same tree, the same objects.
//!
//! Nothing in this crate knows a network, a clock, an environment variable, a process or a cluster.

#[cfg(test)]
mod corpus;
pub mod diagnostic;
pub mod diff;
pub mod error;
pub mod explain;
mod fields;
mod generate;
mod layer;
mod look;
mod manifest;
pub mod object;
mod objects;
mod order;
mod patch;
pub mod path;
mod references;
mod render;
mod replacements;
mod scope;
mod select;
mod shared;
mod source;
mod transform;
pub mod tree;
mod values;
mod vars;
pub mod yaml;

pub use error::{Error, Errors, Remote, Stage};
pub use look::Look;
pub use manifest::Manifest;
pub use object::{Object, ObjectId, Origin};
pub use order::Order;
pub use path::RepoPath;
pub use render::{Fingerprint, Inputs, Options, Rendered, render};
pub use scope::is_cluster_scoped;
pub use source::{Cache, Restriction};
pub use tree::Tree;
