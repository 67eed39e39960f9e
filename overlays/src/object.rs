//! Kubernetes objects, what identifies them, and where they came from.

use std::fmt;

use crate::path::RepoPath;

/// Identifies an object in a cluster: never by its version, for the same object is served in several.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The API group, `""` for the core group.
    pub group: String,
    /// The kind, as `Deployment`.
    pub kind: String,
    /// The namespace, `""` where the object says none (it may be cluster-scoped, or go to the default namespace).
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    /// As an operator says it: `Deployment web/api`, `Namespace web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Where an object was written: the file, and the place of the document in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file; for a generated object the kustomization file that asks for it.
    pub file: RepoPath,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
