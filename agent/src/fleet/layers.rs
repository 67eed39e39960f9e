//! What an app is rendered from on a cluster: its base, with the layers on top that fit what the cluster is.
//!
//! The base is the app's own directory if that holds a kustomization file, else its `base/`, else the plain manifests in it. For each key
//! of `layers`, least specific first, `overlays/<the cluster's value>/` is a layer if it is there: a Component, or a whole Kustomization.
//!
//! | found | the root is |
//! |---|---|
//! | no layer | the base |
//! | Components | a kustomization that puts them on the base, least specific first |
//! | whole Kustomizations | the most specific one; it replaces the base and the less specific ones |
//! | a whole one, and Components of more specific keys | a kustomization that puts those Components on the whole one |
//! | a Component that the root already includes, at any depth | not put on it again |
//! | a whole one, and a Component of a less specific key that it does not include | an error that names both: put on top, the less specific would overrule the more specific; left out, it would not hold |
//! | one directory for two keys, as a cluster on `aws` that is called `aws` | it is one layer, of the less specific key |
//! | Components on plain manifests, or on a base that is a Component | an error: kustomize can't build that |
//!
//! The root is always something that a person could have written and that the real kustomize builds. Only `kind` and the directories that
//! a kustomization includes are read here; the rest is rendering's.

use std::collections::BTreeSet;

use overlays::error::{Error, Stage};
use overlays::object::Origin;
use overlays::path::RepoPath;
use overlays::tree::{Kind, Tree};
use overlays::yaml::{self, Node};

use super::Spot;
use crate::api::{ALLOW, PRUNE_ANNOTATION};
use crate::facts::Facts;

/// The directory of an app that holds its layers.
const OVERLAYS: &str = "overlays";
/// The directory of an app that holds its base.
const BASE: &str = "base";
/// The names under which kustomize looks for its file.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// The directory that the kustomization we write stands in; nothing but that file is ever in it.
const WRITTEN: &str = ".plimsoll";
/// How many directories are looked at to find out whether a root already includes a Component. More are taken for not including it.
const MAX_INCLUDED: usize = 1_000;

/// What an app is rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A directory as it stands in the tree.
    Directory(RepoPath),
    /// A kustomization that nobody wrote: the file `kustomization.yaml` in the directory `at`, which is not in the tree.
    Stacked {
        /// The directory that the file would stand in.
        at: RepoPath,
        /// The text of the file.
        kustomization: String,
    },
}

impl Root {
    /// The directory that is rendered.
    pub fn directory(&self) -> &RepoPath {
        match self {
            Self::Directory(path) | Self::Stacked { at: path, .. } => path,
        }
    }
}

/// A directory that was chosen by what the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The key, as `provider`.
    pub key: String,
    /// The cluster's value, as `aws`.
    pub value: String,
    /// The directory.
    pub path: RepoPath,
    /// What it holds.
    pub kind: LayerKind,
}

/// What a layer's directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// A `Component`, which is put on top of something.
    Component,
    /// A whole `Kustomization`, which stands for itself.
    Kustomization,
}

/// The outcome of choosing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) root: Root,
    pub(super) layers: Vec<Layer>,
    /// Whether one of the kustomization files that were chosen gives the word for guarded deletions.
    pub(super) prune: bool,
}

/// What is read of a kustomization file.
#[derive(Clone, Debug)]
struct Kustomization {
    directory: RepoPath,
    kind: LayerKind,
    /// Where it says its kind.
    place: Spot,
    includes: Vec<String>,
    prune: bool,
}

/// What layers are put on.
struct Base {
    path: RepoPath,
    /// `None`: plain manifests.
    kustomization: Option<Kustomization>,
}

/// Chooses the root of the app in the directory `app`.
pub(super) fn choose(tree: &dyn Tree, app: &RepoPath, keys: &[String], facts: &Facts) -> Result<Chosen, Error> {
    let layers = look_up(tree, app, keys, facts)?;
    let base = base(tree, app)?;
    let whole = layers.iter().rposition(|(layer, _)| layer.kind == LayerKind::Kustomization);
    let (root, root_kustomization) = match whole {
        Some(at) => (&layers[at].0.path, Some(&layers[at].1)),
        None => (&base.path, base.kustomization.as_ref()),
    };
    let included = if layers.is_empty() { BTreeSet::new() } else { included(tree, root_kustomization)? };
    let stack: Vec<_> =
        layers.iter().enumerate().filter(|(_, (layer, _))| layer.kind == LayerKind::Component && !included.contains(&layer.path)).collect();
    if let (Some(whole), Some((_, (component, _)))) = (whole, stack.iter().find(|(at, _)| Some(*at) < whole)) {
        return Err(overruled(&layers[whole], component));
    }
    let stack: Vec<&Layer> = stack.into_iter().map(|(_, (layer, _))| layer).collect();
    let prune =
        root_kustomization.is_some_and(|it| it.prune) || layers.iter().any(|(layer, it)| it.prune && layer.kind == LayerKind::Component);
    let root = if stack.is_empty() { Root::Directory(root.clone()) } else { stacked(app, root, root_kustomization, &stack)? };
    Ok(Chosen { root, layers: layers.into_iter().map(|(layer, _)| layer).collect(), prune })
}

fn look_up(tree: &dyn Tree, app: &RepoPath, keys: &[String], facts: &Facts) -> Result<Vec<(Layer, Kustomization)>, Error> {
    let mut found: Vec<(Layer, Kustomization)> = Vec::new();
    for key in keys {
        if let Some(value) = facts.value(key) {
            let layer = layer(tree, app, key, value)?;
            // A cluster on AWS may be called `aws`: one directory is one layer, whichever key asks for it.
            found.extend(layer.filter(|(layer, _)| found.iter().all(|(known, _)| known.path != layer.path)));
        }
    }
    Ok(found)
}

fn layer(tree: &dyn Tree, app: &RepoPath, key: &str, value: &str) -> Result<Option<(Layer, Kustomization)>, Error> {
    let overlays = join(app, OVERLAYS)?;
    // A value comes from labels and configuration; it may choose a directory of the app, but not lead out of it.
    let path = match overlays.join(value) {
        Ok(path) if path.parent().as_ref() == Some(&overlays) && path.name() == Some(value) => path,
        _ => {
            return Err(Error::new(Stage::Layer, format!("the cluster's `{key}` is `{value}`, which can name no directory"))
                .hint("change that label of the cluster"));
        }
    };
    if tree.kind(&path)? != Some(Kind::Directory) {
        return Ok(None);
    }
    let Some(kustomization) = kustomization(tree, &path)? else {
        let message = format!("the layer `{path}` holds no {}", FILES[0]);
        return Err(at_directory(&path, message).hint("add one with `kind: Component` and `apiVersion: kustomize.config.k8s.io/v1alpha1`"));
    };
    let layer = Layer { key: key.to_owned(), value: value.to_owned(), path, kind: kustomization.kind };
    Ok(Some((layer, kustomization)))
}

fn base(tree: &dyn Tree, app: &RepoPath) -> Result<Base, Error> {
    let own = kustomization(tree, app)?;
    let below = join(app, BASE)?;
    if own.is_none() && tree.kind(&below)? == Some(Kind::Directory) {
        return Ok(Base { kustomization: kustomization(tree, &below)?, path: below });
    }
    let overlays = join(app, OVERLAYS)?;
    if own.is_none() && tree.kind(&overlays)? == Some(Kind::Directory) {
        let message = format!("`{app}` has layers in `{overlays}`, but neither `{BASE}/` nor a {} to put them on", FILES[0]);
        return Err(at_directory(app, message).hint(format!("move its manifests to `{below}` and list them in a {} there", FILES[0])));
    }
    Ok(Base { path: app.clone(), kustomization: own })
}

fn overruled((whole, kustomization): &(Layer, Kustomization), component: &Layer) -> Error {
    let message = format!(
        "two layers can't both hold: `{}` ({}) is a whole Kustomization and does not include the Component `{}` of the less specific `{}`",
        whole.path, whole.key, component.path, component.key
    );
    let from_whole = relative(&whole.path, &component.path);
    kustomization.place.error(message).hint(format!(
        "make `{}` a Component too, or list `{from_whole}` under its `components`, or put `{}` before `{}` in `layers`",
        whole.path, whole.key, component.key
    ))
}

/// The kustomization that puts Components on a root.
fn stacked(app: &RepoPath, root: &RepoPath, kustomization: Option<&Kustomization>, stack: &[&Layer]) -> Result<Root, Error> {
    let first = stack.first().map(|layer| layer.path.to_string()).unwrap_or_default();
    let problem = match kustomization {
        None => format!("the Component `{first}` can't be put on `{root}`, which holds plain manifests"),
        Some(it) if it.kind == LayerKind::Component => {
            format!("the Component `{first}` can't be put on `{root}`, which is a Component itself")
        }
        Some(_) => return Ok(write(&place(app, root)?, root, stack)),
    };
    Err(at_directory(root, problem)
        .hint(format!("add a {} of kind Kustomization there that lists the manifests under `resources`", FILES[0])))
}

/// Where the kustomization that we write stands. Kustomize refuses a resource that contains the directory which asks for it, so beside an
/// app that is its own base, and among the layers otherwise.
fn place(app: &RepoPath, root: &RepoPath) -> Result<RepoPath, Error> {
    if root != app {
        return join(&join(app, OVERLAYS)?, WRITTEN);
    }
    match (app.parent(), app.name()) {
        (Some(parent), Some(name)) => join(&parent, &format!("{WRITTEN}-{name}")),
        _ => {
            let message = "the root of the repository is its own base, and nothing beside it could put layers on it";
            Err(at_directory(app, message).hint(format!("move the {} and its manifests to `{BASE}/`", FILES[0])))
        }
    }
}

fn write(at: &RepoPath, root: &RepoPath, stack: &[&Layer]) -> Root {
    let item = |path: &RepoPath| format!("- {}\n", scalar(&relative(at, path)));
    let components: String = stack.iter().map(|layer| item(&layer.path)).collect();
    let kustomization =
        format!("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}components:\n{components}", item(root));
    Root::Stacked { at: at.clone(), kustomization }
}

/// A path as a YAML scalar. It begins with `..`, so only what may stand inside a plain scalar matters.
fn scalar(path: &str) -> String {
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if plain { path.to_owned() } else { serde_json::Value::from(path).to_string() }
}

fn relative(from: &RepoPath, to: &RepoPath) -> String {
    let shared = from.segments().zip(to.segments()).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.segments().count() - shared);
    up.chain(to.segments().skip(shared)).collect::<Vec<_>>().join("/")
}

/// The directories that a kustomization includes, at any depth.
fn included(tree: &dyn Tree, root: Option<&Kustomization>) -> Result<BTreeSet<RepoPath>, Error> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<Kustomization> = root.cloned().into_iter().collect();
    while let Some(it) = next.pop() {
        // What is no path in the repository is a remote base, or an error that rendering tells.
        for path in it.includes.iter().filter_map(|text| it.directory.join(text).ok()) {
            if seen.len() < MAX_INCLUDED && tree.kind(&path)? == Some(Kind::Directory) && seen.insert(path.clone()) {
                next.extend(kustomization(tree, &path)?);
            }
        }
    }
    Ok(seen)
}

/// The kustomization file of a directory; `None` where there is none.
fn kustomization(tree: &dyn Tree, directory: &RepoPath) -> Result<Option<Kustomization>, Error> {
    for name in FILES {
        let file = join(directory, name)?;
        if let Some(blob) = tree.read(&file)? {
            let node = yaml::parse_config(&blob.bytes, &yaml::Limits::default()).map_err(|error| Error::yaml(&file, &error))?;
            return understood(directory, &file, &blob.bytes, &node.unwrap_or_else(Node::map)).map(Some);
        }
    }
    Ok(None)
}

fn understood(directory: &RepoPath, file: &RepoPath, bytes: &[u8], node: &Node) -> Result<Kustomization, Error> {
    let written = node.get("kind");
    let mark = written.map(|kind| kind.mark).unwrap_or_default();
    let line = bytes.split(|byte| *byte == b'\n').nth((mark.line as usize).saturating_sub(1)).map(String::from_utf8_lossy);
    let place = Spot::new(file, mark, line.as_deref());
    let kind = match written.and_then(Node::text).map_or("", |text| &**text) {
        "Component" => LayerKind::Component,
        // Kustomize takes a file without a kind for a Kustomization.
        "Kustomization" | "" => LayerKind::Kustomization,
        other => {
            return Err(place.error(format!("the kind `{other}` is neither `Kustomization` nor `Component`")));
        }
    };
    let lists = ["resources", "bases", "components"].into_iter().filter_map(|field| node.get(field));
    let includes = lists.flat_map(Node::items).filter_map(|item| item.text().map(|text| text.to_string())).collect();
    let prune = node.at(&["metadata", "annotations", PRUNE_ANNOTATION]).and_then(Node::text).is_some_and(|word| **word == *ALLOW);
    Ok(Kustomization { directory: directory.clone(), kind, place, includes, prune })
}

fn join(directory: &RepoPath, text: &str) -> Result<RepoPath, Error> {
    directory.join(text).map_err(|error| Error::new(Stage::Layer, error.to_string()))
}

/// An error about a directory as a whole.
fn at_directory(directory: &RepoPath, message: impl Into<String>) -> Error {
    Error::new(Stage::Layer, message).at(Origin { file: directory.clone(), line: 0, column: 0 })
}
