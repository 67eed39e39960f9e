//! Paths inside a repository.
//!
//! A [`RepoPath`] is checked once, when it is made; code that holds one need not ask again whether it leaves the root.

use std::fmt;

use serde::Serialize;

/// The longest path that is accepted, in bytes. Linux allows 4,096 (`PATH_MAX`); no repository needs more.
const MAX_BYTES: usize = 4096;

/// A path relative to the root of a [`Tree`](crate::tree::Tree): no leading slash, no `.` or `..`, no empty segment. The root is `""`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RepoPath(Box<str>);

/// Why a text is not a path inside the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It begins with `/`.
    Absolute(String),
    /// Its `..` segments lead out of the root.
    Escapes(String),
    /// It is longer than a path may be, or holds a NUL byte.
    Unusable,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(path) => write!(f, "`{path}` is an absolute path; paths in a repository are relative"),
            Self::Escapes(path) => write!(f, "`{path}` leads out of the repository"),
            Self::Unusable => write!(f, "a path is longer than {MAX_BYTES} bytes or holds a NUL byte"),
        }
    }
}

impl std::error::Error for PathError {}

impl RepoPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path relative to the root.
    ///
    /// # Errors
    /// The text is absolute, leads out of the root, or can be no path at all.
    pub fn new(text: &str) -> Result<Self, PathError> {
        Self::root().join(text)
    }

    /// Follows `text` from this directory; `.` and `..` are resolved by text alone, as kustomize does.
    ///
    /// # Errors
    /// As [`RepoPath::new`].
    pub fn join(&self, text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        if text.len() + self.0.len() > MAX_BYTES || text.contains('\0') {
            return Err(PathError::Unusable);
        }
        let mut segments: Vec<&str> = self.segments().collect();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or_else(|| PathError::Escapes(text.to_owned()))?;
                }
                name => segments.push(name),
            }
        }
        Ok(Self(segments.join("/").into()))
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or("", |(parent, _)| parent).into()))
    }

    /// The last segment; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.segments().next_back()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root() || self == other || self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// This path as it is seen from a directory; `None` if it does not lie below.
    pub(crate) fn seen_from(&self, directory: &Self) -> Option<Self> {
        let below = if directory.is_root() { &self.0 } else { self.0.strip_prefix(&*directory.0)? };
        (below.is_empty() || directory.is_root() || below.starts_with('/')).then(|| Self(below.trim_start_matches('/').into()))
    }

    /// The segments from the root down.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The path as text, `""` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, text: &str, expected: Result<&str, PathError>) {
        let start = RepoPath::new(from).unwrap();
        assert_eq!(start.join(text).as_ref().map(RepoPath::as_str), expected.as_ref().copied());
    }

    #[test]
    fn a_path_is_joined_by_text_and_never_leaves_the_root() {
        check("", "a//b/./c/", Ok("a/b/c"));
        check("apps/shop", "../base", Ok("apps/base"));
        check("apps", "..", Ok(""));
        check("apps", "../..", Err(PathError::Escapes("../..".into())));
        check("apps", "/etc", Err(PathError::Absolute("/etc".into())));
        check("apps", "a\0b", Err(PathError::Unusable));
    }

    #[test]
    fn a_sibling_with_the_same_prefix_is_not_within() {
        let path = |text| RepoPath::new(text).unwrap();
        assert!(path("apps/shop/base").is_within(&path("apps/shop")));
        assert!(path("apps/shop").is_within(&RepoPath::root()));
        assert!(!path("apps/shopping").is_within(&path("apps/shop")));
        assert_eq!(path("apps/shopping").seen_from(&path("apps/shop")), None);
        assert_eq!(path("apps/shop/base").seen_from(&path("apps/shop")), Some(path("base")));
        assert_eq!(path("apps").seen_from(&RepoPath::root()), Some(path("apps")));
        assert_eq!(path("apps").seen_from(&path("apps")), Some(RepoPath::root()));
    }
}
