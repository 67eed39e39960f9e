//! Where a Sync's files come from: a repository, or a working tree on this machine (`plimsoll dev`).

use std::sync::Arc;

use overlays::tree::Tree;

use crate::git::{CommitId, Error, Git, Reference, Revision, WorkingTree};

/// Where a Sync's files come from. Cheap to clone.
#[derive(Clone)]
pub enum Source {
    /// A Git repository.
    Repository(Arc<Git>),
    /// A working tree on this machine, followed as it is saved.
    WorkingTree(Arc<WorkingTree>),
}

impl Source {
    /// What the reference stands for now.
    ///
    /// # Errors
    /// The repository can't be reached, refuses, or has no such reference.
    pub async fn poll(&self, reference: &Reference) -> Result<CommitId, Error> {
        match self {
            Self::Repository(git) => git.poll(reference).await,
            Self::WorkingTree(tree) => tree.poll().await,
        }
    }

    /// Brings the files of a commit here.
    ///
    /// # Errors
    /// As [`Source::poll`]; or the files are more than the limits allow.
    pub async fn fetch(&self, reference: &Reference, commit: CommitId) -> Result<Revision, Error> {
        match self {
            Self::Repository(git) => git.fetch(reference, commit).await,
            Self::WorkingTree(tree) => Ok(tree.revision(commit)),
        }
    }

    /// The files of a revision that was fetched.
    ///
    /// # Errors
    /// The local store is broken.
    pub fn tree(&self, revision: &Revision) -> Result<Box<dyn Tree>, Error> {
        match self {
            Self::Repository(git) => Ok(Box::new(git.tree(revision)?)),
            Self::WorkingTree(tree) => Ok(Box::new(tree.tree())),
        }
    }
}
