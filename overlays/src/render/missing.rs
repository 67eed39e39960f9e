//! All remote bases that a tree lacks, found at once, so that whoever brings them need not render again for each.
//!
//! It must not know why rendering failed: it looks at what layers name, and passes over everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Build, Layer, once};
use crate::error::{Error, Errors};
use crate::layer::Placed;
use crate::path::RepoPath;
use crate::tree::Kind;

/// How many remote bases are told of at once, and how many layers are looked at for them.
const MAX_TOLD: usize = 200;
const MAX_LAYERS: usize = 10_000;

impl Build<'_> {
    /// Adds to the errors the remote bases that rendering did not get to. Each is told once, at the first place that names it.
    pub(super) fn with_all_missing(&mut self, errors: Errors, root: &RepoPath) -> Errors {
        if errors.missing().is_empty() {
            return Errors(once(errors.0));
        }
        let (missing, others): (Vec<Error>, Vec<Error>) = errors.0.into_iter().partition(|error| matches!(error, Error::Missing(_)));
        let mut found = Found::default();
        missing.into_iter().for_each(|error| found.add(error));
        self.find_missing(root, &mut found);
        Errors(found.missing.into_values().take(MAX_TOLD).chain(once(others)).collect())
    }

    fn find_missing(&mut self, root: &RepoPath, found: &mut Found) {
        // No recursion: layers that include each other by the thousands are told by rendering, not by the stack.
        let mut queue = vec![root.clone()];
        while let Some(directory) = queue.pop().filter(|_| found.missing.len() < MAX_TOLD && found.seen.len() < MAX_LAYERS) {
            if found.seen.insert(directory.clone())
                && let Ok(layer) = self.layer(&directory)
            {
                let kustomization = &layer.kustomization;
                let bases = kustomization.resources.iter().chain(&kustomization.components).chain(&kustomization.generators);
                let entries = bases.chain(&kustomization.transformers).chain(&kustomization.validators);
                queue.extend(entries.filter_map(|entry| self.directory_of(&layer, entry, found)));
            }
        }
    }

    /// The directory that an entry names; if it is a remote base that is missing, that is noted.
    fn directory_of(&mut self, layer: &Layer, entry: &Placed<String>, found: &mut Found) -> Option<RepoPath> {
        match self.path_of(layer, &entry.value) {
            Ok(path) => match self.source.resolve(&path) {
                Ok(Some((path, Kind::Directory))) => Some(path),
                _ => None,
            },
            Err(error) => {
                found.add(self.source.place(error, &layer.file, entry.mark));
                None
            }
        }
    }
}

/// What was looked at, and what is missing by what it is called.
#[derive(Default)]
struct Found {
    seen: BTreeSet<RepoPath>,
    missing: BTreeMap<String, Error>,
}

impl Found {
    fn add(&mut self, error: Error) {
        if let Error::Missing(remote) = &error {
            self.missing.entry(remote.to_string()).or_insert(error);
        }
    }
}
