//! YAML as kustomize reads and writes it.

mod error;
mod node;

pub use error::Error;
pub use node::{Entry, Mark, Node, Style, Text, Value};
