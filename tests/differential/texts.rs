//! Files that are nearly YAML, or YAML that hardly anybody writes: a resource, a patch or a kustomization with some signs out of place.
//! It must not know which of them can be read.

use super::layers::Tree;
use super::random::Random;

/// A ConfigMap in most of the ways in which YAML can be written.
const RESOURCE: &str = r#"# First.
apiVersion: v1
kind: ConfigMap # Behind.
metadata:
  name: "a"
  labels: {x: y, 'z': "5", n: [1, {m: ~}]}
  annotations:
    a.b/c: 0x1F
    d: yes
data:
  folded: >-
    one
    two

      three
    four
  literal: |
    # text
    $(VAR)	tab

  kept: >+
    x

  plain: some words
    over lines # end
  double: "a \
    b\tc\u00e9\x41 \"q\"

    d"
  single: 'it''s

    more'
  ? complex
  : &anchor value
  alias: *anchor
  tagged: !!str 5
  list:
  - - a
    - b: c
      d:
  - [e, f, ]
  -
    g: 1.50
base: &base {k: 1, l: 2001-01-01}
more:
  <<: *base
  l: 1_000
"#;

const KUSTOMIZATION: &str = r#"apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [r.yaml]
namePrefix: 'p-'
commonLabels:
  app: "web" # Behind.
  y: &label >-
    z
labels:
- pairs: {team: *label}
images:
  - name: nginx
    newTag: "1.25"
configMapGenerator:
- name: gen
  literals:
  - a=b c
  - "k=\"x\""
patches:
- target: {kind: ConfigMap, name: a}
  patch: |
    - op: add
      path: /data/literal
      value: {a: 0644, b: [on, ~]}
- patch: |-
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: a}
    data:
      plain: null
      new: 1e3
"#;

const SIGNS: [&str; 46] = [
    " ", "  ", "\n", "\n\n", "\t", "\r", "\r\n", ":", ": ", "-", "- ", "#", " #", "'", "\"", "\\", "|", "|2\n", ">", ">-\n", "[", "]", "{",
    "}", ",", "&a ", "*a", "*base", "! ", "!!str ", "!!int ", "!x ", "? ", "%", "@", "`", "---\n", "--- x\n", "...\n", "\n...\n", "\u{a0}",
    "\u{feff}", "\u{2028}", "\u{85}", "<<: ", "~",
];

/// A patch, with what merges in more ways than one.
const PATCH: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {a: "1", b: ~}
spec:
  replicas: 3 # Behind.
  template:
    spec:
      containers:
      - name: side
        $patch: delete
      - name: "web"
        image: >-
          nginx
        env:
        - {name: A, value: '1'}
        - name: B
          value: null
        ports:
        -   containerPort: 80
            protocol: TCP
      volumes:
      - $patch: replace
      - name: v
        emptyDir: {}
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {b: x}}
spec:
  template:
    spec:
      containers:
      - name: web
        env: [{name: A, value: x}, {name: B, value: y}]
        ports: [{containerPort: 80}, {containerPort: 443, protocol: TCP}]
      - {name: side, image: x}
      volumes: [{name: w, configMap: {name: gen}}]
"#;

/// What a generator reads.
const VALUES: &str = "# Values.\nA=1\nB=\"two words\"\n\n  C = x\nD\nE='it''s'\nF=a=b # no comment\nexport G=1\n";

/// Replacements and vars.
const REPLACEMENTS: &str = r#"resources: [r.yaml]
replacements:
- source:
    kind: ConfigMap
    name: a
    fieldPath: metadata.annotations.a\.b/c
  targets:
  - select: {kind: ConfigMap}
    fieldPaths:
    - "data.list.1.0"
    - data.list.*.[b=c].d
    - more.l
    options: {create: true, delimiter: "-", index: 0}
  - select:
      name: .*
    reject: [{kind: Secret}]
    fieldPaths: [metadata.labels.[x.y/z], "data.literal"]
vars:
- name: VAR
  objref: {apiVersion: v1, kind: ConfigMap, name: a}
  fieldref: {fieldPath: data.single}
"#;

/// A step and a configuration in files of their own.
const STEP: &str = r#"apiVersion: builtin
kind: LabelTransformer
metadata:
  name: 'step' # Behind.
labels: {app: "5", "b": y}
fieldSpecs:
- path: metadata/labels
  create: true
- {path: data/list, kind: ConfigMap}
---
apiVersion: builtin
kind: PatchTransformer
metadata: {name: other}
target: {name: "a.*", kind: ConfigMap}
patch: |-
  - op: add
    path: /data/new
    value: >-
      x
"#;

const CONFIGURATION: &str = r#"namePrefix:
- path: metadata/name
- path: data/plain # Behind.
  kind: ConfigMap
commonLabels:
- {path: more/labels, create: true}
varReference:
- path: data/literal
nameReference:
- kind: ConfigMap
  version: v1
  fieldSpecs:
  - path: data/alias
    kind: "ConfigMap"
images: []
"#;

/// The tree of a seed: one file is mutated, the others are as they should be.
pub(crate) fn tree(seed: u64) -> Tree {
    let mut random = Random::new(seed);
    let (mut resource, mut kustomization) = (RESOURCE.to_owned(), "resources: [r.yaml]\n".to_owned());
    let mut others = Vec::new();
    match random.below(24) {
        0..9 => resource = mutated(&mut random, RESOURCE),
        9..13 => kustomization = mutated(&mut random, KUSTOMIZATION),
        13..16 => {
            resource = DEPLOYMENT.to_owned();
            kustomization.push_str("patches: [{path: p.yaml}]\n");
            others.push(("d/p.yaml".to_owned(), mutated(&mut random, PATCH)));
        }
        16..18 => kustomization = mutated(&mut random, REPLACEMENTS),
        18..20 => {
            kustomization.push_str("transformers: [t.yaml]\n");
            others.push(("d/t.yaml".to_owned(), mutated(&mut random, STEP)));
        }
        20..22 => {
            kustomization.push_str("namePrefix: p-\ncommonLabels: {a: b}\nconfigurations: [k.yaml]\n");
            others.push(("d/k.yaml".to_owned(), mutated(&mut random, CONFIGURATION)));
        }
        _ => {
            let field = random.pick(&["envs", "files"]);
            kustomization = format!("configMapGenerator: [{{name: gen, {field}: [v.env]}}]\n");
            others.push(("d/v.env".to_owned(), mutated(&mut random, VALUES)));
        }
    }
    others.extend([("d/r.yaml".to_owned(), resource), ("d/kustomization.yaml".to_owned(), kustomization)]);
    Tree { files: others.into_iter().collect(), root: "d".to_owned(), ..Tree::default() }
}

/// The text with a few signs put in, left out or moved.
fn mutated(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for _ in 0..random.between(1, 3) {
        let at = random.below(lines.len());
        let line = lines[at].clone();
        let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
        let place = random.choose(&places).copied().unwrap_or(0);
        match random.below(9) {
            0 | 1 => lines[at].insert_str(place, random.pick(&SIGNS)),
            2 => lines[at].insert_str(line.len() - line.trim_start().len(), random.pick(&SIGNS)),
            3 => lines[at].insert_str(line.trim_end().len(), random.pick(&SIGNS)),
            4 if !line.is_empty() => drop(lines[at].remove(place)),
            5 => lines[at].insert_str(0, &" ".repeat(random.between(1, 3))),
            6 => lines[at] = line.strip_prefix("  ").unwrap_or(&line).to_owned(),
            7 => lines.insert(at, line),
            _ => drop(lines.remove(at)),
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.concat()
}
