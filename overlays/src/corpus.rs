//! Holds strategic merge and the steps to the unit cases of kustomize's own filters, where these are at hand: a corpus beside the repository.
//!
//! What kustomize's command line can't ask of its filters is listed with the reason in `EXCEPTED`.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::fields::FieldSpec;
use crate::layer::{Field, decode};
use crate::object::{Object, Origin, Past};
use crate::objects::Objects;
use crate::patch::shape::Schemas;
use crate::transform::Step;
use crate::yaml::{self, Dialect, Node, Value};

mod filters;
mod merges;
mod references;

/// The documents of a text.
fn nodes(text: &str) -> Vec<Node> {
    yaml::parse(text.as_bytes(), &yaml::Limits::default()).unwrap()
}

/// Nodes by what they mean: keys by their text, in order of it, and scalars by their values.
fn meaning(nodes: &[Node]) -> String {
    nodes.iter().map(|node| format!("---\n{}", lines(node, 0))).collect()
}

fn lines(node: &Node, depth: usize) -> String {
    let below = |node: &Node| format!("\n{}", lines(node, depth + 2));
    match &node.value {
        Value::Scalar(..) => format!("{:depth$}{:?}\n", "", node.resolve(Dialect::Resource)),
        Value::List(items) => items.iter().map(|item| format!("{:depth$}-{}", "", below(item))).collect(),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|entry| (entry.key.text().unwrap(), &entry.value)).collect();
            entries.sort_by_key(|(key, _)| (*key).clone());
            entries.into_iter().map(|(key, value)| format!("{:depth$}{key}:{}", "", below(value))).collect()
        }
    }
}

/// The objects of a text, as they stand: names may be missing, and the same one may be there twice.
fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    objects.list_mut().extend(nodes(text).into_iter().map(object));
    objects
}

/// kustomize keeps among the annotations what an object was called before; here that is no part of the object.
fn object(node: Node) -> Object {
    let mut object = Object::new(Arc::new(node), Origin::default());
    let before = |what: &str| object.annotation(&format!("internal.config.kubernetes.io/previous{what}")).map(|list| list.split(','));
    if let (Some(kinds), Some(namespaces), Some(names)) = (before("Kinds"), before("Namespaces"), before("Names")) {
        let ids = kinds.zip(namespaces).zip(names);
        let past = ids.map(|((kind, namespace), name)| Past { kind: kind.into(), namespace: namespace.into(), name: name.into() });
        object.history.past = past.collect();
    }
    object
}

fn bodies(objects: &[Object]) -> Vec<Node> {
    objects.iter().map(|object| object.body().clone()).collect()
}

/// Reads a configuration into the type that a kustomization's field has.
fn configured<T: DeserializeOwned>(text: &str) -> T {
    let node = yaml::parse_config(text.as_bytes(), &yaml::Limits::default()).unwrap().unwrap_or_else(Node::map);
    decode::decode(&node, decode::Mode::Step).unwrap()
}

fn specs(fields: &[Field]) -> Vec<FieldSpec> {
    fields.iter().map(FieldSpec::from).collect()
}

fn run(step: &Step, input: &str) -> Result<Vec<Node>, String> {
    let mut objects = objects(input);
    step.apply(&mut objects, &Schemas::default()).map_err(|error| error.to_string())?;
    Ok(bodies(objects.list()))
}

/// A line of a file of the corpus for each case; nothing, with the reason on standard error, where the corpus is not at hand.
fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Err(problem) => {
            #[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
            {
                eprintln!("left out: {}: {problem}", path.display());
            }
            Vec::new()
        }
    }
}

/// How a case is called: by its line, for the tests of kustomize have many cases each.
fn named(line: usize, test: &str) -> String {
    format!("{line} {test}")
}

/// What is wrong with the cases of a set, less those that are excepted; and an exception that passes is wrong too.
fn failures<'c, T>(
    cases: &'c [T],
    title: impl Fn(&'c T, usize) -> String,
    check: impl Fn(&'c T) -> Result<(), String>,
    excepted: &[(&str, &str)],
) -> Vec<String> {
    let mut failures = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let title = title(case, at + 1);
        let is_excepted = excepted.iter().any(|(name, _)| *name == title);
        match check(case) {
            Err(problem) if !is_excepted => failures.push(format!("{title}: {problem}")),
            Ok(()) if is_excepted => failures.push(format!("{title} passes, and is listed as one that can't")),
            _ => {}
        }
    }
    failures
}

fn same(found: &[Node], expected: &[Node]) -> Result<(), String> {
    let (found, expected) = (meaning(found), meaning(expected));
    if found == expected { Ok(()) } else { Err(format!("expected:\n{expected}found:\n{found}")) }
}
