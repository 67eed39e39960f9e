//! Which apps a repository holds, and what each of them is rendered from on a given cluster.
//!
//! It reads the fleet file and asks the tree what is there; it must not render, and it must not know where the facts come from.
//! How the root of an app is chosen from its base and its layers is told in [`layers`].

use std::collections::{BTreeMap, BTreeSet};

use overlays::error::{Error, Errors, Stage};
use overlays::object::Origin;
use overlays::path::RepoPath;
use overlays::tree::{Kind, Tree};
use overlays::yaml::Mark;

use crate::api::ClusterSpec;
use crate::facts::Facts;

mod choices;
mod file;
mod glob;
pub mod layers;
mod order;

pub use choices::Choices;
pub use layers::{Layer, LayerKind, Root};

/// The name of the fleet file.
pub const FILE: &str = "plimsoll.yaml";
/// The layers that are looked up where the fleet file names none, least specific first.
pub const DEFAULT_LAYERS: [&str; 4] = ["provider", "region", "environment", "cluster"];
/// The most apps of one fleet. Each of them is looked at for every revision.
const MAX_APPS: usize = 10_000;
/// The longest name of an app: it is the value of a label (`plimsoll.dev/app`).
const MAX_NAME: usize = 63;

/// What a fleet file says, or what is assumed where there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    directory: RepoPath,
    layers: Vec<String>,
    entries: Vec<Entry>,
    clusters: Vec<ClusterSpec>,
    prune: bool,
}

/// One entry of `apps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    name: Option<String>,
    path: String,
    depends_on: Vec<(String, Spot)>,
    prune: bool,
    spot: Spot,
}

/// A place in the fleet file, and the line that stands there; nowhere if there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spot {
    origin: Option<Origin>,
    line: String,
}

impl Spot {
    fn new(file: &RepoPath, mark: Mark, line: Option<&str>) -> Self {
        let origin = Origin { file: file.clone(), line: mark.line, column: mark.column };
        Self { origin: Some(origin), line: line.unwrap_or_default().to_owned() }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        let error = Error::new(Stage::Layer, message);
        match &self.origin {
            Some(origin) => error.at(origin.clone()).with_line(self.line.as_str()),
            None => error,
        }
    }
}

/// A unit of a repository that is rendered, applied, pruned and reported on its own, on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its name: unique in its fleet, and fit to be the value of a label.
    pub name: String,
    /// Its directory.
    pub path: RepoPath,
    /// What it is rendered from.
    pub root: Root,
    /// The layers that were found for this cluster, least specific first.
    pub layers: Vec<Layer>,
    /// The apps that have to be healthy before it is applied. One that is not among the apps has an error of its own.
    pub depends_on: Vec<String>,
    /// Whether Git gives the word for guarded deletions ([`crate::api::PRUNE_ANNOTATION`]).
    pub prune: bool,
    /// Where the fleet file asks for it.
    pub place: Option<Origin>,
}

/// Why an app, or an entry of the fleet file, comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppError {
    /// The app, where the entry has one. It is still wanted: what it owns must not be pruned.
    pub app: Option<String>,
    /// What, where, and what to do.
    pub error: Error,
}

/// Reads the fleet file in the directory `path`. Without one, the directory itself is the only app; it is named by its last segment or, at
/// the root, by `repository`.
///
/// # Errors
/// There is no such directory, or the file is wrong; then all that is wrong with it is told.
pub fn read(tree: &dyn Tree, path: &RepoPath, repository: &str) -> Result<Fleet, Errors> {
    match tree.kind(path).map_err(Error::from)? {
        Some(Kind::Directory) => {}
        Some(Kind::File) => return Err(Error::new(Stage::Layer, format!("`{path}` is a file, but the path must be a directory")).into()),
        None => return Err(glob::missing(tree, path, &Spot::default()).into()),
    }
    let file = path.join(FILE).map_err(|error| Error::new(Stage::Layer, error.to_string()))?;
    if let Some(blob) = tree.read(&file).map_err(Error::from)? {
        return file::read(&file, path, &blob.bytes);
    }
    let misnamed = path.join("plimsoll.yml").ok().filter(|file| matches!(tree.kind(file), Ok(Some(Kind::File))));
    match misnamed {
        Some(file) => {
            Err(Error::new(Stage::Layer, format!("`{file}` is not read: the fleet file is called `{FILE}`")).hint("rename it").into())
        }
        None => Ok(Fleet::of_one(path, repository)),
    }
}

impl Fleet {
    /// A fleet of one app: the directory itself.
    fn of_one(path: &RepoPath, repository: &str) -> Self {
        let entry = Entry { name: Some(label_value(path.name().unwrap_or(repository))), ..Entry::default() };
        Self { entries: vec![entry], ..Self::new(path) }
    }

    fn new(directory: &RepoPath) -> Self {
        let layers = DEFAULT_LAYERS.map(str::to_owned).into();
        Self { directory: directory.clone(), layers, entries: Vec::new(), clusters: Vec::new(), prune: false }
    }

    /// Whether the fleet file gives the word for guarded deletions in the whole repository, apps that it no longer has among them.
    pub fn prune(&self) -> bool {
        self.prune
    }

    /// The facts of a cluster with what the fleet file says of it, by its name.
    pub fn facts(&self, facts: &Facts) -> Facts {
        let said = self.clusters.iter().find(|cluster| cluster.name.as_deref() == Some(&facts.name));
        said.map_or_else(|| facts.clone(), |cluster| facts.clone().overridden_by(cluster))
    }

    /// The apps for the cluster with these facts (what the fleet file says of it is taken into account), each after those that it depends
    /// on, and what is wrong with the others. While anything is wrong, nothing may be pruned.
    pub fn apps(&self, tree: &dyn Tree, facts: &Facts) -> (Vec<App>, Vec<AppError>) {
        self.apps_again(tree, facts, &mut Choices::default())
    }

    /// The same, where something is known of an earlier revision.
    pub fn apps_again(&self, tree: &dyn Tree, facts: &Facts, choices: &mut Choices) -> (Vec<App>, Vec<AppError>) {
        let (listed, mut errors) = self.listed(tree);
        let refused = errors.iter().filter_map(|error| error.app.clone());
        let names: BTreeSet<String> = listed.iter().map(|app| app.name.clone()).chain(refused).collect();
        let unknown = listed.iter().filter_map(|app| Some(app.refused(app.unknown_dependency(&names)?)));
        errors.extend(unknown);
        let known: Vec<_> = listed.iter().filter(|app| app.unknown_dependency(&names).is_none()).collect();
        let (ordered, cycles) = order::order(&known);
        errors.extend(cycles);
        choices.begin(&self.facts(facts), &self.layers, listed.iter().map(|app| &app.path));
        let mut apps = Vec::new();
        for app in ordered {
            match self.app(tree, app, choices) {
                Ok(app) => apps.push(app),
                Err(error) => errors.push(app.refused(error)),
            }
        }
        (apps, errors)
    }

    fn app(&self, tree: &dyn Tree, listed: &Listed<'_>, choices: &mut Choices) -> Result<App, Error> {
        let chosen = choices.choose(tree, &listed.path)?;
        Ok(App {
            name: listed.name.clone(),
            path: listed.path.clone(),
            root: chosen.root,
            layers: chosen.layers,
            depends_on: listed.entry.depends_on.iter().map(|(name, _)| name.clone()).collect(),
            prune: self.prune || listed.entry.prune || chosen.prune,
            place: listed.entry.spot.origin.clone(),
        })
    }

    /// Every directory that an entry names, once, with a name that is its own.
    fn listed(&self, tree: &dyn Tree) -> (Vec<Listed<'_>>, Vec<AppError>) {
        let mut listing = Listing::default();
        let named: BTreeSet<RepoPath> = self.entries.iter().filter_map(|entry| glob::literal(&self.directory, &entry.path)).collect();
        for entry in &self.entries {
            match glob::directories(tree, &self.directory, entry) {
                // A directory with an entry of its own is that entry's, whatever wildcards fit it.
                Ok(paths) if glob::is_pattern(&entry.path) => {
                    paths.into_iter().filter(|path| !named.contains(path)).for_each(|path| listing.add(path, entry))
                }
                Ok(paths) => paths.into_iter().for_each(|path| listing.add(path, entry)),
                Err(error) => listing.errors.push(AppError { app: entry.name.clone(), error }),
            }
        }
        if listing.apps.len() > MAX_APPS {
            let error =
                Error::new(Stage::Layer, format!("the fleet has {} apps, more than the {MAX_APPS} that it may have", listing.apps.len()));
            return (Vec::new(), vec![AppError { app: None, error }]);
        }
        (listing.apps, listing.errors)
    }
}

/// An app before its layers are looked up.
#[derive(Debug)]
struct Listed<'a> {
    name: String,
    path: RepoPath,
    entry: &'a Entry,
}

impl Listed<'_> {
    fn refused(&self, error: Error) -> AppError {
        AppError { app: Some(self.name.clone()), error }
    }

    fn unknown_dependency(&self, names: &BTreeSet<String>) -> Option<Error> {
        let (name, spot) = self.entry.depends_on.iter().find(|(name, _)| !names.contains(name))?;
        let error = spot.error(format!("`dependsOn` names `{name}`, which is no app of this fleet"));
        Some(match file::nearest(name, names.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    }
}

#[derive(Default)]
struct Listing<'a> {
    apps: Vec<Listed<'a>>,
    errors: Vec<AppError>,
    names: BTreeMap<String, RepoPath>,
    paths: BTreeMap<RepoPath, String>,
}

impl<'a> Listing<'a> {
    fn add(&mut self, path: RepoPath, entry: &'a Entry) {
        let Some(name) = entry.name.as_deref().or(path.name()).map(str::to_owned) else {
            let error = entry.spot.error("the root of the repository has no name that an app could bear").hint("give the entry a `name`");
            return self.errors.push(AppError { app: None, error });
        };
        if let Err(error) = self.check(&name, &path, entry) {
            return self.errors.push(AppError { app: Some(name), error });
        }
        self.names.insert(name.clone(), path.clone());
        self.paths.insert(path.clone(), name.clone());
        self.apps.push(Listed { name, path, entry });
    }

    fn check(&self, name: &str, path: &RepoPath, entry: &Entry) -> Result<(), Error> {
        if !is_label_value(name) {
            let message = format!(
                "`{name}` is no name for an app: letters, digits, `-`, `_` and `.`, at most {MAX_NAME}, a letter or digit at both ends"
            );
            return Err(entry.spot.error(message).hint("give the entry a `name`, or rename the directory"));
        }
        if let Some(other) = self.names.get(name).filter(|other| *other != path) {
            let message = format!("two apps are called `{name}`: `{other}` and `{path}`");
            return Err(entry.spot.error(message).hint("give one of them another `name` by an entry of its own"));
        }
        match self.paths.get(path) {
            Some(other) => Err(entry
                .spot
                .error(format!("`{path}` is listed twice, as the apps `{other}` and `{name}`"))
                .hint("remove one of the entries")),
            None => Ok(()),
        }
    }
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= MAX_NAME
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

/// The nearest name that a label may have as its value.
fn label_value(text: &str) -> String {
    let kept: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(MAX_NAME).collect();
    match kept.trim_matches(['-', '_', '.']) {
        "" => "app".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
