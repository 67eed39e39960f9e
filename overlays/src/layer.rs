//! A layer: what one directory's kustomization file says, as types.
//!
//! It must not know how the steps work, nor where files come from.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fields::{FieldSpec, Gvk};
use crate::select::Selector;

pub(crate) mod decode;

pub(crate) use decode::Placed;

/// The names that a kustomization file may have; a directory holds one of them.
pub(crate) const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

pub(crate) type Texts = BTreeMap<String, String>;

/// What a kustomization file says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Kustomization {
    pub(crate) api_version: Placed<String>,
    pub(crate) kind: Placed<String>,
    pub(crate) metadata: Metadata,
    pub(crate) openapi: Texts,
    pub(crate) name_prefix: Placed<String>,
    pub(crate) name_suffix: Placed<String>,
    pub(crate) namespace: Placed<String>,
    pub(crate) common_labels: Placed<Texts>,
    pub(crate) labels: Vec<Placed<Label>>,
    pub(crate) common_annotations: Placed<Texts>,
    pub(crate) patches_strategic_merge: Vec<Placed<String>>,
    pub(crate) patches_json6902: Vec<Placed<Patch>>,
    pub(crate) patches: Vec<Placed<Patch>>,
    pub(crate) images: Vec<Placed<Image>>,
    pub(crate) image_tags: Vec<Placed<Image>>,
    pub(crate) replacements: Vec<Placed<Replacement>>,
    pub(crate) replicas: Vec<Placed<Replica>>,
    pub(crate) vars: Vec<Placed<Var>>,
    pub(crate) sort_options: Option<SortOptions>,
    pub(crate) resources: Vec<Placed<String>>,
    pub(crate) components: Vec<Placed<String>>,
    pub(crate) crds: Vec<Placed<String>>,
    pub(crate) bases: Vec<Placed<String>>,
    pub(crate) config_map_generator: Vec<Placed<Generator>>,
    pub(crate) secret_generator: Vec<Placed<Generator>>,
    pub(crate) helm_globals: Option<Placed<IgnoredAny>>,
    pub(crate) helm_charts: Vec<Placed<IgnoredAny>>,
    pub(crate) helm_chart_inflation_generator: Vec<Placed<IgnoredAny>>,
    pub(crate) generator_options: GeneratorOptions,
    pub(crate) configurations: Vec<Placed<String>>,
    pub(crate) generators: Vec<Placed<String>>,
    pub(crate) transformers: Vec<Placed<String>>,
    pub(crate) validators: Vec<Placed<String>>,
    pub(crate) build_metadata: Vec<String>,
}

/// `metadata:` of a kustomization, or of a step's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: Texts,
    pub(crate) annotations: Texts,
}

/// An entry of `labels:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Label {
    pub(crate) pairs: Texts,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) include_volume_claim_templates: bool,
    pub(crate) fields: Vec<Field>,
}

/// A field specification as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Field {
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) group: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) version: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) create: bool,
}

impl From<&Field> for FieldSpec {
    fn from(field: &Field) -> Self {
        let gvk = Gvk { group: field.group.clone(), version: field.version.clone(), kind: field.kind.clone() };
        Self { gvk, path: field.path.clone(), create: field.create }
    }
}

/// An entry of `patches:`, and of `patchesJson6902:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) patch: Placed<String>,
    pub(crate) target: Option<Selector>,
    pub(crate) options: PatchOptions,
}

/// What a patch may change besides the fields that it names.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PatchOptions {
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
}

/// An entry of `images:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

/// An entry of `replicas:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

/// An entry of `replacements:`, or of a file that one names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Replacement {
    pub(crate) source: Option<ReplacementSource>,
    pub(crate) targets: Option<Vec<ReplacementTarget>>,
    pub(crate) source_value: Option<String>,
    pub(crate) path: String,
}

/// Where a replacement's value is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ReplacementSource {
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) group: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) version: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) name: String,
    #[serde(deserialize_with = "decode::exact")]
    pub(crate) namespace: String,
    pub(crate) field_path: String,
    pub(crate) options: FieldOptions,
}

/// Where a replacement's value goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ReplacementTarget {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: FieldOptions,
}

/// Which part of a field a replacement means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    pub(crate) encoding: String,
    pub(crate) create: bool,
}

/// An entry of `vars:`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Var {
    pub(crate) name: String,
    pub(crate) objref: ObjectReference,
    pub(crate) fieldref: FieldReference,
}

/// The object that a var reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ObjectReference {
    pub(crate) api_version: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The field that a var reads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FieldReference {
    pub(crate) field_path: String,
}

/// `sortOptions:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SortOptions {
    pub(crate) order: Placed<String>,
    pub(crate) legacy_sort_options: Option<LegacySortOptions>,
}

/// Which kinds come first and last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LegacySortOptions {
    pub(crate) order_first: Vec<String>,
    pub(crate) order_last: Vec<String>,
}

/// An entry of `configMapGenerator:` or `secretGenerator:`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Generator {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) behavior: String,
    pub(crate) literals: Vec<Placed<String>>,
    pub(crate) files: Vec<Placed<String>>,
    pub(crate) envs: Vec<Placed<String>>,
    pub(crate) env: Placed<String>,
    pub(crate) options: GeneratorOptions,
    /// The type of a Secret.
    #[serde(rename = "type")]
    pub(crate) secret_type: String,
}

/// What generated objects have in common.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GeneratorOptions {
    pub(crate) labels: Texts,
    pub(crate) annotations: Texts,
    pub(crate) disable_name_suffix_hash: bool,
    pub(crate) immutable: bool,
}

impl GeneratorOptions {
    /// Options of one generator over those of the file: its own labels and annotations win, a switch that is on stays on.
    pub(crate) fn over(&self, file: &Self) -> Self {
        let both = |own: &Texts, file: &Texts| {
            let mut both = file.clone();
            both.extend(own.clone());
            both
        };
        Self {
            labels: both(&self.labels, &file.labels),
            annotations: both(&self.annotations, &file.annotations),
            disable_name_suffix_hash: self.disable_name_suffix_hash || file.disable_name_suffix_hash,
            immutable: self.immutable || file.immutable,
        }
    }
}

impl Kustomization {
    /// Whether this is a component, which changes what its parent has.
    pub(crate) fn is_component(&self) -> bool {
        self.kind.value == "Component"
    }

    /// Moves what stands under old names to where it belongs.
    pub(crate) fn modernize(&mut self) {
        self.resources.append(&mut self.bases);
        self.images.append(&mut self.image_tags);
        for generator in self.config_map_generator.iter_mut().chain(&mut self.secret_generator) {
            let env = std::mem::take(&mut generator.value.env);
            if !env.value.is_empty() {
                generator.value.envs.push(env);
            }
        }
    }
}
