//! A tree with the repositories of remote bases in it, each at a path that tells which it is.
//!
//! It must not know how they are brought. What was brought once stays what it is: a reference is brought as one commit.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Blob, ContentId, Kind, Tree, TreeError};
use crate::path::RepoPath;
use crate::remote::Remote;

/// The repositories that were brought. Shared by all trees that may need them.
#[derive(Default)]
pub struct Remotes(RwLock<Vec<Arc<Brought>>>);

/// One repository at one reference.
struct Brought {
    at: RepoPath,
    remote: Remote,
    tree: Arc<dyn Tree>,
}

impl Remotes {
    /// Gives the files of the repository of `remote`, at its reference. Those that were given before stay.
    ///
    /// # Errors
    /// In words, if its place in the tree is within another one's, so that paths would not tell them apart.
    pub fn give(&self, remote: &Remote, tree: Arc<dyn Tree>) -> Result<(), String> {
        let at = remote.mount().ok_or_else(|| format!("{remote} has no name in the tree"))?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match all.iter().find(|other| other.at.is_within(&at) || at.is_within(&other.at)) {
            Some(same) if same.remote.is_in_same_repository(remote) => {}
            Some(other) => return Err(format!("{remote} and {} would be at the same path, `{at}`", other.remote)),
            None => all.push(Arc::new(Brought { at, remote: remote.clone(), tree })),
        }
        Ok(())
    }

    /// Whether the repository of `remote` is here, at its reference.
    pub fn has(&self, remote: &Remote) -> bool {
        self.find(|brought| brought.remote.is_in_same_repository(remote)).is_some()
    }

    /// Forgets those of which `is_needed`, given the path in the tree and the URL, says no.
    pub fn keep(&self, is_needed: impl Fn(&RepoPath, &str) -> bool) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|brought| is_needed(&brought.at, &brought.remote.url));
    }

    /// The paths in the tree of those that hold one of `paths`.
    pub fn holding(&self, paths: &[RepoPath]) -> Vec<RepoPath> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let holds = |at: &RepoPath| paths.iter().any(|path| path.is_within(at));
        all.iter().map(|brought| &brought.at).filter(|at| holds(at)).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The URLs of those that are here.
    pub fn urls(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().map(|brought| brought.remote.url.clone()).collect()
    }

    fn find(&self, wanted: impl Fn(&Brought) -> bool) -> Option<Arc<Brought>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().find(|brought| wanted(brought)).cloned()
    }
}

/// A tree in which remote bases are found once they were brought.
pub struct WithRemotes<'a> {
    tree: Box<dyn Tree + 'a>,
    remotes: Arc<Remotes>,
}

impl<'a> WithRemotes<'a> {
    /// Puts repositories into a tree.
    pub fn new(tree: Box<dyn Tree + 'a>, remotes: Arc<Remotes>) -> Self {
        Self { tree, remotes }
    }

    /// Asks the tree that holds a path, by the path in it; a path in the answer is that of the whole again.
    fn at<T>(&self, path: &RepoPath, ask: impl FnOnce(&dyn Tree, &RepoPath) -> Result<T, TreeError>) -> Result<T, TreeError> {
        match self.remotes.find(|brought| path.is_within(&brought.at)) {
            None => ask(&*self.tree, path),
            Some(brought) => {
                let below = path.seen_from(&brought.at).unwrap_or_default();
                ask(&*brought.tree, &below).map_err(|error| error.map_path(|path| from(&brought.at, path)))
            }
        }
    }
}

/// A path in a repository as a path of the whole.
fn from(at: &RepoPath, path: &RepoPath) -> RepoPath {
    // Fails for one that is longer than a path may be: then its repository is told.
    at.join(path.as_str()).unwrap_or_else(|_| at.clone())
}

impl Tree for WithRemotes<'_> {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        self.at(path, |tree, path| tree.kind(path))
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        self.at(path, |tree, path| tree.read(path))
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        self.at(path, |tree, path| tree.list(path))
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        self.at(path, |tree, path| tree.id(path))
    }

    fn known_id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        self.at(path, |tree, path| tree.known_id(path))
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        let real = self.at(path, |tree, path| tree.real(path))?;
        let brought = self.remotes.find(|brought| path.is_within(&brought.at));
        Ok(real.map(|real| brought.map_or(real.clone(), |brought| from(&brought.at, &real))))
    }

    fn remote(&self, remote: &Remote) -> Result<Option<RepoPath>, TreeError> {
        let found = self.remotes.find(|brought| brought.remote.is_in_same_repository(remote));
        Ok(found.map(|brought| from(&brought.at, &remote.path)))
    }

    fn brought(&self, path: &RepoPath) -> Option<(Remote, RepoPath)> {
        let brought = self.remotes.find(|brought| path.is_within(&brought.at))?;
        Some((brought.remote.clone(), path.seen_from(&brought.at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fixture;
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    fn remote(text: &str) -> Remote {
        Remote::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_repository_is_found_by_its_url_and_read_at_its_path() {
        let remotes = Arc::new(Remotes::default());
        let base = remote("https://h/o/r//deploy?ref=v1");
        remotes.give(&base, Arc::new(Fixture::new("//- deploy/a.yaml\na\n"))).unwrap();
        let tree = WithRemotes::new(Box::new(Fixture::new("//- app/b.yaml\nb\n")), remotes.clone());
        let at = tree.remote(&remote("https://h/o/r//deploy?ref=v1")).unwrap().unwrap();
        assert_eq!((at.as_str(), tree.kind(&at).unwrap()), ("h/o/r@v1/deploy", Some(Kind::Directory)));
        assert_eq!(tree.real(&at).unwrap(), Some(at.clone()));
        assert_eq!(tree.read(&path("h/o/r@v1/deploy/a.yaml")).unwrap().map(|blob| blob.bytes.len()), Some(2));
        assert_eq!((tree.brought(&at), tree.brought(&path("app"))), (Some((base.clone(), path("deploy"))), None));
        assert_eq!(tree.kind(&path("app/b.yaml")).unwrap(), Some(Kind::File));
        assert_eq!(tree.remote(&remote("https://h/o/r//deploy?ref=v2")).unwrap(), None);
        remotes.keep(|_, _| false);
        assert_eq!(tree.remote(&base).unwrap(), None);
    }

    #[test]
    fn two_repositories_are_never_at_the_same_path() {
        let remotes = Remotes::default();
        let empty = || Arc::new(Fixture::new(""));
        remotes.give(&remote("https://h/o/r?ref=v1"), empty()).unwrap();
        assert!(remotes.give(&remote("https://h/o/r@v1/x//?ref=v2"), empty()).is_err());
        remotes.give(&remote("https://h/o/r//other?ref=v1"), empty()).unwrap();
        assert_eq!(remotes.count(), 1);
    }
}
