//! What may be done about drift, as Git says: for a Sync, an app, or an object; and which fields are left to others.

use std::collections::BTreeMap;

use overlays::object::ObjectId;
use serde_json::{Map, Value};

use super::fields::{self, Step};
use crate::api::{DRIFT_ANNOTATION, IGNORE_ANNOTATION};

/// The most paths of another manager that are looked at.
const MOST: usize = 4096;

/// What is done about an object that has drifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is put right, and told.
    #[default]
    Heal,
    /// It is told, and left as it is until Git changes it.
    Report,
    /// Nobody is told, and it is left as it is until Git changes it.
    Ignore,
}

impl Mode {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "heal" => Ok(Self::Heal),
            "report" => Ok(Self::Report),
            "ignore" => Ok(Self::Ignore),
            _ => Err(format!("`{word}` is not known; it may be heal, report or ignore")),
        }
    }
}

/// What is left to others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    /// A field and all below it: a JSON pointer (RFC 6901) whose steps through lists may be `*` or the value of an item's key.
    Pointer(Vec<String>),
    /// Whatever this field manager takes.
    Manager(String),
}

/// What is done about drift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is done.
    pub mode: Mode,
    left: Vec<Left>,
}

impl Policy {
    /// That of a Sync, as `spec.drift` has it.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn of_sync(word: Option<&str>) -> Result<Self, String> {
        let mode = match word {
            Some("ignore") => return Err("`ignore` is said of an app or an object; for a Sync it may be heal or report".to_owned()),
            Some(word) => Mode::parse(word)?,
            None => Mode::default(),
        };
        Ok(Self { mode, left: Vec::new() })
    }

    /// That of an object: its own annotations go before those of its app's kustomization, and these before the Sync. What is left to others adds up.
    ///
    /// # Errors
    /// An annotation that can't be read, by name.
    pub fn of<'a>(&self, app: &'a BTreeMap<String, String>, object: impl Fn(&str) -> Option<&'a str>) -> Result<Self, String> {
        let of_app = |key: &str| app.get(key).map(String::as_str);
        let mut policy = self.clone();
        if let Some(word) = object(DRIFT_ANNOTATION).or_else(|| of_app(DRIFT_ANNOTATION)) {
            policy.mode = Mode::parse(word).map_err(|error| format!("annotation {DRIFT_ANNOTATION}: {error}"))?;
        }
        for text in [object(IGNORE_ANNOTATION), of_app(IGNORE_ANNOTATION)].into_iter().flatten() {
            policy.left.extend(left(text).map_err(|error| format!("annotation {IGNORE_ANNOTATION}: {error}"))?);
        }
        Ok(policy)
    }

    /// As this, with the number of replicas left to others: an autoscaler sets it.
    #[must_use]
    pub fn without_replicas(mut self) -> Self {
        self.left.push(Left::Pointer(vec!["spec".to_owned(), "replicas".to_owned()]));
        self
    }

    /// Whether anything is left to others.
    pub fn leaves_something(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether a field is left to a manager.
    pub fn leaves(&self, path: &[String], manager: Option<&str>) -> bool {
        self.left.iter().any(|left| match left {
            Left::Pointer(steps) => points_at(steps, path),
            Left::Manager(name) => manager == Some(name),
        })
    }
}

/// Reads `/spec/replicas, manager:cluster-autoscaler`.
fn left(text: &str) -> Result<Vec<Left>, String> {
    let one = |text: &str| match (text.strip_prefix("manager:"), text.strip_prefix('/')) {
        (Some(name), _) if !name.is_empty() => Ok(Left::Manager(name.to_owned())),
        (_, Some(pointer)) if pointer.split('/').any(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit())) => {
            Err(format!("`{text}` counts items of a list, whose places change; write the item's name, or *"))
        }
        (_, Some(pointer)) if !pointer.is_empty() => {
            Ok(Left::Pointer(pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
        }
        _ => Err(format!("`{text}` is neither a JSON pointer, as /spec/replicas, nor a field manager, as manager:cluster-autoscaler")),
    };
    text.split([',', '\n']).map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
}

/// Whether a pointer leads to the field, or to something that it is part of.
fn points_at(pointer: &[String], path: &[String]) -> bool {
    pointer.len() <= path.len() && pointer.iter().zip(path).all(|(wanted, step)| step_is(wanted, step))
}

fn step_is(wanted: &str, step: &str) -> bool {
    match Step::parse(step) {
        Some(Step::Field(name)) => name == wanted,
        Some(Step::Item(keys)) => {
            let values = serde_json::from_str::<BTreeMap<String, Value>>(keys).unwrap_or_default();
            wanted == "*"
                || values.values().any(|value| value.as_str() == Some(wanted) || (value.is_number() && *value.to_string() == *wanted))
        }
        Some(Step::Element(_) | Step::Index(_)) => wanted == "*",
        None => false,
    }
}

/// What is sent for an object that is there: without the fields that are left to others, once others have taken them. Until then they are ours
/// as Git has them; left out earlier, the server would remove them.
pub fn sendable(body: &Value, policy: &Policy, live: Option<&Value>) -> Value {
    let mut body = body.clone();
    let Some(live) = live.filter(|_| policy.leaves_something()) else { return body };
    let ours = fields::ours(live).and_then(fields::listed);
    for entry in fields::entries(live).iter().filter(|entry| !fields::is_ours(entry)) {
        let manager = entry.get("manager").and_then(Value::as_str);
        for path in fields::listed(entry).map(|listed| fields::leaves(listed, MOST)).unwrap_or_default() {
            if policy.leaves(&path, manager) && !ours.is_some_and(|ours| fields::lists(ours, &path)) {
                remove(&mut body, &path);
            }
        }
    }
    body
}

/// Takes a field out; of an item of a list only what is below it, for without its keys it would be another.
fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match (Step::parse(first), value) {
        (Some(Step::Field(name)), Value::Object(map)) if rest.is_empty() => _ = map.remove(name),
        (Some(Step::Field(name)), Value::Object(map)) => {
            let Some(below) = map.get_mut(name) else { return };
            remove(below, rest);
            // An empty map is a word of its own: that there is to be one.
            if below.as_object().is_some_and(Map::is_empty) {
                map.remove(name);
            }
        }
        (Some(Step::Item(keys)), list @ Value::Array(_)) if !rest.is_empty() => {
            let place = known_items(list, keys).first().copied();
            if let Some(item) = place.and_then(|place| list.get_mut(place)) {
                remove(item, rest);
            }
        }
        _ => {}
    }
}

/// The places of the items of a list in Git that may be those with these keys: keys that Git leaves to the server's defaults are not compared.
pub(super) fn known_items(list: &Value, keys: &str) -> Vec<usize> {
    let (Value::Array(items), Ok(Value::Object(keys))) = (list, serde_json::from_str(keys)) else { return Vec::new() };
    let matches = |item: &Value| {
        keys.iter().all(|(key, value)| item.get(key).is_none_or(|found| fields::same(found, value)))
            && keys.keys().any(|key| item.get(key).is_some())
    };
    items.iter().enumerate().filter(|(_, item)| matches(item)).map(|(place, _)| place).collect()
}

/// Whether an object sets the number of replicas of another.
pub fn is_autoscaler(id: &ObjectId) -> bool {
    (id.kind == "HorizontalPodAutoscaler" && id.group == "autoscaling") || (id.kind == "ScaledObject" && id.group == "keda.sh")
}

/// The kind and the name, in its own namespace, of what an autoscaler scales.
pub fn scaled(autoscaler: &Value) -> Option<(String, String)> {
    let target = autoscaler.pointer("/spec/scaleTargetRef")?;
    let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
    Some((kind.to_owned(), target.get("name")?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(annotations: &[(&str, &str)]) -> Result<Policy, String> {
        let app = BTreeMap::from([(DRIFT_ANNOTATION.to_owned(), "report".to_owned())]);
        Policy::default().of(&app, |key| annotations.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    fn path(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn an_object_goes_before_its_app_and_that_before_the_sync() {
        assert_eq!(policy(&[]).unwrap().mode, Mode::Report);
        assert_eq!(policy(&[(DRIFT_ANNOTATION, "ignore")]).unwrap().mode, Mode::Ignore);
        assert_eq!(Policy::of_sync(None).unwrap().mode, Mode::Heal);
        assert!(policy(&[(DRIFT_ANNOTATION, "Heal")]).unwrap_err().contains("plimsoll.dev/drift: `Heal` is not known"));
    }

    #[test]
    fn a_field_is_left_by_its_pointer_or_by_who_takes_it() {
        let policy = policy(&[(IGNORE_ANNOTATION, "/spec/replicas, /spec/containers/web/image\nmanager:vpa")]).unwrap();
        assert!(policy.leaves(&path(&["f:spec", "f:replicas"]), None));
        assert!(policy.leaves(&path(&["f:spec", "f:containers", "k:{\"name\":\"web\"}", "f:image"]), Some("x")));
        assert!(!policy.leaves(&path(&["f:spec", "f:containers", "k:{\"name\":\"api\"}", "f:image"]), Some("x")));
        assert!(policy.leaves(&path(&["f:spec", "f:paused"]), Some("vpa")));
        assert!(!policy.leaves(&path(&["f:spec"]), None), "only part of it is left");
        assert!(self::policy(&[(IGNORE_ANNOTATION, "spec.replicas")]).unwrap_err().contains("neither a JSON pointer"));
    }

    #[test]
    fn what_is_left_to_others_is_sent_until_somebody_takes_it() {
        let policy = Policy::default().without_replicas();
        let body = json!({"spec": {"replicas": 3, "paused": true}});
        let live = |ours: Value, theirs: Value| {
            json!({"metadata": {"managedFields": [
                {"manager": "plimsoll", "operation": "Apply", "fieldsV1": ours}, {"manager": "hpa", "operation": "Update", "fieldsV1": theirs}]}})
        };
        let (replicas, paused) = (json!({"f:spec": {"f:replicas": {}}}), json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(sendable(&body, &policy, None), body);
        assert_eq!(sendable(&body, &policy, Some(&live(replicas.clone(), paused.clone()))), body, "nobody has taken it");
        assert_eq!(sendable(&body, &policy, Some(&live(replicas.clone(), replicas.clone()))), body, "it is shared");
        assert_eq!(sendable(&body, &policy, Some(&live(paused.clone(), replicas.clone()))), json!({"spec": {"paused": true}}));
        let only = json!({"kind": "X", "spec": {"replicas": 3}});
        assert_eq!(sendable(&only, &policy, Some(&live(paused, replicas.clone()))), json!({"kind": "X"}), "no empty map is left");
        let empty = live(json!({"f:spec": {}}), replicas);
        assert_eq!(sendable(&only, &policy, Some(&empty)), json!({"kind": "X"}), "an empty map of ours holds nothing of others");
    }
}
