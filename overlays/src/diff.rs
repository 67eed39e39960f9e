//! What differs between two renderings, object by object and field by field, by meaning, and where each side is written.
//!
//! It must not know where the two sides come from.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value as Json;

use crate::look::Look;
use crate::object::{Object, ObjectId, Origin};
use crate::yaml::{Mark, Node};

pub(crate) mod changes;
pub(crate) mod field;
pub(crate) mod shown;
pub(crate) mod text;

use changes::{Change, changes};
pub use field::{FieldPath, FieldStep, NoField};
use shown::shown;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// The field.
    pub field: FieldPath,
    /// What it was; nothing if it was not there. Of Secrets no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
    /// What it became; nothing if it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Json>,
    /// Whether only the order of the items changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_order: bool,
    /// Where it was written before, in another rendering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place_before: Option<Origin>,
    /// Where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Origin>,
}

/// How an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is in the second rendering only.
    Added,
    /// It is in the first rendering only.
    Removed,
    /// It is in both.
    Changed,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How.
    pub what: What,
    /// The object; if it is in both renderings, as in the second one.
    pub object: ObjectId,
    /// What it is called in the first rendering, if its content is part of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<ObjectId>,
    /// Where it is written, if it is in one rendering only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Origin>,
    /// The fields that differ, if it is in both.
    pub changes: Vec<Changed>,
}

/// All differences between two renderings: in the order of the second one, and then what only the first one has.
///
/// Objects are the same by group, kind, namespace and name; generated maps whose names end in a hash of their content, by the name
/// without it.
pub fn compare<'o>(before: impl IntoIterator<Item = &'o Object>, after: impl IntoIterator<Item = &'o Object>) -> Vec<Difference> {
    let before: Vec<&Object> = before.into_iter().collect();
    let by_id: HashMap<ObjectId, &Object> = before.iter().map(|object| (object.id(), *object)).collect();
    let after: Vec<&Object> = after.into_iter().collect();
    let ids: HashSet<ObjectId> = after.iter().map(|object| object.id()).collect();
    let by_stem: HashMap<ObjectId, &Object> =
        before.iter().filter(|object| !ids.contains(&object.id())).filter_map(|object| Some((stem(object)?, *object))).collect();
    let mut paired = HashSet::new();
    let mut found = Vec::new();
    for object in after {
        let renamed = || by_stem.get(&stem(object)?);
        match by_id.get(&object.id()).or_else(renamed) {
            Some(old) if paired.insert(old.id()) => found.extend(changed(old, object)),
            _ => found.push(alone(What::Added, object)),
        }
    }
    found.extend(before.iter().filter(|object| !paired.contains(&object.id())).map(|object| alone(What::Removed, object)));
    found
}

/// What an object would be called without the hash of its content.
fn stem(object: &Object) -> Option<ObjectId> {
    let before = object.history.past.last().filter(|_| object.history.hashed)?;
    Some(ObjectId { name: before.name.to_string(), ..object.id() })
}

/// An object that only the second side has.
pub fn added(object: &Object) -> Difference {
    alone(What::Added, object)
}

/// How an object differs between two states of it, as a cluster tells them; places are those of the object in Git.
pub fn between(object: &Object, before: &Json, after: &Json) -> Option<Difference> {
    let (before, after) = (Node::from_json(before), Node::from_json(after));
    let id = object.id();
    let told = |change: &Change<'_>| Changed {
        field: change.path.clone(),
        before: change.before.map(|node| shown(&id.kind, &change.path, node)),
        after: change.after.map(|node| shown(&id.kind, &change.path, node)),
        is_order: change.is_order,
        place_before: None,
        place: object.origin_of(place_in(object.body(), &change.path)),
    };
    let changes: Vec<Changed> = changes(&FieldPath::default(), Some(&before), Some(&after)).iter().map(told).collect();
    (!changes.is_empty()).then(|| Difference { what: What::Changed, object: object.id(), before: None, place: None, changes })
}

fn alone(what: What, object: &Object) -> Difference {
    Difference { what, object: object.id(), before: None, place: Some(object.origin().clone()), changes: Vec::new() }
}

fn changed(before: &Object, after: &Object) -> Option<Difference> {
    let list = changes(&FieldPath::default(), Some(before.body()), Some(after.body()));
    let told = |change: &Change<'_>| Changed {
        field: change.path.clone(),
        before: change.before.map(|node| shown(before.kind(), &change.path, node)),
        after: change.after.map(|node| shown(after.kind(), &change.path, node)),
        is_order: change.is_order,
        place_before: change.before.and_then(|_| before.origin_of(place_in(before.body(), &change.path))),
        place: change.after.and_then(|_| after.origin_of(place_in(after.body(), &change.path))),
    };
    let renamed = (before.id() != after.id()).then(|| before.id());
    let is_name = |change: &&Change<'_>| renamed.is_some() && change.path.to_string() == "metadata.name";
    let changes: Vec<Changed> = list.iter().filter(|change| !is_name(change)).map(told).collect();
    if changes.is_empty() && renamed.is_none() {
        return None;
    }
    Some(Difference { what: What::Changed, object: after.id(), before: renamed, place: None, changes })
}

/// The differences for people to read; nothing if there are none.
pub fn text(differences: &[Difference], look: &Look<'_>) -> String {
    text::differences(differences, look)
}

/// Where a field was written; for a map or list that a step made, where the first thing in it was. A map or list begins on the line
/// below its key; what a reader looks for is the key. Line 0: nowhere.
pub(crate) fn place_in(object: &Node, path: &FieldPath) -> Mark {
    let Some(node) = path.of(object) else { return Mark::default() };
    let above = path.0.split_last().and_then(|(_, above)| FieldPath(above.to_vec()).of(object));
    let key = above.and_then(|above| above.entries().iter().find(|entry| std::ptr::eq(&entry.value, node))).map(|entry| entry.key.mark);
    key.filter(|key| node.text().is_none() && key.line > 0).unwrap_or_else(|| first_mark(node))
}

fn first_mark(node: &Node) -> Mark {
    if node.mark.line > 0 {
        return node.mark;
    }
    let below = node.entries().iter().map(|entry| &entry.value).chain(node.items());
    below.map(first_mark).find(|mark| mark.line > 0).unwrap_or_default()
}
