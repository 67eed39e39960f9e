//! Labels and annotations.
//!
//! It must not know which of the two they are: the fields say where they go.

use super::about;
use crate::error::Error;
use crate::fields::{self, Create, FieldSpec, edit};
use crate::layer;
use crate::objects::Objects;
use crate::shared;
use crate::yaml::{Entry, Mark, Node, Text, Value};

/// Sets all texts in all fields.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) texts: layer::Texts,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) mark: Mark,
}

impl Texts {
    pub(super) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        if self.texts.is_empty() {
            return Ok(());
        }
        for object in objects.list_mut() {
            // One text for all the fields of an object, so that those which share it can be told.
            let texts: Vec<(&str, Text)> = self.texts.iter().map(|(key, text)| (&**key, text.as_str().into())).collect();
            let mut made = 0;
            for spec in &self.fields {
                if spec.path == "metadata/annotations" && !spec.create && spec.fits(object) {
                    object.ensure_annotations();
                    object.open_annotations();
                }
                let outcome = fields::for_each(object, spec, Create::Map, &mut |node| {
                    made += set_all(node, &texts, self.mark)?;
                    Ok(())
                });
                outcome.map_err(|problem| about(object, &problem))?;
            }
            if made > 1 {
                let shared = texts.iter().filter_map(|(_, text)| shared::found(object.body(), text));
                object.history.shared.extend(shared.collect::<Vec<_>>());
            }
        }
        Ok(())
    }
}

/// Sets the texts in a map, and says how many were not there.
fn set_all(node: &mut Node, texts: &[(&str, Text)], mark: Mark) -> Result<usize, String> {
    // A null that is not to be made a map is left as it is.
    if edit::is_null(node) {
        return Ok(0);
    }
    let Value::Map(entries) = &mut node.value else { return Err("a map was expected".to_owned()) };
    let before = entries.len();
    for (key, text) in texts {
        match entries.iter_mut().find(|entry| edit::is_key(entry, key)) {
            Some(entry) if entry.value.text().is_some_and(|have| have.is(text)) => {}
            // Of a field that was there only the content changes, not the style: it shares nothing with the fields that are made.
            Some(entry) => entry.value = edit::string_like(&entry.value, text, mark),
            None => entries.push(Entry { key: edit::plain_at(key, mark), value: edit::written_at(text, mark) }),
        }
    }
    Ok(entries.len() - before)
}
