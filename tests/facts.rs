//! What a cluster is stays true while the agent runs: a provider that is known only later still chooses the layers.

use harness::{Result, World};
use serde_json::json;

const AGENT: &str = env!("CARGO_BIN_EXE_plimsoll");
const SETTINGS: (&str, &str, &str) = ("v1", "ConfigMap", "settings");

fn world() -> harness::WorldOptions {
    let fleet = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nlayers: [provider]\napps: [{path: app}]\n";
    let base = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {disk: local}\n";
    let overlay = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{target: {kind: ConfigMap}, patch: '[{op: replace, path: /data/disk, value: ebs}]'}]\n";
    World::of(AGENT)
        .file("plimsoll.yaml", fleet)
        .file("app/base/kustomization.yaml", "resources: [settings.yaml]\n")
        .file("app/base/settings.yaml", base)
        .file("app/overlays/aws/kustomization.yaml", overlay)
}

#[tokio::test]
async fn a_node_that_gets_its_provider_later_is_seen_without_a_restart() -> Result {
    // A node of which its cloud controller has said nothing yet.
    let world = world().cluster("late", "").start().await?;
    let site = world.site();
    let found = site.until(SETTINGS, "to be as the base says", |map| map["data"]["disk"] == "local").await;
    world.explained(found, &world.first).await?;
    let labels = json!({"metadata": {"labels": {"topology.kubernetes.io/region": "eu-central-1"}}});
    let provider = json!({"spec": {"providerID": "aws:///eu-central-1a/i-1"}});
    for patch in [labels, provider] {
        site.cluster.patch("v1", "Node", "", "late-node-1", "cloud-controller", &patch).await?;
    }
    let found = site.until(SETTINGS, "to be as the provider's layer says", |map| map["data"]["disk"] == "ebs").await;
    world.explained(found, &world.first).await?;
    let known =
        site.until_sync("to say what the cluster is", |sync| sync.pointer("/status/cluster/labels/provider") == Some(&json!("aws")));
    assert_eq!(known.await?.pointer("/status/cluster/labels/region"), Some(&json!("eu-central-1")));
    world.until_status(&world.first, "success").await.map(drop)
}
