//! What the API server refuses, and what Git must say twice: each object is told by name, and nothing else waits for it.

use std::time::Duration;

use harness::{Result, Site, World};
use serde_json::{Value, json};

use crate::failure::{config_map, refused, until_words, value};
use crate::sync::AGENT;

const ALLOW: &str = "plimsoll.dev/prune: allow";

fn deployment(name: &str, fate: &str) -> String {
    let labels = if fate.is_empty() { format!("{{app: {name}}}") } else { format!("{{app: {name}, kubelab/fate: {fate}}}") };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template: {{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: c, image: i}}]}}}}\n"
    )
}

fn config_maps(count: usize) -> String {
    (0..count).map(|number| config_map(&format!("c{number}"), "1")).collect::<Vec<_>>().join("---\n")
}

/// A policy of this test's namespace alone: the cluster is shared.
fn policy(site: &Site) -> String {
    let name = &site.namespace;
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: refuse-{name}}}\nspec:\n  \
         matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}}]}}\n  \
         validations: [{{expression: \"!has(object.data.forbidden)\", message: the word is not allowed here}}]\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: refuse-{name}}}\nspec:\n  \
         policyName: refuse-{name}\n  validationActions: [Deny]\n  \
         matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}\n"
    )
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_by_object_and_everything_else_is_applied() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).file("gone.yaml", &config_map("gone", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, repository) = (world.site(), &world.repository);
    let quota = format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: few, namespace: {}}}\nspec: {{hard: {{count/secrets: 1}}}}\n",
        site.namespace
    );
    site.cluster.apply(&quota).await?;
    site.cluster.apply(&policy(site)).await?;
    let mapped = |object: &Value| object.pointer("/status/hard/count~1secrets").is_some();
    site.until(("v1", "ResourceQuota", "few"), "to count", mapped).await?;
    // A policy takes effect some time after it was written; until then the same object may pass.
    tokio::time::sleep(Duration::from_secs(3)).await;

    repository.write("a.yaml", config_map("a", "2"))?;
    repository.remove("gone.yaml")?;
    repository.write("gizmo.yaml", "apiVersion: nowhere.example.com/v1\nkind: Gizmo\nmetadata: {name: g}\n")?;
    repository.write("policy.yaml", "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: p}\ndata: {forbidden: x}\n")?;
    repository.write("quota.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hunter2}\n")?;
    repository.write("wrong.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: w}\nspec: {ports: [{port: 99999}]}\n")?;
    let second = repository.push("Much that is refused")?;
    let said = until_words(
        &world,
        &second,
        &[
            "Gizmo",
            "serves no kind Gizmo in nowhere.example.com/v1",
            "gizmo.yaml:1",
            "policy.yaml:2",
            "the word is not allowed here",
            "ResourceQuota few",
            "quota.yaml:1",
            "wrong.yaml:4",
            "spec.ports[0].port",
        ],
    )
    .await?;
    assert!(!said.contains("hunter2"), "{said}");
    world.until_status(&second, "failure").await?;
    assert_eq!(value(site, "a").await?, "2");
    assert_eq!(value(site, "gone").await?, "1", "a half-applied revision prunes nothing");
    ["gizmo.yaml", "policy.yaml", "quota.yaml", "wrong.yaml"].iter().try_for_each(|file| repository.remove(file))?;
    let third = repository.push("Put right")?;
    world.until_status(&third, "success").await?;
    site.until_gone(("v1", "ConfigMap", "gone")).await
}

#[tokio::test]
async fn a_field_that_cannot_change_is_refused_with_the_way_out_and_a_foreign_one_is_taken_and_told() -> Result {
    let stays = |value: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: fixed, annotations: {{x: y{annotation}}}}}\nimmutable: true\ndata: {{value: \"{value}\"}}\n"
        )
    };
    let world = World::of(AGENT).file("fixed.yaml", &stays("1", "")).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, repository) = (world.site(), &world.repository);
    repository.write("fixed.yaml", stays("2", ""))?;
    let second = repository.push("Change what can't be changed")?;
    refused(&world, &second, &["ConfigMap", "fixed", "fixed.yaml:5", "plimsoll.dev/replace: allow"]).await?;
    assert_eq!(value(site, "fixed").await?, "1");
    repository.write("fixed.yaml", stays("2", ", plimsoll.dev/replace: allow"))?;
    let third = repository.push("Say the word")?;
    world.until_status(&third, "success").await?;
    assert_eq!(value(site, "fixed").await?, "2");

    site.cluster.apply(&config_map("b", "theirs").replace("name: b", &format!("name: b, namespace: {}", site.namespace))).await?;
    repository.write("b.yaml", config_map("b", "2"))?;
    let fourth = repository.push("Ours")?;
    world.until_status(&fourth, "success").await?;
    assert_eq!(value(site, "b").await?, "2");
    let log = site.agent().log();
    assert!(log.contains("Took fields over from another manager.") && log.contains("manager=lab"), "{log}");
    site.until_event("by lab").await.map(drop)
}

#[tokio::test]
async fn a_definition_and_an_object_of_its_kind_come_in_one_push() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).start().await?;
    let group = format!("{}.example.com", world.site().namespace);
    let crd = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: gadgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  \
         names: {{plural: gadgets, singular: gadget, kind: Gadget}}\n  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]\n"
    );
    world.repository.write("gadget.yaml", format!("apiVersion: {group}/v1\nkind: Gadget\nmetadata: {{name: one}}\n"))?;
    world.repository.write("kinds.yaml", &crd)?;
    let second = world.repository.push("A kind and one of it")?;
    world.until_status(&second, "success").await?;
    assert!(world.site().get(&format!("{group}/v1"), "Gadget", "one").await?.is_some());
    // The definition would take every gadget of everybody with it: it waits for a word.
    world.repository.remove("kinds.yaml")?;
    world.repository.remove("gadget.yaml")?;
    let third = world.repository.push("Away with both")?;
    refused(&world, &third, &["CustomResourceDefinition", "plimsoll.dev/prune: allow"]).await?;
    let crd = format!("gadgets.{group}");
    assert!(world.site().cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", &crd).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_would_delete_much_waits_for_a_word_in_git() -> Result {
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, volumeMode: Filesystem}\n";
    let world = World::of(AGENT).file("kustomization.yaml", "resources: [all.yaml]\n").file("all.yaml", &config_maps(12)).start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, repository) = (world.site(), &world.repository);
    let count = async || {
        Ok::<_, harness::Trouble>(
            site.cluster
                .list("v1", "ConfigMap", &site.namespace)
                .await?
                .iter()
                .filter(|one| one["metadata"]["name"].as_str().is_some_and(|name| name.starts_with('c')))
                .count(),
        )
    };

    repository.write("all.yaml", config_maps(3))?;
    let most = repository.push("Most of it")?;
    refused(&world, &most, &["9 of 12 objects", ALLOW]).await?;
    assert_eq!(count().await?, 12);
    repository.write("kustomization.yaml", "resources: []\n")?;
    let none = repository.push("None of it")?;
    refused(&world, &none, &["renders none", ALLOW]).await?;
    assert_eq!(count().await?, 12);
    repository.write("kustomization.yaml", "resources: [all.yaml]\nmetadata: {annotations: {plimsoll.dev/prune: allow}}\n")?;
    let said = repository.push("It is meant")?;
    world.until_status(&said, "success").await?;
    site.until_gone(("v1", "ConfigMap", "c11")).await?;
    assert_eq!(count().await?, 3);

    repository.write("kustomization.yaml", "resources: [all.yaml, claim.yaml]\n")?;
    repository.write("claim.yaml", claim)?;
    repository.push("Data")?;
    site.until(("v1", "PersistentVolumeClaim", "data"), "to be there", |_| true).await?;
    repository.write("kustomization.yaml", "resources: [all.yaml]\n")?;
    let data = repository.push("No data")?;
    refused(&world, &data, &["PersistentVolumeClaim", "data", ALLOW]).await?;
    assert!(site.get("v1", "PersistentVolumeClaim", "data").await?.is_some_and(|claim| claim["metadata"]["deletionTimestamp"].is_null()));
    Ok(())
}

#[tokio::test]
async fn an_object_belongs_to_one_app_and_both_are_named() -> Result {
    let fleet = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n";
    let world = World::of(AGENT).file("plimsoll.yaml", fleet).file("apps/one/a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    world.repository.write("apps/two/b.yaml", config_map("b", "1") + "---\n" + &config_map("a", "2"))?;
    let second = world.repository.push("Take what another has")?;
    refused(&world, &second, &["ConfigMap", "two ", "apps/two/b.yaml:6", "app one (apps/one/a.yaml:1)"]).await?;
    assert_eq!((value(world.site(), "a").await?, value(world.site(), "b").await?), ("1".to_owned(), "1".to_owned()));
    Ok(())
}

#[tokio::test]
async fn an_app_waits_for_the_health_of_another_and_a_timeout_names_the_object() -> Result {
    let fleet = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- {path: db}\n- {path: web, dependsOn: [db]}\n";
    let files = World::of(AGENT)
        .file("plimsoll.yaml", fleet)
        .file("db/db.yaml", &deployment("db", "hang"))
        .file("web/web.yaml", &config_map("web", "1"));
    let world = files.spec(json!({"timeout": "6s"})).start().await?;
    let (site, repository) = (world.site(), &world.repository);
    site.until(("apps/v1", "Deployment", "db"), "to be there", |_| true).await?;
    refused(&world, &world.first, &["Deployment", "db", "not healthy after 6 s", "db/db.yaml:1"]).await?;
    assert!(site.get("v1", "ConfigMap", "web").await?.is_none(), "web must wait for db");
    repository.write("db/db.yaml", deployment("db", ""))?;
    let second = repository.push("A database that comes up")?;
    world.until_status(&second, "success").await?;
    assert_eq!(value(site, "web").await?, "1");

    // A commit that was pending when the next one came is not left so.
    repository.write("db/db.yaml", deployment("db", "hang"))?;
    site.patch_sync(json!({"timeout": "10m"})).await?;
    let third = repository.push("Never")?;
    world.until_status(&third, "pending").await?;
    repository.write("web/web.yaml", config_map("web", "2"))?;
    repository.write("db/db.yaml", deployment("db", ""))?;
    let fourth = repository.push("At once")?;
    world.until_status(&fourth, "success").await?;
    let resolved = world.until_status(&third, "success").await?;
    assert!(resolved[0].description.contains("Superseded by"), "{}", resolved[0].description);

    site.patch_sync(json!({"suspend": true})).await?;
    site.until_sync("to be suspended", |sync| sync["status"]["state"] == "Suspended").await?;
    repository.write("web/web.yaml", config_map("web", "3"))?;
    let fifth = repository.push("While nobody looks")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(value(site, "web").await?, "2");
    site.patch_sync(json!({"suspend": false})).await?;
    world.until_status(&fifth, "success").await?;
    assert_eq!(value(site, "web").await?, "3");
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_only_when_the_fleet_file_says_so() -> Result {
    let fleet = |word: &str| format!("apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\n{word}apps:\n- path: apps/*\n");
    let world = World::of(AGENT).file("plimsoll.yaml", &fleet("")).file("apps/one/a.yaml", &config_map("a", "1")).start().await?;
    let name = format!("{}-more", world.site().namespace);
    world.repository.write("apps/two/space.yaml", format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"))?;
    let second = world.repository.push("A namespace")?;
    world.until_status(&second, "success").await?;
    world.repository.remove("apps/two")?;
    let third = world.repository.push("Away with it")?;
    refused(&world, &third, &["Namespace", &name, ALLOW]).await?;
    let going = async || {
        Ok::<_, harness::Trouble>(
            world.site().cluster.get("v1", "Namespace", "", &name).await?.is_none_or(|it| !it["metadata"]["deletionTimestamp"].is_null()),
        )
    };
    assert!(!going().await?, "it must wait for the word");
    world.repository.write("plimsoll.yaml", fleet("metadata: {annotations: {plimsoll.dev/prune: allow}}\n"))?;
    let fourth = world.repository.push("It is meant")?;
    world.until_status(&fourth, "success").await?;
    assert!(going().await?);
    Ok(())
}
