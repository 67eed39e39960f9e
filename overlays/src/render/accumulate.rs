//! The recursion: what a layer reads, generates and includes, and in which order its steps run.
//!
//! It must not know what the steps do.

use std::sync::Arc;

use super::provenance::note_step;
use super::{Accumulated, Build, Layer, watch};
use crate::diagnostic::Code;
use crate::error::{Error, Errors, Stage};
use crate::generate::{self, Behavior, Kind as Generated};
use crate::layer::Placed;
use crate::object::Object;
use crate::objects::Objects;
use crate::path::RepoPath;
use crate::source;
use crate::transform::near;
use crate::tree::Kind;
use crate::yaml::Mark;

/// How deep layers may include each other. Cycles are found by themselves; this bounds the stack.
const MAX_DEPTH: usize = 100;

/// How many layers may be included, and how many objects there may be: a layer that includes the next one twice, and so on, doubles
/// them at each level.
const MAX_LAYERS: usize = 10_000;
const MAX_OBJECTS: usize = 100_000;

impl Build<'_> {
    /// Does all that a layer says, on top of what is there: nothing for a kustomization, what its parent has for a component.
    pub(super) fn accumulate(&mut self, layer: &Layer, ancestors: &[RepoPath], mut into: Accumulated) -> Result<Accumulated, Errors> {
        let mut above = ancestors.to_vec();
        above.push(layer.directory.clone());
        let mut errors = Vec::new();
        for resource in &layer.kustomization.resources {
            if let Err(more) = self.resource(layer, &above, resource, &mut into) {
                errors.extend(more.0);
            }
        }
        into.config = self.config(layer, &into.config)?;
        if errors.is_empty() {
            errors.extend(self.generate(layer, &mut into.objects));
        }
        if !errors.is_empty() {
            // What the layer's patches say is wrong or right whatever they are for.
            let config = Arc::clone(&into.config);
            errors.extend(self.steps(layer, &config).1.into_iter().filter(|error| error.code().stands_alone()));
            return Err(Errors(errors));
        }
        self.run_generators(layer, &above, &mut into)?;
        for component in &layer.kustomization.components {
            into = self.component(layer, &above, component, into)?;
        }
        self.transform(layer, &above, &mut into)?;
        self.validate(layer, &above, &mut into)?;
        let vars = layer.kustomization.vars.iter().map(|var| var.value.clone());
        let mark = layer.kustomization.vars.first().map(|var| var.mark).unwrap_or_default();
        into.vars.add(vars, &mut into.objects).map_err(|problem| self.error(layer, Stage::Layer, problem, mark))?;
        Ok(into)
    }

    /// A resource is a file, or else the directory of another layer.
    pub(super) fn resource(
        &mut self,
        layer: &Layer,
        above: &[RepoPath],
        resource: &Placed<String>,
        into: &mut Accumulated,
    ) -> Result<(), Errors> {
        let Placed { value: name, mark } = resource;
        let at = |build: &Self, error: Error| build.source.place(error, &layer.file, *mark);
        if let Some(remote) = source::remote(name) {
            self.source.missing.push(remote.clone());
            return Err(at(self, Error::Missing(vec![remote])).into());
        }
        if name.is_empty() {
            return Err(at(self, Error::new(Stage::Layer, "an entry of `resources` is empty")).into());
        }
        let path = layer.directory.join(name).map_err(|error| at(self, Error::new(Stage::Layer, error.to_string())))?;
        match self.source.resolve(&path)? {
            Some((_, Kind::File)) => {
                self.source.allowed(&layer.directory, name).map_err(|error| at(self, error))?;
                let mut objects = self.resources(&path).map_err(|error| at(self, error))?;
                objects.iter_mut().for_each(|object| self.note_file(object, &path));
                self.append(layer, objects, *mark, &mut into.objects)
            }
            Some((path, Kind::Directory)) => {
                let child = self.enter(layer, above, &path, name, *mark)?;
                if child.kustomization.is_component() {
                    let error = Error::new(Stage::Layer, format!("`{name}` is a component; it can't be a resource"));
                    return Err(at(self, error.hint("name it under `components`")).into());
                }
                let child = self.accumulate(&child, above, Accumulated::default())?;
                self.merge(layer, child, *mark, into)
            }
            None => Err(at(self, absent(name, self.source.missing_path(&path))).into()),
        }
    }

    fn component(
        &mut self,
        layer: &Layer,
        above: &[RepoPath],
        component: &Placed<String>,
        into: Accumulated,
    ) -> Result<Accumulated, Errors> {
        let Placed { value: name, mark } = component;
        let at = |build: &Self, error: Error| build.source.place(error, &layer.file, *mark);
        if let Some(remote) = source::remote(name) {
            self.source.missing.push(remote.clone());
            return Err(at(self, Error::Missing(vec![remote])).into());
        }
        let path = layer.directory.join(name).map_err(|error| at(self, Error::new(Stage::Layer, error.to_string())))?;
        let path = match self.source.resolve(&path)? {
            Some((path, Kind::Directory)) => path,
            Some(_) => return Err(at(self, Error::new(Stage::Layer, format!("the component `{path}` is no directory"))).into()),
            None => return Err(at(self, self.source.missing_path(&path)).into()),
        };
        let child = self.enter(layer, above, &path, name, *mark)?;
        if !child.kustomization.is_component() {
            let error = Error::new(Stage::Layer, format!("`{name}` is no component"));
            return Err(at(self, error.hint("name it under `resources`, or give it `kind: Component`")).into());
        }
        let child = self.accumulate(&child, above, into)?;
        // As if all were new: objects that have become the same are told, and configurations displace each other as they do in a base.
        let mut anew = Accumulated::default();
        self.merge(layer, child, *mark, &mut anew)?;
        Ok(anew)
    }

    /// Reads a layer that another one includes.
    fn enter(&mut self, layer: &Layer, above: &[RepoPath], path: &RepoPath, name: &str, mark: Mark) -> Result<Layer, Error> {
        let at = |build: &Self, error: Error| build.source.place(error, &layer.file, mark);
        if name.starts_with('/') {
            return Err(at(
                self,
                Error::new(Stage::Layer, format!("`{name}` is an absolute path; paths are relative to the kustomization")),
            ));
        }
        if is_ambiguous(name) {
            let error = Error::new(Stage::Layer, format!("`{name}` has `..` within a name"));
            return Err(at(self, error.hint("two entries of a list may have become one: check their indentation")));
        }
        if let Some(ancestor) = above.iter().find(|ancestor| ancestor.is_within(path)) {
            let error = Error::new(Stage::Layer, format!("`{name}` is a cycle: `{path}` is or holds `{ancestor}`, which is being built"));
            return Err(at(
                self,
                error.code_is(Code::LayerCycle).hint("a layer can't include itself, a layer that includes it, or a directory above it"),
            ));
        }
        if above.len() >= MAX_DEPTH {
            let error = Error::new(Stage::Layer, format!("layers include each other more than {MAX_DEPTH} deep"));
            return Err(at(self, error.code_is(Code::Limit)));
        }
        self.entered += 1;
        if self.entered > MAX_LAYERS {
            let error = Error::new(Stage::Layer, format!("more than {MAX_LAYERS} layers are included"));
            return Err(at(self, error.code_is(Code::Limit)));
        }
        self.layer(path).map_err(|error| at(self, error))
    }

    /// Adds what another part of the tree came to.
    pub(super) fn merge(&mut self, layer: &Layer, child: Accumulated, mark: Mark, into: &mut Accumulated) -> Result<(), Errors> {
        self.append(layer, child.objects.into_list(), mark, &mut into.objects)?;
        let wrong = |problem: String| self.error(layer, Stage::Layer, problem, mark);
        into.config = into.config.merge(&child.config).map_err(wrong)?;
        into.vars.merge(child.vars).map_err(wrong)?;
        Ok(())
    }

    /// Adds objects; all those that are there already are told.
    pub(super) fn append(&mut self, layer: &Layer, objects: Vec<Object>, mark: Mark, into: &mut Objects) -> Result<(), Errors> {
        if into.list().len() + objects.len() > MAX_OBJECTS {
            let message = format!("there are more than {MAX_OBJECTS} objects");
            return Err(self
                .error(layer, Stage::Object, message, mark)
                .code_is(Code::Limit)
                .hint("split the tree into several apps")
                .into());
        }
        let mut errors = Vec::new();
        for object in objects {
            if let Err((object, at)) = into.push(object) {
                let other = into.get(at).map(|other| other.origin().to_string()).unwrap_or_default();
                let message = format!("{} is there twice: at {other} and at {}", object.id(), object.origin());
                let error = Error::new(Stage::Object, message)
                    .code_is(Code::DuplicateObject)
                    .hint("remove or rename one of the two, or write one as a patch");
                errors.push(self.source.place(error, &layer.file, mark));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Errors(errors)) }
    }

    /// Runs the generators that the kustomization itself has.
    fn generate(&mut self, layer: &Layer, objects: &mut Objects) -> Vec<Error> {
        let mut errors = Vec::new();
        let kustomization = &layer.kustomization;
        let maps = kustomization.config_map_generator.iter().map(|generator| (Generated::ConfigMap, generator));
        let secrets = kustomization.secret_generator.iter().map(|generator| (Generated::Secret, generator));
        for (kind, generator) in maps.chain(secrets) {
            let options = &kustomization.generator_options;
            let generated = generate::generate(&mut self.source, &layer.directory, &layer.file, kind, generator, options);
            let behavior = Behavior::new(&generator.value.behavior);
            let note = self.own_note(layer, if kind == Generated::Secret { "SecretGenerator" } else { "ConfigMapGenerator" });
            let outcome = generated.and_then(|mut object| {
                object.history.made = note;
                absorb(objects, object, behavior)
            });
            errors.extend(outcome.err().map(|error| generate::place(&self.source, kind, &layer.file, error, generator.mark)));
            let field = if kind == Generated::Secret { "secretGenerator" } else { "configMapGenerator" };
            self.watch(objects, || watch::asked(field, &layer.file, generator.mark));
        }
        let helm = kustomization.helm_charts.first().map(|chart| chart.mark);
        let helm = helm.or_else(|| kustomization.helm_chart_inflation_generator.first().map(|chart| chart.mark));
        if let Some(mark) = helm {
            let error = Error::new(Stage::Generate, "Helm charts are not rendered: that would run a program and read the network")
                .code_is(Code::Program);
            let error = error.hint("run `helm template` and commit its output, and name that under `resources`");
            errors.push(self.source.place(error, &layer.file, mark));
        }
        errors
    }

    /// Runs the steps that the kustomization's own fields ask for, then those of `transformers`.
    fn transform(&mut self, layer: &Layer, above: &[RepoPath], into: &mut Accumulated) -> Result<(), Errors> {
        let config = Arc::clone(&into.config);
        let (steps, mut errors) = self.steps(layer, &config);
        for (step, mark) in steps {
            if let Err(error) = step.apply(&mut into.objects, &self.schemas) {
                // After one error, others are told if they can't have come of it.
                if errors.is_empty() || error.code().stands_alone() {
                    errors.push(self.source.place(error, &layer.file, mark));
                }
                continue;
            }
            self.warn_of_missed(layer, mark, &mut into.objects);
            note_step(&mut into.objects, self.own_note(layer, step.kind()).as_ref());
            self.watch(&mut into.objects, || watch::asked(watch::field(&step, layer, mark), &layer.file, mark));
        }
        if !errors.is_empty() {
            return Err(Errors(errors));
        }
        self.run_transformers(layer, above, &layer.kustomization.transformers, into)
    }
}

impl Build<'_> {
    /// A patch that names an object which is not there changes nothing, and kustomize says nothing. Expressions and kinds alone may well
    /// be meant to select what there is.
    pub(super) fn warn_of_missed(&mut self, layer: &Layer, mark: Mark, objects: &mut Objects) {
        for target in objects.take_missed() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
            if target.name.is_empty() || !target.name.chars().all(is_name) || !target.names_no_metadata() {
                continue;
            }
            let kind = if target.kind.is_empty() { "object" } else { &target.kind };
            let message = format!("the patch selects no {kind} `{}`, and changes nothing", target.name);
            let error = self.error(layer, Stage::Transform, message, mark).code_is(Code::PatchSelectsNothing).warning();
            self.warnings.push(match near(objects.list(), kind, &target.name) {
                Some(object) => error.hint(format!("there is {} in {}", object.id(), object.origin())),
                None => error,
            });
        }
    }
}

/// Adds a generated object, or merges it into the one that is there.
pub(super) fn absorb(objects: &mut Objects, object: Object, behavior: Behavior) -> Result<(), Error> {
    let wrong = |message: String, hint: &str| Err(Error::new(Stage::Generate, message).hint(hint));
    let found = objects.with_id(&object.now());
    match (found.as_slice(), behavior) {
        ([], Behavior::Create) => {
            objects.push(object).map_err(|(object, _)| Error::new(Stage::Generate, format!("{} is there twice", object.id())))
        }
        ([], _) => wrong(format!("{} is not there, so that nothing can be merged into it or replaced", object.id()), "remove `behavior`"),
        ([_], Behavior::Create) => wrong(format!("{} is there already", object.id()), "say `behavior: merge` or `behavior: replace`"),
        ([at], _) => {
            let merged = objects.get(*at).map(|old| generate::merge(old, object, behavior));
            merged.into_iter().for_each(|merged| objects.replace(*at, merged));
            Ok(())
        }
        _ => wrong(format!("{} may be merged into any of {} objects", object.id(), found.len()), "give its namespace"),
    }
}

fn absent(name: &str, error: Error) -> Error {
    if is_ambiguous(name) {
        return error.hint("two entries of a list may have become one: check their indentation");
    }
    if name.contains(['*', '?', '[']) {
        error.hint("patterns are not expanded: name each file, or a directory with a kustomization")
    } else {
        error
    }
}

/// A `..` within a name comes from two list entries that were indented into one.
fn is_ambiguous(name: &str) -> bool {
    name.split('/').any(|segment| segment != ".." && segment.contains(".."))
}
