//! Values that a configuration file adds to fields, whole or as a part of a path.
//!
//! It must not know files.

use serde::Deserialize;

use crate::error::{Error, Stage};
use crate::fields::{edit, split_path};
use crate::object::Object;
use crate::objects::Objects;
use crate::select::Selector;
use crate::transform::{Namespace, Subjects};
use crate::yaml::{Mark, Node, Value};

/// Where a value goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ValueTarget {
    selector: Option<Selector>,
    field_path: String,
    file_path_position: i64,
}

/// Adds a value to fields.
#[derive(Debug)]
pub(crate) struct AddValue {
    value: String,
    targets: Vec<ValueTarget>,
    mark: Mark,
}

impl AddValue {
    /// # Errors
    /// There is no target, or one names no field.
    pub(crate) fn new(value: String, targets: Vec<ValueTarget>, mark: Mark) -> Result<Self, String> {
        if targets.is_empty() {
            return Err("a ValueAddTransformer needs at least one target".to_owned());
        }
        if targets.iter().any(|target| target.field_path.is_empty() || target.file_path_position < 0) {
            return Err("a target needs a `fieldPath`, and its `filePathPosition` can't be negative".to_owned());
        }
        Ok(Self { value, targets, mark })
    }

    pub(crate) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        for target in &self.targets {
            let matcher = target.selector.as_ref().map(Selector::matcher).transpose();
            let matcher = matcher.map_err(|problem| Error::new(Stage::Transform, problem))?;
            for object in objects.list_mut() {
                if matcher.as_ref().is_none_or(|matcher| matcher.selects(object)) {
                    self.add(object, target).map_err(|problem| Error::new(Stage::Transform, format!("{}: {problem}", object.id())))?;
                }
            }
        }
        Ok(())
    }

    fn add(&self, object: &mut Object, target: &ValueTarget) -> Result<(), String> {
        if target.field_path == "metadata/namespace" {
            let subjects = Subjects::NamedDefault;
            let step = Namespace { name: self.value.clone(), fields: Vec::new(), unset_only: false, subjects, mark: self.mark };
            return step.set(object);
        }
        let mut node = object.body_mut();
        let path: Vec<String> = split_path(&target.field_path, '/').iter().map(|key| key.trim().to_owned()).collect();
        let (last, above) = path.split_last().ok_or("a target needs a `fieldPath`")?;
        for key in above {
            if edit::is_null(node) {
                return Ok(());
            }
            node = edit::ensure(node, key, Node::map).ok_or_else(|| format!("there is no map that could have the key `{key}`"))?;
        }
        // Below a null kustomize adds it where nobody sees it.
        if edit::is_null(node) {
            return Ok(());
        }
        let node =
            edit::ensure(node, last, || Node::plain("")).ok_or_else(|| format!("there is no map that could have the key `{last}`"))?;
        let Value::Scalar(old, ..) = &node.value else { return Err(format!("`{}` is no single value", target.field_path)) };
        let old = old.clone();
        let text = match target.file_path_position {
            0 => self.value.clone(),
            position => with_segment(&old, position, &self.value),
        };
        edit::set_text(node, &text, self.mark);
        Ok(())
    }
}

/// A file path with a segment put in at a position, counted from 1. A leading slash stays in front; beyond the end means at the end.
fn with_segment(path: &str, position: i64, segment: &str) -> String {
    let (root, rest) = path.strip_prefix('/').map_or(("", path), |rest| ("/", rest));
    let mut segments: Vec<&str> = rest.split('/').filter(|segment| !segment.is_empty()).collect();
    let at = usize::try_from(position - 1).unwrap_or(0).min(segments.len());
    segments.insert(at, segment);
    format!("{root}{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_where_it_is_wanted() {
        assert_eq!(with_segment("", 1, "p"), "p");
        assert_eq!(with_segment("/", 3, "p"), "/p");
        assert_eq!(with_segment("/pie", 1, "p"), "/p/pie");
        assert_eq!(with_segment("a/nice/warm/pie", 4, "p"), "a/nice/warm/p/pie");
        assert_eq!(with_segment("raw", 9, "p"), "raw/p");
    }
}
