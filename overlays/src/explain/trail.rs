//! What is kept of one object while a tree is rendered: what it was after each step that touched it.
//!
//! It must not know the steps, only what they are called and where they are asked for.

use std::sync::Arc;

use crate::object::{Object, Origin};
use crate::yaml::Node;

/// A step, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The field of a kustomization that asks for it, or the kind of its configuration.
    pub(crate) step: String,
    /// Where it is asked for.
    pub(crate) asked: Option<Origin>,
}

/// An object after a step.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) cause: Arc<Cause>,
    pub(crate) body: Arc<Node>,
    /// What the marks with file number 0 mean.
    pub(crate) origin: Origin,
}

/// The snapshots of one object, the oldest first. It goes with the object through all steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(pub(crate) Vec<Snapshot>);

impl Trail {
    /// Keeps what the object is now, unless that was kept already.
    pub(crate) fn keep(object: &mut Object, cause: &Arc<Cause>) {
        let (body, origin) = (object.shared_body(), object.origin().clone());
        let trail = object.history.trail.get_or_insert_default();
        if trail.0.last().is_none_or(|last| !Arc::ptr_eq(&last.body, &body)) {
            trail.0.push(Snapshot { cause: Arc::clone(cause), body, origin });
        }
    }
}

/// Which objects to watch: those that were given this kind and name when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Watched {
    pub(crate) fn of(object: &Object) -> Self {
        let first = object.first();
        Self { kind: first.kind.to_owned(), name: first.name.to_owned() }
    }

    pub(crate) fn is(&self, object: &Object) -> bool {
        let first = object.first();
        object.history.trail.is_some() || (first.kind == self.kind && first.name == self.name)
    }
}
