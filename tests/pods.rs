//! A workload that does not get on says why on the commit, in the words of its Pods, and long before its deadline.

use harness::{Result, World};
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_plimsoll");

fn deployment(fate: &str) -> String {
    format!(
        "# A line before, so that the place on the commit is that of the object.\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\n\
         spec:\n  selector: {{matchLabels: {{app: api}}}}\n  template:\n    metadata: {{labels: {{app: api, {fate}}}}}\n    \
         spec: {{containers: [{{name: api, image: registry.example/api:1}}]}}\n"
    )
}

#[tokio::test]
async fn a_crash_loop_is_told_with_its_place_and_ends_with_the_change_that_mends_it() -> Result {
    let world = World::of(AGENT).file("api.yaml", &deployment("kubelab/fate: crash")).start().await?;
    let failed = world.until_status(&world.first, "failure").await?;
    let said = &failed[0].description;
    assert!(said.contains("Deployment") && said.contains("container api crashes again and again (5 restarts)"), "{said}");
    assert!(said.contains("api.yaml:2"), "{said}");
    world.repository.write("api.yaml", deployment("kubelab/mended: yes-it-is"))?;
    let second = world.repository.push("Mend it")?;
    world.until_status(&second, "success").await.map(drop)
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_waited_for_and_then_a_failure() -> Result {
    let world = World::of(AGENT).file("api.yaml", &deployment("kubelab/fate: pull")).start().await?;
    let waits = |sync: &Value| {
        sync.pointer("/status/state") == Some(&"Waiting".into())
            && sync["status"].to_string().contains("container api cannot pull its image")
    };
    world.site().until_sync("to say what it waits for", waits).await?;
    let failed = world.until_status(&world.first, "failure").await?;
    assert!(failed[0].description.contains("container api cannot pull its image: Back-off pulling image"), "{}", failed[0].description);
    Ok(())
}
