//! Bases in other repositories: what rendering lacks is brought by the same client as the repository itself, and kept.
//!
//! A base is brought once. A commit is what it is; a tag stands for the commit that it stood for when it was first asked for, as long as
//! what is held is there. So what was rendered once needs no network again. It knows no cluster and no layers.
//!
//! On disk, in the directory of one user (a Sync, or a person at a keyboard), for each repository:
//!
//! ```text
//! 0123456789abcdef/store, ...   as in [`git`]
//! 0123456789abcdef/tags         the tags that were asked for, each with the commit that it stood for
//! 0123456789abcdef/lock         held while something is brought, for two processes of a person may do so at once
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use overlays::path::RepoPath;
use overlays::tree::{Remotes, Tree, WithRemotes};
use overlays::{Error, Remote};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::git::{self, CommitId, Credentials, Git, Limits, Reference, Server};
use crate::secret::SafeUrl;

pub mod pinned;

pub use pinned::Permit;
use pinned::{Written, refused};

/// How often rendering goes on with what was brought: a base may name a base, which is known only when the first is here.
pub const ROUNDS: usize = 8;
/// A base is a part of a repository, and brought without its history: 2 minutes, 4 MiB of references, 128 MiB, 300,000 objects.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(120), ls_refs: 4 << 20, pack: 128 << 20, objects: 300_000 };
/// How much is kept on disk, in bytes; what is not in use goes first.
const KEPT: u64 = 512 << 20;
/// How many bases, each a repository at a reference, may be in use.
const IN_USE: usize = 64;
/// How long one who asks for bases waits for all of them.
const PATIENCE: Duration = Duration::from_secs(300);
/// A server that has just not answered is not asked again for others who want something of it.
const SPARED: Duration = Duration::from_secs(5);
/// How many repositories are asked at once.
const AT_ONCE: usize = 4;
/// How many tags of a repository are remembered.
const TAGS: usize = 1000;

/// What a user of remote bases may bring, and what was brought.
pub struct Bases {
    permit: Permit,
    directory: PathBuf,
    /// The server that the credentials are for; no other one sees them.
    own: Option<Server>,
    credentials: Credentials,
    remotes: Arc<Remotes>,
    /// The bases of each app, by their paths in the tree.
    users: Arc<Mutex<BTreeMap<String, BTreeSet<RepoPath>>>>,
    /// The repositories that bases in use are read from, by URL.
    repositories: Mutex<BTreeMap<String, Arc<Git>>>,
    /// One at a time brings, so that nothing is brought twice. It knows which servers did not answer lately, and why.
    bringing: tokio::sync::Mutex<BTreeMap<String, (Instant, git::Error)>>,
}

/// Why a base could not be brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Unbrought {
    /// In words, at the place that names it.
    pub error: Error,
    /// The repository.
    url: String,
    /// What may pass by itself.
    away: Option<Box<git::Error>>,
}

impl Unbrought {
    /// Whether it may go well later.
    pub fn is_transient(&self) -> bool {
        self.away.is_some()
    }
}

impl From<Error> for Unbrought {
    fn from(error: Error) -> Self {
        Self { error, url: String::new(), away: None }
    }
}

impl Bases {
    /// Nothing is read or written yet. `own` is a URL of the server that the credentials are for.
    pub fn new(permit: Permit, directory: PathBuf, own: Option<&SafeUrl>, credentials: Credentials) -> Self {
        let own = own.and_then(|url| Server::of(url).ok().flatten());
        let (remotes, users, repositories) = (Arc::default(), Arc::default(), Mutex::default());
        Self { permit, directory, own, credentials, remotes, users, repositories, bringing: tokio::sync::Mutex::default() }
    }

    /// As it was, with other credentials; what was brought stays.
    #[must_use]
    pub fn renewed(&self, permit: Permit, own: Option<&SafeUrl>, credentials: Credentials) -> Self {
        let anew = Self::new(permit, self.directory.clone(), own, credentials);
        Self { remotes: self.remotes.clone(), users: self.users.clone(), ..anew }
    }

    /// A tree in which the bases that were brought are found.
    pub fn under<'a>(&self, tree: Box<dyn Tree + 'a>) -> WithRemotes<'a> {
        WithRemotes::new(tree, self.remotes.clone())
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<RepoPath>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn repositories(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Git>>> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an app was rendered from: these bases are here for as long as it is.
    pub fn used_by(&self, app: &str, paths: &[RepoPath]) {
        let used: BTreeSet<RepoPath> = self.remotes.holding(paths).into_iter().collect();
        if used.is_empty() {
            self.users().remove(app);
        } else {
            self.users().insert(app.to_owned(), used);
        }
    }

    /// Lets go of what none of these apps was rendered from.
    pub fn keep_for(&self, is_there: impl Fn(&str) -> bool) {
        if self.remotes.count() == 0 {
            return;
        }
        let mut users = self.users();
        users.retain(|app, _| is_there(app));
        self.remotes.keep(|at, _| users.values().any(|used| used.contains(at)));
        let used = self.remotes.urls();
        self.repositories().retain(|url, git| used.contains(url) || git.is_damaged());
    }

    /// Lets go of what could not be read, so that it is fetched anew. Whether there was any.
    pub fn forget_damaged(&self) -> bool {
        let damaged: Vec<String> = self.repositories().iter().filter(|(_, git)| git.is_damaged()).map(|(url, _)| url.clone()).collect();
        let before = self.remotes.count();
        self.remotes.keep(|_, url| damaged.iter().all(|damaged| damaged != url));
        self.remotes.count() < before
    }

    /// Brings what is missing, for a person who waits for it.
    ///
    /// # Errors
    /// The system gives no runtime to do so with.
    pub fn bring_now(&self, missing: &[Remote]) -> Result<Vec<Error>, Error> {
        let none = |error: std::io::Error| Error::new(overlays::Stage::Tree, format!("remote bases can't be brought: {error}"));
        let unbrought = crate::cli::runtime().map_err(none)?.block_on(self.bring(missing));
        // Their connections belong to a runtime that is gone.
        self.repositories().clear();
        Ok(unbrought.into_iter().map(|unbrought| unbrought.error).collect())
    }

    /// Brings what is missing. What it returns could not be brought; all others can be rendered now.
    pub async fn bring(&self, missing: &[Remote]) -> Vec<Unbrought> {
        let failed = &mut *self.bringing.lock().await;
        failed.retain(|_, (when, _)| when.elapsed() < SPARED);
        let known = &*failed;
        let until = Instant::now() + PATIENCE;
        let mut wanted: BTreeMap<&str, Vec<&Remote>> = BTreeMap::new();
        missing.iter().for_each(|remote| wanted.entry(&remote.url).or_default().push(remote));
        let brought = stream::iter(wanted).map(|(url, remotes)| self.bring_from(url, remotes, known.get(url), until)).buffered(AT_ONCE);
        let unbrought: Vec<Unbrought> = brought.concat().await;
        let away = unbrought.iter().filter_map(|unbrought| Some((unbrought.url.clone(), (Instant::now(), *unbrought.away.clone()?))));
        for (url, fault) in away {
            failed.entry(url).or_insert(fault);
        }
        unbrought
    }

    /// Brings bases of one repository.
    async fn bring_from(&self, url: &str, remotes: Vec<&Remote>, known: Option<&(Instant, git::Error)>, until: Instant) -> Vec<Unbrought> {
        let (mut unbrought, mut away) = (Vec::new(), known.map(|(_, error)| Box::new(error.clone())));
        for remote in remotes {
            let brought = match &away {
                // Whoever waits for one that does not answer keeps others waiting.
                Some(error) if !self.remotes.has(remote) => Err(self.unfetched(remote, error)),
                _ if Instant::now() > until => {
                    let late = git::Error::Deadline { url: SafeUrl::new(url), step: "what comes before it", limit: PATIENCE };
                    Err(self.unfetched(remote, &late))
                }
                _ => self.bring_one(url, remote).await,
            };
            if let Err(error) = brought {
                away = away.or_else(|| error.away.clone());
                unbrought.push(error);
            }
        }
        unbrought
    }

    fn unfetched(&self, remote: &Remote, error: &git::Error) -> Unbrought {
        let away = error.is_transient().then(|| Box::new(error.clone()));
        Unbrought { url: remote.url.clone(), error: pinned::unfetched(remote, error, &self.permit), away }
    }

    async fn bring_one(&self, url: &str, remote: &Remote) -> Result<(), Unbrought> {
        if self.remotes.has(remote) {
            return Ok(());
        }
        let url = SafeUrl::new(url);
        let server = Server::of(&url)
            .map_err(|why| refused(remote, format!("{remote} can be no base: {why}"), "give the URL that `git clone` takes"))?;
        self.permit.allows(remote, server.as_ref())?;
        if self.remotes.count() >= IN_USE {
            return Err(
                refused(remote, format!("more than {IN_USE} remote bases are in use"), "vendor some of them into the repository").into()
            );
        }
        let place = Place { directory: self.directory.join(short(url.reveal())) };
        let git = self.repository(remote, &url, server.as_ref(), &place)?;
        let failed = |error: git::Error| self.unfetched(remote, &error);
        let _lock = place.lock(remote).await?;
        let commit = self.commit(remote, &git, &place).await?;
        self.make_room(remote, &place)?;
        let revision = git.fetch(&Reference::Commit(commit), commit).await.map_err(failed)?;
        let tree = git.tree(&revision).map_err(failed)?;
        self.remotes.give(remote, Arc::new(tree)).map_err(|why| refused(remote, why, "give one of them another URL"))?;
        self.repositories().insert(remote.url.clone(), git);
        Ok(())
    }

    /// The client for a repository. Only the own server sees the credentials; ssh, which has nothing without them, asks no other one.
    fn repository(&self, remote: &Remote, url: &SafeUrl, server: Option<&Server>, place: &Place) -> Result<Arc<Git>, Unbrought> {
        if let Some(git) = self.repositories().get(url.reveal()) {
            return Ok(git.clone());
        }
        let is_own = server.is_some() && server == self.own.as_ref();
        if server.is_some_and(Server::is_ssh) && !is_own && !self.permit.is_personal() {
            let message = format!("the remote base {remote} is to be had by ssh, and there is a key for the host of `spec.url` alone");
            return Err(refused(remote, message, "give its https URL, or vendor it into the repository").into());
        }
        let credentials = if is_own { self.credentials.clone() } else { Credentials::default() };
        let git = Git::new(place.directory.clone(), url.clone(), credentials, LIMITS);
        git.map(Arc::new).map_err(|error| self.unfetched(remote, &error))
    }

    /// The commit that a base is brought at: the one that is written, or where its tag stood when it was first asked for.
    async fn commit(&self, remote: &Remote, git: &Git, place: &Place) -> Result<CommitId, Unbrought> {
        let failed = |error: git::Error| self.unfetched(remote, &error);
        match pinned::written(remote) {
            Written::Commit(commit) => Ok(commit),
            Written::Nothing => {
                let now = git.poll(&Reference::Default).await.map_err(failed)?;
                Err(pinned::without_reference(remote, now).into())
            }
            Written::Name(name) => {
                if let Some(commit) = place.tag(name) {
                    return Ok(commit);
                }
                let commit = pinned::tag(remote, name, git.resolve(name).await.map_err(failed)?)?;
                place.remember(name, commit).map_err(|error| place.unwritable(remote, &error))?;
                Ok(commit)
            }
        }
    }

    /// Removes repositories that are not in use, the oldest first, until another one has room.
    fn make_room(&self, remote: &Remote, place: &Place) -> Result<(), Unbrought> {
        let used: BTreeSet<PathBuf> = self.remotes.urls().iter().map(|url| self.directory.join(short(url))).collect();
        let is_idle = |path: &Path| *path != place.directory && !used.contains(path) && is_free(path);
        let Some(idle) = to_remove(directories(&self.directory), is_idle) else {
            let message = format!("remote bases need more than the {} MiB that are kept of them", KEPT >> 20);
            return Err(refused(remote, message, "vendor some of them into the repository").into());
        };
        idle.iter().try_for_each(fs::remove_dir_all).map_err(|error| place.unwritable(remote, &error))
    }
}

/// What of all that is kept has to go so that one more has room: of what is idle the oldest; `None` if there is too much that is not.
fn to_remove(mut kept: Vec<Kept>, is_idle: impl Fn(&Path) -> bool) -> Option<Vec<PathBuf>> {
    kept.sort();
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
    let mut gone = Vec::new();
    for Kept { path, bytes: size, .. } in kept {
        if bytes + LIMITS.pack > KEPT && is_idle(&path) {
            bytes -= size;
            gone.push(path);
        }
    }
    (bytes <= KEPT).then_some(gone)
}

/// A directory that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    changed: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Where what is held of one repository is kept.
struct Place {
    directory: PathBuf,
}

impl Place {
    /// Waits until nobody else brings anything into it.
    async fn lock(&self, remote: &Remote) -> Result<File, Unbrought> {
        let directory = self.directory.clone();
        let locked = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&directory)?;
            let file = File::options().create(true).append(true).open(directory.join("lock"))?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        });
        let locked = locked.await.map_err(std::io::Error::other).and_then(|locked| locked);
        locked.map_err(|error| self.unwritable(remote, &error))
    }

    fn unwritable(&self, remote: &Remote, error: &std::io::Error) -> Unbrought {
        let message = format!("the remote base {remote} could not be kept in {}: {error}", self.directory.display());
        let away = Box::new(git::Error::Store { path: self.directory.clone(), why: error.to_string() });
        let error = refused(remote, message, "check that the directory is writable and the disk is not full");
        Unbrought { error, url: remote.url.clone(), away: Some(away) }
    }

    /// The commit that a tag stood for when it was first asked for.
    fn tag(&self, name: &str) -> Option<CommitId> {
        tags(&fs::read_to_string(self.directory.join("tags")).ok()?).find(|(tag, _)| *tag == name).map(|(_, commit)| commit)
    }

    fn remember(&self, name: &str, commit: CommitId) -> std::io::Result<()> {
        let text = fs::read_to_string(self.directory.join("tags")).unwrap_or_default();
        let old = tags(&text).map(|(name, commit)| format!("{commit} {name}\n"));
        let all: String = std::iter::once(format!("{commit} {name}\n")).chain(old).take(TAGS).collect();
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(all.as_bytes())?;
        file.persist(self.directory.join("tags")).map(drop).map_err(|error| error.error)
    }
}

/// Whether nobody brings anything into a directory at this time.
fn is_free(directory: &Path) -> bool {
    File::open(directory.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// The tags that are written down, each with its commit.
fn tags(text: &str) -> impl Iterator<Item = (&str, CommitId)> {
    text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(commit, name)| Some((name, CommitId::parse(commit)?)))
}

/// The name of the directory of a repository.
fn short(url: &str) -> String {
    Sha256::digest(url).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The directories in one.
fn directories(directory: &Path) -> Vec<Kept> {
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    let kept = |path: PathBuf| Some(Kept { changed: fs::metadata(&path).ok()?.modified().ok()?, bytes: size(&path), path });
    below.filter_map(|entry| kept(entry.path())).collect()
}

fn size(path: &Path) -> u64 {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.map(|entry| entry.metadata().map_or(0, |data| if data.is_dir() { size(&entry.path()) } else { data.len() })).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_goes_first_and_the_oldest_of_it() {
        let second = |n| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        let kept = |name: &str, at, mib: u64| Kept { changed: second(at), path: name.into(), bytes: mib << 20 };
        let all = vec![kept("new", 3, 150), kept("used", 1, 150), kept("old", 2, 150)];
        let is_idle = |path: &Path| *path != *"used";
        assert_eq!(to_remove(all.clone(), is_idle), Some(vec!["old".into()]), "the rest has room for another one");
        assert_eq!(to_remove(all[..2].to_vec(), is_idle), Some(vec![]));
        assert_eq!(to_remove(vec![kept("a", 1, 300), kept("b", 2, 300)], |_| false), None);
    }

    #[test]
    fn a_tag_is_remembered_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory: directory.path().to_owned() };
        assert_eq!(place.tag("v1"), None);
        place.remember("v1", CommitId([1; 20])).unwrap();
        place.remember("release/v2", CommitId([2; 20])).unwrap();
        assert_eq!((place.tag("v1"), place.tag("release/v2"), place.tag("v")), (Some(CommitId([1; 20])), Some(CommitId([2; 20])), None));
        fs::write(directory.path().join("tags"), "no commit\n\n").unwrap();
        assert_eq!(place.tag("commit"), None);
    }
}
