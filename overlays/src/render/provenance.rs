//! What `buildMetadata` asks for: annotations that tell where an object came from and which steps ran over it.
//!
//! It must not know how the steps work. Without `buildMetadata` in the root nothing is noted; places in files are kept in any case,
//! by marks.

use super::{Build, Layer};
use crate::error::{Error, Stage};
use crate::fields::edit;
use crate::object::{Object, Origin};
use crate::objects::Objects;
use crate::path::RepoPath;
use crate::shared;
use crate::yaml::{self, Node, Value};

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What kustomize calls itself, in the version that is followed.
const KUSTOMIZE: &str = "kustomize-v5.8.2";

/// Where something was written, and for steps and generators what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The file, seen from the root's directory, or in the repository of a remote base.
    file: String,
    /// That repository and the reference, as they are written.
    remote: Option<(String, Option<String>)>,
    by: Option<By>,
}

/// A step or generator: apiVersion, kind, name and namespace of its configuration. Those of a kustomization's own fields have no name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct By([String; 4]);

impl Note {
    /// As kustomize prints it, one line a part.
    fn lines(&self) -> Vec<String> {
        let repository = self.remote.iter().map(|(url, _)| format!("repo: {}", scalar(url)));
        let reference = self.remote.iter().filter_map(|(_, reference)| Some(format!("ref: {}", scalar(reference.as_ref()?))));
        let remote = repository.chain(reference);
        let Some(By(parts)) = &self.by else { return [format!("path: {}", scalar(&self.file))].into_iter().chain(remote).collect() };
        let mut lines: Vec<String> = remote.collect();
        lines.extend([format!("configuredIn: {}", scalar(&self.file)), "configuredBy:".to_owned()]);
        let named = ["apiVersion", "kind", "name", "namespace"].iter().zip(parts).filter(|(_, part)| !part.is_empty());
        lines.extend(named.map(|(name, part)| format!("  {name}: {}", scalar(part))));
        lines
    }
}

fn scalar(text: &str) -> String {
    let mut out = String::new();
    match yaml::emit(&Node::string(text), &mut out) {
        Ok(()) => out.trim_end().to_owned(),
        Err(_) => format!("{text:?}"),
    }
}

impl Build<'_> {
    /// Notes the file that an object was read from.
    pub(super) fn note_file(&self, object: &mut Object, file: &RepoPath) {
        object.history.made = self.note(file, None);
    }

    /// Notes a step or generator that the kustomization's own fields ask for.
    pub(super) fn own_note(&self, layer: &Layer, kind: &str) -> Option<Note> {
        let by = By(["builtin".to_owned(), kind.to_owned(), String::new(), String::new()]);
        self.note(&layer.file, Some(by))
    }

    /// Notes a step or generator that a configuration describes.
    pub(super) fn described_note(&self, configuration: &Object) -> Option<Note> {
        let parts = [configuration.api_version(), configuration.kind(), configuration.name(), configuration.namespace()];
        let by = By(parts.map(str::to_owned));
        self.note(&configuration.origin().file, Some(by))
    }

    fn note(&self, file: &RepoPath, by: Option<By>) -> Option<Note> {
        let root = self.noted_from.as_ref()?;
        Some(match self.source.tree().brought(file) {
            Some((remote, file)) => Note { file: file.as_str().to_owned(), remote: Some((remote.url, remote.reference)), by },
            None => Note { file: relative(root, file), remote: None, by },
        })
    }
}

/// Notes that a step ran over all objects.
pub(super) fn note_step(objects: &mut Objects, note: Option<&Note>) {
    let Some(note) = note else { return };
    for object in objects.list_mut() {
        match object.history.made {
            Some(_) => object.history.changed.push(note.clone()),
            None => object.history.made = Some(note.clone()),
        }
        // kustomize notes it in an annotation.
        object.restate_annotations();
        shared::forget_annotations(&mut object.history.shared);
    }
}

/// Writes into the objects what the root's `buildMetadata` asks for. Words that kustomize does not know it passes over too.
///
/// # Errors
/// The labels of an object are no map.
pub(super) fn write(objects: &mut [Object], wanted: &[String], strict: bool) -> Result<(), Error> {
    let wants = |word: &str| wanted.iter().any(|have| have == word);
    for object in objects {
        let Object { history, .. } = &*object;
        let made = history.made.as_ref().filter(|_| wants("originAnnotations")).map(|note| note.lines().join("\n") + "\n");
        let changed = Some(&history.changed).filter(|changed| wants("transformerAnnotations") && !changed.is_empty());
        let changed = changed.map(|notes| notes.iter().map(item).collect::<String>());
        for (name, text) in [(ORIGIN, made), (TRANSFORMATIONS, changed)] {
            text.into_iter().for_each(|text| put(object, "annotations", name, &text));
        }
        if wants("managedByLabel") {
            let labels = object.body().at(&["metadata", "labels"]).filter(|labels| !edit::is_null(labels));
            if labels.is_some_and(|labels| !matches!(labels.value, Value::Map(_))) {
                let message = format!("{}: the labels are no map, and `managedByLabel` adds one", object.id());
                return Err(Error::new(Stage::Transform, message).at(object.origin().clone()));
            }
            put(object, "labels", MANAGED_BY, if strict { KUSTOMIZE } else { concat!("plimsoll-v", env!("CARGO_PKG_VERSION")) });
        }
    }
    Ok(())
}

/// A note as an item of a list.
fn item(note: &Note) -> String {
    let lines = note.lines().into_iter().enumerate();
    lines.map(|(at, line)| format!("{}{line}\n", if at == 0 { "- " } else { "  " })).collect()
}

fn put(object: &mut Object, map: &str, key: &str, text: &str) {
    let Origin { line, column, .. } = *object.origin();
    let mark = yaml::Mark { file: 0, line, column };
    if let Some(metadata) = object.body_mut().get_mut("metadata")
        && let Some(map) = edit::ensure(metadata, map, Node::map)
    {
        if edit::is_null(map) {
            *map = Node::map();
        }
        edit::put_any(map, key, edit::string_at(text, mark));
    }
}

/// A file as it is named from a directory.
fn relative(from: &RepoPath, file: &RepoPath) -> String {
    let shared = from.segments().zip(file.segments()).take_while(|(a, b)| a == b).count();
    let up = from.segments().skip(shared).map(|_| "..");
    up.chain(file.segments().skip(shared)).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_from_the_root_of_the_build() {
        let path = |text| RepoPath::new(text).unwrap();
        assert_eq!(relative(&path("app/prod"), &path("app/base/a.yaml")), "../base/a.yaml");
        assert_eq!(relative(&path("app"), &path("app/a.yaml")), "a.yaml");
        assert_eq!(relative(&path(""), &path("app/a.yaml")), "app/a.yaml");
    }
}
