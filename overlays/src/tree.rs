//! The files of one revision, wherever they are kept.
//!
//! Rendering reads through [`Tree`] and through nothing else, so that a Git commit, a directory on disk and a fixture in a
//! test give the same objects. Implementations resolve symbolic links themselves and refuse those that leave the root.

use std::collections::BTreeMap;
use std::fmt;

use crate::path::RepoPath;
use crate::remote::Remote;

mod dir;
mod fixture;
mod git;
mod links;
mod remotes;
mod with_file;

pub use dir::Dir;
pub use fixture::Fixture;
pub use git::GitTree;
pub use remotes::{Remotes, WithRemotes};
pub use with_file::WithFile;

/// How deep directories may be nested where a tree is walked.
const MAX_DEPTH: usize = 100;

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file (or a link to one inside the root).
    File,
    /// A directory (or a link to one inside the root).
    Directory,
}

/// Names the content of a file or directory: equal ids, equal content. In Git trees this is the object id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; 20]);

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The bytes of a file, and the id of their content.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The content.
    pub bytes: Vec<u8>,
    /// Names the content, so that it is parsed once; `None` where the store does not know the name without reading all of it.
    pub id: Option<ContentId>,
}

/// Why a tree could not be read. A path that is not there is no error but `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// A symbolic link leads out of the root, or in a circle.
    Link {
        /// The link.
        path: RepoPath,
        /// What it says.
        target: String,
    },
    /// A file is larger than a file may be.
    TooLarge {
        /// The file.
        path: RepoPath,
        /// Its size in bytes.
        bytes: u64,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// More entries than a directory may have, or deeper than a tree may be.
    TooMany {
        /// Where.
        path: RepoPath,
        /// What is allowed.
        limit: usize,
    },
    /// The store behind the tree failed; whoever owns it may want to fetch it anew.
    Store {
        /// What was being read.
        path: RepoPath,
        /// What the store said.
        message: String,
    },
}

/// The files of one revision.
pub trait Tree: Send + Sync {
    /// What `path` is; `None` where nothing is (submodules count as nothing).
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError>;
    /// The file at `path`; `None` where no file is.
    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError>;
    /// The names in the directory at `path` with what they are, sorted by name; empty where no directory is. A link that leads out
    /// or nowhere is listed as a file, so that it is told by whoever reads it and not by whoever lists its neighbours.
    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError>;
    /// Names the content of the file or directory at `path`; `None` where nothing is. For a Git tree this costs no read of the content.
    /// Links on the way are followed; a link *inside* a directory counts by what it says, not by what it leads to.
    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError>;
    /// Names the content of the file at `path` where the store knows that without reading it.
    fn known_id(&self, _path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        Ok(None)
    }
    /// Where `path` leads to through links; `None` where nothing is. Trees without links need not say.
    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        Ok(self.kind(path)?.map(|_| path.clone()))
    }
    /// Where a remote base is in this tree; `None` if nobody has brought it.
    fn remote(&self, _: &Remote) -> Result<Option<RepoPath>, TreeError> {
        Ok(None)
    }
    /// Of which remote base a path is, and which path that is in its repository; `None` for what is of this tree itself.
    fn brought(&self, _: &RepoPath) -> Option<(Remote, RepoPath)> {
        None
    }
}

/// What a link is listed as.
fn kind_of_link(led: Result<Option<Kind>, TreeError>) -> Result<Kind, TreeError> {
    match led {
        Ok(kind) => Ok(kind.unwrap_or(Kind::File)),
        Err(TreeError::Link { .. }) => Ok(Kind::File),
        Err(error) => Err(error),
    }
}

/// The id that Git gives the content of a file.
fn hash_blob(bytes: &[u8], path: &RepoPath) -> Result<ContentId, TreeError> {
    hash(git2::ObjectType::Blob, bytes, path)
}

/// The id that Git gives a directory of these names, modes and ids.
fn hash_tree(mut entries: Vec<(String, &str, ContentId)>, path: &RepoPath) -> Result<ContentId, TreeError> {
    // Git sorts as if the name of a directory ended in a slash.
    entries.sort_by_cached_key(|(name, mode, _)| format!("{name}{}", if *mode == "40000" { "/" } else { "" }));
    let mut bytes = Vec::new();
    for (name, mode, id) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(&id.0);
    }
    hash(git2::ObjectType::Tree, &bytes, path)
}

fn hash(kind: git2::ObjectType, bytes: &[u8], path: &RepoPath) -> Result<ContentId, TreeError> {
    let id = git2::Oid::hash_object(kind, bytes)
        .map_err(|error| TreeError::Store { path: path.clone(), message: error.message().to_owned() })?;
    content_id(id, path)
}

fn content_id(id: git2::Oid, path: &RepoPath) -> Result<ContentId, TreeError> {
    let sha_1 = |_| TreeError::Store { path: path.clone(), message: "the repository does not use SHA-1 names".into() };
    id.as_bytes().try_into().map(ContentId).map_err(sha_1)
}

/// Bounds on what a tree may make us read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest file that is read, in bytes.
    pub file_bytes: u64,
    /// The most entries that one directory may have.
    pub entries: usize,
    /// How many links are followed for one path.
    pub links: usize,
}

impl Default for Limits {
    /// 25 MiB a file: etcd takes objects up to 1.5 MB, the largest bundle of CRDs seen in public repositories has 12 MB.
    fn default() -> Self {
        Self { file_bytes: 25 << 20, entries: 100_000, links: 16 }
    }
}

impl TreeError {
    /// The file or directory that could not be read.
    pub fn path(&self) -> &RepoPath {
        match self {
            Self::Link { path, .. } | Self::TooLarge { path, .. } | Self::TooMany { path, .. } | Self::Store { path, .. } => path,
        }
    }
}

impl TreeError {
    /// The same of another path.
    fn map_path(mut self, other: impl FnOnce(&RepoPath) -> RepoPath) -> Self {
        let (Self::Link { path, .. } | Self::TooLarge { path, .. } | Self::TooMany { path, .. } | Self::Store { path, .. }) = &mut self;
        *path = other(path);
        self
    }
}

impl fmt::Display for TreeError {
    /// What is wrong, without the path: whoever tells it has named that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { target, .. } => write!(f, "the symbolic link to `{target}` leads out of the repository or in a circle"),
            Self::TooLarge { bytes, limit, .. } => write!(f, "it has {bytes} bytes, more than the {limit} that a file may have"),
            Self::TooMany { limit, .. } => write!(f, "it has more than the {limit} entries that a directory may have, or lies too deep"),
            Self::Store { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for TreeError {}
