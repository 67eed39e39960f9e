//! From a tree to a manifest: layers are read depth first, each merged into its parent once it is done.
//!
//! It must not know how a step works or how YAML is read, only in which order kustomize does what.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Errors, Remote, Stage};
use crate::explain::trail::Watched;
use crate::fields::Config;
use crate::layer::Kustomization;
use crate::manifest::Manifest;
use crate::objects::Objects;
use crate::order::Order;
use crate::patch::shape::Schemas;
use crate::path::RepoPath;
use crate::source::{Cache, Restriction, Source};
use crate::tree::{Blob, ContentId, Tree, TreeError};
use crate::vars::Vars;

mod accumulate;
mod configure;
mod finish;
mod load;
mod plain;
mod provenance;
mod steps;
mod watch;

pub(crate) use provenance::Note;

/// How a tree is rendered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// The order of objects where the root says none with `sortOptions`.
    pub order: Order,
    /// Which files a kustomization may read.
    pub restrict: Restriction,
    /// Whether a root without a kustomization file is all the YAML and JSON and all the layers below it, less what `.plimsollignore` names.
    pub plain_directories: bool,
    /// Whether kustomize is followed even where it harms its users; `tests/conformance.txt` says where that is.
    pub strict: bool,
}

impl Default for Options {
    /// What the agent uses.
    fn default() -> Self {
        Self { order: Order::None, restrict: Restriction::Root, plain_directories: true, strict: false }
    }
}

/// The outcome of a rendering.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The objects.
    pub manifest: Manifest,
    /// What decided the outcome.
    pub inputs: Inputs,
    /// `metadata.annotations` of the root kustomization.
    pub annotations: BTreeMap<String, String>,
    /// What is hardly meant as it is written; the tree renders all the same.
    pub warnings: Vec<Error>,
}

/// The fewest directories and files whose contents decide an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    paths: Vec<RepoPath>,
    options: Options,
}

/// Names all that a rendering depends on: equal fingerprints, equal rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Inputs {
    /// The directories of layers, and files outside of them, sorted.
    pub fn paths(&self) -> &[RepoPath] {
        &self.paths
    }

    /// The fingerprint of these paths in a tree. The version of this crate and the options are part of it.
    ///
    /// # Errors
    /// The tree can't be read.
    pub fn fingerprint(&self, tree: &dyn Tree) -> Result<Fingerprint, TreeError> {
        let ids: Result<Vec<Option<ContentId>>, TreeError> = self.paths.iter().map(|path| tree.id(path)).collect();
        Ok(finish::fingerprint(&self.options, &self.paths, &ids?))
    }
}

/// Renders the kustomization (or plain directory) at `root`.
///
/// # Errors
/// All that is wrong and can be told apart: errors of files, and of the steps of a layer those that can't have come of an earlier one.
pub fn render(tree: &dyn Tree, root: &RepoPath, options: &Options, cache: &mut Cache) -> Result<Rendered, Errors> {
    render_watching(tree, root, options, cache, None)
}

/// As [`render`]; objects that are to be explained keep what each step made of them.
pub(crate) fn render_watching(
    tree: &dyn Tree,
    root: &RepoPath,
    options: &Options,
    cache: &mut Cache,
    watched: Option<Watched>,
) -> Result<Rendered, Errors> {
    let mut build = Build {
        source: Source::new(tree, cache, options.restrict, options.strict),
        schemas: Schemas::default(),
        has_schemas: false,
        needs_builtin: false,
        noted_from: None,
        watched,
        warnings: Vec::new(),
        entered: 0,
    };
    let outcome = build.root(root, options);
    let missing = std::mem::take(&mut build.source.missing);
    let (objects, annotations) = outcome.map_err(|errors| with_missing(errors, missing))?;
    let inputs = Inputs { paths: build.source.inputs(), options: options.clone() };
    Ok(Rendered { manifest: Manifest::new(objects), inputs, annotations, warnings: once(build.warnings) })
}

/// A layer that two others include is wrong in both; it is told once.
fn once(mut errors: Vec<Error>) -> Vec<Error> {
    let mut told = std::collections::HashSet::new();
    errors.retain(|error| told.insert(format!("{error} {:?}", error.place().map(|place| &place.origin))));
    errors
}

/// Remote bases are named together, each once, at the first place that names it.
fn with_missing(mut errors: Errors, mut missing: Vec<Remote>) -> Errors {
    errors.0 = once(errors.0);
    if missing.is_empty() {
        return errors;
    }
    let (told, others): (Vec<Error>, Vec<Error>) = errors.0.into_iter().partition(|error| matches!(error, Error::Missing(_)));
    missing.extend(told.into_iter().flat_map(|error| if let Error::Missing(remotes) = error { remotes } else { Vec::new() }));
    missing.sort_by(|a, b| {
        let place = |remote: &Remote| (remote.origin.is_none(), remote.origin.clone());
        (&a.url, &a.reference, place(a)).cmp(&(&b.url, &b.reference, place(b)))
    });
    missing.dedup_by(|later, first| (&later.url, &later.reference) == (&first.url, &first.reference));
    Errors(std::iter::once(Error::Missing(missing)).chain(others).collect())
}

/// What a layer and all below it come to.
#[derive(Debug, Default)]
struct Accumulated {
    objects: Objects,
    config: Arc<Config>,
    vars: Vars,
}

/// A layer whose file was read.
struct Layer {
    directory: RepoPath,
    /// The kustomization file.
    file: RepoPath,
    /// What stands in it.
    text: Blob,
    /// The number by which marks name it.
    number: u32,
    kustomization: Kustomization,
}

/// One rendering while it goes on.
struct Build<'a> {
    source: Source<'a>,
    schemas: Schemas,
    /// Whether a layer has said which schemas hold; the first one decides.
    has_schemas: bool,
    /// Whether kustomize has had a reason to look into its builtin schemas by now; a schema that a layer brings then is added to them.
    needs_builtin: bool,
    /// The root's directory, if its `buildMetadata` asks for anything.
    noted_from: Option<RepoPath>,
    /// The objects that are to be explained.
    watched: Option<Watched>,
    warnings: Vec<Error>,
    /// How many layers were read, each as often as it is included.
    entered: usize,
}

impl Build<'_> {
    fn error(&self, layer: &Layer, stage: Stage, message: impl Into<String>, mark: crate::yaml::Mark) -> Error {
        self.source.place(Error::new(stage, message), &layer.file, mark)
    }
}
