//! Several writers change 50 objects at random while the API server restarts and etcd forgets its past: in the end the cluster is as Git says,
//! every change of a value of ours was told, and nothing was told that was not so.
//!
//! `MODEL_SEEDS=7,8,9 MODEL_SECONDS=120` tries other seeds, and for longer.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{ClusterOptions, Result, Site, Trouble, World, until};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::sync::AGENT;

const SECONDS: u64 = 20;
/// Between two changes: what several people and controllers do on a bad day, a hundred times faster.
const PAUSE: Duration = Duration::from_millis(80);

/// Numbers that are the same for the same seed (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A change that somebody made.
#[derive(Clone, Debug)]
struct Edit {
    at: jiff::Timestamp,
    object: String,
    /// What the log must say of it; empty where nothing of ours has changed.
    words: String,
    /// The field, so that a later change of the same one may stand for this.
    field: String,
    /// Whether it is known to have been made: a server that went away in the middle does not say.
    certain: bool,
}

fn files() -> Vec<(String, String)> {
    let object = |kind: &str, n: usize| match kind {
        "ConfigMap" => {
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}, labels: {{tier: web}}}}\ndata: {{a: \"1\", b: \"2\"}}\n")
        }
        "Secret" => format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s{n}}}\nstringData: {{k: v}}\n"),
        "Service" => format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: v{n}}}\nspec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n"
        ),
        _ => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d{n}}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: d{n}}}}}\n  \
             template:\n    metadata: {{labels: {{app: d{n}}}}}\n    spec: {{containers: [{{name: c, image: \"i:1\"}}]}}\n"
        ),
    };
    let kinds = [("ConfigMap", 20), ("Secret", 5), ("Service", 10), ("Deployment", 15)];
    let all = kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |n| (kind, n)));
    all.map(|(kind, n)| (format!("apps/app-{}/{}-{n}.yaml", n % 5, kind.to_lowercase()), object(kind, n))).collect()
}

/// A change that is to be made.
struct Change {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    /// What is sent; nothing to delete the object.
    patch: Value,
    field: &'static str,
    /// What is to be told of it; empty where nothing of ours changes.
    words: String,
}

/// The next change; `x` is a value that no other change has.
fn next(random: &mut Random, x: &str) -> Change {
    match random.below(12) {
        0..=3 => of_config_map(random, x),
        4..=5 => of_secret(random, x),
        6..=8 => of_service(random, x),
        _ => of_deployment(random, x),
    }
}

fn of_config_map(random: &mut Random, x: &str) -> Change {
    let name = format!("c{}", random.below(20));
    let (patch, field, words) = match random.below(5) {
        0 => (json!({"data": {"a": x}}), "data.a", format!("data.a 1 → {x}")),
        1 => (json!({"data": {"b": null}}), "data.b", "data.b 2 → removed".to_owned()),
        2 => (json!({"data": {"foreign": x}}), "", String::new()),
        3 => (json!({"metadata": {"labels": {"tier": x}}}), "metadata.labels.tier", format!("metadata.labels.tier web → {x}")),
        _ => (Value::Null, "deleted", "deleted".to_owned()),
    };
    Change { api_version: "v1", kind: "ConfigMap", name, patch, field, words }
}

fn of_secret(random: &mut Random, x: &str) -> Change {
    let (name, patch, words) = (format!("s{}", random.below(5)), json!({"stringData": {"k": x}}), "data.k **** → ****".to_owned());
    Change { api_version: "v1", kind: "Secret", name, patch, field: "data.k", words }
}

fn of_service(random: &mut Random, x: &str) -> Change {
    let name = format!("v{}", random.below(10));
    let (patch, field, words) = match random.below(2) {
        0 => {
            let patch = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": x}]}});
            (patch, "targetPort", format!("spec.ports[port=80,protocol=TCP].targetPort 8080 → {x}"))
        }
        _ => (json!({"spec": {"selector": {"app": x}}}), "spec.selector.app", format!("spec.selector.app web → {x}")),
    };
    Change { api_version: "v1", kind: "Service", name, patch, field, words }
}

fn of_deployment(random: &mut Random, x: &str) -> Change {
    let name = format!("d{}", random.below(15));
    let (patch, field, words) = match random.below(3) {
        0 => {
            let replicas = 2 + random.below(4);
            (json!({"spec": {"replicas": replicas}}), "spec.replicas", format!("spec.replicas 1 → {replicas}"))
        }
        1 => (json!({"metadata": {"annotations": {"note": x}}}), "", String::new()),
        _ => {
            let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": x}]}}}});
            (patch, "image", format!("spec.template.spec.containers[name=c].image i:1 → {x}"))
        }
    };
    Change { api_version: "apps/v1", kind: "Deployment", name, patch, field, words }
}

/// Changes objects until the time is over; notes what was changed.
async fn meddle(site: &Site, seed: u64, seconds: u64) -> Result<Vec<Edit>> {
    let (mut random, mut edits) = (Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), Vec::new());
    let (begun, mut trouble) = (tokio::time::Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        // A third and two thirds through, the API server goes away for a moment.
        if begun.elapsed() > Duration::from_secs(seconds * (trouble + 1) / 3) && trouble < 2 {
            trouble += 1;
            site.cluster.kill();
            site.cluster.restart()?;
        }
        let Change { api_version, kind, name, patch, field, words } = next(&mut random, &format!("x{}", edits.len()));
        let manager = format!("writer-{}", random.below(3));
        let edited = edit(site, (api_version, kind, &name), &manager, &patch).await;
        let certain = edited.is_ok();
        // An object that is just gone can't be changed; whoever writes it finds that out.
        let refused =
            edited.err().is_some_and(|trouble| trouble.to_string().contains("not found") || trouble.to_string().contains("NotFound"));
        if !refused {
            let object = format!("{kind} {}/{name} ", site.namespace);
            edits.push(Edit { at: jiff::Timestamp::now(), object, words, field: field.to_owned(), certain });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(edits)
}

async fn edit(site: &Site, (api_version, kind, name): (&str, &str, &str), manager: &str, patch: &Value) -> Result {
    if patch.is_null() {
        return site.cluster.delete(api_version, kind, &site.namespace, name).await;
    }
    let api = site.cluster.api(api_version, kind, &site.namespace).await?;
    let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let patched = tokio::time::timeout(Duration::from_secs(5), api.patch(name, &parameters, &Patch::Strategic(patch))).await;
    patched.map_err(|_| Trouble::new("no answer"))??;
    Ok(())
}

/// The lines of the log that tell of a drift, with their times.
fn told(log: &str) -> Vec<(jiff::Timestamp, String)> {
    let line = |line: &str| Some((line.split(' ').next()?.parse().ok()?, line.split_once("Drift: ")?.1.to_owned()));
    log.lines().filter_map(line).collect()
}

/// What was changed and not told, and what was told and not changed.
fn faults(edits: &[Edit], told: &[(jiff::Timestamp, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, edit) in edits.iter().enumerate().filter(|(_, edit)| edit.certain && !edit.words.is_empty()) {
        let later = told.iter().filter(|(at, line)| *at >= edit.at - jiff::SignedDuration::from_secs(6) && line.starts_with(&edit.object));
        if later.clone().any(|(_, line)| line.contains(&edit.words)) {
            continue;
        }
        // Before anybody looked, the same field was changed again, or the object deleted.
        let next = later.filter(|(at, _)| *at >= edit.at).map(|(at, _)| *at).min();
        let again = |other: &&Edit| other.object == edit.object && (other.field == edit.field || other.field == "deleted");
        let superseded = edits[place + 1..].iter().filter(again).any(|other| next.is_none_or(|next| other.at <= next));
        if !superseded {
            faults.push(format!("not told: {} {}{} (certain: {})", edit.at, edit.object, edit.words, edit.certain));
        }
    }
    for (at, line) in told {
        let known = |edit: &Edit| line.starts_with(&edit.object) && !edit.words.is_empty() && line.contains(&edit.words);
        if !edits.iter().any(known) {
            faults.push(format!("told and not so: {at} {line}"));
        }
    }
    faults
}

/// The values of ours that are not as Git says.
async fn unhealed(site: &Site) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let expected: BTreeMap<&str, Vec<(&str, Value)>> = BTreeMap::from([
        ("c", vec![("/data/a", json!("1")), ("/data/b", json!("2")), ("/metadata/labels/tier", json!("web"))]),
        ("s", vec![("/data/k", json!("dg=="))]),
        ("v", vec![("/spec/selector", json!({"app": "web"})), ("/spec/ports/0/targetPort", json!(8080))]),
        ("d", vec![("/spec/replicas", json!(1)), ("/spec/template/spec/containers/0/image", json!("i:1"))]),
    ]);
    for (api_version, kind, letter, count) in
        [("v1", "ConfigMap", "c", 20), ("v1", "Secret", "s", 5), ("v1", "Service", "v", 10), ("apps/v1", "Deployment", "d", 15)]
    {
        for n in 0..count {
            let name = format!("{letter}{n}");
            let live = site.get(api_version, kind, &name).await?.unwrap_or_default();
            let differs = |(pointer, value): &&(&str, Value)| live.pointer(pointer) != Some(value);
            wrong.extend(expected[letter].iter().filter(differs).map(|(pointer, _)| format!("{kind} {name} {pointer}")));
        }
    }
    Ok(wrong)
}

async fn try_seed(seed: u64, seconds: u64) -> Result {
    let fleet = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n- path: apps/*\n";
    // History is forgotten after a moment, so that whoever was away for longer must list anew.
    let options = ClusterOptions { apiserver_args: vec!["--etcd-compaction-interval=2s".to_owned()], ..ClusterOptions::default() };
    let mut world = World::of(AGENT).cluster("fra-1", "aws:///eu-central-1a/i-1").cluster_options(options).file("plimsoll.yaml", fleet);
    for (path, text) in files() {
        world = world.file(&path, &text);
    }
    let world = world.start().await?;
    let site = world.site();
    // Not until all are healthy: no Pod of these runs in the agent's namespace.
    until("all to be applied", Duration::from_secs(30), async || {
        let wrong = unhealed(site).await?;
        if wrong.is_empty() { Ok(()) } else { Err(Trouble::new(wrong.join("\n"))) }
    })
    .await?;
    let edits = meddle(site, seed, seconds).await?;
    // A fight that has come to a long rest is healed after it: five minutes at most.
    until("the cluster to be as Git says", Duration::from_secs(320), async || {
        let wrong = unhealed(site).await?;
        if wrong.is_empty() { Ok(()) } else { Err(Trouble::new(wrong.join("\n"))) }
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = site.agent().log();
    let faults = faults(&edits, &told(&log));
    if faults.is_empty() {
        return Ok(());
    }
    Err(Trouble::new(format!("seed {seed}, {} changes:\n{}\n{log}", edits.len(), faults.join("\n"))))
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test has no other arguments")]
async fn whatever_writers_do_is_told_and_put_right_across_restarts_of_the_api_server() -> Result {
    let seeds = std::env::var("MODEL_SEEDS").unwrap_or_else(|_| "1,2".to_owned());
    let seconds = std::env::var("MODEL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    for seed in seeds.split(',').filter_map(|seed| seed.trim().parse().ok()) {
        try_seed(seed, seconds).await?;
    }
    Ok(())
}
