//! The outcome of a rendering: ordered objects, the wanted state.
//!
//! It must not know how they came about.

use crate::error::{Error, Errors};
use crate::object::Object;
use crate::yaml;

/// Objects in order. Their identities (group, version, kind, namespace and name) are distinct.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    objects: Vec<Object>,
}

impl Manifest {
    pub(crate) fn new(objects: Vec<Object>) -> Self {
        Self { objects }
    }

    /// The objects, in order.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The objects as `kustomize build` prints them: documents parted by `---`, keys sorted.
    ///
    /// # Errors
    /// What kustomize could not print either: infinite numbers, keys that are no strings. All such objects are named.
    pub fn to_yaml(&self) -> Result<String, Errors> {
        let mut text = String::new();
        let mut errors = Vec::new();
        for object in &self.objects {
            if !text.is_empty() {
                text.push_str("---\n");
            }
            if let Err(error) = yaml::emit(object.body(), &mut text) {
                let origin = object.origin_of(error.mark());
                let file = origin.as_ref().map_or(&object.origin().file, |origin| &origin.file);
                errors.push(Error::yaml(file, &error));
            }
        }
        if errors.is_empty() { Ok(text) } else { Err(Errors(errors)) }
    }
}
