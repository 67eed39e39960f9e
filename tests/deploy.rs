//! What `deploy/` promises: it installs as it stands, its rights are enough and no more, and its pods ask for little.

use std::path::Path;

use harness::{ACCOUNT, Result, SYSTEM, documents, ground, install};
use serde_json::{Value, json};

fn deployed(file: &str) -> Result<Vec<Value>> {
    documents(&std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file))?)
}

#[test]
fn the_pods_ask_for_little_and_may_do_less() -> Result {
    let daemonset = deployed("daemonset.yaml")?.remove(0);
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["requests"], json!({"cpu": "10m", "memory": "24Mi"}));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    Ok(())
}

#[tokio::test]
async fn it_installs_into_a_cluster_and_its_pods_are_admitted() -> Result {
    let cluster = &ground().await?.cluster;
    install(cluster).await?;
    // The namespace enforces the restricted pod security standard, so pods that exist have passed it.
    let ready = |daemonset: &Value| daemonset.pointer("/status/numberReady").and_then(Value::as_i64) == Some(1);
    cluster.until(std::time::Duration::from_secs(30), ("apps/v1", "DaemonSet", SYSTEM, ACCOUNT), "to be ready", ready).await.map(drop)
}

#[tokio::test]
async fn the_account_may_do_its_work_and_no_more() -> Result {
    let cluster = &ground().await?.cluster;
    install(cluster).await?;
    for (verb, group, resource, allowed) in [
        ("patch", "plimsoll.dev", "syncs/status", true),
        ("update", "coordination.k8s.io", "leases", true),
        ("create", "apps", "deployments", true),
        ("delete", "example.com", "widgets", true),
        ("impersonate", "", "serviceaccounts", true),
        ("impersonate", "", "users", false),
        ("update", "apps", "deployments", false),
        ("deletecollection", "apps", "deployments", false),
        ("approve", "certificates.k8s.io", "signers", false),
    ] {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}"),
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "subresource": subresource},
            },
        });
        let api = cluster.api("authorization.k8s.io/v1", "SubjectAccessReview", "").await?;
        let answer = serde_json::to_value(api.create(&Default::default(), &serde_json::from_value(review)?).await?)?;
        assert_eq!(answer["status"]["allowed"], allowed, "{verb} {group}/{resource}: {}", answer["status"]);
    }
    Ok(())
}
