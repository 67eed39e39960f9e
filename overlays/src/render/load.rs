//! Reads the files that a layer names: its kustomization, resources, configurations.
//!
//! It must not know what becomes of them.

use std::sync::Arc;

use super::{Build, Layer, watch};
use crate::error::{Error, Stage};
use crate::fields::edit;
use crate::layer::{FILE_NAMES, Kustomization, decode};
use crate::object::{Object, Origin};
use crate::patch::shape::Schemas;
use crate::path::RepoPath;
use crate::tree::Kind;
use crate::yaml::{Dialect, Mark, Node, Value};

impl Build<'_> {
    /// The kustomization file of a directory; `None` if it holds none.
    ///
    /// # Errors
    /// It holds two.
    pub(super) fn kustomization_file(&mut self, directory: &RepoPath) -> Result<Option<RepoPath>, Error> {
        let mut found: Vec<RepoPath> = Vec::new();
        for name in FILE_NAMES {
            let path = directory.join(name).map_err(|error| Error::new(Stage::Layer, error.to_string()))?;
            if matches!(self.source.resolve(&path)?, Some((_, Kind::File))) {
                found.push(path);
            }
        }
        match found.as_slice() {
            [one, other, ..] => {
                Err(Error::new(Stage::Layer, format!("`{directory}` holds both `{one}` and `{other}`")).hint("keep one of the two"))
            }
            _ => Ok(found.pop()),
        }
    }

    /// Reads the layer in a directory.
    pub(super) fn layer(&mut self, directory: &RepoPath) -> Result<Layer, Error> {
        self.source.enter(directory);
        let file = self.kustomization_file(directory)?.ok_or_else(|| {
            Error::new(Stage::Layer, format!("`{directory}` holds no kustomization file"))
                .hint(format!("add one named {}", FILE_NAMES.join(", ")))
        })?;
        let blob = self.source.read(&file)?;
        let empty = || Error::new(Stage::Layer, format!("`{file}` is empty")).at(origin(&file, Mark::default()));
        let node = self.source.config(&file, &blob)?.ok_or_else(empty)?;
        let mut kustomization: Kustomization = decode::decode(&node, decode::Mode::Kustomization).map_err(|wrong| match wrong.mark {
            Some(mark) if is_secret(&node, mark) => Error::new(Stage::Layer, wrong.message).at(origin(&file, mark)),
            _ => self.source.wrong(wrong, Stage::Layer, &file),
        })?;
        if says_nothing(&node) {
            return Err(empty());
        }
        kustomization.modernize();
        let number = self.source.number(&file);
        let layer = Layer { directory: directory.clone(), file, text: blob, number, kustomization };
        self.check_kind(&layer)?;
        self.take_schemas(&layer)?;
        Ok(layer)
    }

    fn check_kind(&self, layer: &Layer) -> Result<(), Error> {
        let Kustomization { kind, api_version, .. } = &layer.kustomization;
        if !matches!(kind.value.as_str(), "" | "Kustomization" | "Component") {
            let message = format!("the kind is `{}`; it must be Kustomization or Component", kind.value);
            return Err(self.error(layer, Stage::Layer, message, kind.mark));
        }
        let version =
            if layer.kustomization.is_component() { "kustomize.config.k8s.io/v1alpha1" } else { "kustomize.config.k8s.io/v1beta1" };
        if !api_version.value.is_empty() && api_version.value != version {
            let message = format!("the apiVersion is `{}`; it must be {version}", api_version.value);
            return Err(self.error(layer, Stage::Layer, message, api_version.mark));
        }
        Ok(())
    }

    /// The first layer that says so decides which schemas hold in the whole tree.
    fn take_schemas(&mut self, layer: &Layer) -> Result<(), Error> {
        let openapi = &layer.kustomization.openapi;
        let wrong = |message: &str| Error::new(Stage::Layer, message).at(origin(&layer.file, Mark::default()));
        match (openapi.get("path"), openapi.get("version")) {
            (None, None) => Ok(()),
            (Some(_), Some(_)) => Err(wrong("`openapi` has both `path` and `version`; only one can be given")),
            (None, Some(version)) if version == "v1.21.2" => {
                self.has_schemas = true;
                Ok(())
            }
            (None, Some(_)) => Err(wrong("the only `version` of `openapi` is v1.21.2")),
            (Some(path), None) => {
                let (path, blob) =
                    self.source.file(&layer.directory, path).map_err(|error| self.source.place(error, &layer.file, Mark::default()))?;
                let node = self.source.config(&path, &blob)?.unwrap_or_else(Node::map);
                let document = node.to_json(Dialect::Config).map_err(|error| Error::yaml(&path, &error))?;
                if !self.has_schemas {
                    self.has_schemas = true;
                    self.schemas = Schemas::of(document, self.needs_builtin || self.schemas.were_asked());
                }
                Ok(())
            }
        }
    }

    /// The objects of a resource file.
    pub(super) fn resources(&mut self, path: &RepoPath) -> Result<Vec<Object>, Error> {
        let documents = self.source.documents(path)?;
        let found = objects(&documents, path);
        let mut found = found.map_err(|(message, mark)| self.source.place(Error::new(Stage::Object, message), path, mark))?;
        // Of a kind that it does not know by heart kustomize asks its schemas whether it belongs to a namespace.
        self.needs_builtin |= found.iter().any(|object| !object.first().is_cluster_scoped() && !is_known(object));
        self.watch_all(&mut found, || watch::unasked("resources"));
        Ok(found)
    }
}

/// Versions whose kinds kustomize knows by heart, those of Kubernetes 1.21.
const KNOWN: [&str; 20] = [
    "v1",
    "apps/v1",
    "autoscaling/v1",
    "autoscaling/v2beta1",
    "autoscaling/v2beta2",
    "batch/v1",
    "batch/v1beta1",
    "coordination.k8s.io/v1",
    "coordination.k8s.io/v1beta1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
];

fn is_known(object: &Object) -> bool {
    KNOWN.contains(&object.api_version())
}

fn origin(file: &RepoPath, mark: Mark) -> Origin {
    Origin { file: file.clone(), line: mark.line, column: mark.column }
}

/// Whether a place is within `secretGenerator`, whose lines must not be shown.
fn is_secret(node: &Node, mark: Mark) -> bool {
    let above = node.entries().iter().filter(|entry| entry.key.mark.line <= mark.line).max_by_key(|entry| entry.key.mark.line);
    above.and_then(|entry| entry.key.text()).is_some_and(|key| key.eq_ignore_ascii_case("secretGenerator"))
}

/// Whether a kustomization says nothing but what it is.
fn says_nothing(node: &Node) -> bool {
    let is_type = |key: &str| key.eq_ignore_ascii_case("kind") || key.eq_ignore_ascii_case("apiVersion");
    let says = |value: &Node| !value.is_null(Dialect::Config) && value.text().is_none_or(|text| !text.is_empty());
    !node.entries().iter().any(|entry| entry.key.text().is_some_and(|key| !is_type(key)) && says(&entry.value))
}

/// What is wrong with a document, and where.
type Wrong = (String, Mark);

/// The objects of documents. Lists are taken apart, and their items come after all others, as in kustomize.
pub(super) fn objects(documents: &[Arc<Node>], file: &RepoPath) -> Result<Vec<Object>, Wrong> {
    let mut objects = Vec::new();
    let mut queue: std::collections::VecDeque<Arc<Node>> = documents.iter().map(Arc::clone).collect();
    queue.retain(|document| !edit::is_empty(document));
    for document in &queue {
        check(document)?;
    }
    // A `List` that is alone in its file is taken apart by the reader, and its items stay as they are written.
    let kind = |document: &Node| document.get("kind").and_then(Node::text).cloned();
    let mut is_alone =
        documents.len() == 1 && queue.front().and_then(|list| kind(list)).is_some_and(|kind| matches!(&*kind, "List" | "ResourceList"));
    while let Some(document) = queue.pop_front() {
        match items(&document)? {
            Some(items) => {
                for item in items.iter().filter(|item| !edit::is_empty(item)) {
                    check(item)?;
                    queue.push_back(Arc::new(if is_alone { item.clone() } else { edit::restated(item) }));
                }
                is_alone = false;
            }
            None => {
                let origin = Origin { file: file.clone(), line: document.mark.line, column: document.mark.column };
                let mut object = Object::new(document, origin);
                // kustomize notes where it read the object, and takes no more away again than the note.
                if object.body().get("metadata").is_none() {
                    edit::put_any(object.body_mut(), "metadata", Node::map());
                }
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

/// The items of a list of objects; `None` for an object that is no list.
fn items(document: &Node) -> Result<Option<&[Node]>, Wrong> {
    let is_list = document.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
    match document.get("items").filter(|_| is_list) {
        None => Ok(None),
        Some(items) if edit::is_null(items) => Ok(Some(&[])),
        Some(Node { value: Value::List(items), .. }) => Ok(Some(items)),
        Some(other) => Err(("the `items` of a list of objects must be a list".to_owned(), other.mark)),
    }
}

/// Whether a document is an object at all.
fn check(document: &Node) -> Result<(), Wrong> {
    let wrong = |message: &str, node: &Node| Err((message.to_owned(), node.mark));
    if !matches!(document.value, Value::Map(_)) {
        return wrong("this is no Kubernetes object: a map with apiVersion, kind and metadata was expected", document);
    }
    let text = |path: &[&str]| document.at(path).filter(|node| !edit::is_null(node)).and_then(Node::text).map_or("", |text| &**text);
    let kind = text(&["kind"]);
    if kind.is_empty() {
        return wrong("the object has no `kind`", document);
    }
    if !kind.ends_with("List") && text(&["metadata", "name"]).is_empty() {
        let message = format!("this {kind} has no `metadata.name`");
        return wrong(&message, document.get("metadata").unwrap_or(document));
    }
    // What else stands among them goes through, or is taken for an empty text.
    match document.at(&["metadata", "annotations"]) {
        Some(list @ Node { value: Value::List(_), .. }) => wrong("the annotations of an object must be a map", list),
        _ => Ok(()),
    }
}
