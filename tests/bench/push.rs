//! From a push to the last object, and from the last healthy workload to the commit's green mark: three clusters, 30 objects each.

use std::time::{Duration, Instant};

use harness::{Result, Site, Trouble, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::AGENT;
use crate::arrival::Arrivals;
use crate::figure::Figure;

const LIMIT: Duration = Duration::from_secs(60);
/// Of the 30 objects, all change with each push; the Deployments roll out anew.
const KINDS: [(&str, &str); 4] = [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ServiceAccount"), ("v1", "ConfigMap")];
const DEPLOYMENTS: usize = 5;
const OBJECTS: usize = 30;

pub(crate) async fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for hook in [true, false] {
        let (mut applied, mut seen, mut said) = (Vec::new(), Vec::new(), Vec::new());
        let world = world(hook).await?;
        world.until_status(&world.first, "success").await?;
        for round in 1..=rounds {
            let took = one(&world, round).await?;
            applied.push(took.from_push);
            seen.push(took.from_sight);
            said.push(took.to_green);
        }
        let wake = if hook { "webhook" } else { "1 s poll" };
        // A poll of one second sees a push half a second later in the mean, and a whole one at most: the bar counts from then.
        let (bar, what) = (if hook { 500.0 } else { 1500.0 }, format!("last of 3 x {OBJECTS} objects applied, {wake}"));
        figures.push(Figure::median_at_most(&format!("push to {what}"), applied, "ms", bar));
        if !hook {
            figures.push(Figure::median_at_most(&format!("commit seen by the agent to {what}"), seen, "ms", 500.0));
        }
        figures.push(Figure::median_at_most(&format!("last workload healthy to success on the commit, {wake}"), said, "ms", 1000.0));
    }
    Ok(figures)
}

async fn world(hook: bool) -> Result<World> {
    let nodes = ["aws:///eu-central-1a/i-1", "gce://fleet/europe-west4-a/node-1", "hcloud://1"];
    let world = World::of(AGENT).clusters(nodes).file("kustomization.yaml", &kustomization(0)).file("objects.yaml", &objects());
    // With the hook, the poll is too slow to help: a hook that does not arrive shows as a push that never does.
    if hook { world.hook().spec(json!({"poll": "10m"})) } else { world }.start().await
}

/// `commonAnnotations` reach every object, and the pods of the Deployments.
fn kustomization(round: usize) -> String {
    format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: plimsoll-system\nresources: [objects.yaml]\ncommonAnnotations: {{bench/round: \"{round}\"}}\n"
    )
}

fn objects() -> String {
    let mut text = String::new();
    for n in 0..DEPLOYMENTS {
        text += &format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web-{n}}}\nspec:\n  replicas: 2\n  selector: {{matchLabels: {{app: web-{n}}}}}\n  \
             template:\n    metadata: {{labels: {{app: web-{n}}}}}\n    spec:\n      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}\n      \
             containers:\n      - name: web\n        image: web:1\n        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: web-{n}}}\nspec: {{selector: {{app: web-{n}}}, ports: [{{port: 80}}]}}\n---\n\
             apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: web-{n}}}\n---\n"
        );
    }
    for n in 0..OBJECTS - 3 * DEPLOYMENTS {
        text +=
            &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings-{n}}}\ndata: {{text: \"{}\"}}\n---\n", "x".repeat(1000));
    }
    text
}

/// Milliseconds, each in the slowest cluster.
struct Took {
    from_push: f64,
    /// From when the agent saw the commit in the repository, by its log, to the last object.
    from_sight: f64,
    /// From the last healthy workload to the commit's green mark.
    to_green: f64,
}

/// One push.
async fn one(world: &World, round: usize) -> Result<Took> {
    let mut watches = Vec::new();
    for site in &world.sites {
        watches.push(Arrivals::watch(&site.cluster, &site.namespace, &KINDS).await?);
    }
    // Let the watches deliver what is there, and the servers come to rest.
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.repository.write("kustomization.yaml", kustomization(round))?;
    world.repository.commit(&format!("Round {round}"))?;
    let commit = world.repository.head()?;
    watches.iter().for_each(Arrivals::forget);
    world.repository.git(&["push", "--quiet", "origin", "HEAD"])?;
    let pushed = Instant::now();
    let arrived = async {
        let (mut applied, mut healthy) = (Vec::new(), Vec::new());
        for watch in &watches {
            applied.push(watch.until(OBJECTS, LIMIT, |object| is_round(object, round)).await?);
            healthy.push(watch.until(DEPLOYMENTS, LIMIT, |object| is_round(object, round) && rolled_out(object)).await?);
        }
        Ok::<_, Trouble>((applied, healthy))
    };
    let ((applied, healthy), green) = tokio::try_join!(arrived, green(world, &commit))?;
    let late = healthy.iter().zip(&green).map(|(healthy, green)| milliseconds(*healthy, *green)).fold(0.0, f64::max);
    let worst = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, f64::max);
    let sights = world.sites.iter().map(|site| sight(site, &commit)).collect::<Result<Vec<_>>>()?;
    Ok(Took {
        from_push: worst(&mut applied.iter().map(|applied| milliseconds(pushed, *applied))),
        from_sight: worst(&mut sights.iter().zip(&applied).map(|(sight, applied)| milliseconds(*sight, *applied))),
        to_green: late,
    })
}

/// When the agent of a cluster saw the commit in the repository: its log says so, to the microsecond.
fn sight(site: &Site, commit: &str) -> Result<Instant> {
    let log = site.agent().log();
    let told = |line: &&str| line.contains("The repository has a commit to follow.") && line.contains(commit);
    let line = log
        .lines()
        .find(told)
        .ok_or_else(|| Trouble::new(format!("the agent does not say when it saw {commit}:\n{}", site.agent().tail())))?;
    let at: Timestamp = line.split(' ').next().unwrap_or_default().parse()?;
    let ago = Timestamp::now().duration_since(at);
    Ok(Instant::now() - Duration::try_from(ago)?)
}

/// When each cluster's green mark was first seen.
async fn green(world: &World, commit: &str) -> Result<Vec<Instant>> {
    let mut seen: Vec<Option<Instant>> = vec![None; world.sites.len()];
    let end = Instant::now() + LIMIT;
    let green =
        |site: &Site, statuses: &[harness::CommitStatus]| statuses.iter().any(|s| s.context == site.context() && s.state == "success");
    while seen.iter().any(Option::is_none) {
        if Instant::now() > end {
            return Err(Trouble::new(format!("no success on {commit}\n{}", world.seen(commit).await)));
        }
        // Twenty times a second at most: the forge has two cores to share with all the others.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let statuses = world.statuses(commit).await?;
        for (site, seen) in world.sites.iter().zip(&mut seen) {
            *seen = seen.or_else(|| green(site, &statuses).then(Instant::now));
        }
    }
    Ok(seen.into_iter().flatten().collect())
}

fn is_round(object: &Value, round: usize) -> bool {
    object["metadata"]["annotations"]["bench/round"].as_str() == Some(round.to_string().as_str())
}

/// As `kubectl rollout status` sees it.
fn rolled_out(object: &Value) -> bool {
    let count = |pointer| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let wanted = count("/spec/replicas");
    object["kind"] == "Deployment"
        && count("/status/observedGeneration") >= count("/metadata/generation")
        && [count("/status/updatedReplicas"), count("/status/availableReplicas"), count("/status/replicas")] == [wanted; 3]
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}
