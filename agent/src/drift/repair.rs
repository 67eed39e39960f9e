//! Patches for what an apply can't put right: what others put inside something of ours, and what they put in the way of it.
//!
//! Each was found by trying (a member of a union, a renumbered port, a child of an empty map): the patch is written under a name of its own, the
//! apply follows, and then the entry of that name is taken off, for what it holds would stay when Git drops it.

use serde_json::{Map, Value, json};

use super::fields::{self, SELF, Step};
use super::policy::known_items;

/// The manager to whom the server gives everything when the managed fields had been emptied.
pub const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The most places that one patch changes.
const MOST: usize = 64;

/// A JSON patch after which an apply of `body` can put a live object right; none if nothing is known that would help. `refused` is the field that
/// the API server named when it refused the apply (`spec.ports[1].name`); none where the apply changed nothing.
pub fn repair(body: &Value, live: &Value, refused: Option<&str>) -> Option<Value> {
    let mut changes = match refused {
        Some(field) => replaced_list(body, live, field).into_iter().collect(),
        None => foreign_children(body, live),
    };
    changes.truncate(MOST);
    with_test(live, changes)
}

/// A JSON patch that takes the entries of these managers off; none if there are none.
pub fn drop_entries(live: &Value, managers: &[&str]) -> Option<Value> {
    let is_theirs = |entry: &Value| entry["operation"] == "Update" && managers.iter().any(|manager| entry["manager"] == *manager);
    let places = fields::entries(live).iter().enumerate().filter(|(_, entry)| is_theirs(entry)).map(|(place, _)| place);
    // From the end, so that the places of the others stay.
    let places: Vec<usize> = places.collect::<Vec<_>>().into_iter().rev().collect();
    with_test(live, places.iter().map(|place| json!({"op": "remove", "path": format!("/metadata/managedFields/{place}")})).collect())
}

/// Changes what was seen, or nothing.
pub(super) fn with_test(live: &Value, changes: Vec<Value>) -> Option<Value> {
    let version = live.pointer("/metadata/resourceVersion")?;
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
    (!changes.is_empty()).then(|| Value::Array(std::iter::once(test).chain(changes).collect()))
}

/// The outermost list on the way to a field that was refused, as Git has it.
fn replaced_list(body: &Value, live: &Value, field: &str) -> Option<Value> {
    let (list, _) = field.split_once('[')?;
    let pointer: String = list.split('.').map(|step| format!("/{}", escaped(step))).collect();
    let wanted = body.pointer(&pointer).filter(|wanted| wanted.is_array())?;
    live.pointer(&pointer)?;
    Some(json!({"op": "replace", "path": pointer, "value": wanted}))
}

/// What others have put into maps that Git has empty.
fn foreign_children(body: &Value, live: &Value) -> Vec<Value> {
    let mut removals = Vec::new();
    if let Some(listed) = fields::ours(live).and_then(fields::listed) {
        search(listed, body, live, "", &mut removals);
    }
    removals
}

fn search(listed: &Map<String, Value>, body: &Value, live: &Value, pointer: &str, removals: &mut Vec<Value>) {
    for (key, below) in listed.iter().filter(|(key, _)| *key != SELF) {
        let Some((wanted, there, pointer)) = Step::parse(key).and_then(|step| both(step, body, live, pointer)) else { continue };
        match below.as_object().filter(|below| !fields::is_leaf(below)) {
            Some(below) => search(below, wanted, there, &pointer, removals),
            None => removals.extend(children(wanted, there, &pointer)),
        }
    }
}

/// What a step leads to in Git and in the cluster, and the pointer to the latter.
fn both<'a>(step: Step<'_>, body: &'a Value, live: &'a Value, pointer: &str) -> Option<(&'a Value, &'a Value, String)> {
    match step {
        Step::Field(name) => Some((body.get(name)?, live.get(name)?, format!("{pointer}/{}", escaped(name)))),
        Step::Item(keys) => {
            let (place, there) = fields::items(live, keys).first().copied()?;
            Some((body.get(*known_items(body, keys).first()?)?, there, format!("{pointer}/{place}")))
        }
        Step::Element(_) | Step::Index(_) => None,
    }
}

fn children(wanted: &Value, there: &Value, pointer: &str) -> Vec<Value> {
    let (Value::Object(wanted), Value::Object(there)) = (wanted, there) else { return Vec::new() };
    let foreign = there.keys().filter(|_| wanted.is_empty());
    foreign.map(|key| json!({"op": "remove", "path": format!("{pointer}/{}", escaped(key))})).collect()
}

fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(fields: Value, spec: Value) -> Value {
        json!({"spec": spec, "metadata": {"resourceVersion": "7", "managedFields": [
            {"manager": "plimsoll-heal", "operation": "Update"}, {"manager": "plimsoll", "operation": "Apply", "fieldsV1": fields},
            {"manager": "before-first-apply", "operation": "Update"}]}})
    }

    #[test]
    fn a_foreign_child_of_an_empty_map_is_removed_and_nothing_else() {
        let fields = json!({"f:spec": {"f:volumes": {"k:{\"name\":\"d\"}": {".": {}, "f:emptyDir": {}, "f:name": {}}}, "f:selector": {}}});
        let spec = json!({"volumes": [{"name": "x"}, {"name": "d", "emptyDir": {"medium": "Memory"}}], "selector": {"a": "b", "c": "d"}});
        let body = json!({"spec": {"volumes": [{"name": "d", "emptyDir": {}}], "selector": {"a": "b"}}});
        let patch = repair(&body, &live(fields, spec), None).unwrap();
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
        assert_eq!(patch[1], json!({"op": "remove", "path": "/spec/volumes/1/emptyDir/medium"}));
        assert_eq!(patch.as_array().unwrap().len(), 2, "what Git has something in is put right by the apply");
    }

    #[test]
    fn a_list_that_was_refused_is_replaced() {
        let live = live(json!({}), json!({"ports": [{"name": "h", "port": 81}]}));
        let body = json!({"spec": {"ports": [{"name": "h", "port": 80}]}});
        let patch = repair(&body, &live, Some("spec.ports[1].name")).unwrap();
        assert_eq!(patch[1], json!({"op": "replace", "path": "/spec/ports", "value": [{"name": "h", "port": 80}]}));
        assert_eq!(repair(&body, &live, Some("spec.type")), None);
        assert_eq!(repair(&body, &live, Some("spec.others[0]")), None);
    }

    #[test]
    fn entries_are_taken_off_from_the_end() {
        let patch = drop_entries(&live(json!({}), json!({})), &["plimsoll-heal", BEFORE_FIRST_APPLY]).unwrap();
        let paths: Vec<_> = patch.as_array().unwrap()[1..].iter().map(|op| op["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/metadata/managedFields/2", "/metadata/managedFields/0"]);
        assert_eq!(drop_entries(&json!({"metadata": {"resourceVersion": "1"}}), &["plimsoll-heal"]), None);
    }
}
