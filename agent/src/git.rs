//! The repository: what it stands at, and the files of that.
//!
//! [`Git::poll`] asks where a reference stands, [`Git::fetch`] brings the objects of a commit, [`Git::tree`] reads them. It knows
//! nothing of clusters, layers or commit statuses. Measured facts behind it: Git's protocol version 2 needs one request of
//! about 150 bytes for a poll; libgit2 as a client has no total deadline, no bound on references and no version 2, so
//! only its object database is used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::api::ReferenceSpec;
use crate::secret::{SafeUrl, Secret};

mod address;
mod error;
mod files;
mod http;
mod local;
mod packet;
mod protocol;
mod ssh;
mod store;
mod stream;
pub mod working_tree;

use address::Address;
pub use address::Server;
pub use error::Error;
pub use files::Files;
use protocol::{Answer, Listed, Part};
use store::{Boundary, Fault, Store};
use stream::Stream;
pub use working_tree::WorkingTree;

/// After so many fetches the store is made anew: each leaves a pack, and nothing ever merges them.
const REMADE_AFTER: usize = 50;
/// A disk that damages the same commit twice gets another chance after this.
const REMADE_AGAIN: Duration = Duration::from_secs(3600);
/// So many of the commits that we hold are offered to the server as a base.
const OFFERED: usize = 4;
/// No answer about references takes longer than this, whatever the deadline is.
const ANSWER: Duration = Duration::from_secs(60);

/// A commit's hash (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub [u8; 20]);

impl CommitId {
    /// Reads 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 40] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first seven digits, as people say it.
    pub fn short(&self) -> String {
        self.to_string()[..7].to_owned()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What to follow. `{}` prints its name, `{:#}` what it is and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A branch.
    Branch(String),
    /// A tag; an annotated one stands for the commit that it names.
    Tag(String),
    /// A commit.
    Commit(CommitId),
    /// The branch that the repository calls its default (`HEAD`).
    #[default]
    Default,
}

impl Reference {
    /// Reads what a Sync asks for.
    ///
    /// # Errors
    /// [`Error::Setting`] when more than one is asked for, or a name cannot be a name.
    pub fn from_spec(spec: Option<&ReferenceSpec>) -> Result<Self, Error> {
        let spec = spec.cloned().unwrap_or_default();
        let reference = match (spec.branch, spec.tag, spec.commit) {
            (None, None, None) => Self::Default,
            (Some(branch), None, None) => Self::Branch(branch),
            (None, Some(tag), None) => Self::Tag(tag),
            (None, None, Some(commit)) => Self::commit(&commit)?,
            _ => {
                return Err(Error::Setting {
                    what: "the reference".to_owned(),
                    why: "more than one of branch, tag and commit".to_owned(),
                    hint: "give exactly one of them in `spec.reference`",
                });
            }
        };
        reference.checked()
    }

    fn commit(text: &str) -> Result<Self, Error> {
        CommitId::parse(text).map(Self::Commit).ok_or_else(|| Error::Setting {
            what: format!("the commit `{}`", protocol::shown(text)),
            why: "it is not 40 hexadecimal digits".to_owned(),
            hint: "give the whole hash, as `git rev-parse` prints it; a branch or tag goes into a field of its own",
        })
    }

    /// A name with a line end in it would change the request that it is put into.
    fn checked(self) -> Result<Self, Error> {
        match self.full_name().as_deref() {
            Some(name) if name != "HEAD" && (!git2::Reference::is_valid_name(name) || name.len() > 1000) => Err(Error::Setting {
                what: format!("the {}", protocol::shown(&format!("{self:#}"))),
                why: "this cannot be the name of a branch or tag".to_owned(),
                hint: "give the name alone, without `refs/heads/`, as `git branch` or `git tag` print it",
            }),
            _ => Ok(self),
        }
    }

    /// Its name: the branch, the tag, the digits, `HEAD`.
    pub fn name(&self) -> &str {
        match self {
            Self::Branch(name) | Self::Tag(name) => name,
            Self::Commit(_) => "commit",
            Self::Default => "HEAD",
        }
    }

    /// As servers list it; none for a commit.
    fn full_name(&self) -> Option<String> {
        match self {
            Self::Branch(name) => Some(format!("refs/heads/{name}")),
            Self::Tag(name) => Some(format!("refs/tags/{name}")),
            Self::Commit(_) => None,
            Self::Default => Some("HEAD".to_owned()),
        }
    }

    fn from_full_name(name: &str) -> Option<Self> {
        let branch = name.strip_prefix("refs/heads/").map(|name| Self::Branch(name.to_owned()));
        branch.or_else(|| name.strip_prefix("refs/tags/").map(|name| Self::Tag(name.to_owned())))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) if f.alternate() => write!(f, "branch `{name}`"),
            Self::Tag(name) if f.alternate() => write!(f, "tag `{name}`"),
            Self::Default if f.alternate() => f.write_str("default branch"),
            Self::Commit(commit) if f.alternate() => write!(f, "commit {commit}"),
            other => f.write_str(other.name()),
        }
    }
}

/// What a reference resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// What was followed; the default branch by its own name, where the server says it.
    pub reference: Reference,
    /// Where it stood.
    pub commit: CommitId,
    /// The hash of all files of that commit.
    pub tree: [u8; 20],
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.commit.short())
    }
}

/// How we say who we are, and how we know whom we talk to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// The user name for `password` or `token`.
    pub username: Option<String>,
    /// The password, or a token where the forge wants it as one.
    pub password: Option<Secret>,
    /// A token; it goes before a password.
    pub token: Option<Secret>,
    /// A private key for ssh; without one, ssh looks for itself.
    pub identity: Option<Secret>,
    /// The host keys that ssh may trust; without them, those of the user who runs us.
    pub known_hosts: Option<String>,
    /// Certificates, in PEM, to trust besides those of the system.
    pub ca: Option<String>,
    /// The `ssh` program, where it is not the one on the path.
    pub ssh: Option<PathBuf>,
}

impl Credentials {
    /// Reads the entries of a Secret: `username`, `password`, `token`, `identity` (or `ssh-privatekey`), `known_hosts`, `ca.crt`.
    ///
    /// # Errors
    /// [`Error::Setting`] when an entry is not text. Other entries are left alone: a Secret may serve others, too.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Error> {
        let mut all = Self::default();
        for (key, value) in entries {
            let text = || text(key, value);
            match key {
                "username" => all.username = Some(text()?),
                "password" => all.password = Some(Secret::new(text()?)),
                "token" => all.token = Some(Secret::new(text()?)),
                "identity" | "ssh-privatekey" => all.identity = Some(Secret::new(text()?)),
                "known_hosts" => all.known_hosts = Some(text()?),
                "ca.crt" => all.ca = Some(text()?),
                _ => {}
            }
        }
        Ok(all)
    }
}

/// `echo token | base64` puts a line end into a Secret; nobody means it.
fn text(key: &str, value: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(value).map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).map_err(|_| Error::Setting {
        what: format!("`{key}` of the Secret"),
        why: "it is not UTF-8 text".to_owned(),
        hint: "put the text itself into `stringData`, or its base64, once, into `data`",
    })
}

/// Bounds on what a server may make us do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all of one network step; an answer about references has a minute of it at most.
    pub deadline: Duration,
    /// Bytes of an answer about references.
    pub ls_refs: u64,
    /// Bytes of a pack.
    pub pack: u64,
    /// Objects of a pack.
    pub objects: u64,
}

impl Default for Limits {
    /// 5 minutes, 4 MiB, 512 MiB, a million objects.
    fn default() -> Self {
        Self { deadline: Duration::from_secs(300), ls_refs: 4 << 20, pack: 512 << 20, objects: 1_000_000 }
    }
}

/// Whether a URL names a repository on the disk of the machine that reads it.
pub fn is_local(url: &SafeUrl) -> bool {
    matches!(address::parse(url), Ok(Address::Local(_)))
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A tag: it stays where it is, as a rule.
    Tag(CommitId),
    /// A branch, where it stands now.
    Branch(CommitId),
}

/// A repository, and what we hold of it.
pub struct Git {
    url: SafeUrl,
    limits: Limits,
    store: Arc<Store>,
    state: Mutex<State>,
    /// Reading has failed, so that the store is not to be built upon.
    damaged: Arc<AtomicBool>,
}

struct State {
    remote: Remote,
    /// What `HEAD` stood for when it was last asked for.
    default_branch: Option<String>,
    /// What was seen last, so that a deleted branch is told from one that never was.
    seen: Option<(Reference, CommitId)>,
    /// When the store was last made anew because it could not be read, and for which commit.
    remade: Option<(CommitId, Instant)>,
}

impl State {
    /// Once for a commit: what cannot be read in a fresh store either is in the repository so, and fetching it again helps nobody.
    fn may_remake(&self, commit: CommitId) -> bool {
        self.remade.is_none_or(|(remade, when)| remade != commit || when.elapsed() > REMADE_AGAIN)
    }
}

enum Remote {
    Http(http::Http),
    Ssh(ssh::Ssh),
    Local(PathBuf),
}

impl Git {
    /// A repository that keeps what it holds in `directory`, which nothing else may use. Nothing is read or written yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when the URL is none.
    pub fn new(directory: PathBuf, url: SafeUrl, credentials: Credentials, limits: Limits) -> Result<Self, Error> {
        let address = address::parse(&url).map_err(|why| Error::Setting {
            what: format!("the URL `{url}`"),
            why,
            hint: "write https://host/path, ssh://user@host/path, user@host:path, file:///path or a path",
        })?;
        let remote = match address {
            Address::Http(web) => Remote::Http(http::Http::new(url.clone(), web, &credentials, limits)),
            Address::Ssh(host) => Remote::Ssh(ssh::Ssh::new(url.clone(), host, &credentials, limits, directory.clone())),
            Address::Local(path) => Remote::Local(path),
        };
        let state = Mutex::new(State { remote, default_branch: None, seen: None, remade: None });
        Ok(Self { url, limits, store: Arc::new(Store::new(directory)), state, damaged: Arc::default() })
    }

    /// Asks where a reference stands: one small request. A commit stands where it stands, so it is not asked for.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::is_transient`] tells whether to ask again.
    pub async fn poll(&self, reference: &Reference) -> Result<CommitId, Error> {
        if let Reference::Commit(commit) = reference {
            return Ok(*commit);
        }
        let state = &mut *self.state.lock().await;
        let listed = self.list(state, &protocol::prefixes(reference)).await?;
        let Some(found) = protocol::find(reference, &listed) else { return Err(self.missing(state, reference).await) };
        let commit = found.peeled.unwrap_or(found.id);
        if *reference == Reference::Default {
            state.default_branch = found.target.as_deref().and_then(|target| target.strip_prefix("refs/heads/")).map(str::to_owned);
        }
        state.seen = Some((reference.clone(), commit));
        Ok(commit)
    }

    /// Asks what a name stands for, in one small request. Of a tag and a branch of the same name it is the tag, as for Git itself.
    ///
    /// # Errors
    /// As [`Git::poll`].
    pub async fn resolve(&self, name: &str) -> Result<Named, Error> {
        let wanted = |kind: fn(String) -> Reference, prefix: &str| kind(name.strip_prefix(prefix).unwrap_or(name).to_owned()).checked();
        let (tag, branch) = (wanted(Reference::Tag, "refs/tags/")?, wanted(Reference::Branch, "refs/heads/")?);
        let state = &mut *self.state.lock().await;
        let listed = self.list(state, &[protocol::prefixes(&tag), protocol::prefixes(&branch)].concat()).await?;
        let at = |reference: &Reference| protocol::find(reference, &listed).map(|found| found.peeled.unwrap_or(found.id));
        match (at(&tag), at(&branch)) {
            (Some(commit), _) => Ok(Named::Tag(commit)),
            (None, Some(commit)) => Ok(Named::Branch(commit)),
            (None, None) => Err(self.missing(state, &tag).await),
        }
    }

    /// Whether what is held could not be read; the next [`Git::fetch`] makes it anew.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    async fn list(&self, state: &mut State, prefixes: &[String]) -> Result<Vec<Listed>, Error> {
        within(
            &self.url,
            "the answer about references",
            self.limits.deadline.min(ANSWER),
            state.remote.references(&self.url, &self.limits, prefixes),
        )
        .await
    }

    /// Why a reference is not listed. Asks for all there are, to name the one that was meant.
    async fn missing(&self, state: &mut State, reference: &Reference) -> Error {
        let url = self.url.clone();
        let prefixes = ["refs/heads/", "refs/tags/"].map(str::to_owned);
        let listed = match self.list(state, &prefixes).await {
            Ok(listed) => listed,
            // More than we read: then there is something, and it must do without a suggestion.
            Err(Error::TooLarge { .. }) => return Error::NoReference { url, reference: reference.clone(), nearest: None },
            Err(error) => return error,
        };
        match &state.seen {
            Some((seen, last)) if seen == reference => Error::Deleted { url, reference: reference.clone(), last: *last },
            _ if listed.is_empty() => Error::Empty { url },
            _ => Error::NoReference { url, nearest: protocol::nearest(reference, &listed), reference: reference.clone() },
        }
    }

    /// Brings the objects of a commit: nothing if they are here, what changed if something is here, all of them otherwise.
    ///
    /// # Errors
    /// Any of [`Error`]. A damaged store is no error: it is made anew.
    pub async fn fetch(&self, reference: &Reference, commit: CommitId) -> Result<Revision, Error> {
        let state = &mut *self.state.lock().await;
        let anew = self.damaged.load(Ordering::Relaxed) && state.may_remake(commit);
        let (held, tree) = if anew { (Vec::new(), None) } else { self.held(commit).await? };
        let tree = match tree {
            Some(tree) => tree,
            None => self.bring(state, commit, held).await?,
        };
        self.damaged.store(false, Ordering::Relaxed);
        if anew {
            state.remade = Some((commit, Instant::now()));
        }
        Ok(Revision { reference: named(reference, state), commit, tree })
    }

    /// The files of a revision that was fetched. Once they cannot be read, the store is made anew by the next [`Git::fetch`].
    ///
    /// # Errors
    /// [`Error::Store`] when the store cannot be opened.
    pub fn tree(&self, revision: &Revision) -> Result<Files, Error> {
        let path = self.store.path();
        Files::open(&path, revision.tree, Arc::clone(&self.damaged)).map_err(|error| Error::Store { path, why: error.to_string() })
    }

    /// The commits that are here, and the tree of the one that is asked for, if it is among them. A damaged store holds nothing.
    async fn held(&self, commit: CommitId) -> Result<(Vec<CommitId>, Option<[u8; 20]>), Error> {
        let store = Arc::clone(&self.store);
        let look = move || {
            let held = store.held()?;
            let tree = if held.contains(&commit) { Some(store.tree(commit)?) } else { None };
            Ok((held, tree))
        };
        match blocking(look).await {
            Ok(found) => Ok(found),
            Err(Fault::Damaged(why)) => {
                tracing::warn!(store = %self.store.path().display(), why, "the cache is damaged and is fetched anew");
                Ok((Vec::new(), None))
            }
            Err(fault) => Err(stored(&self.store.path(), &self.url, fault)),
        }
    }

    /// Fetches on top of what is held; once more from nothing when that does not fit.
    async fn bring(&self, state: &mut State, commit: CommitId, held: Vec<CommitId>) -> Result<[u8; 20], Error> {
        let base = if held.len() < REMADE_AFTER { held } else { Vec::new() };
        let anew = !base.is_empty();
        match self.receive(state, commit, base).await {
            // A pack that does not fit may mean that ours is damaged; a server may stumble over a commit that it has dropped.
            Err(error @ (Error::Pack { .. } | Error::Store { .. } | Error::Remote { .. })) if anew => {
                tracing::warn!(%error, "the fetch is done once more, from nothing");
                self.receive(state, commit, Vec::new()).await
            }
            other => other,
        }
    }

    async fn receive(&self, state: &mut State, commit: CommitId, base: Vec<CommitId>) -> Result<[u8; 20], Error> {
        let received = async {
            match &mut state.remote {
                Remote::Local(path) => self.copy(path.clone(), commit, base).await,
                remote => self.download(remote, commit, base).await,
            }
        };
        within(&self.url, "the fetch", self.limits.deadline, received).await
    }

    async fn copy(&self, path: PathBuf, commit: CommitId, base: Vec<CommitId>) -> Result<[u8; 20], Error> {
        let (store, limits) = (Arc::clone(&self.store), self.limits);
        let mut told = None;
        let (tree, told) = joined(move || {
            let tree = store.receive(&base, commit, &limits, |intake: &mut store::Intake<'_>| {
                local::copy(&path, commit, &limits, intake).map_err(|error| local::fault(error, &mut told))
            });
            (tree, told)
        })
        .await
        .map_err(|fault| stored(&self.store.path(), &self.url, fault))?;
        tree.map_err(|fault| told.unwrap_or_else(|| stored(&self.store.path(), &self.url, fault)))
    }

    /// The pack goes to a thread of its own, since unpacking blocks; a few pieces wait between, so that memory stays small.
    async fn download(&self, remote: &mut Remote, commit: CommitId, base: Vec<CommitId>) -> Result<[u8; 20], Error> {
        let (store, limits) = (Arc::clone(&self.store), self.limits);
        let (pieces, arriving) = mpsc::channel(4);
        let offered: Vec<_> = base.iter().rev().take(OFFERED).copied().collect();
        let taken = joined(move || store.receive(&base, commit, &limits, |intake: &mut store::Intake<'_>| take_in(arriving, intake)));
        let sent = remote.fetch(&self.url, &self.limits, commit, &offered, pieces);
        let (sent, taken) = tokio::join!(sent, taken);
        sent?;
        taken.and_then(|tree| tree).map_err(|fault| stored(&self.store.path(), &self.url, fault))
    }
}

/// A piece of an answer on its way to the store.
enum Piece {
    Pack(Vec<u8>),
    End(Boundary),
}

fn take_in(mut arriving: mpsc::Receiver<Piece>, intake: &mut store::Intake<'_>) -> Result<Boundary, Fault> {
    while let Some(piece) = arriving.blocking_recv() {
        match piece {
            Piece::Pack(bytes) => intake.write(&bytes)?,
            Piece::End(boundary) => return Ok(boundary),
        }
    }
    Err(Fault::Stopped)
}

impl Remote {
    /// Puts a question; the answer may have `limit` bytes.
    async fn ask(
        &mut self,
        url: &SafeUrl,
        question: &(dyn Fn(&protocol::Capabilities) -> Vec<u8> + Sync),
        what: &'static str,
        limit: u64,
    ) -> Result<Stream, Error> {
        match self {
            Self::Http(http) => Ok(Stream::http(url.clone(), http.ask(question).await?, what, limit)),
            Self::Ssh(ssh) => ssh.ask(question, what, limit).await,
            Self::Local(path) => Err(Error::NotARepository { path: path.clone(), why: "it is read, not asked".to_owned() }),
        }
    }

    /// Lists the references with one of these prefixes.
    async fn references(&mut self, url: &SafeUrl, limits: &Limits, prefixes: &[String]) -> Result<Vec<Listed>, Error> {
        if let Self::Local(path) = self {
            let (path, prefixes) = (path.clone(), prefixes.to_vec());
            return joined(move || local::references(&path, &prefixes)).await.map_err(|fault| stored(Path::new("."), url, fault))?;
        }
        let mut stream = self
            .ask(url, &|capabilities| protocol::ls_refs(capabilities, prefixes), "references of too many bytes", limits.ls_refs)
            .await?;
        let mut all = Vec::new();
        let mut take = |packet: packet::Packet<'_>| match packet {
            packet::Packet::Data(data) => {
                all.extend(protocol::listed(data)?);
                Ok(false)
            }
            _ => Ok(true),
        };
        while !stream.read(&mut take).await? {}
        stream.finish().await;
        Ok(all)
    }

    /// Fetches a commit, and hands on what arrives. A receiver that is gone is no error here: it says itself why.
    async fn fetch(
        &mut self,
        url: &SafeUrl,
        limits: &Limits,
        commit: CommitId,
        held: &[CommitId],
        pieces: mpsc::Sender<Piece>,
    ) -> Result<(), Error> {
        let question = |capabilities: &protocol::Capabilities| protocol::fetch(capabilities, commit, held);
        let mut stream = self.ask(url, &question, "a pack of too many bytes", limits.pack.saturating_add(limits.ls_refs)).await?;
        let mut answer = Answer::default();
        loop {
            let mut pack = Vec::new();
            let done = stream
                .read(&mut |packet| match answer.take(packet)? {
                    Part::Pack(bytes) => {
                        pack.extend_from_slice(bytes);
                        Ok(false)
                    }
                    part => Ok(part == Part::End),
                })
                .await?;
            if !pack.is_empty() && pieces.send(Piece::Pack(pack)).await.is_err() {
                return Ok(());
            }
            if done {
                break;
            }
        }
        stream.finish().await;
        let _ = pieces.send(Piece::End(Boundary { shallow: answer.shallow, unshallow: answer.unshallow })).await;
        Ok(())
    }
}

/// The default branch by its own name, where it is known.
fn named(reference: &Reference, state: &State) -> Reference {
    match (reference, &state.default_branch) {
        (Reference::Default, Some(branch)) => Reference::Branch(branch.clone()),
        _ => reference.clone(),
    }
}

/// A network step, all of it, has this long. What is dropped at the deadline ends: connections close, child processes are killed.
async fn within<T>(url: &SafeUrl, step: &'static str, limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Deadline { url: url.clone(), step, limit }),
    }
}

/// Runs what blocks on a thread of its own.
async fn joined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::Disk(error.to_string()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    joined(work).await?
}

/// A fault of the store, as an error about a repository.
fn stored(path: &Path, url: &SafeUrl, fault: Fault) -> Error {
    let (path, url) = (path.to_owned(), url.clone());
    match fault {
        Fault::Damaged(why) | Fault::Disk(why) => Error::Store { path, why },
        Fault::Pack(why) => Error::Pack { url, why },
        Fault::TooLarge(what, limit) => Error::TooLarge { url, what, limit },
        Fault::NotACommit => Error::Setting {
            what: url.to_string(),
            why: "the id names a tag, tree or blob, not a commit".to_owned(),
            hint: "give the commit that `git rev-parse TAG^{commit}` prints",
        },
        Fault::Stopped => Error::Pack { url, why: "it stopped before its end".to_owned() },
    }
}
