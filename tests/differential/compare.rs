//! Whether two renderings are the same: byte for byte, by meaning, or not at all.
//! It must not know how they were made.

use overlays::tree::Fixture;
use overlays::{Cache, Options, Order, RepoPath, Restriction, render};
use serde_yaml::Value;

use super::kustomize::Outcome;
use super::layers::Tree;

/// How two outcomes compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Likeness {
    /// The same bytes, or both refuse.
    Same,
    /// The same objects with the same values in the same order.
    SameMeaning,
    /// Both print, and not the same.
    Differs,
    /// Only kustomize prints.
    OnlyTheirs,
    /// Only we print.
    OnlyOurs,
}

impl Likeness {
    pub(crate) fn is_difference(self) -> bool {
        self > Self::SameMeaning
    }
}

pub(crate) fn compare(theirs: &Outcome, ours: &Outcome) -> Likeness {
    match (theirs, ours) {
        (Ok(theirs), Ok(ours)) if theirs == ours => Likeness::Same,
        (Ok(theirs), Ok(ours)) if documents(theirs).is_some_and(|theirs| Some(theirs) == documents(ours)) => Likeness::SameMeaning,
        (Ok(_), Ok(_)) => Likeness::Differs,
        (Ok(_), Err(_)) => Likeness::OnlyTheirs,
        (Err(_), Ok(_)) => Likeness::OnlyOurs,
        (Err(_), Err(_)) => Likeness::Same,
    }
}

/// The documents of what is printed, by meaning.
pub(crate) fn documents(text: &str) -> Option<Vec<Value>> {
    serde_yaml::Deserializer::from_str(text).map(|document| serde::Deserialize::deserialize(document).ok()).collect()
}

/// What this project makes of a tree.
pub(crate) fn ours(tree: &Tree) -> Outcome {
    let mut files = Fixture::default();
    for (path, content) in &tree.files {
        files.insert(RepoPath::new(path).unwrap(), content.clone().into_bytes());
    }
    let options = Options {
        order: if tree.legacy { Order::Legacy } else { Order::None },
        restrict: if tree.unrestricted { Restriction::None } else { Restriction::Root },
        plain_directories: false,
        strict: true,
    };
    let root = RepoPath::new(&tree.root).unwrap();
    let rendered = render(&files, &root, &options, &mut Cache::default());
    rendered.and_then(|rendered| rendered.manifest.to_yaml()).map_err(|errors| errors.to_string())
}
