//! What `deploy/` promises: it installs as it stands, its rights are enough and no more, and its pods ask for little.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{ACCOUNT, Agent, AgentOptions, Cluster, ClusterOptions, Result, SYSTEM, Trouble, documents, ground, install, until};
use serde_json::{Value, json};

const PLIMSOLL: &str = env!("CARGO_BIN_EXE_plimsoll");
/// Nobody answers there; the Sync says so.
const REPOSITORY: &str = "http://127.0.0.1:9/fleet.git";
const SOON: Duration = Duration::from_secs(60);
const SYNC: (&str, &str, &str, &str) = ("plimsoll.dev/v1alpha1", "Sync", SYSTEM, "fleet");
const FIRST: (&str, &str, &str, &str) = ("v1", "ConfigMap", SYSTEM, "first-sync");

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

/// What `plimsoll install` prints.
#[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
fn printed(arguments: &[&str]) -> Result<String> {
    let output = Command::new(PLIMSOLL).arg("install").args(arguments).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Applies a stream as kubectl does: every kind is looked up before anything is applied, and each object is applied once, in their order.
async fn apply_in_one_go(cluster: &Cluster, yaml: &str) -> Result {
    let objects = documents(yaml)?;
    for object in &objects {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        cluster.api(text("/apiVersion"), text("/kind"), text("/metadata/namespace")).await?;
    }
    for object in &objects {
        cluster.apply_object(object).await?;
    }
    Ok(())
}

async fn agent(cluster: &Cluster, identity: &str) -> Result<Agent> {
    let options = AgentOptions {
        binary: PLIMSOLL.into(),
        identity: identity.to_owned(),
        cluster_name: "fresh".to_owned(),
        namespace: None,
        audit: None,
    };
    Agent::start(cluster, options).await
}

async fn until_logged(agent: &Agent, text: &str) -> Result {
    until(&format!("'{text}' in the log"), SOON, async || if agent.log().contains(text) { Ok(()) } else { Err(Trouble::new(agent.tail())) })
        .await
}

async fn until_ready(agent: &Agent) -> Result {
    until("the agent to be ready", SOON, async || agent.http("/readyz").await).await.map(drop)
}

/// The digest of what was made, as the ConfigMap says it.
fn made(map: &Value) -> Option<&Value> {
    map.pointer("/metadata/annotations/plimsoll.dev~1made")
}

/// A cluster into which Plimsoll is installed by its own words, and an agent.
struct Installed {
    cluster: Cluster,
    agent: Agent,
}

impl Installed {
    /// Installs anew; the agent starts anew, as the DaemonSet sees to.
    async fn again(&self, path: &str) -> Result {
        apply_in_one_go(&self.cluster, &printed(&["--repo", REPOSITORY, "--path", path])?).await?;
        self.restart().await
    }

    async fn restart(&self) -> Result {
        self.agent.kill();
        self.agent.restart().await
    }

    async fn until_sync(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = self.cluster.until(SOON, SYNC, what, wanted).await;
        found.map_err(|trouble| Trouble::new(format!("{trouble}\n{}", self.agent.tail())))
    }

    async fn until_at(&self, path: &str) -> Result<Value> {
        self.until_sync(&format!("to follow {path}"), |sync| sync["spec"]["path"] == path).await
    }

    /// The Sync, long after an agent that would make or change it has done so: it looks when it starts, and so it does for what makes it ready.
    async fn settled(&self) -> Result<Option<Value>> {
        until_ready(&self.agent).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.cluster.get(SYNC.0, SYNC.1, SYNC.2, SYNC.3).await
    }

    async fn it_is_made_in_one_go(&self) -> Result {
        let sync = self.until_at("one").await?;
        assert_eq!(sync["spec"], json!({"url": REPOSITORY, "path": "one", "poll": "10m"}));
        let told = |sync: &Value| sync.pointer("/status/state").is_some();
        self.until_sync("to say what came of it", told).await?;
        self.cluster.until(SOON, FIRST, "to say that it was made", |map| made(map).is_some()).await.map(drop)
    }

    async fn deleted_by_a_user_it_stays_deleted(&self) -> Result {
        self.cluster.delete(SYNC.0, SYNC.1, SYNC.2, SYNC.3).await?;
        self.restart().await?;
        assert_eq!(self.settled().await?, None, "{}", self.agent.tail());
        Ok(())
    }

    async fn installed_with_another_path_it_is_made_as_that_says(&self) -> Result {
        self.again("two").await?;
        let sync = self.until_at("two").await?;
        assert_eq!(sync["spec"], json!({"url": REPOSITORY, "path": "two"}));
        self.again("three").await?;
        self.until_at("three").await.map(drop)
    }

    async fn what_a_user_changes_is_taken_only_by_another_installation(&self) -> Result {
        let users = json!({"spec": {"path": "edited", "suspend": true}});
        self.cluster.patch(SYNC.0, SYNC.1, SYNC.2, SYNC.3, "kubectl-edit", &users).await?;
        self.again("three").await?;
        assert_eq!(self.settled().await?.unwrap_or_default()["spec"]["path"], "edited", "{}", self.agent.tail());
        self.again("four").await?;
        let sync = self.until_at("four").await?;
        assert_eq!(sync["spec"], json!({"url": REPOSITORY, "path": "four", "suspend": true}));
        until_logged(&self.agent, ".spec.path by kubectl-edit").await
    }
}

#[tokio::test]
async fn it_installs_in_one_go_and_whoever_spoke_last_is_heard() -> Result {
    let cluster = Cluster::start("fresh", &["kind://docker/fresh/node"], ClusterOptions::default()).await?;
    apply_in_one_go(&cluster, &printed(&["--repo", REPOSITORY, "--path", "one", "--poll", "10m"])?).await?;
    // The agent's own rights are enough: those that it applies with are not needed for it.
    cluster.delete("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "plimsoll-apply").await?;
    let (first, second) = tokio::try_join!(agent(&cluster, "first"), agent(&cluster, "second"))?;
    let installed = Installed { cluster, agent: first };
    installed.it_is_made_in_one_go().await?;
    until_ready(&second).await?;
    second.stop().await?;
    installed.deleted_by_a_user_it_stays_deleted().await?;
    installed.installed_with_another_path_it_is_made_as_that_says().await?;
    installed.what_a_user_changes_is_taken_only_by_another_installation().await?;
    installed.cluster.stop().await
}

#[tokio::test]
async fn a_first_sync_that_can_not_be_is_told_once_and_stops_nothing() -> Result {
    let cluster = Cluster::start("wrong", &["kind://docker/wrong/node"], ClusterOptions::default()).await?;
    install(&cluster).await?;
    let wrong = "apiVersion: plimsoll.dev/v1alpha1\nkind: Sync\nmetadata: {name: fleet, namespace: plimsoll-system}\nspec: {uri: x}\n";
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": FIRST.3, "namespace": SYSTEM}, "data": {"sync.yaml": wrong}});
    cluster.apply_object(&map).await?;
    let (first, second) = tokio::try_join!(agent(&cluster, "first"), agent(&cluster, "second"))?;
    for agent in [&first, &second] {
        until_logged(agent, "ConfigMap plimsoll-system/first-sync: no Sync was made of it").await?;
        until_ready(agent).await?;
    }
    let events = until("an event", SOON, async || match cluster.events(SYSTEM).await? {
        events if events.is_empty() => Err(Trouble::new("none")),
        events => Ok(events),
    })
    .await?;
    let told: Vec<_> = events.iter().filter(|event| event.contains("ConfigMap/first-sync")).collect();
    assert!(told.len() == 1 && told[0].contains("spec.uri"), "{events:?}");
    cluster.stop().await
}
