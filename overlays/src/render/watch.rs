//! Keeps what each step makes of the object that is to be explained. Nothing is kept, and nothing copied, when none is.
//!
//! It must not know what a step does.

use std::sync::Arc;

use super::{Build, Layer};
use crate::explain::trail::{Cause, Trail};
use crate::object::{Object, Origin};
use crate::objects::Objects;
use crate::path::RepoPath;
use crate::transform::Step;
use crate::yaml::Mark;

impl Build<'_> {
    /// Keeps what a step made of the watched objects.
    pub(super) fn watch(&self, objects: &mut Objects, cause: impl FnOnce() -> Cause) {
        if self.watched.is_some() {
            self.watch_all(objects.list_mut(), cause);
        }
    }

    /// As [`Build::watch`], for objects that are in no layer yet, or no more.
    pub(super) fn watch_all(&self, objects: &mut [Object], cause: impl FnOnce() -> Cause) {
        let Some(watched) = &self.watched else { return };
        let cause = Arc::new(cause());
        objects.iter_mut().filter(|object| watched.is(object)).for_each(|object| Trail::keep(object, &cause));
    }
}

/// A step of a kustomization's own fields, or what its files describe.
pub(super) fn asked(step: &str, file: &RepoPath, mark: Mark) -> Cause {
    let asked = Origin { file: file.clone(), line: mark.line, column: mark.column };
    Cause { step: step.to_owned(), asked: Some(asked) }
}

/// What is written where its places are, or done once, at the end, for the tree as a whole.
pub(super) fn unasked(step: &str) -> Cause {
    Cause { step: step.to_owned(), asked: None }
}

/// The field of a kustomization that a step comes from.
pub(super) fn field(step: &Step, layer: &Layer, mark: Mark) -> &'static str {
    match step {
        Step::StrategicPatches(_) => "patchesStrategicMerge",
        Step::Patch(_) => "patches",
        Step::JsonPatch(_) => "patchesJson6902",
        Step::Namespace(_) => "namespace",
        Step::Prefix(_) => "namePrefix",
        Step::Suffix(_) => "nameSuffix",
        Step::Labels(_) if mark == layer.kustomization.common_labels.mark => "commonLabels",
        Step::Labels(_) => "labels",
        Step::Annotations(_) => "commonAnnotations",
        Step::Replicas(_) => "replicas",
        Step::Images(_) => "images",
        Step::Replacements(_) => "replacements",
        Step::AddValue(_) => "transformers",
        Step::Hash => "hash of the content",
    }
}
