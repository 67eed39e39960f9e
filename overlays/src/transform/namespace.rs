//! The namespace of all objects that can have one.
//!
//! It must not know who refers to an object in its old namespace: that is put right at the end, from what objects were.

use super::about;
use crate::error::{Error, Stage};
use crate::fields::{self, Create, FieldSpec, edit};
use crate::object::Object;
use crate::objects::Objects;
use crate::yaml::{Mark, Node, Value};

/// Sets the namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) fields: Vec<FieldSpec>,
    /// Whether a namespace that is written stays.
    pub(crate) unset_only: bool,
    pub(crate) subjects: Subjects,
    pub(crate) mark: Mark,
}

/// Which subjects of (Cluster)RoleBindings get the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Those named `default`, of any kind.
    #[default]
    NamedDefault,
    /// All service accounts.
    ServiceAccounts,
    None,
}

/// Marks objects that a Helm chart made.
const HELM: &str = "internal.config.kubernetes.io/helm-generated";

const METADATA_NAMESPACE: &str = "metadata/namespace";

impl Namespace {
    pub(super) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        if self.name.is_empty() {
            return Ok(());
        }
        // A chart has put its objects where it wants them.
        for object in objects.list_mut().iter_mut().filter(|object| object.annotation(HELM) != Some("true")) {
            object.remember();
            self.set(object).map_err(|problem| about(object, &problem))?;
        }
        match objects.duplicate() {
            None => Ok(()),
            Some((one, other)) => Err(Error::new(
                Stage::Transform,
                format!(
                    "the namespace `{}` makes two objects one: {} ({}) and {} ({})",
                    self.name,
                    one.id(),
                    one.origin(),
                    other.id(),
                    other.origin()
                ),
            )
            .hint("rename one of them, or leave one out")),
        }
    }

    /// Sets the namespace of one object.
    pub(crate) fn set(&self, object: &mut Object) -> Result<(), String> {
        let own = FieldSpec::of_all(METADATA_NAMESPACE, true);
        let mut set = |node: &mut Node| self.set_text(node);
        if !object.now().is_cluster_scoped() {
            fields::for_each(object, &own, Create::Scalar, &mut set)?;
        }
        let is_binding = matches!(object.kind(), "RoleBinding" | "ClusterRoleBinding");
        if is_binding {
            self.set_subjects(object)?;
        }
        let is_core = object.api_version() == "v1";
        for spec in &self.fields {
            let is_special = spec.path == METADATA_NAMESPACE
                || (spec.path == "metadata/name" && !is_core)
                || (spec.path == "subjects/namespace" && is_binding && matches!(&*spec.gvk.kind, "RoleBinding" | "ClusterRoleBinding"));
            if !is_special {
                fields::for_each(object, spec, Create::Scalar, &mut set)?;
            }
        }
        Ok(())
    }

    fn set_text(&self, node: &mut Node) -> Result<(), String> {
        let Value::Scalar(text, ..) = &node.value else {
            return Err("a namespace can only be set where a single value is".to_owned());
        };
        if !self.unset_only || text.is_empty() {
            *node = edit::string_at(&self.name, self.mark);
        }
        Ok(())
    }

    fn set_subjects(&self, object: &mut Object) -> Result<(), String> {
        let (key, value) = match self.subjects {
            Subjects::NamedDefault => ("name", "default"),
            Subjects::ServiceAccounts => ("kind", "ServiceAccount"),
            Subjects::None => return Ok(()),
        };
        let Some(subjects) = object.body_mut().get_mut("subjects") else { return Ok(()) };
        let Value::List(subjects) = &mut subjects.value else { return Ok(()) };
        for subject in subjects {
            if subject.get(key).and_then(Node::text).is_some_and(|text| **text == *value)
                && let Some(namespace) = edit::ensure(subject, "namespace", || Node::plain(""))
            {
                self.set_text(namespace)?;
            }
        }
        Ok(())
    }
}
