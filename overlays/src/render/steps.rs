//! Makes steps of what a kustomization's fields say, in the order in which kustomize runs them.
//!
//! It must not know how the steps work.

use super::{Build, Layer};
use crate::error::{Error, Stage};
use crate::fields::config::merge_specs;
use crate::fields::{Config, FieldSpec, edit};
use crate::layer::{self, Kustomization, Label, Placed, Replacement, decode};
use crate::object::Origin;
use crate::patch::json6902;
use crate::replacements::Replacements;
use crate::transform::{Affix, Content, Document, Images, JsonPatch, Namespace, Patch, Replicas, Step, StrategicPatches, Subjects, Texts};
use crate::yaml::{self, Mark, Node, Value};

/// A step, and where it is asked for.
pub(super) type PlacedStep = (Step, Mark);

/// Steps, and what is wrong with others.
#[derive(Default)]
struct Made {
    steps: Vec<PlacedStep>,
    errors: Vec<Error>,
}

impl Made {
    fn add(&mut self, step: Result<Step, Error>, mark: Mark) {
        match step {
            Ok(step) => self.steps.push((step, mark)),
            Err(error) => self.errors.push(error),
        }
    }
}

impl Build<'_> {
    /// All steps of a layer's own fields, and what is wrong with those that can't be made.
    pub(super) fn steps(&mut self, layer: &Layer, config: &Config) -> (Vec<PlacedStep>, Vec<Error>) {
        let said = &layer.kustomization;
        let mut made = Made::default();
        if let Some(first) = said.patches_strategic_merge.first() {
            made.add(self.strategic_patches(layer, &said.patches_strategic_merge), first.mark);
        }
        for patch in &said.patches {
            made.add(self.patch(layer, patch), patch.mark);
        }
        match names_and_labels(layer, config) {
            Ok(steps) => made.steps.extend(steps),
            Err((problem, mark)) => made.errors.push(self.error(layer, Stage::Layer, problem, mark)),
        }
        for patch in &said.patches_json6902 {
            made.add(self.json_patch(layer, patch), patch.mark);
        }
        for Placed { value, mark } in &said.replicas {
            let fields = config.replicas.clone();
            made.steps.push((Step::Replicas(Replicas { replica: value.clone(), fields, mark: layer.mark(*mark) }), *mark));
        }
        for Placed { value, mark } in &said.images {
            made.steps.push((Step::Images(Images::new(value.clone(), config.images.clone(), layer.mark(*mark))), *mark));
        }
        if let Some(first) = said.replacements.first() {
            made.add(self.replacements(layer, &said.replacements), first.mark);
        }
        (made.steps, made.errors)
    }

    /// An entry is tried as the patch itself, and else is the path of one.
    pub(super) fn strategic_patches(&mut self, layer: &Layer, entries: &[Placed<String>]) -> Result<Step, Error> {
        let mut documents = Vec::new();
        for entry in entries {
            match self.inline_documents(layer, entry) {
                Some(inline) => documents.extend(inline),
                None => documents.extend(self.patch_file(layer, entry)?),
            }
        }
        if documents.is_empty() {
            return Err(Error::new(Stage::Transform, "the patches of `patchesStrategicMerge` are empty"));
        }
        Ok(Step::StrategicPatches(StrategicPatches { documents }))
    }

    /// The patch documents that a text holds; `None` if it is no such text.
    fn inline_documents(&self, layer: &Layer, text: &Placed<String>) -> Option<Vec<Document>> {
        let nodes = yaml::parse_patch(text.value.as_bytes(), &yaml::Limits::default()).ok()?;
        documents(nodes, &layer.place_of(text)).ok()
    }

    fn patch_file(&mut self, layer: &Layer, entry: &Placed<String>) -> Result<Vec<Document>, Error> {
        let found = self.source.file(&layer.directory, &entry.value);
        let (path, blob) = found.map_err(|error| self.source.place(error, &layer.file, entry.mark))?;
        let nodes = yaml::parse_patch(&blob.bytes, &yaml::Limits::default()).map_err(|error| Error::yaml(&path, &error))?;
        let place = Place { number: self.source.number(&path), file: path.clone(), inline: None };
        documents(nodes, &place).map_err(|(problem, mark)| self.source.place(Error::new(Stage::Transform, problem), &path, mark))
    }

    /// An entry of `patches`: a strategic merge patch if it can be read as one, else a JSON patch.
    pub(super) fn patch(&mut self, layer: &Layer, patch: &Placed<layer::Patch>) -> Result<Step, Error> {
        let layer::Patch { path, patch: inline, target, options } = &patch.value;
        let is_inline = !inline.value.trim().is_empty();
        let wrong = |build: &Self, message: &str| Err(build.error(layer, Stage::Transform, message, patch.mark));
        let (bytes, place) = match (is_inline, path.is_empty()) {
            (false, true) => return wrong(self, "a patch needs `path` or `patch`"),
            (true, false) => return wrong(self, "a patch has both `path` and `patch`; only one can be given"),
            (true, true) => trimmed(&inline.value, layer.place_of(inline)),
            (false, false) => {
                let found = self.source.file(&layer.directory, path);
                let (path, blob) = found.map_err(|error| self.source.place(error, &layer.file, patch.mark))?;
                (blob.bytes, Place { number: self.source.number(&path), file: path, inline: None })
            }
        };
        let content = self.content(&bytes, &place)?;
        Ok(Step::Patch(Patch { content, target: target.clone(), options: *options }))
    }

    fn content(&self, bytes: &[u8], place: &Place) -> Result<Content, Error> {
        let limits = yaml::Limits::default();
        let nodes = yaml::parse_patch(bytes, &limits).map_err(|error| place.yaml_error(&error))?;
        let is_list = nodes.first().is_some_and(|node| matches!(node.value, Value::List(_)));
        if !is_list {
            let found = documents(nodes, place);
            return found.map(Content::Strategic).map_err(|(problem, mark)| {
                let error = Error::new(Stage::Transform, problem)
                    .hint("a patch is a part of an object with its apiVersion, kind and metadata.name, or a list of JSON patch operations");
                self.source.place(error, &place.file, place.mark(mark))
            });
        }
        self.operations(bytes, place).map(Content::Json)
    }

    /// The operations of a JSON patch, which is read as a configuration.
    fn operations(&self, bytes: &[u8], place: &Place) -> Result<Vec<json6902::Operation>, Error> {
        let node = yaml::parse_config(bytes, &yaml::Limits::default()).map_err(|error| place.yaml_error(&error))?;
        let mut node = node.unwrap_or_else(Node::list);
        let mark = node.mark;
        place.stamp(&mut node);
        json6902::operations(&node)
            .map_err(|problem| self.source.place(Error::new(Stage::Transform, problem), &place.file, place.mark(mark)))
    }

    /// An entry of `patchesJson6902`.
    pub(super) fn json_patch(&mut self, layer: &Layer, patch: &Placed<layer::Patch>) -> Result<Step, Error> {
        let layer::Patch { path, patch: inline, target, .. } = &patch.value;
        let wrong = |build: &Self, message: &str| Err(build.error(layer, Stage::Transform, message, patch.mark));
        let target = match target {
            Some(target) if !target.name.is_empty() => target.clone(),
            _ => return wrong(self, "a JSON patch needs a `target` with a name"),
        };
        let (bytes, place) = match (inline.value.is_empty(), path.is_empty()) {
            (true, true) => return wrong(self, "a JSON patch needs `path` or `patch`"),
            (false, false) => return wrong(self, "a JSON patch has both `path` and `patch`; only one can be given"),
            (false, true) => (inline.value.as_bytes().to_vec(), layer.place_of(inline)),
            (true, false) => {
                let found = self.source.file(&layer.directory, path);
                let (path, blob) = found.map_err(|error| self.source.place(error, &layer.file, patch.mark))?;
                (blob.bytes, Place { number: self.source.number(&path), file: path, inline: None })
            }
        };
        let operations = self.operations(&bytes, &place)?;
        if operations.is_empty() {
            return wrong(self, "the JSON patch has no operations");
        }
        Ok(Step::JsonPatch(JsonPatch { operations, target }))
    }

    /// Replacements, those in files among them.
    pub(super) fn replacements(&mut self, layer: &Layer, entries: &[Placed<Replacement>]) -> Result<Step, Error> {
        let mut list = Vec::new();
        for Placed { value, mark } in entries {
            if value.path.is_empty() {
                list.push((value.clone(), layer.mark(*mark)));
                continue;
            }
            if value.source.is_some() || value.targets.as_ref().is_some_and(|targets| !targets.is_empty()) {
                return Err(self.error(
                    layer,
                    Stage::Transform,
                    "a replacement has both `path` and its parts; only one can be given",
                    *mark,
                ));
            }
            let found = self.source.file(&layer.directory, &value.path);
            let (path, blob) = found.map_err(|error| self.source.place(error, &layer.file, *mark))?;
            let number = self.source.number(&path);
            let node = self.source.config(&path, &blob)?.unwrap_or_else(Node::list);
            let items = if let Value::List(items) = &node.value { items.as_slice() } else { std::slice::from_ref(&node) };
            for item in items {
                let replacement =
                    decode::decode(item, decode::Mode::Step).map_err(|wrong| self.source.wrong(wrong, Stage::Transform, &path))?;
                list.push((replacement, Mark { file: number, ..item.mark }));
            }
        }
        Ok(Step::Replacements(Replacements { list }))
    }
}

impl Layer {
    /// A mark of the kustomization file, as objects of other files understand it.
    pub(super) fn mark(&self, mark: Mark) -> Mark {
        Mark { file: self.number, ..mark }
    }

    /// How far the first line with anything on it below a line is indented.
    fn indent_below(&self, line: u32) -> u32 {
        let mut lines = self.text.bytes.split(|byte| *byte == b'\n').skip(line as usize);
        let indent = lines.find_map(|line| line.iter().position(|byte| !byte.is_ascii_whitespace()));
        indent.and_then(|indent| u32::try_from(indent).ok()).unwrap_or_default()
    }

    /// The place of a text that is written in the kustomization file.
    pub(super) fn place_of(&self, text: &Placed<String>) -> Place {
        let Mark { line, column, .. } = text.mark;
        // A block begins on the line below its indicator.
        let base = if text.value.contains('\n') {
            Mark { file: 0, line, column: self.indent_below(line) + 1 }
        } else {
            Mark { file: 0, line: line.saturating_sub(1), column }
        };
        Place { number: self.number, file: self.file.clone(), inline: Some(base) }
    }
}

/// Where a text is: a file, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u32,
    file: crate::path::RepoPath,
    /// For a part: the line above it, and the column at which it begins.
    inline: Option<Mark>,
}

impl Place {
    /// Where in the file a mark of the text is.
    fn mark(&self, mark: Mark) -> Mark {
        match self.inline {
            Some(base) if mark.line > 0 => Mark { file: 0, line: mark.line + base.line, column: mark.column + base.column - 1 },
            _ => mark,
        }
    }

    fn stamp(&self, node: &mut Node) {
        edit::remark(node, &|mark| Mark { file: self.number, ..self.mark(mark) });
    }

    fn yaml_error(&self, error: &yaml::Error) -> Error {
        let mark = self.mark(error.mark());
        let origin = Origin { file: self.file.clone(), line: mark.line, column: mark.column };
        Error::new(Stage::Yaml, error.message()).at(origin).with_line(error.line_text())
    }
}

/// An inline patch as kustomize takes it: without the line end that its last value may have thought its own.
fn trimmed(text: &str, mut place: Place) -> (Vec<u8>, Place) {
    let from_start = text.trim_start();
    let above = text[..text.len() - from_start.len()].matches('\n').count();
    if let Some(base) = &mut place.inline {
        base.line = base.line.saturating_add(u32::try_from(above).unwrap_or(u32::MAX));
    }
    (from_start.trim_end().as_bytes().to_vec(), place)
}

/// The patch documents of parsed nodes.
fn documents(nodes: Vec<Node>, place: &Place) -> Result<Vec<Document>, (String, Mark)> {
    let nodes: Vec<_> = nodes.into_iter().map(std::sync::Arc::new).collect();
    let objects = super::load::objects(&nodes, &place.file)?;
    let document = |object: crate::object::Object| {
        let mut body = object.body().clone();
        let mark = place.mark(body.mark);
        place.stamp(&mut body);
        Document::new(body, Origin { file: place.file.clone(), line: mark.line, column: mark.column })
    };
    Ok(objects.into_iter().map(document).collect())
}

/// The steps between the two kinds of patches: namespace, prefix, suffix, labels, annotations.
fn names_and_labels(layer: &Layer, config: &Config) -> Result<Vec<PlacedStep>, (String, Mark)> {
    let mut steps = names(layer, config);
    let said = &layer.kustomization;
    let texts =
        |texts: &layer::Texts, fields: &[FieldSpec], mark| Texts { texts: texts.clone(), fields: fields.to_vec(), mark: layer.mark(mark) };
    for Placed { value, mark } in &said.labels {
        let fields = label_fields(value, config).map_err(|problem| (problem, *mark))?;
        steps.push((Step::Labels(texts(&value.pairs, &fields, *mark)), *mark));
    }
    let (labels, annotations) = (&said.common_labels, &said.common_annotations);
    if !labels.value.is_empty() || !said.labels.is_empty() {
        steps.push((Step::Labels(texts(&labels.value, &config.common_labels, labels.mark)), labels.mark));
    }
    if !annotations.value.is_empty() {
        steps.push((Step::Annotations(texts(&annotations.value, &config.common_annotations, annotations.mark)), annotations.mark));
    }
    Ok(steps)
}

fn names(layer: &Layer, config: &Config) -> Vec<PlacedStep> {
    let Kustomization { namespace, name_prefix, name_suffix, .. } = &layer.kustomization;
    let affix = |text: &Placed<String>, fields: &[FieldSpec]| Affix {
        text: text.value.clone(),
        fields: fields.to_vec(),
        mark: layer.mark(text.mark),
    };
    let mut steps = Vec::new();
    if !namespace.value.is_empty() {
        let (name, fields, mark) = (namespace.value.clone(), config.namespace.clone(), layer.mark(namespace.mark));
        let step = Namespace { name, fields, unset_only: false, subjects: Subjects::NamedDefault, mark };
        steps.push((Step::Namespace(step), namespace.mark));
    }
    if !name_prefix.value.is_empty() {
        steps.push((Step::Prefix(affix(name_prefix, &config.name_prefix)), name_prefix.mark));
    }
    if !name_suffix.value.is_empty() {
        steps.push((Step::Suffix(affix(name_suffix, &config.name_suffix)), name_suffix.mark));
    }
    steps
}

/// The fields that an entry of `labels` goes into.
fn label_fields(label: &Label, config: &Config) -> Result<Vec<FieldSpec>, String> {
    let mut fields: Vec<FieldSpec> = label.fields.iter().map(FieldSpec::from).collect();
    merge_specs(&mut fields, &config.labels)?;
    if label.include_selectors {
        merge_specs(&mut fields, &config.common_labels)?;
        return Ok(fields);
    }
    if label.include_templates {
        merge_specs(&mut fields, &config.template_labels)?;
    }
    if label.include_volume_claim_templates {
        merge_specs(&mut fields, &config.claim_labels)?;
    }
    merge_specs(&mut fields, &[FieldSpec::of_all("metadata/labels", true)])?;
    Ok(fields)
}
