//! A repository on this disk: its references are read, and the objects of a commit are copied into our store.
//!
//! Copied, so that a `git gc` or a rewritten branch over there takes nothing away from under a running sync. It blocks.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;
use git2::{ErrorCode, ObjectType, Oid, Repository, RepositoryOpenFlags};

use super::protocol::Listed;
use super::store::{Boundary, Fault, Intake, oid};
use super::{CommitId, Error, Limits};
use crate::secret::SafeUrl;

/// Directories may lie this deep in each other.
const DEPTH: usize = 200;
/// Object databases may borrow from each other this often (git allows five).
const BORROWED: usize = 5;

/// Lists the references with one of these prefixes, and `HEAD`.
pub(super) fn references(path: &Path, prefixes: &[String]) -> Result<Vec<Listed>, Error> {
    let repository = open(path)?;
    let source = Source::new(&repository, path);
    let mut names: Vec<String> = prefixes.iter().filter(|prefix| repository.find_reference(prefix).is_ok()).cloned().collect();
    if names.len() != prefixes.len() {
        let all = repository.references().map_err(|error| source.damaged(&error))?;
        let all = all.flatten().filter_map(|reference| reference.name().ok().map(str::to_owned));
        names.extend(all.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))));
    }
    names.iter().map(|name| source.listed(name)).filter_map(Result::transpose).collect()
}

/// Copies what belongs to a commit and is not in the store yet.
pub(super) fn copy(path: &Path, commit: CommitId, limits: &Limits, intake: &mut Intake<'_>) -> Result<Boundary, Error> {
    let repository = open(path)?;
    let source = Source::new(&repository, path);
    let id = oid(commit).map_err(|_| source.no_commit(commit))?;
    if source.kind(id)? != Some(ObjectType::Commit) {
        return Err(source.no_commit(commit));
    }
    let found = repository.find_commit(id).map_err(|error| source.damaged(&error))?;
    let mut objects = vec![id];
    source.walk(found.tree_id(), intake, limits, &mut objects)?;
    source.pack(&objects, intake)?;
    let shallow = if found.parent_count() > 0 { vec![commit] } else { Vec::new() };
    Ok(Boundary { shallow, unshallow: Vec::new() })
}

fn open(path: &Path) -> Result<Repository, Error> {
    // Else whoever may write a Sync could read the repositories of others, by the path of the cache.
    if path.join(super::store::HELD).exists() {
        return Err(Error::NotARepository { path: path.to_owned(), why: "it is the cache of an agent".to_owned() });
    }
    Repository::open_ext(path, RepositoryOpenFlags::NO_SEARCH, None::<&Path>).map_err(|error| unopened(path, &error))
}

fn unopened(path: &Path, error: &git2::Error) -> Error {
    let message = error.message();
    if message.contains("object format") || message.contains("objectformat") {
        return Error::Sha256 { url: SafeUrl::new(path.display().to_string()) };
    }
    if error.code() == ErrorCode::Owner {
        return Error::Setting {
            what: path.display().to_string(),
            why: "it belongs to another user".to_owned(),
            hint: "make it yours, or trust it: `git config --global --add safe.directory PATH`",
        };
    }
    let why = if path.exists() { message.to_owned() } else { "there is no such directory".to_owned() };
    Error::NotARepository { path: path.to_owned(), why }
}

/// A repository that somebody else writes.
struct Source<'a> {
    repository: &'a Repository,
    path: &'a Path,
    directories: Vec<PathBuf>,
}

impl<'a> Source<'a> {
    fn new(repository: &'a Repository, path: &'a Path) -> Self {
        let mut directories = vec![repository.commondir().join("objects")];
        for at in 0..BORROWED {
            let Some(list) = directories.get(at).and_then(|directory| fs::read_to_string(directory.join("info/alternates")).ok()) else {
                continue;
            };
            let more: Vec<_> = list.lines().map(|line| directories[at].join(line)).collect();
            directories.extend(more);
        }
        Self { repository, path, directories }
    }

    fn damaged(&self, error: &git2::Error) -> Error {
        Error::Damaged { path: self.path.to_owned(), why: error.message().to_owned() }
    }

    fn no_commit(&self, commit: CommitId) -> Error {
        Error::NoCommit { url: SafeUrl::new(self.path.display().to_string()), commit }
    }

    /// A reference with what it points to; `None` where it points to nothing.
    fn listed(&self, name: &str) -> Result<Option<Listed>, Error> {
        let Ok(reference) = self.repository.find_reference(name) else { return Ok(None) };
        let target = reference.symbolic_target().ok().flatten().map(str::to_owned);
        let Ok(resolved) = reference.resolve() else { return Ok(None) };
        let Some(id) = resolved.target() else { return Ok(None) };
        Ok(Some(Listed { name: name.to_owned(), id: commit_id(id), peeled: self.peeled(id)?, target }))
    }

    /// What an annotated tag points to, also through other tags.
    fn peeled(&self, id: Oid) -> Result<Option<CommitId>, Error> {
        let (mut at, mut peeled) = (id, None);
        for _ in 0..16 {
            if self.kind(at)? != Some(ObjectType::Tag) {
                break;
            }
            at = self.repository.find_tag(at).map_err(|error| self.damaged(&error))?.target_id();
            peeled = Some(commit_id(at));
        }
        Ok(peeled)
    }

    /// What an object is; `None` where it is missing. Read whole, and so checked by its hash: git2 0.21 panics on a damaged header.
    fn kind(&self, id: Oid) -> Result<Option<ObjectType>, Error> {
        self.check_loose(id)?;
        let odb = self.repository.odb().map_err(|error| self.damaged(&error))?;
        match odb.read(id) {
            Ok(object) => Ok(Some(object.kind())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    /// Reads a loose object to its end before libgit2 does, for every object that it is to read: on one that is cut off, libgit2 1.9.7 never returns.
    fn check_loose(&self, id: Oid) -> Result<(), Error> {
        let name = id.to_string();
        let file = self.directories.iter().map(|directory| directory.join(&name[..2]).join(&name[2..])).find(|file| file.exists());
        let Some(file) = file else { return Ok(()) };
        match loose_hash(&file) {
            Ok(hash) if hash == id => Ok(()),
            Ok(_) => Err(self.broken(id, "its content is not what its name says")),
            Err(error) => Err(self.broken(id, &error.to_string())),
        }
    }

    fn broken(&self, id: Oid, why: &str) -> Error {
        Error::Damaged { path: self.path.to_owned(), why: format!("object {id}: {why}") }
    }

    /// Finds the objects below a tree that the store lacks. What it has is complete, so nothing below needs a look.
    fn walk(&self, root: Oid, intake: &Intake<'_>, limits: &Limits, found: &mut Vec<Oid>) -> Result<(), Error> {
        let (mut seen, mut open) = (HashSet::new(), vec![(root, ObjectType::Tree, 0)]);
        let odb = self.repository.odb().map_err(|error| self.damaged(&error))?;
        while let Some((id, kind, depth)) = open.pop() {
            if intake.has(id) || !seen.insert(id) {
                continue;
            }
            self.check_loose(id)?;
            if !odb.exists(id) {
                return Err(self.broken(id, "it is missing"));
            }
            found.push(id);
            if found.len() as u64 > limits.objects || depth > DEPTH {
                let url = SafeUrl::new(self.path.display().to_string());
                return Err(Error::TooLarge { url, what: "too many objects, or too deep", limit: limits.objects });
            }
            if kind == ObjectType::Tree {
                open.extend(self.children(id)?.into_iter().map(|(child, kind)| (child, kind, depth + 1)));
            }
        }
        Ok(())
    }

    /// What is in a directory; submodules are elsewhere.
    fn children(&self, id: Oid) -> Result<Vec<(Oid, ObjectType)>, Error> {
        let tree = self.repository.find_tree(id).map_err(|error| self.damaged(&error))?;
        let kinds = tree.iter().filter_map(|entry| Some((entry.id(), entry.kind()?)));
        Ok(kinds.filter(|(_, kind)| *kind != ObjectType::Commit).collect())
    }

    fn pack(&self, objects: &[Oid], intake: &mut Intake<'_>) -> Result<(), Error> {
        let mut builder = self.repository.packbuilder().map_err(|error| self.damaged(&error))?;
        objects.iter().try_for_each(|id| builder.insert_object(*id, None)).map_err(|error| self.damaged(&error))?;
        let mut fault = None;
        let done = builder.foreach(|piece| {
            fault = intake.write(piece).err();
            fault.is_none()
        });
        match fault {
            Some(fault) => Err(super::stored(self.path, &SafeUrl::new(self.path.display().to_string()), fault)),
            None => done.map_err(|error| self.damaged(&error)),
        }
    }
}

fn commit_id(id: Oid) -> CommitId {
    let mut bytes = [0; 20];
    bytes.iter_mut().zip(id.as_bytes()).for_each(|(to, from)| *to = *from);
    CommitId(bytes)
}

/// The hash of what a loose object holds: `kind size NUL content`, compressed.
fn loose_hash(file: &Path) -> std::io::Result<Oid> {
    // No more than a blob may have: the files that we render are far smaller, and a bomb is cut here.
    const LARGEST: u64 = 1 << 30;
    let mut bytes = Vec::new();
    ZlibDecoder::new(fs::File::open(file)?).take(LARGEST).read_to_end(&mut bytes)?;
    let bad = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(|| bad("it has no header"))?;
    let (head, content) = (&bytes[..end], &bytes[end + 1..]);
    let kind = std::str::from_utf8(head).ok().and_then(|head| head.split_once(' '));
    let (kind, size) = kind.ok_or_else(|| bad("its header is no header"))?;
    if size.parse() != Ok(content.len()) {
        return Err(bad("it is cut off, or longer than it says"));
    }
    let kind = ObjectType::from_str(kind).ok_or_else(|| bad("it is of an unknown kind"))?;
    Oid::hash_object(kind, content).map_err(|error| bad(error.message()))
}

/// A fault of the store, while copying.
pub(super) fn fault(error: Error, told: &mut Option<Error>) -> Fault {
    *told = Some(error);
    Fault::Stopped
}
