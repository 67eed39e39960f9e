//! Replacements, vars, configurations, and steps that are described in files of their own.
//! It must not know what comes of them.

use serde_json::{Map, Value, json};

use super::layers::{Known, Layer, Writer, name_of, pairs};
use super::objects::NAMESPACES;
use super::patches::{exact_target, field_path, operations, strategic_patch, target};
use super::random::Random;
use super::write::document;

/// Entries of `replacements`.
pub(crate) fn replacements(writer: &mut Writer, layer: &mut Layer) {
    for _ in 0..writer.random.between(1, 2) {
        let replacement = replacement(writer, layer);
        if writer.random.chance(80) {
            layer.add("replacements", replacement);
        } else {
            let in_list = writer.random.chance(50);
            let content = document(&mut writer.random, &if in_list { json!([replacement]) } else { replacement });
            let file = writer.file(layer, "x", content);
            layer.add("replacements", json!({"path": file}));
        }
    }
}

fn replacement(writer: &mut Writer, layer: &Layer) -> Value {
    let from = writer.known(layer);
    let mut source = json!({"kind": from.kind(), "name": from.some_name(&mut writer.random)});
    if writer.random.chance(70) {
        source["fieldPath"] = json!(deep_path(&mut writer.random, &from));
    }
    if writer.random.chance(15) {
        let index = if writer.random.chance(85) { 0 } else { writer.random.below(3) };
        source["options"] = json!({"delimiter": writer.random.pick(&["-", ".", ":"]), "index": index});
    }
    let targets: Vec<Value> = (0..writer.random.between(1, 2)).map(|_| replacement_target(writer, layer)).collect();
    if writer.random.chance(6) {
        return json!({"sourceValue": "given", "targets": targets});
    }
    json!({"source": source, "targets": targets})
}

/// Most values are found at the leaves, and little makes sense where something else stands above them.
fn deep_path(random: &mut Random, from: &Known) -> String {
    let mut path = field_path(random, &from.object);
    for _ in 0..3 {
        let other = field_path(random, &from.object);
        if other.len() > path.len() {
            path = other;
        }
    }
    // Without annotations kustomize forgets what it knows of an object.
    if path == "metadata.annotations" || path == "metadata.labels" {
        path.push_str(".app");
    }
    path
}

fn replacement_target(writer: &mut Writer, layer: &Layer) -> Value {
    let to = writer.known(layer);
    let mut paths: Vec<String> = (0..writer.random.between(1, 2)).map(|_| deep_path(&mut writer.random, &to)).collect();
    let create = writer.random.chance(60);
    if create && writer.random.chance(60) {
        let extra =
            ["metadata.labels.new", "spec.a.b.c", "spec.list.5.x", "spec.list.[name=z].v", "metadata.annotations.[x.y/z]", "data.k"];
        paths[0] = (*writer.random.pick(&extra)).to_owned();
    }
    if writer.random.chance(if matches!(to.kind(), "Thing" | "ConfigMap") { 30 } else { 0 }) {
        let inside = ["a", "a.b", "b.c", "b.c.0", "n", "new", "b.c.[name=n].value", "c"];
        let text = if to.kind() == "Thing" { writer.random.pick(&["spec.text", "spec.json"]) } else { "data.app\\.yaml" };
        paths[0] = format!("{text}.{}", writer.random.pick(&inside));
    }
    if writer.random.chance(6) {
        paths.clear();
    }
    let select = if writer.random.chance(70) { exact_target(&mut writer.random, &to) } else { target(&mut writer.random, &to) };
    let mut entry = json!({"select": select, "fieldPaths": paths});
    if create || writer.random.chance(25) {
        let mut options = json!({});
        if create {
            options["create"] = json!(true);
        }
        if writer.random.chance(30) {
            options["delimiter"] = json!(writer.random.pick(&["-", ".", ":", "/"]));
            options["index"] = json!(writer.random.pick(&[&-1, &0, &1, &5]));
        }
        entry["options"] = options;
    }
    if writer.random.chance(12) {
        let not = writer.known(layer);
        entry["reject"] = json!([target(&mut writer.random, &not)]);
    }
    entry
}

/// Entries of `vars`, and a file that lets them stand anywhere.
pub(crate) fn vars(writer: &mut Writer, layer: &mut Layer) {
    for name in ["VAR", "IMAGE"] {
        if writer.random.chance(60) {
            let from = writer.known(layer);
            let name_of_source = if writer.random.chance(80) { from.original().to_owned() } else { from.name.clone() };
            let mut var = json!({"name": name, "objref": {"apiVersion": from.version(), "kind": from.kind(), "name": name_of_source}});
            if writer.random.chance(50) {
                var["fieldref"] = json!({"fieldPath": deep_path(&mut writer.random, &from)});
            }
            layer.add("vars", var);
        }
    }
    if writer.random.chance(30) {
        let specs = json!({"varReference": [field_spec(&mut writer.random), field_spec(&mut writer.random)]});
        let content = document(&mut writer.random, &specs);
        let file = writer.file(layer, "v", content);
        layer.add("configurations", json!(file));
    }
}

/// A field specification.
pub(crate) fn field_spec(random: &mut Random) -> Value {
    let paths = [
        "metadata/labels",
        "metadata/annotations",
        "spec/map",
        "spec/list/value",
        "spec/list[]/value",
        "spec/ref/name",
        "spec/template/metadata/labels",
        "spec/containers/image",
        "spec/new/field",
        "data/k",
        "spec/map/a.b",
        "spec/text",
    ];
    let mut spec = json!({"path": random.pick(&paths)});
    if random.chance(60) {
        spec["kind"] = json!(random.pick(&["Thing", "Deployment", "ConfigMap", "Service"]));
    }
    if random.chance(20) {
        spec["group"] = json!(random.pick(&["example.com", "apps"]));
    }
    if random.chance(30) {
        spec["create"] = json!(random.chance(70));
    }
    spec
}

/// A file of `configurations`.
pub(crate) fn configurations(writer: &mut Writer, layer: &mut Layer) {
    let mut additions = Map::new();
    let groups =
        ["namespace", "namePrefix", "nameSuffix", "commonLabels", "labels", "templateLabels", "commonAnnotations", "images", "replicas"];
    for group in groups {
        if writer.random.chance(18) {
            additions.insert(group.to_owned(), json!([field_spec(&mut writer.random)]));
        }
    }
    if writer.random.chance(50) {
        let mut references = Vec::new();
        for _ in 0..writer.random.between(1, 2) {
            let kind = writer.random.pick(&["ConfigMap", "Secret", "Thing", "Deployment", "Service"]);
            let mut reference = json!({"kind": kind, "fieldSpecs": [field_spec(&mut writer.random)]});
            if writer.random.chance(20) {
                reference["version"] = json!("v1");
            }
            references.push(reference);
        }
        additions.insert("nameReference".to_owned(), json!(references));
    }
    if writer.random.chance(15) {
        additions.insert("varReference".to_owned(), json!([field_spec(&mut writer.random)]));
    }
    let content = document(&mut writer.random, &Value::Object(additions));
    let file = writer.file(layer, "k", content);
    layer.add("configurations", json!(file));
}

fn step(writer: &mut Writer, layer: &Layer) -> Value {
    let known = writer.known(layer);
    let field_specs = json!([field_spec(&mut writer.random), {"path": "metadata/labels", "create": true}]);
    let patch = strategic_patch(writer, &known);
    let patch = document(&mut writer.random, &patch);
    let replacement = replacement(writer, layer);
    let operations = operations(writer, &known);
    let operations = document(&mut writer.random, &operations);
    let random = &mut writer.random;
    let (kind, mut step) = match random.below(15) {
        0 => ("NamespaceTransformer", json!({"fieldSpecs": [{"path": "metadata/namespace", "create": true}]})),
        1 => ("PrefixTransformer", json!({"prefix": "t-", "fieldSpecs": [{"path": "metadata/name"}]})),
        2 => ("SuffixTransformer", json!({"suffix": "-t", "fieldSpecs": [{"path": "metadata/name"}]})),
        3 => ("LabelTransformer", json!({"labels": pairs(random), "fieldSpecs": field_specs})),
        4 => ("AnnotationsTransformer", json!({"annotations": pairs(random), "fieldSpecs": field_specs})),
        5 => ("ImageTagTransformer", json!({"imageTag": {"name": "nginx", "newTag": "t1"}, "fieldSpecs": [{"path": "spec/list[]/value"}]})),
        6 => (
            "ReplicaCountTransformer",
            json!({"replica": {"name": known.some_name(random), "count": 7}, "fieldSpecs": [{"path": "spec/replicas", "create": true}]}),
        ),
        7 => ("PatchTransformer", json!({"patch": patch, "target": target(random, &known)})),
        8 => ("PatchStrategicMergeTransformer", json!({"patches": patch})),
        9 => ("PatchTransformer", json!({"patch": patch})),
        10 => ("HashTransformer", json!({})),
        11 => ("ReplacementTransformer", json!({"replacements": [replacement]})),
        12 => ("PatchJson6902Transformer", json!({"target": exact_target(random, &known), "jsonOp": operations})),
        13 => {
            let path = random.pick(&["spec/new/path", "metadata/labels/new", "metadata/namespace", "data/k"]);
            let target = json!({"selector": target(random, &known), "fieldPath": path, "filePathPosition": random.below(3)});
            ("ValueAddTransformer", json!({"value": "given", "targets": [target]}))
        }
        _ => ("PrefixSuffixTransformer", json!({"prefix": "q-", "suffix": "-q", "fieldSpecs": [{"path": "metadata/name"}]})),
    };
    step["apiVersion"] = json!("builtin");
    step["kind"] = json!(kind);
    step["metadata"] = json!({"name": "step"});
    if kind == "NamespaceTransformer" {
        step["metadata"]["namespace"] = json!(random.pick(&NAMESPACES));
        for (field, value) in [("unsetOnly", json!(true)), ("setRoleBindingSubjects", json!("allServiceAccounts"))] {
            if random.chance(30) {
                step[field] = value;
            }
        }
    }
    step
}

fn named(writer: &mut Writer, layer: &mut Layer, field: &str, step: &Value) {
    let content = document(&mut writer.random, step);
    let entry = match writer.random.below(10) {
        0..5 => content,
        5..9 => writer.file(layer, "t", content),
        _ => writer.directory_of(content),
    };
    layer.add(field, json!(entry));
}

/// Entries of `transformers`.
pub(crate) fn transformers(writer: &mut Writer, layer: &mut Layer) {
    let step = step(writer, layer);
    named(writer, layer, "transformers", &step);
}

/// Entries of `validators`.
pub(crate) fn validators(writer: &mut Writer, layer: &mut Layer) {
    let labels = pairs(&mut writer.random);
    let step = json!({
        "apiVersion": "builtin",
        "kind": "LabelTransformer",
        "metadata": {"name": "step"},
        "labels": labels,
        "fieldSpecs": [{"path": "metadata/labels"}],
    });
    named(writer, layer, "validators", &step);
}

/// Entries of `generators`.
pub(crate) fn generators(writer: &mut Writer, layer: &mut Layer) {
    let kind = writer.random.pick(&["ConfigMap", "Secret"]);
    let mut step = writer.generated(layer, kind);
    let name = step["name"].take();
    if let Some(map) = step.as_object_mut() {
        map.remove("name");
    }
    step["apiVersion"] = json!("builtin");
    step["kind"] = json!(format!("{kind}Generator"));
    step["metadata"] = json!({"name": name});
    layer.known.push(Known { name: name_of(&step), object: json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}) });
    named(writer, layer, "generators", &step);
}

/// A file of `crds`: definitions that say where names stand.
pub(crate) fn crds(writer: &mut Writer, layer: &mut Layer) {
    let reference = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "x-kubernetes-object-ref-api-version": "v1",
        "x-kubernetes-object-ref-kind": "ConfigMap",
    });
    let properties = match writer.random.below(4) {
        0 => json!({"ref": {"$ref": "example.com/v1.ThingRef"}, "map": {"x-kubernetes-annotation": ""}}),
        1 => json!({"ref": {"x-kubernetes-object-ref-kind": "Secret", "x-kubernetes-object-ref-api-version": "v1"}}),
        2 => json!({"map": {"x-kubernetes-label-selector": ""}, "ref": reference, "text": {"x-kubernetes-identity": ""}}),
        _ => json!({"ref": reference}),
    };
    let definitions = json!({
        "example.com/v1.Thing": {"Schema": {
            "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "spec": {"$ref": "example.com/v1.ThingSpec"}},
        }},
        "example.com/v1.ThingSpec": {"Schema": {"properties": properties}},
        "example.com/v1.ThingRef": {"Schema": {"properties": {"name": reference}}},
    });
    let content = if writer.random.chance(30) { document(&mut writer.random, &definitions) } else { definitions.to_string() };
    let file = writer.file(layer, "crd", content);
    layer.add("crds", json!(file));
}

/// A schema of one's own.
pub(crate) fn openapi(writer: &mut Writer, layer: &mut Layer) {
    let item = json!({"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}});
    let list = json!({"type": "array", "items": item, "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"});
    let schema = json!({"definitions": {"v1.Thing": {
        "properties": {"spec": {"type": "object", "properties": {"list": list}}},
        "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Thing", "version": "v1"}],
    }}});
    let file = writer.file(layer, "schema", schema.to_string());
    layer.put("openapi", json!({"path": file}));
}
