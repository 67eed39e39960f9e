//! What can be told of an object from its text in one pass, without making a tree of it: which one it is, and whether anything in it has changed
//! that matters to us. Most events are of controllers that write a status: of those no more is asked than how the object fares.
//!
//! It knows no kind, and reads nothing that it does not have to: what it calls the same is the same in every value that may be ours.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use crate::api::FIELD_MANAGER;

/// An object at first sight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    /// Counts the changes of its spec; 0 for kinds that don't.
    pub generation: i64,
    /// The app that its label names.
    pub app: String,
    /// The raw hash: of the text of all but its status, what the server counts, and entries of managed fields that are not ours. The same
    /// raw hash is the same projection. Never 0.
    pub raw: u64,
    /// Whether it ends the initial state of a watch; only a bookmark can.
    pub ends_state: bool,
}

/// Takes a glance at the text of an object.
///
/// # Errors
/// It is no JSON, or not that of an object.
pub(super) fn glance(text: &str) -> Result<Glance, serde_json::Error> {
    serde_json::from_str(text)
}

impl<'de> Deserialize<'de> for Glance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object).map(Sum::into_glance)
    }
}

/// A glance that is being taken.
struct Sum<'de> {
    glance: Glance,
    hash: Xxh3,
    /// The status, until it is known whether anything in it is ours: only kinds without the subresource let us apply it.
    status: Option<&'de RawValue>,
    owns_status: bool,
}

impl<'de> Sum<'de> {
    fn count(&mut self, key: &str, value: &'de RawValue) {
        self.hash.update(key.as_bytes());
        self.hash.update(value.get().as_bytes());
    }

    fn into_glance(mut self) -> Glance {
        if let Some(status) = self.status.filter(|_| self.owns_status) {
            self.count("status", status);
        }
        Glance { raw: self.hash.digest().max(1), ..self.glance }
    }

    fn metadata<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.glance.name = text(map)?,
            "namespace" => self.glance.namespace = text(map)?,
            "resourceVersion" => self.glance.version = text(map)?,
            "generation" => self.glance.generation = map.next_value::<Option<i64>>()?.unwrap_or_default(),
            "managedFields" => {
                let entries: Option<Vec<&'de RawValue>> = map.next_value()?;
                // Whose an entry is, is told from its text. One that only quotes us counts as well: that costs a second look and hides nothing.
                for entry in entries.into_iter().flatten().filter(|entry| holds(entry, FIELD_MANAGER)) {
                    self.owns_status |= holds(entry, r#""f:status""#);
                    self.count("entry", entry);
                }
            }
            key => {
                let value: &RawValue = map.next_value()?;
                self.count(key, value);
                self.note(key, value);
            }
        }
        Ok(())
    }

    fn note(&mut self, key: &str, value: &RawValue) {
        match key {
            "uid" => self.glance.uid = serde_json::from_str(value.get()).unwrap_or_default(),
            "labels" => self.glance.app = serde_json::from_str::<Labels>(value.get()).unwrap_or_default().app,
            "annotations" if value.get().contains("initial-events-end") => {
                let end: InitialEnd = serde_json::from_str(value.get()).unwrap_or_default();
                self.glance.ends_state = end.ended.as_deref() == Some("true");
            }
            _ => {}
        }
    }
}

/// Entries of managed fields are most of what is searched.
fn holds(value: &RawValue, words: &str) -> bool {
    memmem::find(value.get().as_bytes(), words.as_bytes()).is_some()
}

/// A text that is not there, or null, is empty.
fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    Ok(map.next_value::<Option<String>>()?.unwrap_or_default())
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Sum<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sum<'de>, A::Error> {
        let mut sum = Sum { glance: Glance::default(), hash: Xxh3::new(), status: None, owns_status: false };
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                // Which they are, the watch knows; items of pages lack them.
                "apiVersion" | "kind" => _ = map.next_value::<IgnoredAny>()?,
                "metadata" => sum = map.next_value_seed(Metadata(sum))?,
                "status" => sum.status = Some(map.next_value()?),
                key => {
                    let value = map.next_value()?;
                    sum.count(key, value);
                }
            }
        }
        Ok(sum)
    }
}

struct Metadata<'de>(Sum<'de>);

impl<'de> DeserializeSeed<'de> for Metadata<'de> {
    type Value = Sum<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sum<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'de> {
    type Value = Sum<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sum<'de>, A::Error> {
        let Self(mut sum) = self;
        while let Some(Key(key)) = map.next_key()? {
            sum.metadata(&key, &mut map)?;
        }
        Ok(sum)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(rename = "plimsoll.dev/app", default)]
    app: String,
}

#[derive(Default, Deserialize)]
struct InitialEnd {
    #[serde(rename = "k8s.io/initial-events-end")]
    ended: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::APP_LABEL;

    fn object() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}, "status": {"replicas": 1},
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
                "labels": {APP_LABEL: "shop", "a": "b"},
                "managedFields": [
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
                    {"manager": "plimsoll", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                ],
            },
        })
    }

    fn of(object: &Value) -> Glance {
        glance(&object.to_string()).unwrap()
    }

    /// Whether the raw hash tells the object from one with another value at a place.
    fn tells(pointer: &str, value: Value) -> bool {
        let mut changed = object();
        *changed.pointer_mut(pointer).unwrap() = value;
        of(&changed).raw != of(&object()).raw
    }

    #[test]
    fn which_one_it_is_stands_in_its_metadata() {
        let seen = of(&object());
        assert_eq!((&*seen.name, &*seen.namespace, &*seen.uid, &*seen.version, &*seen.app), ("web", "shop", "u", "7", "shop"));
        assert_eq!((seen.generation, seen.ends_state), (2, false));
    }

    #[test]
    fn what_others_count_and_own_leaves_the_raw_hash_as_it_is() {
        assert!(!tells("/status/replicas", json!(3)));
        assert!(!tells("/metadata/resourceVersion", json!("8")) && !tells("/metadata/generation", json!(3)));
        assert!(!tells("/metadata/managedFields/0", json!({"manager": "kubectl-edit"})));
    }

    #[test]
    fn all_that_may_matter_to_us_changes_the_raw_hash() {
        assert!(tells("/spec/replicas", json!(5)) && tells("/metadata/labels/a", json!("c")) && tells("/metadata/uid", json!("v")));
        assert!(tells("/metadata/managedFields/1/fieldsV1", json!({})), "our entry");
        let mut terminating = object();
        terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_ne!(of(&terminating).raw, of(&object()).raw);
    }

    #[test]
    fn a_status_that_we_apply_counts_wherever_it_stands() {
        let with = |replicas: i64| {
            let mut object = object();
            object["status"]["replicas"] = json!(replicas);
            object["metadata"]["managedFields"][1]["fieldsV1"] = json!({"f:status": {"f:replicas": {}}});
            of(&object).raw
        };
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn what_is_missing_or_null_is_empty_and_what_is_no_object_is_an_error() {
        assert_eq!(glance(r#"{"metadata": {"name": null, "labels": null, "managedFields": null}}"#).unwrap().name, "");
        assert_eq!(glance("{}").unwrap().uid, "");
        assert!(glance("[]").is_err() && glance(r#"{"metadata": 7}"#).is_err() && glance(r#"{"a": "#).is_err());
    }
}
