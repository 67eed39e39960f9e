//! Where a step finds the fields that it changes: paths such as `spec/template/spec/containers[]/image`, for some kinds or for all.
//!
//! It must not know what a step does with a field.

use crate::object::{Id, Object, group_and_version};
use crate::yaml::{Node, Value};

pub(crate) mod config;
pub(crate) mod edit;
mod tables;

pub(crate) use config::Config;

/// Some kinds of objects; an empty text means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gvk {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

impl Gvk {
    /// Whether an identity is of these kinds.
    pub(crate) fn selects(&self, id: &Id<'_>) -> bool {
        let fits = |want: &str, have: &str| want.is_empty() || want == have;
        fits(&self.group, id.group) && fits(&self.version, id.version) && fits(&self.kind, id.kind)
    }

    /// Whether everything that `self` selects is also selected by `other`.
    fn is_within(&self, other: &Self) -> bool {
        let fits = |want: &str, have: &str| want.is_empty() || want == have;
        fits(&other.group, &self.group) && fits(&other.version, &self.version) && fits(&other.kind, &self.kind)
    }
}

/// A field of some kinds of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    /// Keys from the root of the object, parted by `/` (`\/` is a slash in a key). Lists are passed through; `[]` says that there is one.
    pub(crate) path: String,
    /// Whether the field is made where it is missing.
    pub(crate) create: bool,
}

impl FieldSpec {
    /// A field of all objects.
    pub(crate) fn of_all(path: &str, create: bool) -> Self {
        Self { gvk: Gvk::default(), path: path.to_owned(), create }
    }

    /// Whether the field can be in this object.
    pub(crate) fn fits(&self, object: &Object) -> bool {
        let (group, version) = group_and_version(object.api_version());
        self.gvk.selects(&Id { group, version, kind: object.kind(), namespace: "", name: "" })
    }
}

/// What a missing field is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    /// Nothing: it stays missing.
    Never,
    /// A scalar that the step fills.
    Scalar,
    /// An empty map that the step fills.
    Map,
}

impl Create {
    fn make(self) -> Node {
        if self == Self::Map { Node::map() } else { Node::plain("") }
    }
}

/// Splits a path at a delimiter; a backslash before it makes it part of a key. One leading slash is allowed.
pub(crate) fn split_path(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut joined = false;
    for part in without_leading(path, delimiter).split(delimiter) {
        match parts.last_mut() {
            Some(last) if joined => {
                last.pop();
                last.push(delimiter);
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
        joined = part.ends_with('\\');
    }
    parts
}

fn without_leading(path: &str, delimiter: char) -> &str {
    path.strip_prefix(delimiter).filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// Calls `set` with every field of the object that the specification names, making missing ones where it says so.
///
/// # Errors
/// What `set` returns, or that the path leads through a scalar.
pub(crate) fn for_each(
    object: &mut Object,
    spec: &FieldSpec,
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    if !spec.fits(object) {
        return Ok(());
    }
    let create = if spec.create { create } else { Create::Never };
    if create == Create::Never && !leads_somewhere(object.body(), &spec.path) {
        return Ok(());
    }
    let path = split_path(&spec.path, '/');
    walk(object.body_mut(), &path, create, set).map_err(|problem| format!("field `{}`: {problem}", spec.path))
}

/// Whether the maps on the way of a path have its keys: most paths of a table lead nowhere in most objects, which then stay shared.
fn leads_somewhere(mut node: &Node, path: &str) -> bool {
    // A slash in a key is not told apart here.
    if path.contains('\\') {
        return true;
    }
    for key in without_leading(path, '/').split('/') {
        let Value::Map(_) = &node.value else { return true };
        let name = key.strip_suffix("[]").unwrap_or(key);
        // An empty step is told where it is met.
        if name.is_empty() {
            return true;
        }
        match node.get(name.trim()) {
            Some(next) => node = next,
            None => return false,
        }
    }
    true
}

fn walk(node: &mut Node, path: &[String], create: Create, set: &mut dyn FnMut(&mut Node) -> Result<(), String>) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return set(node);
    };
    if edit::is_null(node) {
        return Ok(());
    }
    match &mut node.value {
        Value::List(items) => items.iter_mut().try_for_each(|item| walk(item, path, create, set)),
        Value::Map(_) => walk_map(node, key, rest, create, set),
        Value::Scalar(..) => Err(format!("a map or list was expected above `{key}`")),
    }
}

fn walk_map(
    node: &mut Node,
    key: &str,
    rest: &[String],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let (name, is_list) = key.strip_suffix("[]").map_or((key, false), |name| (name, true));
    if name.is_empty() {
        return Err("a step of the path is empty".to_owned());
    }
    let name = name.trim();
    let made = match (create, rest.is_empty()) {
        (Create::Never, _) => None,
        (create, true) => Some(create),
        (_, false) => Some(Create::Map),
    };
    let field: Option<&mut Node> = match made {
        Some(made) if !is_list => edit::ensure(node, name, || made.make()),
        _ => node.get_mut(name),
    };
    let Some(field) = field else { return Ok(()) };
    if edit::is_null(field) {
        // A null is taken for the missing field that it stands for.
        match made {
            _ if is_list => field.value = Value::List(Vec::new()),
            Some(made) => field.value = made.make().value,
            None => {}
        }
    }
    walk(field, rest, create, set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_keeps_a_delimiter_in_its_key() {
        assert_eq!(split_path(r"metadata/annotations/example.com\/a", '/'), ["metadata", "annotations", "example.com/a"]);
        assert_eq!(split_path("/a/b", '/'), ["a", "b"]);
        assert_eq!(split_path(r"a\.b.c", '.'), ["a.b", "c"]);
    }

    #[test]
    fn a_kind_without_group_selects_all_groups() {
        let any = Gvk { kind: "Ingress".into(), ..Gvk::default() };
        let id = Id { group: "networking.k8s.io", version: "v1", kind: "Ingress", namespace: "", name: "" };
        assert!(any.selects(&id) && Gvk::default().selects(&id));
        assert!(!Gvk { group: "extensions".into(), ..any }.selects(&id));
    }
}
