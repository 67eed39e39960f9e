//! What a person at a keyboard looks at: a kustomization, or the apps of a fleet, in a working tree or at a revision.
//!
//! It reads; it must not know what is asked of what it renders.

use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryOpenFlags};
use overlays::path::RepoPath;
use overlays::tree::{Dir, GitTree, Tree, WithFile};
use overlays::{Cache, Error, Errors, Object, Options, Remote, Rendered, Stage};

use crate::bases::{Bases, ROUNDS, pinned};
use crate::facts::Facts;
use crate::fleet::{self, App, Root};

/// What of a tree is rendered.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A kustomization, or a directory of plain manifests.
    Directory(RepoPath),
    /// What a cluster gets of a fleet.
    Fleet {
        /// The directory of the fleet file.
        path: RepoPath,
        /// What the cluster is.
        facts: Box<Facts>,
        /// These apps only; all, if there are none.
        apps: Vec<String>,
    },
}

/// A part of a tree that is rendered on its own.
#[derive(Clone, Debug)]
pub struct Part {
    /// The app, in a fleet.
    pub app: Option<App>,
    root: Root,
}

/// A part, and what it came to.
#[derive(Debug)]
pub struct Seen {
    /// The part.
    pub part: Part,
    /// Its objects.
    pub rendered: Rendered,
}

/// What a tree comes to: what renders, and all that is wrong with the rest.
#[derive(Debug, Default)]
pub struct View {
    /// The parts that render, in order.
    pub seen: Vec<Seen>,
    /// What is wrong with the others.
    pub errors: Vec<Error>,
    /// What renders, but hardly to what was meant.
    pub warnings: Vec<Error>,
}

impl Part {
    /// Does something at the root of this part; what nobody wrote is in the tree then.
    ///
    /// # Errors
    /// What is done fails.
    pub fn at_root<T>(&self, tree: &dyn Tree, work: impl FnOnce(&dyn Tree, &RepoPath) -> Result<T, Errors>) -> Result<T, Errors> {
        match &self.root {
            Root::Directory(path) => work(tree, path),
            Root::Stacked { at, kustomization } => {
                let file = at.join("kustomization.yaml").map_err(|error| Error::new(Stage::Layer, error.to_string()))?;
                let stacked = WithFile::new(tree, file, kustomization.as_bytes()).map_err(Error::from)?;
                work(&stacked, at)
            }
        }
    }

    /// The layer of the fleet that a file belongs to, as `provider=aws`.
    pub fn layer_of(&self, file: &RepoPath) -> Option<String> {
        let layers = self.app.iter().flat_map(|app| &app.layers);
        layers.filter(|layer| file.is_within(&layer.path)).map(|layer| format!("{}={}", layer.key, layer.value)).next_back()
    }
}

impl View {
    /// All objects, each with its part.
    pub fn objects(&self) -> impl Iterator<Item = (&Object, &Part)> {
        self.seen.iter().flat_map(|seen| seen.rendered.manifest.objects().iter().map(|object| (object, &seen.part)))
    }
}

/// Renders all that is wanted of a tree, whatever is wrong with the rest of it.
///
/// # Errors
/// There is no such fleet or app, so that nothing can be rendered.
pub fn view(tree: &dyn Tree, wanted: &Wanted, options: &Options, cache: &mut Cache) -> Result<View, Errors> {
    let (parts, errors) = parts(tree, wanted)?;
    let mut view = View { errors, ..View::default() };
    for part in parts {
        match part.at_root(tree, |tree, root| overlays::render(tree, root, options, cache)) {
            Ok(mut rendered) => {
                view.warnings.append(&mut rendered.warnings);
                view.seen.push(Seen { part, rendered });
            }
            Err(errors) => view.errors.extend(errors.0),
        }
    }
    Ok(view)
}

/// As [`view`], of a tree that [`Bases::under`] makes: the remote bases that are missing are brought, and it is rendered again.
///
/// # Errors
/// As [`view`]. What can't be brought is among the errors of the view.
pub fn view_with_bases(tree: &dyn Tree, wanted: &Wanted, options: &Options, cache: &mut Cache, bases: &Bases) -> Result<View, Errors> {
    for _ in 0..ROUNDS {
        let mut view = view(tree, wanted, options, cache)?;
        let errors = Errors(std::mem::take(&mut view.errors));
        let missing: Vec<Remote> = errors.missing().into_iter().cloned().collect();
        if missing.is_empty() {
            return Ok(View { errors: errors.0, ..view });
        }
        let unbrought = bases.bring_now(&missing)?;
        if !unbrought.is_empty() {
            return Ok(View { errors: pinned::told(errors, unbrought).0, ..view });
        }
    }
    view(tree, wanted, options, cache).map(|view| View { errors: pinned::told_too_deep(Errors(view.errors)).0, ..view })
}

/// The parts of a tree that are wanted, and what is wrong with other entries of the fleet.
///
/// # Errors
/// As [`view`].
pub fn parts(tree: &dyn Tree, wanted: &Wanted) -> Result<(Vec<Part>, Vec<Error>), Errors> {
    match wanted {
        Wanted::Directory(root) => Ok((vec![Part { app: None, root: Root::Directory(root.clone()) }], Vec::new())),
        Wanted::Fleet { path, facts, apps: names } => {
            let (apps, errors) = fleet::read(tree, path, "app")?.apps(tree, facts);
            if let Some(name) = names.iter().find(|name| apps.iter().all(|app| app.name != **name)) {
                let there = apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::new(Stage::Layer, format!("there is no app `{name}`; there are: {there}")).into());
            }
            let wanted = apps.into_iter().filter(|app| names.is_empty() || names.contains(&app.name));
            let parts = wanted.map(|app| Part { root: app.root.clone(), app: Some(app) }).collect();
            Ok((parts, errors.into_iter().map(|error| error.error).collect()))
        }
    }
}

/// A working tree on this machine.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its files as they are saved.
    pub files: Dir,
    /// The directory that was named, in it.
    pub path: RepoPath,
}

impl Place {
    /// The directory of a kustomization. It may reach all of its Git working tree.
    ///
    /// # Errors
    /// It is not there.
    pub fn of_directory(directory: &Path) -> Result<Self, Errors> {
        let (files, path) = Dir::covering(directory).map_err(Error::from)?;
        Ok(Self { files, path })
    }

    /// The root of a repository with a fleet.
    pub fn of_repository(directory: PathBuf) -> Self {
        Self { files: Dir::new(directory), path: RepoPath::root() }
    }

    /// The Git repository that holds the files, and where they are in it.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn repository(&self) -> Result<(Repository, RepoPath), String> {
        let root = self.files.root();
        let failed = |why: &str| format!("{} is in no Git repository that can be read: {why}", root.display());
        // The environment must not decide which repository is read.
        let none: [&Path; 0] = [];
        let repository = Repository::open_ext(root, RepositoryOpenFlags::empty(), none).map_err(|error| failed(error.message()))?;
        let full = root.canonicalize().map_err(|error| failed(&error.to_string()))?;
        let Some(top) = repository.workdir() else { return Ok((repository, RepoPath::root())) };
        let top = top.canonicalize().map_err(|error| failed(&error.to_string()))?;
        let below = full.strip_prefix(&top).ok().and_then(Path::to_str).ok_or_else(|| failed("its path is not UTF-8"))?;
        let below = RepoPath::new(below).map_err(|error| failed(&error.to_string()))?;
        Ok((repository, below))
    }

    /// The files at a revision, as `main`, `HEAD~1` or a commit.
    ///
    /// # Errors
    /// There is no such revision, or the directory is not in it.
    pub fn at(&self, revision: &str) -> Result<GitTree, String> {
        let (repository, below) = self.repository()?;
        let failed = |error: &git2::Error| format!("`{revision}` is no revision of {}: {}", self.files.root().display(), error.message());
        let tree = repository.revparse_single(revision).and_then(|found| found.peel_to_tree()).map_err(|error| failed(&error))?;
        let id = if below.is_root() {
            tree.id()
        } else {
            tree.get_path(Path::new(below.as_str())).map_err(|_| format!("`{below}` is not there at `{revision}`"))?.id()
        };
        drop(tree);
        let id = id.as_bytes().try_into().map_err(|_| format!("`{revision}` has an id of another length than 20 bytes"))?;
        GitTree::new(repository, id).map_err(|error| format!("`{revision}` can't be read: {error}"))
    }
}
