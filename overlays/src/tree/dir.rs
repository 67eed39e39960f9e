//! A directory on disk.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::links::{self, Found};
use super::{Blob, ContentId, Kind, Limits, MAX_DEPTH, Tree, TreeError, hash_blob, hash_tree};
use crate::path::RepoPath;

/// A tree that is a directory on disk, read anew each time but for which directories there are. `.git` and what is neither file, directory nor link count as nothing.
///
/// Ids are those that Git would give: of a file the hash of its blob, of a directory the hash of its tree, for which all below is read.
#[derive(Clone, Debug)]
pub struct Dir {
    root: PathBuf,
    limits: Limits,
    /// Directories to which no link leads, as they were met: most paths that are asked for lie in one of a few.
    straight: Arc<Mutex<HashSet<RepoPath>>>,
}

impl Dir {
    /// The tree below a directory. Nothing above it can be reached, by `..` or by a link.
    pub fn new(root: PathBuf) -> Self {
        Self { root, limits: Limits::default(), straight: Arc::default() }
    }

    /// The same tree with other bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The tree that a kustomization in `directory` may reach, and where the directory is in it: its Git working tree, or all of the
    /// file system where it is in none.
    ///
    /// # Errors
    /// The directory is not there, or its path is not UTF-8.
    pub fn covering(directory: &Path) -> Result<(Self, RepoPath), TreeError> {
        let unreadable =
            |message: String| TreeError::Store { path: RepoPath::root(), message: format!("{}: {message}", directory.display()) };
        let full = directory.canonicalize().map_err(|error| unreadable(error.to_string()))?;
        let root = full.ancestors().find(|ancestor| ancestor.join(".git").exists()).unwrap_or(Path::new("/"));
        let below = full.strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(|| unreadable("the path is not UTF-8".into()))?;
        let path = RepoPath::new(below).map_err(|error| unreadable(error.to_string()))?;
        Ok((Self::new(root.to_owned()), path))
    }

    /// The root on disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn on_disk(&self, path: &RepoPath) -> PathBuf {
        if path.is_root() { self.root.clone() } else { self.root.join(path.as_str()) }
    }

    fn look(&self, path: &RepoPath) -> Result<Option<Found>, TreeError> {
        if path.name() == Some(".git") {
            return Ok(None);
        }
        let file = self.on_disk(path);
        // The root itself may be reached through a link.
        let found = if path.is_root() { fs::metadata(&file) } else { fs::symlink_metadata(&file) };
        let Some(metadata) = there(found, path)? else {
            return Ok(None);
        };
        let kind = metadata.file_type();
        if !kind.is_symlink() {
            return Ok(if kind.is_dir() { Some(Found::Directory) } else { kind.is_file().then_some(Found::File) });
        }
        let Some(target) = there(fs::read_link(&file), path)? else {
            return Ok(None);
        };
        text(path, target.as_os_str()).map(|target| Some(Found::Link(target.to_owned())))
    }

    fn follow(&self, path: &RepoPath) -> Result<Option<(RepoPath, Kind)>, TreeError> {
        if path.parent().is_some_and(|above| self.straight().contains(&above)) {
            match self.look(path)? {
                None => return Ok(None),
                Some(Found::File) => return Ok(Some((path.clone(), Kind::File))),
                Some(Found::Directory) => return Ok(Some(self.met(path.clone()))),
                Some(Found::Link(_)) => {}
            }
        }
        let found = links::follow(path, &self.limits, |path| self.look(path))?;
        Ok(found.map(|(real, kind)| if kind == Kind::Directory { self.met(real) } else { (real, kind) }))
    }

    /// A directory to which no link leads.
    fn met(&self, directory: RepoPath) -> (RepoPath, Kind) {
        self.straight().insert(directory.clone());
        (directory, Kind::Directory)
    }

    fn straight(&self) -> MutexGuard<'_, HashSet<RepoPath>> {
        self.straight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names in a directory that is reached through no link.
    fn names(&self, path: &RepoPath) -> Result<Vec<String>, TreeError> {
        let Some(entries) = there(fs::read_dir(self.on_disk(path)), path)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            if names.len() == self.limits.entries {
                return Err(TreeError::TooMany { path: path.clone(), limit: self.limits.entries });
            }
            let name = entry.map_err(|error| store(path, &error))?.file_name();
            names.push(text(path, &name)?.to_owned());
        }
        Ok(names)
    }

    fn bytes(&self, path: &RepoPath) -> Result<Option<Vec<u8>>, TreeError> {
        let Some(file) = there(fs::File::open(self.on_disk(path)), path)? else {
            return Ok(None);
        };
        let limit = self.limits.file_bytes;
        let size = file.metadata().map_err(|error| store(path, &error))?.len();
        let too_large = |bytes| TreeError::TooLarge { path: path.clone(), bytes, limit };
        if size > limit {
            return Err(too_large(size));
        }
        // The file may grow while it is read.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| store(path, &error))?;
        if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64)) } else { Ok(Some(bytes)) }
    }

    /// The hash that Git gives a directory; `None` for one without files, which Git does not keep. Links count by what they say.
    fn tree_id(&self, path: &RepoPath, depth: usize) -> Result<Option<ContentId>, TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooMany { path: path.clone(), limit: MAX_DEPTH });
        }
        let mut entries = Vec::new();
        for name in self.names(path)? {
            let below = path.join(&name).map_err(|error| TreeError::Store { path: path.clone(), message: error.to_string() })?;
            let entry = match self.look(&below)? {
                None => None,
                Some(Found::Link(target)) => Some(("120000", hash_blob(target.as_bytes(), &below)?)),
                Some(Found::Directory) => self.tree_id(&below, depth + 1)?.map(|id| ("40000", id)),
                Some(Found::File) => {
                    self.bytes(&below)?.map(|bytes| hash_blob(&bytes, &below)).transpose()?.map(|id| (self.mode(&below), id))
                }
            };
            entries.extend(entry.map(|(mode, id)| (name, mode, id)));
        }
        if entries.is_empty() { Ok(None) } else { hash_tree(entries, path).map(Some) }
    }

    fn mode(&self, path: &RepoPath) -> &'static str {
        use std::os::unix::fs::PermissionsExt;
        let executable = fs::metadata(self.on_disk(path)).is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
        if executable { "100755" } else { "100644" }
    }
}

fn there<T>(result: io::Result<T>, path: &RepoPath) -> Result<Option<T>, TreeError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(store(path, &error)),
    }
}

fn store(path: &RepoPath, error: &io::Error) -> TreeError {
    TreeError::Store { path: path.clone(), message: error.to_string() }
}

fn text<'a>(path: &RepoPath, name: &'a std::ffi::OsStr) -> Result<&'a str, TreeError> {
    name.to_str().ok_or_else(|| TreeError::Store { path: path.clone(), message: format!("the name {name:?} is not UTF-8") })
}

impl Tree for Dir {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        Ok(self.follow(path)?.map(|(_, kind)| kind))
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        Ok(self.follow(path)?.map(|(path, _)| path))
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        let Some((file, Kind::File)) = self.follow(path)? else {
            return Ok(None);
        };
        // A hash of large files costs more than anything else that is done with them.
        Ok(self.bytes(&file)?.map(|bytes| Blob { bytes, id: None }))
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        let Some((directory, Kind::Directory)) = self.follow(path)? else {
            return Ok(BTreeMap::new());
        };
        let mut found = BTreeMap::new();
        for name in self.names(&directory)? {
            let below = directory.join(&name).map_err(|error| TreeError::Store { path: path.clone(), message: error.to_string() })?;
            let kind = match self.look(&below)? {
                None => continue,
                Some(Found::Link(_)) => super::kind_of_link(self.kind(&below))?,
                Some(Found::Directory) => Kind::Directory,
                Some(Found::File) => Kind::File,
            };
            found.insert(name, kind);
        }
        Ok(found)
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        match self.follow(path)? {
            None => Ok(None),
            Some((file, Kind::File)) => self.bytes(&file)?.map(|bytes| hash_blob(&bytes, path)).transpose(),
            Some((directory, Kind::Directory)) => match self.tree_id(&directory, 0)? {
                Some(id) => Ok(Some(id)),
                None => hash_tree(Vec::new(), path).map(Some),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> RepoPath {
        RepoPath::new(text).unwrap()
    }

    fn directory() -> (tempfile::TempDir, Dir) {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::write(temporary.path().join("secret"), "secret").unwrap();
        fs::write(root.join(".git/config"), "").unwrap();
        fs::write(root.join("a/b/file.yaml"), "x: 1\n").unwrap();
        symlink("b/file.yaml", root.join("a/link.yaml")).unwrap();
        symlink("../../secret", root.join("a/out.yaml")).unwrap();
        let dir = Dir::new(root);
        (temporary, dir)
    }

    #[test]
    fn links_within_the_root_are_read_and_others_refused() {
        let (_temporary, dir) = directory();
        assert_eq!(&*dir.read(&path("a/link.yaml")).unwrap().unwrap().bytes, b"x: 1\n");
        assert!(matches!(dir.read(&path("a/out.yaml")), Err(TreeError::Link { .. })));
        assert_eq!(dir.read(&path("a/none.yaml")).unwrap().map(|blob| blob.bytes), None);
        assert_eq!(dir.read(&path("a/b")).unwrap().map(|blob| blob.bytes), None);
    }

    #[test]
    fn a_link_out_of_the_root_is_listed_so_that_reading_it_tells() {
        let (_temporary, dir) = directory();
        let names: Vec<_> = dir.list(&path("a")).unwrap().into_iter().collect();
        assert_eq!(names, [("b".into(), Kind::Directory), ("link.yaml".into(), Kind::File), ("out.yaml".into(), Kind::File)]);
    }

    #[test]
    fn the_repository_itself_is_not_in_its_tree() {
        let (_temporary, dir) = directory();
        assert_eq!(dir.kind(&path(".git/config")), Ok(None));
        assert!(!dir.list(&RepoPath::root()).unwrap().contains_key(".git"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let (_temporary, dir) = directory();
        let dir = dir.with_limits(Limits { file_bytes: 4, ..Limits::default() });
        assert!(matches!(dir.read(&path("a/b/file.yaml")), Err(TreeError::TooLarge { bytes: 5, limit: 4, .. })));
    }

    #[test]
    fn a_directory_in_a_working_tree_is_covered_by_it() {
        let (_temporary, dir) = directory();
        let (covering, below) = Dir::covering(&dir.root().join("a/b")).unwrap();
        assert_eq!((covering.root().canonicalize().unwrap(), below.as_str()), (dir.root().canonicalize().unwrap(), "a/b"));
        assert!(Dir::covering(&dir.root().join("none")).is_err());
    }

    /// `git` names these so: `printf 'x: 1\n' | git hash-object --stdin`, and `git mktree` for the directory.
    #[test]
    fn ids_are_those_that_git_gives() {
        let (_temporary, dir) = directory();
        let id = |at| format!("{:?}", dir.id(&path(at)).unwrap().unwrap());
        assert_eq!(id("a/link.yaml"), BLOB);
        assert_eq!(id("a/b"), TREE);
    }

    const BLOB: &str = "d508cf756344aaf9123c531122a9d2d410c4ecfa";
    const TREE: &str = "5d00fda05aad2aa6365d91d1fdaa39043129b0d0";
}
