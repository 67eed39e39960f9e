//! Makes of a rendered object the body that is applied. Pure: it knows no cluster, only how the kind is addressed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::discovery::Resource;
use super::refusal::{Fault, Refusal};
use crate::api::{APP_LABEL, PART_OF_LABEL};

/// What the server puts into `metadata`. An object that was copied out of a cluster has it; sent back, it would be refused.
const SERVER_SET: [&str; 8] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// The marks that say whose an object is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The id of the ApplySet: which Sync.
    pub applyset: String,
    /// The app.
    pub app: String,
    /// The namespace of namespaced objects that say none.
    pub default_namespace: String,
}

/// The body that is applied for `object`, marked as ours.
///
/// # Errors
/// [`Refusal::Invalid`] for an object without a name, or whose `metadata` or labels are not maps.
pub fn body(object: &Value, resource: &Resource, mark: &Mark) -> Result<Value, Refusal> {
    let mut body = without_nulls(object);
    let root = body.as_object_mut().ok_or_else(|| fault("", "must be a map"))?;
    root.remove("status");
    root.insert("apiVersion".to_owned(), resource.api_version().into());
    let metadata = map(root, "metadata")?;
    for field in SERVER_SET {
        metadata.remove(field);
    }
    if metadata.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
        return Err(fault("metadata.name", "Required: generateName is not enough, for the object could not be found again"));
    }
    place(metadata, resource, mark);
    let labels = map(metadata, "labels").map_err(|_| fault("metadata.labels", "must be a map"))?;
    labels.insert(PART_OF_LABEL.to_owned(), mark.applyset.clone().into());
    labels.insert(APP_LABEL.to_owned(), mark.app.clone().into());
    by_kind(root, resource);
    Ok(body)
}

fn place(metadata: &mut Map<String, Value>, resource: &Resource, mark: &Mark) {
    if !resource.namespaced {
        metadata.remove("namespace");
    } else if metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().is_empty() {
        metadata.insert("namespace".to_owned(), mark.default_namespace.clone().into());
    }
}

fn by_kind(root: &mut Map<String, Value>, resource: &Resource) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Secret") => encode(root),
        // The rules are filled in by a controller of the cluster; sent along, the two would take them from each other for ever.
        ("rbac.authorization.k8s.io", "ClusterRole") if root.contains_key("aggregationRule") => {
            root.remove("rules");
        }
        _ => {}
    }
}

/// `stringData` becomes `data`: applied as it is, a later change of `data` by somebody could not be seen, and keys would never go away.
fn encode(root: &mut Map<String, Value>) {
    let Some(Value::Object(texts)) = root.get("stringData") else { return };
    // A value that is no text stays where it is, so that the server says what is wrong with it.
    let (texts, odd): (Map<_, _>, Map<_, _>) = texts.clone().into_iter().partition(|(_, value)| value.is_string());
    if odd.is_empty() {
        root.remove("stringData");
    } else {
        root.insert("stringData".to_owned(), Value::Object(odd));
    }
    if let Value::Object(data) = root.entry("data").or_insert_with(|| Value::Object(Map::new())) {
        data.extend(texts.into_iter().map(|(key, value)| (key, STANDARD.encode(value.as_str().unwrap_or_default()).into())));
    }
}

/// A copy without map entries that are `null`: under server-side apply they would be owned, and never say anything.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn map<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>, Refusal> {
    let child = parent.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    child.as_object_mut().ok_or_else(|| fault(key, "must be a map"))
}

fn fault(field: &str, message: &str) -> Refusal {
    Refusal::Invalid { fields: vec![Fault { field: field.to_owned(), message: message.to_owned() }], message: String::new() }
}

/// Blanks in `words` whatever the Secret `body` holds, plain or encoded. Other kinds hold nothing that may not be shown.
pub(super) fn without_secrets(words: &str, body: &Value) -> String {
    if body["kind"] != "Secret" {
        return words.to_owned();
    }
    let mut shown = words.to_owned();
    for value in ["data", "stringData"].iter().filter_map(|field| body[*field].as_object()).flat_map(Map::values) {
        for held in held(value) {
            shown = shown.replace(&held, "****");
        }
    }
    shown
}

/// The texts that a value of a Secret may appear as. Very short ones are left: they would blank half of every sentence, and say nothing.
fn held(value: &Value) -> Vec<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let decoded = STANDARD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    [Some(text), decoded].into_iter().flatten().filter(|text| text.len() > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(group: &str, kind: &str, namespaced: bool) -> Resource {
        Resource { group: group.into(), version: "v1".into(), kind: kind.into(), plural: kind.to_lowercase() + "s", namespaced }
    }

    fn made(group: &str, kind: &str, namespaced: bool, object: &Value) -> Value {
        let mark = Mark { applyset: "applyset-x-v1".into(), app: "shop".into(), default_namespace: "web".into() };
        body(object, &resource(group, kind, namespaced), &mark).unwrap()
    }

    #[test]
    fn an_object_gets_our_marks_and_a_namespace_and_loses_what_the_server_sets() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "status": {"a": 1}, "data": {"a": null, "b": "1"},
            "metadata": {"name": "a", "uid": "1", "resourceVersion": "2", "managedFields": [], "creationTimestamp": null, "labels": {"x": "y"}}});
        assert_eq!(
            made("", "ConfigMap", true, &object),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "1"},
                "metadata": {"name": "a", "namespace": "web",
                    "labels": {"x": "y", "applyset.kubernetes.io/part-of": "applyset-x-v1", "plimsoll.dev/app": "shop"}}})
        );
    }

    #[test]
    fn a_namespace_that_is_said_is_kept_and_one_on_a_cluster_wide_kind_is_dropped() {
        let object = json!({"kind": "X", "metadata": {"name": "a", "namespace": "other"}});
        assert_eq!(made("", "ConfigMap", true, &object)["metadata"]["namespace"], "other");
        assert_eq!(made("", "Namespace", false, &object)["metadata"].get("namespace"), None);
    }

    #[test]
    fn text_of_a_secret_is_encoded_and_wins_over_data() {
        let object =
            json!({"kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "b2xk", "c": "Yw=="}, "stringData": {"a": "new", "n": 5}});
        let made = made("", "Secret", true, &object);
        assert_eq!(made["data"], json!({"a": "bmV3", "c": "Yw=="}));
        assert_eq!(made["stringData"], json!({"n": 5}), "the server must see what is wrong");
    }

    #[test]
    fn rules_of_an_aggregated_role_are_left_to_its_controller() {
        let object = json!({"metadata": {"name": "a"}, "aggregationRule": {}, "rules": []});
        assert_eq!(made("rbac.authorization.k8s.io", "ClusterRole", false, &object).get("rules"), None);
        assert!(
            made("rbac.authorization.k8s.io", "ClusterRole", false, &json!({"metadata": {"name": "a"}, "rules": []}))
                .get("rules")
                .is_some()
        );
    }

    #[test]
    fn an_object_that_could_not_be_found_again_is_refused() {
        let refused = |object: Value| body(&object, &resource("", "Job", true), &Mark::default()).unwrap_err().to_string();
        assert!(refused(json!({"metadata": {"generateName": "a-"}})).contains("metadata.name"));
        assert!(refused(json!({"metadata": {"name": "a", "labels": ["x"]}})).contains("metadata.labels"));
        assert!(refused(json!({"metadata": 5})).contains("metadata"));
        assert!(refused(json!([])).contains("must be a map"));
    }

    #[test]
    fn what_a_secret_holds_is_never_repeated() {
        let secret = json!({"kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "stringData": {"n": 123_456}});
        let words = without_secrets("denied: hunter2, aHVudGVyMg== and 123456", &secret);
        assert_eq!(words, "denied: ****, **** and ****");
        assert_eq!(without_secrets("hunter2", &json!({"kind": "ConfigMap", "data": {"a": "hunter2"}})), "hunter2");
    }
}
