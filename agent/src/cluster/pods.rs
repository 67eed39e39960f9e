//! The Pods of a workload, as few as tell why it does not get on. What they say is read in `crate::pods`.

use overlays::object::ObjectId;
use serde::Deserialize;
use serde_json::Value;

use super::Cluster;
use super::discovery::{Resource, parse};
use super::refusal::Refusal;
use super::wire::{Call, escaped};
use crate::pods::{Ailment, ailment, newest, selector};

/// How many Pods are looked at: replicas fail alike.
const PODS: usize = 10;
/// How many ReplicaSets: a Deployment keeps ten old ones unless told otherwise.
const SETS: usize = 20;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Vec<Value>,
}

impl Cluster {
    /// Why a workload does not get on, as its Pods say; none if they say nothing. Two requests, three for a Deployment.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn ailment(&self, id: &ObjectId) -> Result<Option<Ailment>, Refusal> {
        let resource = self.resolve_any(&id.group, &id.kind).await?;
        let workload: Value = parse(&self.wire.call(&Call::get(resource.object(&id.namespace, &id.name))).await?.body)?;
        let owner = if id.kind == "Deployment" {
            let sets = Resource { kind: "ReplicaSet".to_owned(), plural: "replicasets".to_owned(), ..resource };
            newest(&workload, &self.selected(&sets.collection(Some(&id.namespace)), &workload, SETS).await?).cloned()
        } else {
            Some(workload)
        };
        let Some(owner) = owner else { return Ok(None) };
        let pods = self.selected(&format!("/api/v1/namespaces/{}/pods", escaped(&id.namespace)), &owner, PODS).await?;
        Ok(ailment(&owner, &pods))
    }

    async fn selected(&self, path: &str, owner: &Value, limit: usize) -> Result<Vec<Value>, Refusal> {
        let Some(selector) = selector(owner) else { return Ok(Vec::new()) };
        let answer = self.wire.call(&Call::get(format!("{path}?limit={limit}&labelSelector={}", escaped(&selector)))).await?;
        Ok(parse::<Page>(&answer.body)?.items)
    }
}
