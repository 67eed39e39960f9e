//! A directory on disk.

/// A tree that is a directory on disk.
#[derive(Debug)]
pub struct Dir;
