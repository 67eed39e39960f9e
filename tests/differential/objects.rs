//! Kubernetes objects of the kinds for which kustomize has rules of its own, and of some for which it has none.
//! It must not know kustomizations.

use serde_json::{Map, Value, json};

use super::random::Random;
use super::write::raw;

/// Few names, so that objects meet.
pub(crate) const NAMES: [&str; 6] = ["app", "web", "db", "cache", "default", "a.b"];
pub(crate) const NAMESPACES: [&str; 4] = ["prod", "dev", "default", "kube-system"];
const IMAGES: [&str; 8] = [
    "nginx",
    "nginx:1.25",
    "example.com/nginx:1.25",
    "example.com:5000/team/app",
    "redis@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "app:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "library/app:latest",
    "$(IMAGE)",
];
/// Scalars whose type hangs on how they are spelt.
const SCALARS: [&str; 45] = [
    "yes",
    "no",
    "on",
    "~",
    "null",
    "0644",
    "0o17",
    "0x1F",
    "1e3",
    "1.0",
    "1.10",
    "-0",
    "1_000",
    ".5",
    "12:30:45",
    "2001-01-01",
    "2001-01-01T10:00:00Z",
    "\"quoted\"",
    "'it''s'",
    "\"tab\\tnew\\nline\"",
    "\" lead\"",
    "'trail '",
    "a b",
    "a#b",
    "<a&b>",
    "\"x: y\"",
    "\"- x\"",
    "\"\"",
    "''",
    "=",
    "<<",
    "!!str 5",
    "!!int \"5\"",
    "é",
    "\"\\U0001F600\"",
    "12345678901234567890",
    "9007199254740993",
    "-9223372036854775808",
    "1e400",
    "true",
    "\"true\"",
    "\"1\"",
    "5",
    "+5",
    "\"a very long line of words that must be folded somewhere near the eightieth column, or not at all\"",
];

/// Texts that replacements can go into.
const STRUCTURED: [&str; 7] = [
    "a: 1\nb: {c: [x, y]}\n",
    "# first\na: \"1\" # behind\nb:\n  c:\n    - x\n    - name: n\n      value: 5\n",
    "{\"a\": {\"b\": \"c\"}, \"n\": 1}",
    "{\n  \"a\": {\"b\": [1, 2]},\n  \"n\": null\n}\n",
    "b: 'it''s'\na: |\n  text\n  more\nc: >-\n  folded\n  text\n",
    "a: yes\n---\nb: 2\n",
    "a=1\nb: [unclosed\n",
];

/// Data of ConfigMaps in all the ways in which text can be written.
pub(crate) const BY_HAND: [&str; 12] = [
    "data: &all\n  k: &one x\n  l: *one\nmore: {<<: *all, k: y}\n",
    "data:\n  <<: &base {k: x}\n  l: z\nmore: [*base, {<<: [*base, {m: 1}], k: 2}]\n",
    "data:\n  k: |+\n    one\n\n    two\n\n\n  l: last\n",
    "data:\n  k: >\n    folded\n    text\n\n      more\n    end\n  l: >-\n\n    x\n     y\n    z\n",
    "data:\n  k: \"a \\\n    b\\tc\\u00e9\"\n  l: 'it''s\n\n    more'\n",
    "data: # all\n  # before\n  k: x # behind\n\n  l: y\n# after\n",
    "data:\n  k: plain\n    over lines\n\n    and more\n  l: a  b\t c\n",
    "data:\n  ? k\n  : x\n  ? l\n  : - a\n    - [b, {c: d}]\n",
    "data: {k: x, l: [a, b, ], m: {n: , o}}\n",
    "data:\n  k: |2\n      indented\n    less\n  l: |-\n    no end\n",
    "data:\n  \"k\": !!str 5\n  'l': !!binary aGVsbG8=\n",
    "data:\n  k: \"\\x41\\u0042\\U0001F600 \\N\\_\\L\"\n  l: \"tab\\tcr\\rend \"\n",
];

/// A scalar of any type.
pub(crate) fn scalar(random: &mut Random) -> Value {
    match random.below(8) {
        0 => raw(random.pick(&SCALARS)),
        1 => json!(random.below(9000)),
        2 => json!(random.chance(50)),
        3 => json!("$(VAR)"),
        4 => json!(format!("{}-{}", random.pick(&NAMES), random.pick(&NAMES))),
        5 => json!("first line\nsecond line\n"),
        _ => json!(random.pick(&NAMES)),
    }
}

/// A string, however it is spelt.
pub(crate) fn text(random: &mut Random) -> Value {
    match random.below(6) {
        0 => json!("$(VAR)"),
        1 => json!("a=b,c"),
        2 => json!("5"),
        _ => json!(random.pick(&NAMES)),
    }
}

fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    map.insert(key.to_owned(), value);
}

/// A few entries.
pub(crate) fn entries(random: &mut Random, keys: &[&str], value: fn(&mut Random) -> Value) -> Value {
    let mut map = Map::new();
    for _ in 0..random.between(1, 3) {
        let key = random.pick(keys);
        put(&mut map, key, value(random));
    }
    Value::Object(map)
}

const KEYS: [&str; 5] = ["app", "tier", "app.kubernetes.io/name", "x", "team"];

pub(crate) fn labels(random: &mut Random) -> Value {
    entries(random, &KEYS, text)
}

fn metadata(random: &mut Random, is_namespaced: bool) -> Value {
    let mut map = Map::new();
    put(&mut map, "name", json!(random.pick(&NAMES)));
    if is_namespaced && random.chance(30) {
        put(&mut map, "namespace", json!(random.pick(&NAMESPACES)));
    }
    if random.chance(35) {
        let value = if random.chance(6) { Value::Null } else { labels(random) };
        put(&mut map, "labels", value);
    }
    if random.chance(30) {
        let value = if random.chance(6) { Value::Null } else { entries(random, &KEYS, scalar) };
        put(&mut map, "annotations", value);
    }
    if random.chance(2) {
        let value = random.pick(&["true", "false"]);
        put(&mut map, "annotations", json!({"config.kubernetes.io/local-config": value}));
    }
    if random.chance(4) {
        put(&mut map, "creationTimestamp", Value::Null);
    }
    if random.chance(5) {
        put(&mut map, "finalizers", json!(["a/b", "c/d"]));
    }
    Value::Object(map)
}

fn env(random: &mut Random) -> Value {
    let name = random.pick(&["A", "B", "C", "VAR"]);
    match random.below(4) {
        0 => json!({"name": name, "valueFrom": {"configMapKeyRef": {"name": random.pick(&NAMES), "key": "k"}}}),
        1 => json!({"name": name, "valueFrom": {"secretKeyRef": {"name": random.pick(&NAMES), "key": "k", "optional": true}}}),
        _ => json!({"name": name, "value": text(random)}),
    }
}

fn port(random: &mut Random) -> Value {
    let mut map = Map::new();
    put(&mut map, "containerPort", json!(random.pick(&[&80, &443, &8080])));
    if random.chance(40) {
        put(&mut map, "name", json!(random.pick(&["http", "https"])));
    }
    if random.chance(50) {
        put(&mut map, "protocol", json!(random.pick(&["TCP", "UDP"])));
    }
    Value::Object(map)
}

fn several(random: &mut Random, most: usize, item: fn(&mut Random) -> Value) -> Value {
    Value::Array((0..random.between(1, most)).map(|_| item(random)).collect())
}

pub(crate) fn container(random: &mut Random) -> Value {
    let mut map = Map::new();
    put(&mut map, "name", json!(random.pick(&["main", "side", "app"])));
    if random.chance(92) {
        put(&mut map, "image", json!(random.pick(&IMAGES)));
    }
    if random.chance(35) {
        put(&mut map, "env", several(random, 3, env));
    }
    if random.chance(15) {
        put(&mut map, "envFrom", json!([{"configMapRef": {"name": random.pick(&NAMES)}}, {"secretRef": {"name": random.pick(&NAMES)}}]));
    }
    if random.chance(30) {
        put(&mut map, "ports", several(random, 2, port));
    }
    if random.chance(20) {
        put(&mut map, "args", json!(["--x", "$(VAR)", text(random)]));
    }
    if random.chance(20) {
        put(&mut map, "volumeMounts", json!([{"name": "v", "mountPath": "/x"}, {"name": "w", "mountPath": random.pick(&["/y", "/z"])}]));
    }
    if random.chance(15) {
        put(&mut map, "resources", json!({"limits": {"cpu": raw("1"), "memory": "1Gi"}}));
    }
    Value::Object(map)
}

fn volume(random: &mut Random) -> Value {
    let (name, of) = (random.pick(&["v", "w"]), random.pick(&NAMES));
    match random.below(5) {
        0 => json!({"name": name, "configMap": {"name": of, "items": [{"key": "k", "path": "p"}]}}),
        1 => json!({"name": name, "secret": {"secretName": of, "defaultMode": raw("0644")}}),
        2 => json!({"name": name, "persistentVolumeClaim": {"claimName": of}}),
        3 => json!({"name": name, "projected": {"sources": [{"configMap": {"name": of}}, {"secret": {"name": of}}]}}),
        _ => json!({"name": name, "emptyDir": {}}),
    }
}

fn selector(random: &mut Random) -> Value {
    json!({"matchLabels": labels(random)})
}

fn pod_spec(random: &mut Random) -> Value {
    let mut map = Map::new();
    put(&mut map, "containers", several(random, 2, container));
    if random.chance(15) {
        put(&mut map, "initContainers", several(random, 2, container));
    }
    if random.chance(30) {
        put(&mut map, "volumes", several(random, 2, volume));
    }
    if random.chance(30) {
        put(&mut map, "serviceAccountName", json!(random.pick(&NAMES)));
    }
    if random.chance(12) {
        put(&mut map, "imagePullSecrets", json!([{"name": random.pick(&NAMES)}]));
    }
    if random.chance(10) {
        let spread = json!({"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1, "labelSelector": selector(random)});
        put(&mut map, "topologySpreadConstraints", json!([spread]));
    }
    if random.chance(10) {
        let term = json!([{"topologyKey": "host", "labelSelector": selector(random)}]);
        let kind = random.pick(&["podAffinity", "podAntiAffinity"]);
        put(&mut map, "affinity", json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": term}}));
    }
    if random.chance(8) {
        put(&mut map, "priorityClassName", json!(random.pick(&NAMES)));
    }
    if random.chance(8) {
        put(&mut map, "nodeSelector", entries(random, &KEYS, text));
    }
    Value::Object(map)
}

fn template(random: &mut Random) -> Value {
    let mut map = Map::new();
    if random.chance(70) {
        let mut meta = Map::new();
        put(&mut meta, "labels", labels(random));
        if random.chance(30) {
            put(&mut meta, "annotations", entries(random, &KEYS, text));
        }
        put(&mut map, "metadata", Value::Object(meta));
    }
    put(&mut map, "spec", pod_spec(random));
    Value::Object(map)
}

fn workload(random: &mut Random, kind: &str) -> Value {
    let mut spec = Map::new();
    put(&mut spec, "template", template(random));
    if random.chance(60) {
        put(&mut spec, "replicas", json!(random.below(5)));
    }
    if random.chance(60) {
        put(&mut spec, "selector", selector(random));
    }
    if kind == "StatefulSet" {
        put(&mut spec, "serviceName", json!(random.pick(&NAMES)));
        put(&mut spec, "volumeClaimTemplates", json!([{"metadata": {"name": "data"}, "spec": {"storageClassName": random.pick(&NAMES)}}]));
    }
    Value::Object(spec)
}

fn subject(random: &mut Random) -> Value {
    let mut map = Map::new();
    put(&mut map, "kind", json!(random.pick(&["ServiceAccount", "User", "Group"])));
    put(&mut map, "name", json!(random.pick(&NAMES)));
    if random.chance(60) {
        put(&mut map, "namespace", json!(random.pick(&NAMESPACES)));
    }
    Value::Object(map)
}

fn binding(random: &mut Random) -> Value {
    let role = random.pick(&["Role", "ClusterRole"]);
    json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": random.pick(&NAMES)},
        "subjects": several(random, 3, subject),
    })
}

fn rules(random: &mut Random) -> Value {
    json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [random.pick(&NAMES)], "verbs": ["get"]}]})
}

fn data(random: &mut Random) -> Value {
    let mut map = Map::new();
    let mut data = entries(random, &["k", "l", "conf.yaml"], scalar);
    if random.chance(20) {
        data["app.yaml"] = json!(random.pick(&STRUCTURED));
    }
    put(&mut map, "data", data);
    if random.chance(10) {
        put(&mut map, "immutable", json!(true));
    }
    Value::Object(map)
}

fn secret(random: &mut Random) -> Value {
    let field = random.pick(&["data", "stringData"]);
    json!({"type": "Opaque", field: entries(random, &["k", "l"], |random| json!(random.pick(&["dmFsdWU=", "eA=="])))})
}

fn service(random: &mut Random) -> Value {
    let mut spec = Map::new();
    put(
        &mut spec,
        "ports",
        json!([{"port": 80, "name": "http", "targetPort": scalar(random)}, {"port": random.pick(&[&80, &443]), "protocol": "UDP"}]),
    );
    if random.chance(70) {
        put(&mut spec, "selector", labels(random));
    }
    json!({"spec": spec})
}

fn ingress(random: &mut Random) -> Value {
    let backend = json!({"service": {"name": random.pick(&NAMES), "port": {"number": 80}}});
    json!({"spec": {
        "ingressClassName": random.pick(&NAMES),
        "tls": [{"hosts": ["a.example"], "secretName": random.pick(&NAMES)}],
        "rules": [{"host": "$(VAR).example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
    }})
}

fn custom(random: &mut Random) -> Value {
    json!({"spec": {
        "list": [{"name": "x", "value": scalar(random)}, {"name": "y", "value": text(random)}],
        "map": {"a.b": scalar(random), "c": {"d": scalar(random)}},
        "containers": [container(random)],
        "ref": {"name": random.pick(&NAMES)},
        "text": "a: 1\nb: {c: [x, y]}\n",
        "json": "{\"a\": {\"b\": \"c\"}, \"n\": 1}",
    }})
}

fn webhook(random: &mut Random) -> Value {
    let service = json!({"name": random.pick(&NAMES), "namespace": random.pick(&NAMESPACES), "path": "/"});
    json!({"webhooks": [{"name": "a.example.com", "clientConfig": {"service": service}}, {"name": "b.example.com", "sideEffects": "None"}]})
}

fn old_ingress(random: &mut Random) -> Value {
    let backend = json!({"serviceName": random.pick(&NAMES), "servicePort": scalar(random)});
    json!({"spec": {"backend": backend, "rules": [{"http": {"paths": [{"backend": {"serviceName": random.pick(&NAMES)}}]}}]}})
}

/// A definition as generators of them write it: deep, with long descriptions and schemas that look like objects.
fn definition(random: &mut Random) -> Value {
    let long = "Description of a field that is so long that it is folded: it goes on and on, with \"quotes\" and a colon.\nAnd a line.";
    let schema = json!({
        "type": "object",
        "description": long,
        "required": ["spec"],
        "properties": {
            "metadata": {"type": "object"},
            "spec": {"properties": {
                "containers": {"items": {"properties": {"image": {"default": "nginx", "type": "string"}}}},
                "port": {"x-kubernetes-int-or-string": true, "default": scalar(random)},
                "$ref": {"enum": ["y", "n", 1, scalar(random)]},
            }},
        },
    });
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let service = json!({"name": random.pick(&NAMES), "namespace": random.pick(&NAMESPACES)});
    json!({"spec": {
        "group": "example.com",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": random.pick(&["Namespaced", "Cluster"]),
        "versions": [version],
        "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": service}}},
    }})
}

type Body = fn(&mut Random) -> Value;

/// API version, kind, whether it is in a namespace, and what it has besides its metadata.
const KINDS: [(&str, &str, bool, Body); 43] = [
    ("apps/v1", "Deployment", true, |random| json!({"spec": workload(random, "Deployment")})),
    ("apps/v1", "Deployment", true, |random| json!({"spec": workload(random, "Deployment")})),
    ("apps/v1", "StatefulSet", true, |random| json!({"spec": workload(random, "StatefulSet")})),
    ("apps/v1", "DaemonSet", true, |random| json!({"spec": workload(random, "DaemonSet")})),
    ("apps/v1", "ReplicaSet", true, |random| json!({"spec": workload(random, "ReplicaSet")})),
    ("batch/v1", "Job", true, |random| json!({"spec": {"template": template(random)}})),
    (
        "batch/v1",
        "CronJob",
        true,
        |random| json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template(random)}}}}),
    ),
    ("v1", "Pod", true, |random| json!({"spec": pod_spec(random)})),
    ("v1", "Service", true, service),
    ("v1", "Service", true, service),
    ("v1", "ConfigMap", true, data),
    ("v1", "ConfigMap", true, data),
    ("v1", "Secret", true, secret),
    (
        "v1",
        "ServiceAccount",
        true,
        |random| json!({"secrets": [{"name": random.pick(&NAMES)}], "imagePullSecrets": [{"name": random.pick(&NAMES)}]}),
    ),
    ("v1", "Namespace", false, |_| json!({})),
    (
        "v1",
        "PersistentVolumeClaim",
        true,
        |random| json!({"spec": {"volumeName": random.pick(&NAMES), "storageClassName": random.pick(&NAMES)}}),
    ),
    (
        "v1",
        "PersistentVolume",
        false,
        |random| json!({"spec": {"storageClassName": random.pick(&NAMES), "claimRef": {"name": random.pick(&NAMES)}}}),
    ),
    ("storage.k8s.io/v1", "StorageClass", false, |_| json!({"provisioner": "x"})),
    ("rbac.authorization.k8s.io/v1", "Role", true, rules),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", false, rules),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", true, binding),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", false, binding),
    ("networking.k8s.io/v1", "Ingress", true, ingress),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        true,
        |random| json!({"spec": {"podSelector": selector(random), "ingress": [{"from": [{"podSelector": selector(random)}]}]}}),
    ),
    ("policy/v1", "PodDisruptionBudget", true, |random| json!({"spec": {"minAvailable": scalar(random), "selector": selector(random)}})),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        true,
        |random| json!({"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": random.pick(&NAMES)}}}),
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", false, webhook),
    (
        "apiregistration.k8s.io/v1",
        "APIService",
        false,
        |random| json!({"spec": {"service": {"name": random.pick(&NAMES), "namespace": random.pick(&NAMESPACES)}}}),
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        false,
        |random| json!({"spec": {"group": "example.com", "names": {"kind": "Thing"}, "x": container(random)}}),
    ),
    ("scheduling.k8s.io/v1", "PriorityClass", false, |_| json!({"value": 1000})),
    (
        "v1",
        "ReplicationController",
        true,
        |random| json!({"spec": {"selector": labels(random), "replicas": 1, "template": template(random)}}),
    ),
    ("v1", "PodTemplate", true, |random| json!({"template": template(random)})),
    ("networking.k8s.io/v1beta1", "Ingress", true, old_ingress),
    ("networking.k8s.io/v1", "IngressClass", false, |_| json!({"spec": {"controller": "x"}})),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", false, webhook),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", false, |_| json!({"spec": {"failurePolicy": "Fail"}})),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        false,
        |random| json!({"spec": {"policyName": random.pick(&NAMES)}}),
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", false, definition),
    ("batch/v1", "Job", true, |random| json!({"spec": {"selector": selector(random), "template": template(random)}})),
    ("v1", "Endpoints", true, |_| json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})),
    ("v1", "Node", false, |random| json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"], "taints": [{"key": random.pick(&NAMES)}]}})),
    ("example.com/v1", "Thing", true, custom),
    ("example.com/v1alpha1", "Thing", true, custom),
];

/// An object.
pub(crate) fn object(random: &mut Random) -> Value {
    let (version, kind, is_namespaced, body) = KINDS[random.below(KINDS.len())];
    let mut object = body(random);
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    let has_namespace = is_namespaced || random.chance(3);
    object["metadata"] = metadata(random, has_namespace);
    object
}
