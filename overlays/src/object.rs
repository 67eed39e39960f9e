//! Kubernetes objects, what identifies them, and where they came from.
//!
//! An object remembers the names it had: patches and references may still use them. It must not know what changes it, or why.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::explain::trail::Trail;
use crate::fields::edit;
use crate::path::RepoPath;
use crate::render::Note;
use crate::scope::is_cluster_scoped;
use crate::shared::Shared;
use crate::yaml::{Dialect, Mark, Node, Text};

/// Identifies an object in a cluster: never by its version, for the same object is served in several.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectId {
    /// The API group, `""` for the core group.
    pub group: String,
    /// The kind, as `Deployment`.
    pub kind: String,
    /// The namespace, `""` where the object says none (it may be cluster-scoped, or go to the default namespace).
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    /// As an operator says it: `Deployment web/api`, `Namespace web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// Where an object was written: the file, and the place of the document in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// The file; for a generated object the kustomization file that asks for it.
    pub file: RepoPath,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What stands for the namespace of an object that can have none. Selectors by regular expression see it, as they do in kustomize.
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// The namespace of an object that says none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// An identity inside of a tree: unlike an [`ObjectId`] it has the version, and the *effective* namespace (`default` where none is said).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Id<'_> {
    /// An owned form, for maps that outlive the object.
    pub(crate) fn key(&self) -> Box<str> {
        [self.group, self.version, self.kind, self.namespace, self.name].join("\0").into()
    }

    /// Whether the object belongs to no namespace, as far as kustomize's table knows.
    pub(crate) fn is_cluster_scoped(&self) -> bool {
        self.namespace == NO_NAMESPACE
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.is_cluster_scoped() && self.namespace != DEFAULT_NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(self.name)
    }
}

/// Splits `apps/v1` in group and version; the core group is `""`.
pub(crate) fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// An identity that an object had before a step changed it. Group and version are always the present ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) kind: Text,
    /// The effective namespace.
    pub(crate) namespace: Text,
    pub(crate) name: Text,
}

/// What the steps of a rendering remember of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The identities that it had, the oldest first.
    pub(crate) past: Vec<Past>,
    /// The prefixes that it was given, the innermost layer first.
    pub(crate) prefixes: Vec<Text>,
    /// The suffixes that it was given, the innermost layer first.
    pub(crate) suffixes: Vec<Text>,
    /// Whether a generator made it.
    pub(crate) generated: bool,
    /// Whether the hash of its content becomes part of its name.
    pub(crate) hashed: bool,
    /// The values that stand in several of its fields at once.
    pub(crate) shared: Vec<Shared>,
    /// The vars that read a field of it.
    pub(crate) vars: Vec<Text>,
    /// Where it came from, if the root asks for that.
    pub(crate) made: Option<Note>,
    /// The steps that ran over it, if the root asks for that.
    pub(crate) changed: Vec<Note>,
    /// What it was after each step, if it is to be explained.
    pub(crate) trail: Option<Box<Trail>>,
}

/// A Kubernetes object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Shared with the cache of parsed files until a step changes it.
    body: Arc<Node>,
    pub(crate) history: History,
    origin: Origin,
    /// What the file numbers in the marks of the body mean; number 0 is `origin.file`.
    files: Arc<[RepoPath]>,
}

impl Object {
    /// An object as it stands in a file. Marks of the body with file number 0 mean `origin.file`.
    pub(crate) fn new(body: Arc<Node>, origin: Origin) -> Self {
        Self { body, history: History::default(), origin, files: Arc::new([]) }
    }

    /// Which object this is.
    pub fn id(&self) -> ObjectId {
        let own = |text: &str| text.to_owned();
        ObjectId { group: own(self.group()), kind: own(self.kind()), namespace: own(self.namespace()), name: own(self.name()) }
    }

    /// The API group and version as written, as `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.body.at(&["metadata", "annotations", name])?.text().map(|text| &**text)
    }

    /// The object as a JSON value.
    ///
    /// # Errors
    /// What kustomize could not print either: infinite numbers, keys that are no strings.
    pub fn to_json(&self) -> Result<serde_json::Value, Error> {
        self.body.to_json(Dialect::Resource).map_err(|error| Error::yaml(&self.origin.file, &error))
    }

    /// Where the object was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where a field was written, or the nearest field above it: a resource, a patch, or the kustomization that sets it.
    /// A step of the path is a key, the index of an item, or `key=value` for the item that has it.
    pub fn place(&self, path: &[&str]) -> Option<Origin> {
        let mut node = &*self.body;
        let mut mark = node.mark;
        for step in path {
            let Some((next, place)) = step_down(node, step) else { break };
            node = next;
            mark = if place.line > 0 { place } else { mark };
        }
        self.origin_of(mark)
    }

    /// What a mark in the body of this object means.
    pub(crate) fn origin_of(&self, mark: Mark) -> Option<Origin> {
        self.origin_from(mark, &self.origin)
    }

    /// What a mark means in a body that this object had while it was written at `own`.
    pub(crate) fn origin_from(&self, mark: Mark, own: &Origin) -> Option<Origin> {
        let file = match mark.file {
            0 => own.file.clone(),
            number => self.files.get(number as usize)?.clone(),
        };
        (mark.line > 0).then_some(Origin { file, line: mark.line, column: mark.column })
    }

    /// The object's content.
    pub(crate) fn body(&self) -> &Node {
        &self.body
    }

    /// The object's content, shared with the object until a step changes it.
    pub(crate) fn shared_body(&self) -> Arc<Node> {
        Arc::clone(&self.body)
    }

    /// The object's content, to be changed: from here on it is no longer shared with the cache.
    pub(crate) fn body_mut(&mut self) -> &mut Node {
        Arc::make_mut(&mut self.body)
    }

    /// Replaces the object's content.
    pub(crate) fn set_body(&mut self, body: Node) {
        self.body = Arc::new(body);
    }

    /// Says where the object was written, and so what file number 0 means in the marks of its body.
    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Says what the file numbers in the marks mean.
    pub(crate) fn set_files(&mut self, files: Arc<[RepoPath]>) {
        self.files = files;
    }

    pub(crate) fn text(&self, path: &[&str]) -> &str {
        self.body.at(path).filter(|node| !edit::is_null(node)).and_then(Node::text).map_or("", |text| &**text)
    }

    pub(crate) fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    pub(crate) fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    pub(crate) fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    pub(crate) fn group(&self) -> &str {
        group_and_version(self.api_version()).0
    }

    /// What identifies it now.
    pub(crate) fn now(&self) -> Id<'_> {
        let (group, version) = group_and_version(self.api_version());
        Id { group, version, kind: self.kind(), namespace: self.effective_namespace(), name: self.name() }
    }

    fn effective_namespace(&self) -> &str {
        if is_cluster_scoped(self.api_version(), self.kind()) == Some(true) {
            return NO_NAMESPACE;
        }
        match self.namespace() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        }
    }

    /// What identified it, the oldest first.
    pub(crate) fn past(&self) -> impl Iterator<Item = Id<'_>> {
        let (group, version) = group_and_version(self.api_version());
        self.history.past.iter().map(move |past| Id { group, version, kind: &past.kind, namespace: &past.namespace, name: &past.name })
    }

    /// All identities that it has or had.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id<'_>> {
        self.past().chain(std::iter::once(self.now()))
    }

    /// What identified it when it was read.
    pub(crate) fn first(&self) -> Id<'_> {
        self.past().next().unwrap_or_else(|| self.now())
    }

    /// Whether a patch deleted it.
    pub(crate) fn is_gone(&self) -> bool {
        edit::is_empty_map(&self.body)
    }

    /// Whether the hash of its content becomes part of its name: generated maps, and those that say so in kustomize's own annotation.
    pub(crate) fn wants_hash(&self) -> bool {
        self.history.hashed || self.annotation("internal.config.kubernetes.io/needsHashSuffix") == Some("enabled")
    }

    /// In kustomize an object that was renamed or generated has annotations, for that is where it keeps what it knows; steps that add to
    /// them without making them rely on it.
    pub(crate) fn ensure_annotations(&mut self) {
        let History { past, hashed, generated, made, .. } = &self.history;
        if past.is_empty() && !hashed && !generated && made.is_none() {
            return;
        }
        let Some(metadata) = self.body_mut().get_mut("metadata") else { return };
        if let Some(annotations) = edit::ensure(metadata, "annotations", Node::map)
            && edit::is_null(annotations)
        {
            *annotations = Node::map();
        }
    }

    /// Makes a map of a null that stands in the place of the annotations: what kustomize puts below it is found in the end.
    pub(crate) fn open_annotations(&mut self) {
        if self.body.at(&["metadata", "annotations"]).is_some_and(edit::is_null)
            && let Some(annotations) = self.body_mut().get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
        {
            *annotations = Node { mark: annotations.mark, ..Node::map() };
        }
    }

    /// Makes strings of all annotations; a null in their place goes.
    pub(crate) fn restate_annotations(&mut self) {
        if self.body.at(&["metadata", "annotations"]).is_some()
            && let Some(metadata) = self.body_mut().get_mut("metadata")
        {
            edit::restate_strings(metadata, "annotations");
        }
        self.ensure_annotations();
    }

    /// Forgets what it was and where it came from, as kustomize does when a patch takes its notes away: from here on this is its first name.
    pub(crate) fn forget(&mut self) {
        let History { past, prefixes, suffixes, generated, hashed, .. } = &mut self.history;
        past.clear();
        prefixes.clear();
        suffixes.clear();
        *generated = false;
        *hashed = false;
        self.forget_origin();
    }

    /// Forgets where it came from and which steps ran over it, but not what it was called.
    pub(crate) fn forget_origin(&mut self) {
        self.history.made = None;
        self.history.changed.clear();
    }

    /// Remembers what identifies it now, before a step changes that.
    pub(crate) fn remember(&mut self) {
        let id = self.now();
        let past = Past { kind: id.kind.into(), namespace: id.namespace.into(), name: id.name.into() };
        self.history.past.push(past);
        self.drop_other_annotations();
    }

    /// kustomize notes identities among the annotations, and makes a map of whatever else stands in their place.
    fn drop_other_annotations(&mut self) {
        if self.body.at(&["metadata", "annotations"]).is_some_and(|node| node.text().is_some() && !edit::is_null(node)) {
            drop(self.body_mut().get_mut("metadata").and_then(|metadata| edit::remove(metadata, "annotations")));
        }
    }
}

fn step_down<'a>(node: &'a Node, step: &str) -> Option<(&'a Node, Mark)> {
    let entry = node.entries().iter().find(|entry| entry.key.text().is_some_and(|key| **key == *step));
    if let Some(entry) = entry {
        // A map or list begins on the line below its key; what a reader looks for is the key.
        let is_scalar = entry.value.text().is_some();
        return Some((&entry.value, if is_scalar { entry.value.mark } else { entry.key.mark }));
    }
    let item = match step.split_once('=') {
        Some((key, value)) => node.items().iter().find(|item| item.get(key).and_then(Node::text).is_some_and(|text| **text == *value)),
        None => node.items().get(step.parse::<usize>().ok()?),
    };
    item.map(|item| (item, item.mark))
}
