//! A cluster with 1,000 apps of ten objects each, as it comes up, rests, is pushed to and is meddled with. The names are those of the workloads:
//! W2 a first sync, W3 a commit to one app, W5 a storm of drift, W7 rest, W8 foreign status updates, W9 foreign objects, W10 an app that is taken
//! away, W11 a restart, W13 an API server that begins anew, W14 an app of 5,000 objects.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use harness::{ACCOUNT, ClusterOptions, Result, SYSTEM, Site, Trouble, World, until};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::AGENT;
use crate::arrival::{Arrival, Arrivals};
use crate::cold::{self, KINDS};
use crate::figure::Figure;

/// The names of the workloads.
pub(crate) const NAMES: [&str; 10] = ["W2", "W3", "W5", "W7", "W8", "W9", "W10", "W11", "W13", "W14"];
/// Those that need no controllers.
const ALONE: [&str; 2] = ["W2", "W5"];
/// The controllers without which no Pod of the agent comes up.
const CONTROLLERS: [&str; 4] =
    ["namespace-controller", "serviceaccount-controller", "serviceaccount-token-controller", "daemonset-controller"];
const APPS: usize = 1_000;
const OBJECTS: usize = APPS * 10;
const LIMIT: Duration = Duration::from_secs(600);
/// Objects that drift in the storm, and how many a second.
const DRIFTS: usize = 500;
const RATE: u64 = 50;
const REST: Duration = Duration::from_secs(120);
const CHURN: Duration = Duration::from_secs(60);
const FOREIGN: usize = 20_000;
const DOOMED: usize = 200;
const LARGE: usize = 5_000;
/// What the agent says and agrees on at any time; everything else is a request for objects.
const OWN: [&str; 4] = ["leases", "syncs", "syncs/status", "events"];

pub(crate) async fn measure(rounds: usize, wants: impl Fn(&str) -> bool) -> Result<Vec<Figure>> {
    let mut figures = if ALONE.iter().any(|name| wants(name)) { alone(&wants).await? } else { Vec::new() };
    if !NAMES.iter().any(|name| !ALONE.contains(name) && wants(name)) {
        return Ok(figures);
    }
    let options = ClusterOptions { audited: true, ..ClusterOptions::default() };
    let world = world(options).await?;
    let site = world.site();
    site.cluster.count_requests_of(SYSTEM, ACCOUNT).await?;
    first_sync(&world).await?;
    if wants("W7") {
        figures.extend(rest(site).await?);
    }
    if wants("W3") {
        figures.extend(commits(&world, rounds).await?);
    }
    if wants("W8") {
        figures.extend(churn(site).await?);
    }
    if wants("W9") {
        figures.extend(foreign(site).await?);
    }
    if wants("W11") {
        figures.extend(restart(site).await?);
    }
    if wants("W10") {
        figures.extend(removal(&world).await?);
    }
    if wants("W13") {
        figures.extend(outage(site).await?);
    }
    if wants("W14") {
        figures.extend(large(&world).await?);
    }
    Ok(figures)
}

/// Without the audit, which asks two requests every five minutes: they would fall into some figures and not into others.
async fn world(options: ClusterOptions) -> Result<World> {
    let spec = json!({"suspend": true, "poll": "1h"});
    let mut world = World::of(AGENT).cluster("fra-1", "aws:///eu-central-1a/i-1").cluster_options(options).hook().spec(spec).audit("0s");
    for (path, text) in cold::files(APPS) {
        world = world.file(&path, &text);
    }
    world.start().await
}

/// A first sync and a storm while nobody else works in the cluster: what controllers make of a thousand Deployments and Services takes the API
/// server longer than what the agent does.
async fn alone(wants: impl Fn(&str) -> bool) -> Result<Vec<Figure>> {
    let controllers = CONTROLLERS.map(str::to_owned).to_vec();
    let world = world(ClusterOptions { controllers, ..ClusterOptions::default() }).await?;
    world.site().cluster.count_requests_of(SYSTEM, ACCOUNT).await?;
    let took = first_sync(&world).await?;
    let most = mib(world.site().agent().resident_at_most());
    let note = format!("{took:.1} s; the API server works for nobody else");
    let mut figures = vec![
        Figure::at_least("W2: cold sync of 10,000 objects in 1,000 apps", OBJECTS as f64 / took, "objects/s", 400.0).noted(note),
        Figure::at_most("W2: the same: agent RSS at most", most, "MiB", 60.0),
    ];
    figures.retain(|_| wants("W2"));
    if wants("W5") {
        figures.extend(storm(world.site()).await?);
    }
    Ok(figures)
}

/// How long it takes, in seconds.
async fn first_sync(world: &World) -> Result<f64> {
    let site = world.site();
    let watch = Arrivals::watch(&site.cluster, "bench", &KINDS).await?;
    let start = Instant::now();
    site.patch_sync(json!({"suspend": false})).await?;
    let arrived = watch.until(OBJECTS, LIMIT, |object| object["metadata"]["labels"]["bench"] == "cold").await;
    let took = world.explained(arrived, &world.first).await?.duration_since(start).as_secs_f64();
    until("the first sync to end", LIMIT, async || {
        let ended = site.agent().metric("plimsoll_syncs_total", "").await? > 0.0;
        if ended { Ok(()) } else { Err(Trouble::new("it goes on")) }
    })
    .await?;
    // What is kept for a restart is written ten seconds after the last change.
    tokio::time::sleep(Duration::from_secs(15)).await;
    Ok(took)
}

async fn rest(site: &Site) -> Result<Vec<Figure>> {
    let (requests, cpu) = (object_requests(site)?.len(), cpu(site)?);
    tokio::time::sleep(REST).await;
    let asked = object_requests(site)?.split_off(requests);
    let hourly = (self::cpu(site)? - cpu) * 3600.0 / REST.as_secs_f64();
    Ok(vec![
        Figure::at_most("W7: at rest with 10,000 objects: API requests for objects", asked.len() as f64, "", 0.0).noted(some(&asked)),
        Figure::at_most("W7: at rest: CPU an hour, Lease included", hourly, "s", 1.0)
            .noted(format!("scaled from {} s; the clock ticks every 10 ms", REST.as_secs())),
        Figure::at_most("W7: at rest: agent RSS", mib(site.agent().resident()), "MiB", 20.0),
    ])
}

async fn commits(world: &World, rounds: usize) -> Result<Vec<Figure>> {
    let site = world.site();
    let watch = Arrivals::watch(&site.cluster, "bench", &[("apps/v1", "Deployment")]).await?;
    let (mut pushed, mut noticed, mut requests) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        let (app, mark) = (format!("{:03}", (round * 37) % APPS), format!("round-{round}"));
        let before = object_requests(site)?.len();
        let overlay = cold::OVERLAY.replace("{number: \"NUMBER\"}", &format!("{{number: \"{mark}\"}}")).replace("NUMBER", &app);
        world.repository.write(&format!("apps/app-{app}/kustomization.yaml"), overlay)?;
        let start = Instant::now();
        let commit = world.repository.push(&format!("Round {round}"))?;
        let arrived =
            watch.until(1, LIMIT, |object| object.pointer("/spec/template/metadata/annotations/number") == Some(&json!(mark))).await?;
        pushed.push(millis(arrived.duration_since(start)));
        noticed.push(since_noticed(site, &commit, arrived)?);
        watch.forget();
        tokio::time::sleep(Duration::from_secs(1)).await;
        requests += object_requests(site)?.len() - before;
    }
    Ok(vec![
        Figure::median_at_most("W3: commit to one app of 1,000: seen by the agent -> applied", noticed, "ms", 100.0),
        Figure::median_at_most("W3: the same from the push, by webhook", pushed, "ms", f64::INFINITY),
        Figure::at_most("W3: API requests for objects a commit that changes one", requests as f64 / rounds as f64, "", 1.0),
    ])
}

/// From the agent's word that there is a commit to follow, to the arrival: both on one clock.
fn since_noticed(site: &Site, commit: &str, arrived: Instant) -> Result<f64> {
    let log = site.agent().log();
    let line = log.lines().find(|line| line.contains("has a commit to follow") && line.contains(commit));
    let line = line.ok_or_else(|| Trouble::new(format!("the agent has not said that it follows {commit}")))?;
    let noticed: jiff::Timestamp = line.split(' ').next().unwrap_or_default().parse()?;
    let ago = jiff::Timestamp::now().duration_since(noticed);
    let ago = Duration::try_from(ago)?;
    Ok(millis(ago) - millis(arrived.elapsed()))
}

async fn storm(site: &Site) -> Result<Vec<Figure>> {
    let maps = site.cluster.api("v1", "ConfigMap", "bench").await?;
    let watch = Arrivals::watch(&site.cluster, "bench", &[("v1", "ConfigMap")]).await?;
    let (requests, before) = (site.cluster.requests_of(ACCOUNT).await?, cpu(site)?);
    let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / RATE));
    let mut under_way = FuturesUnordered::new();
    for n in 0..DRIFTS {
        ticks.tick().await;
        let (maps, name) = (maps.clone(), format!("app-{n:03}-settings-0"));
        under_way.push(tokio::spawn(async move {
            let patch = Patch::Merge(json!({"data": {"text": format!("drift-{n}")}}));
            let answer =
                maps.patch(&name, &PatchParams { field_manager: Some("storm".to_owned()), ..PatchParams::default() }, &patch).await;
            answer.map(|_| (name, Instant::now()))
        }));
    }
    let mut answered = HashMap::new();
    while let Some(done) = under_way.next().await {
        let (name, at) = done??;
        answered.insert(name, at);
    }
    let healed = healed(&watch, &answered).await?;
    let mut times: Vec<f64> = healed.values().copied().collect();
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (asked, used) = (site.cluster.requests_of(ACCOUNT).await? - requests, cpu(site)? - before);
    Ok(vec![
        Figure::median_at_most("W5: 500 objects changed at 50/s: patch answered -> value back, p50", times, "ms", 25.0)
            .noted(format!("agent CPU {used:.2} s, {asked} requests in all")),
        Figure::at_most("W5: the same, p99", p99, "ms", 150.0),
    ])
}

/// For each object how long it took from the answer to the change until its value was back, in milliseconds.
async fn healed(watch: &Arrivals, answered: &HashMap<String, Instant>) -> Result<BTreeMap<String, f64>> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut changed = BTreeMap::new();
        let mut healed = BTreeMap::new();
        for Arrival { at, object, .. } in watch.all() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let Some(answer) = answered.get(&name) else { continue };
            let drifted = object["data"]["text"].as_str().is_some_and(|text| text.starts_with("drift-"));
            if drifted {
                changed.insert(name, ());
            } else if changed.contains_key(&name) {
                healed.entry(name).or_insert_with(|| millis(at.saturating_duration_since(*answer)));
            }
        }
        if healed.len() == answered.len() {
            return Ok(healed);
        }
        if Instant::now() > end {
            return Err(Trouble::new(format!("{} of {} objects were healed", healed.len(), answered.len())));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn churn(site: &Site) -> Result<Vec<Figure>> {
    let deployments = site.cluster.api("apps/v1", "Deployment", "bench").await?;
    let (requests, before) = (object_requests(site)?.len(), cpu(site)?);
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let (end, mut count, mut under_way) = (Instant::now() + CHURN, 0, tokio::task::JoinSet::new());
    while Instant::now() < end {
        ticks.tick().await;
        let (deployments, n) = (deployments.clone(), count);
        count += 1;
        under_way.spawn(async move {
            let condition = json!({"type": "Churn", "status": "True", "message": format!("churn-{n}")});
            let status = json!({"status": {"conditions": [condition]}});
            let parameters = PatchParams { field_manager: Some("churn".to_owned()), ..PatchParams::default() };
            deployments.patch_status(&format!("app-{:03}-web", n % APPS), &parameters, &Patch::Strategic(status)).await.map(drop)
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    let used = cpu(site)? - before;
    let asked = object_requests(site)?.split_off(requests);
    Ok(vec![
        Figure::at_most("W8: foreign status updates for a minute: API requests for objects", asked.len() as f64, "", 0.0)
            .noted(some(&asked)),
        Figure::at_most("W8: the same: agent CPU", used, "s", 0.5)
            .noted(format!("{count} updates, {:.0}/s", f64::from(u32::try_from(count)?) / CHURN.as_secs_f64())),
    ])
}

async fn foreign(site: &Site) -> Result<Vec<Figure>> {
    let before = mib(site.agent().resident());
    let namespace = site.cluster.namespace("foreign").await?;
    for kind in ["ConfigMap", "Secret"] {
        let api = site.cluster.api("v1", kind, &namespace).await?;
        let make = |n: usize| {
            let api = api.clone();
            async move {
                let object =
                    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": format!("foreign-{n}")}, "data": {"a": "eHh4eA=="}});
                let object: DynamicObject = serde_json::from_value(object)?;
                api.create(&PostParams::default(), &object).await?;
                Ok::<_, Trouble>(())
            }
        };
        let mut made = stream::iter(0..FOREIGN / 2).map(make).buffer_unordered(16);
        while let Some(done) = made.next().await {
            done?;
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let grown = mib(site.agent().resident()) - before;
    Ok(vec![Figure::at_most("W9: 20,000 foreign ConfigMaps and Secrets: RSS grows by", grown, "MiB", 1.0)])
}

async fn restart(site: &Site) -> Result<Vec<Figure>> {
    // What was healed last must have been written down.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let agent = site.agent();
    agent.stop().await?;
    let requests = site.cluster.requests_of(ACCOUNT).await?;
    let start = Instant::now();
    agent.restart().await?;
    until("the sync after the restart to end", LIMIT, async || {
        let ended = agent.metric("plimsoll_syncs_total", "").await? > 0.0;
        if ended { Ok(()) } else { Err(Trouble::new("it goes on")) }
    })
    .await?;
    let took = start.elapsed().as_secs_f64();
    let (asked, applied) = (site.cluster.requests_of(ACCOUNT).await? - requests, agent.metric("plimsoll_apply_total", "").await?);
    Ok(vec![
        Figure::at_most("W11: restart with 10,000 objects unchanged: objects applied", applied, "", 0.0),
        Figure::at_most("W11: from the start of the process to the end of its first sync", took, "s", 3.0)
            .noted(format!("{asked} API requests")),
        Figure::at_most("W11: agent RSS at most", mib(agent.resident_at_most()), "MiB", 40.0),
    ])
}

/// The API server is away, and objects are changed before and after: each must be put right, and nothing else.
async fn outage(site: &Site) -> Result<Vec<Figure>> {
    let edit = async |name: &str| site.cluster.patch("v1", "ConfigMap", "bench", name, "outage", &json!({"data": {"text": "drift"}})).await;
    edit("app-001-settings-0").await?;
    site.cluster.kill();
    let applied = object_requests(site)?.len();
    let cluster = site.cluster.clone();
    tokio::task::spawn_blocking(move || cluster.restart()).await??;
    let ready = Instant::now();
    edit("app-002-settings-0").await?;
    for name in ["app-001-settings-0", "app-002-settings-0"] {
        until("drift to be healed", LIMIT, async || {
            let object = site.cluster.get("v1", "ConfigMap", "bench", name).await?.unwrap_or_default();
            let healed = object["data"]["text"].as_str().is_some_and(|text| text != "drift");
            if healed { Ok(()) } else { Err(Trouble::new(format!("{name} is as it was changed"))) }
        })
        .await?;
    }
    let took = ready.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let written: Vec<String> = object_requests(site)?
        .split_off(applied)
        .into_iter()
        .filter(|request| !request.starts_with("list") && !request.starts_with("get"))
        .collect();
    let wrong = written.iter().filter(|request| !["app-001-settings-0", "app-002-settings-0"].iter().any(|name| request.ends_with(name)));
    Ok(vec![
        Figure::at_most("W13: API server begun anew, two objects changed around it: ready -> all as in Git", took, "s", 2.0),
        Figure::at_most("W13: writes to other objects", wrong.count() as f64, "", 0.0).noted(format!("{} writes", written.len())),
    ])
}

/// An app of many ConfigMaps, as files of the repository.
fn many(world: &World, app: &str, count: usize) -> Result {
    let objects: String = (0..count)
        .map(|n| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {app}-{n}, labels: {{bench: {app}}}}}\ndata: {{number: \"{n}\"}}\n"
            )
        })
        .collect();
    world.repository.write(&format!("apps/{app}/objects.yaml"), objects)?;
    let allowed = "metadata: {annotations: {plimsoll.dev/prune: allow}}\n";
    world.repository.write(&format!("apps/{app}/kustomization.yaml"), format!("{allowed}namespace: bench\nresources: [objects.yaml]\n"))
}

async fn removal(world: &World) -> Result<Vec<Figure>> {
    let site = world.site();
    let watch = Arrivals::watch(&site.cluster, "bench", &[("v1", "ConfigMap")]).await?;
    let ours = |object: &serde_json::Value| object["metadata"]["labels"]["bench"] == "doomed";
    many(world, "doomed", DOOMED)?;
    world.repository.push("An app that will go")?;
    watch.until(DOOMED, LIMIT, ours).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = object_requests(site)?.len();
    world.repository.write(
        "plimsoll.yaml",
        cold::FLEET.replace("kind: Fleet\n", "kind: Fleet\nmetadata: {annotations: {plimsoll.dev/prune: allow}}\n"),
    )?;
    world.repository.remove("apps/doomed")?;
    let commit = world.repository.push("It goes")?;
    let gone = watch.until_gone(DOOMED, LIMIT, ours).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = object_requests(site)?.split_off(before);
    let note =
        format!("{} requests, {} of them deletions", asked.len(), asked.iter().filter(|request| request.starts_with("delete")).count());
    Ok(vec![
        Figure::told("W10: an app of 200 objects is taken away: seen -> all gone", since_noticed(site, &commit, gone)?, "ms").noted(note),
    ])
}

async fn large(world: &World) -> Result<Vec<Figure>> {
    let site = world.site();
    let watch = Arrivals::watch(&site.cluster, "bench", &[("v1", "ConfigMap")]).await?;
    many(world, "large", LARGE)?;
    let start = Instant::now();
    world.repository.push("A large app")?;
    let arrived = watch.until(LARGE, LIMIT, |object| object["metadata"]["labels"]["bench"] == "large").await?;
    let took = arrived.duration_since(start).as_secs_f64();
    Ok(vec![
        Figure::told("W14: an app of 5,000 objects: push -> applied", took, "s").noted(format!("{:.0} objects/s", LARGE as f64 / took)),
        Figure::told("W14: the same: agent RSS at most, of all that it did here", mib(site.agent().resident_at_most()), "MiB"),
    ])
}

/// The agent's requests for objects so far, watches left out: they renew themselves.
fn object_requests(site: &Site) -> Result<Vec<String>> {
    let asked = site.cluster.requests(SYSTEM, ACCOUNT)?;
    let for_objects = asked.iter().filter(|request| !OWN.contains(&request.resource.as_str()) && request.verb != "watch");
    // What is kept for a restart is the agent's own, too.
    let for_objects = for_objects.filter(|request| !request.name.starts_with("plimsoll-baselines-"));
    Ok(for_objects.map(|request| format!("{} {} {}", request.verb, request.resource, request.name)).collect())
}

/// The first few: a bar that is missed by thousands needs no more to be understood.
fn some(requests: &[String]) -> String {
    requests.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The processor time that the agent has used, in seconds.
fn cpu(site: &Site) -> Result<f64> {
    let pid = site.agent().pid().ok_or_else(|| Trouble::new("the agent does not run"))?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may hold spaces: fields 14 and 15 are user and system time, in hundredths of a second (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(f64::NAN);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn mib(bytes: Option<u64>) -> f64 {
    bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1024.0 / 1024.0)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
