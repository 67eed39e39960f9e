//! Why an object is what it is: for a field the chain of files and steps that made it, the winner last.
//!
//! It must not know how objects are rendered; it asks for a rendering that keeps what each step made of the object in question.

use serde::Serialize;
use serde_json::Value as Json;

use crate::diff::changes::{Change, changes};
use crate::diff::shown::shown;
use crate::diff::{Changed, FieldPath, NoField, place_in};
use crate::error::{Error, Errors, Stage};
use crate::fields::edit;
use crate::look::Look;
use crate::object::{Object, ObjectId, Origin};
use crate::path::RepoPath;
use crate::render::{Options, render_watching};
use crate::source::Cache;
use crate::tree::Tree;
use crate::yaml::Node;

pub mod query;
mod text;
pub(crate) mod trail;

pub use query::{Query, find};
use trail::{Snapshot, Watched};

/// The chain that made an object, or one of its fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The object, as it is in the end.
    pub object: ObjectId,
    /// The field; empty for the whole object.
    pub field: FieldPath,
    /// What it is in the end, if it is still there; of Secrets no values. Not told of whole objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// What made it so, the winner last.
    pub links: Vec<Link>,
}

/// One step that made or changed something of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// The field of a kustomization that asks for the step (`resources`, `patches`), the kind of its configuration, or what it is called.
    pub step: String,
    /// Where the step is asked for; nowhere for resources, which are where they are written, and for what is done to every tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Origin>,
    /// What it changed.
    pub changes: Vec<Changed>,
}

/// Renders once more and tells what made a field of one of the objects; with an empty text, what made the object.
///
/// # Errors
/// The tree does not render, or the object has no such field and never had: then those that it has are told.
pub fn explain(
    tree: &dyn Tree,
    root: &RepoPath,
    options: &Options,
    cache: &mut Cache,
    object: &Object,
    field: &str,
) -> Result<Explanation, Errors> {
    let rendered = render_watching(tree, root, options, cache, Some(Watched::of(object)))?;
    let again = rendered.manifest.objects().iter().find(|again| again.id() == object.id() && again.api_version() == object.api_version());
    let object = again.ok_or_else(|| Error::new(Stage::Object, format!("{} is no more there; did a file change?", object.id())))?;
    let path = field_of(object, field).map_err(|told| no_field(object, field, &told))?;
    Ok(Explanation {
        object: object.id(),
        value: path.of(object.body()).filter(|_| !path.0.is_empty()).map(|node| shown(object.kind(), &path, node)),
        links: links(object, &path),
        field: path,
    })
}

/// The field that a text means in the object, or meant before a step removed it.
fn field_of(object: &Object, field: &str) -> Result<FieldPath, NoField> {
    FieldPath::find(object.body(), field).or_else(|told| {
        let mut before = snapshots(object).iter().rev().filter_map(|snapshot| FieldPath::find(&snapshot.body, field).ok());
        before.next().ok_or(told)
    })
}

fn no_field(object: &Object, field: &str, told: &NoField) -> Error {
    let within = if told.found.0.is_empty() { String::new() } else { format!(" in `{}`", told.found) };
    let error = Error::new(Stage::Object, format!("{} has no field `{field}`: there is no `{}`{within}", object.id(), told.missing));
    let error = object.origin_of(place_in(object.body(), &told.found)).into_iter().fold(error, Error::at);
    let nearest = query::nearest(&told.missing, told.there.iter().map(|there| there.trim_matches(['[', ']'])));
    match (nearest, told.there.is_empty()) {
        (Some(near), _) => error.hint(format!("did you mean `{near}`?")),
        (None, true) => error.hint("that is a single value, or empty"),
        (None, false) => error.hint(format!("there are: {}", told.there.iter().take(30).cloned().collect::<Vec<_>>().join(", "))),
    }
}

fn snapshots(object: &Object) -> &[Snapshot] {
    object.history.trail.as_ref().map_or(&[], |trail| &trail.0)
}

fn links(object: &Object, path: &FieldPath) -> Vec<Link> {
    let mut before: Option<&Node> = None;
    let mut links = Vec::new();
    for snapshot in snapshots(object) {
        let after = path.of(&snapshot.body);
        let mut found = changes(path, before, after);
        found.retain(|change| !is_own_business(change));
        if !found.is_empty() {
            let changes = found.iter().map(|change| changed(object, snapshot, change)).collect();
            links.push(Link { step: snapshot.cause.step.clone(), asked: snapshot.cause.asked.clone(), changes });
        }
        before = after;
    }
    links
}

/// kustomize makes a map of annotations to keep notes in, and takes it out in the end; nobody asked for it.
fn is_own_business(change: &Change<'_>) -> bool {
    let is_nothing = |side: Option<&Node>| side.is_none_or(edit::is_empty_map);
    is_nothing(change.before) && is_nothing(change.after) && change.path.to_string() == "metadata.annotations"
}

fn changed(object: &Object, snapshot: &Snapshot, change: &Change<'_>) -> Changed {
    let json = |node: Option<&Node>| node.map(|node| shown(object.kind(), &change.path, node));
    let mark = change.after.filter(|_| !change.is_order).map(|_| place_in(&snapshot.body, &change.path));
    let written = mark.and_then(|mark| object.origin_from(mark, &snapshot.origin));
    Changed {
        field: change.path.clone(),
        before: json(change.before),
        after: json(change.after),
        is_order: change.is_order,
        place_before: None,
        place: written.or_else(|| snapshot.cause.asked.clone()),
    }
}

impl Explanation {
    /// The chain for people to read.
    pub fn text(&self, look: &Look<'_>) -> String {
        text::explanation(self, look)
    }

    /// All places that it names.
    pub fn places(&self) -> Vec<&Origin> {
        self.links.iter().flat_map(|link| link.asked.iter().chain(link.changes.iter().filter_map(|change| change.place.as_ref()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Fixture;

    fn tree() -> Fixture {
        let mut tree = Fixture::default();
        let files = [
            ("kustomization.yaml", "namePrefix: a-\nresources: [web.yaml]\nconfigMapGenerator: [{name: settings, literals: [A=1]}]\n"),
            (
                "web.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\n",
            ),
        ];
        for (path, text) in files {
            tree.insert(RepoPath::new(path).unwrap(), text.as_bytes().to_vec());
        }
        tree
    }

    fn trails(watched: Option<Watched>) -> Vec<(String, usize)> {
        let root = RepoPath::root();
        let rendered = render_watching(&tree(), &root, &Options::default(), &mut Cache::default(), watched).unwrap();
        let kept = |object: &Object| object.history.trail.as_ref().map(|trail| (object.name().to_owned(), trail.0.len()));
        rendered.manifest.objects().iter().filter_map(kept).collect()
    }

    #[test]
    fn nothing_is_kept_of_objects_that_are_not_asked_for() {
        assert!(trails(None).is_empty());
        let watched = Watched { kind: "Service".to_owned(), name: "web".to_owned() };
        assert_eq!(trails(Some(watched)), [("a-web".to_owned(), 2)]);
    }

    #[test]
    fn what_is_explained_is_what_is_rendered() {
        let (root, options) = (RepoPath::root(), Options::default());
        let plain = crate::render(&tree(), &root, &options, &mut Cache::default()).unwrap().manifest.to_yaml().unwrap();
        let watched = Some(Watched { kind: "ConfigMap".to_owned(), name: "settings".to_owned() });
        let watched = render_watching(&tree(), &root, &options, &mut Cache::default(), watched).unwrap();
        assert_eq!(watched.manifest.to_yaml().unwrap(), plain);
    }
}
