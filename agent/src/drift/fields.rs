//! Reads `metadata.managedFields`: whose an entry is, which paths it lists, and where they lead in an object.
//!
//! A path is a list of steps as the API server writes them (structured-merge-diff, `FieldsV1`): `f:spec`, `k:{"name":"web"}` (an item by its
//! keys), `v:"x"` (an element of a set), `i:0`. The step `.` stands for the thing itself. What is malformed leads nowhere; nothing here fails.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::api::FIELD_MANAGER;

/// How deep fields may be nested; the server's own limit for JSON is of this order.
pub(super) const DEEPEST: usize = 100;
/// Stands for the thing itself.
pub(super) const SELF: &str = ".";

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// A field of a map.
    Field(&'a str),
    /// An item of a list, by its keys, as JSON text.
    Item(&'a str),
    /// An element of a set, as JSON text.
    Element(&'a str),
    /// An item by its place.
    Index(usize),
}

impl<'a> Step<'a> {
    /// Reads `f:spec`; none for `.` and what is malformed.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest)),
            "k" => Some(Self::Item(rest)),
            "v" => Some(Self::Element(rest)),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

/// The entries of an object.
pub(super) fn entries(live: &Value) -> &[Value] {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether an entry is the one of our applies.
pub(super) fn is_ours(entry: &Value) -> bool {
    entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none_or(|name| name == "")
}

/// The entry of our applies.
pub(super) fn ours(live: &Value) -> Option<&Value> {
    entries(live).iter().find(|entry| is_ours(entry))
}

/// The fields that an entry lists.
pub(super) fn listed(entry: &Value) -> Option<&Map<String, Value>> {
    entry.get("fieldsV1")?.as_object()
}

/// Whether nothing is listed below a step, so that all that is there counts.
pub(super) fn is_leaf(fields: &Map<String, Value>) -> bool {
    fields.keys().all(|key| key == SELF)
}

/// Whether an entry holds what `path` leads to, by itself or as part of something that it holds as a whole.
pub(super) fn holds(fields: &Map<String, Value>, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    match fields.get(first).and_then(Value::as_object) {
        Some(below) if is_leaf(below) => true,
        Some(below) => holds(below, rest),
        None => false,
    }
}

/// Whether an entry lists just this path: an empty map that it holds does not make what others put into it its own.
pub(super) fn lists(fields: &Map<String, Value>, path: &[String]) -> bool {
    match path {
        [] => true,
        [first, rest @ ..] => fields.get(first).and_then(Value::as_object).is_some_and(|below| lists(below, rest)),
    }
}

/// The items of a list whose keys are these, with their places.
pub(super) fn items<'a>(list: &'a Value, keys: &str) -> Vec<(usize, &'a Value)> {
    let (Value::Array(items), Ok(Value::Object(keys))) = (list, serde_json::from_str(keys)) else { return Vec::new() };
    let matches = |item: &Value| keys.iter().all(|(key, value)| item.get(key).is_some_and(|found| same(found, value)));
    items.iter().enumerate().filter(|(_, item)| matches(item)).collect()
}

/// Where the items of a list are that our keys name, so that each key is not looked for in all of them.
pub(super) struct Index(HashMap<String, Vec<usize>>);

impl Index {
    /// Of the items that are named by the fields that these keys have.
    pub(super) fn new<'a>(list: Option<&Value>, keys: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<Vec<String>> = keys.filter_map(key_names).collect();
        names.sort_unstable();
        names.dedup();
        let items = list.and_then(Value::as_array).into_iter().flatten().enumerate();
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, item) in items {
            for names in &names {
                index.entry(key_text(names.iter().filter_map(|name| Some((name, item.get(name)?))))).or_default().push(place);
            }
        }
        Self(index)
    }

    /// The places of the items with these keys.
    pub(super) fn places(&self, keys: &str) -> &[usize] {
        let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(keys) else { return &[] };
        self.0.get(&key_text(keys.iter())).map_or(&[], Vec::as_slice)
    }
}

fn key_names(keys: &str) -> Option<Vec<String>> {
    Some(serde_json::from_str::<Map<String, Value>>(keys).ok()?.keys().cloned().collect())
}

fn key_text<'a>(keys: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    keys.map(|(name, value)| format!("{name:?}:{value};")).collect()
}

/// Whether two values mean the same: numbers by value, so that 1 is 1.0.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.as_f64() == b.as_f64() && a.as_f64().is_some_and(|number| number.abs() < 9e15))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b))),
        _ => a == b,
    }
}

/// What a step leads to; for an item, the first with its keys.
pub(super) fn follow<'a>(value: &'a Value, step: Step<'_>) -> Option<&'a Value> {
    match step {
        Step::Field(name) => value.get(name),
        Step::Item(keys) => items(value, keys).first().map(|(_, item)| *item),
        Step::Element(element) => {
            value.as_array()?.iter().find(|item| serde_json::from_str::<Value>(element).is_ok_and(|e| same(item, &e)))
        }
        Step::Index(place) => value.get(place),
    }
}

/// The paths of all that an entry holds as a whole, at most `most`.
pub(super) fn leaves(fields: &Map<String, Value>, most: usize) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    collect(fields, &mut Vec::new(), &mut found, most);
    found
}

fn collect(fields: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<Vec<String>>, most: usize) {
    if path.len() > DEEPEST {
        return;
    }
    for (key, below) in fields.iter().filter(|(key, _)| *key != SELF) {
        path.push(key.clone());
        match below.as_object() {
            Some(below) if !is_leaf(below) => collect(below, path, found, most),
            _ if found.len() < most => found.push(path.clone()),
            _ => {}
        }
        path.pop();
    }
}

/// A path as an operator reads it: `spec.template.spec.containers[name=web].image`, `data["a.b"]`, `spec.ports[port=80,protocol=TCP]`.
pub(super) fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for step in path.iter().filter_map(|step| Step::parse(step)) {
        match step {
            Step::Field(name) if is_plain(name) && text.is_empty() => text.push_str(name),
            Step::Field(name) if is_plain(name) => text.extend([".", name]),
            Step::Field(name) => text.push_str(&format!("[{name:?}]")),
            Step::Item(keys) => text.push_str(&format!("[{}]", shown_keys(keys))),
            Step::Element(element) => text.push_str(&format!("[{element}]")),
            Step::Index(place) => text.push_str(&format!("[{place}]")),
        }
    }
    text
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `name=web`, `port=80,protocol=TCP`.
pub(super) fn shown_keys(keys: &str) -> String {
    let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return keys.to_owned() };
    let pair = |(key, value): (&String, &Value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => format!("{key}={value}"),
    };
    keys.iter().map(pair).collect::<Vec<_>>().join(",")
}
