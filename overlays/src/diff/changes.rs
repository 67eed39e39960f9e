//! The fewest fields in which two nodes differ by meaning: items of lists are compared with the item of the same name.
//!
//! It must not know objects, nor which field may be shown.

use std::collections::HashMap;

use super::field::{FieldPath, FieldStep, item_key, item_value, step_to};
use crate::yaml::{Dialect, Node, Value};

/// A field that differs. One side may have none.
#[derive(Clone, Debug)]
pub(crate) struct Change<'n> {
    pub(crate) path: FieldPath,
    pub(crate) before: Option<&'n Node>,
    pub(crate) after: Option<&'n Node>,
    /// The items of this list are the same on both sides, but in another order.
    pub(crate) is_order: bool,
}

/// The fields in which what is at `path` differs, in the order of the later side.
pub(crate) fn changes<'n>(path: &FieldPath, before: Option<&'n Node>, after: Option<&'n Node>) -> Vec<Change<'n>> {
    let mut found = Changes { path: path.0.clone(), list: Vec::new() };
    match (before, after) {
        (None, None) => {}
        (Some(before), Some(after)) => found.compare(before, after),
        (before, after) => found.push(before, after),
    }
    found.list
}

/// Whether two nodes mean the same.
pub(crate) fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar(..), Value::Scalar(..)) => same_scalar(one, other),
        (Value::List(one), Value::List(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other)),
        (Value::Map(entries), Value::Map(others)) => {
            let other = by_key(other);
            let is_there = |entry: &crate::yaml::Entry| {
                entry.key.text().and_then(|key| other.get(&**key)).is_some_and(|node| same(&entry.value, node))
            };
            entries.len() == others.len() && entries.iter().all(is_there)
        }
        _ => false,
    }
}

fn same_scalar(one: &Node, other: &Node) -> bool {
    let (Value::Scalar(text, style, tag), Value::Scalar(other_text, other_style, other_tag)) = (&one.value, &other.value) else {
        return false;
    };
    if text == other_text && style == other_style && tag == other_tag {
        return true;
    }
    match (one.resolve(Dialect::Resource), other.resolve(Dialect::Resource)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn by_key(map: &Node) -> HashMap<&str, &Node> {
    map.entries().iter().filter_map(|entry| Some((&**entry.key.text()?, &entry.value))).collect()
}

struct Changes<'n> {
    path: Vec<FieldStep>,
    list: Vec<Change<'n>>,
}

impl<'n> Changes<'n> {
    fn push(&mut self, before: Option<&'n Node>, after: Option<&'n Node>) {
        self.list.push(Change { path: FieldPath(self.path.clone()), before, after, is_order: false });
    }

    fn below(&mut self, step: FieldStep, before: Option<&'n Node>, after: Option<&'n Node>) {
        self.path.push(step);
        match (before, after) {
            (Some(before), Some(after)) => self.compare(before, after),
            (before, after) => self.push(before, after),
        }
        self.path.pop();
    }

    fn compare(&mut self, before: &'n Node, after: &'n Node) {
        match (&before.value, &after.value) {
            (Value::Map(_), Value::Map(_)) => self.maps(before, after),
            (Value::List(old), Value::List(new)) => self.lists(before, after, old, new),
            (Value::Scalar(..), Value::Scalar(..)) if same_scalar(before, after) => {}
            _ => self.push(Some(before), Some(after)),
        }
    }

    fn maps(&mut self, before: &'n Node, after: &'n Node) {
        let (old, new) = (by_key(before), by_key(after));
        for entry in before.entries() {
            if let Some(key) = entry.key.text().filter(|key| !new.contains_key(&***key)) {
                self.below(FieldStep::Key(key.to_string()), Some(&entry.value), None);
            }
        }
        for entry in after.entries() {
            let Some(key) = entry.key.text() else { continue };
            self.below(FieldStep::Key(key.to_string()), old.get(&**key).copied(), Some(&entry.value));
        }
    }

    fn lists(&mut self, before: &'n Node, after: &'n Node, old: &'n [Node], new: &'n [Node]) {
        // Without a name in common all items are others, or one that was renamed: then their places say more.
        let share = |key: &&'static str| {
            let names: std::collections::HashSet<_> = old.iter().filter_map(|item| item_value(item, key)).collect();
            new.iter().any(|item| item_value(item, key).is_some_and(|name| names.contains(name)))
        };
        match item_key(&[old, new]).filter(share) {
            Some(key) => self.named_items(key, before, after),
            None => self.items(old, new),
        }
    }

    fn named_items(&mut self, key: &str, before: &'n Node, after: &'n Node) {
        let index = |list: &'n Node| -> HashMap<&'n str, &'n Node> {
            list.items().iter().filter_map(|item| Some((item_value(item, key)?, item))).collect()
        };
        let (old, new) = (index(before), index(after));
        let step = |value: &str| FieldStep::Item { key: key.to_owned(), value: value.to_owned() };
        let names = |list: &'n Node| list.items().iter().filter_map(|item| item_value(item, key)).collect::<Vec<_>>();
        for name in names(before).into_iter().filter(|name| !new.contains_key(name)) {
            self.below(step(name), old.get(name).copied(), None);
        }
        for name in names(after) {
            self.below(step(name), old.get(name).copied(), new.get(name).copied());
        }
        let stayed =
            |list: &'n Node| names(list).into_iter().filter(|name| old.contains_key(name) && new.contains_key(name)).collect::<Vec<_>>();
        if stayed(before) != stayed(after) {
            self.list.push(Change { path: FieldPath(self.path.clone()), before: Some(before), after: Some(after), is_order: true });
        }
    }

    /// Items without names: what is the same at both ends is left out, the rest is compared by place.
    fn items(&mut self, old: &'n [Node], new: &'n [Node]) {
        let head = old.iter().zip(new).take_while(|(one, other)| same(one, other)).count();
        let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
        let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| same(one, other)).count();
        let middle = (old_rest.len() - tail).max(new_rest.len() - tail);
        for at in 0..middle {
            let before = old_rest.get(at).filter(|_| at < old_rest.len() - tail);
            let after = new_rest.get(at).filter(|_| at < new_rest.len() - tail);
            let step = step_to(if after.is_some() { new } else { old }, head + at);
            // Two items without a common name are two items, whatever place they have.
            let step = if matches!(step, FieldStep::Item { .. }) { FieldStep::Index(head + at) } else { step };
            self.below(step, before, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn told(before: &str, after: &str) -> Vec<String> {
        let node = |text: &str| yaml::parse(text.as_bytes(), &yaml::Limits::default()).unwrap().remove(0);
        let (before, after) = (node(before), node(after));
        let text = |node: Option<&Node>| node.map_or_else(|| "-".to_owned(), |node| yaml::go_json(node).unwrap());
        let tell = |change: Change<'_>| {
            let order = if change.is_order { " (order)" } else { "" };
            format!("{}: {} {}{order}", change.path, text(change.before), text(change.after))
        };
        changes(&FieldPath::default(), Some(&before), Some(&after)).into_iter().map(tell).collect()
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        assert!(told("a: 1\nb: \"x\"\nc: {d: ~}", "b: x\nc: {d: null}\na: 0x1").is_empty());
        assert_eq!(told("a: 1", "a: \"1\""), ["a: 1 \"1\""]);
    }

    #[test]
    fn items_are_compared_with_the_item_of_the_same_name() {
        let before = "c: [{name: a, image: x}, {name: b, image: y}]";
        assert_eq!(
            told(before, "c: [{name: z}, {name: a, image: x}, {name: b, image: w}]"),
            ["c[z]: - {\"name\":\"z\"}", "c[b].image: \"y\" \"w\""]
        );
        let turned = told(before, "c: [{name: b, image: y}, {name: a, image: x}]");
        assert!(turned.len() == 1 && turned[0].ends_with(" (order)"), "{turned:?}");
    }

    #[test]
    fn of_a_list_of_values_only_what_differs_is_told() {
        assert_eq!(told("[a, b, c]", "[a, x, b, c]"), ["[1]: - \"x\""]);
        assert_eq!(told("[a, b, c]", "[a, c]"), ["[1]: \"b\" -"]);
        assert_eq!(told("[a, b]", "[a, y]"), ["[1]: \"b\" \"y\""]);
        assert_eq!(told("[{port: 80}]", "[{port: 81}]"), ["[0].port: 80 81"]);
        assert_eq!(told("{a: [1]}", "{a: {b: 1}}"), ["a: [1] {\"b\":1}"]);
        assert_eq!(told("{a: []}", "{a: [{name: x}]}"), ["a[0]: - {\"name\":\"x\"}"]);
    }
}
