//! Trees of kustomizations: bases, overlays and components that use each field in combination with all others.
//! It must not know what comes of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::objects::{NAMES, NAMESPACES, container, entries, labels, object, scalar, text};
use super::random::Random;
use super::write::{document, documents};
use super::{patches, steps};

/// A tree and how it is built.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub files: BTreeMap<String, String>,
    pub root: String,
    pub legacy: bool,
    pub unrestricted: bool,
}

/// An object as far as the layers above know it.
#[derive(Clone)]
pub struct Known {
    /// As it was written.
    pub object: Value,
    /// What it is called after the prefixes and suffixes so far.
    pub name: String,
}

impl Known {
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub fn version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    pub fn original(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// One of the names that it has or had.
    pub fn some_name<'a>(&'a self, random: &mut Random) -> &'a str {
        if random.chance(60) { &self.name } else { self.original() }
    }
}

/// The tree of a seed.
pub fn tree(seed: u64) -> Tree {
    let mut random = Random::new(seed);
    let mut writer = Writer { random: &mut random, tree: Tree::default(), next: 0 };
    let depth = writer.random.below(3);
    let root = writer.layer(depth, true, &[]).0;
    let mut tree = writer.tree;
    tree.root = root;
    tree.legacy = random.chance(30);
    tree.unrestricted = random.chance(10);
    tree
}

pub struct Writer<'a> {
    pub random: &'a mut Random,
    tree: Tree,
    next: usize,
}

/// A kustomization while it is written.
pub struct Layer {
    pub directory: String,
    pub fields: Map<String, Value>,
    pub known: Vec<Known>,
}

impl Layer {
    pub fn put(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    pub fn add(&mut self, field: &str, value: Value) {
        if let Value::Array(items) = self.fields.entry(field).or_insert_with(|| json!([])) {
            items.push(value);
        }
    }
}

impl Writer<'_> {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Writes a file of a layer, and returns its name in the layer's directory.
    pub fn file(&mut self, layer: &Layer, kind: &str, content: String) -> String {
        let name = format!("{kind}{}.yaml", self.number());
        self.tree.files.insert(format!("{}/{name}", layer.directory), content);
        name
    }

    /// A layer with the layers below it: its directory, and what it comes to.
    fn layer(&mut self, depth: usize, is_root: bool, above: &[Known]) -> (String, Vec<Known>) {
        let directory = format!("d{}", self.number());
        let mut layer = Layer { directory, fields: Map::new(), known: above.to_vec() };
        self.resources(&mut layer, depth);
        self.components(&mut layer, depth);
        self.fields(&mut layer, is_root);
        self.write(layer)
    }

    fn write(&mut self, mut layer: Layer) -> (String, Vec<Known>) {
        let affix = |field: &str| layer.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (prefix, suffix) = (affix("namePrefix"), affix("nameSuffix"));
        for known in &mut layer.known {
            known.name = format!("{prefix}{}{suffix}", known.name);
        }
        let content = document(self.random, &Value::Object(layer.fields));
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
        for _ in 0..self.random.between(usize::from(depth == 0), 2) {
            let mut objects: Vec<Value> = (0..self.random.between(1, 3)).map(|_| object(self.random)).collect();
            layer.known.extend(objects.iter().map(|object| Known { object: object.clone(), name: name_of(object) }));
            if self.random.chance(4) {
                objects = vec![json!({"apiVersion": "v1", "kind": "List", "items": objects})];
            }
            let content = documents(self.random, &objects);
            let file = self.file(layer, "r", content);
            layer.add("resources", json!(file));
        }
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
        self.fields(&mut component, false);
        let (directory, known) = self.write(component);
        layer.known = known;
        layer.add("components", json!(format!("../{directory}")));
    }

    /// Some of all fields.
    fn fields(&mut self, layer: &mut Layer, is_root: bool) {
        // Where most fields are there, nearly nothing builds.
        let busy = self.random.between(10, 45);
        let fields: [(usize, fn(&mut Self, &mut Layer)); 20] = [
            (100, Self::names),
            (60, Self::labels),
            (30, Self::annotations),
            (60, Self::images),
            (25, Self::replicas),
            (80, Self::generators),
            (15, Self::generator_options),
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
            (4, steps::openapi),
            (60, Self::namespace),
            (20, Self::options),
        ];
        for (weight, field) in fields {
            if self.random.below(100) < weight * busy / 100 {
                field(self, layer);
            }
        }
        if is_root && self.random.chance(10) {
            let order = self.random.pick(&["fifo", "legacy"]);
            layer.put("sortOptions", json!({"order": order}));
        }
    }

    fn options(&mut self, layer: &mut Layer) {
        let wanted = self.random.pick(&["originAnnotations", "transformerAnnotations"]);
        layer.put("buildMetadata", json!([wanted]));
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
            layer.put("commonLabels", pairs(self.random));
        }
        for _ in 0..self.random.below(3) {
            let mut label = json!({"pairs": pairs(self.random)});
            for switch in ["includeSelectors", "includeTemplates", "includeVolumeClaimTemplates"] {
                if self.random.chance(25) {
                    label[switch] = json!(self.random.chance(80));
                }
            }
            if self.random.chance(12) {
                label["fields"] = json!([steps::field_spec(self.random)]);
            }
            layer.add("labels", label);
        }
    }

    fn annotations(&mut self, layer: &mut Layer) {
        layer.put("commonAnnotations", pairs(self.random));
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
            layer.add("images", image);
        }
    }

    fn replicas(&mut self, layer: &mut Layer) {
        let workloads: Vec<&Known> = layer.known.iter().filter(|known| known.object["spec"]["replicas"].is_number()).collect();
        let name = match self.random.choose(&workloads) {
            Some(known) => known.some_name(self.random).to_owned(),
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
    pub fn generated(&mut self, layer: &Layer, kind: &str) -> Value {
        let mut generator = Map::new();
        let there: Vec<&Known> = layer.known.iter().filter(|known| known.kind() == kind).collect();
        let (name, behavior) = match self.random.choose(&there) {
            Some(known) if self.random.chance(50) => {
                let behavior = self.random.pick(&["merge", "merge", "replace", "create"]);
                (known.some_name(self.random).to_owned(), Some(behavior))
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
            generator.insert("literals".to_owned(), json!([format!("{}={value}", self.random.pick(&["k", "l", "m.n"]))]));
        }
        if self.random.chance(30) {
            let content = self.random.pick(&["a: 1\n", "one\ntwo", "", "x \ny\n", "\u{feff}bom\n", "tab\there\n", "a\r\nb\r\n", "{}\n"]);
            let file = self.file(layer, "data", content.to_owned());
            let entry = if self.random.chance(50) { file } else { format!("name={file}") };
            generator.insert("files".to_owned(), json!([entry]));
        }
        if self.random.chance(20) {
            let content = self.random.pick(&["A=1\nB=two words \n", "# no\n\n C=\"x\"\n", "D\nE=\n", "F=a=b\n"]);
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
                options.insert(field.to_owned(), pairs(self.random));
            }
        }
        Value::Object(options)
    }

    fn generator_options(&mut self, layer: &mut Layer) {
        let options = self.options_of_generator();
        layer.put("generatorOptions", options);
    }

    /// An object that the layer has, or one that it may have.
    pub fn known(&mut self, layer: &Layer) -> Known {
        match self.random.choose(&layer.known) {
            Some(known) if self.random.chance(96) => known.clone(),
            _ => {
                let object = object(self.random);
                Known { name: name_of(&object), object }
            }
        }
    }

    /// A part of an object that might have been written otherwise.
    pub fn other_value(&mut self, old: &Value) -> Value {
        match old {
            Value::Object(map) if map.contains_key("image") => container(self.random),
            Value::Object(_) if self.random.chance(50) => labels(self.random),
            Value::Array(items) if self.random.chance(60) => {
                let mut items = items.clone();
                items.reverse();
                Value::Array(items)
            }
            Value::Number(_) => json!(self.random.below(100)),
            Value::String(_) if self.random.chance(60) => text(self.random),
            _ => scalar(self.random),
        }
    }
}

pub fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Labels or annotations as kustomizations take them: strings.
pub fn pairs(random: &mut Random) -> Value {
    entries(random, &["app", "tier", "team", "a.b/c"], |random| json!(random.pick(&["web", "x y", "5", "true", "", "$(VAR)"])))
}
