//! Field paths of replacements: `spec.template.spec.containers.[name=web].image`.
//!
//! It must not know what is read or written at their ends.

use regex::Regex;

use crate::fields::{edit, split_path};
use crate::yaml::{Mark, Node, Value};

/// Splits a path at dots. `\.` is a dot in a key; so is one between `[` and `]`, and brackets without `=` only hold a key together.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut parts = split_path(path, '.').into_iter();
    while let Some(mut step) = parts.next() {
        if step.starts_with('[') && !step.ends_with(']') {
            for part in parts.by_ref() {
                step = format!("{step}.{part}");
                if part.ends_with(']') {
                    break;
                }
            }
            if !step.contains('=') {
                step = step.trim_matches(['[', ']']).to_owned();
            }
        }
        steps.push(step);
    }
    steps
}

/// How long a path may be; real ones have some ten steps.
const MAX_STEPS: usize = 200;

enum Step<'p> {
    Key(&'p str),
    Index(usize),
    /// Items that have a value at a key; without a key, items that are the value.
    Item(&'p str, &'p str),
    Every,
}

fn step(text: &str) -> Result<Step<'_>, String> {
    if let Ok(index) = text.parse() {
        return Ok(Step::Index(index));
    }
    if text == "*" {
        return Ok(Step::Every);
    }
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        None => Ok(Step::Key(text)),
        Some(inner) => match inner.split_once('=') {
            Some((key, value)) => Ok(Step::Item(key, value)),
            None => Err(format!("`{text}` must be `[key=value]`")),
        },
    }
}

/// The node at a path; items are found by their exact values, and there are no wildcards.
pub(super) fn lookup<'n>(node: &'n Node, steps: &[String]) -> Result<Option<&'n Node>, String> {
    let mut node = node;
    for text in steps.iter().map(|step| step.trim()).filter(|step| !step.is_empty()) {
        let next = match step(text)? {
            Step::Every => return Err("`*` can't be part of the path that a replacement reads".to_owned()),
            Step::Index(at) => list(node, text)?.get(at),
            Step::Key("-") => list(node, text)?.last(),
            Step::Item(key, value) => list(node, text)?.iter().find(|item| {
                let found = if key.is_empty() { Some(*item) } else { item.get(key) };
                found.and_then(Node::text).is_some_and(|text| **text == *value)
            }),
            Step::Key(key) => map(node, key)?.then(|| node.get(key)).flatten(),
        };
        let Some(next) = next else { return Ok(None) };
        node = next;
    }
    Ok(Some(node))
}

fn list<'n>(node: &'n Node, step: &str) -> Result<&'n [Node], String> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(format!("there is no list at `{step}`")),
    }
}

/// Whether a key can be looked for here: not in null, and it is an error in a list or scalar.
fn map(node: &Node, key: &str) -> Result<bool, String> {
    match node.value {
        Value::Map(_) => Ok(true),
        _ if edit::is_null(node) => Ok(false),
        _ => Err(format!("there is no map that could have the key `{key}`")),
    }
}

/// What is made at the end of a path is of the kind of the value that goes there.
type Create<'v> = Option<&'v Node>;

/// Calls `set` with all nodes at a path, and says how many there were. With `create`, what is missing is made.
pub(super) fn for_each(
    node: &mut Node,
    steps: &[String],
    create: Create<'_>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    if steps.len() > MAX_STEPS {
        return Err(format!("a field path has more than {MAX_STEPS} steps"));
    }
    let Some((text, rest)) = steps.split_first() else {
        return set(node).map(|()| 1);
    };
    let step = step(text)?;
    if edit::is_null(node) && !matches!(step, Step::Key(_)) {
        // kustomize makes the item inside of the null, where nobody sees it.
        return for_each(&mut Node::list(), steps, create, set);
    }
    match step {
        Step::Every => each(items(node, text)?, rest, create, set),
        Step::Index(at) => {
            let items = items(node, text)?;
            if at == items.len()
                && let Some(value) = create
            {
                items.push(made(rest, value));
            }
            let count = items.len();
            match items.get_mut(at) {
                Some(item) => for_each(item, rest, create, set),
                None => Err(format!("there is no item {at} in a list of {count}")),
            }
        }
        Step::Item(key, value) => for_matching(items(node, text)?, (key, value), rest, create, set),
        Step::Key(key) => {
            if !map(node, key)? {
                // kustomize makes the field inside of the null, where nobody sees it.
                return create.map_or(Ok(0), |value| for_each(&mut made(rest, value), rest, create, set));
            }
            let field = match create {
                Some(value) => edit::ensure(node, key, || made(rest, value)),
                None => node.get_mut(key),
            };
            field.map_or(Ok(0), |field| for_each(field, rest, create, set))
        }
    }
}

fn items<'n>(node: &'n mut Node, step: &str) -> Result<&'n mut Vec<Node>, String> {
    match &mut node.value {
        Value::List(items) => Ok(items),
        _ => Err(format!("there is no list at `{step}`")),
    }
}

fn each(
    items: &mut [Node],
    rest: &[String],
    create: Create<'_>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    items.iter_mut().try_fold(0, |count, item| Ok(count + for_each(item, rest, create, set)?))
}

/// In kustomize the wanted value is a regular expression that need not fit the whole text.
fn for_matching(
    items: &mut Vec<Node>,
    (key, wanted): (&str, &str),
    rest: &[String],
    create: Create<'_>,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    let pattern = Regex::new(wanted).map_err(|_| format!("`{wanted}` is not a regular expression"))?;
    let fits = |item: &Node| {
        let found = if key.is_empty() { Some(item) } else { item.get(key) };
        found.and_then(Node::text).is_some_and(|text| pattern.is_match(text))
    };
    if create.is_some() && !items.iter().any(fits) {
        let mut made = edit::untagged();
        edit::set_text(&mut made, wanted, Mark::default());
        let mut item = if key.is_empty() { made.clone() } else { Node::map() };
        edit::put_any(&mut item, key, made);
        items.push(item);
    }
    let mut count = 0;
    for item in items.iter_mut().filter(|item| fits(item)) {
        // A scalar item is the end of the path, whatever follows.
        count += if key.is_empty() { set(item).map(|()| 1)? } else { for_each(item, rest, create, set)? };
    }
    Ok(count)
}

/// What a missing step is made of: a list if an item comes next, the kind of the value if nothing does, else a map.
fn made(rest: &[String], value: &Node) -> Node {
    match rest.first() {
        Some(next) if (next.starts_with('[') && next.ends_with(']')) || next.parse::<usize>().is_ok() => Node::list(),
        Some(_) => Node::map(),
        None => match value.value {
            Value::Scalar(..) => edit::untagged(),
            Value::List(_) => Node::list(),
            Value::Map(_) => Node::map(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_keys_are_escaped_or_bracketed() {
        assert_eq!(split(r"metadata.annotations.a\.b/c"), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(split("metadata.annotations.[a.b/c]"), ["metadata", "annotations", "a.b/c"]);
        assert_eq!(split("spec.containers.[name=a.b].image"), ["spec", "containers", "[name=a.b]", "image"]);
    }
}
