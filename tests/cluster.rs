//! What is asked of the API server, against a real one: applies, refusals in words, deletes, watches, leases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::{Cluster as Server, ClusterOptions, Result, Trouble, ground, until};
use jiff::Timestamp;
use kube::CustomResourceExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll::api::{Sync, SyncStatus};
use plimsoll::cluster::lease::{Lease, Standing};
use plimsoll::cluster::{
    Applied, Applying, Change, Cluster, Deleted, Deletion, Event, Events, Mark, Propagation, Refusal, Resource, Seen, SyncSeen, Tone,
    Watches, body, tuned,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// What the API server answered.
type Asked<T> = std::result::Result<T, Refusal>;

const SOON: Duration = Duration::from_secs(30);

/// A server, our view of it, and a namespace and marks of our own on it.
struct Place<'a> {
    server: &'a Server,
    cluster: Cluster,
    mark: Mark,
}

impl<'a> Place<'a> {
    async fn on(server: &'a Server, prefix: &str) -> Result<Self> {
        let namespace = server.namespace(prefix).await?;
        let mark = Mark { applyset: format!("applyset-{namespace}-v1"), app: "shop".to_owned(), default_namespace: namespace };
        Ok(Self { server, cluster: as_seen_by_us(server).await?, mark })
    }

    fn namespace(&self) -> &str {
        &self.mark.default_namespace
    }

    async fn apply(&self, object: &Value) -> Asked<Applied> {
        self.apply_with(&self.cluster, object, false).await
    }

    async fn apply_with(&self, cluster: &Cluster, object: &Value, replace: bool) -> Asked<Applied> {
        let resource = cluster.resolve(text(&object["apiVersion"]), text(&object["kind"])).await?;
        let applying = Applying { replace, applyset: &self.mark.applyset, known: None, ..Applying::default() };
        cluster.apply(&resource, &body(object, &resource, &self.mark)?, &applying).await
    }

    async fn delete(&self, resource: &Resource, name: &str) -> Asked<Deleted> {
        let id = resource.id(self.namespace(), name);
        let deletion = Deletion { resource, id: &id, uid: None, applyset: &self.mark.applyset, propagation: Propagation::Background };
        self.cluster.delete(&deletion).await
    }
}

async fn as_seen_by_us(server: &Server) -> Result<Cluster> {
    Ok(Cluster::new(kube::Client::try_from(tuned(configuration(server).await?))?))
}

async fn configuration(server: &Server) -> Result<kube::Config> {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig())?;
    Ok(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value}})
}

fn deployment(name: &str, app: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}}})
}

fn refused<T: std::fmt::Debug>(asked: Asked<T>) -> Result<Refusal> {
    asked.map_or_else(Ok, |answer| Err(Trouble::new(format!("was not refused: {answer:?}"))))
}

#[tokio::test]
async fn an_apply_says_whether_it_made_changed_or_left_the_object() -> Result {
    let place = Place::on(&ground().await?.cluster, "apply").await?;
    assert_eq!(place.apply(&config_map("a", "1")).await?.change, Change::Created);
    let changed = place.apply(&config_map("a", "2")).await?;
    assert_eq!(changed.change, Change::Configured);
    assert_eq!(changed.live["metadata"]["labels"]["plimsoll.dev/app"], "shop");
    // Another's write moves the resourceVersion, and is not taken for ours. The server's times are whole seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    place.server.patch("v1", "ConfigMap", place.namespace(), "a", "other", &json!({"data": {"b": "1"}})).await?;
    let same = place.apply(&config_map("a", "2")).await?;
    assert_eq!(same.change, Change::Unchanged);
    assert_ne!(same.resource_version, changed.resource_version);
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn a_field_of_another_manager_is_taken_and_told() -> Result {
    let place = Place::on(&ground().await?.cluster, "conflict").await?;
    place.apply(&deployment("d", "d", 1)).await?;
    place.server.patch("apps/v1", "Deployment", place.namespace(), "d", "kubectl-edit", &json!({"spec": {"replicas": 3}})).await?;
    let applied = place.apply(&deployment("d", "d", 2)).await?;
    assert_eq!(applied.live["spec"]["replicas"], 2);
    let told: Vec<String> = applied.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(told, [".spec.replicas by kubectl-edit"]);
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn an_immutable_field_is_refused_and_replaced_only_where_that_is_allowed() -> Result {
    let place = Place::on(&ground().await?.cluster, "immutable").await?;
    let first = place.apply(&deployment("d", "one", 1)).await?;
    let refusal = refused(place.apply(&deployment("d", "two", 1)).await)?;
    assert!(matches!(refusal, Refusal::Immutable { .. }) && refusal.to_string().contains("spec.selector"), "{refusal}");
    let replaced = place.apply_with(&place.cluster, &deployment("d", "two", 1), true).await?;
    assert_eq!(replaced.change, Change::Replaced);
    assert_ne!(replaced.uid, first.uid);
    // One that does not bear our mark is never deleted, whatever is allowed.
    place.server.apply_object(&placed(&place, deployment("theirs", "one", 1))).await?;
    let refusal = refused(place.apply_with(&place.cluster, &deployment("theirs", "two", 1), true).await)?;
    assert!(matches!(refusal, Refusal::NotOurs { .. }), "{refusal}");
    place.server.delete_namespace(place.namespace()).await
}

fn placed(place: &Place<'_>, mut object: Value) -> Value {
    object["metadata"]["namespace"] = place.namespace().into();
    object
}

#[tokio::test]
async fn refusals_say_what_is_wrong_in_words() -> Result {
    let place = Place::on(&ground().await?.cluster, "refused").await?;
    let mut unknown = config_map("a", "1");
    unknown["kind"] = "Widget".into();
    assert!(matches!(refused(place.apply(&unknown).await)?, Refusal::NoKind { .. }));
    unknown["apiVersion"] = "nobody.example.com/v1".into();
    assert!(matches!(refused(place.apply(&unknown).await)?, Refusal::NoKind { .. }));

    let mut misspelt = deployment("d", "d", 1);
    misspelt["spec"]["replicaz"] = 1.into();
    assert_eq!(refused(place.apply(&misspelt).await)?.to_string(), "not valid: spec.replicaz: field not declared in schema");

    let mut elsewhere = config_map("a", "1");
    elsewhere["metadata"]["namespace"] = "nowhere".into();
    assert_eq!(refused(place.apply(&elsewhere).await)?, Refusal::NamespaceMissing { namespace: "nowhere".to_owned() });

    assert!(matches!(refused(place.apply(&config_map("big", &"x".repeat(4 << 20))).await)?, Refusal::TooLarge { .. }));

    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": {"password": "hunter2"}}});
    let words = refused(place.apply(&secret).await)?.to_string();
    assert!(words.contains("data.a") && !words.contains("hunter2"), "{words}");
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn a_policy_and_a_quota_are_named() -> Result {
    let place = Place::on(&ground().await?.cluster, "admission").await?;
    let (namespace, name) = (place.namespace(), format!("no-bad-{}", place.namespace()));
    place.server.apply(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  matchConstraints:\n    \
         namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}\n    resourceRules: [{{apiGroups: [''], apiVersions: [v1], \
         operations: [CREATE, UPDATE], resources: [configmaps]}}]\n  validations: [{{expression: \"object.metadata.name != 'bad'\", message: bad is a bad name}}]\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {name}}}\nspec: {{policyName: {name}, validationActions: [Deny]}}\n"
    )).await?;
    // A policy takes effect a little after it was made.
    let words = until("the policy to refuse", SOON, async || match place.apply(&config_map("bad", "1")).await {
        Err(refusal @ Refusal::Admission { .. }) => Ok(refusal.to_string()),
        other => Err(Trouble::new(format!("{other:?}"))),
    })
    .await?;
    assert_eq!(words, format!("refused by ValidatingAdmissionPolicy '{name}': bad is a bad name"));

    place.server.apply(&format!("apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: small, namespace: {namespace}}}\nspec: {{hard: {{count/secrets: '1'}}}}\n")).await?;
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "value"}});
    let refusal = until("the quota to be full", SOON, async || match place.apply(&secret(&format!("s{}", jiff_nanos()))).await {
        Err(refusal) => Ok(refusal),
        Ok(applied) => Err(Trouble::new(format!("{:?}", applied.change))),
    })
    .await?;
    assert!(matches!(&refusal, Refusal::Quota { quota, .. } if quota == "small"), "{refusal}");
    place.server.delete_namespace(namespace).await
}

fn jiff_nanos() -> u128 {
    std::time::UNIX_EPOCH.elapsed().map(|since| since.as_nanos()).unwrap_or_default()
}

#[tokio::test]
async fn a_tenant_does_what_its_account_may_and_is_told_what_it_may_not() -> Result {
    let place = Place::on(&ground().await?.cluster, "tenant").await?;
    let namespace = place.namespace();
    let tenant = place.cluster.acting_as(namespace, "deployer")?;
    let role = |verbs: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: deployer, namespace: {namespace}}}\nrules: [{{apiGroups: [''], resources: [configmaps], verbs: {verbs}}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: deployer, namespace: {namespace}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}}\n\
         subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]\n"
        )
    };
    place.server.apply(&role("[get, create, patch]")).await?;
    until("the role to allow it", SOON, async || Ok(place.apply_with(&tenant, &config_map("a", "1"), false).await?)).await?;
    place.server.apply(&role("[get]")).await?;
    let refusal = until("the role to be taken away", SOON, async || match place.apply_with(&tenant, &config_map("a", "2"), false).await {
        Err(refusal) => Ok(refusal),
        Ok(_) => Err(Trouble::new("it is still allowed")),
    })
    .await?;
    assert_eq!(
        refusal.to_string(),
        format!(
            "system:serviceaccount:{namespace}:deployer may not patch configmaps in the namespace {namespace}: grant it with a Role there, bound to that account"
        )
    );
    assert!(!refusal.is_transient());
    place.server.delete_namespace(namespace).await
}

#[tokio::test]
async fn only_what_bears_our_mark_is_deleted_and_gone_means_gone() -> Result {
    let place = Place::on(&ground().await?.cluster, "delete").await?;
    let maps = place.cluster.resolve("v1", "ConfigMap").await?;
    assert_eq!(place.delete(&maps, "missing").await?, Deleted::Gone);
    place.server.apply_object(&placed(&place, config_map("theirs", "1"))).await?;
    assert!(matches!(refused(place.delete(&maps, "theirs").await)?, Refusal::NotOurs { .. }));

    place.apply(&config_map("ours", "1")).await?;
    assert_eq!(place.delete(&maps, "ours").await?, Deleted::Gone);

    // A Service answers a delete with its last state, though it is gone.
    let services = place.cluster.resolve("v1", "Service").await?;
    place.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})).await?;
    assert_eq!(place.delete(&services, "s").await?, Deleted::Gone);

    let mut held = config_map("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    let held = place.apply(&held).await?;
    assert_eq!(place.delete(&maps, "held").await?, Deleted::Going);
    assert_eq!(place.delete(&maps, "held").await?, Deleted::Going);
    let id = maps.id(place.namespace(), "held");
    let deletion =
        Deletion { resource: &maps, id: &id, uid: Some(&held.uid), applyset: &place.mark.applyset, propagation: Propagation::Background };
    let words = refused(place.cluster.delete_and_wait(&deletion, Duration::from_millis(300)).await)?.to_string();
    assert!(words.contains("example.com/held"), "{words}");
    place.server.patch("v1", "ConfigMap", place.namespace(), "held", "other", &json!({"metadata": {"finalizers": null}})).await?;
    place.cluster.delete_and_wait(&deletion, SOON).await?;
    assert!(place.cluster.is_gone(&maps, &id).await?);
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn a_kind_that_is_on_its_way_is_waited_for() -> Result {
    let place = Place::on(&ground().await?.cluster, "kind").await?;
    let (group, crd) = widgets(place.namespace());
    assert!(matches!(refused(place.cluster.resolve(&format!("{group}/v1"), "Widget").await)?, Refusal::NoKind { .. }));
    place.apply(&crd).await?;
    let resource = place.cluster.resolve_within(&format!("{group}/v1"), "Widget", SOON).await?;
    assert_eq!((resource.name(), resource.namespaced), (format!("widgets.{group}"), true));
    assert_eq!(place.cluster.resolve_any(&group, "Widget").await?, resource);
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}});
    until("the first widget", SOON, async || Ok(place.apply(&widget).await?)).await?;
    // When the kind goes, that is told, and not taken for a missing object.
    place.server.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &format!("widgets.{group}")).await?;
    until("the kind to be gone", SOON, async || match place.apply(&widget).await {
        Err(Refusal::NoKind { .. }) => Ok(()),
        other => Err(Trouble::new(format!("{other:?}"))),
    })
    .await?;
    place.server.delete_namespace(place.namespace()).await
}

fn widgets(namespace: &str) -> (String, Value) {
    let group = format!("{namespace}.example.com");
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("widgets.{group}")}, "spec": {
        "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    (group, crd)
}

#[tokio::test]
async fn what_is_ours_is_found_by_our_mark_and_what_can_not_be_seen_is_said() -> Result {
    let place = Place::on(&ground().await?.cluster, "owned").await?;
    let kinds = [place.cluster.resolve("v1", "ConfigMap").await?, place.cluster.resolve("apps/v1", "Deployment").await?];
    for object in [config_map("a", "1"), config_map("b", "1"), deployment("d", "d", 1)] {
        place.apply(&object).await?;
    }
    place.server.apply_object(&placed(&place, config_map("theirs", "1"))).await?;
    let owned = place.cluster.owned(&place.mark.applyset, &kinds).await;
    let mut ids: Vec<String> = owned.objects.iter().map(|record| record.id.to_string()).collect();
    ids.sort();
    let namespace = place.namespace();
    assert_eq!(ids, [format!("ConfigMap {namespace}/a"), format!("ConfigMap {namespace}/b"), format!("Deployment {namespace}/d")]);
    assert!(owned.unseen.is_empty());

    let tenant = place.cluster.acting_as(namespace, "nobody")?;
    let owned = tenant.owned(&place.mark.applyset, &kinds[..1]).await;
    assert!(matches!(&owned.unseen[..], [(kind, Refusal::Forbidden { .. })] if kind.kind == "ConfigMap"), "{owned:?}");
    place.server.delete_namespace(namespace).await
}

/// Waits for something to be seen, and says what was seen if it was not.
async fn await_seen(seen: &mut mpsc::Receiver<Seen>, what: &str, wanted: impl Fn(&Seen) -> bool) -> Result<Vec<Seen>> {
    let mut before = Vec::new();
    let deadline = Instant::now() + SOON;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, seen.recv()).await {
            Ok(Some(next)) => {
                let done = wanted(&next);
                before.push(next);
                if done {
                    return Ok(before);
                }
            }
            _ => return Err(Trouble::new(format!("waited for {what}; seen: {before:#?}"))),
        }
    }
}

fn is_object(seen: &Seen, name: &str, current: bool) -> bool {
    matches!(seen, Seen::Object(sight) if sight.glance.name == name && sight.health(Timestamp::now()).is_current() == current)
}

#[tokio::test]
async fn a_watch_tells_what_is_there_what_changes_and_what_is_gone() -> Result {
    let place = Place::on(&ground().await?.cluster, "watch").await?;
    let kinds = [place.cluster.resolve("v1", "ConfigMap").await?, place.cluster.resolve("apps/v1", "Deployment").await?];
    place.apply(&config_map("before", "1")).await?;
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(place.cluster.clone(), place.mark.applyset.clone(), listener);
    watches.cover(&kinds[..1]);
    let told = await_seen(&mut seen, "the state", |seen| matches!(seen, Seen::Whole(_))).await?;
    assert!(matches!(told[0], Seen::Restarted(_)) && told.iter().any(|seen| is_object(seen, "before", true)), "{told:?}");

    let applied = place.apply(&config_map("after", "1")).await?;
    let told = await_seen(&mut seen, "a new object", |seen| is_object(seen, "after", true)).await?;
    assert!(
        matches!(told.last(), Some(Seen::Object(sight)) if sight.glance.version == applied.resource_version && sight.glance.app == "shop")
    );
    place.delete(&kinds[0], "before").await?;
    await_seen(&mut seen, "a deletion", |seen| matches!(seen, Seen::Deleted(record) if record.id.name == "before")).await?;

    // Another kind joins without disturbing the first.
    watches.cover(&kinds);
    place.apply(&deployment("d", "d", 1)).await?;
    let told = await_seen(&mut seen, "a deployment on its way, and then current", |seen| is_object(seen, "d", true)).await?;
    assert!(told.iter().any(|seen| is_object(seen, "d", false)));
    assert!(!told.iter().any(|seen| matches!(seen, Seen::Restarted(kind) if kind.kind == "ConfigMap")), "{told:?}");
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn an_api_server_that_was_away_is_seen_anew() -> Result {
    let server = Server::start("gone", &["kind://gone"], ClusterOptions::default()).await?;
    let place = Place::on(&server, "gone").await?;
    let maps = place.cluster.resolve("v1", "ConfigMap").await?;
    let line = Line::to(&server).await?;
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(line.cluster.clone(), place.mark.applyset.clone(), listener);
    watches.cover(std::slice::from_ref(&maps));
    place.apply(&config_map("a", "1")).await?;
    await_seen(&mut seen, "the first object", |seen| is_object(seen, "a", true)).await?;

    line.open.send_replace(false);
    await_seen(&mut seen, "blindness", |seen| matches!(seen, Seen::Blind(..))).await?;
    place.delete(&maps, "a").await?;
    server.kill();
    let refusal = refused(place.apply(&config_map("b", "1")).await)?;
    assert!(matches!(refusal, Refusal::Away { .. }) && refusal.is_transient(), "{refusal}");
    server.restart()?;
    until("an apply after the restart", SOON, async || Ok(place.apply(&config_map("b", "1")).await?)).await?;

    // What is told anew before `Whole` is all that exists, so that the deletion shows.
    line.open.send_replace(true);
    let told = await_seen(&mut seen, "the whole state again", |seen| matches!(seen, Seen::Whole(_))).await?;
    let anew = told.iter().position(|seen| matches!(seen, Seen::Restarted(_))).map_or(&[][..], |start| &told[start..]);
    assert!(anew.iter().any(|seen| is_object(seen, "b", true)) && !anew.iter().any(|seen| is_object(seen, "a", true)), "{told:?}");
    place.apply(&config_map("c", "1")).await?;
    await_seen(&mut seen, "what comes after", |seen| is_object(seen, "c", true)).await?;
    Ok(())
}

#[tokio::test]
async fn a_place_in_a_history_that_is_gone_is_given_up() -> Result {
    // A history of some seconds only, so that it is gone when a stream is taken up again.
    let args = vec!["--etcd-compaction-interval=1s".to_owned()];
    let server =
        Server::start("history", &["kind://history"], ClusterOptions { apiserver_args: args, ..ClusterOptions::default() }).await?;
    let place = Place::on(&server, "history").await?;
    let line = Line::to(&server).await?;
    let maps = place.cluster.resolve("v1", "ConfigMap").await?;
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(line.cluster.clone(), place.mark.applyset.clone(), listener);
    watches.cover(std::slice::from_ref(&maps));
    await_seen(&mut seen, "the state", |seen| matches!(seen, Seen::Whole(_))).await?;
    place.apply(&config_map("a", "1")).await?;
    await_seen(&mut seen, "the first object", |seen| is_object(seen, "a", true)).await?;
    // Still, not cut: the watch hears nothing, and does not know.
    line.still.send_replace(true);
    place.delete(&maps, "a").await?;
    for number in 0..8 {
        place.apply(&config_map("b", &number.to_string())).await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    server.kill();
    server.restart()?;
    line.still.send_replace(false);
    let told = await_seen(&mut seen, "the whole state again", |seen| matches!(seen, Seen::Whole(_))).await?;
    let kinds: Vec<&str> = told
        .iter()
        .map(|seen| match seen {
            Seen::Restarted(_) => "restarted",
            Seen::Object(..) => "object",
            Seen::Deleted(_) => "deleted",
            Seen::Whole(_) => "whole",
            Seen::Redefined(_) => "redefined",
            Seen::Blind(..) => "blind",
        })
        .collect();
    assert_eq!(kinds, ["restarted", "object", "whole"], "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_cut_misses_nothing_and_does_not_start_over() -> Result {
    let place = Place::on(&ground().await?.cluster, "cut").await?;
    let line = Line::to(place.server).await?;
    let maps = place.cluster.resolve("v1", "ConfigMap").await?;
    place.apply(&config_map("a", "1")).await?;
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(line.cluster.clone(), place.mark.applyset.clone(), listener);
    watches.cover(std::slice::from_ref(&maps));
    await_seen(&mut seen, "the state", |seen| matches!(seen, Seen::Whole(_))).await?;
    line.open.send_replace(false);
    place.apply(&config_map("b", "1")).await?;
    place.delete(&maps, "a").await?;
    line.open.send_replace(true);
    let told = await_seen(&mut seen, "what was missed", |seen| matches!(seen, Seen::Deleted(record) if record.id.name == "a")).await?;
    assert!(told.iter().any(|seen| is_object(seen, "b", true)), "{told:?}");
    assert!(!told.iter().any(|seen| matches!(seen, Seen::Restarted(_))), "{told:?}");
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn at_rest_nothing_is_asked() -> Result {
    let place = Place::on(&ground().await?.cluster, "rest").await?;
    let (server, account) = (place.server, place.namespace());
    server.apply(&format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {account}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {account}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\nsubjects: [{{kind: ServiceAccount, name: {account}, namespace: {account}}}]\n"
    )).await?;
    server.count_requests_of(account, account).await?;
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig_of(account, account).await?)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let cluster = Cluster::new(kube::Client::try_from(tuned(config))?);
    until("requests to be counted", SOON, async || {
        cluster.version().await?;
        if server.requests_of(account).await? > 0 { Ok(()) } else { Err(Trouble::new("none yet")) }
    })
    .await?;
    let kinds = [cluster.resolve("v1", "ConfigMap").await?, cluster.resolve("v1", "Secret").await?];
    place.apply(&config_map("a", "1")).await?;
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(cluster, place.mark.applyset.clone(), listener);
    watches.cover(&kinds);
    for _ in &kinds {
        await_seen(&mut seen, "the state", |seen| matches!(seen, Seen::Whole(_))).await?;
    }
    let before = server.requests_of(account).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    watches.cover(&kinds);
    place.apply(&config_map("a", "2")).await?;
    await_seen(&mut seen, "a change", |seen| is_object(seen, "a", true)).await?;
    assert_eq!(server.requests_of(account).await?, before);
    server.delete("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", account).await?;
    server.delete("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "", account).await?;
    server.delete_namespace(account).await
}

/// A line to a server that can be cut, or made to carry nothing.
struct Line {
    open: watch::Sender<bool>,
    still: watch::Sender<bool>,
    cluster: Cluster,
}

impl Line {
    async fn to(server: &Server) -> Result<Self> {
        let mut config = configuration(server).await?;
        let behind = format!("127.0.0.1:{}", config.cluster_url.port_u16().unwrap_or_default());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        config.cluster_url = format!("https://{}", listener.local_addr()?).parse()?;
        let ((open, is_open), (still, is_still)) = (watch::channel(true), watch::channel(false));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, behind.clone(), is_open.clone(), is_still.clone()));
            }
        });
        Ok(Self { open, still, cluster: Cluster::new(kube::Client::try_from(tuned(config))?) })
    }
}

async fn carry(mut near: TcpStream, behind: String, mut is_open: watch::Receiver<bool>, mut is_still: watch::Receiver<bool>) {
    let _ = is_still.wait_for(|still| !still).await;
    let mut far = match TcpStream::connect(behind).await {
        Ok(far) if *is_open.borrow() => far,
        _ => return,
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _ = is_open.wait_for(|open| !open) => return,
        _ = is_still.wait_for(|still| *still) => {}
    }
    // What comes while the line is still is lost, and the connection with it.
    let _ = is_still.wait_for(|still| !still).await;
}

#[tokio::test]
async fn a_server_that_can_not_stream_its_state_is_read_in_pages() -> Result {
    let args = vec!["--feature-gates=WatchList=false".to_owned()];
    let server = Server::start("pages", &["kind://pages"], ClusterOptions { apiserver_args: args, ..ClusterOptions::default() }).await?;
    let place = Place::on(&server, "pages").await?;
    let maps = place.cluster.resolve("v1", "ConfigMap").await?;
    // More than one page of 250.
    for number in 0..260 {
        place.apply(&config_map(&format!("a{number}"), "1")).await?;
    }
    let owned = place.cluster.owned(&place.mark.applyset, std::slice::from_ref(&maps)).await;
    assert_eq!((owned.objects.len(), owned.unseen.len()), (260, 0));
    let (listener, mut seen) = mpsc::channel(16);
    let mut watches = Watches::new(place.cluster.clone(), place.mark.applyset.clone(), listener);
    watches.cover(std::slice::from_ref(&maps));
    let told = await_seen(&mut seen, "the state", |seen| matches!(seen, Seen::Whole(_))).await?;
    assert_eq!(told.iter().filter(|seen| matches!(seen, Seen::Object(sight) if sight.health(Timestamp::now()).is_current())).count(), 260);
    place.apply(&config_map("after", "1")).await?;
    await_seen(&mut seen, "what comes after", |seen| is_object(seen, "after", true)).await?;
    Ok(())
}

fn sync(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "Sync", "metadata": {"name": name, "namespace": namespace}, "spec": {"url": "https://git.example/a.git"}})
}

/// Makes sure that Syncs are served, and makes one.
async fn a_sync(place: &Place<'_>, name: &str) -> Result<Sync> {
    place.server.apply_object(&serde_json::to_value(Sync::crd())?).await?;
    let made = sync(place.namespace(), name);
    let made = until("a Sync to be made", SOON, async || place.server.apply_object(&made).await).await?;
    Ok(serde_json::from_value(made)?)
}

#[tokio::test]
async fn a_sync_is_seen_marked_and_told_about() -> Result {
    let place = Place::on(&ground().await?.cluster, "sync").await?;
    let sync = a_sync(&place, "shop").await?;
    let (listener, mut seen) = mpsc::channel(16);
    let (cluster, namespace) = (place.cluster.clone(), place.namespace().to_owned());
    let watching = tokio::spawn(async move { cluster.syncs(Some(&namespace), listener).await });
    let mut next = async || tokio::time::timeout(SOON, seen.recv()).await?.ok_or_else(|| Trouble::new("nothing more is told"));
    assert!(matches!(next().await?, SyncSeen::Restarted));
    assert!(matches!(next().await?, SyncSeen::Sync(seen) if seen.metadata.uid == sync.metadata.uid));
    assert!(matches!(next().await?, SyncSeen::Whole));

    let status = SyncStatus { state: Some("InSync".to_owned()), message: Some("3 objects".to_owned()), ..SyncStatus::default() };
    place.cluster.set_status(&sync, &status).await?;
    assert!(matches!(next().await?, SyncSeen::Sync(seen) if seen.status.as_ref() == Some(&status)));
    // A field that is left out goes away.
    let status = SyncStatus { message: None, ..status };
    place.cluster.set_status(&sync, &status).await?;
    assert!(matches!(next().await?, SyncSeen::Sync(seen) if seen.status.as_ref() == Some(&status)));

    let marks = |value: Option<&str>| BTreeMap::from([("applyset.kubernetes.io/id".to_owned(), value.map(str::to_owned))]);
    place.cluster.mark_sync(&sync, &marks(Some("applyset-x-v1")), &marks(None)).await?;
    assert!(matches!(next().await?, SyncSeen::Sync(seen) if seen.metadata.labels.is_some() && seen.metadata.annotations.is_none()));

    let mut events = Events::new(place.cluster.clone(), "agent-1");
    let event = Event { tone: Tone::Warning, reason: "AdmissionDenied", action: "Apply", note: "ConfigMap a: refused" };
    events.tell(&sync, &event).await?;
    events.tell(&sync, &event).await?;
    assert_eq!(
        place.server.events(place.namespace()).await?.iter().filter(|text| text.contains("AdmissionDenied")).collect::<Vec<_>>(),
        ["AdmissionDenied Sync/shop: ConfigMap a: refused"]
    );

    // One that was made anew under its name is another.
    place.server.delete("plimsoll.dev/v1alpha1", "Sync", place.namespace(), "shop").await?;
    assert!(matches!(next().await?, SyncSeen::Deleted(_)));
    a_sync(&place, "shop").await?;
    assert!(place.cluster.set_status(&sync, &status).await.is_err());
    assert!(place.cluster.mark_sync(&sync, &marks(Some("x")), &marks(None)).await.is_err());
    watching.abort();
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn one_of_two_holds_a_lease_and_the_other_takes_over() -> Result {
    let place = Place::on(&ground().await?.cluster, "lease").await?;
    let sync = a_sync(&place, "shop").await?;
    let uid = sync.metadata.uid.as_deref().unwrap_or_default();
    let candidate = |me: &str| Lease::new(place.cluster.clone(), place.namespace(), "shop", uid, me);
    let (mut one, mut two) = (candidate("one"), candidate("two"));
    assert_eq!(one.try_acquire().await?, Standing::Held);
    assert_eq!(two.try_acquire().await?, Standing::Waiting { holder: "one".to_owned() });
    assert_eq!(one.try_acquire().await?, Standing::Held);
    let lease = place.server.get("coordination.k8s.io/v1", "Lease", place.namespace(), "plimsoll-shop").await?.unwrap_or_default();
    assert_eq!((&lease["spec"]["holderIdentity"], &lease["metadata"]["ownerReferences"][0]["uid"]), (&json!("one"), &json!(uid)));

    // Released, it is taken at once; and what the first then would write is not sent.
    let fenced = place.cluster.fenced(one.fence());
    assert_eq!(place.apply_with(&fenced, &config_map("a", "1"), false).await?.change, Change::Created);
    one.release().await?;
    assert_eq!(refused(place.apply_with(&fenced, &config_map("a", "2"), false).await)?, Refusal::LeaseLost);
    assert_eq!(two.try_acquire().await?, Standing::Held);
    assert_eq!(one.try_acquire().await?, Standing::Waiting { holder: "two".to_owned() });

    // The second dies without a word: the first waits for as long as the record asks for, and no longer.
    assert!(two.still_held(Instant::now()));
    let began = Instant::now();
    until("the lease to be taken over", Duration::from_secs(25), async || match one.try_acquire().await? {
        Standing::Held => Ok(()),
        waiting => Err(Trouble::new(format!("{waiting:?}"))),
    })
    .await?;
    assert!(began.elapsed() > Duration::from_secs(14) && !two.still_held(Instant::now()), "{:?}", began.elapsed());
    assert_eq!(two.try_acquire().await?, Standing::Waiting { holder: "one".to_owned() });
    place.server.delete_namespace(place.namespace()).await
}

#[tokio::test]
async fn a_cluster_says_what_it_is() -> Result {
    let place = Place::on(&ground().await?.cluster, "facts").await?;
    let nodes = place.cluster.nodes().await?;
    assert!(nodes.iter().any(|node| node.provider_id.starts_with("aws:///") && !node.labels.is_empty()), "{nodes:?}");
    assert!(place.cluster.version().await?.starts_with("v1."));
    assert_eq!(place.cluster.uid().await?.len(), 36);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "hunter2"}});
    place.apply(&secret).await?;
    let data = place.cluster.secret(place.namespace(), "s").await?.ok_or_else(|| Trouble::new("no Secret"))?;
    assert_eq!(data.values["token"].reveal(), "hunter2");
    assert!(place.cluster.secret(place.namespace(), "missing").await?.is_none());
    place.server.delete_namespace(place.namespace()).await
}
