//! Values that kustomize keeps once in memory and shows in several fields of an object: whatever later changes one of these fields
//! changes all of them. A label that `commonLabels` added to a Deployment is its selector too, and a patch of the label alone changes both.
//!
//! It must not know which steps share values, nor which change them.

use crate::object::Object;
use crate::yaml::{Node, Text, Value};

/// A value and the fields that show it, as keys and indices from the root of the object.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    text: Text,
    paths: Vec<Vec<Text>>,
}

/// The fields that hold this very text, not only one that reads the same; `None` if there are fewer than two.
pub(crate) fn found(body: &Node, text: &Text) -> Option<Shared> {
    let mut paths = Vec::new();
    search(body, text, &mut Vec::new(), &mut paths);
    (paths.len() > 1).then(|| Shared { text: text.clone(), paths })
}

fn search(node: &Node, text: &Text, here: &mut Vec<Text>, found: &mut Vec<Vec<Text>>) {
    let mut step = |key: Text, child: &Node| {
        here.push(key);
        search(child, text, here, found);
        here.pop();
    };
    match &node.value {
        Value::Scalar(have, ..) => {
            if have.is(text) {
                found.push(here.clone());
            }
        }
        Value::List(items) => items.iter().enumerate().for_each(|(at, item)| step(at.to_string().into(), item)),
        Value::Map(entries) => entries.iter().filter_map(|entry| Some((entry.key.text()?, &entry.value))).for_each(|(key, value)| {
            step(key.clone(), value);
        }),
    }
}

fn at<'n>(body: &'n Node, path: &[Text]) -> Option<&'n Node> {
    path.iter().try_fold(body, |node, step| match &node.value {
        Value::List(items) => items.get(step.parse::<usize>().ok()?),
        _ => node.get(step),
    })
}

fn at_mut<'n>(body: &'n mut Node, path: &[Text]) -> Option<&'n mut Node> {
    path.iter().try_fold(body, |node, step| {
        if matches!(node.value, Value::Map(_)) {
            return node.get_mut(step);
        }
        let Value::List(items) = &mut node.value else { return None };
        items.get_mut(step.parse::<usize>().ok()?)
    })
}

/// Lets the other fields follow one that a step changed. Where the step `replaces_lists`, what stands in a list may be something new.
pub(crate) fn settle(object: &mut Object, replaces_lists: bool) {
    let mut all = std::mem::take(&mut object.history.shared);
    all.retain_mut(|shared| shared.settle(object, replaces_lists));
    object.history.shared = all;
}

/// Forgets the annotations of the object itself, which kustomize writes anew when it notes something there.
pub(crate) fn forget_annotations(all: &mut Vec<Shared>) {
    let is_annotation = |path: &Vec<Text>| path.iter().map(|step| &**step).take(2).eq(["metadata", "annotations"]);
    all.retain_mut(|shared| {
        shared.paths.retain(|path| !is_annotation(path));
        shared.paths.len() > 1
    });
}

impl Shared {
    /// Whether there is anything left to share.
    fn settle(&mut self, object: &mut Object, replaces_lists: bool) -> bool {
        let text_at = |path: &[Text]| at(object.body(), path).and_then(Node::text);
        let is_in_list = |path: &[Text]| path.iter().any(|step| step.parse::<usize>().is_ok());
        self.paths.retain(|path| text_at(path).is_some_and(|text| *text == self.text || !(replaces_lists && is_in_list(path))));
        let changed = self.paths.iter().find(|path| text_at(path).is_some_and(|text| *text != self.text));
        if let Some(new) = changed.and_then(|path| at(object.body(), path)).cloned() {
            self.text = new.text().unwrap_or(&self.text).clone();
            for path in &self.paths {
                if let Some(node) = at_mut(object.body_mut(), path) {
                    *node = new.clone();
                }
            }
        }
        self.paths.len() > 1
    }
}
