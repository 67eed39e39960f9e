//! Finds out how a kind is addressed: its plural and whether it lives in namespaces. It asks for a group version once, and again only for a kind
//! that was not in it, for CustomResourceDefinitions come and go.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Mutex;

use overlays::object::ObjectId;

use super::refusal::Refusal;
use super::wire::{Call, Wire, escaped};

/// How long a group version that lacks a kind is believed.
const BELIEVED: Duration = Duration::from_secs(3);
/// How often a kind that is on its way is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// How a kind is addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The group, `""` for the core group.
    pub group: String,
    /// The version, as `v1`.
    pub version: String,
    /// The kind, as `Deployment`.
    pub kind: String,
    /// The plural in lower case, as `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// `group/version`, or just the version in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As RBAC names it: `deployments.apps`.
    pub fn name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The identity of one of its objects.
    pub fn id(&self, namespace: &str, name: &str) -> ObjectId {
        let namespace = if self.namespaced { namespace } else { "" };
        ObjectId { group: self.group.clone(), kind: self.kind.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The path of the whole collection, or of what is in one namespace.
    pub(super) fn collection(&self, namespace: Option<&str>) -> String {
        let root = root(&self.api_version());
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", escaped(namespace), self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// The path of one object.
    pub(super) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), escaped(name))
    }
}

fn root(api_version: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("/apis/{}/{}", escaped(group), escaped(version)),
        None => format!("/api/{}", escaped(api_version)),
    }
}

/// What was found out so far.
#[derive(Default)]
pub(super) struct Discovery {
    // Each is locked while it is asked for, so that sixteen objects of a new group ask once, and a group whose server is away
    // keeps nobody else waiting.
    known: std::sync::Mutex<HashMap<String, Arc<Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    resources: Vec<Resource>,
    asked: Option<Instant>,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    kind: String,
    namespaced: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    preferred_version: Option<Version>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    group_version: String,
}

impl Discovery {
    /// How the kind is addressed.
    pub(super) async fn resolve(&self, wire: &Wire, api_version: &str, kind: &str) -> Result<Resource, Refusal> {
        self.find(wire, api_version, kind, BELIEVED).await
    }

    /// The same for a kind that is on its way, as after its CustomResourceDefinition was applied: asks until it is there or the time is over.
    pub(super) async fn resolve_within(&self, wire: &Wire, api_version: &str, kind: &str, within: Duration) -> Result<Resource, Refusal> {
        let started = Instant::now();
        loop {
            match self.find(wire, api_version, kind, LOOK).await {
                Err(Refusal::NoKind { .. }) if started.elapsed() < within => tokio::time::sleep(LOOK).await,
                found => return found,
            }
        }
    }

    /// The kind in the version that the server prefers among those that have it.
    pub(super) async fn resolve_any(&self, wire: &Wire, group: &str, kind: &str) -> Result<Resource, Refusal> {
        if group.is_empty() {
            return self.resolve(wire, "v1", kind).await;
        }
        let missing = || Refusal::NoKind { api_version: group.to_owned(), kind: kind.to_owned() };
        let group: Group = match wire.call(&Call::get(format!("/apis/{}", escaped(group)))).await {
            Ok(answer) => parse(&answer.body)?,
            Err(Refusal::NotFound { .. }) => return Err(missing()),
            Err(refusal) => return Err(refusal),
        };
        for version in group.preferred_version.into_iter().chain(group.versions) {
            match self.resolve(wire, &version.group_version, kind).await {
                Err(Refusal::NoKind { .. }) => {}
                found => return found,
            }
        }
        Err(missing())
    }

    /// Forgets what is known of a group version: an object of it was answered with "no such resource".
    pub(super) fn forget(&self, api_version: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(api_version);
    }

    fn known(&self, api_version: &str) -> Arc<Mutex<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(api_version.to_owned()).or_default())
    }

    async fn find(&self, wire: &Wire, api_version: &str, kind: &str, believed: Duration) -> Result<Resource, Refusal> {
        let known = self.known(api_version);
        let mut entry = known.lock().await;
        let has = |entry: &Known| entry.resources.iter().find(|resource| resource.kind == kind).cloned();
        if let Some(resource) = has(&entry) {
            return Ok(resource);
        }
        if entry.asked.is_none_or(|asked| asked.elapsed() >= believed) {
            entry.resources = ask(wire, api_version).await?;
            entry.asked = Some(Instant::now());
        }
        has(&entry).ok_or_else(|| Refusal::NoKind { api_version: api_version.to_owned(), kind: kind.to_owned() })
    }
}

async fn ask(wire: &Wire, api_version: &str) -> Result<Vec<Resource>, Refusal> {
    match wire.call(&Call::get(root(api_version))).await {
        Ok(answer) => Ok(listed(api_version, parse(&answer.body)?)),
        Err(Refusal::NotFound { .. }) => Ok(Vec::new()),
        Err(refusal) => Err(refusal),
    }
}

fn listed(api_version: &str, list: ResourceList) -> Vec<Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // A name with a slash is a subresource (`deployments/status`).
    let own = list.resources.into_iter().filter(|listed| !listed.name.contains('/'));
    own.map(|listed| Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: listed.kind,
        plural: listed.name,
        namespaced: listed.namespaced,
    })
    .collect()
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| Refusal::Other { code: 200, message: format!("an answer that can't be read: {e}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str, namespaced: bool) -> Resource {
        Resource { group: group.into(), version: "v1".into(), kind: "K".into(), plural: plural.into(), namespaced }
    }

    #[test]
    fn paths_follow_group_and_scope() {
        assert_eq!(resource("", "configmaps", true).object("web", "a"), "/api/v1/namespaces/web/configmaps/a");
        assert_eq!(resource("apps", "deployments", true).collection(None), "/apis/apps/v1/deployments");
        assert_eq!(resource("", "namespaces", false).object("ignored", "web"), "/api/v1/namespaces/web");
        assert_eq!(resource("rbac", "clusterroles", false).object("", "system:a/b"), "/apis/rbac/v1/clusterroles/system%3Aa%2Fb");
    }

    #[test]
    fn subresources_are_not_kinds() {
        let list = r#"{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true},{"name":"deployments/scale","kind":"Scale","namespaced":true}]}"#;
        let found = listed("apps/v1", serde_json::from_str(list).unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name().as_str(), found[0].api_version().as_str()), ("deployments.apps", "apps/v1"));
    }
}
