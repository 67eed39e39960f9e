//! A directory without a kustomization file: everything below it that is YAML or JSON.
//!
//! It must not know what kustomizations say: a directory that holds one, below a plain one, is a layer and taken as a whole, as Flux does.

use std::collections::BTreeSet;

use super::{Accumulated, Build};
use crate::diagnostic::Code;
use crate::error::{Error, Errors, Stage};
use crate::layer::FILE_NAMES;
use crate::object::Object;
use crate::objects::Objects;
use crate::path::RepoPath;
use crate::tree::Kind;
use crate::yaml::Mark;

/// The file that says what is no manifest.
const IGNORE: &str = ".plimsollignore";

/// How many files and directories a plain directory may have, and how deep it may be.
const MAX_FILES: usize = 20_000;
const MAX_DIRECTORIES: usize = 20_000;
const MAX_DEPTH: usize = 50;

/// A part of a plain directory.
enum Part {
    File(RepoPath),
    Layer(RepoPath),
}

impl Build<'_> {
    /// The objects of all files below a directory.
    pub(super) fn plain(&mut self, root: &RepoPath) -> Result<Accumulated, Errors> {
        self.source.enter(root);
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([root.clone()]);
        self.collect(root, &Ignore::default(), &mut seen, &mut found)?;
        let mut all = Accumulated::default();
        let mut errors = Vec::new();
        for part in found {
            let objects = match part {
                Part::File(file) => self.resources(&file).map_err(Errors::from),
                Part::Layer(directory) => self.layer_below(&directory, &mut all),
            };
            for object in objects.unwrap_or_else(|more| {
                errors.extend(more.0);
                Vec::new()
            }) {
                errors.extend(all.objects.push(object).err().map(|(object, at)| twice(&all.objects, &object, at)));
            }
        }
        if errors.is_empty() { Ok(all) } else { Err(Errors(errors)) }
    }

    /// The objects of a layer. A component is for other layers to name, and has none of its own.
    fn layer_below(&mut self, directory: &RepoPath, all: &mut Accumulated) -> Result<Vec<Object>, Errors> {
        let layer = self.layer(directory)?;
        if layer.kustomization.is_component() {
            return Ok(Vec::new());
        }
        let Accumulated { objects, config, vars } = self.accumulate(&layer, &[], Accumulated::default())?;
        let wrong = |problem: String| self.error(&layer, Stage::Layer, problem, Mark::default());
        all.config = all.config.merge(&config).map_err(wrong)?;
        all.vars.merge(vars).map_err(wrong)?;
        Ok(objects.into_list())
    }

    /// `seen` are the directories that were read, so that links can't lead in circles.
    fn collect(
        &mut self,
        directory: &RepoPath,
        ignore: &Ignore,
        seen: &mut BTreeSet<RepoPath>,
        found: &mut Vec<Part>,
    ) -> Result<(), Error> {
        if seen.len() > MAX_DIRECTORIES || found.len() > MAX_FILES || directory.segments().count() > MAX_DEPTH {
            let message = format!(
                "`{directory}` is more than a plain directory may be: {MAX_FILES} files in {MAX_DIRECTORIES} directories, {MAX_DEPTH} deep"
            );
            return Err(Error::new(Stage::Layer, message)
                .code_is(Code::Limit)
                .hint("add a kustomization file that names what is wanted, or a .plimsollignore"));
        }
        let entries = self.source.tree().list(directory)?;
        let mut ignore = ignore.clone();
        if entries.get(IGNORE) == Some(&Kind::File) {
            let blob = self.source.read(&join(directory, IGNORE)?)?;
            ignore.add(directory, &String::from_utf8_lossy(&blob.bytes));
        }
        for (name, kind) in &entries {
            let path = join(directory, name)?;
            if name.starts_with('.') || ignore.matches(&path, *kind == Kind::Directory) {
                continue;
            }
            match kind {
                Kind::Directory => self.collect_below(&path, &ignore, seen, found)?,
                Kind::File if is_manifest(name) => {
                    self.source.resolve(&path)?;
                    found.push(Part::File(path));
                }
                Kind::File => {}
            }
        }
        Ok(())
    }

    fn collect_below(
        &mut self,
        path: &RepoPath,
        ignore: &Ignore,
        seen: &mut BTreeSet<RepoPath>,
        found: &mut Vec<Part>,
    ) -> Result<(), Error> {
        let Some((real, _)) = self.source.resolve(path)? else { return Ok(()) };
        if !seen.insert(real.clone()) {
            return Ok(());
        }
        if self.kustomization_file(&real)?.is_some() {
            found.push(Part::Layer(real));
            return Ok(());
        }
        self.collect(path, ignore, seen, found)
    }
}

fn join(directory: &RepoPath, name: &str) -> Result<RepoPath, Error> {
    directory.join(name).map_err(|error| Error::new(Stage::Tree, error.to_string()))
}

fn is_manifest(name: &str) -> bool {
    !FILE_NAMES.contains(&name) && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

fn twice(objects: &Objects, object: &Object, at: usize) -> Error {
    let other = objects.get(at).map(|other| other.origin().to_string()).unwrap_or_default();
    Error::new(Stage::Object, format!("{} is there twice: at {other} and at {}", object.id(), object.origin()))
        .at(object.origin().clone())
        .hint("remove or rename one of the two")
}

/// What ignore files say. As in a `.gitignore`: patterns with `*`, `**` and `?`, a slash in front or within binds a pattern to the
/// directory of its file, one at the end means directories only, `!` takes back.
#[derive(Clone, Debug, Default)]
struct Ignore(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    base: RepoPath,
    pattern: String,
    anchored: bool,
    directories_only: bool,
    takes_back: bool,
}

impl Ignore {
    fn add(&mut self, base: &RepoPath, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (line, takes_back) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
            let (line, directories_only) = line.strip_suffix('/').map_or((line, false), |rest| (rest, true));
            let anchored = line.contains('/');
            let pattern = line.trim_start_matches('/').to_owned();
            self.0.push(Rule { base: base.clone(), pattern, anchored, directories_only, takes_back });
        }
    }

    fn matches(&self, path: &RepoPath, is_directory: bool) -> bool {
        let last = self.0.iter().rev().find(|rule| rule.matches(path, is_directory));
        last.is_some_and(|rule| !rule.takes_back)
    }
}

impl Rule {
    fn matches(&self, path: &RepoPath, is_directory: bool) -> bool {
        if self.directories_only && !is_directory {
            return false;
        }
        let depth = self.base.segments().count();
        let below: Vec<&str> = path.segments().skip(depth).collect();
        if self.anchored {
            let pattern: Vec<&str> = self.pattern.split('/').collect();
            return matches_path(&pattern, &below);
        }
        below.last().is_some_and(|name| matches_name(self.pattern.as_bytes(), name.as_bytes()))
    }
}

fn matches_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => matches_path(rest, path) || path.split_first().is_some_and(|(_, below)| matches_path(pattern, below)),
        ([first, rest @ ..], [name, below @ ..]) => matches_name(first.as_bytes(), name.as_bytes()) && matches_path(rest, below),
        _ => false,
    }
}

/// Wildcards in linear time: on a mismatch the last `*` takes one character more.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files_read_like_gitignore() {
        let path = |text| RepoPath::new(text).unwrap();
        let mut ignore = Ignore::default();
        ignore.add(&path("apps"), "# no\n*.bak.yaml\n/test/\ndocs/**/x.yaml\n!keep.bak.yaml\n");
        assert!(ignore.matches(&path("apps/a/b.bak.yaml"), false));
        assert!(!ignore.matches(&path("apps/a/keep.bak.yaml"), false));
        assert!(ignore.matches(&path("apps/test"), true) && !ignore.matches(&path("apps/a/test"), true));
        assert!(!ignore.matches(&path("apps/test"), false));
        assert!(ignore.matches(&path("apps/docs/a/b/x.yaml"), false) && ignore.matches(&path("apps/docs/x.yaml"), false));
    }
}
