//! A tree written down in a test.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Blob, ContentId, Kind, Tree, TreeError};
use crate::path::RepoPath;

/// A tree in memory, written as text: each file after a line `//- path/of/the/file`.
#[derive(Clone, Debug, Default)]
pub struct Fixture(BTreeMap<RepoPath, Vec<u8>>);

impl Fixture {
    /// Reads the text form. Lines before the first `//- ` and files whose path leaves the root are left out.
    pub fn new(text: &str) -> Self {
        let mut tree = Self::default();
        let mut path = None;
        for line in text.split_inclusive('\n') {
            if let Some(name) = line.strip_prefix("//- ") {
                path = RepoPath::new(name.trim()).ok();
                path.iter().for_each(|path| tree.insert(path.clone(), Vec::new()));
            } else if let Some(content) = path.as_ref().and_then(|path| tree.0.get_mut(path)) {
                content.extend_from_slice(line.as_bytes());
            }
        }
        tree
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: RepoPath, content: Vec<u8>) {
        self.0.insert(path, content);
    }

    fn below<'a>(&'a self, path: &'a RepoPath) -> impl Iterator<Item = (&'a RepoPath, &'a Vec<u8>)> {
        self.0.iter().filter(move |(file, _)| *file != path && file.is_within(path))
    }
}

fn digest(bytes: &[u8]) -> ContentId {
    let mut id = [0; 20];
    id.copy_from_slice(&Sha256::digest(bytes)[..20]);
    ContentId(id)
}

impl Tree for Fixture {
    fn kind(&self, path: &RepoPath) -> Result<Option<Kind>, TreeError> {
        if self.0.contains_key(path) {
            return Ok(Some(Kind::File));
        }
        Ok((path.is_root() || self.below(path).next().is_some()).then_some(Kind::Directory))
    }

    fn read(&self, path: &RepoPath) -> Result<Option<Blob>, TreeError> {
        Ok(self.0.get(path).map(|content| Blob { bytes: content.clone(), id: Some(digest(content)) }))
    }

    fn list(&self, path: &RepoPath) -> Result<BTreeMap<String, Kind>, TreeError> {
        let depth = path.segments().count();
        Ok(self
            .below(path)
            .filter_map(|(file, _)| {
                let mut rest = file.segments().skip(depth);
                let name = rest.next()?.to_owned();
                Some((name, if rest.next().is_some() { Kind::Directory } else { Kind::File }))
            })
            .collect())
    }

    fn id(&self, path: &RepoPath) -> Result<Option<ContentId>, TreeError> {
        if let Some(content) = self.0.get(path) {
            return Ok(Some(digest(content)));
        }
        let mut all = Vec::new();
        for (file, content) in self.below(path) {
            all.extend_from_slice(file.as_str().as_bytes());
            all.extend_from_slice(&digest(content).0);
        }
        Ok((!all.is_empty() || path.is_root()).then(|| digest(&all)))
    }
}
