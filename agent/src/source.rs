//! Where a Sync's files come from: a repository, or a working tree on this machine (`plimsoll dev`).

use std::path::Path;
use std::sync::Arc;

use overlays::path::RepoPath;
use overlays::tree::{Dir, Tree};
use tokio::sync::Notify;

use crate::bases::Bases;
use crate::git::{CommitId, Error, Git, Reference, Revision, WorkingTree};

/// Where a Sync's files come from. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    files: Files,
    bases: Arc<Bases>,
}

#[derive(Clone)]
enum Files {
    /// A Git repository.
    Repository(Arc<Git>),
    /// A working tree on this machine, followed as it is saved.
    WorkingTree(Arc<WorkingTree>),
}

impl Source {
    /// Follows a repository.
    pub fn repository(git: Git, bases: Bases) -> Self {
        Self { files: Files::Repository(Arc::new(git)), bases: Arc::new(bases) }
    }

    /// Follows a directory; `wake` is rung whenever something in it was saved.
    ///
    /// # Errors
    /// There is no such directory, or it can't be watched.
    pub fn working_tree(root: &Path, wake: Arc<Notify>, bases: Bases) -> Result<Self, Error> {
        let (tree, mut saved) = WorkingTree::watch(root)?;
        // Ends with the working tree, whose watcher is the sender.
        tokio::spawn(async move {
            while saved.recv().await.is_some() {
                wake.notify_one();
            }
        });
        Ok(Self { files: Files::WorkingTree(Arc::new(tree)), bases: Arc::new(bases) })
    }

    /// What the reference stands for now.
    ///
    /// # Errors
    /// The repository can't be reached, refuses, or has no such reference.
    pub async fn poll(&self, reference: &Reference) -> Result<CommitId, Error> {
        match &self.files {
            Files::Repository(git) => git.poll(reference).await,
            Files::WorkingTree(tree) => content(tree.root().to_owned()).await,
        }
    }

    /// Brings the files of a commit here.
    ///
    /// # Errors
    /// As [`Source::poll`]; or the files are more than the limits allow.
    pub async fn fetch(&self, reference: &Reference, commit: CommitId) -> Result<Revision, Error> {
        match &self.files {
            Files::Repository(git) => git.fetch(reference, commit).await,
            Files::WorkingTree(_) => Ok(Revision { reference: Reference::Branch("dev".to_owned()), commit, tree: commit.0 }),
        }
    }

    /// The files of a revision that was fetched, and of the remote bases that were brought.
    ///
    /// # Errors
    /// The local store is broken.
    pub fn tree(&self, revision: &Revision) -> Result<Box<dyn Tree>, Error> {
        let tree: Box<dyn Tree> = match &self.files {
            Files::Repository(git) => Box::new(git.tree(revision)?),
            Files::WorkingTree(tree) => Box::new(Dir::new(tree.root().to_owned())),
        };
        Ok(Box::new(self.bases.under(tree)))
    }

    /// The remote bases.
    pub fn bases(&self) -> &Arc<Bases> {
        &self.bases
    }
}

/// A working tree has no commits; its content names it.
async fn content(root: std::path::PathBuf) -> Result<CommitId, Error> {
    let what = format!("the directory {}", root.display());
    let read = tokio::task::spawn_blocking(move || Dir::new(root).id(&RepoPath::root()));
    let unreadable = |why: String| Error::Setting { what: what.clone(), why, hint: "give a directory that can be read" };
    let id = read.await.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))?;
    id.map(|id| CommitId(id.0)).ok_or_else(|| unreadable("it is not there".to_owned()))
}
