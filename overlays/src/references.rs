//! Puts names right that objects use for each other, once all names are known.
//!
//! It must not know why an object was renamed: it compares what objects are with what they were.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Stage};
use crate::fields::config::Config;
use crate::fields::{self, Create, FieldSpec, Gvk, edit};
use crate::object::{Id, Object, Past};
use crate::yaml::{Node, Text, Value};

/// An object that was renamed, so that others may still use its old name.
struct Candidate {
    group: Text,
    version: Text,
    past: Vec<Past>,
    prefixes: Vec<Text>,
    suffixes: Vec<Text>,
    name: Text,
    /// The namespace as written.
    namespace: Text,
    /// The effective namespace.
    scope: Text,
    is_cluster_scoped: bool,
    is_service_account: bool,
    label: String,
}

impl Candidate {
    fn new(object: &Object) -> Self {
        let now = object.now();
        Self {
            group: now.group.into(),
            version: now.version.into(),
            past: object.history.past.clone(),
            prefixes: object.history.prefixes.clone(),
            suffixes: object.history.suffixes.clone(),
            name: now.name.into(),
            namespace: object.namespace().into(),
            scope: now.namespace.into(),
            is_cluster_scoped: now.is_cluster_scoped(),
            is_service_account: now.kind == "ServiceAccount",
            label: format!("{} ({})", object.id(), object.origin()),
        }
    }

    fn was_a(&self, gvk: &Gvk) -> bool {
        self.past.iter().any(|past| {
            gvk.selects(&Id { group: &self.group, version: &self.version, kind: &past.kind, namespace: &past.namespace, name: &past.name })
        })
    }
}

/// The candidates by the names that they had.
struct Candidates {
    list: Vec<Candidate>,
    by_name: HashMap<Text, Vec<usize>>,
    /// For each namespace that objects had at first, renamed or not: the namespaces that they have now.
    moved: HashMap<Text, HashSet<Text>>,
}

impl Candidates {
    fn new(objects: &[Object]) -> Self {
        let list: Vec<Candidate> = objects.iter().filter(|object| !object.history.past.is_empty()).map(Candidate::new).collect();
        let mut by_name: HashMap<Text, Vec<usize>> = HashMap::new();
        for (at, candidate) in list.iter().enumerate() {
            let names: HashSet<&Text> = candidate.past.iter().map(|past| &past.name).collect();
            names.into_iter().for_each(|name| by_name.entry(name.clone()).or_default().push(at));
        }
        let mut moved: HashMap<Text, HashSet<Text>> = HashMap::new();
        for object in objects.iter().filter(|object| !object.first().is_cluster_scoped()) {
            moved.entry(object.first().namespace.into()).or_default().insert(object.now().namespace.into());
        }
        Self { list, by_name, moved }
    }

    fn that_were_named<'c>(&'c self, name: &Text) -> impl Iterator<Item = &'c Candidate> {
        self.by_name.get(name).into_iter().flatten().filter_map(|at| self.list.get(*at))
    }
}

/// One field that may hold a name, and what it then names.
struct Rule<'c> {
    target: &'c Gvk,
    referrer: &'c Gvk,
    /// The field, for any kind: which kinds have it is asked of what an object was at first.
    spec: FieldSpec,
}

/// Puts all references right.
///
/// # Errors
/// A name may mean any of several objects that have different names by now.
pub(crate) fn fix(objects: &mut [Object], config: &Config) -> Result<(), Error> {
    let candidates = Candidates::new(objects);
    let rules = if candidates.list.is_empty() { HashMap::new() } else { rules(config) };
    for object in objects {
        let referrer = Referrer::new(object).map_err(|problem| about(object, &problem))?;
        let kind = object.first().kind.to_owned();
        let of = |kind: &str| rules.get(kind).into_iter().flatten();
        for rule in of(&kind).chain(of("")) {
            if rule.referrer.selects(&object.first()) {
                let search = Search { referrer: &referrer, rule, candidates: &candidates };
                let outcome = fields::for_each(object, &rule.spec, Create::Never, &mut |node| search.put_right(node));
                outcome.map_err(|problem| about(object, &problem))?;
            }
        }
    }
    Ok(())
}

fn about(object: &Object, problem: &str) -> Error {
    Error::new(Stage::Transform, format!("{}: {problem}", object.id())).at(object.origin().clone())
}

fn rules(config: &Config) -> HashMap<&str, Vec<Rule<'_>>> {
    let mut rules: HashMap<&str, Vec<Rule<'_>>> = HashMap::new();
    for reference in &config.name_references {
        for spec in &reference.referrers {
            let rule = Rule { target: &reference.target, referrer: &spec.gvk, spec: FieldSpec::of_all(&spec.path, false) };
            rules.entry(&spec.gvk.kind).or_default().push(rule);
        }
    }
    rules
}

/// What is asked of the object that uses a name.
struct Referrer {
    prefixes: Vec<Text>,
    suffixes: Vec<Text>,
    /// The effective namespace; `None` if the object can have none.
    scope: Option<Text>,
    /// The namespaces of the service accounts that a RoleBinding binds.
    subject_namespaces: HashSet<Text>,
    /// What a binding's `roleRef` says that it names.
    role: Option<Gvk>,
}

impl Referrer {
    fn new(object: &Object) -> Result<Self, String> {
        let now = object.now();
        Ok(Self {
            prefixes: object.history.prefixes.clone(),
            suffixes: object.history.suffixes.clone(),
            scope: (!now.is_cluster_scoped()).then(|| now.namespace.into()),
            subject_namespaces: subject_namespaces(object)?,
            role: role(object),
        })
    }

    /// Whether an object can be referred to at all from where this one is.
    fn reaches(&self, candidate: &Candidate) -> bool {
        let Some(scope) = &self.scope else { return true };
        candidate.is_cluster_scoped || candidate.scope == *scope || self.subject_namespaces.contains(&candidate.namespace)
    }

    fn reaches_any(&self, namespaces: &HashSet<Text>) -> bool {
        self.scope.as_ref().is_none_or(|scope| namespaces.contains(scope) || !self.subject_namespaces.is_disjoint(namespaces))
    }

    fn shares_namespace(&self, candidate: &Candidate) -> bool {
        let Some(scope) = &self.scope else { return true };
        candidate.is_cluster_scoped || candidate.is_service_account || candidate.scope == *scope
    }
}

fn subject_namespaces(object: &Object) -> Result<HashSet<Text>, String> {
    let subjects = object.body().get("subjects").filter(|_| object.kind() == "RoleBinding").map_or(&[][..], Node::items);
    let is_account = |subject: &&Node| subject.get("kind").and_then(Node::text).is_some_and(|kind| &**kind == "ServiceAccount");
    let namespaces = subjects.iter().filter(is_account).filter_map(|subject| subject.get("namespace"));
    let named = |node: &Node| node.text().filter(|_| !edit::is_null(node)).cloned();
    namespaces.map(|node| named(node).ok_or_else(|| "the namespace of a service account is blank".to_owned())).collect()
}

fn role(object: &Object) -> Option<Gvk> {
    let text = |key| Some(object.body().at(&["roleRef", key])?.text()?.to_string());
    Some(Gvk { group: text("apiGroup")?, version: String::new(), kind: text("kind")? })
}

/// The search for what one field of one object names.
struct Search<'s> {
    referrer: &'s Referrer,
    rule: &'s Rule<'s>,
    candidates: &'s Candidates,
}

impl Search<'_> {
    fn put_right(&self, node: &mut Node) -> Result<(), String> {
        if edit::is_null(node) {
            return Ok(());
        }
        match &mut node.value {
            Value::Scalar(..) => self.put_scalar_right(node),
            Value::Map(_) => self.put_map_right(node),
            Value::List(items) => items.iter_mut().filter(|item| !edit::is_null(item)).try_for_each(|item| match item.value {
                Value::Scalar(..) => self.put_scalar_right(item),
                Value::Map(_) => self.put_map_right(item),
                Value::List(_) => Err("a list in a list can't hold names".to_owned()),
            }),
        }
    }

    fn put_scalar_right(&self, node: &mut Node) -> Result<(), String> {
        let Some(old) = node.text().filter(|text| !text.is_empty()).cloned() else { return Ok(()) };
        let found = self.find(&old, |_| true, |one, other| one.name == other.name)?;
        if let Some(found) = found.filter(|found| found.name != old) {
            edit::set_text(node, &found.name, node.mark);
        }
        Ok(())
    }

    /// A map has the name and the namespace of what it names.
    fn put_map_right(&self, node: &mut Node) -> Result<(), String> {
        let name = node.get("name").ok_or("a map that should name an object has no `name`")?;
        let Some(old) = name.text().cloned() else { return Ok(()) };
        let namespace = node.get("namespace").and_then(Node::text).cloned();
        let is_there = self.namespace_filter(namespace.as_ref());
        let same = |one: &Candidate, other: &Candidate| one.name == other.name && one.namespace == other.namespace;
        let Some(found) = self.find(&old, is_there, same)? else { return Ok(()) };
        if found.name == old && found.namespace.is_empty() {
            return Ok(());
        }
        put_text(node, "name", &found.name);
        if !found.namespace.is_empty() {
            put_text(node, "namespace", &found.namespace);
        }
        Ok(())
    }

    /// The namespace in a map is first taken for one that objects had, and only then for one that they have.
    fn namespace_filter(&self, namespace: Option<&Text>) -> impl Fn(&Candidate) -> bool + use<> {
        let wanted = namespace.cloned();
        let was_used =
            wanted.as_ref().and_then(|wanted| self.candidates.moved.get(wanted)).is_some_and(|now| self.referrer.reaches_any(now));
        move |candidate| match &wanted {
            None => true,
            Some(wanted) if was_used => candidate.past.first().is_some_and(|past| past.namespace == *wanted),
            Some(wanted) => !candidate.is_cluster_scoped && candidate.scope == *wanted,
        }
    }

    /// The object that was named so. `None`: nothing was, and the name stays.
    fn find(
        &self,
        old: &Text,
        is_there: impl Fn(&Candidate) -> bool,
        same: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Result<Option<&Candidate>, String> {
        let mut found: Vec<&Candidate> = self.candidates.that_were_named(old).filter(|candidate| self.may_be_meant(candidate)).collect();
        found.retain(|candidate| is_there(candidate));
        if found.len() > 1 {
            found.retain(|candidate| self.shares_affixes(candidate, true));
        }
        if found.len() > 1 {
            found.retain(|candidate| self.shares_affixes(candidate, false));
        }
        match found.split_first() {
            None => Ok(None),
            Some((first, rest)) if rest.iter().all(|other| same(first, other)) => Ok(Some(first)),
            _ => {
                let labels: Vec<_> = found.iter().map(|candidate| candidate.label.as_str()).collect();
                Err(format!("`{}` may mean any of {}", &**old, labels.join(", ")))
            }
        }
    }

    fn may_be_meant(&self, candidate: &Candidate) -> bool {
        let role_fits = || match &self.referrer.role {
            Some(role) if self.rule.spec.path.ends_with("roleRef/name") => candidate.was_a(role),
            _ => true,
        };
        self.referrer.reaches(candidate) && candidate.was_a(self.rule.target) && role_fits() && self.referrer.shares_namespace(candidate)
    }

    /// Whether the object was given its prefixes and suffixes by the same layers.
    fn shares_affixes(&self, candidate: &Candidate, or_none: bool) -> bool {
        let same = |one: &[Text], other: &[Text]| (or_none && (one.is_empty() || other.is_empty())) || ends_alike(one, other);
        same(&self.referrer.prefixes, &candidate.prefixes) && same(&self.referrer.suffixes, &candidate.suffixes)
    }
}

fn put_text(map: &mut Node, key: &str, text: &Text) {
    match map.get_mut(key) {
        Some(node) => edit::set_text(node, text, node.mark),
        None => edit::put_any(map, key, edit::plain_at(text, map.mark)),
    }
}

/// Whether the longer list ends as the shorter one. An empty list is like an empty one only.
fn ends_alike(one: &[Text], other: &[Text]) -> bool {
    one.is_empty() == other.is_empty() && one.iter().rev().zip(other.iter().rev()).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affixes_are_compared_from_the_outermost_layer_inwards() {
        let texts = |list: &[&str]| list.iter().map(|text| Text::from(*text)).collect::<Vec<_>>();
        assert!(ends_alike(&texts(&["a", "b"]), &texts(&["b"])));
        assert!(!ends_alike(&texts(&["a", "b"]), &texts(&["a"])));
        assert!(!ends_alike(&texts(&["a"]), &[]) && ends_alike(&[], &[]));
    }
}
