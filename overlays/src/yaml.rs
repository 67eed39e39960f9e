//! YAML as kustomize reads and writes it.
//!
//! It must not know what a Kubernetes object is: it deals in nodes.

mod block;
mod compose;
mod emit;
mod error;
mod json;
mod keys;
mod node;
mod number;
mod parse;
mod scalar;
mod texts;
mod timestamp;

pub use emit::emit;
pub(crate) use emit::is_printed_plain;
pub use error::Error;
pub use json::go_json;
pub(crate) use json::key_text;
pub use node::{Entry, Mark, Node, Style, Text, Value};
pub(crate) use number::{float_text, short_float};
pub use parse::{Limits, parse, parse_config, shown_line};
pub(crate) use parse::{contained, parse_patch};
pub use scalar::{Dialect, Scalar};
pub(crate) use scalar::{FLOW_NULL, UNTAGGED};

/// How deep a tree may be to be written. The parser allows less; patches may put trees into trees.
const MAX_DEPTH: usize = 1000;
