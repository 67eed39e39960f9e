//! The projection hash of a live object: its values at the paths that our entry lists, with the order of our items. It tells whether anything of
//! ours has changed, not what.
//!
//! Left out on purpose: the order of sets, which means nothing (a set list that was reordered would be a false alarm).

use std::collections::HashSet;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use super::fields::{self, DEEPEST, SELF, Step};

/// Whose fields an object's managed fields say it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// There is no entry of ours: somebody has reset them, or taken all that was ours.
    #[default]
    Missing,
    /// Ours, in the version in which the object was read.
    Ours,
    /// Ours, in another version; this is its [`version_hash`]. Its paths belong to that version and can't be read in this one.
    Other(u64),
}

/// What of ours a live object holds, small enough to be kept for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Print {
    /// The projection hash; never 0.
    pub hash: u64,
    /// Whether we have an entry.
    pub entry: Entry,
}

/// The print of a live object. `apiVersion` must be that in which it was read.
pub fn print(live: &Value) -> Print {
    let mut hash = Xxh3::new();
    text(&mut hash, live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default());
    let Some(entry) = fields::ours(live) else { return Print { hash: never_nought(&hash), entry: Entry::Missing } };
    let version = entry["apiVersion"].as_str().unwrap_or_default();
    text(&mut hash, version);
    if live.get("apiVersion").and_then(Value::as_str).is_some_and(|read| read != version) {
        let kind = live.get("kind").and_then(Value::as_str).unwrap_or_default();
        return Print { hash: never_nought(&hash), entry: Entry::Other(version_hash(version, kind)) };
    }
    if let Some(listed) = fields::listed(entry) {
        project(&mut hash, listed, Some(live), 0);
    }
    Print { hash: never_nought(&hash), entry: Entry::Ours }
}

/// Names a kind in a version.
pub fn version_hash(api_version: &str, kind: &str) -> u64 {
    let mut hash = Xxh3::new();
    text(&mut hash, api_version);
    text(&mut hash, kind);
    hash.digest()
}

/// A hash of all in an object that somebody may have written: not its status, nor what the server counts. What differs in anything that matters
/// to us differs here.
pub fn raw(live: &Value) -> u64 {
    let mut hash = Xxh3::new();
    let Some(fields) = live.as_object() else { return 0 };
    for (key, value) in fields.iter().filter(|(key, _)| !["status", "metadata", "apiVersion", "kind"].contains(&key.as_str())) {
        text(&mut hash, key);
        canonical(&mut hash, value, 0);
    }
    for key in ["uid", "labels", "annotations", "finalizers", "ownerReferences"] {
        canonical(&mut hash, live.pointer(&format!("/metadata/{key}")).unwrap_or(&Value::Null), 0);
    }
    hash.digest()
}

fn never_nought(hash: &Xxh3) -> u64 {
    hash.digest().max(1)
}

/// Goes along the listed fields; `live` is what is there, none if nothing is.
fn project(hash: &mut Xxh3, listed: &Map<String, Value>, live: Option<&Value>, depth: usize) {
    if depth > DEEPEST {
        // Nobody nests so deep; if somebody does, all of it counts.
        return live.iter().for_each(|live| text(hash, &live.to_string()));
    }
    let index = fields::Index::new(live, listed.keys().filter_map(|key| key.strip_prefix("k:")));
    let elements = Elements::of(listed, live);
    for (key, below) in listed {
        text(hash, key);
        let Some(step) = Step::parse(key) else {
            hash.update(&[u8::from(key == SELF && live.is_some())]);
            continue;
        };
        match step {
            Step::Element(element) => hash.update(&[u8::from(elements.has(element))]),
            Step::Item(keys) => {
                let found = index.places(keys);
                // A key that is there twice is not what we applied.
                hash.update(&[u8::try_from(found.len()).unwrap_or(u8::MAX)]);
                descend(hash, below, found.first().and_then(|place| live?.get(place)), depth);
            }
            step => descend(hash, below, live.and_then(|live| fields::follow(live, step)), depth),
        }
    }
    order(hash, listed, &index);
}

fn descend(hash: &mut Xxh3, below: &Value, live: Option<&Value>, depth: usize) {
    match below.as_object().filter(|below| !fields::is_leaf(below)) {
        Some(below) => {
            hash.update(b"{");
            project(hash, below, live, depth + 1);
            hash.update(b"}");
        }
        None => match live {
            Some(live) => canonical(hash, live, depth),
            None => hash.update(b"-"),
        },
    }
}

/// The order of our items among each other: it may matter (init containers, variables that refer to others), and no entry tells it.
fn order(hash: &mut Xxh3, listed: &Map<String, Value>, index: &fields::Index) {
    let keys = listed.keys().filter_map(|key| key.strip_prefix("k:"));
    let mut places: Vec<(usize, usize)> = keys.enumerate().filter_map(|(ours, keys)| Some((*index.places(keys).first()?, ours))).collect();
    places.sort_unstable();
    places.iter().for_each(|(_, ours)| hash.update(&ours.to_le_bytes()));
}

/// The elements of a set, as JSON text; empty where nothing of ours is one.
struct Elements(HashSet<String>);

impl Elements {
    fn of(listed: &Map<String, Value>, live: Option<&Value>) -> Self {
        let wanted = listed.keys().any(|key| key.starts_with("v:"));
        let items = live.and_then(Value::as_array).filter(|_| wanted);
        Self(items.into_iter().flatten().map(Value::to_string).collect())
    }

    fn has(&self, element: &str) -> bool {
        serde_json::from_str::<Value>(element).is_ok_and(|element| self.0.contains(&element.to_string()))
    }
}

/// A value so that no two different ones look the same: with its type and its length; maps are sorted, numbers are told by value.
fn canonical(hash: &mut Xxh3, value: &Value, depth: usize) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(yes) => hash.update(if *yes { b"t" } else { b"f" }),
        Value::Number(number) => self::number(hash, number),
        Value::String(string) => text(hash, string),
        _ if depth > DEEPEST => text(hash, &value.to_string()),
        Value::Array(items) => {
            hash.update(b"[");
            hash.update(&items.len().to_le_bytes());
            items.iter().for_each(|item| canonical(hash, item, depth + 1));
        }
        Value::Object(map) => {
            hash.update(b"{");
            hash.update(&map.len().to_le_bytes());
            for (key, value) in map {
                text(hash, key);
                canonical(hash, value, depth + 1);
            }
        }
    }
}

fn number(hash: &mut Xxh3, number: &serde_json::Number) {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small enough")]
    let whole =
        number.as_i64().or_else(|| number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|float| float as i64));
    match whole {
        Some(whole) => {
            hash.update(b"i");
            hash.update(&whole.to_le_bytes());
        }
        None => {
            hash.update(b"d");
            text(hash, &number.to_string());
        }
    }
}

fn text(hash: &mut Xxh3, text: &str) {
    hash.update(b"s");
    hash.update(&text.len().to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(fields: Value, spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "X", "spec": spec, "metadata": {"uid": "u", "managedFields": [
            {"manager": "other", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:foreign": {}}}},
            {"manager": "plimsoll", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields},
        ]}})
    }

    fn differ(fields: &Value, a: Value, b: Value) -> bool {
        print(&live(fields.clone(), a)).hash != print(&live(fields.clone(), b)).hash
    }

    #[test]
    fn only_what_is_listed_counts() {
        let ours = json!({"f:spec": {"f:replicas": {}}});
        assert!(differ(&ours, json!({"replicas": 3}), json!({"replicas": 5})));
        assert!(differ(&ours, json!({"replicas": 3}), json!({})));
        assert!(differ(&ours, json!({"replicas": null}), json!({})));
        assert!(differ(&ours, json!({"replicas": 3}), json!({"replicas": "3"})));
        assert!(!differ(&ours, json!({"replicas": 3}), json!({"replicas": 3.0, "foreign": 1})));
    }

    #[test]
    fn what_is_held_as_a_whole_counts_as_a_whole() {
        let ours = json!({"f:spec": {"f:args": {}, "f:empty": {}}});
        assert!(differ(&ours, json!({"args": ["a", "b"]}), json!({"args": ["b", "a"]})));
        assert!(differ(&ours, json!({"empty": {}}), json!({"empty": {"medium": "Memory"}})));
    }

    #[test]
    fn the_order_of_our_items_counts_and_that_of_foreign_ones_does_not() {
        let ours =
            json!({"f:spec": {"f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}}, "k:{\"name\":\"b\"}": {".": {}, "f:name": {}}}}});
        let list = |names: &[&str]| json!({"list": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        assert!(differ(&ours, list(&["a", "b"]), list(&["b", "a"])));
        assert!(differ(&ours, list(&["a", "b"]), list(&["a", "a", "b"])), "a key that is there twice");
        assert!(differ(&ours, list(&["a", "b"]), list(&["a"])));
        assert!(!differ(&ours, list(&["a", "b"]), list(&["x", "a", "y", "b"])));
    }

    #[test]
    fn a_set_has_no_order() {
        let ours = json!({"f:spec": {"f:set": {"v:\"a\"": {}, "v:\"b\"": {}}}});
        assert!(!differ(&ours, json!({"set": ["a", "b"]}), json!({"set": ["b", "c", "a"]})));
        assert!(differ(&ours, json!({"set": ["a", "b"]}), json!({"set": ["a"]})));
    }

    #[test]
    fn an_entry_of_ours_is_an_apply_of_the_main_resource_in_the_version_that_was_read() {
        let entry =
            |entry: Value, version: &str| print(&json!({"apiVersion": version, "kind": "X", "metadata": {"managedFields": [entry]}})).entry;
        let ours = json!({"manager": "plimsoll", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {}});
        assert_eq!(entry(ours.clone(), "v1"), Entry::Ours);
        assert_eq!(entry(ours, "v2"), Entry::Other(version_hash("v1", "X")));
        assert_eq!(entry(json!({"manager": "plimsoll", "operation": "Update", "apiVersion": "v1"}), "v1"), Entry::Missing);
        assert_eq!(entry(json!({"manager": "plimsoll", "operation": "Apply", "subresource": "scale"}), "v1"), Entry::Missing);
        assert_eq!(entry(json!(7), "v1"), Entry::Missing);
        assert_eq!(print(&json!(null)).entry, Entry::Missing);
    }

    #[test]
    fn the_status_is_not_in_the_raw_hash_and_all_else_is() {
        let object = json!({"spec": {"a": 1}, "status": {"x": 1}, "metadata": {"labels": {"l": "1"}, "resourceVersion": "1"}});
        let with = |pointer: &str, value: Value| {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            raw(&changed) != raw(&object)
        };
        assert!(!with("/status/x", json!(2)) && !with("/metadata/resourceVersion", json!("2")));
        assert!(with("/spec/a", json!(2)) && with("/metadata/labels/l", json!("2")));
    }
}
