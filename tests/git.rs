//! A repository is polled and fetched, whoever serves it and however it fails: the agent's Git client against the real `git`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::{Repository, Result, Trouble, ground};
use overlays::path::RepoPath;
use overlays::tree::Tree as _;
use plimsoll::git::{CommitId, Credentials, Error, Git, Limits, Reference, Revision};
use plimsoll::secret::{SafeUrl, Secret};

pub(crate) mod server;

use server::{Manner, Server};

/// A repository with a first commit, a server in front of it, and an empty cache.
struct Ground {
    repository: Repository,
    server: Server,
    cache: tempfile::TempDir,
}

impl Ground {
    async fn new() -> Result<Self> {
        let repository = Repository::local("shop")?;
        repository.write("apps/web/web.yaml", "kind: Web # 1\n")?;
        repository.write("README.md", "# Shop\n")?;
        repository.push("first")?;
        let server = Server::start(parent(&repository)).await?;
        Ok(Self { repository, server, cache: tempfile::tempdir()? })
    }

    fn url(&self) -> String {
        format!("{}/remote.git", self.server.url)
    }

    fn git(&self) -> Result<Git> {
        self.git_at(&self.url(), Credentials::default(), Limits::default())
    }

    fn git_at(&self, url: &str, credentials: Credentials, limits: Limits) -> Result<Git> {
        Ok(Git::new(self.cache.path().join("cache"), SafeUrl::new(url), credentials, limits)?)
    }

    fn store(&self) -> PathBuf {
        self.cache.path().join("cache/store")
    }

    /// Changes one file and pushes it.
    fn change(&self, text: &str) -> Result<CommitId> {
        self.repository.write("apps/web/web.yaml", text)?;
        id(&self.repository.push(text)?)
    }
}

pub(crate) fn parent(repository: &Repository) -> PathBuf {
    repository.directory().parent().map(Path::to_owned).unwrap_or_default()
}

fn main() -> Reference {
    Reference::Branch("main".to_owned())
}

fn id(text: &str) -> Result<CommitId> {
    CommitId::parse(text.trim()).ok_or_else(|| Trouble::new(format!("{text} is no commit")))
}

/// What a revision says about the app.
fn web(git: &Git, revision: &Revision) -> Result<String> {
    let blob = git.tree(revision)?.read(&RepoPath::new("apps/web/web.yaml")?)?;
    Ok(blob.map(|blob| String::from_utf8_lossy(&blob.bytes).into_owned()).unwrap_or_default())
}

async fn synced(git: &Git, reference: &Reference) -> Result<Revision> {
    let commit = git.poll(reference).await?;
    Ok(git.fetch(reference, commit).await?)
}

fn failed<T>(outcome: std::result::Result<T, Error>) -> Result<Error> {
    outcome.err().ok_or_else(|| Trouble::new("it went well, which it must not"))
}

/// Checks the label of an error, and that it says something and what to do.
fn told<T>(outcome: std::result::Result<T, Error>, label: &str, words: &[&str]) -> Result {
    let error = failed(outcome)?;
    let text = format!("{error}; {}", error.hint());
    assert_eq!(error.label(), label, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in: {text}"));
    Ok(())
}

#[tokio::test]
async fn a_push_is_seen_and_costs_only_what_changed() -> Result {
    let ground = Ground::new().await?;
    ground.repository.write("large.bin", noise(300_000))?;
    let first = id(&ground.repository.push("large")?)?;
    let git = ground.git()?;
    let revision = synced(&git, &main()).await?;
    assert_eq!((revision.commit, revision.to_string()), (first, format!("main@{}", first.short())));
    assert_eq!(web(&git, &revision)?, "kind: Web # 1\n");
    ground.server.log();

    assert_eq!(git.poll(&main()).await?, first);
    let polls = ground.server.log();
    assert!(polls.len() == 1 && polls[0].line == "POST /remote.git/git-upload-pack?", "a poll is one request: {polls:?}");
    assert!(polls[0].asked <= 160 && polls[0].answered <= 100, "{polls:?}");

    let second = ground.change("kind: Web # 2\n")?;
    let revision = synced(&git, &main()).await?;
    assert_eq!((revision.commit, web(&git, &revision)?.as_str()), (second, "kind: Web # 2\n"));
    let exchanges = ground.server.log();
    assert_eq!(exchanges.len(), 2, "a poll and a fetch: {exchanges:?}");
    assert!(exchanges[1].answered < 1500, "the large file does not come again: {exchanges:?}");

    let again = git.fetch(&main(), first).await?;
    assert_eq!((web(&git, &again)?.as_str(), ground.server.log().len()), ("kind: Web # 1\n", 0), "what is held is not asked for");
    fsck(&ground)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut seed = 1_u64;
    let next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The real git finds our store in order.
fn fsck(ground: &Ground) -> Result {
    let store = ground.store();
    let store = store.to_string_lossy();
    for commit in std::fs::read_to_string(ground.store().join("held"))?.lines() {
        ground.repository.git(&["--git-dir", &store, "fsck", "--strict", commit])?;
    }
    assert!(std::fs::read_dir(ground.store().join("objects"))?.flatten().all(|entry| entry.file_name().len() > 2), "no loose objects");
    Ok(())
}

#[tokio::test]
async fn the_store_is_made_anew_before_it_grows_without_end() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    for turn in 0..55 {
        let commit = ground.change(&format!("kind: Web # turn {turn}\n"))?;
        let revision = synced(&git, &main()).await?;
        assert_eq!((revision.commit, web(&git, &revision)?), (commit, format!("kind: Web # turn {turn}\n")));
    }
    let packs = std::fs::read_dir(ground.store().join("objects/pack"))?.flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count();
    assert!(packs <= 50, "{packs} packs");
    fsck(&ground)
}

#[tokio::test]
async fn branch_tag_commit_and_default_are_followed() -> Result {
    let ground = Ground::new().await?;
    let first = id(&ground.repository.head()?)?;
    ground.repository.git(&["tag", "--annotate", "--message", "one", "v1"])?;
    ground.repository.git(&["push", "--quiet", "origin", "v1"])?;
    ground.repository.branch("main-2")?;
    let other = ground.change("kind: Web # other\n")?;
    ground.repository.git(&["tag", "light"])?;
    ground.repository.git(&["push", "--quiet", "origin", "light"])?;
    for url in [ground.url(), ground.repository.url.clone()] {
        let git = ground.git_at(&url, Credentials::default(), Limits::default())?;
        let branch = |name: &str| Reference::Branch(name.to_owned());
        let tag = |name: &str| Reference::Tag(name.to_owned());
        assert_eq!(synced(&git, &branch("main-2")).await?.commit, other, "{url}");
        assert_eq!(synced(&git, &main()).await?.commit, first, "a prefix is not the name; {url}");
        assert_eq!(synced(&git, &tag("v1")).await?.commit, first, "an annotated tag stands for its commit; {url}");
        assert_eq!(synced(&git, &tag("light")).await?.to_string(), format!("light@{}", other.short()), "{url}");
        assert_eq!(synced(&git, &Reference::Default).await?.to_string(), format!("main@{}", first.short()), "{url}");
        let earlier = synced(&git, &Reference::Commit(first)).await?;
        assert_eq!(web(&git, &earlier)?, "kind: Web # 1\n", "{url}");
        told(git.fetch(&main(), CommitId([7; 20])).await, "CommitNotFound", &["0707070707", "40 digits"])?;
        std::fs::remove_dir_all(ground.cache.path().join("cache"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_that_no_branch_points_to_is_fetched() -> Result {
    let ground = Ground::new().await?;
    let first = id(&ground.repository.head()?)?;
    ground.change("kind: Web # 2\n")?;
    let git = ground.git()?;
    let revision = synced(&git, &Reference::Commit(first)).await?;
    assert_eq!(web(&git, &revision)?, "kind: Web # 1\n");
    Ok(())
}

#[tokio::test]
async fn a_force_push_and_a_deleted_branch_are_seen() -> Result {
    let ground = Ground::new().await?;
    ground.repository.branch("try")?;
    let lost = ground.change("kind: Web # lost\n")?;
    for url in [ground.url(), ground.repository.url.clone()] {
        let git = ground.git_at(&url, Credentials::default(), Limits::default())?;
        let follow = Reference::Branch("try".to_owned());
        assert_eq!(synced(&git, &follow).await?.commit, lost);
        ground.repository.git(&["reset", "--quiet", "--hard", "HEAD~1"])?;
        ground.repository.write("apps/web/web.yaml", "kind: Web # kept\n")?;
        let kept = ground.repository.commit("kept")?;
        ground.repository.git(&["push", "--quiet", "--force", "origin", "HEAD"])?;
        let revision = synced(&git, &follow).await?;
        assert_eq!((revision.commit, web(&git, &revision)?.as_str()), (id(&kept)?, "kind: Web # kept\n"), "{url}");
        ground.repository.delete_branch("try")?;
        told(git.poll(&follow).await, "ReferenceDeleted", &["branch `try` was deleted", &kept[..7]])?;
        ground.repository.git(&["reset", "--quiet", "--hard", &lost.to_string()])?;
        ground.repository.git(&["push", "--quiet", "--force", "origin", "HEAD"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reference_that_is_not_there_names_the_one_that_was_meant() -> Result {
    let ground = Ground::new().await?;
    for url in [ground.url(), ground.repository.url.clone()] {
        let git = ground.git_at(&url, Credentials::default(), Limits::default())?;
        let poll = async |reference| git.poll(&reference).await;
        told(poll(Reference::Branch("mian".into())).await, "ReferenceNotFound", &["no branch `mian`", "did you mean branch `main`?"])?;
        told(poll(Reference::Tag("zzz".into())).await, "ReferenceNotFound", &["no tag `zzz`", "spec.reference"])?;
    }
    let empty = Repository::local("empty")?;
    let server = Server::start(parent(&empty)).await?;
    for url in [format!("{}/remote.git", server.url), empty.url.clone()] {
        let git = ground.git_at(&url, Credentials::default(), Limits::default())?;
        told(git.poll(&main()).await, "RepositoryEmpty", &["is empty", "push a first commit"])?;
        told(git.poll(&Reference::Default).await, "RepositoryEmpty", &["is empty"])?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_apart() -> Result {
    let ground = Ground::new().await?;
    let poll = async |url: &str| match ground.git_at(url, Credentials::default(), Limits::default()) {
        Ok(git) => git.poll(&main()).await,
        Err(error) => panic!("{url}: {error}"),
    };
    told(poll(&format!("{}/nothing.git", ground.server.url)).await, "RepositoryNotFound", &["knows no such repository", "spec.secretRef"])?;
    told(poll("http://127.0.0.1:1/a.git").await, "Unreachable", &["refused"])?;
    told(poll("https://no-such-host.invalid/a.git").await, "UnknownHost", &["no-such-host.invalid", "DNS"])?;
    told(poll("/no/such/directory").await, "NotARepository", &["/no/such/directory", "no such directory"])?;
    told(poll(&ground.cache.path().to_string_lossy()).await, "NotARepository", &["git init"])?;
    told(poll(&format!("https://{}/a.git", ground.server.url.trim_start_matches("http://"))).await, "Unreachable", &["tls"])?;
    let git = Git::new(ground.cache.path().into(), SafeUrl::new("git://x:sesame@h/a"), Credentials::default(), Limits::default());
    told(git.map(drop), "InvalidSource", &["git://****@h/a"])
}

#[tokio::test]
async fn a_private_repository_wants_the_right_credential() -> Result {
    let ground = Ground::new().await?;
    ground.server.behave(Manner::Private("Basic bWU6c2VzYW1l".to_owned()));
    told(ground.git()?.poll(&main()).await, "CredentialRefused", &["401", "there is none", "spec.secretRef"])?;
    let with =
        |password: &str| Credentials { username: Some("me".to_owned()), password: Some(Secret::new(password)), ..Credentials::default() };
    let wrong = ground.git_at(&ground.url(), with("open"), Limits::default())?;
    told(wrong.poll(&main()).await, "CredentialRefused", &["refused", "token"])?;
    let right = ground.git_at(&ground.url(), with("sesame"), Limits::default())?;
    synced(&right, &main()).await?;
    let url = ground.url().replace("http://", "http://me:sesame@");
    let in_url = ground.git_at(&url, Credentials::default(), Limits::default())?;
    in_url.poll(&main()).await?;
    ground.server.behave(Manner::Private("Basic other".to_owned()));
    let error = failed(in_url.poll(&main()).await)?;
    let shown = format!("{error} {error:?} {}", error.hint());
    assert!(error.label() == "CredentialRefused" && !shown.contains("sesame") && !shown.contains("c2VzYW1l"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_token_goes_alone_where_the_server_asks_for_a_bearer() -> Result {
    let ground = Ground::new().await?;
    let credentials = Credentials { token: Some(Secret::new("sesame")), ..Credentials::default() };
    ground.server.behave(Manner::Status("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"x\"".to_owned()));
    let git = ground.git_at(&ground.url(), credentials, Limits::default())?;
    told(git.poll(&main()).await, "CredentialRefused", &["refused"])?;
    ground.server.behave(Manner::Private("Bearer sesame".to_owned()));
    git.poll(&main()).await?;
    Ok(())
}

#[tokio::test]
async fn redirects_are_followed_on_the_host_and_nowhere_else() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    let moved = |to: &str| Manner::Status(format!("301 Moved Permanently\r\nLocation: {to}"));
    ground.server.behave(moved("http://elsewhere.invalid/remote.git/info/refs"));
    told(git.poll(&main()).await, "RedirectRefused", &["elsewhere.invalid", "another host"])?;
    ground.server.behave(moved("/remote.git/info/refs?service=git-upload-pack"));
    told(git.poll(&main()).await, "RedirectRefused", &["without end"])?;
    ground.server.behave(Manner::Well);
    git.poll(&main()).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_no_git_server_is_named_as_such() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    ground.server.behave(Manner::Status("200 OK\r\nContent-Type: text/html".to_owned()));
    told(git.poll(&main()).await, "ProtocolUnknown", &["text/html", "git clone"])?;
    ground.server.behave(Manner::Old);
    told(git.poll(&main()).await, "ProtocolUnknown", &["older protocol"])?;
    ground.server.behave(Manner::Status("503 Service Unavailable\r\nRetry-After: 7".to_owned()));
    let error = failed(git.poll(&main()).await)?;
    assert_eq!((error.label(), error.is_transient(), error.retry_after()), ("ServerBusy", true, Some(Duration::from_secs(7))));
    Ok(())
}

#[tokio::test]
async fn a_sha256_repository_is_refused_by_name() -> Result {
    let ground = Ground::new().await?;
    let directory = parent(&ground.repository).join("new.git");
    ground.repository.git(&["init", "--quiet", "--bare", "--object-format=sha256", &directory.to_string_lossy()])?;
    for url in [format!("{}/new.git", ground.server.url), directory.to_string_lossy().into_owned()] {
        let git = ground.git_at(&url, Credentials::default(), Limits::default())?;
        told(git.poll(&main()).await, "Sha256Unsupported", &["SHA-256", "--object-format=sha1"])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_or_dripping_server_is_left_at_the_deadline() -> Result {
    let ground = Ground::new().await?;
    let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    for manner in [Manner::Silent, Manner::Drips] {
        let git = ground.git_at(&ground.url(), Credentials::default(), limits)?;
        ground.server.behave(manner.clone());
        let started = Instant::now();
        told(git.poll(&main()).await, "Deadline", &["2s"])?;
        let took = started.elapsed();
        assert!(took >= limits.deadline && took < Duration::from_secs(6), "{manner:?}: {took:?}");
        ground.server.behave(Manner::Well);
        synced(&git, &main()).await?;
        ground.server.behave(manner);
        ground.change("kind: Web # slow\n")?;
        let commit = id(&ground.repository.head()?)?;
        told(git.fetch(&main(), commit).await, "Deadline", &["the fetch"])?;
        ground.server.behave(Manner::Well);
        assert_eq!(synced(&git, &main()).await?.commit, commit, "all is well once the server is");
    }
    Ok(())
}

#[tokio::test]
async fn an_endless_answer_is_cut_at_its_limit() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git_at(&ground.url(), Credentials::default(), Limits { pack: 8 << 20, ..Limits::default() })?;
    ground.server.behave(Manner::EndlessReferences);
    told(git.poll(&main()).await, "TooLarge", &["references", "4194304"])?;
    ground.server.behave(Manner::EndlessPack);
    let commit = id(&ground.repository.head()?)?;
    told(git.fetch(&main(), commit).await, "TooLarge", &["a pack", "8388608"])?;
    assert_eq!(std::fs::read_dir(ground.cache.path().join("cache"))?.count(), 0, "nothing is left of it");
    ground.server.behave(Manner::Well);
    synced(&git, &main()).await?;
    std::fs::remove_dir_all(ground.store())?;
    let few = ground.git_at(&ground.url(), Credentials::default(), Limits { objects: 2, ..Limits::default() })?;
    told(few.fetch(&main(), commit).await, "TooLarge", &["objects"])
}

#[tokio::test]
async fn a_damaged_answer_leaves_what_is_held_as_it_is() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    let before = synced(&git, &main()).await?;
    ground.change("kind: Web # 2\n")?;
    for manner in [Manner::CutOff(3), Manner::CutOff(30), Manner::CutOff(300), Manner::Garbled] {
        ground.server.behave(manner.clone());
        let error = failed(synced_raw(&git).await)?;
        assert!(error.is_transient(), "{manner:?}: {error}");
        assert_eq!(web(&git, &before)?, "kind: Web # 1\n", "{manner:?}");
    }
    ground.server.behave(Manner::Well);
    let revision = synced(&git, &main()).await?;
    assert_eq!(web(&git, &revision)?, "kind: Web # 2\n");
    fsck(&ground)
}

async fn synced_raw(git: &Git) -> std::result::Result<Revision, Error> {
    let commit = git.poll(&main()).await?;
    git.fetch(&main(), commit).await
}

#[tokio::test]
async fn a_damaged_store_is_fetched_anew() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    synced(&git, &main()).await?;
    type Damage = fn(&Path) -> Result;
    let damages: [(&str, Damage); 6] = [
        ("a pack cut off", |store| each(store, "pack", |file| Ok(std::fs::write(file, &std::fs::read(file)?[..40])?))),
        ("an index cut off", |store| each(store, "idx", |file| Ok(std::fs::write(file, &std::fs::read(file)?[..40])?))),
        ("a pack of zeros", |store| each(store, "pack", |file| Ok(std::fs::write(file, vec![0; std::fs::read(file)?.len()])?))),
        ("a loose object cut off", |store| {
            std::fs::create_dir(store.join("objects/11"))?;
            Ok(std::fs::write(store.join("objects/11/11111111111111111111111111111111111111"), b"x\x01")?)
        }),
        ("a crash before the end", |store| Ok(std::fs::remove_file(store.join("held"))?)),
        ("no objects at all", |store| Ok(std::fs::remove_dir_all(store.join("objects"))?)),
    ];
    for (turn, (what, damage)) in damages.into_iter().enumerate() {
        damage(&ground.store()).map_err(|trouble| trouble.while_doing(what))?;
        let revision = synced(&git, &main()).await.map_err(|trouble| trouble.while_doing(what))?;
        assert!(web(&git, &revision)?.starts_with("kind: Web"), "{what}");
        fsck(&ground)?;
        damage(&ground.store()).map_err(|trouble| trouble.while_doing(what))?;
        ground.change(&format!("kind: Web # after {turn}\n"))?;
        let revision = synced(&git, &main()).await.map_err(|trouble| trouble.while_doing(what))?;
        assert_eq!(web(&git, &revision)?, format!("kind: Web # after {turn}\n"), "{what}");
        fsck(&ground)?;
    }
    Ok(())
}

/// Does something to every file of a kind in the store's packs.
fn each(store: &Path, extension: &str, damage: impl Fn(&Path) -> Result) -> Result {
    let mut seen = 0;
    for entry in std::fs::read_dir(store.join("objects/pack"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            // Packs are read-only; a new file takes the place of the old one.
            let copy = path.with_extension("copy");
            std::fs::copy(&path, &copy)?;
            std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            damage(&copy)?;
            std::fs::rename(&copy, &path)?;
            seen += 1;
        }
    }
    if seen == 0 { Err(Trouble::new(format!("there is no {extension}"))) } else { Ok(()) }
}

#[tokio::test]
async fn a_byte_that_changed_on_disk_is_an_error_and_never_another_content() -> Result {
    let ground = Ground::new().await?;
    let git = ground.git()?;
    let mut errors = 0;
    for turn in 0..40 {
        let commit = ground.change(&format!("kind: Web # turn {turn}\n"))?;
        let wanted = format!("kind: Web # turn {turn}\n");
        let revision = synced(&git, &main()).await?;
        let flip = |file: &Path| {
            let mut bytes = std::fs::read(file)?;
            let place = 12 + turn * (bytes.len() - 32) / 40;
            bytes[place] ^= 0x24;
            Ok(std::fs::write(file, bytes)?)
        };
        each(&ground.store(), "pack", flip)?;
        match web(&git, &revision) {
            Ok(text) => assert_eq!(text, wanted),
            // What the renderer could not read is thrown away by the next fetch.
            Err(_) => {
                errors += 1;
                let revision = git.fetch(&main(), commit).await?;
                assert_eq!(web(&git, &revision)?, wanted);
                fsck(&ground)?;
            }
        }
    }
    assert!(errors > 0, "no byte mattered");
    Ok(())
}

#[tokio::test]
async fn what_is_unreadable_in_the_repository_itself_is_not_fetched_for_ever() -> Result {
    let ground = Ground::new().await?;
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.yaml");
    std::fs::write(ground.repository.directory().join("apps/web").join(name), "x")?;
    ground.repository.push("a name that is no text")?;
    let git = ground.git()?;
    for _ in 0..4 {
        let revision = synced(&git, &main()).await?;
        assert!(git.tree(&revision)?.read(&RepoPath::new("apps/web/web.yaml")?).is_err());
    }
    let packs = ground.server.log().into_iter().filter(|exchange| exchange.answered > 150).count();
    assert_eq!(packs, 2, "fetched, and fetched anew once");
    Ok(())
}

#[tokio::test]
async fn a_local_repository_is_read_with_loose_objects_and_without_checkout() -> Result {
    let ground = Ground::new().await?;
    let clone = ground.repository.directory();
    let git = ground.git_at(&clone.to_string_lossy(), Credentials::default(), Limits::default())?;
    let revision = synced(&git, &main()).await?;
    assert_eq!(web(&git, &revision)?, "kind: Web # 1\n");
    ground.repository.write("apps/web/web.yaml", "kind: Web # 2\n")?;
    let second = id(&ground.repository.commit("not pushed")?)?;
    ground.repository.git(&["gc", "--quiet"])?;
    let revision = synced(&git, &main()).await?;
    assert_eq!((revision.commit, web(&git, &revision)?.as_str()), (second, "kind: Web # 2\n"));
    fsck(&ground)?;
    let other = tempfile::tempdir()?;
    let thief = Git::new(other.path().into(), SafeUrl::new(ground.store().to_string_lossy()), Credentials::default(), Limits::default())?;
    told(thief.fetch(&main(), second).await, "NotARepository", &["the cache of an agent"])
}

#[tokio::test]
async fn a_damaged_local_repository_is_told_and_hangs_nobody() -> Result {
    let ground = Ground::new().await?;
    let clone = ground.repository.directory();
    let blob = ground.repository.git(&["rev-parse", "HEAD:apps/web/web.yaml"])?;
    let file = clone.join(".git/objects").join(&blob[..2]).join(blob[2..].trim());
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let whole = std::fs::read(&file)?;
    let git = ground.git_at(&clone.to_string_lossy(), Credentials::default(), Limits::default())?;
    for length in [0, 2, 20, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length.min(whole.len() - 1)])?;
        let outcome = tokio::time::timeout(Duration::from_secs(20), synced_raw(&git)).await?;
        told(outcome, "RepositoryDamaged", &[blob.trim(), "git fsck"])?;
    }
    std::fs::write(&file, &whole)?;
    synced(&git, &main()).await?;
    Ok(())
}

/// An `ssh` that notes how it was called and then does what the far side would.
fn fake_ssh(ground: &Ground, far_side: &str) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = ground.cache.path().join("ssh");
    let directory = ground.cache.path().to_string_lossy().into_owned();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{directory}/called'\nfor word in \"$@\"; do case $word in IdentityFile=*) file=${{word#*=\\\"}}; \
         cp -p \"${{file%\\\"}}\" '{directory}/key';; esac; last=$word; done\n{far_side}\n"
    );
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

#[tokio::test]
async fn ssh_is_spoken_through_a_child_process() -> Result {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = Ground::new().await?;
    let ssh = fake_ssh(&ground, "export GIT_CONFIG_NOSYSTEM=1; eval \"$last\"")?;
    let credentials = Credentials {
        identity: Some(Secret::new("KEY")),
        known_hosts: Some("host ssh-ed25519 AAAA".to_owned()),
        ssh: Some(ssh),
        ..Credentials::default()
    };
    let remote = parent(&ground.repository).join("remote.git");
    let git = ground.git_at(&format!("git@host.example:{}", remote.display()), credentials, Limits::default())?;
    let revision = synced(&git, &main()).await?;
    assert_eq!(web(&git, &revision)?, "kind: Web # 1\n");
    ground.change("kind: Web # 2\n")?;
    let revision = synced(&git, &main()).await?;
    assert_eq!(web(&git, &revision)?, "kind: Web # 2\n");
    told(git.poll(&Reference::Branch("mian".into())).await, "ReferenceNotFound", &["`main`"])?;
    let called = std::fs::read_to_string(ground.cache.path().join("called"))?;
    assert!(called.contains("StrictHostKeyChecking=yes") && called.contains("\n--\ngit@host.example\ngit-upload-pack '"), "{called}");
    let key = ground.cache.path().join("key");
    assert_eq!((std::fs::read_to_string(&key)?.as_str(), std::fs::metadata(&key)?.permissions().mode() & 0o777), ("KEY\n", 0o600));
    let left = std::fs::read_dir(ground.cache.path().join("cache"))?.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["store"], "no key is left behind");
    fsck(&ground)
}

#[tokio::test]
async fn what_ssh_complains_about_is_told_and_a_silent_one_is_killed() -> Result {
    let ground = Ground::new().await?;
    let cases = [
        ("echo 'Host key verification failed.' >&2; exit 255", "HostNotTrusted"),
        ("echo 'git@h: Permission denied (publickey).' >&2; exit 255", "CredentialRefused"),
        ("eval \"${last%/*}/none.git'\"", "RepositoryNotFound"),
        ("GIT_PROTOCOL= eval \"$last\"", "ProtocolUnknown"),
        ("exec sleep 60", "Deadline"),
        ("exit 1", "Unreachable"),
    ];
    for (far_side, label) in cases {
        let credentials = Credentials { ssh: Some(fake_ssh(&ground, far_side)?), ..Credentials::default() };
        let limits = Limits { deadline: Duration::from_secs(3), ..Limits::default() };
        let url = format!("ssh://git@host.example{}", parent(&ground.repository).join("remote.git").display());
        let git = ground.git_at(&url, credentials, limits)?;
        told(git.poll(&main()).await, label, &[]).map_err(|trouble| trouble.while_doing(far_side))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_real_forge_serves_its_private_repositories_to_a_token_only() -> Result {
    let (forge, cache) = (&ground().await?.forge, tempfile::tempdir()?);
    let repository = forge.repository("git-source").await?;
    repository.write("apps/web/web.yaml", "kind: Web # 1\n")?;
    let first = id(&repository.push("first")?)?;
    let at = |url: &str, credentials: Credentials| Git::new(cache.path().join("cache"), SafeUrl::new(url), credentials, Limits::default());
    let with = |token: &str| Credentials { token: Some(Secret::new(token)), ..Credentials::default() };
    let open = at(&repository.url, Credentials::default())?;
    assert_eq!(synced(&open, &Reference::Default).await?.to_string(), format!("main@{}", first.short()));

    forge.set_private(&repository.name, true).await?;
    told(open.poll(&main()).await, "CredentialRefused", &["there is none"])?;
    told(at(&repository.url, with("0123456789012345678901234567890123456789"))?.poll(&main()).await, "CredentialRefused", &["refused"])?;
    let private = at(&repository.url, with(&forge.new_token(&["read:repository"]).await?))?;
    repository.write("apps/web/web.yaml", "kind: Web # 2\n")?;
    let second = id(&repository.push("second")?)?;
    let revision = synced(&private, &main()).await?;
    assert_eq!((revision.commit, web(&private, &revision)?.as_str()), (second, "kind: Web # 2\n"));
    told(private.fetch(&main(), CommitId([7; 20])).await, "CommitNotFound", &["0707070707"])?;
    let nothing = repository.url.replace("git-source", "no-such-source");
    told(at(&nothing, with(forge.token()))?.poll(&main()).await, "RepositoryNotFound", &["check the path"])
}

#[tokio::test]
async fn a_host_is_trusted_by_the_authority_in_the_secret_only() -> Result {
    // An API server is no Git server, but it speaks TLS with a certificate that no system trusts.
    let (cluster, cache) = (&ground().await?.cluster, tempfile::tempdir()?);
    let kubeconfig: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(cluster.kubeconfig())?)?;
    let of = |pointer: &str| kubeconfig.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (url, ca) = (format!("{}/a.git", of("/clusters/0/cluster/server")), of("/clusters/0/cluster/certificate-authority-data"));
    let ca = String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, ca)?)?;
    let poll = async |ca: Option<String>| {
        let credentials = Credentials { ca, ..Credentials::default() };
        Git::new(cache.path().to_owned(), SafeUrl::new(&url), credentials, Limits::default())?.poll(&main()).await
    };
    told(poll(None).await, "HostNotTrusted", &["UnknownIssuer", "ca.crt"])?;
    told(poll(Some(ca)).await, "CredentialRefused", &["there is none"])?;
    told(poll(Some("no certificate".to_owned())).await, "InvalidSource", &["ca.crt"])
}
