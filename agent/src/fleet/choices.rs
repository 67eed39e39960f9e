//! What was chosen for the apps of an earlier revision, so that a commit costs the apps that it touches and not those that there are.
//!
//! A choice holds as long as all that was looked at for it is as it was; what that is, is told by looking on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use overlays::error::Error;
use overlays::path::RepoPath;
use overlays::tree::{Blob, ContentId, Kind, Tree, TreeError};

use super::layers::{self, Chosen};
use crate::facts::Facts;

/// What was chosen for each app, by its directory.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    facts: Facts,
    keys: Vec<String>,
    made: BTreeMap<RepoPath, Choice>,
}

#[derive(Clone, Debug)]
struct Choice {
    chosen: Chosen,
    /// What it rests on, and what was there; the first is the app's directory.
    grounds: Box<[(RepoPath, Option<ContentId>)]>,
}

impl Choice {
    fn holds(&self, tree: &dyn Tree) -> bool {
        self.grounds.iter().all(|(path, id)| tree.id(path).is_ok_and(|now| now == *id))
    }
}

impl Choices {
    /// Begins with a cluster and the keys of its layers: choices for others are forgotten, and those for directories that are no app's.
    pub(super) fn begin<'a>(&mut self, facts: &Facts, keys: &[String], apps: impl Iterator<Item = &'a RepoPath>) {
        if self.facts != *facts || self.keys != keys {
            *self = Self { facts: facts.clone(), keys: keys.to_vec(), made: BTreeMap::new() };
        }
        let apps: BTreeSet<&RepoPath> = apps.collect();
        self.made.retain(|path, _| apps.contains(path));
    }

    /// What is chosen for an app: the same again where nothing that matters to it has changed.
    pub(super) fn choose(&mut self, tree: &dyn Tree, app: &RepoPath) -> Result<Chosen, Error> {
        if let Some(choice) = self.made.get(app).filter(|choice| choice.holds(tree)) {
            return Ok(choice.chosen.clone());
        }
        let onlooker = Onlooker { tree, seen: Mutex::default() };
        let chosen = layers::choose(&onlooker, app, &self.keys, &self.facts)?;
        let grounds = onlooker.grounds(app)?;
        self.made.insert(app.clone(), Choice { chosen: chosen.clone(), grounds });
        Ok(chosen)
    }
}

/// A tree that remembers what it was asked for.
struct Onlooker<'a> {
    tree: &'a dyn Tree,
    seen: Mutex<BTreeSet<RepoPath>>,
}

impl Onlooker<'_> {
    fn note(&self, path: &RepoPath) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
    }

    /// The app's directory, and all that was looked at and is not in it.
    fn grounds(self, app: &RepoPath) -> Result<Box<[(RepoPath, Option<ContentId>)]>, TreeError> {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut grounds = vec![(app.clone(), self.tree.id(app)?)];
        for path in seen {
            if !is_inside(self.tree, app, &path)? {
                let id = self.tree.id(&path)?;
                grounds.push((path, id));
            }
        }
        Ok(grounds.into())
    }
}

/// Whether what is at a path, or that nothing is there, is told by the content of the app's directory: it is in it, and no link leads out.
fn is_inside(tree: &dyn Tree, app: &RepoPath, path: &RepoPath) -> Result<bool, TreeError> {
    let mut here = path.clone();
    while here.is_within(app) {
        if let Some(real) = tree.real(&here)? {
            return Ok(real == here);
        }
        match here.parent() {
            Some(above) => here = above,
            None => return Ok(true),
        }
    }
    Ok(false)
}

impl Tree for Onlooker<'_> {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        self.note(path);
        self.tree.kind(path)
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        self.note(path);
        self.tree.read(path)
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        self.note(path);
        self.tree.list(path)
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        self.note(path);
        self.tree.id(path)
    }

    fn real(&self, path: &RepoPath) -> Result<Option<RepoPath>, TreeError> {
        self.note(path);
        self.tree.real(path)
    }
}
