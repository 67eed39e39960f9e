//! JSON patches (RFC 6902), applied to nodes so that marks survive; where the standard and kustomize differ, as kustomize.
//!
//! It must not know which object a patch is for.

use crate::fields::edit;
use crate::yaml::{self, Dialect, Entry, Node, Scalar, Style, Value};

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Add(Pointer, Node),
    Remove(Pointer),
    Replace(Pointer, Node),
    Move(Pointer, Pointer),
    Copy(Pointer, Pointer),
    Test(Pointer, Node),
    /// One that there is not, which only tells where it is to be applied.
    Unknown(String),
}

/// The steps of a JSON pointer, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    steps: Vec<String>,
    text: String,
}

impl Pointer {
    fn new(text: &str) -> Result<Self, String> {
        let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let steps: Vec<String> = text.split('/').skip(1).take(MAX_STEPS + 1).map(unescaped).collect();
        if steps.len() > MAX_STEPS {
            return Err(format!("a path of a JSON patch has more than {MAX_STEPS} steps"));
        }
        Ok(Self { steps, text: text.to_owned() })
    }
}

impl Operation {
    /// Whether it may change what identifies the object.
    pub(crate) fn may_rename(&self) -> bool {
        let is_identity = |path: &Pointer| {
            let text = path.text.as_str();
            matches!(text, "" | "/kind" | "/apiVersion" | "/metadata") || text.starts_with("/metadata/name")
        };
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Replace(path, _) | Self::Copy(_, path) => is_identity(path),
            Self::Move(from, to) => is_identity(from) || is_identity(to),
            Self::Test(..) | Self::Unknown(_) => false,
        }
    }

    /// Whether it takes all annotations of the object away, or puts others in their place.
    pub(crate) fn takes_annotations(&self) -> bool {
        let is_above = |path: &Pointer| matches!(path.text.as_str(), "/metadata" | "/metadata/annotations");
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Replace(path, _) | Self::Copy(_, path) => is_above(path),
            Self::Move(from, to) => is_above(from) || is_above(to),
            Self::Test(..) | Self::Unknown(_) => false,
        }
    }
}

/// How long a path may be; real ones have some ten steps.
const MAX_STEPS: usize = 200;

/// Reads the operations of a patch, which is a list of maps.
///
/// # Errors
/// It is not, or an operation is unknown or lacks a part.
pub(crate) fn operations(patch: &Node) -> Result<Vec<Operation>, String> {
    match &patch.value {
        Value::List(items) => items.iter().map(operation).collect(),
        _ => Err("a JSON patch is a list of operations".to_owned()),
    }
}

fn operation(item: &Node) -> Result<Operation, String> {
    // What is not needed is read too: one value that cannot be read is enough for the whole not to be JSON.
    let item = restated(item)?;
    let text = |key: &str| match item.get(key)?.resolve(Dialect::Resource) {
        Ok(Scalar::Str(text)) => Some(text.into_owned()),
        _ => None,
    };
    let name = text("op").ok_or("an operation of a JSON patch has no `op`, or one that is no text")?;
    let no_path = || format!("the operation `{name}` of a JSON patch has no `path`, or one that is no text");
    let path = Pointer::new(&text("path").ok_or_else(no_path)?)?;
    // Without a value kustomize takes null.
    let value = || item.get("value").cloned().unwrap_or_else(|| Node::plain("null"));
    let from = || match text("from") {
        Some(from) => Pointer::new(&from),
        None => Err(format!("the operation `{name}` of a JSON patch has no `from`, or one that is no text")),
    };
    match name.as_str() {
        "add" => Ok(Operation::Add(path, value())),
        "remove" => Ok(Operation::Remove(path)),
        "replace" => Ok(Operation::Replace(path, value())),
        "move" => Ok(Operation::Move(from()?, path)),
        "copy" => Ok(Operation::Copy(from()?, path)),
        "test" => Ok(Operation::Test(path, value())),
        other => Ok(Operation::Unknown(other.to_owned())),
    }
}

/// Says in the dialect of resources what a node of a configuration means: `yes` becomes `true`, `0o17` a string.
pub(crate) fn restated(node: &Node) -> Result<Node, String> {
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(restated).collect::<Result<_, _>>()?),
        Value::Map(entries) => Value::Map(entries.iter().map(restated_entry).collect::<Result<_, _>>()?),
        Value::Scalar(..) => restated_scalar(node)?,
    };
    Ok(Node { value, mark: node.mark })
}

fn restated_entry(entry: &Entry) -> Result<Entry, String> {
    let key = yaml::key_text(&entry.key, Dialect::Config, false).map_err(|error| error.message().to_owned())?;
    Ok(Entry { key: edit::string_at(&key, entry.key.mark), value: restated(&entry.value)? })
}

fn restated_scalar(node: &Node) -> Result<Value, String> {
    let plain = |text: String| Value::Scalar(text.into(), Style::Plain, None);
    Ok(match node.resolve(Dialect::Config).map_err(|error| error.message().to_owned())? {
        Scalar::Null => plain("null".to_owned()),
        Scalar::Bool(value) => plain(value.to_string()),
        Scalar::Int(value) => plain(value.to_string()),
        Scalar::Float(value) if value.is_finite() => plain(format!("{value:e}")),
        Scalar::Float(_) => return Err("JSON knows neither infinity nor not-a-number".to_owned()),
        Scalar::Timestamp(text) => Value::Scalar(text.into(), Style::Quoted, None),
        Scalar::Str(text) => Value::Scalar(text.as_ref().into(), Style::Quoted, None),
    })
}

/// Applies operations in order.
///
/// # Errors
/// One of them does not apply; the message names its path.
pub(crate) fn apply(object: &mut Node, operations: &[Operation]) -> Result<(), String> {
    for operation in operations {
        match operation {
            Operation::Add(path, value) => add(object, path, value.clone())?,
            Operation::Remove(path) => drop(remove(object, path)?),
            Operation::Replace(path, value) => replace(object, path, value.clone())?,
            Operation::Move(from, path) => {
                let value = remove(object, from)?;
                add(object, path, value)?;
                edit::check_growth(object)?;
            }
            Operation::Copy(from, path) => {
                let value = copied(object, from).ok_or_else(|| missing("copy", from))?;
                add(object, path, value)?;
                edit::check_growth(object)?;
            }
            Operation::Test(path, value) => test(object, path, value)?,
            Operation::Unknown(name) => return Err(format!("`{name}` is no operation of a JSON patch")),
        }
    }
    through_json(object);
    Ok(())
}

fn missing(what: &str, path: &Pointer) -> String {
    format!("`{what}` does not apply: the object has nothing at `{}`", path.text)
}

/// A negative index counts from the end.
fn index(step: &str, length: usize) -> Option<usize> {
    let at: i64 = step.parse().ok()?;
    let at = if at < 0 { at.checked_add(i64::try_from(length).ok()?)? } else { at };
    usize::try_from(at).ok()
}

fn child<'n>(node: &'n Node, step: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(_) => node.get(step),
        Value::List(items) => items.get(index(step, items.len())?),
        Value::Scalar(..) => None,
    }
}

fn get<'n>(object: &'n Node, path: &Pointer) -> Option<&'n Node> {
    path.steps.iter().try_fold(object, |node, step| child(node, step))
}

/// What `copy` takes: of a map that lacks the last key null, unlike in the standard.
fn copied(object: &Node, from: &Pointer) -> Option<Node> {
    let (last, steps) = from.steps.split_last()?;
    let holder = steps.iter().try_fold(object, |node, step| child(node, step))?;
    match holder.value {
        Value::Map(_) => Some(holder.get(last).cloned().unwrap_or_else(|| Node::plain("null"))),
        _ => child(holder, last).cloned(),
    }
}

fn child_mut<'n>(node: &'n mut Node, step: &str) -> Option<&'n mut Node> {
    if matches!(node.value, Value::Map(_)) {
        return node.get_mut(step);
    }
    let Value::List(items) = &mut node.value else { return None };
    let at = index(step, items.len())?;
    items.get_mut(at)
}

/// The map or list that holds what a path names, and the last step.
fn parent<'n, 'p>(object: &'n mut Node, path: &'p Pointer) -> Option<(&'n mut Node, &'p str)> {
    let (last, steps) = path.steps.split_last()?;
    let holder = steps.iter().try_fold(object, |node, step| child_mut(node, step))?;
    (!matches!(holder.value, Value::Scalar(..))).then_some((holder, last.as_str()))
}

fn add(object: &mut Node, path: &Pointer, value: Node) -> Result<(), String> {
    let (holder, step) = parent(object, path).ok_or_else(|| missing("add", path))?;
    let Value::List(items) = &mut holder.value else {
        put(holder, step, value);
        return Ok(());
    };
    let end = items.len();
    let at = if step == "-" { Some(end) } else { index(step, end + 1) };
    match at.filter(|at| *at <= end) {
        Some(at) => items.insert(at, value),
        None => return Err(format!("`add` does not apply: `{}` is no index of a list of {end} items", path.text)),
    }
    Ok(())
}

/// Sets an entry, whose key is a string whatever it looks like.
fn put(map: &mut Node, key: &str, value: Node) {
    let Value::Map(entries) = &mut map.value else { return };
    match entries.iter_mut().find(|entry| edit::is_key(entry, key)) {
        Some(entry) => entry.value = value,
        None => entries.push(Entry { key: edit::string_at(key, value.mark), value }),
    }
}

fn remove(object: &mut Node, path: &Pointer) -> Result<Node, String> {
    let (holder, step) = parent(object, path).ok_or_else(|| missing("remove", path))?;
    let removed = match &mut holder.value {
        Value::List(items) => index(step, items.len()).filter(|at| *at < items.len()).map(|at| items.remove(at)),
        _ => edit::remove(holder, step),
    };
    removed.ok_or_else(|| missing("remove", path))
}

fn replace(object: &mut Node, path: &Pointer, value: Node) -> Result<(), String> {
    if path.text.is_empty() {
        if !matches!(value.value, Value::Map(_)) {
            return Err("`replace` of a whole object needs a map".to_owned());
        }
        *object = value;
        return Ok(());
    }
    let (holder, step) = parent(object, path).ok_or_else(|| missing("replace", path))?;
    let Value::List(items) = &mut holder.value else {
        // The last key need not be there, unlike in the standard.
        put(holder, step, value);
        return Ok(());
    };
    let at = index(step, items.len());
    *at.and_then(|at| items.get_mut(at)).ok_or_else(|| missing("replace", path))? = value;
    Ok(())
}

fn test(object: &Node, path: &Pointer, value: &Node) -> Result<(), String> {
    let json = |node: &Node| node.to_json(Dialect::Resource).ok();
    let holds = match get(object, path) {
        Some(found) => json(found) == json(value),
        None => edit::is_null(value),
    };
    if holds { Ok(()) } else { Err(format!("`test` failed: the object has another value at `{}`", path.text)) }
}

/// Whether a string needs no quotes, so that what a later patch puts in its place needs none either.
fn is_written_plain(text: &str) -> bool {
    yaml::is_printed_plain(text) && matches!(Node::plain(text).resolve(Dialect::Resource), Ok(Scalar::Str(_)))
}

/// kustomize sends the whole object through JSON with 64-bit floats: a scalar keeps its type and value, not how it was written, and
/// integers beyond 2^53 lose digits, anywhere in the object. What shows of it is in annotations, whose values are taken as text.
fn through_json(node: &mut Node) {
    let (text, style) = match &mut node.value {
        Value::List(items) => return items.iter_mut().for_each(through_json),
        Value::Map(entries) => return entries.iter_mut().for_each(|entry| through_json(&mut entry.value)),
        Value::Scalar(..) => match node.resolve(Dialect::Resource) {
            Ok(Scalar::Null) => ("null".to_owned(), Style::Plain),
            Ok(Scalar::Bool(value)) => (value.to_string(), Style::Plain),
            #[expect(clippy::cast_precision_loss, reason = "losing digits is what is reproduced here")]
            Ok(Scalar::Int(value)) => (yaml::float_text(value as f64), Style::Plain),
            Ok(Scalar::Float(value)) => (yaml::float_text(value), Style::Plain),
            Ok(Scalar::Timestamp(text)) => (text, Style::Quoted),
            Ok(Scalar::Str(text)) => {
                let style = if is_written_plain(&text) { Style::Plain } else { Style::Quoted };
                if matches!(&node.value, Value::Scalar(_, old, None) if *old == style) {
                    return;
                }
                (text.into_owned(), style)
            }
            Err(_) => return,
        },
    };
    node.value = Value::Scalar(text.into(), style, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn check(object: &str, patch: &str, expected: Result<&str, &str>) {
        let parse = |text: &str| yaml::parse(text.as_bytes(), &yaml::Limits::default()).unwrap().remove(0);
        let mut patched = parse(object);
        let outcome = operations(&parse(patch)).and_then(|operations| apply(&mut patched, &operations));
        match expected {
            Ok(text) => assert_eq!(patched.to_json(Dialect::Resource).unwrap(), parse(text).to_json(Dialect::Resource).unwrap()),
            Err(part) => assert!(outcome.unwrap_err().contains(part)),
        }
    }

    #[test]
    fn operations_apply_in_order() {
        check("{a: [1, 2]}", "[{op: add, path: /a/-, value: 3}, {op: remove, path: /a/0}]", Ok("{a: [2, 3]}"));
        check("{a: {b: 1}}", "[{op: move, from: /a/b, path: /c}, {op: copy, from: /c, path: /a/d}]", Ok("{a: {d: 1}, c: 1}"));
        check("{a: {x/y~z: 1}}", "[{op: replace, path: /a/x~1y~0z, value: 2}]", Ok("{a: {x/y~z: 2}}"));
    }

    #[test]
    fn where_kustomize_follows_the_standard_so_does_this() {
        let object = serde_json::json!({"a": {"b": [1, 2, {"c": "x"}]}, "d/e~f": null});
        let patches = [
            serde_json::json!([{"op": "add", "path": "/a/b/1", "value": [true]}, {"op": "remove", "path": "/a/b/3/c"}]),
            serde_json::json!([{"op": "replace", "path": "/a/b/0", "value": {"x": 1.5}}, {"op": "copy", "from": "/a/b", "path": "/g"}]),
            serde_json::json!([{"op": "move", "from": "/d~1e~0f", "path": "/a/h"}, {"op": "test", "path": "/a/h", "value": null}]),
            serde_json::json!([{"op": "add", "path": "/a/b/9", "value": 1}]),
            serde_json::json!([{"op": "remove", "path": "/a/z"}]),
            serde_json::json!([{"op": "test", "path": "/a/b/0", "value": 2}]),
        ];
        for patch in patches {
            let mut expected = object.clone();
            let standard = json_patch::patch(&mut expected, &serde_json::from_value::<json_patch::Patch>(patch.clone()).unwrap());
            let mut found = Node::from_json(&object);
            let outcome = operations(&Node::from_json(&patch)).and_then(|operations| apply(&mut found, &operations));
            assert_eq!(outcome.is_ok(), standard.is_ok(), "{patch}");
            if standard.is_ok() {
                assert_eq!(found.to_json(Dialect::Resource).unwrap(), expected, "{patch}");
            }
        }
    }

    #[test]
    fn a_value_is_read_as_yaml_1_1() {
        check("{a: 1}", "[{op: replace, path: /a, value: yes}]", Ok("{a: true}"));
        check("{a: 1}", "[{op: replace, path: /a, value: 0644}]", Ok("{a: 420}"));
    }

    #[test]
    fn what_does_not_apply_is_an_error_that_names_the_path() {
        check("{a: 1}", "[{op: remove, path: /b}]", Err("`/b`"));
        check("{a: 1}", "[{op: add, path: /b/c, value: 1}]", Err("`/b/c`"));
        check("{a: [1]}", "[{op: replace, path: /a/7, value: 1}]", Err("`/a/7`"));
        check("{a: 1}", "[{op: test, path: /a, value: 2}]", Err("`/a`"));
        check("{a: 1}", "[{op: frob, path: /a}]", Err("`frob`"));
    }

    #[test]
    fn an_object_that_is_copied_into_itself_again_and_again_is_refused() {
        let copies: Vec<String> = (0..40).map(|at| format!("{{op: copy, from: /a, path: /a/b{at}}}")).collect();
        check("{a: {}}", &format!("[{}]", copies.join(", ")), Err("becomes more than"));
        let moves: Vec<String> = (0..600)
            .map(|_| "{op: move, from: /a, path: /b}, {op: add, path: /a, value: {}}, {op: move, from: /b, path: /a/b}".to_owned())
            .collect();
        check("{a: {}}", &format!("[{}]", moves.join(", ")), Err("becomes more than"));
        check("{a: {}}", &format!("[{{op: add, path: {}, value: 1}}]", "/a".repeat(300)), Err("steps"));
    }
}
