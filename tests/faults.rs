//! What fails around the agent while objects drift: servers, webhooks, rights, its own leadership. Each time the cluster comes to what Git says,
//! what was changed is told, and nothing is put right that was not wrong.

use std::time::Duration;

use harness::{Cluster, ClusterOptions, Result, Site, Trouble, World, until};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::failure::config_map;
use crate::sync::AGENT;

mod webhook;

use webhook::{Manner, Webhook};

const A: (&str, &str, &str) = ("v1", "ConfigMap", "a");
const PROVIDER: &str = "aws:///eu-central-1a/i-1";

fn value(object: &Value) -> &str {
    object["data"]["value"].as_str().unwrap_or_default()
}

async fn edit(site: &Site, name: &str, to: &str) -> Result {
    let patch = json!({"data": {"value": to}});
    site.cluster.patch("v1", "ConfigMap", &site.namespace, name, "kubectl-edit", &patch).await.map(drop)
}

/// How often the log tells of a drift of an object of this name.
fn times_told(site: &Site, name: &str) -> usize {
    let log = site.agent().log();
    log.lines().filter(|line| line.contains("Drift: ") && line.contains(&format!("/{name}"))).count()
}

async fn three(world: harness::WorldOptions) -> Result<World> {
    let world = ["a", "b", "c"].iter().fold(world, |world, name| world.file(&format!("{name}.yaml"), &config_map(name, "1")));
    let world = world.start().await?;
    world.until_status(&world.first, "success").await?;
    // From here on a process, or a leadership, that ends takes no knowledge with it.
    world.site().until(("v1", "Secret", "plimsoll-baselines-fleet"), "to be kept", |_| true).await?;
    Ok(world)
}

#[tokio::test]
async fn what_is_changed_around_a_minute_without_api_server_is_told_and_healed_after_it() -> Result {
    let world = three(World::of(AGENT).cluster("fra-1", PROVIDER)).await?;
    let (site, agent) = (world.site(), world.site().agent());
    let process = agent.pid();
    // The last that the server does is to change an object; whether the agent has heard of it is chance.
    edit(site, "a", "2").await?;
    site.cluster.kill();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let cluster = site.cluster.clone();
    tokio::task::spawn_blocking(move || cluster.restart()).await??;
    edit(site, "b", "2").await?;
    site.cluster.delete("v1", "ConfigMap", &site.namespace, "c").await?;
    for name in ["a", "b", "c"] {
        let healed = site.until(("v1", "ConfigMap", name), "to be healed", |object| value(object) == "1").await;
        world.explained(healed, &world.first).await?;
    }
    for words in [
        "/a data.value 1 → 2 by kubectl-edit; healed",
        "/b data.value 1 → 2 by kubectl-edit; healed",
        "/c deleted by an unknown author; healed",
    ] {
        until(&format!("'{words}'"), Duration::from_secs(30), async || match agent.log().matches(words).count() {
            1 => Ok(()),
            times => Err(Trouble::new(format!("told {times} times:\n{}", agent.tail()))),
        })
        .await?;
    }
    world.until_status(&world.first, "success").await?;
    world.until_state(&world.first, "InSync").await?;
    assert_eq!((agent.pid(), agent.running()), (process, true), "it is waited for, not died of");
    Ok(())
}

/// A priority level with one seat, and who goes there: the agent's requests for one resource, or all of them.
async fn one_seat(cluster: &Cluster, group: &str, resource: &str) -> Result {
    let level = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": "one-seat"},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}},
    });
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "throttled"},
        "spec": {
            "matchingPrecedence": 100, "priorityLevelConfiguration": {"name": "one-seat"},
            "rules": [{
                "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": harness::ACCOUNT, "namespace": harness::SYSTEM}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": [group], "resources": [resource], "clusterScope": true, "namespaces": ["*"]}],
            }],
        },
    });
    cluster.apply_object(&level).await?;
    cluster.apply_object(&schema).await?;
    // The API server hears of it by a watch of its own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

async fn rejected(cluster: &Cluster) -> Result<u64> {
    let metrics = cluster.metrics().await?;
    let name = "apiserver_flowcontrol_rejected_requests_total{";
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains("\"throttled\""));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum())
}

/// Sits in the seat: a write of the agent's account that hangs in the webhook until that lets it through.
async fn sit(cluster: &Cluster, namespace: &str, name: &str) -> Result<tokio::task::JoinHandle<()>> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_of(harness::SYSTEM, harness::ACCOUNT).await?)?;
    let client = kube::Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?;
    let map = ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() };
    let maps: kube::Api<ConfigMap> = kube::Api::namespaced(client, namespace);
    let sitting = tokio::spawn(async move { drop(maps.create(&PostParams::default(), &map).await) });
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(sitting)
}

#[tokio::test]
async fn an_api_server_that_says_not_now_is_not_hammered_and_what_drifted_is_healed_when_it_has_time() -> Result {
    let world = three(World::of(AGENT).cluster("fra-1", PROVIDER)).await?;
    let (site, cluster) = (world.site(), &*world.site().cluster);
    let seats = cluster.namespace("seats").await?;
    let webhook = Webhook::start(cluster, Manner::Hangs).await?;
    webhook.watch_over(cluster, &seats).await?;
    one_seat(cluster, "", "configmaps").await?;
    let sitting = sit(cluster, &seats, "first").await?;
    edit(site, "a", "2").await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let asked = rejected(cluster).await?;
    assert!((1..60).contains(&asked), "{asked} requests in 15 s although the server says 'not now'");
    assert_eq!(site.get("v1", "ConfigMap", "a").await?.as_ref().map(value), Some("2"));
    webhook.behave(Manner::Allows);
    sitting.await?;
    // Now even the Lease can't be renewed: nobody may write, and nobody does.
    webhook.behave(Manner::Hangs);
    one_seat(cluster, "*", "*").await?;
    let sitting = sit(cluster, &seats, "second").await?;
    edit(site, "b", "2").await?;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert!(site.agent().log().contains("The Lease was lost"), "{}", site.agent().tail());
    assert_eq!(site.get("v1", "ConfigMap", "b").await?.as_ref().map(value), Some("2"));
    webhook.behave(Manner::Allows);
    sitting.await?;
    cluster.delete("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "", "throttled").await?;
    for name in ["a", "b"] {
        let healed = site.until(("v1", "ConfigMap", name), "to be healed", |object| value(object) == "1").await;
        world.explained(healed, &world.first).await?;
        assert_eq!(times_told(site, name), 1, "{}", site.agent().log());
    }
    assert_eq!(times_told(site, "c"), 0);
    world.until_status(&world.first, "success").await.map(drop)
}

/// A webhook that is asked about every write in the Sync's namespace. The API server needs a moment to see that there is one.
async fn moody(site: &Site, manner: Manner) -> Result<Webhook> {
    let webhook = Webhook::start(&site.cluster, manner).await?;
    webhook.watch_over(&site.cluster, &site.namespace).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(webhook)
}

#[tokio::test]
async fn a_webhook_that_refuses_a_heal_is_named_and_the_heal_comes_when_it_gives_in() -> Result {
    let world = three(World::of(AGENT)).await?;
    let (site, webhook) = (world.site(), moody(world.site(), Manner::Refuses).await?);
    edit(site, "a", "2").await?;
    let refused = site.until_told("/a", "refused").await?;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains("moody.lab.example") && message.contains("not today"), "{message}");
    assert_eq!((&refused["fields"][0]["path"], &refused["fields"][0]["is"]), (&json!("data.value"), &json!("2")));
    let said = world.until_status(&world.first, "failure").await?;
    assert!(said[0].description.contains("data.value 1 → 2 by kubectl-edit"), "{}", said[0].description);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(webhook.asked() < 30, "it is asked again less and less often: {} times", webhook.asked());
    assert_eq!(site.get("v1", "ConfigMap", "a").await?.as_ref().map(value), Some("2"));
    webhook.behave(Manner::Allows);
    let healed = site.until(A, "to be healed", |object| value(object) == "1").await;
    world.explained(healed, &world.first).await?;
    site.until_told("/a", "healed").await?;
    world.until_status(&world.first, "success").await?;
    // One that is away is no reason to call the object refused for good.
    webhook.stop();
    edit(site, "b", "2").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(site.get("v1", "ConfigMap", "b").await?.as_ref().map(value), Some("2"));
    webhook.serve().await?;
    let healed = site.until(("v1", "ConfigMap", "b"), "to be healed", |object| value(object) == "1").await;
    world.explained(healed, &world.first).await?;
    site.until_told("/b", "healed").await?;
    assert_eq!(times_told(site, "c"), 0);
    world.until_status(&world.first, "success").await.map(drop)
}

#[tokio::test]
async fn a_webhook_that_rewrites_each_heal_is_told_and_not_fought() -> Result {
    let world = three(World::of(AGENT)).await?;
    let (site, webhook) = (world.site(), moody(world.site(), Manner::Rewrites).await?);
    edit(site, "a", "2").await?;
    until("the Sync to tell of the webhook", Duration::from_secs(60), async || {
        let sync = site.sync().await?;
        let drift = sync["status"]["drift"].as_array().cloned().unwrap_or_default();
        let is_told = drift.iter().any(|drift| drift["message"].as_str().is_some_and(|message| message.contains("webhook")));
        if is_told { Ok(()) } else { Err(Trouble::new(format!("{drift:#?}\n{}", site.agent().tail()))) }
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (asked, told) = (webhook.asked(), times_told(site, "a"));
    assert!(asked < 30 && told < 8, "written {asked} times, told {told} times:\n{}", site.agent().tail());
    world.until_status(&world.first, "failure").await?;
    // It ends by itself when the webhook does.
    webhook.behave(Manner::Allows);
    until("the object to be as Git says", Duration::from_secs(320), async || match site.get("v1", "ConfigMap", "a").await? {
        Some(object) if value(&object) == "1" => Ok(()),
        other => Err(Trouble::new(format!("{other:?}"))),
    })
    .await?;
    world.until_status(&world.first, "success").await.map(drop)
}

/// A kind in two versions: what is `spec.size` in v1, in which it is stored, is `spec.replicas` in v2.
fn definition(group: &str, client_config: &Value) -> Value {
    let version = |name: &str, field: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {field: {"type": "integer"}, "note": {"type": "string"}}}}}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("ships.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "ships", "singular": "ship", "kind": "Ship"},
            "versions": [version("v1", "size", true), version("v2", "replicas", false)],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client_config}},
        },
    })
}

#[tokio::test]
async fn a_kind_in_two_versions_is_healed_through_its_conversion_and_others_while_that_is_away() -> Result {
    let world = three(World::of(AGENT)).await?;
    let (site, group) = (world.site(), format!("{}.lab.example", world.site().namespace));
    let webhook = Webhook::start(&site.cluster, Manner::Allows).await?;
    site.cluster.apply_object(&definition(&group, &webhook.client_config(&site.cluster, "convert")?)).await?;
    let (v1, v2) = (format!("{group}/v1"), format!("{group}/v2"));
    let ship = format!("apiVersion: {v2}\nkind: Ship\nmetadata: {{name: ship}}\nspec: {{replicas: 3, note: \"1\"}}\n");
    world.repository.write("ship.yaml", &ship)?;
    let second = world.repository.push("A ship")?;
    let green = world.until_status(&second, "success").await;
    world.explained(green, &second).await?;
    // Stored in another version, so that every event is converted; that alone is no drift.
    assert_eq!(site.get(&v1, "Ship", "ship").await?.map(|ship| ship["spec"]["size"].clone()), Some(json!(3)));
    let resize =
        async |to: u32| site.cluster.patch(&v1, "Ship", &site.namespace, "ship", "shipwright", &json!({"spec": {"size": to}})).await;
    resize(5).await?;
    let healed = site.until((&v2, "Ship", "ship"), "to be healed", |ship| ship["spec"]["replicas"] == 3).await;
    world.explained(healed, &second).await?;
    let told = site.until_told("/ship", "healed").await?;
    assert_eq!((&told["fields"][0]["path"], &told["fields"][0]["is"]), (&json!("spec.replicas"), &json!("5")), "{told}");
    // Without the webhook nobody can read that kind in our version; what is of other kinds goes on.
    webhook.stop();
    edit(site, "a", "2").await?;
    site.until(A, "to be healed", |object| value(object) == "1").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    webhook.serve().await?;
    resize(7).await?;
    let healed = site.until((&v2, "Ship", "ship"), "to be healed", |ship| ship["spec"]["replicas"] == 3).await;
    world.explained(healed, &second).await?;
    world.until_status(&second, "success").await?;
    assert_eq!((times_told(site, "ship"), times_told(site, "b")), (2, 0), "{}", site.agent().log());
    Ok(())
}

/// Sends a signal to a process of our own, as `STOP`.
#[expect(clippy::disallowed_methods, reason = "a test stops what it has started")]
fn signal(name: &str, process: u32) -> Result {
    let done = std::process::Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status()?;
    if done.success() { Ok(()) } else { Err(Trouble::new(format!("kill -{name} {process}: {done}"))) }
}

/// Which of the agents holds the Lease of the Sync.
async fn leader(site: &Site) -> Result<usize> {
    let lease = site.get("coordination.k8s.io/v1", "Lease", "plimsoll-fleet").await?.unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let number = holder.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
    number.and_then(|number| number.checked_sub(1)).ok_or_else(|| Trouble::new(format!("nobody leads: `{holder}`")))
}

async fn until_another_leads(site: &Site, first: usize) -> Result {
    until("another one to lead", Duration::from_secs(40), async || match leader(site).await? {
        other if other != first => Ok(()),
        _ => Err(Trouble::new("the first still does")),
    })
    .await
}

async fn until_asked(webhook: &Webhook, times: usize) -> Result {
    until(&format!("{times} heals to be under way"), Duration::from_secs(20), async || match webhook.asked() {
        asked if asked < times => Err(Trouble::new(format!("{asked} are"))),
        _ => Ok(()),
    })
    .await
}

/// The value and the resourceVersion of each ConfigMap that is ours.
async fn versions(site: &Site) -> Result<Vec<(String, String)>> {
    let mut all = site.cluster.list("v1", "ConfigMap", &site.namespace).await?;
    all.retain(|object| object["metadata"]["labels"]["applyset.kubernetes.io/part-of"].is_string());
    Ok(all.iter().map(|object| (value(object).to_owned(), object["metadata"]["resourceVersion"].to_string())).collect())
}

#[tokio::test]
async fn a_leader_that_loses_its_lease_amid_a_heal_writes_nothing_after_its_successor_has() -> Result {
    const MANY: usize = 60;
    let files = |value: &str| (0..MANY).map(|n| config_map(&format!("m{n}"), value)).collect::<Vec<_>>().join("---\n");
    let options = ClusterOptions { audited: true, ..ClusterOptions::default() };
    let world = World::of(AGENT).cluster("fra-1", PROVIDER).cluster_options(options).agents(2).file("all.yaml", &files("1"));
    let world = world.start().await?;
    world.until_status(&world.first, "success").await?;
    let site = world.site();
    let first = leader(site).await?;
    let process = site.agents[first].pid().ok_or_else(|| Trouble::new("the leader does not run"))?;
    let webhook = moody(site, Manner::Hangs).await?;
    for n in 0..MANY {
        edit(site, &format!("m{n}"), "x").await?;
    }
    // The first change is healed alone, then all others together.
    until_asked(&webhook, 1).await?;
    webhook.let_one_through();
    until_asked(&webhook, 8).await?;
    // Some heals are at the server, the others are planned; what it has planned it does when it wakes, if it may.
    signal("STOP", process)?;
    webhook.behave(Manner::Allows);
    world.repository.write("all.yaml", files("2"))?;
    let second = world.repository.push("Another value")?;
    until_another_leads(site, first).await?;
    let green = world.until_status(&second, "success").await;
    world.explained(green, &second).await?;
    let before = versions(site).await?;
    assert!(before.len() == MANY && before.iter().all(|(value, _)| value == "2"), "{before:?}");
    signal("CONT", process)?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(versions(site).await?, before, "whoever has slept through its time writes nothing");
    assert_ne!(leader(site).await?, first);
    assert!(site.agents[first].running(), "{}", site.agents[first].tail());
    // It stands by from now on, and takes over when it is its turn.
    let other = usize::from(first == 0);
    site.agents[other].stop().await?;
    edit(site, "m0", "x").await?;
    let healed = site.until(("v1", "ConfigMap", "m0"), "to be healed", |object| value(object) == "2").await;
    world.explained(healed, &second).await?;
    assert_eq!(leader(site).await?, first);
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_begins_anew_and_does_not_know_our_rights_yet_refuses_nothing_for_good() -> Result {
    let world = three(World::of(AGENT).cluster("fra-1", PROVIDER)).await?;
    let site = world.site();
    // Twice each: more often would be a fight.
    for name in ["a", "b", "c"] {
        edit(site, name, "2").await?;
        site.cluster.kill();
        let cluster = site.cluster.clone();
        tokio::task::spawn_blocking(move || cluster.restart()).await??;
        edit(site, name, "3").await?;
        let healed = site.until(("v1", "ConfigMap", name), "to be healed", |object| value(object) == "1").await;
        world.explained(healed, &world.first).await?;
    }
    let log = site.agent().log();
    assert!(!log.contains("may not"), "what it says before it knows is not believed:\n{log}");
    world.until_status(&world.first, "success").await.map(drop)
}
