//! Prefixes, suffixes, and the hashes of generated maps.
//!
//! It must not know who refers to a name: references are put right once, at the end, from the names that objects had.

use super::about;
use crate::error::Error;
use crate::fields::{self, Create, FieldSpec, edit};
use crate::generate;
use crate::object::{Id, Object};
use crate::objects::Objects;
use crate::yaml::{Mark, Node, Text};

/// A text that is put before or behind names.
#[derive(Debug)]
pub(crate) struct Affix {
    pub(crate) text: String,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) mark: Mark,
}

/// Puts a text before names.
pub(super) fn prefix(step: &Affix, objects: &mut Objects) -> Result<(), Error> {
    apply(step, objects, |object| &mut object.history.prefixes, |name| format!("{}{name}", step.text))
}

/// Puts a text behind names.
pub(super) fn suffix(step: &Affix, objects: &mut Objects) -> Result<(), Error> {
    apply(step, objects, |object| &mut object.history.suffixes, |name| format!("{name}{}", step.text))
}

const NAME: &str = "metadata/name";

fn apply(
    step: &Affix,
    objects: &mut Objects,
    affixes: impl Fn(&mut Object) -> &mut Vec<Text>,
    renamed: impl Fn(&str) -> String,
) -> Result<(), Error> {
    if step.text.is_empty() {
        return Ok(());
    }
    for object in objects.list_mut() {
        if keeps_its_name(&object.first()) {
            continue;
        }
        for spec in &step.fields {
            if !spec.gvk.selects(&object.first()) {
                continue;
            }
            if spec.path == NAME {
                object.remember();
                affixes(object).push(Text::from(step.text.as_str()));
            }
            let mut set = |node: &mut Node| rename(node, step.mark, &renamed);
            let outcome = fields::for_each(object, spec, Create::Scalar, &mut set);
            outcome.map_err(|problem| about(object, &problem))?;
        }
    }
    Ok(())
}

/// The names of definitions and of aggregated APIs say what they define, and a Namespace is renamed by the namespace step only.
fn keeps_its_name(id: &Id<'_>) -> bool {
    match id.kind {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => id.group == "apiregistration.k8s.io",
        _ => false,
    }
}

fn rename(node: &mut Node, mark: Mark, renamed: impl Fn(&str) -> String) -> Result<(), String> {
    let text = renamed(node.text().ok_or("a single value was expected")?);
    edit::set_text(node, &text, mark);
    Ok(())
}

/// Appends the hash of its content to the name of each map that wants one.
pub(super) fn hash(objects: &mut Objects) -> Result<(), Error> {
    for object in objects.list_mut() {
        if !object.wants_hash() {
            continue;
        }
        let hash = generate::hash(object).map_err(|problem| about(object, &problem))?;
        object.remember();
        let name = format!("{}-{hash}", object.name());
        if let Some(node) = object.body_mut().get_mut("metadata").and_then(|metadata| metadata.get_mut("name")) {
            let mark = node.mark;
            edit::set_text(node, &name, mark);
        }
    }
    Ok(())
}
