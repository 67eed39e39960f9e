//! What a commit that touches no app costs, by the API server's own audit log and by its count of the account's requests.

use std::time::Duration;

use harness::{ACCOUNT, ClusterOptions, Result, SYSTEM, World, until};

use crate::AGENT;
use crate::figure::Figure;

/// What the agent says and agrees on, with or without a push; everything else is a request for objects.
const OWN: [&str; 4] = ["leases", "syncs", "syncs/status", "events"];

pub(crate) async fn measure() -> Result<Vec<Figure>> {
    let fleet = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleet");
    let options = ClusterOptions { audited: true, ..ClusterOptions::default() };
    let world = World::of(AGENT).cluster("fra-1", "aws:///eu-central-1a/i-1").cluster_options(options).copy_of(fleet).start().await?;
    let (site, cluster) = (world.site(), &world.site().cluster);
    world.until_status(&world.first, "success").await?;
    // Let what follows a first sync come to rest; count from here.
    cluster.count_requests_of(SYSTEM, ACCOUNT).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (requests, counted, renders) = (
        cluster.requests(SYSTEM, ACCOUNT)?.len(),
        cluster.requests_of(ACCOUNT).await?,
        site.agent().metric("plimsoll_renders_total", "").await?,
    );
    world.repository.write("README.md", "Words only.\n")?;
    let commit = world.repository.push("Words only")?;
    world.until_status(&commit, "success").await?;
    until("the Sync to name the commit", Duration::from_secs(20), async || {
        let named = site.sync().await?.pointer("/status/revision/commit").is_some_and(|named| *named == commit);
        if named { Ok(()) } else { Err(harness::Trouble::new("it names another")) }
    })
    .await?;
    let since: Vec<_> = cluster.requests(SYSTEM, ACCOUNT)?.split_off(requests);
    let objects: Vec<String> =
        since.iter().filter(|r| !OWN.contains(&r.resource.as_str())).map(|r| format!("{} {}", r.verb, r.resource)).collect();
    let renders = site.agent().metric("plimsoll_renders_total", "").await? - renders;
    let all = cluster.requests_of(ACCOUNT).await? - counted;
    Ok(vec![
        Figure::at_most("commit that touches no app: API requests for objects", objects.len() as f64, "", 0.0).noted(objects.join(", ")),
        Figure::at_most("commit that touches no app: renders", renders, "", 0.0),
        Figure::told("commit that touches no app: all API requests (Lease, status, event)", all as f64, ""),
    ])
}
