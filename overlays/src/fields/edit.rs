//! Reading and changing nodes as kustomize's own field functions do: what counts as null, which style stays, what is appended.
//!
//! It must not know which fields exist in Kubernetes.

use std::collections::{HashMap, HashSet};

use crate::yaml::{self, Dialect, Entry, Mark, Node, Scalar, Style, Text, UNTAGGED, Value};

/// Whether a resource's node is null: `null`, `~`, or nothing at all.
pub(crate) fn is_null(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(text, Style::Plain, None) => matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
        Value::Scalar(_, _, Some(tag)) => is_null_tag(tag),
        _ => false,
    }
}

fn is_null_tag(tag: &str) -> bool {
    matches!(tag, "!!null" | "tag:yaml.org,2002:null")
}

/// Whether a tag was written out by a user.
pub(crate) fn is_tagged(tag: Option<&str>) -> bool {
    tag.is_some_and(|tag| tag.starts_with("tag:"))
}

/// The tag of a string that is written out.
pub(crate) const STRING_TAG: &str = "tag:yaml.org,2002:str";

/// The tag of a scalar's type, in the long form of what is written out.
pub(crate) fn type_tag(node: &Node) -> &'static str {
    match node.resolve(Dialect::Resource) {
        Ok(Scalar::Null) => "tag:yaml.org,2002:null",
        Ok(Scalar::Bool(_)) => "tag:yaml.org,2002:bool",
        Ok(Scalar::Int(_)) => "tag:yaml.org,2002:int",
        Ok(Scalar::Float(_)) => "tag:yaml.org,2002:float",
        Ok(Scalar::Timestamp(_)) => "tag:yaml.org,2002:timestamp",
        Ok(Scalar::Str(_)) | Err(_) => STRING_TAG,
    }
}

/// Whether a node holds nothing: null, an empty map or an empty list.
pub(crate) fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(..) => is_null(node),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

/// Whether a node is a map without entries.
pub(crate) fn is_empty_map(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.is_empty())
}

/// A string that was written at a place.
pub(crate) fn string_at(text: &str, mark: Mark) -> Node {
    Node { value: Value::Scalar(text.into(), Style::Quoted, None), mark }
}

/// A string that takes the place of a node. Without quotes there, it has a tag instead: a patch may put a number in its place.
pub(crate) fn string_like(before: &Node, text: &str, mark: Mark) -> Node {
    match before.value {
        Value::Scalar(_, Style::Plain, _) if !text.contains('\n') => {
            Node { value: Value::Scalar(text.into(), Style::Plain, Some("!!str".into())), mark }
        }
        _ => string_at(text, mark),
    }
}

/// Whether a text of one line is no string to YAML 1.1 if it stands without quotes: a number, a date, but also a map (`a: b`) or a comment.
pub(crate) fn reads_otherwise(text: &Text) -> bool {
    let is_string = |node: &Node| matches!(node.resolve(Dialect::Config), Ok(Scalar::Str(_)));
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    if !text.contains([':', '[', '{', '#', '-', '?', '!', '&', '"', '\'', '|', '>']) {
        return !is_string(&Node::plain(text.clone()));
    }
    match yaml::parse_config(text.as_bytes(), &yaml::Limits::default()) {
        Ok(Some(node)) => !is_string(&node),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A string as steps write it. Where it reads as one anyway it has no quotes but a tag, so that a patch may put a number in its place.
pub(crate) fn written_at(text: &Text, mark: Mark) -> Node {
    let is_plain = !text.contains('\n') && !reads_otherwise(text);
    let (style, tag) = if is_plain { (Style::Plain, Some("!!str".into())) } else { (Style::Quoted, None) };
    Node { value: Value::Scalar(text.clone(), style, tag), mark }
}

/// A plain scalar that was written at a place.
pub(crate) fn plain_at(text: &str, mark: Mark) -> Node {
    Node { value: Value::Scalar(text.into(), Style::Plain, None), mark }
}

/// Whether the key of an entry is this text.
pub(crate) fn is_key(entry: &Entry, key: &str) -> bool {
    entry.key.text().is_some_and(|text| **text == *key)
}

/// Replaces the text of a scalar and keeps its style: a plain `1.0` that becomes `2.0` stays a number.
pub(crate) fn set_text(node: &mut Node, text: &str, mark: Mark) {
    let style = match &node.value {
        Value::Scalar(_, style, _) => *style,
        _ => Style::Plain,
    };
    *node = Node { value: Value::Scalar(text.into(), style, Some(UNTAGGED.into())), mark };
}

/// A scalar without a text yet, and without a type of its own.
pub(crate) fn untagged() -> Node {
    Node { value: Value::Scalar("".into(), Style::Plain, Some(UNTAGGED.into())), mark: Mark::default() }
}

/// Whether a step wrote this scalar, so that its text alone says its type; see [`UNTAGGED`].
pub(crate) fn is_untagged(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(_, Style::Plain, Some(tag)) if **tag == *UNTAGGED)
}

/// What becomes of a node that kustomize reads into Go's values and writes as JSON, as it does with the items of a list of objects:
/// numbers, dates and nulls in the one spelling that Go has for them, and strings in quotes.
pub(crate) fn restated(node: &Node) -> Node {
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(restated).collect()),
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|entry| Entry { key: entry.key.clone(), value: restated(&entry.value) }).collect())
        }
        Value::Scalar(text, ..) => {
            let plain = match node.resolve(Dialect::Resource) {
                _ if is_null(node) => "null".into(),
                Ok(Scalar::Int(value)) => value.to_string(),
                Ok(Scalar::Float(value)) if value.is_finite() => yaml::float_text(value),
                Ok(Scalar::Bool(value)) => value.to_string(),
                Ok(Scalar::Timestamp(text)) => return string_at(&text, node.mark),
                // A folded block is not printed in between.
                Ok(Scalar::Str(_)) if matches!(node.value, Value::Scalar(_, Style::Folded, _)) => return string_at(text, node.mark),
                Ok(Scalar::Str(text)) => return string_at(text.as_ref(), node.mark),
                _ => return Node { value: Value::Scalar(text.clone(), Style::Plain, None), mark: node.mark },
            };
            Value::Scalar(plain.into(), Style::Plain, None)
        }
    };
    Node { value, mark: node.mark }
}

/// Makes a string of a scalar that a step wrote, as kustomize does where it takes it for one.
pub(crate) fn settle_string(node: &mut Node) {
    if let Value::Scalar(_, style, tag) = &mut node.value
        && tag.as_deref() == Some(UNTAGGED)
    {
        (*style, *tag) = (Style::Quoted, None);
    }
}

/// Sets an entry of a map: in its place if the key is there, else at the end. A null value removes the entry. Does nothing to other nodes.
pub(crate) fn put(map: &mut Node, key: &str, value: Node) {
    if is_null(&value) {
        remove(map, key);
    } else {
        put_any(map, key, value);
    }
}

/// As [`put`], but keeps a null value.
pub(crate) fn put_any(map: &mut Node, key: &str, value: Node) {
    let Value::Map(entries) = &mut map.value else { return };
    match entries.iter_mut().find(|entry| is_key(entry, key)) {
        Some(entry) => entry.value = value,
        None => entries.push(Entry { key: Node { mark: value.mark, ..Node::plain(key) }, value }),
    }
}

/// Removes an entry of a map.
pub(crate) fn remove(map: &mut Node, key: &str) -> Option<Node> {
    let Value::Map(entries) = &mut map.value else { return None };
    let at = entries.iter().position(|entry| is_key(entry, key))?;
    Some(entries.remove(at).value)
}

/// The entry of a map, made by `make` if it is not there. `None` for nodes that are no map.
pub(crate) fn ensure<'n>(map: &'n mut Node, key: &str, make: impl FnOnce() -> Node) -> Option<&'n mut Node> {
    let Value::Map(entries) = &mut map.value else { return None };
    let at = match entries.iter().position(|entry| is_key(entry, key)) {
        Some(at) => at,
        None => {
            let value = make();
            entries.push(Entry { key: Node { mark: value.mark, ..Node::plain(key) }, value });
            entries.len() - 1
        }
    };
    entries.get_mut(at).map(|entry| &mut entry.value)
}

/// The scalar entries of a map as texts, whatever their types.
pub(crate) fn texts(node: Option<&Node>) -> impl Iterator<Item = (&str, &str)> {
    let entries = node.map_or(&[][..], Node::entries);
    entries.iter().filter_map(|entry| Some((&**entry.key.text()?, entry.value.text().map_or("", |text| &**text))))
}

/// Replaces a map by one whose values are all strings, sorted by key; without entries it is removed from its parent.
/// This is what becomes of labels and annotations as soon as kustomize touches them.
pub(crate) fn restate_strings(parent: &mut Node, key: &str) {
    let Some(map) = parent.get_mut(key) else { return };
    keep_last(map);
    if map.entries().is_empty() {
        remove(parent, key);
        return;
    }
    if let Value::Map(entries) = &mut map.value {
        for entry in entries.iter_mut() {
            let text = entry.value.text().cloned().unwrap_or_else(|| Text::from(""));
            entry.value = string_at(&text, entry.value.mark);
        }
    }
}

/// Of keys that are there twice, as patches may have them, keeps the last.
pub(crate) fn keep_last(map: &mut Node) {
    if second(map).is_none() {
        return;
    }
    let Value::Map(entries) = &mut map.value else { return };
    let mut places: HashMap<Option<Text>, usize> = HashMap::new();
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries.drain(..) {
        match places.get(&entry.key.text().cloned()).and_then(|at| kept.get_mut(*at)) {
            Some(before) => *before = entry,
            None => {
                places.insert(entry.key.text().cloned(), kept.len());
                kept.push(entry);
            }
        }
    }
    *entries = kept;
}

/// Joins what is there under one key of a map more than once, the last of each key of its own; null adds nothing.
pub(crate) fn join(map: &mut Node, key: &str) {
    let Value::Map(entries) = &mut map.value else { return };
    let (found, others): (Vec<Entry>, Vec<Entry>) = entries.drain(..).partition(|entry| is_key(entry, key));
    *entries = others;
    let mut found = found.into_iter();
    let Some(mut joined) = found.next() else { return };
    for entry in found {
        match (&mut joined.value.value, entry.value) {
            (_, value) if is_null(&value) => {}
            (Value::Map(entries), Node { value: Value::Map(more), .. }) => entries.extend(more),
            (_, value) => joined.value = value,
        }
    }
    keep_last(&mut joined.value);
    entries.push(joined);
}

/// Below so many entries comparing each with each is cheaper than a set.
const FEW: usize = 12;

/// The first key of a map that was there before.
fn second(map: &Node) -> Option<&Node> {
    let entries = map.entries();
    if entries.len() <= FEW {
        let was_there = |at: usize, key: &Node| entries.iter().take(at).any(|before| before.key.text() == key.text());
        return entries.iter().enumerate().map(|(at, entry)| (at, &entry.key)).find(|(at, key)| was_there(*at, key)).map(|(_, key)| key);
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().map(|entry| &entry.key).find(|key| !seen.insert(key.text()))
}

/// A key below a node that is there twice in its map.
pub(crate) fn double_key(node: &Node) -> Option<&Node> {
    second(node)
        .or_else(|| node.items().iter().find_map(double_key))
        .or_else(|| node.entries().iter().find_map(|entry| double_key(&entry.value)))
}

/// Changes all marks of a node.
pub(crate) fn remark(node: &mut Node, change: &impl Fn(Mark) -> Mark) {
    node.mark = change(node.mark);
    match &mut node.value {
        Value::Scalar(..) => {}
        Value::List(items) => items.iter_mut().for_each(|item| remark(item, change)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            remark(&mut entry.key, change);
            remark(&mut entry.value, change);
        }),
    }
}

/// How deep an object may become. The parser allows less; steps put nodes into nodes.
const MAX_DEPTH: usize = 500;

/// How much an object may become by copying parts of it, in nodes and in bytes of text. The largest CRDs have some 100,000 nodes.
const MAX_NODES: usize = 500_000;
const MAX_BYTES: usize = 32 << 20;

/// Refuses what copies make of an object that is copied into itself again and again, which doubles each time.
///
/// # Errors
/// The object has become too deep or too large.
pub(crate) fn check_growth(object: &Node) -> Result<(), String> {
    let mut rest = (MAX_NODES, MAX_BYTES);
    if weigh(object, MAX_DEPTH, &mut rest).is_some() {
        return Ok(());
    }
    Err(format!("the object becomes more than {MAX_DEPTH} deep, or more than {MAX_NODES} values or {MAX_BYTES} bytes large"))
}

/// Takes a node from what is left; `None` if that is not enough.
fn weigh(node: &Node, depth: usize, rest: &mut (usize, usize)) -> Option<()> {
    let below = depth.checked_sub(1)?;
    rest.0 = rest.0.checked_sub(1)?;
    match &node.value {
        Value::Scalar(text, ..) => rest.1 = rest.1.checked_sub(text.len())?,
        Value::List(items) => items.iter().try_for_each(|item| weigh(item, below, rest))?,
        Value::Map(entries) => entries.iter().try_for_each(|entry| {
            weigh(&entry.key, below, rest)?;
            weigh(&entry.value, below, rest)
        })?,
    }
    Some(())
}
