//! What `kubectl apply` has left in an object that is ours from now on: it holds its fields for ever, so that none of them would go when Git drops
//! it, and those that Git never had would stay unseen.

use serde_json::{Map, Value, json};

use super::fields;
use super::repair::{BEFORE_FIRST_APPLY, with_test};

/// Who applies what people write: what they held is Git's word now, also where Git has it no more. Of `kubectl edit` and its like nothing is taken
/// over: that is what others have changed.
const APPLIERS: [(&str, &str); 2] = [("kubectl-client-side-apply", "Update"), ("kubectl", "Apply")];

/// A JSON patch that makes the fields ours which `kubectl apply` holds in an object that we have applied for the first time, so that our next apply
/// takes away those that Git does not have; none if there are none.
///
/// Where the server had to invent a holder of everything (before-first-apply) only that is taken off, for it holds what the server has added, too.
pub fn adoption(live: &Value) -> Option<Value> {
    let entries = fields::entries(live);
    let (place, ours) = entries.iter().enumerate().find(|(_, entry)| fields::is_ours(entry))?;
    let leaving: Vec<usize> = (0..entries.len()).filter(|at| is_applier(&entries[*at]) || is_invented(&entries[*at])).collect();
    let mut listed = fields::listed(ours)?.clone();
    // Paths of another version can't be read in ours.
    let readable = |entry: &&Value| is_applier(entry) && entry["apiVersion"] == ours["apiVersion"];
    leaving.iter().map(|at| &entries[*at]).filter(readable).filter_map(fields::listed).for_each(|theirs| merge(&mut listed, theirs));
    let mut changes = vec![json!({"op": "replace", "path": format!("/metadata/managedFields/{place}/fieldsV1"), "value": listed})];
    // From the end, so that the places of the others stay.
    changes.extend(leaving.iter().rev().map(|at| json!({"op": "remove", "path": format!("/metadata/managedFields/{at}")})));
    with_test(live, if leaving.is_empty() { Vec::new() } else { changes })
}

fn is_applier(entry: &Value) -> bool {
    let is_main = entry.get("subresource").is_none_or(|name| name == "");
    is_main && APPLIERS.iter().any(|(manager, operation)| entry["manager"] == *manager && entry["operation"] == *operation)
}

fn is_invented(entry: &Value) -> bool {
    entry["manager"] == BEFORE_FIRST_APPLY && entry["operation"] == "Update"
}

/// Adds what is listed in `theirs`. The server nests fields no deeper than it nests objects.
fn merge(ours: &mut Map<String, Value>, theirs: &Map<String, Value>) {
    for (step, below) in theirs {
        match (ours.get_mut(step).and_then(Value::as_object_mut), below.as_object()) {
            (Some(ours), Some(theirs)) => merge(ours, theirs),
            (None, _) => drop(ours.insert(step.clone(), below.clone())),
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    fn live(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn what_kubectl_apply_holds_becomes_ours_and_what_others_hold_does_not() {
        let ours = entry("plimsoll", "Apply", json!({"f:data": {".": {}, "f:a": {}}}));
        let theirs = entry("kubectl-client-side-apply", "Update", json!({"f:data": {".": {}, "f:a": {}, "f:old": {}}, "f:type": {}}));
        let edited = entry("kubectl-edit", "Update", json!({"f:data": {"f:edited": {}}}));
        assert_eq!(
            adoption(&live(&[edited.clone(), theirs, ours.clone()])),
            Some(json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "replace", "path": "/metadata/managedFields/2/fieldsV1", "value": {"f:data": {".": {}, "f:a": {}, "f:old": {}}, "f:type": {}}},
                {"op": "remove", "path": "/metadata/managedFields/1"},
            ]))
        );
        assert_eq!(adoption(&live(&[edited, ours])), None);
    }

    #[test]
    fn of_everything_and_of_another_version_nothing_becomes_ours() {
        let ours = entry("plimsoll", "Apply", json!({"f:data": {}}));
        let mut other_version = entry("kubectl", "Apply", json!({"f:old": {}}));
        other_version["apiVersion"] = json!("v1beta1");
        let patch = adoption(&live(&[entry("before-first-apply", "Update", json!({"f:status": {}})), ours, other_version])).unwrap();
        assert_eq!(patch[1]["value"], json!({"f:data": {}}));
        assert_eq!((&patch[2]["path"], &patch[3]["path"]), (&json!("/metadata/managedFields/2"), &json!("/metadata/managedFields/0")));
    }

    #[test]
    fn an_object_that_is_not_ours_is_left_as_it_is() {
        assert_eq!(adoption(&live(&[entry("kubectl-client-side-apply", "Update", json!({"f:data": {}}))])), None);
        assert_eq!(adoption(&json!(null)), None);
    }
}
