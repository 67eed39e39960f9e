//! What the cluster is, as far as it says so itself, and the Secrets that Syncs name. It draws no conclusions.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::Cluster;
use super::discovery::parse;
use super::refusal::Refusal;
use super::wire::{Call, METADATA, escaped};
use crate::facts::NodeFacts;
use crate::secret::Secret;

/// How many nodes are looked at: they are alike, and a cluster may have thousands.
const MOST_NODES: usize = 50;
/// Nodes in a page. A node is some 10 to 20 KB, most of it the list of its images.
const PAGE: usize = 10;

/// What a Secret holds, and which state of it that is.
#[derive(Clone, Debug)]
pub struct SecretData {
    /// By key. Values that are no UTF-8 are left out: nothing that a Sync names is binary.
    pub values: BTreeMap<String, Secret>,
    /// Changes when the Secret does.
    pub resource_version: String,
}

#[derive(Deserialize)]
struct Nodes {
    metadata: ListMetadata,
    items: Vec<Node>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    next: String,
}

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
struct NodeSpec {
    #[serde(rename = "providerID", default)]
    provider_id: String,
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Deserialize)]
struct Taint {
    key: String,
}

/// Kubernetes documentation, "Well-Known Labels, Annotations and Taints": on a node until a cloud controller has initialized it.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct LiveSecret {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl Cluster {
    /// What the first nodes (at most 50) say.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn nodes(&self) -> Result<Vec<NodeFacts>, Refusal> {
        let mut facts = Vec::new();
        let mut next = String::new();
        while facts.len() < MOST_NODES {
            let answer = self.wire.call(&Call::get(format!("/api/v1/nodes?limit={PAGE}&continue={}", escaped(&next)))).await?;
            let page: Nodes = parse(&answer.body)?;
            facts.extend(page.items.into_iter().map(read));
            next = page.metadata.next;
            if next.is_empty() {
                break;
            }
        }
        Ok(facts)
    }

    /// The version of Kubernetes, as `v1.37.2`.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn version(&self) -> Result<String, Refusal> {
        let answer = self.wire.call(&Call::get("/version")).await?;
        parse::<Version>(&answer.body).map(|version| version.git_version)
    }

    /// What tells this cluster from all others: the uid of its namespace `kube-system`.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn uid(&self) -> Result<String, Refusal> {
        let answer = self.wire.call(&Call::get("/api/v1/namespaces/kube-system").accept(METADATA)).await?;
        parse::<Named>(&answer.body).map(|namespace| namespace.metadata.uid)
    }

    /// What a Secret holds; `None` if there is no such Secret.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<SecretData>, Refusal> {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", escaped(namespace), escaped(name));
        match self.wire.call(&Call::get(path)).await {
            Ok(answer) => parse(&answer.body).map(|secret| Some(revealed(secret))),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

fn read(node: Node) -> NodeFacts {
    NodeFacts {
        uninitialized: node.spec.taints.iter().any(|taint| taint.key == UNINITIALIZED),
        provider_id: node.spec.provider_id,
        labels: node.metadata.labels,
        created: node.metadata.creation_timestamp,
    }
}

fn revealed(secret: LiveSecret) -> SecretData {
    let text = |encoded: &str| STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let values = secret.data.iter().filter_map(|(key, value)| Some((key.clone(), Secret::new(text(value)?)))).collect();
    SecretData { values, resource_version: secret.metadata.resource_version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_decoded_and_never_printed() {
        let text = r#"{"metadata":{"resourceVersion":"7"},"data":{"token":"aHVudGVyMg==","binary":"/w=="}}"#;
        let data = revealed(parse(text.as_bytes()).unwrap());
        assert_eq!(data.values["token"].reveal(), "hunter2");
        assert_eq!((data.values.len(), data.resource_version.as_str()), (1, "7"));
        assert!(!format!("{data:?}").contains("hunter2"));
    }

    #[test]
    fn a_node_says_little_and_the_rest_is_dropped() {
        let text = r#"{"metadata":{"continue":"x"},"items":[{"metadata":{"labels":{"a":"b"}},"spec":{"providerID":"hcloud://1"},"status":{"images":[]}},{"metadata":{}}]}"#;
        let nodes: Nodes = parse(text.as_bytes()).unwrap();
        assert_eq!((nodes.metadata.next.as_str(), nodes.items.len()), ("x", 2));
        assert_eq!(nodes.items[0].spec.provider_id, "hcloud://1");
    }

    #[test]
    fn a_node_that_its_cloud_controller_has_not_seen_says_so() {
        let text = r#"{"metadata":{"creationTimestamp":"2026-01-02T03:04:05Z"},"spec":{"taints":[{"key":"node.cloudprovider.kubernetes.io/uninitialized","value":"true","effect":"NoSchedule"}]}}"#;
        let node = read(parse(text.as_bytes()).unwrap());
        assert!(node.uninitialized && node.provider_id.is_empty());
        assert_eq!(node.created.map(|created| created.to_string()).as_deref(), Some("2026-01-02T03:04:05Z"));
        assert!(!read(parse(br#"{"metadata":{}}"#).unwrap()).uninitialized);
    }
}
