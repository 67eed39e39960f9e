//! The order in which objects are printed.
//!
//! It must not know how objects are applied: this is kustomize's order, kept so that outputs compare; applying has waves of its own.

use std::cmp::Reverse;

use crate::fields::Gvk;
use crate::object::{Id, Object};

/// How the objects of a rendering are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By kind, namespaces and definitions first, webhooks last: what the command line of kustomize does without `sortOptions`.
    Legacy,
    /// As the objects appear in the tree: what kustomize's library does, and the agent.
    #[default]
    None,
}

/// Kinds that come first, in this order.
pub(crate) const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that come last, in this order.
pub(crate) const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Where a kind stands: negative for the first ones, positive for the last ones.
fn rank<S: AsRef<str>>(kind: &str, first: &[S], last: &[S]) -> i64 {
    let at = |list: &[S]| list.iter().rposition(|name| name.as_ref() == kind).and_then(|at| i64::try_from(at).ok());
    let length = i64::try_from(first.len()).unwrap_or(i64::MAX);
    at(last).map(|at| at + 1).or_else(|| at(first).map(|at| at - length)).unwrap_or(0)
}

/// By what kinds are ordered: by rank, then by group, version and kind.
pub(crate) fn of_kind(gvk: &Gvk) -> (i64, String) {
    (rank(&gvk.kind, FIRST, LAST), kind_text(&gvk.group, &gvk.version, &gvk.kind))
}

fn or<'t>(text: &'t str, none: &'t str) -> &'t str {
    if text.is_empty() { none } else { text }
}

fn kind_text(group: &str, version: &str, kind: &str) -> String {
    [or(group, "~G"), "_", or(version, "~V"), "_", or(kind, "~K")].concat()
}

/// Sorts objects by the ranks of their kinds, then by group, version, kind, namespace and name.
pub(crate) fn sort<S: AsRef<str>>(objects: &mut [Object], first: &[S], last: &[S]) {
    objects.sort_by_cached_key(|object| {
        let id = object.now();
        let kind = kind_text(id.group, id.version, id.kind);
        // Namespaces of the core group come before those of other groups.
        let rank = rank(id.kind, first, last);
        // Of Namespaces those of the core group come first, and of these the versions, of which there is one, from the last to the first.
        // Where others have their rank, which is that of no list, an order has no room for this.
        let is_namespace = id.kind == "Namespace" && rank != 0;
        let version = Reverse(if is_namespace && id.group.is_empty() { kind.clone() } else { String::new() });
        (rank, is_namespace && !id.group.is_empty(), version, kind, instance_text(&id, object.namespace()))
    });
}

fn instance_text(id: &Id<'_>, namespace: &str) -> String {
    let (kind, version, group) = (or(id.kind, "[noKind]"), or(id.version, "[noVer]"), or(id.group, "[noGrp]"));
    [kind, ".", version, ".", group, "|", or(namespace, "~X"), "|", or(id.name, "~N")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_kinds_stand_between_the_first_and_the_last() {
        assert!(rank("Namespace", FIRST, LAST) < rank("Deployment", FIRST, LAST));
        assert!(rank("Deployment", FIRST, LAST) < rank("Ingress", FIRST, LAST));
        assert!(rank("Ingress", FIRST, LAST) < rank("ValidatingWebhookConfiguration", FIRST, LAST));
    }
}
