//! YAML as kustomize reads and writes it.

mod node;

pub use node::{Entry, Mark, Node, Style, Text, Value};
