//! The files of a revision, read from our store by whoever renders: it notes when the store fails, so that it is made anew.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use overlays::path::RepoPath;
use overlays::tree::{Blob, ContentId, GitTree, Kind, Tree, TreeError};

/// The files of a revision.
pub struct Files {
    tree: GitTree,
    damaged: Arc<AtomicBool>,
}

impl Files {
    /// Opens a tree in a bare repository; `damaged` is set as soon as something in it cannot be read.
    pub(super) fn open(repository: &Path, tree: [u8; 20], damaged: Arc<AtomicBool>) -> Result<Self, TreeError> {
        let tree = noted(&damaged, || GitTree::open(repository, tree))?;
        Ok(Self { tree, damaged })
    }
}

/// git2 0.21 panics on a pack whose bytes on disk have changed so that an object is of no kind that there is (`Odb::read_header`).
/// Nothing is half done by then: reading changes nothing.
fn noted<T>(damaged: &AtomicBool, read: impl FnOnce() -> Result<T, TreeError>) -> Result<T, TreeError> {
    let broken = |_| Err(TreeError::Store { path: RepoPath::root(), message: "an object is of no kind that there is".to_owned() });
    let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(broken);
    if matches!(read, Err(TreeError::Store { .. })) {
        damaged.store(true, Ordering::Relaxed);
    }
    read
}

impl Tree for Files {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        noted(&self.damaged, || self.tree.kind(path))
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        noted(&self.damaged, || self.tree.read(path))
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        noted(&self.damaged, || self.tree.list(path))
    }

    fn known_id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        noted(&self.damaged, || self.tree.known_id(path))
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        noted(&self.damaged, || self.tree.real(path))
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        noted(&self.damaged, || self.tree.id(path))
    }
}
