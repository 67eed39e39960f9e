//! Follows a path through symbolic links, and never out of the root. Stores answer what one name is; the rules are here, once.

use super::{Kind, Limits, TreeError};
use crate::path::RepoPath;

/// What a store holds under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and what it says.
    Link(String),
}

/// The path without links that `path` leads to, and what is there; `None` where nothing is.
///
/// # Errors
/// A link leads out of the root, or more links are met than one path may have, as in a circle.
pub(super) fn follow(
    path: &RepoPath,
    limits: &Limits,
    mut look: impl FnMut(&RepoPath) -> Result<Option<Found>, TreeError>,
) -> Result<Option<(RepoPath, Kind)>, TreeError> {
    let mut ahead: Vec<String> = path.segments().rev().map(str::to_owned).collect();
    let mut here = (RepoPath::root(), Kind::Directory);
    let (mut links, mut last) = (0, None);
    while let Some(segment) = ahead.pop() {
        if here.1 == Kind::File {
            return Ok(None);
        }
        // Only a link can hold `..`; where it stands at the root, the link that was met last leads out.
        let Ok(next) = here.0.join(&segment) else {
            return Err(last.unwrap_or_else(|| TreeError::Link { path: path.clone(), target: segment }));
        };
        here = match look(&next)? {
            None => return Ok(None),
            Some(Found::Directory) => (next, Kind::Directory),
            Some(Found::File) => (next, Kind::File),
            Some(Found::Link(target)) => {
                links += 1;
                let segments = target.split('/').rev().filter(|segment| !segment.is_empty());
                ahead.extend(segments.map(str::to_owned));
                let absolute = target.starts_with('/');
                let error = TreeError::Link { path: next, target };
                if links > limits.links || absolute {
                    return Err(error);
                }
                last = Some(error);
                here
            }
        };
    }
    Ok(Some(here))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn tree() -> BTreeMap<&'static str, Found> {
        let link = |target: &str| Found::Link(target.to_owned());
        BTreeMap::from([
            ("a", Found::Directory),
            ("a/b", Found::Directory),
            ("a/b/file", Found::File),
            ("a/up", link("..")),
            ("a/b/out", link("../../../etc/passwd")),
            ("a/b/absolute", link("/etc/passwd")),
            ("short", link("a/b")),
            ("dir", link("short")),
            ("back", link("dir/../b/./file")),
            ("circle", link("circle")),
            ("ping", link("pong")),
            ("pong", link("ping")),
            ("dangling", link("a/none")),
            ("sneaky", link("short/../../..")),
            ("winding", link("short/../../a/b/file")),
        ])
    }

    fn walk(path: &str) -> Result<Option<(String, Kind)>, TreeError> {
        let tree = tree();
        let found = follow(&RepoPath::new(path).unwrap(), &Limits::default(), |path| {
            Ok(if path.is_root() { Some(Found::Directory) } else { tree.get(path.as_str()).cloned() })
        });
        found.map(|found| found.map(|(path, kind)| (path.as_str().to_owned(), kind)))
    }

    #[test]
    fn links_are_followed_within_the_root() {
        for path in ["a/b/file", "dir/file", "a/up/a/b/file", "back", "short/file", "winding"] {
            assert_eq!(walk(path), Ok(Some(("a/b/file".to_owned(), Kind::File))), "{path}");
        }
        assert_eq!(walk("dir"), Ok(Some(("a/b".to_owned(), Kind::Directory))));
        assert_eq!(walk("a/up"), Ok(Some((String::new(), Kind::Directory))));
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        for path in ["none", "a/none", "dangling", "a/b/file/below"] {
            assert_eq!(walk(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn no_link_leads_out_or_round_in_circles() {
        for path in ["a/b/out", "a/b/absolute", "dir/out", "circle", "ping", "sneaky", "circle/x"] {
            assert!(matches!(walk(path), Err(TreeError::Link { .. })), "{path}: {:?}", walk(path));
        }
    }
}
