//! Whoever dies or goes away in the middle: what is asked for comes about once all are back, and nothing is orphaned.

use std::time::Duration;

use harness::{Result, Site, Trouble, World, until};
use serde_json::{Value, json};

use crate::sync::AGENT;

/// More than can be applied before anyone looks.
const MANY: usize = 400;

fn many(count: usize, value: &str) -> String {
    let one = |number| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{number}}}\ndata: {{value: \"{value}\"}}\n");
    (0..count).map(one).collect::<Vec<_>>().join("---\n")
}

async fn ours(site: &Site) -> Result<Vec<Value>> {
    let mut all = site.cluster.list("v1", "ConfigMap", &site.namespace).await?;
    all.retain(|object| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with('m')));
    Ok(all)
}

/// Waits until some objects have a value, but before all have it.
async fn until_amid(site: &Site, value: &str) -> Result {
    until("the apply to be under way", Duration::from_secs(30), async || {
        let there = ours(site).await?.iter().filter(|object| object["data"]["value"] == value).count();
        if there > 0 { Ok(there) } else { Err(Trouble::new("nothing yet")) }
    })
    .await
    .map(|there| assert!(there < MANY, "all were applied before anyone could interrupt: {there}"))
}

#[tokio::test]
async fn an_agent_killed_in_mid_apply_goes_on_after_its_restart_and_orphans_nothing() -> Result {
    let world = World::of(AGENT).file("all.yaml", &many(MANY, "1")).start().await?;
    let site = world.site();
    until_amid(site, "1").await?;
    site.agent().kill();
    // What it had made and what it had not are both taken back by the next commit, which it has never seen.
    world.repository.write("all.yaml", many(MANY - 100, "2"))?;
    let second = world.repository.push("Fewer")?;
    site.agent().restart().await?;
    world.until_status(&second, "success").await?;
    let all = ours(site).await?;
    assert_eq!((all.len(), all.iter().filter(|object| object["data"]["value"] == "2").count()), (MANY - 100, MANY - 100));
    world.repository.write("all.yaml", many(1, "2"))?;
    world.repository.write("kustomization.yaml", "resources: [all.yaml]\nmetadata: {annotations: {plimsoll.dev/prune: allow}}\n")?;
    let third = world.repository.push("Nearly none")?;
    world.until_status(&third, "success").await?;
    until("the others to be gone", Duration::from_secs(30), async || match ours(site).await?.len() {
        1 => Ok(()),
        left => Err(Trouble::new(format!("{left} left"))),
    })
    .await
}

#[tokio::test]
async fn an_api_server_or_a_forge_that_goes_away_is_waited_for() -> Result {
    let world = World::of(AGENT).cluster("solo", "hcloud://1").file("all.yaml", &many(1, "0")).start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    world.repository.write("all.yaml", many(MANY, "1"))?;
    let second = world.repository.push("Many")?;
    until_amid(site, "1").await?;
    site.cluster.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        world.statuses(&second).await?.iter().all(|status| status.state == "pending"),
        "a restart is no news: {:?}",
        world.statuses(&second).await?
    );
    let cluster = site.cluster.clone();
    tokio::task::spawn_blocking(move || cluster.restart()).await??;
    world.until_status(&second, "success").await?;
    assert_eq!(ours(site).await?.len(), MANY);
    assert_eq!(ours(site).await?.iter().filter(|object| object["data"]["value"] == "1").count(), MANY);

    // The forge goes when the commit is known and before it can be told.
    world.repository.write("all.yaml", many(MANY, "2"))?;
    let third = world.repository.push("Many again")?;
    until_amid(site, "2").await?;
    world.forge.stop();
    let applied =
        |sync: &Value| sync.pointer("/status/revision/commit") == Some(&json!(third)) && !sync["status"]["revision"]["applied"].is_null();
    site.until_sync("to be applied", applied).await?;
    world.forge.start_again().await?;
    world.until_status(&third, "success").await?;
    Ok(())
}
