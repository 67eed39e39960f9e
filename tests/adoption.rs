//! Who comes from `kubectl apply` to Git brings objects along: from then on they are as Git says, without a trace of what was applied by hand.

use harness::{Result, Trouble, World};
use serde_json::{Value, json};

use crate::sync::AGENT;

const WEB: (&str, &str, &str) = ("apps/v1", "Deployment", "web");
const GIT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  paused: true
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: \"web:2\"}]}
";

/// What somebody once applied by hand: an older image, and more than Git has.
fn by_hand() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web", "old": "yes"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {
            "paused": true, "minReadySeconds": 7, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1", "env": [{"name": "OLD", "value": "1"}]}, {"name": "sidecar", "image": "old:1"}]},
            },
        },
    })
}

fn managers(object: &Value) -> Vec<&str> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry["manager"].as_str()).collect()
}

#[tokio::test]
async fn what_was_applied_by_kubectl_is_as_git_says_and_what_git_drops_goes() -> Result {
    let world = World::of(AGENT).file("web.yaml", GIT).spec(json!({"suspend": true})).start().await?;
    let site = world.site();
    let path = site.cluster.path("apps/v1", "Deployment", &site.namespace, "?fieldManager=kubectl-client-side-apply").await?;
    let path = path.replace("/?", "?");
    site.cluster
        .send(http::Method::POST, &path, "application/json", &by_hand())
        .await?
        .map_err(|(code, why)| Trouble::new(format!("{code} {why}")))?;
    site.cluster
        .patch("apps/v1", "Deployment", &site.namespace, "web", "another", &json!({"metadata": {"labels": {"theirs": "stays"}}}))
        .await?;
    site.patch_sync(json!({"suspend": false})).await?;
    let web = site.until(WEB, "to be as Git says", |web| web.pointer("/spec/minReadySeconds").is_none()).await?;
    let container = &web["spec"]["template"]["spec"]["containers"];
    assert_eq!((&container[0]["image"], container[0].get("env"), container.get(1)), (&json!("web:2"), None, None), "{container:#}");
    assert_eq!((web["metadata"]["labels"].get("old"), &web["metadata"]["labels"]["theirs"]), (None, &json!("stays")));
    assert!(
        web.pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration").is_none(),
        "{:#}",
        web["metadata"]["annotations"]
    );
    assert!(!managers(&web).contains(&"kubectl-client-side-apply"), "{:?}", managers(&web));

    world.repository.write("web.yaml", GIT.replace("  paused: true\n", ""))?;
    world.repository.push("Git drops a field that was applied by hand, too")?;
    site.until(WEB, "to lose what Git has dropped", |web| web.pointer("/spec/paused").is_none()).await.map(drop)
}
