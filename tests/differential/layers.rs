//! Trees of kustomizations: bases, overlays and components that use each field in combination with all others.
//! It must not know what comes of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::objects::{self, NAMES, NAMESPACES, container, entries, labels, scalar, text};
use super::random::Random;
use super::write::{document, documents};
use super::{patches, steps};

/// A tree and how it is built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) root: String,
    pub(crate) legacy: bool,
    pub(crate) unrestricted: bool,
}

/// An object as far as the layers above know it.
#[derive(Clone)]
pub(crate) struct Known {
    /// As it was written.
    pub(crate) object: Value,
    /// What it is called after the prefixes and suffixes so far.
    pub(crate) name: String,
}

impl Known {
    pub(crate) fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub(crate) fn version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    pub(crate) fn original(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// One of the names that it has or had.
    pub(crate) fn some_name<'a>(&'a self, random: &mut Random) -> &'a str {
        if random.chance(60) { &self.name } else { self.original() }
    }
}

/// The tree of a seed.
pub(crate) fn tree(seed: u64) -> Tree {
    let mut writer = Writer { random: Random::new(seed), tree: Tree::default(), next: 0, done: Vec::new() };
    let depth = writer.random.below(3);
    let root = writer.layer(depth, true, &[]).0;
    let (legacy, unrestricted) = (writer.random.chance(30), writer.random.chance(10));
    Tree { root, legacy, unrestricted, ..writer.tree }
}

/// Writes a field of a layer.
type Field = fn(&mut Writer, &mut Layer);

pub(crate) struct Writer {
    pub(crate) random: Random,
    tree: Tree,
    next: usize,
    /// Layers that are written, to be taken a second time.
    done: Vec<(String, Vec<Known>)>,
}

/// A kustomization while it is written.
pub(crate) struct Layer {
    pub(crate) directory: String,
    pub(crate) fields: Map<String, Value>,
    pub(crate) known: Vec<Known>,
}

impl Layer {
    pub(crate) fn put(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    pub(crate) fn add(&mut self, field: &str, value: Value) {
        if let Value::Array(items) = self.fields.entry(field).or_insert_with(|| json!([])) {
            items.push(value);
        }
    }
}

impl Writer {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Writes a file of a layer, and returns its name in the layer's directory.
    pub(crate) fn file(&mut self, layer: &Layer, kind: &str, content: String) -> String {
        let name = format!("{kind}{}.yaml", self.number());
        self.tree.files.insert(format!("{}/{name}", layer.directory), content);
        name
    }

    /// Writes a file into a kustomization of its own, and returns what leads there from a layer.
    pub(crate) fn directory_of(&mut self, content: String) -> String {
        let mut layer = Layer { directory: format!("t{}", self.number()), fields: Map::new(), known: Vec::new() };
        let file = self.file(&layer, "t", content);
        layer.add("resources", json!(file));
        format!("../{}", self.write(layer).0)
    }

    /// A layer with the layers below it: its directory, and what it comes to.
    fn layer(&mut self, depth: usize, is_root: bool, above: &[Known]) -> (String, Vec<Known>) {
        let directory = format!("d{}", self.number());
        let mut layer = Layer { directory, fields: Map::new(), known: above.to_vec() };
        self.resources(&mut layer, depth);
        self.components(&mut layer, depth);
        self.fields(&mut layer, is_root);
        self.about(&mut layer);
        let done = self.write(layer);
        self.done.push(done.clone());
        done
    }

    /// What a kustomization says of itself.
    fn about(&mut self, layer: &mut Layer) {
        for (field, value) in [
            ("apiVersion", json!("kustomize.config.k8s.io/v1beta1")),
            ("kind", json!("Kustomization")),
            ("metadata", json!({"name": "layer", "annotations": {"config.kubernetes.io/local-config": "true"}})),
        ] {
            if self.random.chance(8) {
                layer.put(field, value);
            }
        }
    }

    fn write(&mut self, mut layer: Layer) -> (String, Vec<Known>) {
        let affix = |field: &str| layer.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (prefix, suffix) = (affix("namePrefix"), affix("nameSuffix"));
        for known in &mut layer.known {
            known.name = format!("{prefix}{}{suffix}", known.name);
        }
        let content = document(&mut self.random, &Value::Object(layer.fields));
        let name = self.random.pick(&["kustomization.yaml", "kustomization.yaml", "kustomization.yml", "Kustomization"]);
        self.tree.files.insert(format!("{}/{name}", layer.directory), content);
        (layer.directory, layer.known)
    }

    fn resources(&mut self, layer: &mut Layer, depth: usize) {
        let layers = if depth == 0 { 0 } else { self.random.between(1, 2) };
        for _ in 0..layers {
            let (directory, known) = self.layer(depth - 1, false, &[]);
            layer.known.extend(known);
            let field = if self.random.chance(6) { "bases" } else { "resources" };
            layer.add(field, json!(format!("../{directory}")));
        }
        if self.random.chance(3)
            && let Some((directory, known)) = self.random.choose(&self.done).cloned()
        {
            layer.known.extend(known);
            layer.add("resources", json!(format!("../{directory}")));
        }
        for _ in 0..self.random.between(usize::from(depth == 0), 2) {
            let mut objects: Vec<Value> = Vec::new();
            for _ in 0..self.random.between(1, 3) {
                let object = self.object(layer);
                layer.known.push(Known { name: name_of(&object), object: object.clone() });
                objects.push(object);
            }
            if self.random.chance(5) {
                objects = self.in_list(objects);
            }
            let mut content = documents(&mut self.random, &objects);
            if self.random.chance(8) {
                content.push_str(&self.by_hand(layer));
            }
            let file = self.file(layer, "r", content);
            layer.add("resources", json!(file));
        }
    }

    /// The objects as a list, or some of them.
    fn in_list(&mut self, mut objects: Vec<Value>) -> Vec<Value> {
        let kind = self.random.pick(&["List", "List", "ConfigMapList", "DeploymentList", "ThingList"]);
        let rest = if self.random.chance(30) { objects.split_off(objects.len() / 2) } else { Vec::new() };
        match self.random.below(10) {
            0 => objects.push(json!({"apiVersion": "v1", "kind": "List", "items": []})),
            1 => objects = vec![json!({"apiVersion": "v1", "kind": "List", "items": objects})],
            _ => {}
        }
        let mut list = json!({"apiVersion": "v1", "kind": kind, "items": objects});
        if self.random.chance(20) {
            list["metadata"] = json!({"resourceVersion": "", "name": "listed"});
        }
        [vec![list], rest].concat()
    }

    /// A document with what no value tells: anchors, blocks, comments.
    fn by_hand(&mut self, layer: &mut Layer) -> String {
        let name = format!("{}-{}", self.random.pick(&NAMES), self.random.pick(&["hand", "written"]));
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x", "l": "y"}});
        layer.known.push(Known { name: name.clone(), object });
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{}", self.random.pick(&objects::BY_HAND))
    }

    /// An object that is, most likely, not there yet.
    fn object(&mut self, layer: &Layer) -> Value {
        let mut object = objects::object(&mut self.random);
        for _ in 0..4 {
            let is_there = layer.known.iter().any(|known| known.kind() == object["kind"] && known.original() == name_of(&object));
            if !is_there {
                break;
            }
            object = objects::object(&mut self.random);
        }
        object
    }

    fn components(&mut self, layer: &mut Layer, depth: usize) {
        if !self.random.chance(12) {
            return;
        }
        let mut component = Layer { directory: format!("c{}", self.number()), fields: Map::new(), known: layer.known.clone() };
        component.put("apiVersion", json!("kustomize.config.k8s.io/v1alpha1"));
        component.put("kind", json!("Component"));
        if self.random.chance(40) {
            self.resources(&mut component, depth.min(1));
        }
        self.components(&mut component, depth.saturating_sub(1));
        self.fields(&mut component, false);
        if component.fields.len() == 2 {
            self.annotations(&mut component);
        }
        let (directory, known) = self.write(component);
        layer.known = known;
        layer.add("components", json!(format!("../{directory}")));
    }

    /// Some of all fields.
    fn fields(&mut self, layer: &mut Layer, is_root: bool) {
        // Where most fields are there, nearly nothing builds.
        let busy = self.random.between(10, 45);
        let fields: [(usize, Field); 19] = [
            (100, Writer::names),
            (60, Writer::labels),
            (30, Writer::annotations),
            (60, Writer::images),
            (25, Writer::replicas),
            (80, Writer::generators),
            (15, Writer::generator_options),
            (120, patches::patches),
            (25, patches::strategic),
            (25, patches::json6902),
            (45, steps::replacements),
            (25, steps::vars),
            (25, steps::configurations),
            (30, steps::transformers),
            (8, steps::generators),
            (4, steps::validators),
            (4, steps::crds),
            (60, Writer::namespace),
            (20, Writer::options),
        ];
        for (weight, field) in fields {
            if self.random.below(100) < weight * busy / 100 {
                field(self, layer);
            }
        }
        if self.random.chance(if is_root { 3 } else { 1 }) {
            steps::openapi(self, layer);
        }
        if is_root && self.random.chance(10) {
            self.sort_options(layer);
        }
    }

    fn sort_options(&mut self, layer: &mut Layer) {
        let order = self.random.pick(&["fifo", "legacy", "legacy"]);
        let mut options = json!({"order": order});
        let kinds = ["Thing", "Service", "ConfigMap", "Namespace", "Deployment", "Secret", "Nothing"];
        let mut some = || json!((0..self.random.below(4)).map(|_| self.random.pick(&kinds)).collect::<Vec<&str>>());
        if order == "legacy" {
            options["legacySortOptions"] = json!({"orderFirst": some(), "orderLast": some()});
        }
        if self.random.chance(30)
            && let Some(map) = options.as_object_mut()
        {
            map.remove("legacySortOptions");
        }
        layer.put("sortOptions", options);
    }

    fn options(&mut self, layer: &mut Layer) {
        let wanted = self.random.pick(&["originAnnotations", "transformerAnnotations", "managedByLabel"]);
        let also = self.random.pick(&["originAnnotations", "transformerAnnotations", "unknown"]);
        let all = json!(["managedByLabel", "originAnnotations", "transformerAnnotations"]);
        let some = if self.random.chance(70) { json!([wanted]) } else { json!([wanted, also]) };
        layer.put("buildMetadata", if self.random.chance(20) { all } else { some });
    }

    fn namespace(&mut self, layer: &mut Layer) {
        layer.put("namespace", json!(self.random.pick(&NAMESPACES)));
    }

    fn names(&mut self, layer: &mut Layer) {
        if self.random.chance(70) {
            layer.put("namePrefix", json!(self.random.pick(&["p-", "x", "dev-"])));
        }
        if self.random.chance(40) {
            layer.put("nameSuffix", json!(self.random.pick(&["-s", "x", "-v1"])));
        }
    }

    fn labels(&mut self, layer: &mut Layer) {
        if self.random.chance(35) {
            layer.put("commonLabels", pairs(&mut self.random));
        }
        for _ in 0..self.random.below(3) {
            let mut label = json!({"pairs": pairs(&mut self.random)});
            for switch in ["includeSelectors", "includeTemplates", "includeVolumeClaimTemplates"] {
                if self.random.chance(25) {
                    label[switch] = json!(self.random.chance(80));
                }
            }
            if self.random.chance(12) {
                label["fields"] = json!([steps::field_spec(&mut self.random)]);
            }
            layer.add("labels", label);
        }
    }

    fn annotations(&mut self, layer: &mut Layer) {
        layer.put("commonAnnotations", pairs(&mut self.random));
    }

    fn images(&mut self, layer: &mut Layer) {
        for _ in 0..self.random.between(1, 2) {
            let name =
                self.random.pick(&["nginx", "example.com/nginx", "redis", "app", "example.com:5000/team/app", ".*", "library/app", "n"]);
            let mut image = json!({"name": name});
            for (field, value) in [("newName", "new/name"), ("newTag", "v2"), ("digest", "sha256:ab"), ("tagSuffix", "-x")] {
                if self.random.chance(if field == "newTag" { 60 } else { 20 }) {
                    image[field] = json!(value);
                }
            }
            let field = if self.random.chance(8) { "imageTags" } else { "images" };
            layer.add(field, image);
        }
    }

    fn replicas(&mut self, layer: &mut Layer) {
        let workloads: Vec<&Known> = layer.known.iter().filter(|known| known.object["spec"]["replicas"].is_number()).collect();
        let name = match self.random.choose(&workloads) {
            Some(known) => known.some_name(&mut self.random).to_owned(),
            None => return,
        };
        layer.add("replicas", json!({"name": name, "count": self.random.below(9)}));
    }

    fn generators(&mut self, layer: &mut Layer) {
        for _ in 0..self.random.between(1, 2) {
            let is_secret = self.random.chance(30);
            let kind = if is_secret { "Secret" } else { "ConfigMap" };
            let (field, generated) = (if is_secret { "secretGenerator" } else { "configMapGenerator" }, self.generated(layer, kind));
            layer.known.push(Known {
                object: json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": generated["name"]}}),
                name: generated["name"].as_str().unwrap_or_default().to_owned(),
            });
            layer.add(field, generated);
        }
    }

    /// An entry of `configMapGenerator` or `secretGenerator`.
    pub(crate) fn generated(&mut self, layer: &Layer, kind: &str) -> Value {
        let mut generator = Map::new();
        let there: Vec<&Known> = layer.known.iter().filter(|known| known.kind() == kind).collect();
        let (name, behavior) = match self.random.choose(&there) {
            Some(known) if self.random.chance(50) => {
                let behavior = if self.random.chance(6) { "create" } else { self.random.pick(&["merge", "merge", "replace"]) };
                (known.some_name(&mut self.random).to_owned(), Some(behavior))
            }
            _ => (format!("{}-{}", self.random.pick(&NAMES), self.random.pick(&["gen", "conf", "env"])), None),
        };
        generator.insert("name".to_owned(), json!(name));
        if let Some(behavior) = behavior {
            generator.insert("behavior".to_owned(), json!(behavior));
        }
        self.sources(layer, &mut generator);
        if self.random.chance(15) {
            generator.insert("namespace".to_owned(), json!(self.random.pick(&NAMESPACES)));
        }
        if kind == "Secret" && self.random.chance(30) {
            generator.insert("type".to_owned(), json!("kubernetes.io/tls"));
        }
        if self.random.chance(20) {
            generator.insert("options".to_owned(), self.options_of_generator());
        }
        Value::Object(generator)
    }

    fn sources(&mut self, layer: &Layer, generator: &mut Map<String, Value>) {
        if self.random.chance(70) {
            let value = self.random.pick(&["v", "1", "\"quoted\"", "a=b", "", "$(VAR)", "first\nsecond\n", " x ", "yes", "é"]);
            let mut literals = vec![format!("{}={value}", self.random.pick(&["k", "l", "m.n"]))];
            if self.random.chance(20) {
                let more = ["x='single'", "x=\"a", "x=", "x=null", "x=0644", "x=2001-01-01", "x=\\n", "x=\u{1f600}", "x=a: b", "x=- y"];
                literals.push(self.random.pick(&more).to_owned());
            }
            generator.insert("literals".to_owned(), json!(literals));
        }
        if self.random.chance(30) {
            let content = self.random.pick(&[
                "a: 1\n",
                "one\ntwo",
                "",
                "x \ny\n",
                "\u{feff}bom\n",
                "tab\there\n",
                "a\r\nb\r\n",
                "{}\n",
                "\n\nfirst\n",
                "  lead\nmore\n",
                "end\n\n\n",
                "\u{7f}\n",
                "a\u{85}b\u{2028}c\n",
                "a very long line of words that must be folded somewhere near the eightieth column, or perhaps not at all\nshort\n",
                "#!/bin/sh\necho \"$(VAR)\" 'x' \\\n\ty\n",
            ]);
            let file = self.file(layer, "data", content.to_owned());
            let entry = if self.random.chance(50) { file } else { format!("name={file}") };
            generator.insert("files".to_owned(), json!([entry]));
        }
        if self.random.chance(20) {
            let content = self.random.pick(&[
                "A=1\nB=two words \n",
                "# no\n\n C=\"x\"\n",
                "D\nE=\n",
                "F=a=b\n",
                "export G=1\n",
                "H = i\n",
                "\u{feff}I=1\r\nJ='2'\r\n",
                "K=\t1\n\tL=2",
            ]);
            let file = self.file(layer, "env", content.to_owned());
            let (field, value) = if self.random.chance(20) { ("env", json!(file)) } else { ("envs", json!([file])) };
            generator.insert(field.to_owned(), value);
        }
    }

    fn options_of_generator(&mut self) -> Value {
        let mut options = Map::new();
        if self.random.chance(50) {
            options.insert("disableNameSuffixHash".to_owned(), json!(self.random.chance(80)));
        }
        if self.random.chance(20) {
            options.insert("immutable".to_owned(), json!(self.random.chance(80)));
        }
        for field in ["labels", "annotations"] {
            if self.random.chance(40) {
                options.insert(field.to_owned(), pairs(&mut self.random));
            }
        }
        Value::Object(options)
    }

    fn generator_options(&mut self, layer: &mut Layer) {
        let options = self.options_of_generator();
        layer.put("generatorOptions", options);
    }

    /// An object that the layer has, or one that it may have.
    pub(crate) fn known(&mut self, layer: &Layer) -> Known {
        match self.random.choose(&layer.known) {
            Some(known) if self.random.chance(96) => known.clone(),
            _ => {
                let object = objects::object(&mut self.random);
                Known { name: name_of(&object), object }
            }
        }
    }

    /// A part of an object that might have been written otherwise.
    pub(crate) fn other_value(&mut self, old: &Value) -> Value {
        match old {
            Value::Object(map) if map.contains_key("image") => container(&mut self.random),
            Value::Object(_) if self.random.chance(50) => labels(&mut self.random),
            Value::Array(items) if self.random.chance(60) => {
                let mut items = items.clone();
                items.reverse();
                Value::Array(items)
            }
            Value::Number(_) => json!(self.random.below(100)),
            Value::String(_) if self.random.chance(60) => text(&mut self.random),
            _ => scalar(&mut self.random),
        }
    }
}

pub(crate) fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Labels or annotations as kustomizations take them: strings.
pub(crate) fn pairs(random: &mut Random) -> Value {
    entries(random, &["app", "tier", "team", "a.b/c"], |random| json!(random.pick(&["web", "x y", "5", "true", "", "$(VAR)"])))
}
