//! Drift from end to end: told on the Sync and on the commit, healed or left alone as Git says, and nothing is asked for at rest.

use std::time::Duration;

use harness::{Result, Site, Trouble, World, until};
use serde_json::{Value, json};

use crate::failure::config_map;
use crate::sync::AGENT;

const A: (&str, &str, &str) = ("v1", "ConfigMap", "a");

fn text(object: &Value) -> &str {
    object["data"]["value"].as_str().unwrap_or_default()
}

/// A ConfigMap with annotations.
fn annotated(name: &str, value: &str, annotations: &str) -> String {
    config_map(name, value).replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, annotations: {{{annotations}}}}}"))
}

async fn edit(site: &Site, name: &str, patch: Value) -> Result<Value> {
    site.cluster.patch("v1", "ConfigMap", &site.namespace, name, "kubectl-edit", &patch).await
}

#[tokio::test]
async fn a_changed_field_is_healed_and_told_with_its_author() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    edit(site, "a", json!({"data": {"value": "2", "foreign": "stays"}})).await?;
    let healed = site.until(A, "to be healed", |object| text(object) == "1").await?;
    assert_eq!(healed["data"]["foreign"], "stays", "what is not ours is left alone");
    let told = site.until_told("/a", "healed").await?;
    assert_eq!(
        (&told["fields"][0]["path"], &told["fields"][0]["was"], &told["fields"][0]["is"], &told["fields"][0]["by"]),
        (&json!("data.value"), &json!("1"), &json!("2"), &json!("kubectl-edit"))
    );
    site.until_event("data.value 1 → 2 by kubectl-edit; healed").await?;
    assert!(world.site().agent().log().contains("data.value 1 → 2 by kubectl-edit; healed"));
    site.cluster.delete("v1", "ConfigMap", &site.namespace, "a").await?;
    site.until(A, "to be made again", |object| text(object) == "1").await?;
    world.until_state(&world.first, "InSync").await
}

#[tokio::test]
async fn what_is_only_reported_is_on_the_commit_until_it_is_gone() -> Result {
    let report = annotated("a", "1", "plimsoll.dev/drift: report");
    let world = World::of(AGENT).file("a.yaml", &report).file("b.yaml", &config_map("b", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    edit(site, "a", json!({"data": {"value": "2"}})).await?;
    let said = world.until_status(&world.first, "failure").await?;
    assert!(said[0].description.starts_with("Drifted: ConfigMap "), "{}", said[0].description);
    assert!(said[0].description.ends_with("/a data.value 1 → 2 by kubectl-edit"), "{}", said[0].description);
    world.until_state(&world.first, "Drifted").await?;
    edit(site, "a", json!({"data": {"value": "3"}})).await?;
    let third = |told: &Value| told["fields"][0]["is"] == "3";
    site.until_sync("to tell of the second change", |sync| sync["status"]["drift"].as_array().is_some_and(|all| all.iter().any(third)))
        .await?;
    assert_eq!(site.get("v1", "ConfigMap", "a").await?.map(|object| text(&object).to_owned()).as_deref(), Some("3"), "it is left as it is");
    edit(site, "a", json!({"data": {"value": "1"}})).await?;
    world.until_status(&world.first, "success").await?;
    edit(site, "a", json!({"data": {"value": "4"}})).await?;
    world.until_status(&world.first, "failure").await?;
    world.repository.write("a.yaml", annotated("a", "5", "plimsoll.dev/drift: report"))?;
    let second = world.repository.push("Git has the last word")?;
    world.until_status(&second, "success").await?;
    site.until(A, "to be as the new commit says", |object| text(object) == "5").await.map(drop)
}

#[tokio::test]
async fn fields_that_are_left_to_others_are_neither_told_nor_healed() -> Result {
    let left = annotated("a", "1", "plimsoll.dev/ignore: /data/value");
    let world = World::of(AGENT).file("a.yaml", &left).file("b.yaml", &annotated("b", "1", "plimsoll.dev/drift: ignore")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    edit(site, "a", json!({"data": {"value": "2"}})).await?;
    edit(site, "b", json!({"data": {"value": "2"}})).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.repository.write("a.yaml", left.replace("\ndata: {", "\ndata: {more: x, "))?;
    let second = world.repository.push("Something else of the same object")?;
    world.until_status(&second, "success").await?;
    let a = site.until(A, "to have the new field", |object| object["data"]["more"] == "x").await?;
    let b = site.get("v1", "ConfigMap", "b").await?.unwrap_or_default();
    assert_eq!((text(&a), text(&b)), ("2", "2"));
    let sync = site.sync().await?;
    assert!(sync["status"]["drift"].is_null(), "{}", sync["status"]["drift"]);
    Ok(())
}

#[tokio::test]
async fn two_writers_who_never_give_in_are_a_fight_that_names_the_other_and_ends_with_it() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    for round in 0..40 {
        site.cluster.patch("v1", "ConfigMap", &site.namespace, "a", "stubborn", &json!({"data": {"value": format!("x{round}")}})).await?;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let told = site.until_told("/a", "fighting").await?;
    assert!(told["message"].as_str().is_some_and(|message| message.starts_with("healed ")), "{told}");
    assert_eq!(told["fields"][0]["by"], "stubborn");
    world.until_status(&world.first, "failure").await?;
    site.until(A, "to be healed when the other has stopped", |object| text(object) == "1").await?;
    let healed = world.site().agent().log().matches("/a data.value").count();
    assert!((3..15).contains(&healed), "it must not be healed each time: {healed} times");
    Ok(())
}

#[tokio::test]
async fn a_restart_with_nothing_changed_applies_nothing_and_what_was_changed_meanwhile_is_told() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).file("b.yaml", &config_map("b", "1")).private().start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, agent) = (world.site(), world.site().agent());
    site.until(("v1", "Secret", "plimsoll-baselines-fleet"), "to be kept", |_| true).await?;
    agent.stop().await?;
    edit(site, "b", json!({"data": {"value": "2"}})).await?;
    let before = site.get("v1", "ConfigMap", "a").await?.unwrap_or_default();
    agent.restart().await?;
    let told = site.until_told("/b", "healed").await?;
    assert_eq!((&told["fields"][0]["is"], &told["fields"][0]["by"]), (&json!("2"), &json!("kubectl-edit")));
    let after = site.get("v1", "ConfigMap", "a").await?.unwrap_or_default();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    assert_eq!(agent.metric("plimsoll_apply_total", "").await.unwrap_or_default(), 0.0);
    Ok(())
}

#[tokio::test]
async fn rights_that_are_taken_away_are_told_and_what_drifted_meanwhile_is_healed_when_they_are_back() -> Result {
    let world = World::of(AGENT).cluster("fra-1", "aws:///eu-central-1a/i-1").file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    let binding = ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "plimsoll-apply");
    let bound = site.cluster.get(binding.0, binding.1, "", binding.2).await?.unwrap_or_default();
    site.cluster.delete(binding.0, binding.1, "", binding.2).await?;
    // The API server hears of it by a watch of its own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    edit(site, "a", json!({"data": {"value": "2"}})).await?;
    let told = site.until_told("/a", "refused").await?;
    assert!(told["message"].as_str().is_some_and(|message| message.contains("may not patch configmaps")), "{told}");
    world.until_status(&world.first, "failure").await?;
    let again = json!({"apiVersion": binding.0, "kind": binding.1, "metadata": {"name": binding.2}, "roleRef": bound["roleRef"], "subjects": bound["subjects"]});
    site.cluster.apply_object(&again).await?;
    site.until(A, "to be healed", |object| text(object) == "1").await?;
    site.until_told("/a", "healed").await?;
    world.until_status(&world.first, "success").await.map(drop)
}

#[tokio::test]
async fn an_agent_that_is_killed_in_the_middle_of_healing_is_followed_by_one_that_heals_the_rest() -> Result {
    let mut world = World::of(AGENT);
    for n in 0..20 {
        world = world.file(&format!("c{n}.yaml"), &config_map(&format!("c{n}"), "1"));
    }
    let world = world.start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, agent) = (world.site(), world.site().agent());
    site.until(("v1", "Secret", "plimsoll-baselines-fleet"), "to be kept", |_| true).await?;
    for round in 0..4_u64 {
        for n in 0..20 {
            edit(site, &format!("c{n}"), json!({"data": {"value": format!("x{round}")}})).await?;
        }
        tokio::time::sleep(Duration::from_millis(round * 10)).await;
        agent.kill();
        agent.restart().await?;
        for n in 0..20 {
            site.until(("v1", "ConfigMap", &format!("c{n}")), "to be healed", |object| text(object) == "1").await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_audit_finds_what_no_event_has_told_and_nothing_else() -> Result {
    let world = World::of(AGENT).audit("1s").file("a.yaml", &config_map("a", "1")).file("b.yaml", &config_map("b", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let (site, agent) = (world.site(), world.site().agent());
    let audits = async |outcome: &str| agent.metric("plimsoll_audits_total", &format!("outcome=\"{outcome}\"")).await;
    until("some audits", Duration::from_secs(30), async || match audits("same").await? {
        count if count < 3.0 => Err(Trouble::new(format!("{count} so far"))),
        _ => Ok(()),
    })
    .await?;
    assert_eq!(audits("different").await?, 0.0, "{}", agent.log());
    // From now on an apply would make something else of the object. That is no event of it.
    site.cluster.apply(&rewriting(&site.namespace)).await?;
    until("an audit to find it", Duration::from_secs(40), async || match audits("different").await? {
        0.0 => Err(Trouble::new("none has")),
        _ => Ok(()),
    })
    .await?;
    assert!(agent.log().contains("Audit: an apply would change this object, and the watch has not told so."), "{}", agent.log());
    Ok(())
}

/// A policy of this test's namespace alone: the cluster is shared.
fn rewriting(namespace: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {{name: rewrite-{namespace}}}\nspec:\n  \
         failurePolicy: Fail\n  reinvocationPolicy: Never\n  matchConstraints:\n    \
         resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}}]\n  \
         mutations:\n  - patchType: ApplyConfiguration\n    applyConfiguration: {{expression: \"Object{{data: {{'value': 'rewritten'}}}}\"}}\n---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicyBinding\nmetadata: {{name: rewrite-{namespace}}}\nspec:\n  \
         policyName: rewrite-{namespace}\n  \
         matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}\n"
    )
}
