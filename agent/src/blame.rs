//! Who wrote a line, from Git: the commit, its author and its subject.
//!
//! It must not know why anybody asks. History is followed so far and no further, and a file is looked at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use git2::{BlameOptions, Oid, Repository};
use overlays::Origin;
use overlays::path::RepoPath;
use serde::Serialize;

use crate::local::Place;

/// How many commits back, along the first parents, a line is followed.
const COMMITS: usize = 5_000;
/// How many files are looked at for one answer, and how large one may be.
const FILES: usize = 50;
const FILE_BYTES: u64 = 1 << 20;
/// The longest author and subject, in characters.
const SHOWN: usize = 60;

/// Who wrote a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The commit; nothing if the line was not committed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The author's name.
    pub author: String,
    /// The author's date, as `2026-11-24`.
    pub date: String,
    /// The first line of the message.
    pub subject: String,
    /// Whether the line may be older than this commit, where the search ended.
    pub or_earlier: bool,
}

/// The commits that wrote the lines of a file, by runs of lines: the first line of each.
type Runs = Vec<(u32, Written)>;

/// The history of a working tree.
pub struct History {
    repository: Repository,
    /// Where the tree is in the repository.
    below: RepoPath,
    oldest: Option<Oid>,
    files: RefCell<HashMap<RepoPath, Option<Runs>>>,
}

impl History {
    /// The history of the files at a place.
    ///
    /// # Errors
    /// They are in no Git repository, or it has no commit.
    pub fn of(place: &Place) -> Result<Self, String> {
        let (repository, below) = place.repository()?;
        let failed = |error: git2::Error| format!("the history can't be read: {}", error.message());
        let mut walk = repository.revwalk().map_err(failed)?;
        walk.push_head().and_then(|()| walk.simplify_first_parent()).map_err(failed)?;
        let oldest = walk.nth(COMMITS).and_then(Result::ok);
        drop(walk);
        Ok(Self { repository, below, oldest, files: RefCell::default() })
    }

    /// Who wrote a line; nothing where that is not known.
    pub fn written(&self, origin: &Origin) -> Option<Written> {
        let mut files = self.files.borrow_mut();
        if !files.contains_key(&origin.file) {
            let is_too_much = files.len() >= FILES;
            let runs = if is_too_much { None } else { self.runs(&origin.file) };
            files.insert(origin.file.clone(), runs);
        }
        let runs = files.get(&origin.file)?.as_ref()?;
        let line = origin.line.max(1);
        runs.iter().take_while(|(start, _)| *start <= line).last().map(|(_, written)| written.clone())
    }

    fn runs(&self, file: &RepoPath) -> Option<Runs> {
        let path = self.below.join(file.as_str()).ok()?;
        let path = Path::new(path.as_str());
        let mut options = BlameOptions::new();
        if let Some(oldest) = self.oldest {
            options.oldest_commit(oldest);
        }
        let on_disk = self.repository.workdir()?.join(path);
        let size = std::fs::metadata(&on_disk).ok()?.len();
        if size > FILE_BYTES {
            return None;
        }
        let saved = std::fs::read(on_disk).ok()?;
        let committed = self.repository.blame_file(path, Some(&mut options)).ok()?;
        let blame = committed.blame_buffer(&saved).ok()?;
        let run = |hunk: git2::BlameHunk<'_>| Some((u32::try_from(hunk.final_start_line()).ok()?, self.told(&hunk)));
        Some(blame.iter().filter_map(run).collect())
    }

    fn told(&self, hunk: &git2::BlameHunk<'_>) -> Written {
        let commit = Some(hunk.final_commit_id()).filter(|id| !id.is_zero()).and_then(|id| self.repository.find_commit(id).ok());
        let Some(commit) = commit else {
            let not_yet = "not committed yet".to_owned();
            return Written { commit: None, author: String::new(), date: String::new(), subject: not_yet, or_earlier: false };
        };
        let author = commit.author();
        let date = jiff::Timestamp::from_second(author.when().seconds()).map(|time| time.strftime("%Y-%m-%d").to_string());
        Written {
            commit: Some(commit.id().to_string()),
            author: clean(&String::from_utf8_lossy(author.name_bytes())),
            date: date.unwrap_or_default(),
            subject: clean(&String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default())),
            or_earlier: self.oldest == Some(commit.id()),
        }
    }
}

/// What strangers wrote, fit for a terminal.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

impl std::fmt::Display for Written {
    /// As `1a2b3c4d 2026-11-24 Anna: scale the shop`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(commit) = &self.commit else { return f.write_str(&self.subject) };
        let short = commit.get(..8).unwrap_or(commit);
        let earlier = if self.or_earlier { " or earlier" } else { "" };
        write!(f, "{short}{earlier} {} {}: {}", self.date, self.author, self.subject)
    }
}
