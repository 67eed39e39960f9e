//! Bounds on what a tree may ask for: each has a message that names it, and is met before time or memory run out.

use overlays::tree::Fixture;
use overlays::{Cache, Options, RepoPath, render};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";

/// What is said of a tree.
fn said(tree: &Fixture) -> String {
    let rendered = render(tree, &RepoPath::root(), &Options::default(), &mut Cache::default());
    match rendered.and_then(|rendered| rendered.manifest.to_yaml()) {
        Ok(yaml) => format!("rendered {} bytes", yaml.len()),
        Err(errors) => errors.to_string(),
    }
}

fn insert(tree: &mut Fixture, path: &str, text: String) {
    if let Ok(path) = RepoPath::new(path) {
        tree.insert(path, text.into_bytes());
    }
}

/// What is said of a ConfigMap with a kustomization.
fn said_with(kustomization: &str, object: &str) -> String {
    let mut tree = Fixture::default();
    insert(&mut tree, "kustomization.yaml", format!("resources: [r.yaml]\n{kustomization}"));
    insert(&mut tree, "r.yaml", object.to_owned());
    said(&tree)
}

#[track_caller]
fn assert_says(said: &str, words: &str) {
    assert!(said.contains(words), "{words:?} is not in: {}", said.chars().take(500).collect::<String>());
}

#[test]
fn layers_may_be_a_hundred_deep() {
    let mut tree = Fixture::default();
    insert(&mut tree, "kustomization.yaml", "resources: [l0]\n".to_owned());
    for level in 0..120 {
        insert(&mut tree, &format!("l{level}/kustomization.yaml"), format!("resources: [../l{}]\n", level + 1));
    }
    insert(&mut tree, "kustomization.yaml", "resources: [l0]\n".to_owned());
    assert_says(&said(&tree), "more than 100 deep");
}

#[test]
fn a_tree_may_have_a_hundred_thousand_objects() {
    let mut tree = Fixture::default();
    let list = |from: usize| {
        let item = |at: usize| format!("- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{at}}}}}\n");
        format!("apiVersion: v1\nkind: List\nitems:\n{}", (from..from + 40_000).map(item).collect::<String>())
    };
    for file in 0..3 {
        insert(&mut tree, &format!("r{file}.yaml"), list(file * 40_000));
    }
    insert(&mut tree, "kustomization.yaml", "resources: [r0.yaml, r1.yaml, r2.yaml]\n".to_owned());
    assert_says(&said(&tree), "more than 100000 objects");
}

#[test]
fn a_path_of_a_json_patch_may_have_two_hundred_steps() {
    let patch = format!(
        "patches:\n- target: {{kind: ConfigMap}}\n  patch: '[{{\"op\": \"add\", \"path\": \"{}\", \"value\": 1}}]'\n",
        "/a".repeat(300)
    );
    assert_says(&said_with(&patch, CONFIG_MAP), "more than 200 steps");
}

#[test]
fn a_path_of_a_replacement_may_have_two_hundred_steps() {
    let path = vec!["a"; 300].join(".");
    let replacement = format!(
        "replacements:\n- sourceValue: x\n  targets:\n  - select: {{kind: ConfigMap}}\n    fieldPaths: [data.z.{path}]\n    options: {{create: true}}\n"
    );
    assert_says(&said_with(&replacement, CONFIG_MAP), "more than 200 steps");
}

#[test]
fn a_list_that_is_merged_by_key_may_have_five_thousand_items() {
    let containers: String = (0..5_001).map(|at| format!("- {{name: c{at}}}\n")).collect();
    let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n{}", containers.replace("- ", "  - "));
    let patch = "patches:\n- patch: |\n    apiVersion: v1\n    kind: Pod\n    metadata: {name: p}\n    spec: {containers: [{name: c0, image: x}]}\n";
    assert_says(&said_with(patch, &pod), "more than 5000 items");
}

#[test]
fn an_object_that_is_copied_into_itself_may_not_grow_without_end() {
    let copies: String = (0..40).map(|at| format!("    - {{op: copy, from: /data, path: /data/c{at}}}\n")).collect();
    let patch = format!("patches:\n- target: {{kind: ConfigMap}}\n  patch: |\n{copies}");
    assert_says(&said_with(&patch, CONFIG_MAP), "more than 500 deep, or more than 500000 values");
    let replacement = "- source: {kind: ConfigMap, fieldPath: data}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.FIELD], options: {create: true}}]\n";
    let many: String = (0..40).map(|at| replacement.replace("FIELD", &format!("c{at}"))).collect();
    assert_says(&said_with(&format!("replacements:\n{many}"), CONFIG_MAP), "more than 500 deep, or more than 500000 values");
}

#[test]
fn aliases_may_not_expand_to_more_values_than_a_file_may_have() {
    let bomb: String = (1..12).map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9))).collect();
    let object = format!("apiVersion: v1\nkind: Bomb\nmetadata: {{name: b}}\na0: &a0 [x]\n{bomb}");
    assert_says(&said_with("", &object), "more values than the limit of 1500000, aliases expanded");
}

#[test]
fn values_may_be_nested_two_hundred_levels_deep() {
    let object = format!("{CONFIG_MAP}deep: {}{}\n", "[".repeat(300), "]".repeat(300));
    assert_says(&said_with("", &object), "deeper than the limit of 200 levels");
    let patch = "patches:\n- path: p.yaml\n";
    let mut tree = Fixture::default();
    insert(&mut tree, "kustomization.yaml", format!("resources: [r.yaml]\n{patch}"));
    insert(&mut tree, "r.yaml", CONFIG_MAP.to_owned());
    insert(&mut tree, "p.yaml", object);
    assert_says(&said(&tree), "deeper than the limit of 200 levels");
}

#[test]
fn a_layer_that_includes_itself_is_a_cycle() {
    let mut tree = Fixture::default();
    insert(&mut tree, "kustomization.yaml", "resources: [a]\n".to_owned());
    insert(&mut tree, "a/kustomization.yaml", "resources: [../b]\n".to_owned());
    insert(&mut tree, "b/kustomization.yaml", "resources: [../a]\n".to_owned());
    assert_says(&said(&tree), "is a cycle");
}
