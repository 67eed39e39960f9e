//! A tree with one file more, which nobody has committed: the kustomization that stacks layers.

use std::collections::BTreeMap;

use super::{Blob, ContentId, Kind, Tree, TreeError, hash_blob, hash_tree};
use crate::path::RepoPath;
use crate::remote::Remote;

/// Another tree, in which one file is added or replaced. The directories above it are there, too.
pub struct WithFile<'a> {
    tree: &'a dyn Tree,
    path: RepoPath,
    bytes: Vec<u8>,
    id: ContentId,
}

impl<'a> WithFile<'a> {
    /// Adds a file, in place of what stands at its path.
    ///
    /// # Errors
    /// The content could not be named (libgit2 cannot hash it); not known to happen.
    pub fn new(tree: &'a dyn Tree, path: RepoPath, content: &[u8]) -> Result<Self, TreeError> {
        let id = hash_blob(content, &path)?;
        Ok(Self { tree, path, bytes: content.to_vec(), id })
    }

    fn is_above(&self, path: &RepoPath) -> bool {
        *path != self.path && self.path.is_within(path)
    }
}

impl Tree for WithFile<'_> {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        match path {
            path if *path == self.path => Ok(Some(Kind::File)),
            path if self.is_above(path) => Ok(Some(Kind::Directory)),
            path if path.is_within(&self.path) => Ok(None),
            path => self.tree.kind(path),
        }
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        if path.is_within(&self.path) || self.is_above(path) {
            return Ok(self.kind(path)?.map(|_| path.clone()));
        }
        self.tree.real(path)
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        match path {
            path if *path == self.path => Ok(Some(Blob { bytes: self.bytes.clone(), id: Some(self.id) })),
            path if path.is_within(&self.path) || self.is_above(path) => Ok(None),
            path => self.tree.read(path),
        }
    }

    fn known_id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        match path {
            path if *path == self.path => Ok(Some(self.id)),
            path if path.is_within(&self.path) || self.is_above(path) => Ok(None),
            path => self.tree.known_id(path),
        }
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        if path.is_within(&self.path) {
            return Ok(BTreeMap::new());
        }
        let mut names = self.tree.list(path)?;
        if self.is_above(path) {
            let mut below = self.path.segments().skip(path.segments().count());
            let name = below.next().map(str::to_owned);
            let kind = if below.next().is_some() { Kind::Directory } else { Kind::File };
            names.extend(name.map(|name| (name, kind)));
        }
        Ok(names)
    }

    /// Of a directory above the file this is no id that Git knows, but one that changes with both.
    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        if *path == self.path {
            return Ok(Some(self.id));
        }
        if path.is_within(&self.path) {
            return Ok(None);
        }
        let own = self.tree.id(path)?;
        if !self.is_above(path) {
            return Ok(own);
        }
        let under = own.map(|id| ("under".to_owned(), "40000", id));
        let added = (self.path.as_str().replace('/', " "), "100644", self.id);
        hash_tree(under.into_iter().chain([added]).collect(), path).map(Some)
    }

    fn remote(&self, remote: &Remote) -> Result<Option<RepoPath>, TreeError> {
        self.tree.remote(remote)
    }

    fn brought(&self, path: &RepoPath) -> Option<(Remote, RepoPath)> {
        self.tree.brought(path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fixture;
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    #[test]
    fn the_file_is_read_listed_and_counts_in_the_ids_above_it() {
        let fixture = Fixture::new("//- app/base/a.yaml\na\n//- other/b.yaml\nb\n");
        let tree = WithFile::new(&fixture, path("app/stacked/kustomization.yaml"), b"k").unwrap();
        assert_eq!(&*tree.read(&path("app/stacked/kustomization.yaml")).unwrap().unwrap().bytes, b"k");
        assert_eq!(tree.kind(&path("app/stacked")), Ok(Some(Kind::Directory)));
        let names: Vec<_> = tree.list(&path("app")).unwrap().into_keys().collect();
        assert_eq!(names, ["base", "stacked"]);
        assert_ne!(tree.id(&path("app")), fixture.id(&path("app")));
        assert_eq!(tree.id(&path("other")), fixture.id(&path("other")));
        assert_eq!(tree.id(&path("app/base")), fixture.id(&path("app/base")));
    }

    #[test]
    fn a_file_that_is_there_is_replaced() {
        let fixture = Fixture::new("//- app/kustomization.yaml\nold\n");
        let tree = WithFile::new(&fixture, path("app/kustomization.yaml"), b"new").unwrap();
        assert_eq!(&*tree.read(&path("app/kustomization.yaml")).unwrap().unwrap().bytes, b"new");
        assert_eq!(tree.list(&path("app")).unwrap().len(), 1);
    }
}
