//! Labels and annotations.
//!
//! It must not know which of the two they are: the fields say where they go.

use super::about;
use crate::error::Error;
use crate::fields::{self, Create, FieldSpec, edit};
use crate::layer;
use crate::objects::Objects;
use crate::yaml::{Mark, Node, Value};

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
            for spec in &self.fields {
                let outcome = fields::for_each(object, spec, Create::Map, &mut |node| set_all(node, &self.texts, self.mark));
                outcome.map_err(|problem| about(object, &problem))?;
            }
        }
        Ok(())
    }
}

fn set_all(node: &mut Node, texts: &layer::Texts, mark: Mark) -> Result<(), String> {
    match &node.value {
        Value::Map(_) => {}
        // A null that is not to be made a map is left as it is.
        _ if edit::is_null(node) => return Ok(()),
        _ => return Err("a map was expected".to_owned()),
    }
    for (key, value) in texts {
        edit::put_any(node, key, edit::string_at(value, mark));
    }
    Ok(())
}
