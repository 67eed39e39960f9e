//! The objects that we hold: a bare repository of packs, and the list of the commits that are complete in it.
//!
//! It knows no network; it blocks. On disk, in the directory of one repository:
//!
//! ```text
//! store/           a bare repository: packs only, never a loose object (libgit2 spins for ever on one that is cut off)
//! store/shallow    the commits whose parents are not here
//! store/held       the commits whose objects are all here, oldest first; written last, so that a store half made has none
//! new-*, old-*     a store being made or replaced; left over after a crash, and swept away by the next one
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use git2::{ObjectType, Odb, OdbPackwriter, Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use super::{CommitId, Limits, protocol};

/// The file that lists the commits that are complete.
pub(super) const HELD: &str = "held";

/// Why objects could not be taken in or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// What we hold is damaged: it is to be thrown away and fetched anew.
    Damaged(String),
    /// What arrived is no pack, or does not fit what we hold.
    Pack(String),
    /// What arrives is too much.
    TooLarge(&'static str, u64),
    /// The disk refused.
    Disk(String),
    /// The id names a tag, tree or blob.
    NotACommit,
    /// Whoever feeds us stopped, and knows why.
    Stopped,
}

/// Where history is cut, as the other side says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Boundary {
    /// These commits have no parents here.
    pub(super) shallow: Vec<CommitId>,
    /// The parents of these are here now.
    pub(super) unshallow: Vec<CommitId>,
}

/// The objects of one repository.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store in a directory; nothing is read or written yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The bare repository.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The commits that are complete, oldest first; none where there is no store.
    pub(super) fn held(&self) -> Result<Vec<CommitId>, Fault> {
        let store = self.path();
        if !store.exists() {
            return Ok(Vec::new());
        }
        no_loose_objects(&store)?;
        whole_packs(&store)?;
        let text = fs::read_to_string(store.join(HELD)).map_err(|error| Fault::Damaged(format!("it was not finished: {error}")))?;
        let held: Option<Vec<_>> = text.lines().map(CommitId::parse).collect();
        held.filter(|held| !held.is_empty()).ok_or_else(|| Fault::Damaged("its list of commits is no such list".to_owned()))
    }

    /// The tree of a commit that is held.
    pub(super) fn tree(&self, commit: CommitId) -> Result<[u8; 20], Fault> {
        tree(&open(&self.path())?, commit)
    }

    /// Takes in what `feed` brings: on top of the commits in `base`, or, where there are none, into a new store that then replaces the old one.
    pub(super) fn receive(&self, base: &[CommitId], commit: CommitId, limits: &Limits, feed: impl Feed) -> Result<[u8; 20], Fault> {
        if !base.is_empty() {
            return fill(&self.path(), base, commit, limits, feed);
        }
        fs::create_dir_all(&self.directory).map_err(disk)?;
        self.sweep();
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&self.directory).map_err(disk)?;
        let options = &mut RepositoryInitOptions::new();
        Repository::init_opts(new.path(), options.bare(true).external_template(false))
            .map_err(|error| Fault::Disk(error.message().to_owned()))?;
        let tree = fill(new.path(), base, commit, limits, feed)?;
        self.replace(new)?;
        Ok(tree)
    }

    fn replace(&self, new: tempfile::TempDir) -> Result<(), Fault> {
        if self.path().exists() {
            let old = tempfile::Builder::new().prefix("old-").tempdir_in(&self.directory).map_err(disk)?;
            fs::rename(self.path(), old.path().join("store")).map_err(disk)?;
        }
        fs::rename(new.keep(), self.path()).map_err(disk)
    }

    /// Removes what a crash left behind. What cannot be removed now will be tried again the next time.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("new-") || name.to_string_lossy().starts_with("old-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Brings a pack, piece by piece, and then says where history is cut.
pub(super) trait Feed: FnOnce(&mut Intake<'_>) -> Result<Boundary, Fault> {}
impl<F: FnOnce(&mut Intake<'_>) -> Result<Boundary, Fault>> Feed for F {}

/// Takes in one pack.
pub(super) struct Intake<'a> {
    odb: &'a Odb<'a>,
    writer: OdbPackwriter<'a>,
    head: Vec<u8>,
    bytes: u64,
    limits: &'a Limits,
}

impl Intake<'_> {
    /// Takes a piece of the pack.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.limits.pack {
            return Err(Fault::TooLarge("a pack of too many bytes", self.limits.pack));
        }
        self.check_head(piece)?;
        // The io::Error says only "Write error"; libgit2 keeps the words.
        self.writer.write_all(piece).map_err(|_| Fault::Pack(git2::Error::last_error(-1).message().to_owned()))
    }

    /// Whether we have this object already.
    pub(super) fn has(&self, id: Oid) -> bool {
        self.odb.exists(id)
    }

    /// Looks at the number of objects before libgit2 makes room for them.
    fn check_head(&mut self, piece: &[u8]) -> Result<(), Fault> {
        if self.head.len() == 12 {
            return Ok(());
        }
        self.head.extend(piece.iter().take(12 - self.head.len()));
        let Ok(head) = <&[u8; 12]>::try_from(self.head.as_slice()) else { return Ok(()) };
        let objects = protocol::objects(head).map_err(|_| Fault::Pack("it does not begin as a pack does".to_owned()))?;
        if u64::from(objects) > self.limits.objects {
            return Err(Fault::TooLarge("a pack of too many objects", self.limits.objects));
        }
        Ok(())
    }
}

fn fill(store: &Path, base: &[CommitId], commit: CommitId, limits: &Limits, feed: impl Feed) -> Result<[u8; 20], Fault> {
    let repository = open(store)?;
    let odb = repository.odb().map_err(damaged)?;
    let writer = odb.packwriter().map_err(|error| Fault::Disk(error.message().to_owned()))?;
    let mut intake = Intake { odb: &odb, writer, head: Vec::new(), bytes: 0, limits };
    let boundary = feed(&mut intake)?;
    intake.writer.commit().map_err(|error| Fault::Pack(error.message().to_owned()))?;
    drop(intake);
    let tree = tree(&repository, commit).map_err(|fault| match fault {
        Fault::Damaged(why) => Fault::Pack(format!("it lacks what was asked for: {why}")),
        other => other,
    })?;
    write(store, "shallow", &shallow(&read_shallow(store), &boundary))?;
    let held: Vec<_> = base.iter().copied().filter(|held| *held != commit).chain([commit]).collect();
    write(store, HELD, &held)?;
    Ok(tree)
}

/// The commits whose parents are not here, after a fetch.
fn shallow(before: &[CommitId], boundary: &Boundary) -> Vec<CommitId> {
    let mut all: BTreeSet<_> = before.iter().chain(&boundary.shallow).copied().collect();
    boundary.unshallow.iter().for_each(|commit| {
        all.remove(commit);
    });
    all.into_iter().collect()
}

fn read_shallow(store: &Path) -> Vec<CommitId> {
    let text = fs::read_to_string(store.join("shallow")).unwrap_or_default();
    text.lines().filter_map(CommitId::parse).collect()
}

/// Writes a list of commits so that a reader sees the old one or the new one. Only the list of what is held has to outlive a power cut as it is:
/// with another boundary the next fetch does not fit, and is done again from nothing.
fn write(store: &Path, name: &str, commits: &[CommitId]) -> Result<(), Fault> {
    let text: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
    let mut file = tempfile::NamedTempFile::new_in(store).map_err(disk)?;
    let outlives = |file: &tempfile::NamedTempFile| if name == HELD { file.as_file().sync_all() } else { Ok(()) };
    file.write_all(text.as_bytes()).and_then(|()| outlives(&file)).map_err(disk)?;
    file.persist(store.join(name)).map_err(|error| disk(error.error)).map(drop)
}

fn open(store: &Path) -> Result<Repository, Fault> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
    Repository::open_ext(store, flags, None::<&Path>).map_err(damaged)
}

fn tree(repository: &Repository, commit: CommitId) -> Result<[u8; 20], Fault> {
    let odb = repository.odb().map_err(damaged)?;
    let id = oid(commit)?;
    let object = odb.read(id).map_err(damaged)?;
    if object.kind() != ObjectType::Commit {
        return Err(Fault::NotACommit);
    }
    let tree = repository.find_commit(id).map_err(damaged)?.tree_id();
    let kind = odb.read(tree).map_err(damaged)?.kind();
    let bytes = <[u8; 20]>::try_from(tree.as_bytes()).map_err(|_| Fault::NotACommit)?;
    if kind == ObjectType::Tree { Ok(bytes) } else { Err(Fault::Damaged("its tree is no tree".to_owned())) }
}

/// The id as libgit2 takes it.
pub(super) fn oid(commit: CommitId) -> Result<Oid, Fault> {
    Oid::from_bytes(&commit.0).map_err(damaged)
}

fn no_loose_objects(store: &Path) -> Result<(), Fault> {
    let objects = fs::read_dir(store.join("objects")).map_err(|error| Fault::Damaged(error.to_string()))?;
    let loose = objects.flatten().any(|entry| entry.file_name().len() == 2);
    if loose { Err(Fault::Damaged("somebody wrote loose objects into it".to_owned())) } else { Ok(()) }
}

/// Sees to it that packs have the end that their indices say: what is added to a store that was cut off would be cut off, too, and
/// libgit2 looks only at the packs that it needs. Costs forty bytes a pack; what is wrong in the middle of one shows when it is read.
fn whole_packs(store: &Path) -> Result<(), Fault> {
    let files = fs::read_dir(store.join("objects/pack")).map_err(|error| Fault::Damaged(error.to_string()))?;
    for pack in files.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "pack")) {
        // A pack ends with its hash; its index ends with that hash and its own.
        let (end, index) = (tail::<20>(&pack), tail::<40>(&pack.with_extension("idx")));
        let same = end.ok().zip(index.ok()).is_some_and(|(end, index)| index.starts_with(&end));
        if !same {
            return Err(Fault::Damaged(format!("{} is cut off", pack.display())));
        }
    }
    Ok(())
}

/// The last bytes of a file.
fn tail<const LENGTH: usize>(path: &Path) -> std::io::Result<[u8; LENGTH]> {
    let mut file = fs::File::open(path)?;
    let mut bytes = [0; LENGTH];
    file.seek(SeekFrom::End(-i64::try_from(LENGTH).unwrap_or(0)))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(error: git2::Error) -> Fault {
    Fault::Damaged(error.message().to_owned())
}

fn disk(error: std::io::Error) -> Fault {
    Fault::Disk(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> CommitId {
        CommitId([byte; 20])
    }

    #[test]
    fn history_is_cut_where_the_other_side_says() {
        let boundary = Boundary { shallow: vec![id(3)], unshallow: vec![id(1)] };
        assert_eq!(shallow(&[id(1), id(2), id(3)], &boundary), [id(2), id(3)]);
    }

    fn refused(bytes: &[u8], limits: &Limits) -> Fault {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("cache"));
        let fault = store
            .receive(&[], id(1), limits, |intake: &mut Intake<'_>| {
                bytes.chunks(5).try_for_each(|piece| intake.write(piece)).map(|()| Boundary::default())
            })
            .unwrap_err();
        assert_eq!(store.held(), Ok(vec![]), "nothing is held after {fault:?}");
        assert_eq!(fs::read_dir(directory.path().join("cache")).unwrap().count(), 0, "nothing is left behind after {fault:?}");
        fault
    }

    #[test]
    fn what_is_no_pack_or_too_large_is_refused_and_leaves_nothing() {
        let limits = Limits { pack: 40, objects: 2, ..Limits::default() };
        assert!(matches!(refused(b"<!DOCTYPE html>", &limits), Fault::Pack(_)));
        assert!(matches!(refused(b"PACK\0\0\0\x02\0\0\0\x01xxxxxxxxxxxxxxxxxxxx", &limits), Fault::Pack(_)));
        assert!(matches!(refused(b"", &limits), Fault::Pack(_)));
        assert_eq!(refused(b"PACK\0\0\0\x02\0\0\0\x03", &limits), Fault::TooLarge("a pack of too many objects", 2));
        assert_eq!(
            refused(&[b"PACK\0\0\0\x02\0\0\0\x01".as_slice(), &[0x30; 40]].concat(), &Limits { pack: 12, ..limits }),
            Fault::TooLarge("a pack of too many bytes", 12)
        );
    }

    #[test]
    fn a_store_that_was_not_finished_or_was_tampered_with_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        Repository::init_bare(store.path()).unwrap();
        assert!(matches!(store.held(), Err(Fault::Damaged(_))), "no list");
        write(&store.path(), "held", &[id(7)]).unwrap();
        assert_eq!(store.held(), Ok(vec![id(7)]));
        fs::write(store.path().join("held"), "0707").unwrap();
        assert!(matches!(store.held(), Err(Fault::Damaged(_))), "a list cut off");
        write(&store.path(), "held", &[id(7)]).unwrap();
        fs::create_dir(store.path().join("objects/ab")).unwrap();
        assert!(matches!(store.held(), Err(Fault::Damaged(_))), "loose objects");
    }
}
