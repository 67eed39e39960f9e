//! What is done once, at the top: hashes, references, vars, order, and what was only for kustomize is taken out.
//!
//! It must not know how the objects were put together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Accumulated, Build, Fingerprint, Options, provenance, watch};
use crate::diagnostic::Code;
use crate::error::{Error, Errors, Stage};
use crate::fields::edit;
use crate::layer::{LegacySortOptions, SortOptions};
use crate::object::{Object, Origin};
use crate::objects::duplicate;
use crate::order::{self, Order};
use crate::path::RepoPath;
use crate::references;
use crate::transform::Step;
use crate::tree::{ContentId, Kind};
use crate::yaml::{Dialect, Entry, Node, Scalar};

/// An object with this annotation, unless it is `false`, is for kustomize only.
const LOCAL: &str = "config.kubernetes.io/local-config";

/// Annotations in which kustomize keeps what it knows of an object while it builds.
const INTERNAL: [&str; 21] = [
    "internal.config.kubernetes.io/previousKinds",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/suffixes",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/refBy",
    "internal.config.kubernetes.io/generatorBehavior",
    "internal.config.kubernetes.io/needsHashSuffix",
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
    "internal.config.kubernetes.io/helm-generated",
    "config.kubernetes.io/origin",
    "alpha.config.kubernetes.io/transformations",
];

impl Build<'_> {
    /// Renders the root, whatever it is.
    pub(super) fn root(&mut self, root: &RepoPath, options: &Options) -> Result<(Vec<Object>, BTreeMap<String, String>), Errors> {
        let root = match self.source.resolve(root)? {
            Some((root, Kind::Directory)) => root,
            Some((_, Kind::File)) => return Err(Error::new(Stage::Layer, format!("`{root}` is a file; a directory is needed here")).into()),
            None => {
                return Err(Error::new(Stage::Layer, format!("the directory `{root}` does not exist")).code_is(Code::PathMissing).into());
            }
        };
        let root = &root;
        if options.plain_directories && self.kustomization_file(root)?.is_none() {
            let plain = self.plain(root)?;
            return Ok((self.finish(plain, None, options)?, BTreeMap::new()));
        }
        let layer = self.layer(root)?;
        let wanted = layer.kustomization.build_metadata.as_slice();
        self.noted_from = (!wanted.is_empty()).then(|| layer.directory.clone());
        let accumulated = self.accumulate(&layer, &[], Accumulated::default())?;
        let sorting = layer.kustomization.sort_options.as_ref();
        let finished = self.finish(accumulated, sorting, options);
        let in_file = |errors: Errors| Errors(errors.0.into_iter().map(|error| self.in_file(error, &layer.file)).collect());
        let mut objects = finished.map_err(in_file)?;
        provenance::write(&mut objects, wanted, options.strict)?;
        self.watch_all(&mut objects, || watch::unasked("buildMetadata"));
        Ok((objects, layer.kustomization.metadata.annotations))
    }

    fn in_file(&self, error: Error, file: &RepoPath) -> Error {
        error.at(Origin { file: file.clone(), line: 0, column: 0 })
    }

    fn finish(&mut self, all: Accumulated, sorting: Option<&SortOptions>, options: &Options) -> Result<Vec<Object>, Errors> {
        let Accumulated { mut objects, config, vars } = all;
        Step::Hash.apply(&mut objects, &self.schemas)?;
        let mut objects = objects.into_list();
        self.watch_all(&mut objects, || watch::unasked("hash of the content"));
        references::fix(&mut objects, &config)?;
        self.watch_all(&mut objects, || watch::unasked("reference to a renamed object"));
        vars.resolve(&mut objects, &config.var_references)?;
        self.watch_all(&mut objects, || watch::unasked("vars"));
        if objects.iter().any(is_local) {
            check(&objects)?;
            objects.retain(|object| !is_local(object));
        }
        check(&objects)?;
        sort(&mut objects, sorting, options.order).map_err(|message| Error::new(Stage::Layer, message))?;
        let files = self.source.files();
        for object in &mut objects {
            object.set_files(files.clone());
            clean(object);
        }
        self.watch_all(&mut objects, || watch::unasked("kustomize's own annotations"));
        Ok(objects)
    }
}

fn is_local(object: &Object) -> bool {
    object.annotation(LOCAL).is_some_and(|value| value != "false")
}

/// Whether the outcome is a set of objects at all: patches and replacements may do anything.
fn check(objects: &[Object]) -> Result<(), Error> {
    // A kind that ends in `List` may be without a name, even where it lists nothing.
    let lacks = |object: &&Object| object.kind().is_empty() || (object.name().is_empty() && !object.kind().ends_with("List"));
    if let Some(object) = objects.iter().find(lacks) {
        let message = format!("a step took the name or kind of the object at {}", object.origin());
        return Err(Error::new(Stage::Transform, message).at(object.origin().clone()));
    }
    let Some((one, other)) = duplicate(objects) else { return Ok(()) };
    let message = format!("two objects have become {}: those at {} and at {}", one.id(), one.origin(), other.origin());
    Err(Error::new(Stage::Transform, message)
        .code_is(Code::DuplicateObject)
        .at(other.origin().clone())
        .hint("look at what renames them: prefixes, patches, hashes"))
}

fn sort(objects: &mut [Object], sorting: Option<&SortOptions>, order: Order) -> Result<(), String> {
    let Some(SortOptions { order: said, legacy_sort_options: legacy }) = sorting else {
        if order == Order::Legacy {
            order::sort(objects, order::FIRST, order::LAST);
        }
        return Ok(());
    };
    match (said.value.as_str(), legacy) {
        ("fifo", None) => Ok(()),
        ("fifo", Some(_)) => Err("`sortOptions` has `legacySortOptions`, but the order is not `legacy`".to_owned()),
        ("legacy", None) => {
            order::sort(objects, order::FIRST, order::LAST);
            Ok(())
        }
        ("legacy", Some(LegacySortOptions { order_first, order_last })) => {
            order::sort(objects, order_first, order_last);
            Ok(())
        }
        (other, _) => Err(format!("`sortOptions.order` is `{other}`; it must be fifo or legacy")),
    }
}

fn is_clean(annotations: &Node) -> bool {
    let is_text = |node: &Node| matches!(node.resolve(Dialect::Resource), Ok(Scalar::Str(Cow::Borrowed(_))));
    let is_own = |entry: &Entry| INTERNAL.iter().any(|name| edit::is_key(entry, name));
    let entries = annotations.entries();
    !entries.is_empty() && entries.iter().all(|entry| is_text(&entry.value) && !is_own(entry))
}

/// Takes kustomize's own annotations out. All others become strings, and an empty map of them goes.
fn clean(object: &mut Object) {
    // An object that is clean stays shared with the cache.
    if object.body().at(&["metadata", "annotations"]).is_none_or(is_clean) {
        return;
    }
    let Some(metadata) = object.body_mut().get_mut("metadata") else { return };
    if let Some(annotations) = metadata.get_mut("annotations") {
        INTERNAL.iter().for_each(|name| drop(edit::remove(annotations, name)));
    }
    edit::restate_strings(metadata, "annotations");
}

/// Changes when what this crate makes of a tree may change.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names the inputs of a rendering and their contents.
pub(super) fn fingerprint(options: &Options, paths: &[RepoPath], ids: &[Option<ContentId>]) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update(VERSION);
    digest.update(format!("{options:?}"));
    for (path, id) in paths.iter().zip(ids) {
        digest.update([0]);
        digest.update(path.as_str());
        digest.update([0]);
        digest.update(id.map_or([0; 20], |id| id.0));
    }
    let mut print = [0; 16];
    print.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    Fingerprint(print)
}
