//! A working tree on this disk, followed as it is edited (`plimsoll dev DIR`).
//!
//! It says that something changed, never what: whoever listens renders anew, and content ids tell what is different. It knows
//! no Git: what is not committed counts too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Error;

/// An editor saves with a handful of events, some milliseconds apart.
const QUIET: Duration = Duration::from_millis(100);
/// A directory that never rests (a log, a build) must not keep us waiting for ever.
const LONGEST: Duration = Duration::from_secs(1);

/// A working tree that is watched for as long as this lives.
pub struct WorkingTree {
    root: PathBuf,
    _watcher: RecommendedWatcher,
}

impl WorkingTree {
    /// Watches a directory. The receiver gets a word some 100 ms after the last of several changes; words that were not taken are joined.
    ///
    /// Needs a tokio runtime around it. Files below `.git` are not watched.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such directory, or the system watches no more directories for us.
    pub fn watch(root: &Path) -> Result<(Self, mpsc::Receiver<()>), Error> {
        // Events come with real paths, also where `root` is a link.
        let root = root.canonicalize().map_err(|error| unwatched(root, error.to_string(), "give a directory that is there"))?;
        let (raw, events) = mpsc::channel(1);
        let below = root.clone();
        let seen = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| counts(&event, &below)) {
                // Full means that a word is waiting already.
                let _ = raw.try_send(());
            }
        };
        let watched =
            notify::recommended_watcher(seen).and_then(|mut watcher| watcher.watch(&root, RecursiveMode::Recursive).map(|()| watcher));
        let watcher =
            watched.map_err(|error| unwatched(&root, error.to_string(), "if the limit is reached, raise fs.inotify.max_user_watches"))?;
        let (words, listener) = mpsc::channel(1);
        tokio::spawn(join(events, words));
        Ok((Self { root, _watcher: watcher }, listener))
    }

    /// The directory, without links in its path.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn unwatched(root: &Path, why: String, hint: &'static str) -> Error {
    Error::Setting { what: format!("the directory {}", root.display()), why, hint }
}

/// Whether an event may have changed what is rendered. Reading must not count, since rendering reads.
fn counts(event: &Event, root: &Path) -> bool {
    let ignored = |path: &PathBuf| path.strip_prefix(root).is_ok_and(|path| path.components().any(|part| part.as_os_str() == ".git"));
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || !event.paths.iter().all(ignored))
}

/// Joins events into one word each time that it has been quiet for a moment.
async fn join(mut events: mpsc::Receiver<()>, words: mpsc::Sender<()>) {
    while events.recv().await.is_some() {
        let rest = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, events.recv()).await {} };
        let _ = tokio::time::timeout(LONGEST, rest).await;
        if let Err(mpsc::error::TrySendError::Closed(())) = words.try_send(()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, ModifyKind};

    #[test]
    fn only_what_may_change_the_outcome_counts() {
        let check = |kind, path: &str, expect| {
            let event = Event::new(kind).add_path(Path::new("/w").join(path));
            assert_eq!(counts(&event, Path::new("/w")), expect, "{path}");
        };
        check(EventKind::Modify(ModifyKind::Any), "apps/a.yaml", true);
        check(EventKind::Access(AccessKind::Read), "apps/a.yaml", false);
        check(EventKind::Modify(ModifyKind::Any), ".git/index.lock", false);
        check(EventKind::Modify(ModifyKind::Any), ".gitignore", true);
        assert!(counts(&Event::new(EventKind::Other), Path::new("/w")), "lost events count");
    }

    async fn word(listener: &mut mpsc::Receiver<()>, within: Duration) -> bool {
        tokio::time::timeout(within, listener.recv()).await.is_ok()
    }

    #[tokio::test]
    async fn many_saves_are_one_word_and_git_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join(".git")).unwrap();
        std::fs::create_dir_all(directory.path().join("apps")).unwrap();
        let (_tree, mut listener) = WorkingTree::watch(directory.path()).unwrap();
        for turn in 0..20 {
            std::fs::write(directory.path().join("apps/a.yaml"), turn.to_string()).unwrap();
        }
        assert!(word(&mut listener, Duration::from_secs(10)).await);
        assert!(!word(&mut listener, Duration::from_millis(500)).await, "one word for all");
        std::fs::write(directory.path().join(".git/index"), "x").unwrap();
        assert!(!word(&mut listener, Duration::from_millis(500)).await, "no word for .git");
        std::fs::create_dir(directory.path().join("apps/new")).unwrap();
        assert!(word(&mut listener, Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_told() {
        let error = WorkingTree::watch(Path::new("/no/such/directory")).err().unwrap();
        assert_eq!(error.label(), "InvalidSource");
    }
}
