//! What of an object is ours and how it stands, read from its managed fields: by the tests' own means, so that a mistake of the agent's is none
//! of theirs. It knows no server.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Result, Trouble};
use serde_json::Value;

use super::told::TRACELESS;

/// The field manager of the agent.
pub(crate) const OURS: &str = "plimsoll";

/// Values by path, as `spec.template.spec.containers[name=c].image`; the order of our items by the list's path and [`ORDER`].
pub(crate) type Projection = BTreeMap<String, Value>;

/// Ends the path of an order.
pub(crate) const ORDER: &str = " order";

/// The entry that the API server makes when an object without any is applied; it keeps alive what Git drops.
pub(crate) const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Stands for an item whose key is there more than once.
const DOUBLE: &str = "more than one";

/// The entry that our own apply has left; none if it was taken away.
pub(crate) fn entry(object: &Value) -> Option<&Value> {
    entries(object).find(|entry| is_our_apply(entry))
}

/// Entries of ours that no apply of ours has left: another's under our name, or what a heal has forgotten.
pub(crate) fn stray(object: &Value) -> Vec<String> {
    let ours = |entry: &&Value| entry["manager"].as_str().is_some_and(|name| name.starts_with(OURS) || name == BEFORE_FIRST_APPLY);
    entries(object).filter(ours).filter(|entry| !is_our_apply(entry)).map(author).collect()
}

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten()
}

fn is_our_apply(entry: &Value) -> bool {
    entry["manager"] == OURS && entry["operation"] == "Apply" && entry["subresource"].is_null()
}

fn author(entry: &Value) -> String {
    let name = entry["manager"].as_str().unwrap_or_default();
    match entry["subresource"].as_str() {
        Some(subresource) => format!("{name} ({subresource})"),
        None if entry["operation"] == "Apply" => format!("{name} (Apply)"),
        None => name.to_owned(),
    }
}

/// How `live` stands at the paths that `owner`'s entry of ours names.
pub(crate) fn projection(owner: &Value, live: &Value) -> Projection {
    let mut all = Projection::new();
    if let Some(entry) = entry(owner) {
        walk(&entry["fieldsV1"], Some(live), "", &mut all);
    }
    all
}

fn walk(fields: &Value, live: Option<&Value>, path: &str, all: &mut Projection) {
    let children: Vec<(&String, &Value)> = fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".").collect();
    if children.is_empty() {
        all.insert(path.to_owned(), live.cloned().unwrap_or_default());
    }
    let mut positions = Vec::new();
    for (key, fields) in children {
        let Some((kind, key)) = key.split_once(':') else { continue };
        match kind {
            "f" => walk(fields, live.and_then(|live| live.get(key)), &joined(path, key), all),
            "k" => {
                let item = Item::new(key);
                let found: Vec<usize> = item.positions(live);
                if found.len() > 1 {
                    all.insert(format!("{path}{item}"), DOUBLE.into());
                    continue;
                }
                positions.extend(found.first().map(|at| (*at, item.to_string())));
                walk(fields, found.first().and_then(|at| live?.get(at)), &format!("{path}{item}"), all);
            }
            // An element of a set: its order says nothing.
            _ => {
                let held = live.and_then(Value::as_array).is_some_and(|items| items.iter().any(|item| is_element(item, key)));
                all.insert(format!("{path}[{key}]"), held.into());
            }
        }
    }
    if positions.len() > 1 {
        positions.sort();
        all.insert(format!("{path}{ORDER}"), positions.into_iter().map(|(_, item)| item).collect());
    }
}

fn joined(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match (path, plain) {
        (_, false) => format!("{path}[{key:?}]"),
        ("", true) => key.to_owned(),
        (_, true) => format!("{path}.{key}"),
    }
}

/// The keys of an item of a list, as `{"name":"c"}`; it is written `[name=c]`.
struct Item(BTreeMap<String, Value>);

impl Item {
    fn new(key: &str) -> Self {
        Self(serde_json::from_str(key).unwrap_or_default())
    }

    fn positions(&self, list: Option<&Value>) -> Vec<usize> {
        let items = list.and_then(Value::as_array).into_iter().flatten().enumerate();
        // A protocol that is not said is TCP, and the entry says it.
        items.filter(|(_, item)| self.0.iter().all(|(key, value)| item.get(key) == Some(value))).map(|(at, _)| at).collect()
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
        write!(f, "[{}]", keys.join(","))
    }
}

/// A value as it is told: a text as it is, everything else as JSON.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What stands at a path; none if there is nothing.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = object;
    for step in steps(path) {
        found = match step {
            Step::Field(key) => found.get(key)?,
            // A key that holds a dot is written as an element is: `labels["app.kubernetes.io/name"]`.
            Step::Item(keys) if found.is_object() => found.get(keys.trim_matches('"'))?,
            Step::Item(keys) => found.as_array()?.iter().find(|item| is_item(item, keys))?,
        };
    }
    Some(found)
}

enum Step<'a> {
    Field(&'a str),
    Item(&'a str),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((keys, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            steps.push(Step::Item(keys));
            rest = after;
        } else {
            let trimmed = rest.strip_prefix('.').unwrap_or(rest);
            let end = trimmed.find(['.', '[']).unwrap_or(trimmed.len());
            steps.push(Step::Field(&trimmed[..end]));
            rest = &trimmed[end..];
        }
    }
    steps
}

/// Whether an item of a list is `name=c`, `port=80,protocol=TCP`, or, in a set, the element itself, as JSON.
fn is_item(item: &Value, keys: &str) -> bool {
    let has = |pair: &str| pair.split_once('=').is_some_and(|(key, value)| item.get(key).is_some_and(|found| text(found) == value));
    if item.is_object() { keys.split(',').all(has) } else { is_element(item, keys) }
}

fn is_element(item: &Value, json: &str) -> bool {
    serde_json::from_str::<Value>(json).is_ok_and(|element| *item == element)
}

/// Whether two paths are the same, or one leads to the other.
pub(crate) fn is_related(one: &str, other: &str) -> bool {
    let leads = |to: &str, from: &str| to.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ' ']));
    leads(one, other) || leads(other, one)
}

/// Our paths whose value or order is another.
pub(crate) fn changed(before: &Value, after: &Value) -> BTreeSet<String> {
    let (was, is) = (projection(before, before), projection(before, after));
    // Where an item has gone or come twice, the order of the others is the same as far as it can be said.
    let of_both = |order: &Value, other: &Value| -> Vec<Value> {
        let other = other.as_array().cloned().unwrap_or_default();
        order.as_array().into_iter().flatten().filter(|item| other.contains(item)).cloned().collect()
    };
    let differs = |path: &str, was: &Value| match is.get(path) {
        Some(is) if path.ends_with(ORDER) => of_both(was, is) != of_both(is, was),
        None if path.ends_with(ORDER) => false,
        Some(is) => is != was,
        None => true,
    };
    let mut changed: BTreeSet<String> = was.iter().filter(|(path, value)| differs(path, value)).map(|(path, _)| path.clone()).collect();
    changed.extend(is.keys().filter(|path| !was.contains_key(*path) && !path.ends_with(ORDER)).cloned());
    changed
}

/// Whether a path leads to an item whose key is there more than once.
pub(crate) fn is_double(object: &Value, path: &str) -> bool {
    let Some((list, keys)) = path.strip_suffix(']').and_then(|path| path.rsplit_once('[')) else { return false };
    let items = at(object, list).and_then(Value::as_array).into_iter().flatten();
    items.filter(|item| is_item(item, keys)).count() > 1
}

/// Who else holds a path now, by the entries of the API server; a writer that leaves no trace if nobody does.
pub(crate) fn holders(object: &Value, path: &str) -> BTreeSet<String> {
    let mut holders = BTreeSet::new();
    for entry in entries(object).filter(|entry| !is_our_apply(entry)) {
        let mut held = Projection::new();
        walk(&entry["fieldsV1"], Some(object), "", &mut held);
        if held.keys().any(|held| is_related(held, path)) {
            holders.insert(author(entry));
        }
    }
    if holders.is_empty() {
        holders.insert(TRACELESS.to_owned());
    }
    holders
}

/// Whether an object has all that a part of it says; `null` is a field that is not there, a list is the whole list.
pub(crate) fn holds(object: &Value, part: &Value) -> Result {
    let Value::Object(part) = part else {
        return if object == part { Ok(()) } else { Err(Trouble::new(format!("{object} instead of {part}"))) };
    };
    for (key, part) in part {
        match object.get(key) {
            None if part.is_null() => {}
            None => return Err(Trouble::new(format!("no `{key}`"))),
            Some(found) => holds(found, part).map_err(|error| error.while_doing(key))?,
        }
    }
    Ok(())
}

/// Whether an object is as it was applied: our values, their order, and our entry, and nothing else under our name.
pub(crate) fn is_restored(before: &Value, now: &Value) -> Result {
    let changed = changed(before, now);
    let stray = stray(now);
    if !changed.is_empty() {
        return Err(Trouble::new(format!("{} not as Git says", Vec::from_iter(changed).join(", "))));
    }
    if !stray.is_empty() {
        return Err(Trouble::new(format!("entries of {} are left", stray.join(", "))));
    }
    // Not one by one: a map of which a new schema has made one value has one path only.
    let (held, holds) = (projection(before, now), projection(now, now));
    let lost = held.keys().find(|path| !holds.keys().any(|held| is_related(held, path)));
    let more = holds.keys().find(|path| !held.keys().any(|held| is_related(held, path)));
    if let Some(path) = lost.or(more) {
        return Err(Trouble::new(format!("our entry has lost or gained {path}")));
    }
    Ok(())
}
