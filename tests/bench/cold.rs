//! A first sync of 1,000 objects, and what the agents weigh after it: 100 apps of ten objects, as an ordinary web app has them.

use std::time::{Duration, Instant};

use harness::{Result, Site, World};

use crate::AGENT;
use crate::arrival::Arrivals;
use crate::figure::{Figure, load};

const APPS: usize = 100;
const EACH: usize = 10;
const LIMIT: Duration = Duration::from_secs(180);
pub(crate) const KINDS: [(&str, &str); 7] = [
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "Ingress"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
];

pub(crate) async fn measure() -> Result<Vec<Figure>> {
    let mut world = World::of(AGENT).cluster("fra-1", "aws:///eu-central-1a/i-1").agents(2).spec(serde_json::json!({"suspend": true}));
    for (path, text) in files(APPS) {
        world = world.file(&path, &text);
    }
    let world = world.start().await?;
    let site = world.site();
    let watch = Arrivals::watch(&site.cluster, "bench", &KINDS).await?;
    let before = load();
    let start = Instant::now();
    site.patch_sync(serde_json::json!({"suspend": false})).await?;
    let arrived = watch.until(APPS * EACH, LIMIT, |object| object["metadata"]["labels"]["bench"] == "cold").await;
    let arrived = world.explained(arrived, &world.first).await?.duration_since(start);
    // The lab has no controller for autoscalers, so the commit stays pending. Memory as it stays, not as it peaks in the sync; the peak is told too.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let rate = (APPS * EACH) as f64 / arrived.as_secs_f64();
    let mut figures = vec![Figure::at_least("cold sync of 1,000 objects in 100 apps", rate, "objects/s", 300.0).noted(format!(
        "{:.2} s from the word to the last object, fetch and render included; load before {before}",
        arrived.as_secs_f64()
    ))];
    figures.extend(memory(site).await);
    Ok(figures)
}

/// Which of the agents leads is told by their metrics.
async fn memory(site: &Site) -> Vec<Figure> {
    let mut figures = Vec::new();
    for agent in &site.agents {
        let leads = agent.metric("plimsoll_leader", "").await.unwrap_or_default() > 0.0;
        let (what, bar) = if leads { ("agent RSS, leader with 1,000 objects", 24.0) } else { ("agent RSS, standby", 12.0) };
        let mib = |bytes: Option<u64>| bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1024.0 / 1024.0);
        figures
            .push(Figure::at_most(what, mib(agent.resident()), "MiB", bar).noted(format!("{:.1} at most", mib(agent.resident_at_most()))));
    }
    figures
}

/// A base with ten objects, and overlays that rename, patch, pin an image and generate, so that rendering is work.
pub(crate) fn files(apps: usize) -> Vec<(String, String)> {
    let mut files = vec![
        ("plimsoll.yaml".to_owned(), FLEET.to_owned()),
        ("namespace/namespace.yaml".to_owned(), "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n".to_owned()),
        ("base/kustomization.yaml".to_owned(), BASE.to_owned()),
        ("base/app.yaml".to_owned(), format!("{APP}{}", config_maps())),
    ];
    files.extend((0..apps).map(|n| (format!("apps/app-{n:03}/kustomization.yaml"), OVERLAY.replace("NUMBER", &format!("{n:03}")))));
    files
}

fn config_maps() -> String {
    (0..3)
        .map(|n| {
            format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings-{n}}}\ndata: {{text: \"{}\"}}\n", "x".repeat(1000))
        })
        .collect()
}

pub(crate) const FLEET: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\napps:\n  - name: namespace\n    path: namespace\n  - path: apps/*\n    dependsOn: [namespace]\n";
const BASE: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [app.yaml]\n";
pub(crate) const OVERLAY: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: bench
namePrefix: app-NUMBER-
resources: [../../base]
labels:
  - pairs: {bench: cold}
images:
  - {name: web, newTag: v1.NUMBER}
configMapGenerator:
  - name: generated
    literals: [NUMBER=NUMBER]
patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {template: {metadata: {annotations: {number: \"NUMBER\"}}}}
";
const APP: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
        - name: web
          image: web
          envFrom: [{configMapRef: {name: generated}}, {secretRef: {name: credentials}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - host: web.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: not-a-secret}
";
