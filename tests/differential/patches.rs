//! Patches that are made of the objects that they change, so that most of them meet something.
//! It must not know what comes of them.

use serde_json::{Map, Value, json};

use super::layers::{Known, Layer, Writer};
use super::objects::{container, scalar};
use super::random::Random;
use super::write::{document, flow};

/// Entries of `patches`.
pub(crate) fn patches(writer: &mut Writer, layer: &mut Layer) {
    for _ in 0..writer.random.between(1, 2) {
        let known = writer.known(layer);
        let is_strategic = writer.random.chance(60);
        let patch = if is_strategic { strategic_patch(writer, &known) } else { operations(writer, &known) };
        let is_several = is_strategic && writer.random.chance(8);
        let is_flow = writer.random.chance(3);
        let mut content = if is_flow { flow(&patch) } else { document(&mut writer.random, &patch) };
        if is_several {
            content = format!("{content}---\n{}", another(writer, layer));
        }
        let mut entry = if !is_flow && writer.random.chance(50) {
            json!({"path": writer.file(layer, "p", content)})
        } else {
            json!({"patch": content})
        };
        if !is_strategic || (!is_several && writer.random.chance(40)) {
            // Operations fit the object that they were made for, and hardly any other.
            let is_exact = !is_strategic && writer.random.chance(85);
            entry["target"] = if is_exact { exact_target(&mut writer.random, &known) } else { target(&mut writer.random, &known) };
        }
        if writer.random.chance(10) {
            entry["options"] = json!({"allowNameChange": true, "allowKindChange": writer.random.chance(50)});
        }
        layer.add("patches", entry);
    }
}

/// Entries of `patchesStrategicMerge`.
pub(crate) fn strategic(writer: &mut Writer, layer: &mut Layer) {
    let known = writer.known(layer);
    let patch = strategic_patch(writer, &known);
    let content = document(&mut writer.random, &patch);
    let content = if writer.random.chance(15) { format!("{content}---\n{}", another(writer, layer)) } else { content };
    let entry = if writer.random.chance(70) { writer.file(layer, "p", content) } else { content };
    layer.add("patchesStrategicMerge", json!(entry));
}

/// One more document of a patch.
fn another(writer: &mut Writer, layer: &Layer) -> String {
    let known = writer.known(layer);
    let patch = strategic_patch(writer, &known);
    document(&mut writer.random, &patch)
}

/// Entries of `patchesJson6902`.
pub(crate) fn json6902(writer: &mut Writer, layer: &mut Layer) {
    let known = writer.known(layer);
    let (group, version) = known.version().split_once('/').unwrap_or(("", known.version()));
    let target = json!({"group": group, "version": version, "kind": known.kind(), "name": known.some_name(&mut writer.random)});
    let patch = operations(writer, &known);
    let content = document(&mut writer.random, &patch);
    let entry = if writer.random.chance(50) {
        json!({"target": target, "path": writer.file(layer, "p", content)})
    } else {
        json!({"target": target, "patch": content})
    };
    let field = if writer.random.chance(15) { "patchesJSON6902" } else { "patchesJson6902" };
    layer.add(field, entry);
}

/// A selector that means an object and those that are called the same.
pub(crate) fn exact_target(random: &mut Random, known: &Known) -> Value {
    let (group, version) = known.version().split_once('/').unwrap_or(("", known.version()));
    let mut target = json!({"kind": known.kind(), "version": version, "name": known.some_name(random).replace('.', "\\.")});
    if !group.is_empty() {
        target["group"] = json!(group);
    }
    target
}

/// A selector that means an object, and perhaps others.
pub(crate) fn target(random: &mut Random, known: &Known) -> Value {
    let mut target = Map::new();
    let (group, version) = known.version().split_once('/').unwrap_or(("", known.version()));
    let name = known.some_name(random);
    let names = [name.to_owned(), format!("{}.*", &name[..1]), ".*".to_owned(), format!("{name}|db")];
    let fields = [
        ("kind", 80, known.kind().to_owned()),
        ("name", 60, names[random.below(4)].clone()),
        ("group", 20, group.to_owned()),
        ("version", 20, version.to_owned()),
        ("namespace", 8, "prod".to_owned()),
        ("labelSelector", 8, random.pick(&["app=web", "tier", "app in (web,db)", "!x", "app!=web"]).to_owned()),
        ("annotationSelector", 5, "app=web".to_owned()),
    ];
    for (field, percent, value) in fields {
        if random.chance(percent) {
            target.insert(field.to_owned(), json!(value));
        }
    }
    Value::Object(target)
}

/// A strategic merge patch: part of the object, with other values.
pub(crate) fn strategic_patch(writer: &mut Writer, known: &Known) -> Value {
    let mut patch = thinned(writer, &known.object, 0);
    if !patch.is_object() {
        patch = json!({});
    }
    patch["apiVersion"] = known.object["apiVersion"].clone();
    patch["kind"] = known.object["kind"].clone();
    if !patch["metadata"].is_object() {
        patch["metadata"] = json!({});
    }
    patch["metadata"]["name"] = json!(known.some_name(&mut writer.random));
    if let Some(namespace) = known.object["metadata"].get("namespace")
        && writer.random.chance(80)
    {
        patch["metadata"]["namespace"] = namespace.clone();
    }
    if writer.random.chance(4) {
        patch["$patch"] = json!(writer.random.pick(&["delete", "replace", "merge"]));
    }
    patch
}

/// Keys that say which item of a list is meant.
const ITEM_KEYS: [&str; 7] = ["name", "containerPort", "port", "mountPath", "topologyKey", "whenUnsatisfiable", "protocol"];

fn thinned(writer: &mut Writer, value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (key, value) in map {
                let is_key = depth > 1 && ITEM_KEYS.contains(&key.as_str()) && writer.random.chance(93);
                if is_key {
                    kept.insert(key.clone(), value.clone());
                } else if writer.random.chance(45) {
                    let value = changed(writer, value, depth);
                    kept.insert(key.clone(), value);
                }
            }
            extras(writer, &mut kept, depth);
            Value::Object(kept)
        }
        Value::Array(items) => list(writer, items, depth),
        other => writer.other_value(other),
    }
}

fn changed(writer: &mut Writer, value: &Value, depth: usize) -> Value {
    if writer.random.chance(7) { Value::Null } else { thinned(writer, value, depth + 1) }
}

/// What the object does not have.
fn extras(writer: &mut Writer, map: &mut Map<String, Value>, depth: usize) {
    if depth > 1 && writer.random.chance(5) {
        let directive = writer.random.pick(&["delete", "replace", "merge"]);
        map.insert("$patch".to_owned(), json!(directive));
    }
    if depth > 0 && writer.random.chance(8) {
        let extra = writer.random.pick(&["extra", "more.dots", "a"]);
        let value = if writer.random.chance(30) { json!({"in": {"ner": scalar(&mut writer.random)}}) } else { scalar(&mut writer.random) };
        map.insert(extra.to_owned(), value);
    }
}

fn list(writer: &mut Writer, items: &[Value], depth: usize) -> Value {
    let mut kept = Vec::new();
    for item in items {
        if writer.random.chance(60) {
            kept.push(thinned(writer, item, depth + 1));
        }
    }
    if items.iter().any(|item| item.get("image").is_some()) && writer.random.chance(30) {
        kept.push(container(&mut writer.random));
    }
    if writer.random.chance(4) {
        kept.push(json!({"$patch": "replace"}));
    }
    Value::Array(kept)
}

/// Without these, or with anything else in their place, hardly a step makes sense.
const ESSENTIAL: [&str; 5] = ["/metadata", "/metadata/name", "/metadata/labels", "/metadata/annotations", "/spec"];

/// A JSON patch.
pub(crate) fn operations(writer: &mut Writer, known: &Known) -> Value {
    Value::Array((0..writer.random.between(1, 2)).map(|_| operation(writer, known)).collect())
}

fn operation(writer: &mut Writer, known: &Known) -> Value {
    let mut path = String::new();
    let mut old = descend(&mut writer.random, &known.object, &mut path);
    let value = writer.other_value(&old);
    let mut operation = writer.random.pick(&["add", "add", "add", "replace", "replace", "replace", "remove", "test", "copy", "move"]);
    if ESSENTIAL.contains(&path.as_str()) || path.is_empty() {
        operation = "add";
        path = "/metadata/new".to_owned();
        old = Value::Null;
    }
    match operation {
        "remove" => json!({"op": operation, "path": path}),
        "test" => json!({"op": operation, "path": path, "value": old}),
        "copy" | "move" => json!({"op": operation, "from": path, "path": "/copied"}),
        "add" if writer.random.chance(40) => {
            let end = match old {
                Value::Object(_) => writer.random.pick(&["/new", "/a~1b", "/a.b", "/8"]),
                Value::Array(_) => writer.random.pick(&["/-", "/0", "/-1", "/-"]),
                _ if writer.random.chance(4) => "/new",
                _ => "",
            };
            json!({"op": operation, "path": format!("{path}{end}"), "value": value})
        }
        "add" | "replace" if writer.random.chance(2) => json!({"op": operation, "path": path}),
        _ => json!({"op": operation, "path": path, "value": value}),
    }
}

/// Some place in a value, as a JSON pointer.
fn descend(random: &mut Random, value: &Value, path: &mut String) -> Value {
    let depth = path.matches('/').count();
    if depth > 0 && random.chance(20) {
        return value.clone();
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            let keys: Vec<&String> = map.keys().filter(|key| depth > 0 || !matches!(key.as_str(), "kind" | "apiVersion")).collect();
            let Some(key) = random.choose(&keys) else { return value.clone() };
            path.push('/');
            path.push_str(&key.replace('~', "~0").replace('/', "~1"));
            descend(random, &map[key.as_str()], path)
        }
        Value::Array(items) if !items.is_empty() => {
            let at = random.below(items.len());
            path.push_str(&format!("/{at}"));
            descend(random, &items[at], path)
        }
        other => other.clone(),
    }
}

/// Some place in an object, as kustomize's `fieldPath` has it.
pub(crate) fn field_path(random: &mut Random, object: &Value) -> String {
    let mut pointer = String::new();
    descend(random, object, &mut pointer);
    let steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
    let mut path = Vec::new();
    let mut value = object;
    for step in steps {
        let item = value.as_array().and_then(|items| items.get(step.parse::<usize>().ok()?));
        let name = item.and_then(|item| item.get("name")).and_then(Value::as_str);
        path.push(match name {
            Some(name) if random.chance(60) => format!("[name={name}]"),
            _ if item.is_some() && random.chance(30) => "*".to_owned(),
            _ if step.contains('.') && random.chance(50) => format!("[{step}]"),
            _ => step.replace('.', "\\."),
        });
        value = item.or_else(|| value.get(&step)).unwrap_or(&Value::Null);
    }
    path.join(".")
}
