//! The tree of a Git commit, read from the object database without a checkout.

/// A tree that is a commit's.
#[derive(Debug)]
pub struct GitTree;
