//! Finds the object that a person means by `deployment/web`, and what came near if there is none.
//!
//! It must not know what is done with it.

use crate::error::{Error, Stage};
use crate::look::place;
use crate::object::Object;

/// How many objects are named where one can't be told.
const NAMED: usize = 8;

/// The short names that kubectl knows.
const SHORT: [(&str, &str); 21] = [
    ("cj", "CronJob"),
    ("cm", "ConfigMap"),
    ("crd", "CustomResourceDefinition"),
    ("deploy", "Deployment"),
    ("ds", "DaemonSet"),
    ("ep", "Endpoints"),
    ("hpa", "HorizontalPodAutoscaler"),
    ("ing", "Ingress"),
    ("limits", "LimitRange"),
    ("netpol", "NetworkPolicy"),
    ("ns", "Namespace"),
    ("pc", "PriorityClass"),
    ("pdb", "PodDisruptionBudget"),
    ("po", "Pod"),
    ("pv", "PersistentVolume"),
    ("pvc", "PersistentVolumeClaim"),
    ("quota", "ResourceQuota"),
    ("rs", "ReplicaSet"),
    ("sa", "ServiceAccount"),
    ("sts", "StatefulSet"),
    ("svc", "Service"),
];

/// What a person says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    kind: String,
    group: Option<String>,
    name: String,
    namespace: Option<String>,
}

impl Query {
    /// Reads `KIND/NAME` or `KIND.GROUP/NAME`. The kind may be in any case, plural, or one of kubectl's short names.
    ///
    /// # Errors
    /// It is of another form.
    pub fn new(text: &str, namespace: Option<&str>) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'));
        let (kind, name) = parts.ok_or_else(|| format!("`{text}` is not of the form KIND/NAME, as `deployment/web`"))?;
        let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group.to_owned())));
        Ok(Self { kind: kind.to_owned(), group, name: name.to_owned(), namespace: namespace.map(str::to_owned) })
    }

    fn is_kind(&self, kind: &str) -> bool {
        let plural = format!("{kind}{}", if kind.ends_with('s') { "es" } else { "s" });
        let plural_y = kind.strip_suffix('y').map(|stem| format!("{stem}ies"));
        self.kind.eq_ignore_ascii_case(kind)
            || self.kind.eq_ignore_ascii_case(&plural)
            || plural_y.is_some_and(|plural| self.kind.eq_ignore_ascii_case(&plural))
            || SHORT.iter().any(|(short, long)| self.kind.eq_ignore_ascii_case(short) && *long == kind)
    }

    fn is_meant(&self, object: &Object) -> bool {
        self.is_kind(object.kind())
            && self.group.as_deref().is_none_or(|group| group == object.group())
            && self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
    }
}

/// The one of some objects that is meant: by its name or, if none has it, by a name that it had before it was prefixed or hashed.
/// Gives its place among them.
///
/// # Errors
/// There is none, or there are several; what there is, is told.
pub fn find<'o>(query: &Query, objects: impl IntoIterator<Item = &'o Object>) -> Result<usize, Error> {
    let all: Vec<&Object> = objects.into_iter().collect();
    let meant = |named: &dyn Fn(&Object) -> bool| -> Vec<usize> {
        all.iter().enumerate().filter(|(_, object)| query.is_meant(object) && named(object)).map(|(at, _)| at).collect()
    };
    let mut found = meant(&|object| object.name() == query.name);
    if found.is_empty() {
        found = meant(&|object| object.past().any(|past| past.name == query.name));
    }
    match found.as_slice() {
        [at] => Ok(*at),
        [] => Err(none(query, &all)),
        several => Err(ambiguous(query, several.iter().filter_map(|at| all.get(*at).copied()))),
    }
}

fn ambiguous<'o>(query: &Query, found: impl Iterator<Item = &'o Object>) -> Error {
    let error = Error::new(Stage::Object, format!("`{}/{}` may be any of several objects", query.kind, query.name));
    error.hint(format!("give --namespace, --app, or the group as `Kind.group/name`; there are {}", listed(found)))
}

fn none(query: &Query, all: &[&Object]) -> Error {
    let namespace = query.namespace.as_ref().map(|namespace| format!(" in the namespace `{namespace}`")).unwrap_or_default();
    let kind = all.iter().map(|object| object.kind()).find(|kind| query.is_kind(kind)).unwrap_or(&query.kind);
    let error = Error::new(Stage::Object, format!("there is no {kind} `{}`{namespace}", query.name));
    let near = near(query, all);
    if !near.is_empty() {
        return error.hint(format!("there is {}", listed(near.into_iter())));
    }
    let mut kinds: Vec<_> = all.iter().map(|object| object.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.as_slice() {
        [] => error.hint("nothing at all is rendered here"),
        kinds => error.hint(format!("there are objects of these kinds: {}", kinds.join(", "))),
    }
}

/// The objects that may have been meant: those of the name in other kinds and namespaces, else of the kind with the nearest names.
fn near<'o>(query: &Query, all: &[&'o Object]) -> Vec<&'o Object> {
    let named: Vec<_> = all.iter().copied().filter(|object| object.ids().any(|id| id.name == query.name)).collect();
    if !named.is_empty() {
        return named;
    }
    let of_kind: Vec<_> = all.iter().copied().filter(|object| query.is_meant(object)).collect();
    match nearest(&query.name, of_kind.iter().flat_map(|object| object.ids().map(|id| id.name))) {
        Some(name) => of_kind.into_iter().filter(|object| object.ids().any(|id| id.name == name)).collect(),
        None => of_kind,
    }
}

fn listed<'o>(objects: impl Iterator<Item = &'o Object>) -> String {
    let mut names: Vec<String> = objects.map(|object| format!("{} in {}", object.id(), place(object.origin()))).collect();
    if names.len() > NAMED {
        let more = names.len() - NAMED;
        names.truncate(NAMED);
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// The name that was most likely meant.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted: String = name.to_lowercase().chars().take(64).collect();
    let near = |other: &&str| strsim::osa_distance(&wanted, &other.to_lowercase().chars().take(64).collect::<String>());
    names
        .map(|other| (near(&other), other))
        .filter(|(far, other)| *far <= 1 + other.chars().count().min(wanted.chars().count()) / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_be_named_as_kubectl_takes_it() {
        let is = |query: &str, kind: &str| Query::new(query, None).unwrap().is_kind(kind);
        for text in ["deployment/x", "Deployment/x", "deployments/x", "deploy/x", "DEPLOY/x", "Deployment.apps/x"] {
            assert!(is(text, "Deployment"), "{text}");
        }
        assert!(is("ingresses/x", "Ingress") && is("networkpolicies/x", "NetworkPolicy") && is("pc/x", "PriorityClass"));
        assert!(!is("deployment/x", "DeploymentConfig") && !is("po/x", "PodDisruptionBudget"));
        for wrong in ["web", "/web", "deployment/", "a/b/c"] {
            assert!(Query::new(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_near_if_few_letters_differ() {
        let near = |name: &str, names: &[&'static str]| nearest(name, names.iter().copied());
        assert_eq!(near("wbe", &["web", "api"]), Some("web"));
        assert_eq!(near("setings", &["settings", "setting-s"]), Some("settings"));
        assert_eq!(near("web", &["database"]), None);
        assert_eq!(near("", &[]), None);
    }
}
