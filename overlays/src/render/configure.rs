//! What files add to a layer: `configurations`, `crds`, and the steps and generators that configuration files describe.
//!
//! It must not know how the steps work. Programs, containers, Go plugins and Helm are refused here, by name.

use std::sync::Arc;

use serde::Deserialize;

use super::accumulate::absorb;
use super::provenance::note_step;
use super::{Accumulated, Build, Layer, watch};
use crate::diagnostic::Code;
use crate::error::{Error, Errors, Stage};
use crate::fields::config::NameReference;
use crate::fields::{Config, FieldSpec, Gvk};
use crate::generate::{self, Behavior, Kind as Generated};
use crate::layer::decode::Mode;
use crate::layer::{self, Field, GeneratorOptions, Image, Metadata, Placed, Replacement, Replica, decode};
use crate::object::Object;
use crate::objects::Objects;
use crate::path::RepoPath;
use crate::select::Selector;
use crate::transform::{Affix, Images, Namespace, Replicas, Step, Subjects, Texts};
use crate::values::{AddValue, ValueTarget};
use crate::yaml::{Dialect, Mark, Node, Scalar, Style, Value};

mod crds;
mod iam;

/// A file of `configurations`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Additions {
    name_prefix: Vec<Field>,
    name_suffix: Vec<Field>,
    namespace: Vec<Field>,
    common_labels: Vec<Field>,
    labels: Vec<Field>,
    template_labels: Vec<Field>,
    volume_claim_template_labels: Vec<Field>,
    common_annotations: Vec<Field>,
    name_reference: Vec<NameReferences>,
    var_reference: Vec<Field>,
    images: Vec<Field>,
    replicas: Vec<Field>,
}

/// An entry of `nameReference`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NameReferences {
    #[serde(deserialize_with = "decode::exact")]
    group: String,
    #[serde(deserialize_with = "decode::exact")]
    version: String,
    #[serde(deserialize_with = "decode::exact")]
    kind: String,
    field_specs: Vec<Field>,
}

fn specs(fields: &[Field]) -> Vec<FieldSpec> {
    fields.iter().map(FieldSpec::from).collect()
}

impl From<Additions> for Config {
    fn from(additions: Additions) -> Self {
        let reference = |reference: &NameReferences| NameReference {
            target: Gvk { group: reference.group.clone(), version: reference.version.clone(), kind: reference.kind.clone() },
            referrers: specs(&reference.field_specs),
        };
        Self {
            name_prefix: specs(&additions.name_prefix),
            name_suffix: specs(&additions.name_suffix),
            namespace: specs(&additions.namespace),
            common_labels: specs(&additions.common_labels),
            labels: specs(&additions.labels),
            template_labels: specs(&additions.template_labels),
            claim_labels: specs(&additions.volume_claim_template_labels),
            common_annotations: specs(&additions.common_annotations),
            name_references: additions.name_reference.iter().map(reference).collect(),
            var_references: specs(&additions.var_reference),
            images: specs(&additions.images),
            replicas: specs(&additions.replicas),
        }
    }
}

/// A step or generator as a configuration file describes it; each kind has some of these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Described {
    metadata: Metadata,
    field_specs: Option<Vec<Field>>,
    labels: layer::Texts,
    annotations: layer::Texts,
    image_tag: Image,
    prefix: String,
    suffix: String,
    replica: Replica,
    unset_only: bool,
    set_role_binding_subjects: String,
    target: Option<Selector>,
    path: String,
    json_op: Placed<String>,
    paths: Vec<Placed<String>>,
    patches: Placed<String>,
    patch: Placed<String>,
    options: layer::PatchOptions,
    /// An entry embeds what a replacement has.
    #[serde(deserialize_with = "decode::exact")]
    replacements: Vec<Placed<Replacement>>,
    value: String,
    targets: Vec<ValueTarget>,
    target_file_path: String,
}

impl Build<'_> {
    /// The configuration of a layer: that of its children, and what its files add.
    pub(super) fn config(&mut self, layer: &Layer, below: &Arc<Config>) -> Result<Arc<Config>, Error> {
        let mut added = Arc::new(Config::default());
        for name in &layer.kustomization.configurations {
            let (path, node) = self.config_file(layer, name)?;
            let additions: Additions = match &node {
                Some(node) => decode::decode(node, Mode::Additions).map_err(|wrong| self.source.wrong(wrong, Stage::Layer, &path))?,
                None => Additions::default(),
            };
            let both = added.merge(&Arc::new(Config::from(additions).sorted()));
            added = both.map_err(|problem| self.error(layer, Stage::Layer, format!("`{path}`: {problem}"), name.mark))?;
        }
        let config = Config::defaults().merge(&added).map_err(|problem| self.error(layer, Stage::Layer, problem, Mark::default()))?;
        let mut config = below.merge(&config).map_err(|problem| self.error(layer, Stage::Layer, problem, Mark::default()))?;
        for name in &layer.kustomization.crds {
            let (path, node) = self.config_file(layer, name)?;
            let json = node.unwrap_or_else(Node::map).to_json(Dialect::Config).map_err(|error| Error::yaml(&path, &error))?;
            let added = crds::config(&json).and_then(|added| config.merge(&Arc::new(added)));
            config = added.map_err(|problem| self.error(layer, Stage::Layer, format!("`{path}`: {problem}"), name.mark))?;
        }
        Ok(config)
    }

    fn config_file(&mut self, layer: &Layer, name: &Placed<String>) -> Result<(RepoPath, Option<Node>), Error> {
        let found = self.source.file(&layer.directory, &name.value);
        let (path, blob) = found.map_err(|error| self.source.place(error, &layer.file, name.mark))?;
        let node = self.source.config(&path, &blob)?;
        Ok((path, node))
    }

    /// The configuration objects that entries name: each is tried as the object itself, and else is the path of a file or layer.
    fn described(&mut self, layer: &Layer, above: &[RepoPath], entries: &[Placed<String>]) -> Result<Vec<(Object, Mark)>, Errors> {
        let mut found = Vec::new();
        for entry in entries {
            match inline(&layer.file, entry) {
                Some(objects) => found.extend(objects.into_iter().map(|object| (object, entry.mark))),
                None => {
                    let mut objects = Accumulated::default();
                    self.resource(layer, above, entry, &mut objects)?;
                    found.extend(objects.objects.into_list().into_iter().map(|object| (object, entry.mark)));
                }
            }
        }
        Ok(found)
    }

    /// Runs what `generators` names.
    pub(super) fn run_generators(&mut self, layer: &Layer, above: &[RepoPath], into: &mut Accumulated) -> Result<(), Errors> {
        for (object, mark) in self.described(layer, above, &layer.kustomization.generators)? {
            let outcome = self.run_generator(layer, &object, mark, &mut into.objects);
            outcome.map_err(|error| self.source.place(error, &layer.file, mark))?;
            self.watch(&mut into.objects, || watch::asked(object.kind(), &object.origin().file, object.body().mark));
        }
        Ok(())
    }

    fn run_generator(&mut self, layer: &Layer, object: &Object, mark: Mark, objects: &mut Objects) -> Result<(), Error> {
        check_builtin(object)?;
        let kind = match object.kind() {
            "ConfigMapGenerator" => Generated::ConfigMap,
            "SecretGenerator" => Generated::Secret,
            "IAMPolicyGenerator" => return self.run_iam_generator(object, objects),
            other => return Err(not_here(other, "generator")),
        };
        let file = object.origin().file.clone();
        let node = as_config(object.body());
        let wrong = |build: &Self, wrong| build.source.wrong(wrong, Stage::Generate, &file);
        let mut args: layer::Generator = decode::decode(&node, Mode::Generator).map_err(|error| wrong(self, error))?;
        let described: Described = decode::decode(&node, Mode::Step).map_err(|error| wrong(self, error))?;
        // kustomize reads name and namespace from the metadata, and lets top-level fields win.
        let or = |own: &mut String, other: String| {
            if own.is_empty() {
                *own = other;
            }
        };
        or(&mut args.name, described.metadata.name);
        or(&mut args.namespace, described.metadata.namespace);
        let behavior = Behavior::new(&args.behavior);
        let generator = Placed { value: args, mark };
        let mut made = generate::generate(&mut self.source, &layer.directory, &layer.file, kind, &generator, &GeneratorOptions::default())?;
        made.history.made = self.described_note(object);
        absorb(objects, made, behavior)
    }

    fn run_iam_generator(&self, object: &Object, objects: &mut Objects) -> Result<(), Error> {
        let node = as_config(object.body());
        let account: Result<iam::Account, _> = decode::decode(&node, Mode::Generator);
        let account = account.map_err(|wrong| self.source.wrong(wrong, Stage::Generate, &object.origin().file))?;
        let mut account = account.object(object).map_err(|problem| Error::new(Stage::Generate, problem))?;
        account.history.made = self.described_note(object);
        absorb(objects, account, Behavior::Create)
    }

    /// Runs what `transformers` names.
    pub(super) fn run_transformers(
        &mut self,
        layer: &Layer,
        above: &[RepoPath],
        entries: &[Placed<String>],
        into: &mut Accumulated,
    ) -> Result<(), Errors> {
        let described = self.described(layer, above, entries)?;
        let mut steps = Vec::new();
        for (object, mark) in &described {
            let made = self.described_steps(layer, object, *mark);
            let made = made.map_err(|error| self.source.place(error, &layer.file, *mark))?;
            steps.push((made, object, *mark));
        }
        for (steps, object, mark) in steps {
            let outcome = steps.iter().try_for_each(|step| step.apply(&mut into.objects, &self.schemas));
            outcome.map_err(|error| self.source.place(error, &layer.file, mark))?;
            self.warn_of_missed(layer, mark, &mut into.objects);
            note_step(&mut into.objects, self.described_note(object).as_ref());
            self.watch(&mut into.objects, || watch::asked(object.kind(), &object.origin().file, object.body().mark));
        }
        Ok(())
    }

    /// Runs what `validators` names: steps that must change nothing.
    pub(super) fn validate(&mut self, layer: &Layer, above: &[RepoPath], into: &mut Accumulated) -> Result<(), Errors> {
        let Some(first) = layer.kustomization.validators.first() else { return Ok(()) };
        let json = |objects: &Objects| objects.list().iter().map(|object| object.to_json().ok()).collect::<Vec<_>>();
        let before = json(&into.objects);
        // What only looks leaves no note.
        let noted_from = self.noted_from.take();
        let outcome = self.run_transformers(layer, above, &layer.kustomization.validators, into);
        self.noted_from = noted_from;
        outcome?;
        if json(&into.objects) == before {
            return Ok(());
        }
        Err(self.error(layer, Stage::Transform, "a validator changes objects; it may only look at them", first.mark).into())
    }

    fn described_steps(&mut self, layer: &Layer, object: &Object, mark: Mark) -> Result<Vec<Step>, Error> {
        check_builtin(object)?;
        let file = object.origin().file.clone();
        let node = as_config(object.body());
        let described: Described = decode::decode(&node, Mode::Step).map_err(|wrong| self.source.wrong(wrong, Stage::Transform, &file))?;
        let mark = layer.mark(mark);
        let fields = || specs(described.field_specs.as_deref().unwrap_or_default());
        let wants_fields = || match described.field_specs {
            Some(_) => Ok(fields()),
            None => Err(Error::new(Stage::Transform, format!("a {} needs `fieldSpecs`", object.kind()))),
        };
        let affix = |text: &String| -> Result<Affix, Error> { Ok(Affix { text: text.clone(), fields: wants_fields()?, mark }) };
        let texts = |texts: &layer::Texts| Texts { texts: texts.clone(), fields: fields(), mark };
        Ok(vec![match object.kind() {
            "AnnotationsTransformer" => Step::Annotations(texts(&described.annotations)),
            "LabelTransformer" => Step::Labels(texts(&described.labels)),
            "ImageTagTransformer" => Step::Images(Images::new(described.image_tag.clone(), fields(), mark)),
            "NamespaceTransformer" => Step::Namespace(namespace(&described, fields(), mark)?),
            "PrefixTransformer" => Step::Prefix(affix(&described.prefix)?),
            "SuffixTransformer" => Step::Suffix(affix(&described.suffix)?),
            "PrefixSuffixTransformer" => return Ok(vec![Step::Prefix(affix(&described.prefix)?), Step::Suffix(affix(&described.suffix)?)]),
            "ReplicaCountTransformer" => Step::Replicas(Replicas { replica: described.replica.clone(), fields: fields(), mark }),
            "HashTransformer" => Step::Hash,
            "ReplacementTransformer" => self.replacements(layer, &described.replacements)?,
            "ValueAddTransformer" => self.add_value(layer, described, mark)?,
            "PatchTransformer" | "PatchJson6902Transformer" | "PatchStrategicMergeTransformer" => {
                self.described_patch(layer, object.kind(), described, mark)?
            }
            other => return Err(not_here(other, "transformer")),
        }])
    }

    fn described_patch(&mut self, layer: &Layer, kind: &str, described: Described, mark: Mark) -> Result<Step, Error> {
        let Described { target, path, json_op, mut paths, patches, patch, options, .. } = described;
        let patch_of = |patch| Placed { value: layer::Patch { path, patch, target, options }, mark };
        match kind {
            "PatchTransformer" => self.patch(layer, &patch_of(patch)),
            "PatchJson6902Transformer" => self.json_patch(layer, &patch_of(json_op)),
            _ => {
                if !patches.value.is_empty() {
                    paths.push(patches);
                }
                self.strategic_patches(layer, &paths)
            }
        }
    }

    fn add_value(&mut self, layer: &Layer, described: Described, mark: Mark) -> Result<Step, Error> {
        let Described { value, mut targets, target_file_path, .. } = described;
        if !target_file_path.is_empty() {
            let (path, node) = self.config_file(layer, &Placed { value: target_file_path, mark })?;
            let more: Described = match &node {
                Some(node) => decode::decode(node, Mode::Step).map_err(|wrong| self.source.wrong(wrong, Stage::Transform, &path))?,
                None => Described::default(),
            };
            targets.extend(more.targets);
        }
        let value = match value.trim() {
            "" => layer.directory.name().unwrap_or_default().to_owned(),
            value => value.to_owned(),
        };
        AddValue::new(value, targets, mark).map(Step::AddValue).map_err(|problem| Error::new(Stage::Transform, problem))
    }
}

/// The configuration objects that a text holds; `None` if it is no such text.
fn inline(file: &RepoPath, text: &Placed<String>) -> Option<Vec<Object>> {
    let nodes = crate::yaml::parse(text.value.as_bytes(), &crate::yaml::Limits::default()).ok()?;
    let nodes: Vec<_> = nodes.into_iter().map(Arc::new).collect();
    super::load::objects(&nodes, file).ok()
}

fn namespace(described: &Described, fields: Vec<FieldSpec>, mark: Mark) -> Result<Namespace, Error> {
    let subjects = match described.set_role_binding_subjects.as_str() {
        "" | "defaultOnly" => Subjects::NamedDefault,
        "allServiceAccounts" => Subjects::ServiceAccounts,
        "none" => Subjects::None,
        other => {
            let message = format!("`setRoleBindingSubjects: {other}` is unknown; it can be defaultOnly, allServiceAccounts or none");
            return Err(Error::new(Stage::Transform, message));
        }
    };
    Ok(Namespace { name: described.metadata.namespace.clone(), fields, unset_only: described.unset_only, subjects, mark })
}

/// Programs are not run: the same tree must give the same objects.
fn check_builtin(object: &Object) -> Result<(), Error> {
    let refused = |what: &str, hint: &str| {
        let message = format!("{what}: that would run a program");
        Err(Error::new(Stage::Transform, message).code_is(Code::Program).at(object.origin().clone()).hint(hint))
    };
    let annotation = |name| object.annotation(name).is_some();
    if annotation("config.kubernetes.io/function") || annotation("config.k8s.io/function") {
        return refused(&format!("the function of {} is not run", object.id()), "run it beforehand and commit its output");
    }
    if object.kind() == "HelmChartInflationGenerator" {
        return refused("Helm charts are not rendered", "run `helm template` and commit its output, and name that under `resources`");
    }
    if object.api_version() != "builtin" {
        let hint = "run the plugin beforehand and commit its output; builtin steps have `apiVersion: builtin`";
        return refused(&format!("the plugin `{}` of `{}` is not run", object.kind(), object.api_version()), hint);
    }
    Ok(())
}

fn not_here(kind: &str, role: &str) -> Error {
    Error::new(Stage::Transform, format!("there is no builtin {role} `{kind}`"))
}

/// A resource's node as a configuration: what is a string there must be one here.
fn as_config(node: &Node) -> Node {
    let value = match &node.value {
        Value::List(items) => Value::List(items.iter().map(as_config).collect()),
        Value::Map(entries) => {
            let entry = |entry: &crate::yaml::Entry| crate::yaml::Entry { key: as_config(&entry.key), value: as_config(&entry.value) };
            Value::Map(entries.iter().map(entry).collect())
        }
        scalar => match node.resolve(Dialect::Resource) {
            Ok(Scalar::Str(text)) => Value::Scalar(text.as_ref().into(), Style::Quoted, None),
            _ => scalar.clone(),
        },
    };
    Node { value, mark: node.mark }
}
