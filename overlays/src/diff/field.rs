//! Names one field of an object, as people write it and as a diff prints it.
//!
//! It must not know what a kind's fields mean, only how lists of objects usually tell their items apart.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fields::edit;
use crate::yaml::Node;

/// By which field the items of a list are told apart, the first that serves. As the Kubernetes API's own merge keys, and a few that
/// name what a list without one is about.
const ITEM_KEYS: [&str; 12] =
    ["name", "mountPath", "devicePath", "containerPort", "port", "key", "host", "path", "topologyKey", "ip", "uid", "type"];

/// How many steps a path may have; real ones have some ten.
const MAX_STEPS: usize = 200;

/// One step of a path down into an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FieldStep {
    /// The entry of a map.
    Key(String),
    /// The item of a list that has this value in this field.
    Item {
        /// The field that tells the items apart, as `name`.
        key: String,
        /// Its value.
        value: String,
    },
    /// The item of a list by its place, from 0.
    Index(usize),
}

/// A field of an object: the way from its root down. No step: the object as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<FieldStep>);

/// Why a text names no field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoField {
    /// How far the path leads.
    pub found: FieldPath,
    /// The part of the text that was not there.
    pub missing: String,
    /// What is there instead, in order.
    pub there: Vec<String>,
}

impl FieldPath {
    /// This path and one step more.
    #[must_use]
    pub fn with(&self, step: FieldStep) -> Self {
        Self(self.0.iter().cloned().chain(std::iter::once(step)).collect())
    }

    /// The path of a text in an object: `spec.template.spec.containers[web].image`, a JSON pointer, or kustomize's `[name=web]`.
    /// Keys that hold dots may be written as they are or in brackets: `metadata.annotations[example.com/owner]`.
    ///
    /// # Errors
    /// The object has no such field.
    pub(crate) fn find(object: &Node, text: &str) -> Result<Self, NoField> {
        let segments = segments(text);
        let (mut node, mut path, mut rest) = (object, Self::default(), segments.as_slice());
        while !rest.is_empty() {
            let Some((next, step, taken)) = down(node, rest) else {
                let missing = rest.first().map(|segment| segment.text.clone()).unwrap_or_default();
                return Err(NoField { found: path, missing, there: children(node) });
            };
            node = next;
            path.0.push(step);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(path)
    }

    /// What an object has here.
    pub(crate) fn of<'n>(&self, object: &'n Node) -> Option<&'n Node> {
        self.0.iter().try_fold(object, |node, step| match step {
            FieldStep::Key(key) => node.get(key),
            FieldStep::Item { key, value } => node.items().iter().find(|item| item_value(item, key) == Some(value)),
            FieldStep::Index(at) => node.items().get(*at),
        })
    }

    /// The key of the first step.
    pub(crate) fn first_key(&self) -> Option<&str> {
        match self.0.first()? {
            FieldStep::Key(key) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for FieldPath {
    /// As `spec.template.spec.containers[web].image`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                FieldStep::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '/']) => write!(f, "[{key}]")?,
                FieldStep::Key(key) => write!(f, "{}{key}", if at == 0 { "" } else { "." })?,
                FieldStep::Item { key, value } if key == ITEM_KEYS[0] => write!(f, "[{value}]")?,
                FieldStep::Item { key, value } => write!(f, "[{key}={value}]")?,
                FieldStep::Index(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The field by which all items of these lists can be told apart, if there is one.
pub(crate) fn item_key(lists: &[&[Node]]) -> Option<&'static str> {
    ITEM_KEYS.into_iter().find(|key| lists.iter().all(|items| tells_apart(items, key)))
}

fn tells_apart(items: &[Node], key: &str) -> bool {
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    items.iter().all(|item| item_value(item, key).is_some_and(|value| seen.insert(value)))
}

/// What an item has in the field that tells it apart.
pub(crate) fn item_value<'n>(item: &'n Node, key: &str) -> Option<&'n str> {
    item.get(key).filter(|node| !edit::is_null(node)).and_then(Node::text).map(|text| &**text)
}

/// A part of a path as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    text: String,
    /// Whether it stands in brackets, or between slashes: then dots are part of it.
    is_whole: bool,
}

fn segments(text: &str) -> Vec<Segment> {
    let whole = |text: &str| Segment { text: text.to_owned(), is_whole: true };
    if let Some(pointer) = text.strip_prefix('/') {
        return pointer.split('/').take(MAX_STEPS).map(|step| whole(&step.replace("~1", "/").replace("~0", "~"))).collect();
    }
    let mut segments = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && segments.len() < MAX_STEPS {
        if let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            segments.push(whole(inside.trim_matches(['"', '\''])));
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            continue;
        }
        // A bracket that is never closed is part of a name that is nowhere.
        let end = rest.find(['.', '[']).filter(|end| *end > 0).unwrap_or(rest.len());
        let (segment, after) = rest.split_at(end);
        segments.push(Segment { text: segment.to_owned(), is_whole: false });
        rest = after;
    }
    segments
}

/// One step down, and how many segments it takes: a key with dots may have been written without brackets.
fn down<'n>(node: &'n Node, rest: &[Segment]) -> Option<(&'n Node, FieldStep, usize)> {
    let first = rest.first()?;
    if !node.items().is_empty() {
        let (item, step) = item(node.items(), &first.text)?;
        return Some((item, step, 1));
    }
    let mut key = String::new();
    for (at, segment) in rest.iter().enumerate() {
        if at > 0 {
            key.push('.');
        }
        key.push_str(&segment.text);
        if let Some(value) = node.get(&key) {
            return Some((value, FieldStep::Key(key), at + 1));
        }
        if segment.is_whole {
            break;
        }
    }
    None
}

fn item<'n>(items: &'n [Node], text: &str) -> Option<(&'n Node, FieldStep)> {
    let (asked, value) = text.split_once('=').map_or((None, text), |(key, value)| (Some(key), value));
    let is_meant = |item: &&Node| match asked {
        Some(key) => item_value(item, key) == Some(value),
        None => ITEM_KEYS.into_iter().any(|key| item_value(item, key) == Some(value)),
    };
    let at = items.iter().position(|item| is_meant(&item)).or_else(|| text.parse().ok().filter(|at| *at < items.len()))?;
    let found = items.get(at)?;
    Some((found, step_to(items, at)))
}

/// How an item of a list is named.
pub(crate) fn step_to(items: &[Node], at: usize) -> FieldStep {
    let named = item_key(&[items]).and_then(|key| Some((key, item_value(items.get(at)?, key)?)));
    named.map_or(FieldStep::Index(at), |(key, value)| FieldStep::Item { key: key.to_owned(), value: value.to_owned() })
}

/// The names of what is below a node.
fn children(node: &Node) -> Vec<String> {
    let keys = node.entries().iter().filter_map(|entry| entry.key.text()).map(|key| key.to_string());
    let items = (0..node.items().len()).map(|at| match step_to(node.items(), at) {
        FieldStep::Item { value, .. } => format!("[{value}]"),
        _ => format!("[{at}]"),
    });
    keys.chain(items).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    const POD: &str = "metadata:\n  annotations: {example.com/owner: me}\nspec:\n  containers:\n  - name: web\n    image: a\n    args: [x, y]\n    ports: [{containerPort: 80}]\n";

    fn found(text: &str) -> Result<String, NoField> {
        let pod = yaml::parse(POD.as_bytes(), &yaml::Limits::default()).unwrap().remove(0);
        FieldPath::find(&pod, text).map(|path| path.to_string())
    }

    #[test]
    fn a_field_may_be_named_in_several_ways_and_is_printed_in_one() {
        for text in
            ["spec.containers[web].image", "spec.containers[0].image", "spec.containers[name=web].image", "/spec/containers/0/image"]
        {
            assert_eq!(found(text).unwrap(), "spec.containers[web].image", "{text}");
        }
        for text in [
            "metadata.annotations.example.com/owner",
            "metadata.annotations[example.com/owner]",
            "/metadata/annotations/example.com~1owner",
        ] {
            assert_eq!(found(text).unwrap(), "metadata.annotations[example.com/owner]", "{text}");
        }
        assert_eq!(found("spec.containers[web].args[1]").unwrap(), "spec.containers[web].args[1]");
        assert_eq!(found("spec.containers[web].ports[80]").unwrap(), "spec.containers[web].ports[containerPort=80]");
        assert_eq!(found("").unwrap(), "");
    }

    #[test]
    fn what_is_printed_names_the_same_field() {
        for text in
            ["metadata.annotations[example.com/owner]", "spec.containers[web].ports[containerPort=80]", "spec.containers[web].args[0]"]
        {
            assert_eq!(found(text).unwrap(), text);
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_answered_with_those_that_are() {
        let told = found("spec.containers[web].imag").unwrap_err();
        assert_eq!((told.found.to_string().as_str(), told.missing.as_str()), ("spec.containers[web]", "imag"));
        assert_eq!(told.there, ["name", "image", "args", "ports"]);
        assert_eq!(found("spec.containers[wbe]").unwrap_err().there, ["[web]"]);
        for odd in ["[", "]", "..", "[]", ".[.", "spec[", "/", "//", "\u{e9}["] {
            assert!(found(odd).is_err() || found(odd).unwrap().is_empty(), "{odd}");
        }
    }
}
