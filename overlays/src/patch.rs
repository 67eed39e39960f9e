//! Patches: strategic merge and JSON 6902, and which objects they are for.
//!
//! It must not know files: a patch comes parsed, its marks say where it was written.

pub(crate) mod json6902;
pub(crate) mod shape;
pub(crate) mod strategic;
