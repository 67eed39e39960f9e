//! Patches as steps: which objects they are for, and what they may change of what identifies an object.
//!
//! It must not know where patches come from, nor how one is merged; see [`crate::patch`].

use std::sync::Arc;

use super::about;
use crate::diagnostic::Code;
use crate::error::{Error, Stage};
use crate::explain::query::nearest;
use crate::fields::edit;
use crate::layer::PatchOptions;
use crate::object::{Id, Object, Origin};
use crate::objects::Objects;
use crate::patch::json6902::{self, Operation};
use crate::patch::shape::Schemas;
use crate::patch::strategic;
use crate::select::Selector;
use crate::yaml::Node;

/// A patch document: an object in part.
#[derive(Debug)]
pub(crate) struct Document {
    object: Object,
    /// Whether a key is there twice: kustomize bears it where the object has the map, and else finds it when it prints.
    has_doubles: bool,
}

impl Document {
    /// A document whose marks name its file.
    pub(crate) fn new(body: Node, origin: Origin) -> Self {
        let has_doubles = edit::double_key(&body).is_some();
        let mut body = body;
        if let Some(annotations) = body.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations")).filter(|_| has_doubles) {
            edit::keep_last(annotations);
        }
        Self { object: Object::new(Arc::new(body), origin), has_doubles }
    }

    /// Where it says the name of the object that it is for.
    fn named_at(&self) -> Origin {
        let mark = self.object.body().at(&["metadata", "name"]).map(|name| name.mark).filter(|mark| mark.line > 0);
        let own = self.object.origin();
        mark.map_or_else(|| own.clone(), |mark| Origin { file: own.file.clone(), line: mark.line, column: mark.column })
    }

    fn replaces_root(&self) -> bool {
        self.object.text(&["$patch"]) == "replace"
    }
}

/// `patchesStrategicMerge`: each document is for the object that it names.
#[derive(Debug)]
pub(crate) struct StrategicPatches {
    pub(crate) documents: Vec<Document>,
}

/// An entry of `patches`.
#[derive(Debug)]
pub(crate) struct Patch {
    pub(crate) content: Content,
    pub(crate) target: Option<Selector>,
    pub(crate) options: PatchOptions,
}

/// What a patch turned out to be.
#[derive(Debug)]
pub(crate) enum Content {
    Strategic(Vec<Document>),
    Json(Vec<Operation>),
}

/// An entry of `patchesJson6902`.
#[derive(Debug)]
pub(crate) struct JsonPatch {
    pub(crate) operations: Vec<Operation>,
    pub(crate) target: Selector,
}

impl StrategicPatches {
    pub(super) fn apply(&self, objects: &mut Objects, schemas: &Schemas) -> Result<(), Error> {
        for document in &self.documents {
            let at = only_target(objects, document)?;
            let patch = fitted(document, objects, at);
            change(objects, at, document, patch, PatchOptions::default(), schemas)?;
        }
        if objects.is_doubtful() { check_double(objects) } else { Ok(()) }
    }
}

impl Patch {
    pub(super) fn apply(&self, objects: &mut Objects, schemas: &Schemas) -> Result<(), Error> {
        match (&self.content, &self.target) {
            (Content::Strategic(documents), None) => documents.iter().try_for_each(|document| {
                let at = only_target(objects, document)?;
                change(objects, at, document, document.object.body().clone(), self.options, schemas)
            }),
            (Content::Strategic(documents), Some(target)) => self.apply_to_all(documents, target, objects, schemas),
            (Content::Json(operations), Some(target)) => apply_operations(operations, target, objects, true),
            (Content::Json(_), None) => Err(Error::new(Stage::Transform, "a JSON patch needs a `target`")
                .hint("add `target:` with the kind and name of the object that it is for")),
        }
    }

    fn apply_to_all(&self, documents: &[Document], target: &Selector, objects: &mut Objects, schemas: &Schemas) -> Result<(), Error> {
        let document = match documents {
            [] => return Ok(()),
            [document] => document,
            _ => {
                return Err(Error::new(Stage::Transform, "a patch with a `target` must be one document, and this has several")
                    .hint("make each document an entry of `patches`, or leave `target` out"));
            }
        };
        for at in selected(objects, target)? {
            let patch = fitted(document, objects, at);
            change(objects, at, document, patch, self.options, schemas)?;
        }
        let is_doubtful = objects.is_doubtful() || self.options.allow_name_change || self.options.allow_kind_change;
        if is_doubtful { check_double(objects) } else { Ok(()) }
    }
}

impl JsonPatch {
    pub(super) fn apply(&self, objects: &mut Objects) -> Result<(), Error> {
        apply_operations(&self.operations, &self.target, objects, false)
    }
}

/// Whether two objects have become the same, for which kustomize looks when it puts them together again.
fn check_double(objects: &Objects) -> Result<(), Error> {
    let Some((one, other)) = objects.duplicate() else { return Ok(()) };
    Err(about(one, &format!("a patch or replacement makes it the same as another one ({} and {})", one.origin(), other.origin())))
}

/// The objects that a target selects. That there are none is no error to kustomize; it is remembered, to be told.
fn selected(objects: &mut Objects, target: &Selector) -> Result<Vec<usize>, Error> {
    let matcher = target.matcher().map_err(|problem| Error::new(Stage::Transform, problem))?;
    let found: Vec<usize> = objects.list().iter().enumerate().filter(|(_, object)| matcher.selects(object)).map(|(at, _)| at).collect();
    if found.is_empty() {
        objects.miss(target);
    }
    Ok(found)
}

/// The one object that a document names, by what it is or was.
fn only_target(objects: &mut Objects, document: &Document) -> Result<usize, Error> {
    let id = document.object.now();
    let found: Vec<usize> =
        objects.with_id(&id).into_iter().filter(|at| objects.get(*at).is_some_and(|object| !object.is_gone())).collect();
    match found.as_slice() {
        [at] => Ok(*at),
        [] => Err(Error::new(Stage::Transform, format!("the patch is for {id}, and there is no such object"))
            .code_is(Code::PatchTargetMissing)
            .at(document.named_at())
            .hint(meant(objects, &id))),
        [one, other, ..] => {
            let place = |at: &usize| objects.get(*at).map(|object| object.origin().to_string()).unwrap_or_default();
            let message = format!("the patch is for {id}, and that may be either of two objects ({} and {})", place(one), place(other));
            Err(Error::new(Stage::Transform, message).code_is(Code::PatchTargetAmbiguous).at(document.object.origin().clone()))
        }
    }
}

/// What may be meant by a patch without an object.
fn meant(objects: &mut Objects, id: &Id<'_>) -> String {
    let named = objects.named(id.name);
    let there = |object: &&Object| !object.is_gone();
    let named: Vec<&Object> = named.iter().filter_map(|at| objects.get(*at)).filter(there).collect();
    let said = |object: &Object| format!("{} in {}", object.id(), object.origin());
    match named.iter().find(|object| object.kind() == id.kind) {
        Some(object) if object.api_version() != format!("{}/{}", id.group, id.version).trim_start_matches('/') => {
            return format!("{} is there with apiVersion `{}`", said(object), object.api_version());
        }
        Some(object) => return format!("{} is there, in another namespace", said(object)),
        None => {}
    }
    match near(objects.list(), id.kind, id.name).or(named.first().copied()) {
        Some(object) => format!("there is {}", said(object)),
        None => "a patch names the apiVersion, kind, name and namespace of an object of this layer's resources".to_owned(),
    }
}

/// The object of a kind whose name is nearest to one that none of the kind has.
pub(crate) fn near<'o>(objects: &'o [Object], kind: &str, name: &str) -> Option<&'o Object> {
    let of_kind = || objects.iter().filter(|object| !object.is_gone() && object.kind() == kind);
    let near = nearest(name, of_kind().flat_map(|object| object.ids().map(|id| id.name)))?;
    of_kind().find(|object| object.ids().any(|id| id.name == near))
}

/// A patch that is for more than one object: its labels and annotations become strings, its version that of the object.
fn fitted(document: &Document, objects: &Objects, at: usize) -> Node {
    let mut patch = document.object.body().clone();
    if let Some(metadata) = patch.get_mut("metadata") {
        edit::restate_strings(metadata, "labels");
        edit::restate_strings(metadata, "annotations");
    }
    let version = objects.get(at).and_then(|object| object.body().get("apiVersion")).cloned();
    edit::put_any(&mut patch, "apiVersion", version.unwrap_or_else(edit::untagged));
    patch
}

/// Merges a patch into an object, which keeps its namespace, and its kind and name unless the options say otherwise.
fn change(
    objects: &mut Objects,
    at: usize,
    document: &Document,
    patch: Node,
    options: PatchOptions,
    schemas: &Schemas,
) -> Result<(), Error> {
    // As in kyaml, where the outcome of replacing the root is thrown away.
    if document.replaces_root() {
        objects.change(at, |object| restore(object, &object.clone(), options));
        return Ok(());
    }
    let mut patch = patch;
    let outcome = objects.change(at, |object| {
        if options.allow_kind_change || options.allow_name_change {
            object.remember();
            // kustomize notes the options among the annotations of the patch, which makes strings of the others.
            if let Some(metadata) = patch.get_mut("metadata") {
                edit::restate_strings(metadata, "annotations");
            }
        }
        let before = object.clone();
        if takes_annotations(&patch) {
            object.forget();
        }
        match strategic::merge(schemas, before.body().clone(), patch) {
            Err(problem) => Err(about(&before, &problem)),
            Ok(None) => {
                object.set_body(Node::map());
                Ok(())
            }
            Ok(Some(body)) => {
                if let Some(key) = edit::double_key(&body).filter(|_| document.has_doubles) {
                    let key = key.text().map_or("", |text| text);
                    return Err(about(&before, &format!("the mapping key `{key}` of the patch is there twice")));
                }
                object.set_body(body);
                restore(object, &before, options);
                Ok(())
            }
        }
    });
    outcome.unwrap_or(Ok(())).map_err(|error| error.at(document.object.origin().clone()))
}

/// Whether a patch takes all annotations of an object away, among which kustomize keeps what it knows of the object.
fn takes_annotations(patch: &Node) -> bool {
    let takes = |node: &Node| {
        let directive = node.get("$patch").and_then(Node::text);
        edit::is_null(node) || directive.is_some_and(|text| matches!(&**text, "replace" | "delete"))
    };
    patch.get("metadata").is_some_and(|metadata| takes(metadata) || metadata.get("annotations").is_some_and(takes))
}

fn restore(object: &mut Object, before: &Object, options: PatchOptions) {
    if !options.allow_kind_change
        && let Some(kind) = before.body().get("kind")
    {
        edit::put_any(object.body_mut(), "kind", kind.clone());
    }
    for field in ["name", "namespace"] {
        if field == "name" && options.allow_name_change {
            continue;
        }
        let value = before
            .body()
            .at(&["metadata", field])
            .filter(|value| !edit::is_null(value) && value.text().is_some_and(|text| !text.is_empty()));
        match value {
            Some(value) => {
                if let Some(metadata) = edit::ensure(object.body_mut(), "metadata", Node::map) {
                    let mut written = value.clone();
                    edit::set_text(&mut written, value.text().map_or("", |text| text), value.mark);
                    edit::put_any(metadata, field, written);
                }
            }
            None => drop(object.body_mut().get_mut("metadata").and_then(|metadata| edit::remove(metadata, field))),
        }
    }
}

fn apply_operations(operations: &[Operation], target: &Selector, objects: &mut Objects, remember: bool) -> Result<(), Error> {
    if operations.iter().any(Operation::may_rename) {
        objects.doubt();
    }
    for at in selected(objects, target)? {
        let outcome = objects.change(at, |object| {
            if remember {
                object.remember();
            }
            object.ensure_annotations();
            // What has been through JSON shares nothing.
            object.history.shared.clear();
            if operations.iter().any(Operation::takes_annotations) {
                object.forget_origin();
            }
            json6902::apply(object.body_mut(), operations).map_err(|problem| about(object, &problem))?;
            // kustomize writes all annotations anew, its own among them.
            object.restate_annotations();
            Ok::<(), Error>(())
        });
        outcome.unwrap_or(Ok(()))?;
    }
    Ok(())
}
