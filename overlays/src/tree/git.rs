//! The tree of a Git commit, read from the object database without a checkout.
//!
//! It must not know a remote, a reference or a commit: it is given the id of a tree, and whoever owns the store fetches it anew when
//! this says [`TreeError::Store`].

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use git2::{ObjectType, Odb, Oid, Repository};

use super::links::{self, Found};
use super::{Blob, ContentId, Kind, Limits, Tree, TreeError, content_id};
use crate::path::RepoPath;

/// Of a link no more than a path may have is read.
const LINK_BYTES: u64 = 4096;
/// Bytes of one tree object: an entry has a mode, a name of up to 255 bytes, and an id.
const ENTRY_BYTES: u64 = 300;
/// How many entries of tree objects are kept in memory; about 100 bytes each.
const KEPT_ENTRIES: usize = 20_000;

/// A tree that is a commit's. Submodules count as nothing.
pub struct GitTree {
    /// libgit2's handles may be used by one thread at a time.
    store: Mutex<Store>,
    root: Oid,
    limits: Limits,
}

/// One entry of a tree object.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Oid,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Directory,
    Link,
    Submodule,
}

impl Mode {
    /// What a tree tells of it: nothing of submodules; links are followed before.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::File => Some(Kind::File),
            Self::Directory => Some(Kind::Directory),
            Self::Link | Self::Submodule => None,
        }
    }
}

type Entries = Arc<BTreeMap<String, Entry>>;

struct Store {
    repository: Repository,
    /// Parsed tree objects. Every path is looked up from the root down, so the upper ones are asked for again and again.
    kept: HashMap<Oid, Entries>,
    kept_entries: usize,
}

impl GitTree {
    /// Opens the tree with an id in a repository, bare or not.
    ///
    /// # Errors
    /// The repository cannot be opened, or has no such tree.
    pub fn open(repository: &Path, tree: [u8; 20]) -> Result<Self, TreeError> {
        let repository = Repository::open(repository).map_err(|error| failed(&RepoPath::root(), &error))?;
        Self::new(repository, tree)
    }

    /// The tree with an id in an opened repository.
    ///
    /// # Errors
    /// There is no such tree.
    pub fn new(repository: Repository, tree: [u8; 20]) -> Result<Self, TreeError> {
        let path = RepoPath::root();
        let root = Oid::from_bytes(&tree).map_err(|error| failed(&path, &error))?;
        let limits = Limits::default();
        let mut store = Store { repository, kept: HashMap::new(), kept_entries: 0 };
        store.entries(root, &path, &limits)?;
        Ok(Self { store: Mutex::new(store), root, limits })
    }

    /// The same tree with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The id of the tree.
    pub fn root_id(&self) -> Oid {
        self.root
    }

    /// Runs with the store. A panic of another thread leaves it usable: it is only ever read.
    fn with<T>(&self, read: impl FnOnce(&mut Store) -> Result<T, TreeError>) -> Result<T, TreeError> {
        read(&mut self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entry that `path` leads to through links, and its path without them; the root has none of its own.
    fn find(&self, store: &mut Store, path: &RepoPath) -> Result<Option<(RepoPath, Entry)>, TreeError> {
        match self.entry(store, path)? {
            None | Some(Entry { mode: Mode::Submodule, .. }) => return Ok(None),
            Some(Entry { mode: Mode::Link, .. }) => {}
            Some(entry) => return Ok(Some((path.clone(), entry))),
        }
        let found = links::follow(path, &self.limits, |path| self.look(store, path))?;
        found.map_or(Ok(None), |(path, _)| Ok(self.entry(store, &path)?.map(|entry| (path, entry))))
    }

    fn follow(&self, store: &mut Store, path: &RepoPath) -> Result<Option<Entry>, TreeError> {
        Ok(self.find(store, path)?.map(|(_, entry)| entry))
    }

    /// The entry at a path, or the first link on the way there.
    fn entry(&self, store: &mut Store, path: &RepoPath) -> Result<Option<Entry>, TreeError> {
        let mut here = Entry { id: self.root, mode: Mode::Directory };
        for segment in path.segments() {
            match here.mode {
                Mode::Directory => {}
                Mode::Link => break,
                Mode::File | Mode::Submodule => return Ok(None),
            }
            match store.entries(here.id, path, &self.limits)?.get(segment) {
                Some(entry) => here = *entry,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    fn look(&self, store: &mut Store, path: &RepoPath) -> Result<Option<Found>, TreeError> {
        let Some(entry) = self.entry(store, path)? else {
            return Ok(None);
        };
        Ok(match entry.mode {
            Mode::Submodule => None,
            Mode::Directory => Some(Found::Directory),
            Mode::File => Some(Found::File),
            Mode::Link => Some(Found::Link(String::from_utf8_lossy(&store.blob(entry.id, path, LINK_BYTES)?).into_owned())),
        })
    }
}

impl Store {
    fn entries(&mut self, id: Oid, path: &RepoPath, limits: &Limits) -> Result<Entries, TreeError> {
        if let Some(entries) = self.kept.get(&id) {
            return Ok(entries.clone());
        }
        let too_many = || TreeError::TooMany { path: path.clone(), limit: limits.entries };
        let size = self.size(id, ObjectType::Tree, path)?;
        if size > ENTRY_BYTES.saturating_mul(limits.entries as u64) {
            return Err(too_many());
        }
        let entries = Arc::new(self.parsed(id, path)?);
        if entries.len() > limits.entries {
            return Err(too_many());
        }
        self.keep(id, &entries);
        Ok(entries)
    }

    fn parsed(&self, id: Oid, path: &RepoPath) -> Result<BTreeMap<String, Entry>, TreeError> {
        let tree = self.repository.find_tree(id).map_err(|error| failed(path, &error))?;
        let mut entries = BTreeMap::new();
        for entry in &tree {
            let mode = match entry.kind() {
                Some(ObjectType::Tree) => Mode::Directory,
                Some(ObjectType::Blob) if entry.filemode() == 0o120_000 => Mode::Link,
                Some(ObjectType::Blob) => Mode::File,
                _ => Mode::Submodule,
            };
            let name = std::str::from_utf8(entry.name_bytes()).map_err(|_| TreeError::Store {
                path: path.clone(),
                message: format!("the name `{}` is not UTF-8", String::from_utf8_lossy(entry.name_bytes())),
            })?;
            entries.insert(name.to_owned(), Entry { id: entry.id(), mode });
        }
        Ok(entries)
    }

    fn keep(&mut self, id: Oid, entries: &Entries) {
        if self.kept_entries + entries.len() > KEPT_ENTRIES {
            self.kept.clear();
            self.kept_entries = 0;
        }
        self.kept_entries += entries.len();
        self.kept.insert(id, entries.clone());
    }

    fn odb(&self, path: &RepoPath) -> Result<Odb<'_>, TreeError> {
        self.repository.odb().map_err(|error| failed(path, &error))
    }

    /// The size of an object, from its header alone.
    fn size(&self, id: Oid, wanted: ObjectType, path: &RepoPath) -> Result<u64, TreeError> {
        self.check_loose(id, path)?;
        let (size, kind) = self.odb(path)?.read_header(id).map_err(|error| failed(path, &error))?;
        if kind == wanted {
            return Ok(size as u64);
        }
        Err(TreeError::Store { path: path.clone(), message: format!("the object {id} is a {kind} and no {wanted}") })
    }

    fn blob(&self, id: Oid, path: &RepoPath, limit: u64) -> Result<Vec<u8>, TreeError> {
        let bytes = self.size(id, ObjectType::Blob, path)?;
        if bytes > limit {
            return Err(TreeError::TooLarge { path: path.clone(), bytes, limit });
        }
        Ok(self.odb(path)?.read(id).map_err(|error| failed(path, &error))?.data().to_vec())
    }

    /// libgit2 1.9.7 spins for ever on a loose object that is cut off, so one is read to its end before libgit2 may see it. Packs,
    /// which fetches write, have no such fault.
    fn check_loose(&self, id: Oid, path: &RepoPath) -> Result<(), TreeError> {
        let name = id.to_string();
        let loose = self.repository.commondir().join("objects").join(&name[..2]).join(&name[2..]);
        let broken = |error: &dyn std::fmt::Display| TreeError::Store {
            path: path.clone(),
            message: format!("the object {id} is damaged: {error}"),
        };
        match File::open(loose) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(broken(&error)),
            // `take` bounds what a small file may expand to; the header tells larger ones apart.
            Ok(file) => {
                let mut content = flate2::read::ZlibDecoder::new(file).take(LOOSE_BYTES);
                io::copy(&mut content, &mut io::sink()).map(|_| ()).map_err(|error| broken(&error))
            }
        }
    }
}

/// How much of a loose object is read to see that it is whole.
const LOOSE_BYTES: u64 = 64 << 20;

fn failed(path: &RepoPath, error: &git2::Error) -> TreeError {
    TreeError::Store { path: path.clone(), message: error.message().to_owned() }
}

impl Tree for GitTree {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        Ok(self.with(|store| self.follow(store, path))?.and_then(|entry| entry.mode.kind()))
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        let found = self.with(|store| self.find(store, path))?;
        Ok(found.filter(|(_, entry)| entry.mode.kind().is_some()).map(|(path, _)| path))
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        self.with(|store| match self.follow(store, path)? {
            Some(Entry { id, mode: Mode::File }) => {
                let bytes = store.blob(id, path, self.limits.file_bytes)?;
                Ok(Some(Blob { bytes, id: Some(content_id(id, path)?) }))
            }
            _ => Ok(None),
        })
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        let found = self.with(|store| match links::follow(path, &self.limits, |path| self.look(store, path))? {
            Some((directory, Kind::Directory)) => {
                let entry = self.entry(store, &directory)?;
                entry.map(|entry| Ok((directory, store.entries(entry.id, path, &self.limits)?))).transpose()
            }
            _ => Ok(None),
        })?;
        let Some((directory, entries)) = found else {
            return Ok(BTreeMap::new());
        };
        let mut names = BTreeMap::new();
        for (name, entry) in entries.iter() {
            let kind = match entry.mode {
                Mode::Submodule => continue,
                Mode::Directory => Kind::Directory,
                Mode::File => Kind::File,
                Mode::Link => match directory.join(name) {
                    Ok(link) => super::kind_of_link(self.kind(&link))?,
                    Err(_) => Kind::File,
                },
            };
            names.insert(name.clone(), kind);
        }
        Ok(names)
    }

    fn known_id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        let entry = self.with(|store| self.follow(store, path))?.filter(|entry| entry.mode == Mode::File);
        entry.map(|entry| content_id(entry.id, path)).transpose()
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        let entry = self.with(|store| self.follow(store, path))?;
        entry.map(|entry| content_id(entry.id, path)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    /// app/{a.yaml, link -> ../shared, out -> ../../../etc, module (a submodule)}, shared/b.yaml
    fn repository() -> (tempfile::TempDir, [u8; 20]) {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path()).unwrap();
        let blob = |text: &str| repository.blob(text.as_bytes()).unwrap();
        let tree = |entries: &[(&str, Oid, i32)]| {
            let mut builder = repository.treebuilder(None).unwrap();
            for (name, id, mode) in entries {
                builder.insert(name, *id, *mode).unwrap();
            }
            builder.write().unwrap()
        };
        let shared = tree(&[("b.yaml", blob("b: 1\n"), 0o100_644)]);
        let link = |target: &str| (blob(target), 0o120_000);
        let (inside, outside) = (link("../shared"), link("../../../etc"));
        let module = Oid::from_str("1234567890123456789012345678901234567890").unwrap();
        let app = tree(&[
            ("a.yaml", blob("a: 1\n"), 0o100_644),
            ("link", inside.0, inside.1),
            ("module", module, 0o160_000),
            ("out", outside.0, outside.1),
        ]);
        let root = tree(&[("app", app, 0o040_000), ("shared", shared, 0o040_000)]);
        (directory, root.as_bytes().try_into().unwrap())
    }

    #[test]
    fn files_are_read_through_links_within_the_root() {
        let (directory, root) = repository();
        let tree = GitTree::open(directory.path(), root).unwrap();
        let blob = tree.read(&path("app/link/b.yaml")).unwrap().unwrap();
        assert_eq!(&*blob.bytes, b"b: 1\n");
        assert_eq!(blob.id, tree.id(&path("shared/b.yaml")).unwrap());
        assert_eq!(tree.id(&RepoPath::root()).unwrap(), Some(ContentId(root)));
        assert_eq!(tree.id(&path("app/none")).unwrap(), None);
    }

    #[test]
    fn a_link_out_of_the_root_is_an_error_and_a_submodule_is_nothing() {
        let (directory, root) = repository();
        let tree = GitTree::open(directory.path(), root).unwrap();
        assert_eq!(
            tree.read(&path("app/out/passwd")).unwrap_err(),
            TreeError::Link { path: path("app/out"), target: "../../../etc".into() }
        );
        assert_eq!(tree.kind(&path("app/module")), Ok(None));
        let names: Vec<_> = tree.list(&path("app")).unwrap().into_iter().collect();
        assert_eq!(names, [("a.yaml".into(), Kind::File), ("link".into(), Kind::Directory), ("out".into(), Kind::File)]);
    }

    #[test]
    fn limits_are_checked_before_reading() {
        let (directory, root) = repository();
        let tree = GitTree::open(directory.path(), root).unwrap();
        let tree = tree.with_limits(Limits { file_bytes: 4, ..Limits::default() });
        assert!(matches!(tree.read(&path("app/a.yaml")), Err(TreeError::TooLarge { bytes: 5, limit: 4, .. })));
        let tree = GitTree::open(directory.path(), root).unwrap().with_limits(Limits { entries: 3, ..Limits::default() });
        assert!(matches!(tree.list(&path("app")), Err(TreeError::TooMany { limit: 3, .. })));
    }

    // libgit2 never returns from this one.
    #[test]
    fn a_loose_object_that_is_cut_off_is_an_error() {
        let (directory, root) = repository();
        let tree = GitTree::open(directory.path(), root).unwrap();
        let id = Oid::hash_object(ObjectType::Blob, b"a: 1\n").unwrap().to_string();
        let file = directory.path().join("objects").join(&id[..2]).join(&id[2..]);
        let whole = std::fs::read(&file).unwrap();
        for length in [0, 2, whole.len() / 2, whole.len() - 1] {
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, &whole[..length]).unwrap();
            assert!(matches!(tree.read(&path("app/a.yaml")), Err(TreeError::Store { .. })), "{length}");
        }
    }

    #[test]
    fn a_tree_that_is_not_there_is_an_error() {
        let (directory, _) = repository();
        assert!(GitTree::open(directory.path(), [7; 20]).is_err());
        assert!(GitTree::open(&directory.path().join("none"), [7; 20]).is_err());
    }
}
