//! The lab keeps its own promises: what the other tests take for granted is tested here.

use std::time::Duration;

use harness::{Cluster, ClusterOptions, Forge, Result, ground};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn deployment(namespace: &str, name: &str, fate: &str) -> String {
    let fate = if fate.is_empty() { String::new() } else { format!(", kubelab/fate: {fate}") };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}{fate}}}}}\n    \
         spec: {{containers: [{{name: c, image: 'nginx:1'}}]}}\n"
    )
}

fn available(deployment: &Value) -> bool {
    deployment.pointer("/status/availableReplicas").and_then(Value::as_i64) == Some(2)
}

#[tokio::test]
async fn a_deployment_becomes_available() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("available").await?;
    cluster.apply(&deployment(&namespace, "web", "")).await?;
    cluster.until(SOON, ("apps/v1", "Deployment", &namespace, "web"), "to be available", available).await?;
    cluster.delete_namespace(&namespace).await
}

#[tokio::test]
async fn a_pod_meets_the_fate_that_its_label_asks_for() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("fate").await?;
    for (fate, reason) in [("crash", "CrashLoopBackOff"), ("pull", "ImagePullBackOff")] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": fate, "namespace": namespace, "labels": {"kubelab/fate": fate}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
        });
        cluster.apply_object(&pod).await?;
        let waits = |pod: &Value| pod.pointer("/status/containerStatuses/0/state/waiting/reason") == Some(&json!(reason));
        cluster.until(SOON, ("v1", "Pod", &namespace, fate), reason, waits).await?;
    }
    cluster.delete_namespace(&namespace).await
}

#[tokio::test]
async fn an_apply_is_server_side_and_names_its_manager() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("manager").await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}, "data": {"a": "1"}});
    let applied = cluster.apply_object(&map).await?;
    assert_eq!(applied.pointer("/metadata/managedFields/0/manager"), Some(&json!("lab")));
    assert_eq!(applied.pointer("/metadata/managedFields/0/operation"), Some(&json!("Apply")));
    cluster.delete_namespace(&namespace).await
}

#[tokio::test]
async fn a_killed_cluster_comes_back_with_its_objects() -> Result {
    let cluster = Cluster::start("phoenix", &["kind://docker/phoenix/node"], ClusterOptions::default()).await?;
    cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, namespace: default}, data: {a: '1'}}").await?;
    cluster.kill();
    assert!(cluster.get("v1", "ConfigMap", "default", "kept").await.is_err(), "a killed cluster must not answer");
    cluster.restart()?;
    let kept = cluster.get("v1", "ConfigMap", "default", "kept").await?.ok_or_else(|| harness::Trouble::new("the object is gone"))?;
    assert_eq!(kept.pointer("/data/a"), Some(&json!("1")));
    cluster.stop().await
}

#[tokio::test]
async fn a_cluster_goes_when_its_owner_does() -> Result {
    let cluster = Cluster::start("brief", &[], ClusterOptions::default()).await?;
    let (pid, directory) = (cluster.pid().unwrap_or_default(), cluster.directory().to_owned());
    drop(cluster);
    let gone = async || match std::path::Path::new(&format!("/proc/{pid}/exe")).exists() || directory.exists() {
        true => Err(harness::Trouble::new("it is still there")),
        false => Ok(()),
    };
    harness::until("the cluster to be gone", SOON, gone).await
}

#[tokio::test]
async fn a_token_of_a_service_account_has_its_rights_and_no_others() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("rights").await?;
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig_of(&namespace, "default").await?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::namespaced(kube::Client::try_from(config)?, &namespace);
    match maps.list(&Default::default()).await {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 403, "{}", status.message),
        other => panic!("a ServiceAccount without a role was not refused: {other:?}"),
    }
    cluster.delete_namespace(&namespace).await
}

#[tokio::test]
async fn requests_are_counted_by_account() -> Result {
    let cluster = &ground().await?.cluster;
    let namespace = cluster.namespace("counted").await?;
    cluster.apply(&format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: counted, namespace: {namespace}}}}}")).await?;
    cluster.count_requests_of(&namespace, "counted").await?;
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig_of(&namespace, "counted").await?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::namespaced(kube::Client::try_from(config)?, &namespace);
    // The API server takes a new FlowSchema up after a moment.
    let first = async || {
        drop(maps.get("none").await);
        let count = cluster.requests_of("counted").await?;
        if count > 0 { Ok(count) } else { Err(harness::Trouble::new("nothing is counted yet")) }
    };
    let before = harness::until("the first counted request", SOON, first).await?;
    for _ in 0..5 {
        drop(maps.get("none").await);
    }
    assert_eq!(cluster.requests_of("counted").await?, before + 5);
    cluster.delete_namespace(&namespace).await
}

#[tokio::test]
async fn a_push_reaches_the_forge_and_takes_a_status() -> Result {
    let forge = &ground().await?.forge;
    let repository = forge.repository("ground-push").await?;
    repository.write("README.md", "hello")?;
    let commit = repository.push("first")?;
    let status = json!({"state": "success", "context": "plimsoll/aws", "description": "In sync: 1 object in 1 s"});
    forge.ask("POST", &format!("/repos/{}/statuses/{commit}", repository.name), Some(&status)).await?;
    let statuses = forge.statuses(&repository.name, &commit).await?;
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!((statuses[0].context.as_str(), statuses[0].state.as_str()), ("plimsoll/aws", "success"));
    Ok(())
}

#[tokio::test]
async fn a_token_without_the_right_is_refused() -> Result {
    let forge = &ground().await?.forge;
    let token = forge.new_token(&["read:repository"]).await?;
    assert_ne!(token, forge.token());
    let repository = forge.repository("ground-rights").await?;
    repository.write("README.md", "hello")?;
    let commit = repository.push("first")?;
    let status = json!({"state": "success", "context": "plimsoll/aws"});
    let refused = forge.ask_as(&token, "POST", &format!("/repos/{}/statuses/{commit}", repository.name), Some(&status)).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("403")));
    Ok(())
}

#[tokio::test]
async fn a_forge_that_was_away_comes_back_with_its_repositories() -> Result {
    let forge = Forge::start().await?;
    let repository = forge.repository("kept").await?;
    repository.write("a", "1")?;
    repository.push("first")?;
    forge.stop();
    repository.write("a", "2")?;
    assert!(repository.push("second").is_err(), "a forge that is away must not take a push");
    forge.start_again().await?;
    repository.push("third").map(drop)
}
