//! What a cluster is: the facts that layers are chosen by.
//!
//! They are read from the nodes, so that the same manifest installs everywhere, and overridden by configuration and by the fleet file. It
//! must not ask the cluster: who reads the nodes is `cluster`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::ClusterSpec;

/// The key of the provider among the labels.
pub const PROVIDER: &str = "provider";
/// The key of the region among the labels.
pub const REGION: &str = "region";
/// The key of the zone among the labels; there is one only where all nodes are in the same.
pub const ZONE: &str = "zone";
/// The key that stands for the cluster's name.
pub const CLUSTER: &str = "cluster";
/// The provider of nodes that no cloud knows.
pub const ON_PREMISES: &str = "onprem";

/// How long a node without a provider may be about to get one. Most clouds put the `uninitialized` taint on it meanwhile; some (Cluster
/// API's for bare metal, for one) write the provider's ID without a word before.
const SETTLING: Duration = Duration::from_secs(15 * 60);
/// How often the nodes are asked meanwhile: a wrong layer should not stay for long, and it is one small request.
const SETTLING_LOOK: Duration = Duration::from_secs(10);

/// What a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Its name, as commit statuses show it.
    pub name: String,
    /// `provider`, `region`, `environment`, and whatever configuration and the fleet file add.
    pub labels: BTreeMap<String, String>,
    /// The version of its API server, as `v1.37.2`.
    pub kubernetes: String,
}

/// What is read of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `spec.providerID`, `""` where the node has none.
    pub provider_id: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// It bears the taint `node.cloudprovider.kubernetes.io/uninitialized`: its cloud controller will say more of it.
    pub uninitialized: bool,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
}

/// How a provider is told: by the scheme of `spec.providerID` and, where several providers share one, by a label.
struct Provider {
    scheme: &'static str,
    /// The node has a label whose key begins so; empty: it need not.
    label: &'static str,
    name: &'static str,
}

const fn provider(scheme: &'static str, label: &'static str, name: &'static str) -> Provider {
    Provider { scheme, label, name }
}

/// The first row that fits counts. Each format is what the named component writes:
///
/// | provider | `spec.providerID` | written by |
/// |---|---|---|
/// | aws | `aws:///eu-central-1a/i-0123` | kubernetes/cloud-provider-aws |
/// | azure | `azure:///subscriptions/...` | kubernetes-sigs/cloud-provider-azure |
/// | gcp | `gce://project/zone/name` | kubernetes/cloud-provider-gcp |
/// | hetzner | `hcloud://123`, `hrobot://123` (dedicated servers) | hetznercloud/hcloud-cloud-controller-manager, internal/providerid |
/// | ovh | `openstack:///uuid`, label `node.k8s.ovh/type`, before that `k8s.ovh.net/nodepool` | kubernetes/cloud-provider-openstack; ovh/docs, "Deploying a GPU application" |
/// | openstack | `openstack:///uuid`, `openstack://region/uuid` | kubernetes/cloud-provider-openstack |
/// | digitalocean | `digitalocean://123` | digitalocean/digitalocean-cloud-controller-manager |
/// | exoscale | `exoscale://uuid` | exoscale/exoscale-cloud-controller-manager, `providerPrefix` |
/// | scaleway | `scaleway://instance/fr-par-1/uuid` | scaleway/scaleway-cloud-controller-manager |
/// | ionos | `ionos://uuid` | kubernetes/autoscaler, cloudprovider/ionoscloud |
/// | stackit | `stackit://uuid`; nodes from before its own cloud controller keep `openstack://region/uuid` | stackitcloud/cloud-provider-stackit, pkg/ccm/instances.go |
/// | vsphere | `vsphere://uuid` | kubernetes/cloud-provider-vsphere |
/// | kind | `kind://docker/cluster/node` | kubernetes-sigs/kind |
/// | k3s | `k3s://node` | the cloud controller built into k3s |
const PROVIDERS: &[Provider] = &[
    provider("aws", "", "aws"),
    provider("azure", "", "azure"),
    provider("gce", "", "gcp"),
    provider("hcloud", "", "hetzner"),
    provider("hrobot", "", "hetzner"),
    provider("openstack", "node.k8s.ovh/", "ovh"),
    provider("openstack", "k8s.ovh.net/", "ovh"),
    provider("openstack", "", "openstack"),
    provider("digitalocean", "", "digitalocean"),
    provider("exoscale", "", "exoscale"),
    provider("scaleway", "", "scaleway"),
    provider("ionos", "", "ionos"),
    provider("stackit", "", "stackit"),
    provider("vsphere", "", "vsphere"),
    provider("kind", "", "kind"),
    provider("k3s", "", "k3s"),
];

/// The well-known topology labels (Kubernetes documentation, "Well-Known Labels"), each with the name that it had before 1.17.
const REGION_LABELS: &[&str] = &["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE_LABELS: &[&str] = &["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];

impl NodeFacts {
    fn provider(&self) -> Option<&'static str> {
        let (scheme, _) = self.provider_id.split_once("://")?;
        let labelled = |prefix: &str| prefix.is_empty() || self.labels.keys().any(|key| key.starts_with(prefix));
        PROVIDERS.iter().find(|row| row.scheme == scheme && labelled(row.label)).map(|row| row.name)
    }

    fn label(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.labels.get(*key)).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// What most nodes say. Nodes that say nothing do not count: a new node has no provider and no region until its cloud controller has seen
/// it. Where two values are as frequent, the first in the alphabet counts, so that the order of the nodes never does.
fn most_frequent<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}

/// The facts that the nodes tell; `kubernetes` is the version of the API server, `uid` that of the namespace `kube-system`, which no cluster
/// shares with another and none ever changes.
///
/// Without any node there is no provider: a cluster that has just lost its last node has not moved to another one.
pub fn from_nodes(nodes: &[NodeFacts], kubernetes: &str, uid: &str) -> Facts {
    let provider = most_frequent(nodes.iter().filter_map(NodeFacts::provider)).or((!nodes.is_empty()).then_some(ON_PREMISES));
    let region = most_frequent(nodes.iter().filter_map(|node| node.label(REGION_LABELS)));
    let labels = [(PROVIDER, provider), (REGION, region), (ZONE, only_zone(nodes))];
    Facts {
        name: default_name(uid),
        labels: labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect(),
        kubernetes: kubernetes.to_owned(),
    }
}

/// When the nodes are to be asked again; `None` is never.
///
/// A watch would be told of every heartbeat of every node, for a fact that changes once in a cluster's life. So they are asked when
/// everything is looked at anyway (`resync`), and often only as long as none has a provider and one may soon have: once a cloud
/// controller has come, or if there is none to come, that is over.
pub fn next_look(nodes: &[NodeFacts], now: Timestamp, resync: Option<Duration>) -> Option<Duration> {
    let young = |node: &NodeFacts| node.created.is_some_and(|created| now.duration_since(created).unsigned_abs() < SETTLING);
    let nobody_knows = nodes.iter().all(|node| node.provider_id.is_empty());
    let settling = nobody_knows && nodes.iter().any(|node| node.uninitialized || young(node));
    if settling { Some(resync.map_or(SETTLING_LOOK, |resync| resync.min(SETTLING_LOOK))) } else { resync }
}

/// Whether `seen` says something else of the cluster than what is `known`. To say less is not that: nodes are replaced, and for a while
/// the new ones know nothing, while the cluster is where it was.
pub fn has_moved(known: &Facts, seen: &Facts) -> bool {
    let told = |facts: &Facts, key: &str| facts.labels.get(key).filter(|value| key != PROVIDER || *value != ON_PREMISES).is_some();
    let vaguer = [PROVIDER, REGION].into_iter().any(|key| told(known, key) && !told(seen, key));
    known.labels != seen.labels && !vaguer
}

fn only_zone(nodes: &[NodeFacts]) -> Option<&str> {
    let mut zones = nodes.iter().filter_map(|node| node.label(ZONE_LABELS));
    let first = zones.next()?;
    zones.all(|zone| zone == first).then_some(first)
}

/// `cluster-1a2b3c4d`, by the first digits of the uid of `kube-system`: unique and stable, though nobody chose it.
fn default_name(uid: &str) -> String {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    if digits.is_empty() { "cluster".to_owned() } else { format!("cluster-{digits}") }
}

impl Facts {
    /// What the cluster says for a layer's key: `cluster` is its name, anything else a label.
    pub fn value(&self, key: &str) -> Option<&str> {
        if key == CLUSTER { Some(self.name.as_str()).filter(|name| !name.is_empty()) } else { self.labels.get(key).map(String::as_str) }
    }

    /// These facts where `spec` says nothing else. A label whose value is empty takes the fact away.
    #[must_use]
    pub fn overridden_by(mut self, spec: &ClusterSpec) -> Self {
        if let Some(name) = spec.name.as_ref().filter(|name| !name.is_empty()) {
            self.name.clone_from(name);
        }
        self.labels.extend(spec.labels.clone());
        self.labels.retain(|_, value| !value.is_empty());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider_id: &str, labels: &[(&str, &str)]) -> NodeFacts {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        NodeFacts { provider_id: provider_id.into(), labels, ..NodeFacts::default() }
    }

    fn check(nodes: &[NodeFacts], expected: &[(&str, &str)]) {
        let facts = from_nodes(nodes, "v1.37.2", "");
        let labels: Vec<_> = facts.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(labels, expected, "{nodes:?}");
    }

    #[test]
    fn the_provider_is_read_from_the_provider_id() {
        let check = |provider_id: &str, expected: &str| check(&[node(provider_id, &[])], &[(PROVIDER, expected)]);
        check("aws:///eu-central-1a/i-0123456789abcdef0", "aws");
        check("azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/v/virtualMachines/0", "azure");
        check("gce://project/europe-west3-a/gke-node", "gcp");
        check("hcloud://1234567", "hetzner");
        check("hrobot://321", "hetzner");
        check("openstack:///0f5c2f3e-5a0f-4a52-9a0f-3f0f9e3b1a11", "openstack");
        check("digitalocean://258212983", "digitalocean");
        check("exoscale://8a3a817d-3874-477c-adaf-2b2ce9172528", "exoscale");
        check("scaleway://instance/fr-par-1/232bf860-9ffe-4b08-97da-158c0316ed15", "scaleway");
        check("ionos://232bf860-9ffe-4b08-97da-158c0316ed15", "ionos");
        check("stackit://232bf860-9ffe-4b08-97da-158c0316ed15", "stackit");
        check("vsphere://42305f0b-dad7-1d3d-5727-0eaffffffffc", "vsphere");
        check("kind://docker/kind/kind-control-plane", "kind");
        check("k3s://server-0", "k3s");
        check("unheard-of://1", "onprem");
        check("aws", "onprem");
        check("", "onprem");
    }

    #[test]
    fn a_provider_that_runs_openstack_is_told_by_its_labels() {
        check(&[node("openstack:///1", &[("node.k8s.ovh/type", "standard")])], &[(PROVIDER, "ovh")]);
        check(&[node("openstack:///1", &[("k8s.ovh.net/nodepool", "1")])], &[(PROVIDER, "ovh")]);
        check(&[node("openstack:///1", &[("kubernetes.io/os", "linux")])], &[(PROVIDER, "openstack")]);
        check(&[node("aws:///a/i-1", &[("node.k8s.ovh/type", "standard")])], &[(PROVIDER, "aws")]);
    }

    #[test]
    fn region_and_zone_are_read_from_the_topology_labels() {
        let old = [("failure-domain.beta.kubernetes.io/region", "GRA3"), ("failure-domain.beta.kubernetes.io/zone", "nova")];
        check(&[node("kind://1", &old)], &[(PROVIDER, "kind"), (REGION, "GRA3"), (ZONE, "nova")]);
        let zone = |zone| node("aws:///1", &[("topology.kubernetes.io/region", "eu-central-1"), ("topology.kubernetes.io/zone", zone)]);
        check(&[zone("eu-central-1a"), zone("eu-central-1a")], &[(PROVIDER, "aws"), (REGION, "eu-central-1"), (ZONE, "eu-central-1a")]);
        check(&[zone("eu-central-1a"), zone("eu-central-1b")], &[(PROVIDER, "aws"), (REGION, "eu-central-1")]);
    }

    #[test]
    fn a_stray_node_does_not_move_the_cluster() {
        let aws = || node("aws:///1", &[("topology.kubernetes.io/region", "eu-central-1")]);
        let fresh = || node("", &[]);
        let west = node("aws:///2", &[("topology.kubernetes.io/region", "eu-west-1")]);
        let expected = &[(PROVIDER, "aws"), (REGION, "eu-central-1")];
        check(&[fresh(), fresh(), aws()], expected);
        check(&[west.clone(), aws(), aws()], expected);
        check(&[west.clone(), aws()], expected);
        check(&[aws(), west], expected);
    }

    #[test]
    fn a_cluster_without_nodes_has_no_provider() {
        check(&[], &[]);
    }

    #[test]
    fn a_cluster_that_nobody_named_has_a_stable_name() {
        assert_eq!(from_nodes(&[], "", "1a2b3c4d-0000-4000-8000-000000000000").name, "cluster-1a2b3c4d");
        assert_eq!(from_nodes(&[], "", "").name, "cluster");
    }

    #[test]
    fn configuration_overrides_what_the_nodes_say() {
        let spec =
            |name: Option<&str>, labels: &[(&str, &str)]| ClusterSpec { name: name.map(Into::into), labels: node("", labels).labels };
        let seen = from_nodes(&[node("aws:///1", &[("topology.kubernetes.io/region", "eu-central-1")])], "v1.37.2", "");
        let facts = seen.overridden_by(&spec(Some("fra-1"), &[(PROVIDER, "hetzner"), ("environment", "production"), (REGION, "")]));
        let value = |key| facts.value(key);
        assert_eq!((value(PROVIDER), value("environment"), value(REGION)), (Some("hetzner"), Some("production"), None));
        assert_eq!((value(CLUSTER), value("tier")), (Some("fra-1"), None));
        assert_eq!(facts.clone().overridden_by(&spec(Some(""), &[])), facts);
        assert_eq!(Facts::default().value(CLUSTER), None);
    }

    #[test]
    fn nodes_are_asked_often_only_while_a_provider_may_be_about_to_come() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let resync = Some(Duration::from_secs(600));
        let of_age =
            |seconds: i64, node: NodeFacts| NodeFacts { created: Some(Timestamp::from_second(1_000_000 - seconds).unwrap()), ..node };
        let check = |nodes: &[NodeFacts], expected| assert_eq!(next_look(nodes, now, resync), expected, "{nodes:?}");
        check(&[of_age(60, node("", &[]))], Some(SETTLING_LOOK));
        check(&[of_age(3600, node("", &[]))], resync);
        check(&[NodeFacts { uninitialized: true, ..of_age(3600, node("", &[])) }], Some(SETTLING_LOOK));
        check(&[of_age(60, node("", &[])), of_age(3600, node("aws:///1", &[]))], resync);
        check(&[of_age(60, node("unheard-of://1", &[]))], resync);
        check(&[], resync);
        assert_eq!(next_look(&[of_age(3600, node("", &[]))], now, None), None);
        assert_eq!(next_look(&[of_age(60, node("", &[]))], now, None), Some(SETTLING_LOOK));
    }

    #[test]
    fn a_cluster_moves_by_what_its_nodes_say_and_not_by_their_silence() {
        let facts = |provider_id: &str, labels: &[(&str, &str)]| from_nodes(&[node(provider_id, labels)], "v1.37.2", "");
        let aws = facts("aws:///1", &[("topology.kubernetes.io/region", "eu-central-1"), ("topology.kubernetes.io/zone", "a")]);
        assert!(has_moved(&facts("", &[]), &aws), "its provider is known at last");
        assert!(!has_moved(&aws, &aws));
        assert!(!has_moved(&aws, &facts("", &[])), "new nodes know nothing yet");
        assert!(!has_moved(&aws, &from_nodes(&[], "v1.37.2", "")), "its last node is gone");
        assert!(!has_moved(&aws, &facts("aws:///1", &[])), "the region is not known yet");
        assert!(has_moved(&aws, &facts("aws:///1", &[("topology.kubernetes.io/region", "eu-central-1")])), "there are several zones now");
        assert!(has_moved(&aws, &facts("hcloud://1", &[("topology.kubernetes.io/region", "fsn1")])));
    }
}
