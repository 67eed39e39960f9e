//! Steps that change objects: what a kustomization's fields ask for, and the same as configured by files.
//!
//! It must not know files or layers: whoever makes a step has read what it needs.

use crate::error::{Error, Stage};
use crate::object::Object;
use crate::objects::Objects;
use crate::patch::shape::Schemas;
use crate::replacements::Replacements;
use crate::values::AddValue;

mod images;
mod names;
mod namespace;
mod patches;
mod replicas;
mod texts;

pub(crate) use images::Images;
pub(crate) use names::Affix;
pub(crate) use namespace::{Namespace, Subjects};
pub(crate) use patches::{Content, Document, JsonPatch, Patch, StrategicPatches, near};
pub(crate) use replicas::Replicas;
pub(crate) use texts::Texts;

/// One step.
#[derive(Debug)]
pub(crate) enum Step {
    StrategicPatches(StrategicPatches),
    Patch(Patch),
    JsonPatch(JsonPatch),
    Namespace(Namespace),
    Prefix(Affix),
    Suffix(Affix),
    Labels(Texts),
    Annotations(Texts),
    Replicas(Replicas),
    Images(Images),
    Replacements(Replacements),
    AddValue(AddValue),
    /// Gives generated maps the hash of their content.
    Hash,
}

impl Step {
    /// What kustomize calls the step.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::StrategicPatches(_) => "PatchStrategicMergeTransformer",
            Self::Patch(_) => "PatchTransformer",
            Self::JsonPatch(_) => "PatchJson6902Transformer",
            Self::Namespace(_) => "NamespaceTransformer",
            Self::Prefix(_) => "PrefixTransformer",
            Self::Suffix(_) => "SuffixTransformer",
            Self::Labels(_) => "LabelTransformer",
            Self::Annotations(_) => "AnnotationsTransformer",
            Self::Replicas(_) => "ReplicaCountTransformer",
            Self::Images(_) => "ImageTagTransformer",
            Self::Replacements(_) => "ReplacementTransformer",
            Self::AddValue(_) => "ValueAddTransformer",
            Self::Hash => "HashTransformer",
        }
    }

    /// Changes the objects.
    ///
    /// # Errors
    /// The step has no target, or does not fit what it finds. The error has a place if the step knows a better one than its own.
    pub(crate) fn apply(&self, objects: &mut Objects, schemas: &Schemas) -> Result<(), Error> {
        match self {
            Self::StrategicPatches(step) => step.apply(objects, schemas)?,
            Self::Patch(step) => step.apply(objects, schemas)?,
            Self::JsonPatch(step) => step.apply(objects)?,
            Self::Namespace(step) => step.apply(objects)?,
            Self::Prefix(step) => names::prefix(step, objects)?,
            Self::Suffix(step) => names::suffix(step, objects)?,
            Self::Labels(step) | Self::Annotations(step) => step.apply(objects)?,
            Self::Replicas(step) => step.apply(objects)?,
            Self::Images(step) => step.apply(objects)?,
            Self::Replacements(step) => step.apply(objects)?,
            Self::AddValue(step) => step.apply(objects)?,
            Self::Hash => names::hash(objects)?,
        }
        objects.settle(matches!(self, Self::StrategicPatches(_) | Self::Patch(_)));
        objects.drop_empty();
        Ok(())
    }
}

/// An error about an object, at the place where the object was written unless the step knows better.
fn about(object: &Object, problem: &str) -> Error {
    Error::new(Stage::Transform, format!("{}: {problem}", object.id()))
}
