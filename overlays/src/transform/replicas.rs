//! The number of replicas of workloads with a name.
//!
//! It must not know which kinds have replicas: the fields say so.

use super::about;
use crate::diagnostic::Code;
use crate::error::{Error, Stage};
use crate::explain::query::nearest;
use crate::fields::{self, Create, FieldSpec, edit};
use crate::layer::Replica;
use crate::objects::Objects;
use crate::yaml::{Mark, Value};

/// Sets the number of replicas.
#[derive(Debug)]
pub(crate) struct Replicas {
    pub(crate) replica: Replica,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) mark: Mark,
}

impl Replicas {
    pub(super) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        let Replica { name, count } = &self.replica;
        let mut found = false;
        for at in objects.named(name) {
            for spec in &self.fields {
                let fits = objects.get(at).is_some_and(|object| object.ids().any(|id| id.name == name && spec.gvk.selects(&id)));
                if fits {
                    found = true;
                    objects.change(at, |object| self.set(object, spec, *count)).unwrap_or(Ok(()))?;
                }
            }
        }
        if found {
            return Ok(());
        }
        let kinds: Vec<_> = self.fields.iter().map(|spec| &*spec.gvk.kind).collect();
        let error = Error::new(Stage::Transform, format!("no {} is named `{name}`", kinds.join(", "))).code_is(Code::ObjectMissing);
        let fits = |object: &&crate::object::Object| self.fields.iter().any(|spec| spec.gvk.selects(&object.now()));
        let names = objects.list().iter().filter(fits).flat_map(|object| object.ids().map(|id| id.name));
        Err(match nearest(name, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("give the name that the object has in this layer's resources"),
        })
    }

    fn set(&self, object: &mut crate::object::Object, spec: &FieldSpec, count: i64) -> Result<(), Error> {
        let mut set = |node: &mut crate::yaml::Node| {
            if !matches!(node.value, Value::Scalar(..)) {
                return Err("a single value was expected".to_owned());
            }
            *node = edit::plain_at(&count.to_string(), self.mark);
            Ok(())
        };
        fields::for_each(object, spec, Create::Scalar, &mut set).map_err(|problem| about(object, &problem))
    }
}
