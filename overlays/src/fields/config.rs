//! Which fields the steps of one tree change: kustomize's defaults, and what `configurations:` and `crds:` add to them.
//!
//! It must not know files; a layer reads them and passes what they say.

use std::sync::{Arc, LazyLock};

use super::{FieldSpec, Gvk, tables};
use crate::order;

/// The fields that hold the name of some kinds of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameReference {
    /// What is named.
    pub(crate) target: Gvk,
    /// The fields that name it.
    pub(crate) referrers: Vec<FieldSpec>,
}

/// Which fields each kind of step changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) claim_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_references: Vec<NameReference>,
    pub(crate) var_references: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

static DEFAULTS: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let mut config = tables::defaults();
    config.sort();
    Arc::new(config)
});

impl Config {
    /// The fields that are changed without any configuration.
    pub(crate) fn defaults() -> Arc<Self> {
        Arc::clone(&DEFAULTS)
    }

    /// The same, each list in the order in which it is added to another.
    pub(crate) fn sorted(mut self) -> Self {
        self.sort();
        self
    }

    /// Adds what another configuration has; the same field is there once.
    ///
    /// # Errors
    /// Two entries for one field differ in whether it is made where it is missing.
    pub(crate) fn merge(self: &Arc<Self>, other: &Arc<Self>) -> Result<Arc<Self>, String> {
        if Arc::ptr_eq(self, other) || **other == Self::default() {
            return Ok(Arc::clone(self));
        }
        if Arc::ptr_eq(other, &DEFAULTS) && **self == Self::default() {
            return Ok(Arc::clone(other));
        }
        let mut merged = (**self).clone();
        for (mine, theirs) in merged.lists().into_iter().zip(other.as_ref().clone().lists()) {
            merge_specs(mine, theirs)?;
        }
        for reference in &other.name_references {
            merged.merge_reference(reference)?;
        }
        merged.sort();
        Ok(Arc::new(merged))
    }

    /// Adds fields that hold a name.
    pub(crate) fn merge_reference(&mut self, reference: &NameReference) -> Result<(), String> {
        match self.name_references.iter_mut().find(|mine| mine.target == reference.target) {
            Some(mine) => merge_specs(&mut mine.referrers, &reference.referrers),
            None => {
                self.name_references.push(reference.clone());
                Ok(())
            }
        }
    }

    fn lists(&mut self) -> [&mut Vec<FieldSpec>; 11] {
        [
            &mut self.name_prefix,
            &mut self.name_suffix,
            &mut self.namespace,
            &mut self.common_annotations,
            &mut self.common_labels,
            &mut self.labels,
            &mut self.template_labels,
            &mut self.claim_labels,
            &mut self.var_references,
            &mut self.images,
            &mut self.replicas,
        ]
    }

    /// The order decides which of two entries for one field comes first, so it must be kustomize's.
    fn sort(&mut self) {
        self.lists().into_iter().for_each(|list| list.sort_by_cached_key(|spec| order::of_kind(&spec.gvk)));
        self.name_references.sort_by_cached_key(|reference| order::of_kind(&reference.target));
    }
}

/// Adds fields to a list. One that is there already, for the same kinds or for fewer, is not added.
///
/// # Errors
/// Two entries for one field differ in whether it is made where it is missing.
pub(crate) fn merge_specs(specs: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), String> {
    for spec in more {
        match specs.iter().find(|have| have.path == spec.path && have.gvk.is_within(&spec.gvk)) {
            Some(have) if have.create != spec.create => {
                return Err(format!("field `{}` is given twice, once with `create: true` and once without", spec.path));
            }
            Some(_) => {}
            None => specs.push(spec.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_the_defaults_with_themselves_adds_nothing() {
        let defaults = Config::defaults();
        let again = Arc::new((*defaults).clone());
        assert_eq!(*defaults.merge(&again).unwrap(), *defaults);
    }

    #[test]
    fn an_entry_for_one_kind_displaces_the_entry_for_all() {
        let own = FieldSpec { gvk: Gvk { kind: "Host".into(), ..Gvk::default() }, ..FieldSpec::of_all("metadata/name", false) };
        let additions = Arc::new(Config { name_prefix: vec![own.clone()], ..Config::default() });
        let config = Config::defaults().merge(&additions).unwrap();
        assert_eq!(Arc::new(Config::default()).merge(&config).unwrap().name_prefix, [own]);
    }

    #[test]
    fn one_field_with_two_wishes_is_an_error() {
        let mut specs = vec![FieldSpec::of_all("metadata/labels", true)];
        assert!(merge_specs(&mut specs, &[FieldSpec::of_all("metadata/labels", false)]).is_err());
    }
}
