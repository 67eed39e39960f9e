//! Push to Git, and the cluster follows; what came of it stands on the commit.

use std::time::Duration;

use harness::{Result, World, until};
use serde_json::Value;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_plimsoll");

fn fleet() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleet")
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: \"{value}\"}}\n")
}

fn value(object: &Value) -> &str {
    object["data"]["value"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_push_is_applied_and_the_commit_turns_green() -> Result {
    let world = World::of(AGENT).file("settings.yaml", &config_map("settings", "1")).start().await?;
    let first = world.until_status(&world.first, "success").await?;
    assert!(first[0].description.starts_with("In sync: 1 object in "), "{}", first[0].description);
    world.repository.write("settings.yaml", config_map("settings", "2"))?;
    let second = world.repository.push("Change a value")?;
    world.until_status(&second, "success").await?;
    let settings = world.site().get("v1", "ConfigMap", "settings").await?.unwrap_or_default();
    assert_eq!(value(&settings), "2");
    world.until_state(&second, "InSync").await
}

#[tokio::test]
async fn what_leaves_the_repository_leaves_the_cluster_and_nothing_else_does() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).file("b.yaml", &config_map("b", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    site.cluster
        .apply(&config_map("stranger", "1").replace("name: stranger", &format!("name: stranger, namespace: {}", site.namespace)))
        .await?;
    world.repository.remove("b.yaml")?;
    let second = world.repository.push("Take b away")?;
    world.until_status(&second, "success").await?;
    site.until_gone(("v1", "ConfigMap", "b")).await?;
    assert!(site.get("v1", "ConfigMap", "a").await?.is_some() && site.get("v1", "ConfigMap", "stranger").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_deleted_object_is_made_again() -> Result {
    let world = World::of(AGENT).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    site.cluster.delete("v1", "ConfigMap", &site.namespace, "a").await?;
    site.until(("v1", "ConfigMap", "a"), "to be made again", |object| value(object) == "1").await?;
    world.until_state(&world.first, "InSync").await
}

#[tokio::test]
async fn three_clusters_get_the_layers_of_their_providers() -> Result {
    let nodes = ["aws:///eu-central-1a/i-0123456789abcdef0", "gce://project/europe-west3-a/node-1", "hcloud://123"];
    let world = World::of(AGENT).clusters(nodes).copy_of(fleet()).start().await?;
    world.until_status(&world.first, "success").await?;
    for (site, provider) in world.sites.iter().zip(["aws", "gcp", "hetzner"]) {
        let sync = site.sync().await?;
        assert_eq!(sync.pointer("/status/cluster/labels/provider"), Some(&provider.into()), "{sync:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_commit_that_touches_no_app_renders_nothing_and_asks_for_no_object() -> Result {
    let world = World::of(AGENT).clusters(["hcloud://1"]).copy_of(fleet()).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    let renders = site.agent().metric("plimsoll_renders_total", "").await?;
    let applied = site.agent().metric("plimsoll_apply_total", "").await?;
    world.repository.write("README.md", "Nothing that is rendered.\n")?;
    let second = world.repository.push("Say something")?;
    world.until_status(&second, "success").await?;
    assert_eq!(site.agent().metric("plimsoll_renders_total", "").await?, renders);
    assert_eq!(site.agent().metric("plimsoll_apply_total", "").await?, applied);
    Ok(())
}

#[tokio::test]
async fn one_of_several_agents_leads_and_another_takes_over_when_it_dies() -> Result {
    let world = World::of(AGENT).agents(2).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    let leads = async |number: usize| Ok::<_, harness::Trouble>(site.agents[number].log().contains("Leading."));
    let leader = if leads(0).await? { 0 } else { 1 };
    assert!(!leads(1 - leader).await?, "both lead");
    site.agents[leader].kill();
    world.repository.write("a.yaml", config_map("a", "2"))?;
    let second = world.repository.push("Change it")?;
    until("the standby to lead", Duration::from_secs(40), async || {
        if leads(1 - leader).await? { Ok(()) } else { Err(harness::Trouble::new(site.agents[1 - leader].tail())) }
    })
    .await?;
    world.until_status(&second, "success").await.map(drop)
}

#[tokio::test]
async fn a_push_hook_wakes_the_leader_whichever_agent_takes_it() -> Result {
    let world =
        World::of(AGENT).agents(2).hook().spec(serde_json::json!({"poll": "10m"})).file("a.yaml", &config_map("a", "1")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    // The forge knows the first agent only; the second try finds it as a standby.
    for (value, successor) in [("2", None), ("3", Some(0))] {
        if let Some(number) = successor {
            site.agents[number].stop().await?;
            until("the other agent to lead", Duration::from_secs(40), async || {
                let leads = site.agents[1 - number].metric("plimsoll_leader", "").await.unwrap_or_default() > 0.0;
                if leads { Ok(()) } else { Err(harness::Trouble::new(site.agents[1 - number].tail())) }
            })
            .await?;
            site.agents[number].restart().await?;
        }
        world.repository.write("a.yaml", config_map("a", value))?;
        let pushed = world.repository.push(&format!("Say {value}"))?;
        world.until_status(&pushed, "success").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_sync_that_is_deleted_leaves_its_objects_and_nothing_pending() -> Result {
    let hangs = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hangs}\nspec:\n  selector: {matchLabels: {app: hangs}}\n  template:\n    \
                 metadata: {labels: {app: hangs, kubelab/fate: hang}}\n    spec: {containers: [{name: c, image: \"c:1\"}]}\n";
    let world = World::of(AGENT).file("hangs.yaml", hangs).start().await?;
    world.until_status(&world.first, "pending").await?;
    let site = world.site();
    site.cluster.delete("plimsoll.dev/v1alpha1", "Sync", &site.namespace, "fleet").await?;
    let said = world.until_status(&world.first, "error").await?;
    assert_eq!(said[0].description, "The Sync was deleted; what it applied stays as it is");
    assert!(site.get("apps/v1", "Deployment", "hangs").await?.is_some());
    Ok(())
}
