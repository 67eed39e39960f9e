//! A YAML document as a tree that remembers where each part was written.
//!
//! Scalars keep their text and style; what type a plain scalar has depends on the dialect and is decided late
//! (kustomize reads resources as YAML 1.2-like go-yaml v3 and its own files as YAML 1.1).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A piece of text that is cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Text {
    /// Whether this is that very text, and not only one that reads the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Where a node was written. `file` is an index into the files of one rendering; a parsed blob, which may stand at several paths, has 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which file, as the rendering numbers them.
    pub file: u32,
    /// The line, from 1; 0 for nodes that no file holds.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: its type depends on its text and the dialect.
    #[default]
    Plain,
    /// In single quotes, double quotes, or as a literal block: a string.
    Quoted,
    /// As a folded block: a string, which gains line ends where kustomize prints it and reads it again (see [`Node::resolve`]).
    Folded,
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Node,
    /// The value.
    pub value: Node,
}

/// What a node holds. Anchors and merge keys (`<<`) are expanded by the parser.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar: its text, how it was written, and its tag where one was written (`!!str`).
    Scalar(Text, Style, Option<Text>),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of its file.
    Map(Vec<Entry>),
}

/// A part of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Where it was written.
    pub mark: Mark,
}

impl Node {
    /// A string that no file holds.
    pub fn string(text: impl Into<Text>) -> Self {
        Self { value: Value::Scalar(text.into(), Style::Quoted, None), mark: Mark::default() }
    }

    /// A plain scalar that no file holds: its type depends on its text.
    pub fn plain(text: impl Into<Text>) -> Self {
        Self { value: Value::Scalar(text.into(), Style::Plain, None), mark: Mark::default() }
    }

    /// An empty map that no file holds.
    pub fn map() -> Self {
        Self { value: Value::Map(Vec::new()), mark: Mark::default() }
    }

    /// An empty list that no file holds.
    pub fn list() -> Self {
        Self { value: Value::List(Vec::new()), mark: Mark::default() }
    }

    /// The text of a scalar, whatever its type.
    pub fn text(&self) -> Option<&Text> {
        match &self.value {
            Value::Scalar(text, ..) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value of `key` in a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.text().is_some_and(|text| **text == *key)).map(|entry| &entry.value)
    }

    /// The value of `key` in a map, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Map(entries) = &mut self.value else {
            return None;
        };
        entries.iter_mut().find(|entry| entry.key.text().is_some_and(|text| **text == *key)).map(|entry| &mut entry.value)
    }

    /// Follows map keys down from here.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }
}
