//! Strategic merge as kyaml does it: maps are merged, lists are replaced or merged by key, `$patch` and null remove.
//!
//! It must not know which object a patch is for. Where kyaml surprises, the comment says so and the outcome is the same.
//!
//! kyaml walks pairs of nodes. Where only the patch has a part, that part becomes both sides of the pair, which is why nulls and
//! directives below it are obeyed too.

use std::collections::{HashMap, HashSet, hash_map};

use super::shape::{Schema, Schemas};
use crate::fields::edit;
use crate::yaml::{Dialect, Entry, Mark, Node, Scalar, Style, Text, UNTAGGED, Value};

/// Merges a patch into an object. `None`: the patch deletes it.
///
/// # Errors
/// An unknown directive, or a map where the other side has a scalar or list.
pub(crate) fn merge(schemas: &Schemas, object: Node, patch: Node) -> Result<Option<Node>, String> {
    let merger = Merger { schemas, has_doubles: edit::double_key(&patch).is_some() };
    merger.merge(Pair::Both(object, patch), None)
}

struct Merger<'a> {
    schemas: &'a Schemas,
    /// Whether a map of the patch has a key twice.
    has_doubles: bool,
}

/// What the two sides have at one path.
enum Pair {
    Neither,
    /// Only the object has it.
    Object(Node),
    /// Only the patch has it.
    Patch(Node),
    /// The patch has it, and stands for the object too: a part of something that only the patch has.
    Same(Node),
    Both(Node, Node),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Scalar,
    List,
    Map,
}

fn kind(node: &Node) -> Kind {
    match node.value {
        _ if edit::is_null(node) => Kind::Null,
        Value::Scalar(..) => Kind::Scalar,
        Value::List(_) => Kind::List,
        Value::Map(_) => Kind::Map,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

const DIRECTIVE: &str = "$patch";

/// How many items a list may have that is merged by key. Merging compares all with all; lists of containers, ports and variables have some tens.
const MAX_ITEMS: usize = 5_000;

impl Pair {
    fn new(object: Option<Node>, patch: Option<Node>) -> Self {
        match (object, patch) {
            (None, None) => Self::Neither,
            (Some(object), None) => Self::Object(object),
            (None, Some(patch)) => Self::Patch(patch),
            (Some(object), Some(patch)) => Self::Both(object, patch),
        }
    }

    /// What both sides are; null goes with everything.
    fn kind(&self) -> Result<Kind, String> {
        match self {
            Self::Neither => Ok(Kind::Null),
            Self::Object(node) | Self::Patch(node) | Self::Same(node) => Ok(kind(node)),
            Self::Both(object, patch) => match (kind(object), kind(patch)) {
                (Kind::Null, other) | (other, Kind::Null) => Ok(other),
                (one, other) if one == other => Ok(one),
                _ => Err("the patch has another type of value here than the object (a map, a list or a scalar)".to_owned()),
            },
        }
    }
}

impl<'a> Merger<'a> {
    fn merge(&self, pair: Pair, schema: Option<Schema<'a>>) -> Result<Option<Node>, String> {
        let schema = schema.or_else(|| self.schema_of(&pair));
        match pair.kind()? {
            Kind::Null => Ok(nulls(pair)),
            Kind::Scalar => Ok(scalars(pair)),
            Kind::Map => self.maps(pair, schema),
            Kind::List => match schema.and_then(Schema::merge_keys) {
                Some(keys) => self.keyed_lists(pair, &keys, schema),
                None => Ok(scalars(pair)),
            },
        }
    }

    /// Objects inside of objects (a template of a custom resource) are merged by the schema of their kinds.
    fn schema_of(&self, pair: &Pair) -> Option<Schema<'a>> {
        let of = |node: &Node| {
            let text = |key: &str| node.get(key).and_then(Node::text).filter(|text| !text.is_empty()).cloned();
            self.schemas.of_kind(&text("apiVersion")?, &text("kind")?)
        };
        match pair {
            Pair::Neither => None,
            Pair::Object(node) | Pair::Patch(node) | Pair::Same(node) => of(node),
            Pair::Both(object, patch) => of(object).or_else(|| of(patch)),
        }
    }

    fn maps(&self, pair: Pair, schema: Option<Schema<'a>>) -> Result<Option<Node>, String> {
        match pair {
            Pair::Neither => Ok(None),
            Pair::Object(object) => self.object_alone(object, schema).map(Some),
            Pair::Patch(mut patch) | Pair::Same(mut patch) => match take_directive(&mut patch)? {
                Directive::Delete => Ok(None),
                Directive::Merge | Directive::Replace => self.patch_alone(patch, schema).map(Some),
            },
            Pair::Both(object, mut patch) => {
                if edit::is_null(&patch) {
                    return Ok(None);
                }
                match take_directive(&mut patch)? {
                    Directive::Delete => Ok(None),
                    Directive::Merge if !edit::is_null(&object) => self.both(object, patch, schema).map(Some),
                    Directive::Merge | Directive::Replace => self.patch_alone(patch, schema).map(Some),
                }
            }
        }
    }

    fn entries(&self, map: Node, schema: Option<Schema<'a>>, mut pair: impl FnMut(&Entry, Node) -> Pair) -> Result<Node, String> {
        let Node { value: Value::Map(entries), mark } = map else { return Ok(map) };
        let mut kept = Vec::with_capacity(entries.len());
        let mut seen = HashSet::new();
        for entry in entries {
            // kyaml finds the first of a key only; another one stays as it is.
            if self.has_doubles && !seen.insert(key_text(&entry).to_owned()) {
                kept.push(entry);
                continue;
            }
            let of = schema.and_then(|schema| schema.field(key_text(&entry)));
            let Entry { key, value } = entry;
            let entry = Entry { key, value: Node::plain("") };
            let pair = pair(&entry, value);
            let is_replaced = matches!(&pair, Pair::Both(_, patch) if patch.text().is_some());
            if let Some(mut value) = self.merge(pair, of)? {
                if !is_replaced {
                    quote_what_reads_otherwise(&mut value);
                }
                kept.push(Entry { value, ..entry });
            }
        }
        Ok(Node { value: Value::Map(kept), mark })
    }

    /// kyaml walks what the patch does not touch as well: it drops fields without a value, and items of keyed lists that are there twice.
    fn object_alone(&self, object: Node, schema: Option<Schema<'a>>) -> Result<Node, String> {
        self.entries(object, schema, |_, value| Pair::Object(value))
    }

    fn patch_alone(&self, patch: Node, schema: Option<Schema<'a>>) -> Result<Node, String> {
        self.entries(patch, schema, |_, value| Pair::Same(value))
    }

    fn both(&self, object: Node, patch: Node, schema: Option<Schema<'a>>) -> Result<Node, String> {
        let Value::Map(additions) = patch.value else { return Ok(object) };
        let mut places: HashMap<Text, usize> = HashMap::with_capacity(additions.len());
        // Of a key that is there twice the first counts.
        let is_first = |(at, entry): (usize, Entry)| match places.entry(key_text(&entry).into()) {
            hash_map::Entry::Occupied(_) => None,
            hash_map::Entry::Vacant(place) => {
                place.insert(at);
                Some(entry)
            }
        };
        let mut additions: Vec<Option<Entry>> = additions.into_iter().enumerate().map(is_first).collect();
        let mut merged = self.entries(object, schema, |entry, value| {
            let at = entry.key.text().and_then(|key| places.get(key));
            let addition = at.and_then(|at| additions.get_mut(*at)).and_then(Option::take);
            Pair::new(Some(value), addition.map(|addition| addition.value))
        })?;
        let added = Node { value: Value::Map(additions.into_iter().flatten().collect()), mark: merged.mark };
        let added = self.entries(added, schema, |_, value| Pair::Patch(value))?;
        if let (Value::Map(entries), Value::Map(more)) = (&mut merged.value, added.value) {
            entries.extend(more);
        }
        Ok(merged)
    }

    fn keyed_lists(&self, pair: Pair, keys: &[&'a str], schema: Option<Schema<'a>>) -> Result<Option<Node>, String> {
        let lists = match pair {
            Pair::Neither => return Ok(None),
            Pair::Object(object) => Lists { mark: object.mark, object: items(object), patch: Patch::Absent },
            Pair::Patch(patch) => Lists { mark: patch.mark, object: items(patch), patch: Patch::Same },
            Pair::Same(mut patch) => match take_item_directive(&mut patch)? {
                Directive::Delete => return Ok(None),
                _ => Lists { mark: patch.mark, object: items(patch), patch: Patch::Same },
            },
            Pair::Both(_, patch) if edit::is_null(&patch) => return Ok(None),
            Pair::Both(object, patch) if edit::is_null(&object) => Lists { mark: patch.mark, object: items(patch), patch: Patch::Same },
            Pair::Both(object, mut patch) => match take_item_directive(&mut patch)? {
                Directive::Delete => return Ok(None),
                Directive::Replace => Lists { mark: patch.mark, object: items(patch), patch: Patch::Same },
                Directive::Merge => Lists { mark: object.mark, object: items(object), patch: Patch::Own(items(patch)) },
            },
        };
        let schema = schema.and_then(Schema::items);
        if keys.is_empty() { Ok(Some(lists.merge_scalars())) } else { self.merge_items(lists, keys, schema).map(Some) }
    }

    fn merge_items(&self, lists: Lists, keys: &[&str], schema: Option<Schema<'a>>) -> Result<Node, String> {
        if lists.len() > MAX_ITEMS {
            return Err(format!("a list that is merged by `{}` has more than {MAX_ITEMS} items", keys.join("`, `")));
        }
        let mut values = lists.key_values(keys);
        if keys.len() > 1 {
            complete(&mut values);
        }
        let Lists { mut object, mut patch, mark } = lists;
        let mut merged = Vec::new();
        let mut last_keys: Vec<&str> = Vec::new();
        for wanted in &values {
            let (present, wanted) = present_keys(&values, wanted, keys);
            let at = find_item(&object, &present, &wanted);
            let before = at.and_then(|at| object.get(at)).cloned();
            let (pair, stays) = patch.pair(before, &present, &wanted);
            match self.merge(pair, schema)?.filter(|item| !edit::is_empty_map(item) && !edit::is_null(item)) {
                None => set_item(&mut object, &present, &wanted, None)?,
                Some(mut item) => {
                    fill_keys(&mut item, &present, &wanted);
                    if let Some(slot) = at.and_then(|at| object.get_mut(at)).filter(|_| !stays) {
                        *slot = item.clone();
                    }
                    set_item(&mut merged, &present, &wanted, Some(item))?;
                }
            }
            last_keys = present;
        }
        let list = if values.is_empty() { object } else { append_rest(merged, object, &last_keys)? };
        Ok(Node { value: Value::List(list), mark })
    }
}

/// kyaml sets each field anew. A string without quotes gets some when it does, if YAML 1.1 takes it for something else; and what a step
/// wrote it takes for a string.
fn quote_what_reads_otherwise(value: &mut Node) {
    let Value::Scalar(text, style @ Style::Plain, tag) = &mut value.value else { return };
    let is_written = tag.as_deref() == Some(UNTAGGED);
    let is_string = |node: Node, dialect| matches!(node.resolve(dialect), Ok(Scalar::Str(_)));
    let is_text = is_written || tag.as_deref() == Some("!!str") || is_string(Node::plain(text.clone()), Dialect::Resource);
    // A tag that is written out says enough.
    if is_text && !edit::is_tagged(tag.as_deref()) && edit::reads_otherwise(text) {
        (*style, *tag) = (Style::Quoted, None);
    }
}

fn key_text(entry: &Entry) -> &str {
    entry.key.text().map_or("", |text| &**text)
}

fn items(list: Node) -> Vec<Node> {
    match list.value {
        Value::List(items) => items,
        _ => Vec::new(),
    }
}

/// A null that the patch says removes. One that the object says stays if it is written out, and goes if nothing is written.
fn nulls(pair: Pair) -> Option<Node> {
    match pair {
        Pair::Object(node) if node.text().is_some_and(|text| !text.is_empty()) => Some(node),
        _ => None,
    }
}

/// Scalars, and lists that are not merged: the patch wins.
fn scalars(pair: Pair) -> Option<Node> {
    match pair {
        Pair::Neither => None,
        Pair::Object(node) | Pair::Patch(node) | Pair::Same(node) => Some(node),
        Pair::Both(object, patch) => (!edit::is_null(&patch)).then(|| styled(patch, &object)),
    }
}

/// A scalar of a patch, written as the object's was: what takes the place of a quoted value is a string.
fn styled(mut patch: Node, object: &Node) -> Node {
    // What does not fit its tag is told when it is printed, and bytes are what they are in quotes too.
    let is_bytes = matches!(&patch.value, Value::Scalar(_, _, Some(tag)) if **tag == *"tag:yaml.org,2002:binary");
    if is_bytes || patch.resolve(Dialect::Resource).is_err() {
        return patch;
    }
    let type_tag = edit::type_tag(&patch);
    let reads_as_tagged = patch.text().is_some_and(|text| edit::type_tag(&Node::plain(text.clone())) == type_tag);
    let is_tagged = matches!(&patch.value, Value::Scalar(_, _, Some(tag)) if edit::is_tagged(Some(tag)));
    if let (Value::Scalar(_, style, tag), Value::Scalar(_, before, tag_before)) = (&mut patch.value, &object.value) {
        match (*before, *style) {
            // The tag of the patch's value is written out as the object's was.
            (Style::Plain, _) if edit::is_tagged(tag_before.as_deref()) => (*style, *tag) = (Style::Plain, Some(type_tag.into())),
            // The tag stays, but is not written out.
            (Style::Plain, _) if is_tagged && type_tag == edit::STRING_TAG => (*style, *tag) = (Style::Plain, Some("!!str".into())),
            (Style::Plain, _) if is_tagged => *style = Style::Plain,
            (Style::Plain, Style::Plain) => {}
            // Without quotes the tag still says that it is a string.
            (Style::Plain, _) => (*style, *tag) = (Style::Plain, Some("!!str".into())),
            (before, _) if is_tagged && !reads_as_tagged && type_tag != edit::STRING_TAG => *style = before,
            // Quotes are all that is left of a tag that says no more than the text.
            (before, _) => (*style, *tag) = (before, None),
        }
    }
    patch
}

fn directive(text: &str) -> Result<Directive, String> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(format!("`$patch: {other}` is unknown; it can be merge, replace or delete")),
    }
}

fn take_directive(map: &mut Node) -> Result<Directive, String> {
    match edit::remove(map, DIRECTIVE).as_ref().and_then(Node::text) {
        Some(text) => directive(text),
        None => Ok(Directive::Merge),
    }
}

/// The directive of a list is an item that holds nothing else.
fn take_item_directive(list: &mut Node) -> Result<Directive, String> {
    let Value::List(items) = &mut list.value else { return Ok(Directive::Merge) };
    let Some(item) = items.iter().find(|item| item.get(DIRECTIVE).is_some()) else { return Ok(Directive::Merge) };
    if item.entries().len() != 1 {
        return Ok(Directive::Merge);
    }
    let Some(text) = item.get(DIRECTIVE).and_then(Node::text).cloned() else { return Ok(Directive::Merge) };
    items.retain(|item| item.get(DIRECTIVE).and_then(Node::text) != Some(&text));
    directive(&text)
}

struct Lists {
    object: Vec<Node>,
    patch: Patch,
    mark: Mark,
}

/// The patch's side of a list.
enum Patch {
    Absent,
    /// The list is the patch's own, on both sides.
    Same,
    Own(Vec<Node>),
}

impl Patch {
    /// What the two sides have as one item, and whether the object's item stays as it is: kyaml merges a `$patch: replace` item
    /// into the new list, but the item that it should replace then takes its place again. A directive is done once: an item that is
    /// merged twice, for two of the object agree on one of several keys, is then like any other.
    fn pair(&mut self, object: Option<Node>, keys: &[&str], values: &[Text]) -> (Pair, bool) {
        match self {
            Self::Absent => (object.map_or(Pair::Neither, Pair::Object), false),
            Self::Same => (object.map_or(Pair::Neither, Pair::Same), false),
            Self::Own(items) => {
                let at = find_item(items, keys, values);
                let item = at.and_then(|at| items.get(at)).cloned();
                let directive = at.and_then(|at| items.get_mut(at)).and_then(|item| edit::remove(item, DIRECTIVE));
                let replaces = directive.as_ref().and_then(Node::text).is_some_and(|text| &**text == "replace");
                (Pair::new(object, item), replaces)
            }
        }
    }
}

impl Lists {
    fn len(&self) -> usize {
        self.object.len() + if let Patch::Own(items) = &self.patch { items.len() } else { 0 }
    }

    /// The values at the merge keys of all items, the patch's first: its items come first in the outcome.
    fn key_values(&self, keys: &[&str]) -> Vec<Vec<Text>> {
        let none = || Text::from("");
        let of = |item: &Node| -> Vec<Text> {
            let value = |key: &&str| item.get(key).filter(|value| !edit::is_empty(value)).and_then(Node::text).cloned();
            keys.iter().map(|key| value(key).unwrap_or_else(none)).collect()
        };
        let patch: &[Node] = if let Patch::Own(items) = &self.patch { items } else { &[] };
        let mut values: Vec<Vec<Text>> = Vec::new();
        let mut seen = HashSet::new();
        for item in patch.iter().chain(&self.object) {
            let value = of(item);
            if seen.insert(value.clone()) {
                values.push(value);
            }
        }
        values
    }

    fn merge_scalars(self) -> Node {
        let patch = if let Patch::Own(items) = self.patch { items } else { Vec::new() };
        let mut seen = HashSet::new();
        let mut is_new = |item: &Node| !edit::is_null(item) && item.text().is_none_or(|text| seen.insert(text.clone()));
        let mut items: Vec<Node> = patch.into_iter().chain(self.object).filter(|item| is_new(item)).collect();
        // Each is set anew, and forgets its type.
        for item in &mut items {
            if let Value::Scalar(_, _, tag) = &mut item.value {
                *tag = Some(UNTAGGED.into());
            }
        }
        Node { value: Value::List(items), mark: self.mark }
    }
}

/// Items that agree on one of several keys, where one of them lacks the other key, are taken for the same.
fn complete(values: &mut [Vec<Text>]) {
    for i in 0..values.len() {
        let Some(one) = values.get(i).cloned() else { return };
        for j in 0..values.len() {
            let Some(joined) = values.get(j).and_then(|other| join(&one, other)) else { continue };
            for at in [i, j] {
                if let Some(value) = values.get_mut(at) {
                    value.clone_from(&joined);
                }
            }
        }
    }
}

fn join(one: &[Text], other: &[Text]) -> Option<Vec<Text>> {
    let mut agree = false;
    let mut joined = Vec::with_capacity(one.len());
    for (a, b) in one.iter().zip(other) {
        if a == b {
            agree = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
        joined.push(if a.is_empty() { b.clone() } else { a.clone() });
    }
    agree.then_some(joined)
}

/// The keys that at least one item has, and the values wanted at them. Where no item has any, all keys.
fn present_keys<'k>(values: &[Vec<Text>], wanted: &[Text], keys: &[&'k str]) -> (Vec<&'k str>, Vec<Text>) {
    let is_present = |at: usize| values.iter().any(|value| value.get(at).is_some_and(|text| !text.is_empty()));
    let present: Vec<usize> = (0..keys.len()).filter(|at| is_present(*at)).collect();
    if present.is_empty() {
        return (keys.to_vec(), wanted.to_vec());
    }
    present.iter().filter_map(|at| Some((*keys.get(*at)?, wanted.get(*at)?.clone()))).unzip()
}

/// The first item whose values at the keys are these. A key without a wanted value is left out unless none has one.
fn find_item(items: &[Node], keys: &[&str], values: &[Text]) -> Option<usize> {
    let any = values.iter().any(|value| !value.is_empty());
    let wanted: Vec<_> = keys.iter().zip(values).filter(|(_, value)| !any || !value.is_empty()).collect();
    items.iter().position(|item| {
        let fits = |(key, value): &(&&str, &Text)| item.get(key).and_then(Node::text).is_some_and(|text| text == *value);
        matches!(item.value, Value::Map(_)) && wanted.iter().all(fits)
    })
}

/// Replaces the items that have these values by one, or adds it; without a new item they are removed.
///
/// Two things surprise, and are as in kyaml: an empty value fits every item that has the key at all, so that a patch item without
/// its key empties the list; and without any value all items go.
fn set_item(items: &mut Vec<Node>, keys: &[&str], values: &[Text], item: Option<Node>) -> Result<(), String> {
    let item = item.filter(|item| !edit::is_null(item));
    let by_key = values.first().is_some_and(|value| !value.is_empty());
    let mut found = false;
    let mut kept = Vec::with_capacity(items.len() + 1);
    for candidate in items.drain(..) {
        if edit::is_null(&candidate) || edit::is_empty_map(&candidate) {
            continue;
        }
        if !matches!(candidate.value, Value::Map(_)) {
            if !by_key {
                return Err(format!("an item of a list that is merged by `{}` is no map", keys.join("`, `")));
            }
            kept.push(candidate);
        } else if !fits(&candidate, keys, values) {
            if !values.is_empty() {
                kept.push(candidate);
            }
        } else {
            found = true;
            kept.extend(item.clone());
        }
    }
    if !found {
        kept.extend(item);
    }
    *items = kept;
    Ok(())
}

/// Whether an item has these values; keys beyond the values are not looked at.
fn fits(item: &Node, keys: &[&str], values: &[Text]) -> bool {
    !values.is_empty()
        && keys.iter().zip(values).all(|(key, value)| match item.get(key) {
            Some(have) => value.is_empty() || have.text() == Some(value),
            None => false,
        })
}

/// A merged item has its keys, even if its parts came without.
fn fill_keys(item: &mut Node, keys: &[&str], values: &[Text]) {
    for (key, value) in keys.iter().zip(values) {
        if item.get(key).is_none() && !value.is_empty() {
            edit::put(item, key, Node { value: Value::Scalar(value.clone(), Style::Plain, None), mark: item.mark });
        }
    }
}

/// Adds the object's items behind the merged ones. One that is merged already stays in its place if there is one key;
/// where there are several, kyaml moves it to the end.
fn append_rest(mut merged: Vec<Node>, rest: Vec<Node>, keys: &[&str]) -> Result<Vec<Node>, String> {
    for item in rest {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match item.get(key).and_then(Node::text) {
                Some(value) => values.push(value.clone()),
                None => merged.push(item.clone()),
            }
        }
        if keys.len() > 1 {
            set_item(&mut merged, keys, &values, None)?;
        }
        set_item(&mut merged, keys, &values, Some(item))?;
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn check(object: &str, patch: &str, expected: &str) {
        let parse = |text: &str| yaml::parse(text.as_bytes(), &yaml::Limits::default()).unwrap().remove(0);
        let print = |node: &Node| {
            let mut text = String::new();
            yaml::emit(node, &mut text).unwrap();
            text
        };
        let merged = merge(&Schemas::default(), parse(object), parse(patch)).unwrap();
        assert_eq!(merged.as_ref().map(print).unwrap_or_default(), print(&parse(expected)));
    }

    const POD: &str = "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: a:1}, {name: b, image: b:1}]}}";

    fn pod(containers: &str) -> String {
        format!("{{apiVersion: v1, kind: Pod, spec: {{containers: [{containers}]}}}}")
    }

    #[test]
    fn containers_are_merged_by_name_and_the_patched_ones_come_first() {
        check(POD, &pod("{name: b, image: b:2}"), &pod("{name: b, image: b:2}, {name: a, image: a:1}"));
        check(POD, &pod("{name: c}"), &pod("{name: c}, {name: a, image: a:1}, {name: b, image: b:1}"));
    }

    #[test]
    fn directives_delete_and_replace() {
        check(POD, &pod("{name: a, $patch: delete}"), &pod("{name: b, image: b:1}"));
        check(POD, &pod("{name: c}, {$patch: replace}"), &pod("{name: c}"));
        check("{a: {b: 1, c: 2}}", "{a: {$patch: replace, d: 3}}", "{a: {d: 3}}");
        check("{a: {b: 1}, e: 2}", "{a: {$patch: delete}}", "{e: 2}");
    }

    #[test]
    fn null_removes_also_where_nothing_was() {
        check("{a: {b: 1, c: 2}}", "{a: {b: null}, d: {e: null}}", "{a: {c: 2}, d: {}}");
    }

    #[test]
    fn lists_without_a_merge_key_are_replaced() {
        check("{a: [1, 2]}", "{a: [3]}", "{a: [3]}");
        check("{a: [1, 2]}", "{b: 1}", "{a: [1, 2], b: 1}");
    }
}
