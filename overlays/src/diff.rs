//! What differs, field by field and by meaning.
//!
//! It must not know where the two sides come from.

pub(crate) mod changes;
pub(crate) mod field;
pub(crate) mod shown;

pub use field::{FieldPath, FieldStep, NoField};
